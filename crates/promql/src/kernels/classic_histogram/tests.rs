//! Tests of classic histograms.

use promontory_model::Labels;

use super::*;
use crate::grid::Validity;

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

fn buckets(pairs: &[(f64, f64)]) -> Vec<ClassicBucket> {
    pairs
        .iter()
        .map(|(upper_bound, count)| ClassicBucket { upper_bound: *upper_bound, count: *count })
        .collect()
}

fn same(got: f64, expected: f64) -> bool {
    got == expected || (got.is_nan() && expected.is_nan()) || (got - expected).abs() < 1e-12
}

fn check_quantile(pairs: &[(f64, f64)], q: f64, expected: f64) {
    let got = bucket_quantile(q, &mut buckets(pairs)).value;
    assert!(same(got, expected), "{q} of {pairs:?}: {got}, expected {expected}");
    // The order of buckets does not matter.
    let reversed: Vec<_> = pairs.iter().rev().copied().collect();
    assert!(same(bucket_quantile(q, &mut buckets(&reversed)).value, expected), "{q} of {reversed:?}");
}

#[test]
fn quantiles_are_interpolated_inside_their_bucket() {
    let pairs = [(1.0, 10.0), (2.0, 30.0), (4.0, 40.0), (INF, 40.0)];
    for (q, expected) in
        [(0.0, 0.0), (0.125, 0.5), (0.25, 1.0), (0.5, 1.5), (0.75, 2.0), (0.875, 3.0), (1.0, 4.0)]
    {
        check_quantile(&pairs, q, expected);
    }
    // In the last bucket: the bound below it.
    check_quantile(&[(1.0, 1.0), (INF, 10.0)], 0.9, 1.0);
    // The first bucket ends at or below zero: its bound.
    check_quantile(&[(-1.0, 5.0), (1.0, 10.0), (INF, 10.0)], 0.3, -1.0);
    check_quantile(&[(-1.0, 5.0), (1.0, 10.0), (INF, 10.0)], 0.75, 0.0);
}

#[test]
fn quantiles_need_observations_two_buckets_and_infinity() {
    check_quantile(&[(1.0, 1.0), (2.0, 3.0)], 0.5, NAN);
    check_quantile(&[(INF, 3.0)], 0.5, NAN);
    check_quantile(&[(1.0, 0.0), (INF, 0.0)], 0.5, NAN);
    check_quantile(&[(1.0, 1.0), (INF, 2.0)], NAN, NAN);
    check_quantile(&[(1.0, 1.0), (INF, 2.0)], -0.1, -INF);
    check_quantile(&[(1.0, 1.0), (INF, 2.0)], 1.1, INF);
    assert!(bucket_quantile(0.5, &mut Vec::new()).value.is_nan());
}

#[test]
fn equal_bounds_are_added_up() {
    check_quantile(&[(1.0, 2.0), (1.0, 8.0), (2.0, 30.0), (INF, 15.0), (INF, 25.0)], 0.5, 1.5);
}

#[test]
fn descents_are_raised_and_reported_but_rounding_is_not() {
    let mut descending = buckets(&[(1.0, 10.0), (2.0, 7.0), (3.0, 12.0), (4.0, 9.0), (INF, 12.0)]);
    let result = bucket_quantile(1.0, &mut descending);
    assert_eq!(result.forced, Some(ForcedMonotonicity { min_bucket: 2.0, max_bucket: 4.0, max_diff: 3.0 }));
    assert_eq!(descending.iter().map(|b| b.count).collect::<Vec<_>>(), [10.0, 10.0, 12.0, 12.0, 12.0]);
    let mut rounding = buckets(&[(1.0, 10.0), (2.0, 10.0 - 1e-13), (INF, 10.0 + 1e-13)]);
    assert_eq!(bucket_quantile(0.5, &mut rounding), BucketQuantile { value: 0.5, forced: None });
    assert!(rounding.iter().all(|bucket| bucket.count == 10.0));
}

#[test]
fn fractions_are_interpolated_between_bounds() {
    let pairs = [(1.0, 10.0), (2.0, 30.0), (4.0, 40.0), (INF, 50.0)];
    for (lower, upper, expected) in [
        (-INF, INF, 1.0),
        (0.0, 1.0, 0.2),
        (1.0, 2.0, 0.4),
        (0.5, 1.5, 0.3),
        (-5.0, 3.0, 0.7),
        (4.0, INF, 0.2),
        (5.0, 6.0, 0.0),
        (2.0, 2.0, 0.0),
        (3.0, 1.0, 0.0),
        (NAN, 1.0, NAN),
        (1.0, NAN, NAN),
    ] {
        let got = bucket_fraction(lower, upper, &mut buckets(&pairs));
        assert!(same(got, expected), "{lower}..{upper}: {got}, expected {expected}");
    }
    assert!(bucket_fraction(0.0, 1.0, &mut buckets(&[(1.0, 1.0), (2.0, 2.0)])).is_nan());
    assert!(bucket_fraction(0.0, 1.0, &mut buckets(&[(1.0, 0.0), (INF, 0.0)])).is_nan());
    // Without a lower end the first bucket counts as a whole.
    assert_eq!(bucket_fraction(-5.0, -1.0, &mut buckets(&[(-1.0, 5.0), (INF, 10.0)])), 0.0);
    assert_eq!(bucket_fraction(-INF, -3.0, &mut buckets(&[(-1.0, 5.0), (INF, 10.0)])), 0.5);
}

#[test]
fn bounds_are_read_from_le() {
    let bound = |le: Option<&str>| {
        let labels = Labels::from_pairs([("a", "b")].into_iter().chain(le.map(|le| ("le", le))));
        upper_bound(labels.as_ref())
    };
    assert_eq!(bound(Some("0.5")), Some(0.5));
    assert_eq!(bound(Some("+Inf")), Some(INF));
    assert_eq!(bound(Some("1e-3")), Some(0.001));
    assert_eq!(bound(Some("five")), None);
    assert_eq!(bound(None), None);
}

#[test]
fn a_grid_is_evaluated_step_by_step_over_the_buckets_that_have_samples() {
    let mut histogram = ClassicHistogram::new(4);
    histogram.add(
        INF,
        GridRow { values: &[40.0, 40.0, 10.0, 0.0], valid: Validity::Bools(&[true, true, true, false]) },
    );
    histogram.add(
        2.0,
        GridRow { values: &[30.0, 30.0, 20.0, 0.0], valid: Validity::Bools(&[true, true, true, false]) },
    );
    histogram.add(
        1.0,
        GridRow { values: &[10.0, 99.0, 10.0, 0.0], valid: Validity::Bools(&[true, false, true, false]) },
    );
    let (mut out, mut valid) = ([9.0; 4], [true; 4]);
    let mut forced = Vec::new();
    let found =
        histogram.quantile(Param::Constant(0.5), &mut out, &mut valid, |step, f| forced.push((step, f)));
    assert_eq!((found, valid), (3, [true, true, true, false]));
    assert_eq!(out, [1.5, 20.0 / 30.0 * 2.0, 1.0, 0.0]);
    assert_eq!(forced, [(2, ForcedMonotonicity { min_bucket: INF, max_bucket: INF, max_diff: 10.0 })]);
    let found =
        histogram.fraction(Param::Constant(0.0), Param::PerStep(&[1.0, 2.0, 1.0, 1.0]), &mut out, &mut valid);
    assert_eq!(found, 3);
    assert_eq!(out, [0.25, 0.75, 1.0, 0.0]);
    histogram.clear();
    assert_eq!(histogram.quantile(Param::Constant(0.5), &mut out, &mut valid, |_, _| ()), 0);
}
