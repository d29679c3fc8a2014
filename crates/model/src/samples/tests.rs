//! What lanes, lists and the order of floats promise.

use std::cmp::Ordering;
use std::sync::Arc;

use super::*;
use crate::histogram::{Buckets, CounterResetHint, Flavour, Histogram, Layout, Parts};
use crate::time::TimeRange;

fn histogram(count: f64, sum: f64) -> Arc<Histogram> {
    let parts = Parts {
        flavour: Flavour::Float,
        reset_hint: CounterResetHint::Unknown,
        layout: Layout::Exponential { schema: 0, zero_threshold: 0.0 },
        count,
        sum,
        zero_count: count,
        positive: Buckets::default(),
        negative: Buckets::default(),
    };
    Arc::new(Histogram::new(parts).unwrap())
}

#[test]
fn stale_is_lowest_then_nan_then_numbers() {
    let quiet = f64::NAN;
    let ascending = [stale_nan(), -quiet, quiet, f64::NEG_INFINITY, -1.0, -0.0, 0.0, 1.0, f64::INFINITY];
    for pair in ascending.windows(2) {
        assert_eq!(value_order(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        assert_eq!(value_order(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
    }
    assert_eq!(value_order(stale_nan(), stale_nan()), Ordering::Equal);
}

#[test]
fn start_timestamps_stay_with_their_samples() {
    let plain: Floats = [(1, 1.0), (2, 2.0)].into_iter().collect();
    let started = Floats::new(vec![3, 4], vec![3.0, 4.0]).with_start_ts(vec![3, 3]);
    let mut all = plain.clone();
    all.extend(started.view());
    all.push(5, 5.0);
    all.extend(plain.view());
    assert_eq!(all.start_ts(), [0, 0, 3, 3, 0, 0, 0]);
    assert_eq!(all.view().part(2..5).start_ts(), [3, 3, 0]);
    let none = Floats::new(vec![1], vec![1.0]).with_start_ts(vec![0]);
    assert_eq!(none.start_ts(), [] as [i64; 0], "a lane without any is kept without the column");
}

#[test]
fn of_equal_values_the_later_start_stays() {
    let early = Floats::new(vec![3], vec![3.0]).with_start_ts(vec![1]);
    let late = Floats::new(vec![3], vec![3.0]).with_start_ts(vec![2]);
    assert_eq!(early.view().compare(0, late.view(), 0), Ordering::Less);
    let greater = Floats::new(vec![3], vec![4.0]);
    assert_eq!(late.view().compare(0, greater.view(), 0), Ordering::Less);
}

#[test]
fn a_clip_holds_what_is_inside_of_both_lanes() {
    let mut samples = Samples::from((1..=9).map(|ts| (ts, ts as f64)).collect::<Floats>());
    samples.push(20, SampleValue::Histogram(histogram(1.0, 1.0)));
    let clipped = samples.view().clip(TimeRange::new(4, 20));
    assert_eq!((clipped.floats.ts(), clipped.histograms.ts()), (&[4, 5, 6, 7, 8, 9][..], &[20][..]));
    assert_eq!(samples.view().clip(TimeRange::new(10, 19)).len(), 0);
}

#[test]
fn a_histogram_with_a_stale_sum_is_the_stale_marker() {
    let mut samples = Samples::default();
    samples.push(1, SampleValue::Histogram(histogram(1.0, stale_nan())));
    samples.push(2, SampleValue::Histogram(histogram(1.0, f64::NAN)));
    assert!(is_stale(samples.floats.values()[0]));
    assert_eq!((samples.floats.ts(), samples.histograms.ts()), (&[1][..], &[2][..]));
}

#[test]
fn lists_hold_series_without_histograms_before_and_after_one_with_some() {
    let floats = Samples::from([(1, 1.0), (2, 2.0)].into_iter().collect::<Floats>());
    let mut mixed = floats.clone();
    mixed.push(3, SampleValue::Histogram(histogram(2.0, 2.0)));
    let mut lists = SampleLists::default();
    lists.push(floats.view());
    assert!(lists.histograms().is_none());
    for samples in [&mixed, &Samples::default(), &floats] {
        lists.push(samples.view());
    }
    for (series_idx, samples) in [&floats, &mixed, &Samples::default(), &floats].into_iter().enumerate() {
        assert_eq!(lists.series(series_idx), samples.view(), "series {series_idx}");
    }
    assert_eq!((lists.len(), lists.samples(), lists.time_range()), (4, 7, TimeRange::new(1, 3)));
    assert!(!lists.push_nonempty(|lists| lists.push(Samples::default().view())));
    assert_eq!((lists.len(), lists.histograms().map(LaneLists::len)), (4, Some(4)));
    assert!(lists.push_nonempty(|lists| lists.push(mixed.view())));
    assert_eq!((lists.len(), lists.histograms().map(LaneLists::len)), (5, Some(5)));
}
