//! Tests of aggregations that choose among series.

use promontory_model::Labels;

use super::*;
use crate::grid::Validity;

const NAN: f64 = f64::NAN;

fn ranked(order: Order, limit: usize, values: &[f64]) -> Vec<(u64, f64)> {
    let mut top = TopK::new(order, vec![limit]);
    top.resize(1);
    for (series, value) in values.iter().enumerate() {
        top.update(0, series as u64, GridRow::full(&[*value]));
    }
    top.ranked(0, 0).into_iter().map(|entry| (entry.series, entry.value)).collect()
}

#[test]
fn the_best_are_kept_and_ranked() {
    let values = [3.0, 1.0, 4.0, 1.5, 9.0, 2.0];
    assert_eq!(ranked(Order::Largest, 3, &values), [(4, 9.0), (2, 4.0), (0, 3.0)]);
    assert_eq!(ranked(Order::Smallest, 3, &values), [(1, 1.0), (3, 1.5), (5, 2.0)]);
    assert_eq!(ranked(Order::Largest, 9, &values).len(), 6);
    assert_eq!(ranked(Order::Largest, 0, &values), []);
}

#[test]
fn nan_is_kept_only_while_there_is_room_and_ranks_last() {
    for order in [Order::Largest, Order::Smallest] {
        let kept = ranked(order, 2, &[NAN, 1.0, NAN]);
        assert_eq!(kept[0], (1, 1.0));
        assert_eq!(kept[1].0, 0);
        let values: Vec<f64> = ranked(order, 2, &[NAN, 1.0, NAN, 2.0]).iter().map(|kept| kept.1).collect();
        assert!(values == [2.0, 1.0] || values == [1.0, 2.0]);
    }
}

#[test]
fn among_equals_the_heap_decides_as_upstream() {
    // One place: the first stays. Two places: the heap's root, which is the first, goes first.
    assert_eq!(ranked(Order::Largest, 1, &[1.0, 1.0, 1.0]), [(0, 1.0)]);
    assert_eq!(ranked(Order::Largest, 2, &[1.0, 1.0, 2.0]), [(2, 2.0), (1, 1.0)]);
    assert_eq!(ranked(Order::Smallest, 2, &[1.0, 1.0, 0.0]), [(2, 0.0), (1, 1.0)]);
}

#[test]
fn ranks_agree_with_sorting_for_many_random_values() {
    let mut state = 7u64;
    for round in 0..200 {
        let values: Vec<f64> = (0..60)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                if state >> 60 == 0 { NAN } else { (state >> 40) as f64 }
            })
            .collect();
        for limit in [1, 5, 20, 60] {
            for order in [Order::Largest, Order::Smallest] {
                let mut sorted: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
                sorted.sort_by(|a, b| if order == Order::Largest { b.total_cmp(a) } else { a.total_cmp(b) });
                let got = ranked(order, limit, &values);
                assert_eq!(got.len(), limit);
                for (index, (_, value)) in got.iter().enumerate() {
                    match sorted.get(index) {
                        Some(expected) => assert_eq!(value, expected, "round {round}, {order:?} {limit}"),
                        None => assert!(value.is_nan()),
                    }
                }
            }
        }
    }
}

#[test]
fn steps_and_groups_are_apart_and_merging_offers_entries() {
    let limits = limits_per_step(Param::PerStep(&[1.0, 2.0, 0.5]), 3, 10).unwrap();
    assert_eq!(limits, [1, 2, 0]);
    let mut left = TopK::new(Order::Largest, limits.clone());
    let mut right = TopK::new(Order::Largest, limits);
    left.resize(2);
    right.resize(2);
    assert!(left.update(
        1,
        5,
        GridRow { values: &[1.0, 1.0, 1.0], valid: Validity::Bools(&[true, false, true]) }
    ));
    assert!(right.update(1, 6, GridRow::full(&[2.0, 2.0, 2.0])));
    assert!(!right.update(
        1,
        7,
        GridRow { values: &[1.0, 9.0, 9.0], valid: Validity::Bools(&[true, false, true]) }
    ));
    for step in 0..3 {
        for entry in right.entries(1, step).to_vec() {
            left.offer(1, step, entry);
        }
    }
    assert_eq!(left.ranked(1, 0), [KeptSample { series: 6, value: 2.0 }]);
    assert_eq!(left.ranked(1, 1), [KeptSample { series: 6, value: 2.0 }]);
    assert_eq!(left.ranked(1, 2), []);
    assert_eq!(left.ranked(0, 0), []);
}

#[test]
fn limits_fail_where_prometheus_fails() {
    let error = |k: f64| limits_per_step(Param::Constant(k), 2, 9).unwrap_err().0;
    assert_eq!(error(f64::INFINITY), "Scalar value +Inf overflows int64");
    assert_eq!(error(1e20), "Scalar value 1e+20 overflows int64");
    assert_eq!(
        limits_per_step(Param::PerStep(&[-1e20, 1.0]), 2, 9).unwrap_err().0,
        "Scalar value -1e+20 underflows int64"
    );
    assert_eq!(limits_per_step(Param::PerStep(&[NAN, 1.0]), 2, 9).unwrap_err().0, "Parameter value is NaN");
    assert_eq!(error(NAN), "Parameter value is NaN");
    assert_eq!(limits_per_step(Param::PerStep(&[NAN, 0.5]), 2, 9).unwrap_err().0, "Parameter value is NaN");
    assert_eq!(limits_per_step(Param::Constant(-3.0), 2, 9).unwrap(), [0, 0]);
    assert_eq!(limits_per_step(Param::Constant(2.9), 1, 9).unwrap(), [2]);
    assert_eq!(limits_per_step(Param::Constant(1e15), 1, 9).unwrap(), [9]);
}

#[test]
fn limitk_takes_the_first_series_of_each_step() {
    let mut state = LimitK::new(vec![1, 2]);
    let mut keep = |group, mut valid: [bool; 2]| {
        state.keep(group, &mut valid);
        valid
    };
    assert_eq!(keep(0, [false, true]), [false, true]);
    assert_eq!(keep(0, [true, true]), [true, true]);
    assert_eq!(keep(0, [true, true]), [false, false]);
    assert_eq!(keep(1, [true, true]), [true, true]);
}

#[test]
fn xxhash_agrees_with_published_values() {
    for (input, expected) in [
        ("", 0xEF46_DB37_51D8_E999),
        ("a", 0xD24E_C4F1_A98C_6E5B),
        ("abc", 0x44BC_2CF5_AD77_0999),
        ("Nobody inspects the spammish repetition", 0xFBCE_A83C_8A37_8BF1),
    ] {
        assert_eq!(xxh64(input.as_bytes()), expected, "{input:?}");
    }
}

#[test]
fn complementary_ratios_split_all_series() {
    for index in 0..200 {
        let labels = Labels::from_pairs([("__name__", "m"), ("i", index.to_string().as_str())]);
        let offset = ratio_offset(labels.as_ref());
        assert!((0.0..=1.0).contains(&offset));
        assert_ne!(ratio_keeps(0.3, offset), ratio_keeps(-0.7, offset));
        assert!(ratio_keeps(1.5, offset) && ratio_keeps(-9.0, offset) && !ratio_keeps(0.0, offset));
    }
}

#[test]
fn count_values_prints_values_as_go_does_and_merges() {
    let mut left = CountValues::new(2);
    let mut right = CountValues::new(2);
    left.resize(1);
    right.resize(1);
    left.update(0, GridRow::full(&[1.0, 1e21]));
    left.update(0, GridRow::full(&[1.0, NAN]));
    right.update(0, GridRow::full(&[1.0, -NAN]));
    right.update(0, GridRow { values: &[0.5, -0.0], valid: Validity::Bools(&[false, true]) });
    for (value, counts) in right.counts(0).map(|(value, counts)| (value, counts.to_vec())).collect::<Vec<_>>()
    {
        for (step, count) in counts.into_iter().enumerate() {
            left.add(0, step, value, count);
        }
    }
    let got: Vec<(String, Vec<f64>)> =
        left.finish(0).into_iter().map(|(text, counts)| (text, counts.to_vec())).collect();
    let expected =
        [("-0", [0.0, 1.0]), ("1", [3.0, 0.0]), ("1000000000000000000000", [0.0, 1.0]), ("NaN", [0.0, 2.0])];
    assert_eq!(got, expected.map(|(text, counts)| (text.to_owned(), counts.to_vec())));
}
