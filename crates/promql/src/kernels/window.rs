//! Windows of range vectors over a grid: which samples each of them holds.
//!
//! Words:
//! - *edges*: indices into the samples of one series; `lower[i]..upper[i]` is the window of point
//!   `i`. Both are counts of samples at or before a time, because windows are left-open.
//! - *uniform part*: the points over which a regularly sampled series shifts by a whole number of
//!   samples per step, so that all windows have the same number of samples at the same distances
//!   from their ends.
//!
//! Finding edges costs as much as the arithmetic of most functions, so it is done as seldom as
//! possible:
//! 1. Series of one scrape target share their timestamps: equal timestamps keep the edges.
//! 2. Where the range is a multiple of the step, one row of counts serves both edges.
//! 3. Regular timestamps need arithmetic, no search.

use std::ops::Range;

use promontory_model::time::first_at_or_after;

use crate::grid::Grid;

/// The windows of a range vector over a grid.
///
/// The window of a point with end `e` holds the samples in `(e - range, e]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RangeWindow {
    /// The last instant of each window, `offset` and `@` already applied.
    pub ends: Grid,
    /// Length of each window in milliseconds.
    pub range: i64,
    /// The evaluation times themselves, which `predict_linear` refers to.
    pub eval: Grid,
}

impl RangeWindow {
    /// The windows of `x[range] offset offset` over the evaluation times `eval`.
    #[must_use]
    pub fn new(eval: Grid, range: i64, offset: i64) -> Self {
        Self { ends: eval.shifted(offset.saturating_neg()), range, eval }
    }

    /// The windows of `x[range] @ end`: the same one at every evaluation time.
    ///
    /// `end` already has the offset applied.
    #[must_use]
    pub fn fixed(eval: Grid, range: i64, end: i64) -> Self {
        Self { ends: Grid { start: end, step: 0, steps: eval.steps }, range, eval }
    }

    /// The instant just before window `index`: windows are left-open.
    #[must_use]
    pub fn open_start(&self, index: usize) -> i64 {
        self.ends.time(index).saturating_sub(self.range)
    }
}

/// The grid on which a subquery evaluates its inner expression, so that its windows can be cut from
/// the results: the absolute multiples of `step` that lie in any `(t - offset - range, t - offset]`
/// for `t` in `outer`.
///
/// Source: `evaluator.subqueryTimeRange`, prometheus v3.16 `promql/engine.go`.
#[must_use]
pub fn subquery_grid(outer: Grid, range: i64, offset: i64, step: i64) -> Grid {
    let step = step.max(1);
    let end = outer.end().saturating_sub(offset);
    let open_start = outer.start.saturating_sub(offset).saturating_sub(range);
    // The quotient is floored, so that the next multiple is strictly after the open start, for
    // negative times too.
    let start = open_start.div_euclid(step).saturating_add(1).saturating_mul(step);
    if outer.is_empty() { Grid { start, step, steps: 0 } } else { Grid::new(start, end, step) }
}

/// Window edges of the series that was prepared last.
#[derive(Clone, Debug, Default)]
pub(super) struct Edges {
    window: Option<RangeWindow>,
    ts: Vec<i64>,
    /// The lower edges from 0, the upper ones from `shift`.
    counts: Vec<u32>,
    shift: usize,
    steps: usize,
    uniform: Range<usize>,
    stride: usize,
    version: u64,
}

/// Above this many samples per point, the next edge is searched for instead of walked to.
const SAMPLES_PER_STEP_WALKED: usize = 8;

impl Edges {
    /// Finds the edges for samples at `ts`.
    pub fn prepare(&mut self, ts: &[i64], window: &RangeWindow) {
        if self.window == Some(*window) && self.ts == ts {
            return;
        }
        self.window = Some(*window);
        self.ts.clear();
        self.ts.extend_from_slice(ts);
        self.version += 1;
        self.steps = window.ends.steps;
        let interval = regular_interval(ts);
        let starts = window.ends.shifted(window.range.saturating_neg());
        self.counts.clear();
        match shared_shift(window) {
            Some(shift) => {
                self.shift = shift;
                let both = Grid { steps: starts.steps + shift, ..starts };
                count_at(ts, interval, &both, &mut self.counts);
            }
            None => {
                self.shift = starts.steps;
                count_at(ts, interval, &starts, &mut self.counts);
                count_at(ts, interval, &window.ends, &mut self.counts);
            }
        }
        (self.uniform, self.stride) = uniform_part(ts, interval, window);
    }

    /// Changes whenever the edges do.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Per point, the first sample inside.
    pub fn lower(&self) -> &[u32] {
        &self.counts[..self.steps]
    }

    /// Per point, the first sample after the window.
    pub fn upper(&self) -> &[u32] {
        &self.counts[self.shift..self.shift + self.steps]
    }

    /// The uniform part of the grid, often all of it; empty for irregular samples.
    pub fn uniform(&self) -> Range<usize> {
        self.uniform.clone()
    }

    /// By how many samples the windows of the uniform part move per point.
    pub fn stride(&self) -> usize {
        self.stride
    }
}

/// By how many points the lower edges lag behind the upper ones, if they are edges of the same grid
/// and enough of them are the same.
fn shared_shift(window: &RangeWindow) -> Option<usize> {
    let Grid { step, steps, .. } = window.ends;
    if step <= 0 || window.range % step != 0 {
        return None;
    }
    usize::try_from(window.range / step).ok().filter(|shift| *shift < steps)
}

/// The distance of neighbours if all have the same; at least two samples are needed to know it.
fn regular_interval(ts: &[i64]) -> Option<i64> {
    let (first, second) = (*ts.first()?, *ts.get(1)?);
    let interval = second.wrapping_sub(first);
    let differs = ts.iter().zip(&ts[1..]).fold(0, |bits, (a, b)| bits | (b.wrapping_sub(*a) ^ interval));
    // Times this far apart would overflow below.
    (differs == 0 && interval > 0 && interval < 1 << 40 && first.unsigned_abs() < 1 << 60).then_some(interval)
}

/// Appends the number of samples at or before each grid time.
fn count_at(ts: &[i64], interval: Option<i64>, grid: &Grid, out: &mut Vec<u32>) {
    out.reserve(grid.steps);
    match interval {
        Some(interval) if grid.start.unsigned_abs() < 1 << 60 && grid.step < 1 << 40 => {
            count_regular(ts, interval, grid, out);
        }
        _ if ts.len() / SAMPLES_PER_STEP_WALKED > grid.steps => {
            let mut count = 0;
            out.extend(grid.times().map(|time| {
                count += ts[count..].partition_point(|t| *t <= time);
                count as u32
            }));
        }
        _ => {
            let mut count = first_at_or_after(ts, grid.start.saturating_add(1));
            out.extend(grid.times().map(|time| {
                while count < ts.len() && ts[count] <= time {
                    count += 1;
                }
                count as u32
            }));
        }
    }
}

/// As above: count and remainder advance with the grid, and the count is cut to what exists.
fn count_regular(ts: &[i64], interval: i64, grid: &Grid, out: &mut Vec<u32>) {
    let since = grid.start - ts[0];
    let mut count = since.div_euclid(interval) + 1;
    let mut remainder = since.rem_euclid(interval);
    let (stride, rest) = (grid.step / interval, grid.step % interval);
    let samples = ts.len() as i64;
    if rest == 0 && stride > 0 {
        // Nothing before the first sample, a straight line, everything after the last.
        let steps_until = |count_wanted: i64| {
            let missing = (count_wanted - count).max(0) as u64;
            usize::try_from(missing.div_ceil(stride as u64)).unwrap_or(usize::MAX).min(grid.steps)
        };
        let (from, to) = (steps_until(1), steps_until(samples));
        let first = (count + stride * from as i64).clamp(0, samples) as u32;
        let before = out.len();
        out.resize(before + from, 0);
        out.extend((0..to.saturating_sub(from) as u32).map(|index| first + index * stride as u32));
        out.resize(before + grid.steps, samples as u32);
        return;
    }
    out.extend((0..grid.steps).map(|_| {
        let inside = count.clamp(0, samples) as u32;
        remainder += rest;
        let carry = i64::from(remainder >= interval);
        remainder -= carry * interval;
        count += stride + carry;
        inside
    }));
}

fn uniform_part(ts: &[i64], interval: Option<i64>, window: &RangeWindow) -> (Range<usize>, usize) {
    let Some(interval) = interval else { return (0..0, 0) };
    let Grid { step, steps, .. } = window.ends;
    if step <= 0 || step % interval != 0 {
        return (0..0, 0);
    }
    // Where both edges have a sample, or would have one more at the same distance, beside them.
    let first = ts[0].saturating_sub(interval).saturating_add(window.range);
    let after = ts[ts.len() - 1].saturating_add(interval);
    let from = window.ends.first_at_or_after(first).unwrap_or(steps);
    let to = window.ends.first_at_or_after(after).unwrap_or(steps);
    (from..to.max(from), (step / interval) as usize)
}

#[cfg(test)]
mod tests;
