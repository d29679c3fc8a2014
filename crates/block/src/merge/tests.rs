//! Merging means one thing however it is done.

use std::collections::BTreeMap;
use std::sync::Arc;

use promontory_model::histogram::{Buckets, CounterResetHint, Flavour, Histogram, Layout, Parts};
use promontory_model::samples::{Samples, value_order};
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
        for (key, samples) in run.iter() {
            for (ts, value) in samples.floats.iter() {
                let kept = all.entry(key.clone()).or_default().entry(ts).or_insert(value);
                if value_order(value, *kept) == Ordering::Greater {
                    *kept = value;
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
    assert_eq!(merged.floats().ts(), [1, 2, 3]);
    assert_eq!(merged.floats().values(), &[-7.0, 1.0, 5.0]);
}

#[test]
fn samples_that_follow_one_another_are_appended_in_order_of_time() {
    let late: Floats = [(5, 5.0), (6, 6.0)].into_iter().collect();
    let early: Floats = [(1, 1.0), (2, 2.0)].into_iter().collect();
    let mut sources = SeriesMerge::default();
    let none = Floats::default();
    for floats in [&late, &none, &early] {
        sources.add(floats.view().into());
    }
    let mut merged = SampleLists::default();
    assert_eq!(sources.append_to(&mut merged), 4);
    assert_eq!(merged.floats().lane().ts(), [1, 2, 5, 6]);
    assert_eq!(sources.append_to(&mut merged), 0, "what was appended is gone");
    assert_eq!(merged.len(), 2);
}

#[test]
fn of_a_float_and_a_histogram_at_one_time_the_histogram_stays() {
    let (small, large) = (histogram(1.0), histogram(2.0));
    let of = |floats: &[(i64, f64)], histograms: &[(i64, &Arc<Histogram>)]| {
        let mut samples = Samples::from(floats.iter().copied().collect::<Floats>());
        histograms.iter().for_each(|(ts, histogram)| samples.histograms.push(*ts, Arc::clone(histogram)));
        samples
    };
    let one = of(&[(1, 1.0), (2, 2.0), (4, 4.0)], &[(3, &small)]);
    let other = of(&[(3, 9.0)], &[(2, &small), (5, &large)]);
    let third = of(&[], &[(3, &large)]);
    for order in [[&one, &other, &third], [&third, &other, &one], [&other, &third, &one]] {
        let (mut sources, mut merged) = (SeriesMerge::default(), SampleLists::default());
        order.iter().for_each(|samples| sources.add(samples.view()));
        assert_eq!(sources.append_to(&mut merged), 5);
        let series = merged.series(0);
        assert_eq!(series.floats.ts(), [1, 4]);
        assert_eq!(series.histograms.ts(), [2, 3, 5]);
        assert_eq!(*series.histograms.values().get(1), large, "the greater of two histograms");
    }
}

fn histogram(count: f64) -> Arc<Histogram> {
    let parts = Parts {
        flavour: Flavour::Float,
        reset_hint: CounterResetHint::Unknown,
        layout: Layout::Exponential { schema: 0, zero_threshold: 0.0 },
        count,
        sum: count,
        zero_count: count,
        positive: Buckets::default(),
        negative: Buckets::default(),
    };
    Arc::new(Histogram::new(parts).unwrap())
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
