//! The `*_over_time` functions, `changes` and `resets`.
//!
//! Windows overlap, but compensated sums cannot be taken from one window to the next without
//! changing bits. What is done instead:
//! - sums of whole numbers are exact in any order, so prefix sums serve them;
//! - other sums run through several windows of equal length side by side, one lane each;
//! - extremes are associative: halves of windows are shared;
//! - counts of events are differences of prefix counts.
//!
//! Source: prometheus v3.16 `promql/functions.go`.

use super::super::Param;
use super::super::kahan;
use super::super::quantile::{nan_first, quantile as quantile_of, quantile_of_sorted};
use super::{Input, each, seconds};

/// Windows that run side by side: two to four vector registers of each state.
const LANES: usize = 8;

/// Whole numbers up to here are floats without rounding, and so are their sums up to here.
const EXACT_MAX: f64 = 4_503_599_627_370_496.0;

/// `sum_over_time`. `prefixes` is scratch space.
pub(super) fn sum(input: Input<'_>, prefixes: &mut Vec<f64>, out: &mut [f64], valid: &mut [bool]) -> usize {
    if whole_prefix_sums(input.values, prefixes) {
        return each(input, 1, out, valid, |_, lower, upper| prefixes[upper] - prefixes[lower]);
    }
    in_lanes(
        input,
        out,
        valid,
        [0.0; 2],
        |[sum, compensation], value, _| {
            let (sum, compensation) = kahan::add(value, sum, compensation);
            [sum, compensation]
        },
        |[sum, compensation], _| sum + compensation,
    )
}

/// `avg_over_time`. `prefixes` is scratch space.
pub(super) fn average(
    input: Input<'_>,
    prefixes: &mut Vec<f64>,
    out: &mut [f64],
    valid: &mut [bool],
) -> usize {
    if whole_prefix_sums(input.values, prefixes) {
        return each(input, 1, out, valid, |_, lower, upper| {
            (prefixes[upper] - prefixes[lower]) / (upper - lower) as f64
        });
    }
    // No sum of so many values of this size can overflow.
    let safe = f64::MAX / (input.values.len() + 1) as f64;
    if !input.values.iter().fold(true, |all, value| all & (value.abs() <= safe)) {
        return each(input, 1, out, valid, |_, lower, upper| careful_average(&input.values[lower..upper]));
    }
    in_lanes(
        input,
        out,
        valid,
        [0.0; 2],
        |[sum, compensation], value, _| {
            let (sum, compensation) = kahan::add(value, sum, compensation);
            [sum, compensation]
        },
        |[sum, compensation], count| sum / count + compensation / count,
    )
}

/// The mean from the sum, and the running mean from where the sum would overflow.
fn careful_average(values: &[f64]) -> f64 {
    let mut sum = values[0];
    let mut compensation = 0.0;
    let mut mean = None;
    let mut count = 1.0;
    for value in &values[1..] {
        count += 1.0;
        if mean.is_none() {
            let (next, next_compensation) = kahan::add(*value, sum, compensation);
            if !next.is_infinite() {
                (sum, compensation) = (next, next_compensation);
                continue;
            }
            compensation /= count - 1.0;
        }
        let kept = (count - 1.0) / count;
        let before = mean.unwrap_or(sum / (count - 1.0));
        let (next, next_compensation) = kahan::add(value / count, kept * before, kept * compensation);
        mean = Some(next);
        compensation = next_compensation;
    }
    mean.map_or(sum / count + compensation / count, |mean| mean + compensation)
}

/// `stdvar_over_time` and, with a square root, `stddev_over_time`.
pub(super) fn variance(
    input: Input<'_>,
    result: impl Fn(f64) -> f64,
    out: &mut [f64],
    valid: &mut [bool],
) -> usize {
    in_lanes(
        input,
        out,
        valid,
        [0.0; 4],
        |[mean, mean_lost, squares, squares_lost], value, count| {
            let delta = value - (mean + mean_lost);
            let (mean, mean_lost) = kahan::add(delta / count, mean, mean_lost);
            let (squares, squares_lost) =
                kahan::add(delta * (value - (mean + mean_lost)), squares, squares_lost);
            [mean, mean_lost, squares, squares_lost]
        },
        |[_, _, squares, squares_lost], count| result((squares + squares_lost) / count),
    )
}

/// Folds each window from its first to its last sample; windows of equal length run side by side.
///
/// `next` gets the state, a value and how many values that makes; `finish` the state and their
/// number.
#[inline(always)]
fn in_lanes<const N: usize>(
    input: Input<'_>,
    out: &mut [f64],
    valid: &mut [bool],
    start: [f64; N],
    next: impl Fn([f64; N], f64, f64) -> [f64; N],
    finish: impl Fn([f64; N], f64) -> f64,
) -> usize {
    let (lower, upper) = (input.edges.lower(), input.edges.upper());
    let length = |point: usize| upper[point] - lower[point];
    let mut found = 0;
    let mut point = 0;
    while point < out.len() {
        let count = length(point) as usize;
        valid[point] = count > 0;
        if count == 0 {
            out[point] = 0.0;
            point += 1;
            continue;
        }
        let block = point..(point + LANES).min(out.len());
        if block.len() < LANES || block.clone().any(|other| length(other) as usize != count) {
            let values = &input.values[lower[point] as usize..upper[point] as usize];
            let state =
                values.iter().zip(1..).fold(start, |state, (value, n)| next(state, *value, f64::from(n)));
            out[point] = finish(state, count as f64);
            found += 1;
            point += 1;
            continue;
        }
        let mut states = [start; LANES];
        let first = lower[point] as usize;
        let shifts_by_one = lower[block.end - 1] as usize == first + LANES - 1;
        for index in 0..count {
            let n = (index + 1) as f64;
            let mut row = [0.0; LANES];
            if shifts_by_one {
                row.copy_from_slice(&input.values[first + index..first + index + LANES]);
            } else {
                for (slot, lower) in row.iter_mut().zip(&lower[block.clone()]) {
                    *slot = input.values[*lower as usize + index];
                }
            }
            for (state, value) in states.iter_mut().zip(row) {
                *state = next(*state, value, n);
            }
        }
        for (offset, state) in states.into_iter().enumerate() {
            out[point + offset] = finish(state, count as f64);
            valid[point + offset] = true;
        }
        found += LANES;
        point += LANES;
    }
    found
}

/// Fills `prefixes` with the sums of the first 0, 1, ... values, if all are whole numbers whose sums
/// need no rounding: then every compensation is zero and every order of adding gives the same.
fn whole_prefix_sums(values: &[f64], prefixes: &mut Vec<f64>) -> bool {
    // Adding and taking away 1.5 * 2^52 rounds to a whole number.
    const ROUNDER: f64 = 6_755_399_441_055_744.0;
    let whole = values
        .iter()
        .fold(true, |whole, v| whole & ((v + ROUNDER) - ROUNDER == *v) & (v.abs() < EXACT_MAX / 4.0));
    if !whole {
        return false;
    }
    prefixes.clear();
    prefixes.reserve(values.len() + 1);
    prefixes.push(0.0);
    let (mut sum, mut size) = (0.0, 0.0);
    for value in values {
        sum += value;
        size += value.abs();
        prefixes.push(sum);
    }
    size < EXACT_MAX
}

/// `max_over_time`: NaN only if there is nothing else; the earliest of equals.
pub(super) fn max(input: Input<'_>, out: &mut [f64], valid: &mut [bool]) -> usize {
    let better = |earlier: f64, later: f64| if later > earlier || earlier.is_nan() { later } else { earlier };
    sliding(input, |index| input.values[index], better, |value| value, out, valid)
}

/// `min_over_time`: NaN only if there is nothing else; the earliest of equals.
pub(super) fn min(input: Input<'_>, out: &mut [f64], valid: &mut [bool]) -> usize {
    let better = |earlier: f64, later: f64| if later < earlier || earlier.is_nan() { later } else { earlier };
    sliding(input, |index| input.values[index], better, |value| value, out, valid)
}

/// `ts_of_max_over_time`: the latest of equals.
pub(super) fn ts_of_max(input: Input<'_>, out: &mut [f64], valid: &mut [bool]) -> usize {
    let better = |earlier: (f64, i64), later: (f64, i64)| {
        if later.0 >= earlier.0 || earlier.0.is_nan() { later } else { earlier }
    };
    sliding(input, |at| (input.values[at], input.ts[at]), better, |(_, t)| seconds(t), out, valid)
}

/// `ts_of_min_over_time`: the latest of equals.
pub(super) fn ts_of_min(input: Input<'_>, out: &mut [f64], valid: &mut [bool]) -> usize {
    let better = |earlier: (f64, i64), later: (f64, i64)| {
        if later.0 <= earlier.0 || earlier.0.is_nan() { later } else { earlier }
    };
    sliding(input, |at| (input.values[at], input.ts[at]), better, |(_, t)| seconds(t), out, valid)
}

/// Combines the samples of each window with an associative operation.
///
/// A window is split at a fixed sample: results from each sample up to the split are computed once
/// for all windows that contain it, results after it grow with the windows. When a window begins
/// behind the split, a new one is chosen. Each sample is combined about twice, whatever the range.
#[inline(always)]
fn sliding<T: Copy>(
    input: Input<'_>,
    sample: impl Fn(usize) -> T,
    combine: impl Fn(T, T) -> T,
    result: impl Fn(T) -> f64,
    out: &mut [f64],
    valid: &mut [bool],
) -> usize {
    // `before[i]` is the result of samples `first + i..split`.
    let mut before: Vec<T> = Vec::new();
    let (mut first, mut split) = (0, 0);
    let mut after: Option<T> = None;
    let mut after_end = 0;
    each(input, 1, out, valid, |_, lower, upper| {
        if lower >= split {
            (first, split) = (lower, upper);
            before.clear();
            before.resize(split - first, sample(split - 1));
            let mut so_far = sample(split - 1);
            for index in (first..split - 1).rev() {
                so_far = combine(sample(index), so_far);
                before[index - first] = so_far;
            }
            after = None;
            after_end = split;
        }
        while after_end < upper {
            let next = sample(after_end);
            after = Some(after.map_or(next, |after| combine(after, next)));
            after_end += 1;
        }
        let head = before[lower - first];
        result(after.map_or(head, |after| combine(head, after)))
    })
}

/// `changes`: NaN after NaN is no change. `prefixes` is scratch space.
pub(super) fn changes(
    input: Input<'_>,
    prefixes: &mut Vec<u32>,
    out: &mut [f64],
    valid: &mut [bool],
) -> usize {
    events(input, prefixes, out, valid, |before, after| {
        after != before && !(after.is_nan() && before.is_nan())
    })
}

/// `resets`. `prefixes` is scratch space.
pub(super) fn resets(
    input: Input<'_>,
    prefixes: &mut Vec<u32>,
    out: &mut [f64],
    valid: &mut [bool],
) -> usize {
    events(input, prefixes, out, valid, |before, after| after < before)
}

/// How often neighbours in a window satisfy `happens`.
#[inline(always)]
fn events(
    input: Input<'_>,
    prefixes: &mut Vec<u32>,
    out: &mut [f64],
    valid: &mut [bool],
    happens: impl Fn(f64, f64) -> bool,
) -> usize {
    // `prefixes[i]` counts the events up to and including sample `i`.
    let mut count = 0;
    let mut before = input.values.first().copied().unwrap_or_default();
    prefixes.clear();
    prefixes.extend(input.values.iter().map(|value| {
        // The first sample is compared with itself, which is no event: for NaN neither.
        count += u32::from(happens(before, *value));
        before = *value;
        count
    }));
    each(input, 1, out, valid, |_, lower, upper| f64::from(prefixes[upper - 1] - prefixes[lower]))
}

/// `quantile_over_time`. `sorted` is scratch space: the samples of the current window in order.
pub(super) fn quantile(
    input: Input<'_>,
    q: Param<'_>,
    sorted: &mut Vec<f64>,
    out: &mut [f64],
    valid: &mut [bool],
) -> usize {
    sorted.clear();
    let (mut first, mut end) = (0, 0);
    each(input, 1, out, valid, |point, lower, upper| {
        // Moving a few samples in and out costs less than sorting all; replacing most does not.
        if (lower - first) + (upper - end) > (upper - lower) / 2 {
            sorted.clear();
            sorted.extend_from_slice(&input.values[lower..upper]);
            sorted.sort_unstable_by(total_order);
        } else {
            for gone in &input.values[first..lower] {
                if let Ok(at) = sorted.binary_search_by(|kept| total_order(kept, gone)) {
                    sorted.remove(at);
                }
            }
            for new in &input.values[end..upper] {
                let at = sorted.partition_point(|kept| total_order(kept, new).is_lt());
                sorted.insert(at, *new);
            }
        }
        (first, end) = (lower, upper);
        quantile_of_sorted(q.at(point), sorted)
    })
}

/// NaN first, and the zeros apart, so that what was put in is found again.
fn total_order(a: &f64, b: &f64) -> std::cmp::Ordering {
    nan_first(a, b).then_with(|| if a.is_nan() { std::cmp::Ordering::Equal } else { a.total_cmp(b) })
}

/// `mad_over_time`: the median of the distances to the median. `distances` is scratch space.
pub(super) fn mad(input: Input<'_>, distances: &mut Vec<f64>, out: &mut [f64], valid: &mut [bool]) -> usize {
    each(input, 1, out, valid, |_, lower, upper| {
        let values = &input.values[lower..upper];
        if values.iter().any(|value| value.is_nan()) {
            return f64::NAN;
        }
        distances.clear();
        distances.extend_from_slice(values);
        let median = quantile_of(0.5, distances);
        for distance in distances.iter_mut() {
            *distance = (*distance - median).abs();
        }
        quantile_of(0.5, distances)
    })
}
