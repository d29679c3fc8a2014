//! `rate`, `increase`, `delta`: the change over a window, extrapolated to its ends; and `irate`,
//! `idelta`.
//!
//! Words:
//! - *geometry*: everything about a window that does not depend on values: the span of its samples,
//!   how far the result reaches beyond them at both ends, and the resulting *factor*.
//!
//! Of the divisions per point only one depends on values: a counter is not extrapolated below zero,
//! which shortens the reach at the start if `span * (first / change)` is smaller. It is smaller only
//! if `first` is below `change * (reach / span)`, so a product decides nearly always, and the
//! division is made only where it matters; a margin keeps the decision on the safe side of all
//! rounding. The geometry is computed once for series with the same timestamps, and once for the
//! whole uniform part of a grid.
//!
//! Source: `extrapolatedRate` and `instantValue`, prometheus v3.16 `promql/functions.go`.

use std::ops::Range;

use super::{Input, each};

/// What the change over a window is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The range in seconds.
    PerSecond,
    /// Nothing.
    Total,
}

/// Relative margin of the decision without a division; rounding is below 1e-15.
const MARGIN: f64 = 1.0 + 1e-6;

/// The geometry of all windows of a grid, by point. Meaningless at points that are not valid.
#[derive(Clone, Debug, Default)]
pub(super) struct Geometry {
    prepared: Option<(u64, Kind)>,
    /// Range in seconds, or 1.
    divisor: f64,
    /// Seconds between first and last sample.
    span: Vec<f64>,
    /// Seconds of extrapolation before the first sample.
    to_start: Vec<f64>,
    /// Seconds of extrapolation after the last sample.
    to_end: Vec<f64>,
    /// By what the change is multiplied.
    factor: Vec<f64>,
    /// A first sample above this share of the change cannot reach zero inside the window.
    bound: Vec<f64>,
    valid: Vec<bool>,
    found: usize,
    /// Per block of a measured part: its windows all have the numbers of the one before them.
    repeats: Vec<bool>,
}

impl Geometry {
    fn prepare(&mut self, input: Input<'_>, kind: Kind) {
        let key = (input.edges.version(), kind);
        if self.prepared == Some(key) {
            return;
        }
        self.prepared = Some(key);
        self.divisor = match kind {
            Kind::PerSecond => duration_seconds(input.window.range),
            Kind::Total => 1.0,
        };
        let steps = input.window.ends.steps;
        for column in self.columns() {
            column.resize(steps, 1.0);
        }
        self.valid.resize(steps, false);
        let uniform = input.edges.uniform();
        self.measure(input, 0..uniform.start);
        self.measure(input, uniform.end..steps);
        if !uniform.is_empty() {
            let first = uniform.start;
            self.measure(input, first..first + 1);
            for column in self.columns() {
                let value = column[first];
                column[uniform.clone()].fill(value);
            }
            let value = self.valid[first];
            self.valid[uniform].fill(value);
        }
        self.found = self.valid.iter().filter(|valid| **valid).count();
    }

    fn columns(&mut self) -> [&mut Vec<f64>; 5] {
        [&mut self.span, &mut self.to_start, &mut self.to_end, &mut self.bound, &mut self.factor]
    }

    /// Fills the columns at `points`. Blocks that repeat the window before them, as those of nearly
    /// regular samples do, are not calculated.
    fn measure(&mut self, input: Input<'_>, points: Range<usize>) {
        self.stage(input, points.clone());
        let mut before = [1.0; 5];
        for (block_index, start) in points.clone().step_by(BLOCK).enumerate() {
            let block = start..(start + BLOCK).min(points.end);
            let width = block.len();
            let (repeats, divisor) = (self.repeats[block_index], self.divisor);
            let columns = self.columns();
            let results = if repeats {
                before.map(|result| [result; BLOCK])
            } else {
                let mut staged = [[1.0; BLOCK]; 4];
                for (staged, column) in staged.iter_mut().zip(&columns) {
                    staged[..width].copy_from_slice(&column[block.clone()]);
                }
                measure_block(staged, divisor)
            };
            for ((column, result), before) in columns.into_iter().zip(results).zip(&mut before) {
                column[block.clone()].copy_from_slice(&result[..width]);
                *before = result[width - 1];
            }
        }
    }

    /// Puts milliseconds into the columns, and the number of gaps between samples into `bound`: only
    /// this part needs to look samples up. It is done for all points before the arithmetic, because
    /// a processor is slow to read several fresh narrow writes as one wide value.
    fn stage(&mut self, input: Input<'_>, points: Range<usize>) {
        let Input { ts, edges, window, .. } = input;
        self.repeats.clear();
        // Four scalars, not an array: comparing arrays would go through memory.
        let mut before = (0, 0, 0, 0);
        let mut end = window.ends.time(points.start);
        for start in points.clone().step_by(BLOCK) {
            let mut differs = 0;
            for point in start..(start + BLOCK).min(points.end) {
                let (lower, upper) = (edges.lower()[point] as usize, edges.upper()[point] as usize);
                let valid = upper >= lower + 2;
                self.valid[point] = valid;
                let numbers = if valid {
                    let (first, last) = (ts[lower], ts[upper - 1]);
                    let open_start = end.saturating_sub(window.range);
                    (
                        last.wrapping_sub(first),
                        first.wrapping_sub(open_start),
                        end.wrapping_sub(last),
                        (upper - lower - 1) as i64,
                    )
                } else {
                    (1, 1, 1, 1)
                };
                self.span[point] = numbers.0 as f64;
                self.to_start[point] = numbers.1 as f64;
                self.to_end[point] = numbers.2 as f64;
                self.bound[point] = numbers.3 as f64;
                differs |= numbers.0 ^ before.0 | numbers.1 ^ before.1;
                differs |= numbers.2 ^ before.2 | numbers.3 ^ before.3;
                before = numbers;
                end = end.saturating_add(window.ends.step);
            }
            // Of the first block nothing is known yet: no window has zero gaps.
            let repeats = differs == 0;
            self.repeats.push(repeats);
        }
    }

    /// The result of a counter that began at `first` and changed by `change`.
    #[inline(always)]
    fn counter_result(&self, point: usize, first: f64, change: f64) -> f64 {
        if far_from_zero(first, change, self.bound[point]) {
            return change * self.factor[point];
        }
        self.counter_result_near_zero(point, first, change)
    }

    #[cold]
    fn counter_result_near_zero(&self, point: usize, first: f64, change: f64) -> f64 {
        let span = self.span[point];
        let mut factor = self.factor[point];
        if change > 0.0 && first >= 0.0 {
            let to_zero = span * (first / change);
            if to_zero < self.to_start[point] {
                factor = (span + to_zero + self.to_end[point]) / span / self.divisor;
            }
        }
        change * factor
    }
}

/// Windows measured at once, so that their divisions share instructions.
const BLOCK: usize = 8;

/// From milliseconds between first and last sample, before and after them, and the number of gaps
/// between samples: span, reach to the start and to the end, bound and factor.
fn measure_block([span, before, after, gaps]: [[f64; BLOCK]; 4], divisor: f64) -> [[f64; BLOCK]; 5] {
    let mut results = [[0.0; BLOCK]; 5];
    for lane in 0..BLOCK {
        let span = span[lane] / 1000.0;
        let average = span / gaps[lane];
        let threshold = average * 1.1;
        let reach = |milliseconds: f64| {
            let distance = milliseconds / 1000.0;
            if distance >= threshold { average / 2.0 } else { distance }
        };
        let (to_start, to_end) = (reach(before[lane]), reach(after[lane]));
        results[0][lane] = span;
        results[1][lane] = to_start;
        results[2][lane] = to_end;
        // A divisor of one changes nothing.
        results[4][lane] = (span + to_start + to_end) / span / divisor;
        results[3][lane] = to_start / span * MARGIN;
    }
    results
}

/// Surely no zero point inside the window, without a division. The comparison is strict, so that it
/// holds where the product is rounded to a subnormal number too; NaN and infinity say no.
#[inline(always)]
fn far_from_zero(first: f64, change: f64, bound: f64) -> bool {
    (first > change * bound) | (change == 0.0)
}

/// `time.Duration.Seconds` for whole milliseconds.
fn duration_seconds(milliseconds: i64) -> f64 {
    (milliseconds / 1000) as f64 + (milliseconds % 1000 * 1_000_000) as f64 / 1e9
}

/// `rate` or `increase`. `resets` is scratch space for the positions of counter resets.
pub(super) fn rate(
    input: Input<'_>,
    geometry: &mut Geometry,
    kind: Kind,
    resets: &mut Vec<u32>,
    out: &mut [f64],
    valid: &mut [bool],
) -> usize {
    geometry.prepare(input, kind);
    valid.copy_from_slice(&geometry.valid);
    let uniform = input.edges.uniform();
    if geometry.found == 0 {
        out.fill(0.0);
        return 0;
    }
    counter_points(input, geometry, 0..uniform.start, out);
    counter_points(input, geometry, uniform.end..out.len(), out);
    if input.edges.stride() == 1 && geometry.valid[uniform.clone()].first() == Some(&true) {
        counter_run(input, geometry, uniform, out);
    } else {
        counter_points(input, geometry, uniform, out);
    }
    find_resets(input.values, resets);
    if !resets.is_empty() {
        correct_for_resets(input, geometry, resets, out);
    }
    geometry.found
}

/// Points one by one, as if there were no resets.
fn counter_points(input: Input<'_>, geometry: &Geometry, points: Range<usize>, out: &mut [f64]) {
    let (lower, upper) = (input.edges.lower(), input.edges.upper());
    for point in points {
        let (lower, upper) = (lower[point] as usize, upper[point] as usize);
        out[point] = if upper >= lower + 2 {
            let first = input.values[lower];
            geometry.counter_result(point, first, input.values[upper - 1] - first)
        } else {
            0.0
        };
    }
}

/// Points whose windows move by one sample each and have the same geometry: first and last samples
/// are two slices, and the loop vectorises.
fn counter_run(input: Input<'_>, geometry: &Geometry, points: Range<usize>, out: &mut [f64]) {
    let (lower, upper) =
        (input.edges.lower()[points.start] as usize, input.edges.upper()[points.start] as usize);
    let firsts = &input.values[lower..lower + points.len()];
    let lasts = &input.values[upper - 1..upper - 1 + points.len()];
    let (factor, bound) = (geometry.factor[points.start], geometry.bound[points.start]);
    let out = &mut out[points.clone()];
    let mut all_far = true;
    for ((out, first), last) in out.iter_mut().zip(firsts).zip(lasts) {
        let change = last - first;
        *out = change * factor;
        all_far &= far_from_zero(*first, change, bound);
    }
    if all_far {
        return;
    }
    for (index, (first, last)) in firsts.iter().zip(lasts).enumerate() {
        let change = last - first;
        if !far_from_zero(*first, change, bound) {
            out[index] = geometry.counter_result_near_zero(points.start + index, *first, change);
        }
    }
}

/// Writes where a sample is below its predecessor.
fn find_resets(values: &[f64], resets: &mut Vec<u32>) {
    resets.clear();
    let pairs = || values.iter().zip(values.get(1..).unwrap_or(&[]));
    if !pairs().fold(false, |any, (before, after)| any | (after < before)) {
        return;
    }
    let descents = pairs().enumerate().filter(|(_, (before, after))| after < before);
    resets.extend(descents.map(|(index, _)| index as u32 + 1));
}

/// Does the points again whose windows hold a reset: each adds the value before it, in order.
fn correct_for_resets(input: Input<'_>, geometry: &Geometry, resets: &[u32], out: &mut [f64]) {
    let (lower, upper) = (input.edges.lower(), input.edges.upper());
    let mut done = 0;
    for (index, reset) in resets.iter().enumerate() {
        // A window has this reset if both the sample and its predecessor are inside.
        let from = done.max(upper.partition_point(|upper| upper <= reset));
        let to = lower.partition_point(|lower| lower < reset);
        let mut relevant = &resets[index..];
        for point in from..to {
            let (first_sample, end) = (lower[point], upper[point]);
            while relevant.first().is_some_and(|reset| *reset <= first_sample) {
                relevant = &relevant[1..];
            }
            if end < first_sample + 2 {
                continue;
            }
            let first = input.values[first_sample as usize];
            let mut change = input.values[end as usize - 1] - first;
            for reset in relevant.iter().take_while(|reset| **reset < end) {
                change += input.values[*reset as usize - 1];
            }
            out[point] = geometry.counter_result(point, first, change);
        }
        done = done.max(to);
        if done == out.len() {
            break;
        }
    }
}

/// `delta`: no resets, no zero.
pub(super) fn delta(input: Input<'_>, geometry: &mut Geometry, out: &mut [f64], valid: &mut [bool]) -> usize {
    geometry.prepare(input, Kind::Total);
    let factor = &geometry.factor;
    each(input, 2, out, valid, |point, lower, upper| {
        (input.values[upper - 1] - input.values[lower]) * factor[point]
    })
}

/// `irate` (`per_second`) or `idelta`: the change between the last two samples.
pub(super) fn instant(input: Input<'_>, per_second: bool, out: &mut [f64], valid: &mut [bool]) -> usize {
    let Input { ts, values, .. } = input;
    each(input, 2, out, valid, |_, _, upper| {
        let (before, last) = (values[upper - 2], values[upper - 1]);
        if !per_second {
            return last - before;
        }
        // After a reset the counter has gone from zero to its value.
        let change = if last < before { last } else { last - before };
        change / (ts[upper - 1].wrapping_sub(ts[upper - 2]) as f64 / 1000.0)
    })
}
