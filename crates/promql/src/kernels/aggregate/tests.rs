//! Tests of aggregation states: against a plain transcription, and merged against whole.

use super::super::Param;
use super::super::quantile::quantile;
use super::*;
use crate::grid::Validity;

const ALL: [AggregateFunction; 8] = [
    AggregateFunction::Sum,
    AggregateFunction::Avg,
    AggregateFunction::Min,
    AggregateFunction::Max,
    AggregateFunction::Count,
    AggregateFunction::Group,
    AggregateFunction::Stddev,
    AggregateFunction::Stdvar,
];

/// Xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % bound
    }

    fn unit(&mut self) -> f64 {
        self.below(1 << 40) as f64 / (1u64 << 40) as f64
    }

    fn value(&mut self, kind: u64) -> f64 {
        match kind {
            0 => (self.unit() * 100.0).floor(),
            1 => self.unit() * 1e6 - 5e5,
            2 => [f64::MAX, f64::MAX / 2.0, -f64::MAX, 1.0][self.below(4) as usize],
            3 if self.below(4) == 0 => {
                [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0][self.below(4) as usize]
            }
            _ => self.unit(),
        }
    }
}

/// What Prometheus does with the samples of one group at one step, in order.
fn plain(function: AggregateFunction, samples: &[f64]) -> Option<f64> {
    let inc = |inc: f64, (sum, c): (f64, f64)| {
        let t = sum + inc;
        if t.is_infinite() {
            (t, 0.0)
        } else if sum.abs() >= inc.abs() {
            (t, c + ((sum - t) + inc))
        } else {
            (t, c + ((inc - t) + sum))
        }
    };
    let (first, rest) = samples.split_first()?;
    let count = samples.len() as f64;
    Some(match function {
        AggregateFunction::Sum => {
            let (sum, c) = rest.iter().fold((*first, 0.0), |state, v| inc(*v, state));
            sum + c
        }
        AggregateFunction::Avg => {
            let (mut value, mut c, mut n, mut mean) = (*first, 0.0, 1.0, None);
            for v in rest {
                n += 1.0;
                if mean.is_none() {
                    let (new, new_c) = inc(*v, (value, c));
                    if !new.is_infinite() {
                        (value, c) = (new, new_c);
                        continue;
                    }
                    mean = Some(value / (n - 1.0));
                    c /= n - 1.0;
                }
                let q = (n - 1.0) / n;
                let (new, new_c) = inc(v / n, (q * mean.unwrap(), q * c));
                (mean, c) = (Some(new), new_c);
            }
            mean.map_or(value / n + c / n, |mean| mean + c)
        }
        AggregateFunction::Max => rest.iter().fold(*first, |m, v| if m < *v || m.is_nan() { *v } else { m }),
        AggregateFunction::Min => rest.iter().fold(*first, |m, v| if m > *v || m.is_nan() { *v } else { m }),
        AggregateFunction::Count => count,
        AggregateFunction::Group => 1.0,
        AggregateFunction::Stddev | AggregateFunction::Stdvar => {
            let mut squares = if first.is_finite() { 0.0 } else { f64::NAN };
            let (mut mean, mut n) = (*first, 1.0);
            for v in rest {
                n += 1.0;
                let delta = v - mean;
                mean += delta / n;
                squares += delta * (v - mean);
            }
            if function == AggregateFunction::Stddev { (squares / n).sqrt() } else { squares / n }
        }
    })
}

fn finish(state: &GridAccumulator, group: usize) -> Vec<Option<f64>> {
    let (mut out, mut valid) = (vec![7.0; state.steps()], vec![true; state.steps()]);
    let found = state.finish(group, &mut out, &mut valid);
    assert_eq!(found, valid.iter().filter(|v| **v).count());
    out.iter().zip(&valid).map(|(out, valid)| valid.then_some(*out)).collect()
}

fn random_rows(random: &mut Random, steps: usize) -> Vec<(usize, Vec<f64>, Vec<bool>)> {
    let kind = random.below(5);
    let dense = random.below(3) == 0;
    (0..random.below(40))
        .map(|_| {
            let values = (0..steps).map(|_| random.value(kind)).collect();
            let valid = (0..steps).map(|_| dense || random.below(3) > 0).collect();
            (random.below(3) as usize, values, valid)
        })
        .collect()
}

fn bits(valid: &[bool], offset: usize) -> Vec<u8> {
    let mut bytes = vec![0; (offset + valid.len()).div_ceil(8)];
    for index in (0..valid.len()).filter(|index| valid[*index]) {
        bytes[(offset + index) / 8] |= 1 << ((offset + index) % 8);
    }
    bytes
}

#[test]
fn states_fed_in_order_equal_the_plain_transcription_bit_for_bit() {
    for seed in 1..400 {
        let mut random = Random(seed);
        let steps = 1 + random.below(20) as usize;
        let rows = random_rows(&mut random, steps);
        for function in ALL {
            let mut state = GridAccumulator::new(function, steps);
            state.resize(3);
            for (index, (group, values, valid)) in rows.iter().enumerate() {
                let packed = bits(valid, index % 9);
                match index % 3 {
                    _ if valid.iter().all(|v| *v) => state.update(*group, GridRow::full(values)),
                    0 => state.update(
                        *group,
                        GridRow { values, valid: Validity::Bits { bytes: &packed, offset: index % 9 } },
                    ),
                    _ => state.update(*group, GridRow { values, valid: Validity::Bools(valid) }),
                }
            }
            for group in 0..3 {
                for (step, got) in finish(&state, group).into_iter().enumerate() {
                    let samples: Vec<f64> = rows
                        .iter()
                        .filter(|(g, _, valid)| *g == group && valid[step])
                        .map(|(_, values, _)| values[step])
                        .collect();
                    let expected = plain(function, &samples);
                    let same = match (got, expected) {
                        (Some(a), Some(b)) => a == b || (a.is_nan() && b.is_nan()),
                        (a, b) => a == b,
                    };
                    assert!(same, "seed {seed}, {function:?} of {samples:?}: {got:?}, expected {expected:?}");
                }
            }
        }
    }
}

#[test]
fn merged_partial_states_equal_one_state_within_rounding() {
    for seed in 1..300 {
        let mut random = Random(seed);
        let steps = 1 + random.below(9) as usize;
        let rows = random_rows(&mut random, steps);
        let parts = 1 + random.below(4) as usize;
        for function in ALL {
            let mut whole = GridAccumulator::new(function, steps);
            let mut partial = vec![whole.clone(); parts];
            partial.iter_mut().chain([&mut whole]).for_each(|state| state.resize(3));
            for (index, (group, values, valid)) in rows.iter().enumerate() {
                whole.update(*group, GridRow { values, valid: Validity::Bools(valid) });
                partial[index % parts].update(*group, GridRow { values, valid: Validity::Bools(valid) });
            }
            let mut merged = GridAccumulator::new(function, steps);
            merged.resize(3);
            for part in partial {
                for group in 0..3 {
                    let lanes: Vec<&[f64]> =
                        (0..function.lanes().len()).map(|lane| part.lane(lane, group)).collect();
                    merged.merge(group, &lanes, Validity::Bools(part.seen(group)));
                }
            }
            for group in 0..3 {
                let samples = |step: usize| -> Vec<f64> {
                    let mine = rows.iter().filter(|(g, _, valid)| *g == group && valid[step]);
                    mine.map(|(_, values, _)| values[step]).collect()
                };
                let pairs = finish(&merged, group).into_iter().zip(finish(&whole, group));
                for (step, (got, expected)) in pairs.enumerate() {
                    let samples = samples(step);
                    // Where a sum overflows on the way, its order decides what it is.
                    let huge = samples.iter().any(|v| v.abs() > 1e300);
                    let size = samples.iter().fold(0.0f64, |size, v| size.max(v.abs()));
                    let same = match (got, expected) {
                        (Some(a), Some(b)) => {
                            huge || a == b
                                || (a.is_nan() && b.is_nan())
                                || (a - b).abs() <= 1e-9 * size * size.max(1.0)
                        }
                        (a, b) => a == b,
                    };
                    assert!(same, "seed {seed}, {function:?} of {samples:?}: {got:?}, expected {expected:?}");
                }
            }
        }
    }
}

fn check(function: AggregateFunction, samples: &[f64], expected: f64) {
    let mut state = GridAccumulator::new(function, 1);
    state.resize(1);
    for sample in samples {
        state.update(0, GridRow::full(&[*sample]));
    }
    let got = finish(&state, 0)[0].unwrap();
    let same = got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan());
    assert!(same, "{function:?} of {samples:?}: {got}, expected {expected}");
}

#[test]
fn sums_are_compensated_and_means_survive_overflow() {
    use AggregateFunction::{Avg, Sum};
    check(Sum, &[1.0, 1e100, 1.0, -1e100], 2.0);
    check(Sum, &[f64::MAX, f64::MAX], f64::INFINITY);
    check(Sum, &[f64::INFINITY, f64::NEG_INFINITY], f64::NAN);
    check(Avg, &[f64::MAX, f64::MAX], f64::MAX);
    check(Avg, &[1.0, 2.0, 6.0], 3.0);
    check(Avg, &[f64::INFINITY, 1.0], f64::INFINITY);
}

#[test]
fn nan_gives_way_to_numbers_in_extremes_only() {
    use AggregateFunction::{Max, Min, Stddev, Stdvar, Sum};
    check(Max, &[f64::NAN, 1.0, f64::NAN, 3.0], 3.0);
    check(Min, &[3.0, f64::NAN, 1.0], 1.0);
    check(Max, &[f64::NAN, f64::NAN], f64::NAN);
    check(Sum, &[f64::NAN, 1.0], f64::NAN);
    check(Stddev, &[f64::INFINITY], f64::NAN);
    check(Stdvar, &[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], 4.0);
    check(Stddev, &[5.0], 0.0);
}

#[test]
fn dropping_emitted_groups_moves_the_others_down() {
    let mut state = GridAccumulator::new(AggregateFunction::Sum, 2);
    state.resize(3);
    for group in 0..3 {
        state.update(
            group,
            GridRow { values: &[group as f64, 9.0], valid: Validity::Bools(&[true, group == 2]) },
        );
    }
    state.drop_first(2);
    assert_eq!(state.groups(), 1);
    assert_eq!(finish(&state, 0), [Some(2.0), Some(9.0)]);
    state.resize(2);
    assert_eq!(finish(&state, 1), [None, None]);
}

#[test]
fn quantiles_keep_all_rows_and_merge_exactly() {
    let mut random = Random(5);
    let steps = 19;
    let rows: Vec<(Vec<f64>, Vec<bool>)> = (0..30)
        .map(|_| {
            let values = (0..steps).map(|_| random.value(3)).collect();
            (values, (0..steps).map(|_| random.below(2) == 0).collect())
        })
        .collect();
    let q: Vec<f64> = (0..steps).map(|step| step as f64 / 16.0 - 0.05).collect();
    let (mut whole, mut left, mut right) =
        (QuantileAccumulator::new(steps), QuantileAccumulator::new(steps), QuantileAccumulator::new(steps));
    [&mut whole, &mut left, &mut right].into_iter().for_each(|state| state.resize(1));
    for (index, (values, valid)) in rows.iter().enumerate() {
        whole.update(0, GridRow { values, valid: Validity::Bools(valid) });
        let part = if index % 2 == 0 { &mut left } else { &mut right };
        part.update(0, GridRow { values, valid: Validity::Bools(valid) });
    }
    let (values, valid) = right.rows(0);
    left.merge(0, GridRow { values, valid: Validity::Bools(valid) });
    for state in [&whole, &left] {
        let (mut out, mut valid) = (vec![0.0; steps], vec![false; steps]);
        state.finish(0, Param::PerStep(&q), &mut out, &mut valid);
        for step in 0..steps {
            let mut column: Vec<f64> =
                rows.iter().filter(|(_, valid)| valid[step]).map(|(values, _)| values[step]).collect();
            assert_eq!(valid[step], !column.is_empty());
            let expected = quantile(q[step], &mut column);
            assert!(out[step] == expected || (out[step].is_nan() && expected.is_nan()), "step {step}");
        }
    }
}

/// `cargo test -p promontory-promql --lib kernels::aggregate -- --ignored --nocapture speed`
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stderr)]
fn speed_of_aggregations() {
    let (series, steps, groups) = (20_000, 241, 10);
    let mut random = Random(3);
    let rows: Vec<f64> = (0..series * steps).map(|_| random.unit()).collect();
    let valid = vec![true; steps];
    let copy_begin = std::time::Instant::now();
    let total: f64 = rows.chunks(8).map(|chunk| chunk[0]).sum();
    let read = copy_begin.elapsed().as_secs_f64();
    eprintln!("touching each cache line: {:.2} ns/point ({total:e})", read / rows.len() as f64 * 1e9);
    for function in ALL {
        for (name, validity) in [("all", Validity::All), ("bools", Validity::Bools(&valid))] {
            let mut best = f64::INFINITY;
            for _ in 0..3 {
                let mut state = GridAccumulator::new(function, steps);
                state.resize(groups);
                let begin = std::time::Instant::now();
                for (index, row) in rows.chunks(steps).enumerate() {
                    state.update(index % groups, GridRow { values: row, valid: validity });
                }
                best = best.min(begin.elapsed().as_secs_f64());
            }
            eprintln!("{function:?} {name}: {:.2} ns/point", best / rows.len() as f64 * 1e9);
        }
    }
    let mut state = QuantileAccumulator::new(steps);
    state.resize(groups);
    let begin = std::time::Instant::now();
    for (index, row) in rows.chunks(steps).enumerate() {
        state.update(index % groups, GridRow::full(row));
    }
    let fed = begin.elapsed().as_secs_f64();
    let (mut out, mut valid) = (vec![0.0; steps], vec![false; steps]);
    for group in 0..groups {
        state.finish(group, Param::Constant(0.99), &mut out, &mut valid);
    }
    let all = begin.elapsed().as_secs_f64();
    let points = rows.len() as f64;
    eprintln!("quantile: {:.2} ns/point to feed, {:.2} in all", fed / points * 1e9, all / points * 1e9);
}
