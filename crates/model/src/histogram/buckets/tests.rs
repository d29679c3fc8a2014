//! Bounds and buckets, beside those of Prometheus.

use super::*;
use crate::histogram::{BucketSpan, CounterResetHint, Flavour, Parts};

fn spans(spans: &[(i32, u32)], counts: &[f64]) -> Buckets {
    let spans = spans.iter().map(|(offset, length)| BucketSpan { offset: *offset, length: *length });
    Buckets { spans: spans.collect(), counts: counts.to_vec() }
}

fn histogram(layout: Layout, zero_count: f64, positive: Buckets, negative: Buckets) -> Histogram {
    let (flavour, reset_hint) = (Flavour::Float, CounterResetHint::Unknown);
    let parts = Parts { flavour, reset_hint, layout, count: 1.0, sum: 1.0, zero_count, positive, negative };
    Histogram::new(parts).unwrap()
}

fn shown(histogram: &Histogram) -> Vec<String> {
    let one = |bucket: HistogramBucket| {
        let (open, close) =
            (if bucket.lower_inclusive { '[' } else { '(' }, if bucket.upper_inclusive { ']' } else { ')' });
        format!("{open}{:?}, {:?}{close} {}", bucket.lower, bucket.upper, bucket.count)
    };
    histogram.buckets().map(one).collect()
}

#[test]
fn exponential_buckets_ascend_from_the_negative_side_through_zero() {
    let layout = Layout::Exponential { schema: 0, zero_threshold: 0.25 };
    let positive = spans(&[(0, 2), (1, 1)], &[12.0, 0.0, 6.0]);
    let both = histogram(layout, 3.0, positive, spans(&[(-1, 2)], &[1.0, 2.0]));
    assert_eq!(
        shown(&both),
        [
            "[-1.0, -0.5) 2",
            "[-0.5, -0.25) 1",
            "[-0.25, 0.25] 3",
            "(0.5, 1.0] 12",
            "(1.0, 2.0] 0",
            "(4.0, 8.0] 6"
        ]
    );
}

#[test]
fn a_neighbour_gives_way_to_the_zero_bucket() {
    let layout = Layout::Exponential { schema: 0, zero_threshold: 0.75 };
    let both = histogram(layout, 0.0, spans(&[(0, 1)], &[5.0]), spans(&[(0, 1)], &[7.0]));
    assert_eq!(shown(&both), ["[-1.0, -0.75) 7", "(0.75, 1.0] 5"]);
}

#[test]
fn custom_buckets_reach_to_both_infinities() {
    let layout = Layout::Custom { bounds: [0.5, 2.0].into() };
    let custom = histogram(layout, 0.0, spans(&[(0, 3)], &[1.0, 2.0, 3.0]), Buckets::default());
    assert_eq!(shown(&custom), ["[-inf, 0.5] 1", "(0.5, 2.0] 2", "(2.0, inf] 3"]);
}

/// Source: prometheus v3.16 `model/histogram/generic_test.go`, `TestGetBoundExponential`.
#[test]
fn the_last_bounds_are_the_greatest_number_and_infinity() {
    let bound = |schema, idx| Layout::Exponential { schema, zero_threshold: 0.0 }.upper_bound(idx);
    assert_eq!(bound(-1, 512), f64::MAX);
    assert_eq!(bound(-1, 513), f64::INFINITY);
    assert_eq!(bound(-4, 64), f64::MAX);
    assert_eq!(bound(0, 1_024), f64::MAX);
    assert_eq!(bound(0, 1_025), f64::INFINITY);
    assert_eq!(bound(8, 262_144), f64::MAX);
    assert_eq!(bound(8, 262_145), f64::INFINITY);
    assert_eq!(bound(0, -1_074), f64::from_bits(1));
    assert_eq!(bound(-4, -64), 2_f64.powi(-1_024));
    assert_eq!(bound(0, i64::from(i32::MIN)), 0.0);
}

/// The fold was taken from the table of prometheus v3.16 `model/histogram/generic.go`.
#[test]
fn bounds_are_those_of_upstream_bit_for_bit() {
    let bounds = BOUNDS.concat();
    assert_eq!(bounds.len(), 511);
    let fold = bounds.iter().fold(0_u64, |fold, bound| fold.rotate_left(7) ^ bound.to_bits());
    assert_eq!(fold, 0x79d2_e5d8_6fc8_2e78);
}
