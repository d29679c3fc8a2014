//! What makes a native histogram, and the order that settles two of them.

use super::*;

fn parts() -> Parts {
    Parts {
        flavour: Flavour::Integer,
        reset_hint: CounterResetHint::Unknown,
        layout: Layout::Exponential { schema: 3, zero_threshold: 0.001 },
        count: 9.0,
        sum: 18.4,
        zero_count: 1.0,
        positive: Buckets {
            spans: vec![BucketSpan { offset: -2, length: 2 }, BucketSpan { offset: 1, length: 1 }],
            counts: vec![1.0, 2.0, 3.0],
        },
        negative: Buckets { spans: vec![BucketSpan { offset: 0, length: 1 }], counts: vec![2.0] },
    }
}

fn custom(bounds: &[f64]) -> Parts {
    Parts {
        layout: Layout::Custom { bounds: bounds.into() },
        zero_count: 0.0,
        positive: Buckets { spans: vec![BucketSpan { offset: 0, length: 3 }], counts: vec![1.0, 2.0, 3.0] },
        negative: Buckets::default(),
        ..parts()
    }
}

#[test]
fn parts_that_fit_together_are_a_histogram() {
    for good in [parts(), custom(&[1.0, 2.0]), Parts { sum: f64::NAN, ..parts() }] {
        assert_eq!(Histogram::new(good.clone()).map(|h| h.parts().count), Ok(good.count));
    }
}

#[test]
fn parts_that_do_not_fit_are_refused_with_the_rule() {
    let spans = |spans: &[(i32, u32)]| Buckets {
        spans: spans.iter().map(|(offset, length)| BucketSpan { offset: *offset, length: *length }).collect(),
        counts: vec![1.0, 2.0],
    };
    for (bad, rule) in [
        (Parts { layout: Layout::Exponential { schema: 9, zero_threshold: 0.0 }, ..parts() }, "schema 9"),
        (Parts { layout: Layout::Exponential { schema: 0, zero_threshold: -1.0 }, ..parts() }, "threshold"),
        (Parts { positive: spans(&[(0, 1)]), ..parts() }, "cover 1 buckets"),
        (Parts { negative: spans(&[(0, 1), (-1, 1)]), ..parts() }, "negative offset of -1"),
        (Parts { count: -1.0, ..parts() }, "count -1"),
        (Parts { zero_count: f64::NAN, ..parts() }, "zero count NaN"),
        (Parts { count: 1.5, ..parts() }, "not a whole number"),
        (custom(&[2.0, 1.0]), "do not strictly ascend"),
        (custom(&[1.0, f64::INFINITY]), "not finite"),
        (custom(&[1.0]), "reach to bucket 3"),
        (Parts { zero_count: 1.0, ..custom(&[1.0, 2.0]) }, "zero bucket"),
    ] {
        let refused = Histogram::new(bad).unwrap_err().to_string();
        assert!(refused.contains(rule), "{refused} does not say {rule}");
    }
}

#[test]
fn the_canonical_order_is_total_and_sees_every_part() {
    let of = |parts: Parts| Histogram::new(parts).unwrap();
    let base = of(parts());
    assert_eq!(base.canonical_order(&base.clone()), Ordering::Equal);
    for other in [
        Parts { flavour: Flavour::Float, ..parts() },
        Parts { reset_hint: CounterResetHint::Gauge, ..parts() },
        Parts { layout: Layout::Exponential { schema: 4, zero_threshold: 0.001 }, ..parts() },
        Parts { layout: Layout::Exponential { schema: 3, zero_threshold: 0.002 }, ..parts() },
        Parts { count: 10.0, ..parts() },
        Parts { sum: -18.4, ..parts() },
        Parts { zero_count: 2.0, ..parts() },
        Parts { negative: Buckets::default(), ..parts() },
        custom(&[1.0, 2.0]),
    ] {
        let other = of(other);
        let order = base.canonical_order(&other);
        assert_ne!(order, Ordering::Equal, "{other:?}");
        assert_eq!(other.canonical_order(&base), order.reverse(), "{other:?}");
    }
}
