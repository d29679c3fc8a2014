//! Merging means one thing however it is done.

use std::collections::BTreeMap;

use promontory_model::{Labels, stale_nan};
use proptest::prelude::*;

use super::*;
use crate::fixtures::{Bits, any_run, any_tenants, bits, run_of, tenant};

fn bits_of(run: &SeriesRun) -> Vec<Bits> {
    bits(&[(tenant("t"), run.clone())])
}

/// The rule itself: a map of maps, the greater value stays.
fn model(runs: &[&SeriesRun]) -> SeriesRun {
    let mut all: BTreeMap<Labels, BTreeMap<i64, f64>> = BTreeMap::new();
    for run in runs {
        for (series, key) in run.keys.iter().enumerate() {
            let (ts, values) = run.series(series);
            for (ts, value) in ts.iter().zip(values) {
                let kept = all.entry(key.clone()).or_default().entry(*ts).or_insert(*value);
                if value_order(*value, *kept) == Ordering::Greater {
                    *kept = *value;
                }
            }
        }
    }
    run_of(all.into_iter().map(|(key, samples)| (key, samples.into_iter().collect())))
}

#[test]
fn a_number_beats_a_nan_and_a_nan_beats_a_stale_marker() {
    let key = Labels::from_pairs([("__name__", "up")]);
    let one = |samples: &[(i64, f64)]| run_of([(key.clone(), samples.to_vec())]);
    let stale = one(&[(1, stale_nan()), (2, stale_nan()), (3, 5.0)]);
    let nan = one(&[(1, f64::NAN), (2, 1.0)]);
    let number = one(&[(1, -7.0), (3, 4.0)]);
    let merged = merge(&[&stale, &nan, &number]);
    assert_eq!(merged.ts, [1, 2, 3]);
    assert_eq!(merged.values, [-7.0, 1.0, 5.0]);
}

#[test]
fn pairs_that_follow_one_another_are_appended_in_order_of_time() {
    let mut pairs: Vec<ColumnPair<'_>> = vec![(&[5, 6], &[5.0, 6.0]), (&[], &[]), (&[1, 2], &[1.0, 2.0])];
    let (mut ts, mut values) = (Vec::new(), Vec::new());
    merge_columns(&mut pairs, &mut ts, &mut values);
    assert_eq!((ts, values), (vec![1, 2, 5, 6], vec![1.0, 2.0, 5.0, 6.0]));
}

#[test]
fn tenants_are_merged_apart() {
    let key = Labels::from_pairs([("__name__", "up")]);
    let rows = |name: &str, value: f64| vec![(tenant(name), run_of([(key.clone(), vec![(1, value)])]))];
    let merged = merge_tenants(&[&rows("b", 1.0), &rows("a", 2.0), &rows("b", 3.0)]);
    assert_eq!(merged, [rows("a", 2.0), rows("b", 3.0)].concat());
}

proptest! {
    #[test]
    fn merge_equals_its_model_and_keeps_the_invariants(runs in prop::collection::vec(any_run(), 0..6)) {
        let runs: Vec<&SeriesRun> = runs.iter().collect();
        let merged = merge(&runs);
        prop_assert_eq!(merged.check(), Ok(()));
        prop_assert_eq!(bits_of(&merged), bits_of(&model(&runs)));
    }

    #[test]
    fn merge_ignores_order_repetition_and_steps(a in any_run(), b in any_run(), c in any_run()) {
        let at_once = bits_of(&merge(&[&a, &b, &c]));
        prop_assert_eq!(&bits_of(&merge(&[&c, &a, &b])), &at_once);
        prop_assert_eq!(&bits_of(&merge(&[&b, &b, &a, &c, &a])), &at_once);
        prop_assert_eq!(&bits_of(&merge(&[&merge(&[&a, &b]), &merge(&[&b, &c])])), &at_once);
        prop_assert_eq!(bits_of(&merge(&[&a, &a])), bits_of(&a));
    }

    #[test]
    fn merge_of_tenants_is_merge_per_tenant(a in any_tenants(), b in any_tenants()) {
        let merged = merge_tenants(&[&a, &b]);
        prop_assert!(merged.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (tenant, run) in &merged {
            let of = |rows: &[TenantRows]| rows.iter().find(|(t, _)| t == tenant).map(|(_, run)| run.clone());
            let runs: Vec<SeriesRun> = [of(&a), of(&b)].into_iter().flatten().collect();
            prop_assert_eq!(bits_of(run), bits_of(&model(&runs.iter().collect::<Vec<_>>())));
        }
    }
}
