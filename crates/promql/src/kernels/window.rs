//! Windows of range vectors over a grid: which samples each of them holds.
//!
//! A window at end time `e` holds the samples in `(e - range, e]`: the left edge is open. Edges are
//! indices into the samples of one series: `lower[i]..upper[i]` is the window of point `i`.
//!
//! Finding edges costs as much as the arithmetic of most functions, so they are remembered: series
//! of one scrape target share their timestamps, and [`Edges::prepare`] notices it.

use crate::grid::Grid;

/// The windows of a range vector over a grid.
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

    /// First instant that is not in window `index`: windows are left-open.
    #[must_use]
    pub fn open_start(&self, index: usize) -> i64 {
        self.ends.time(index).saturating_sub(self.range)
    }
}

/// The grid on which a subquery evaluates its inner expression, so that its windows can be cut from
/// the results: the absolute multiples of `step` that lie in any `(t - offset - range, t - offset]`
/// for `t` in `outer`.
///
/// Source: `evaluator.subqueryTimeRange`, prometheus v3.14 `promql/engine.go`.
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
    /// First sample inside, per point.
    pub lower: Vec<u32>,
    /// First sample after the window, per point.
    pub upper: Vec<u32>,
}

impl Edges {
    /// Finds the edges for samples at `ts`; returns false if they are those of the last call.
    pub fn prepare(&mut self, ts: &[i64], window: &RangeWindow) -> bool {
        if self.window == Some(*window) && self.ts == ts {
            return false;
        }
        self.window = Some(*window);
        self.ts.clear();
        self.ts.extend_from_slice(ts);
        count_at(ts, &window.ends.shifted(window.range.saturating_neg()), &mut self.lower);
        count_at(ts, &window.ends, &mut self.upper);
        true
    }
}

/// The number of samples at or before each grid time.
fn count_at(ts: &[i64], grid: &Grid, out: &mut Vec<u32>) {
    out.clear();
    out.reserve(grid.steps);
    let mut count = ts.partition_point(|t| *t <= grid.start);
    for time in grid.times() {
        while count < ts.len() && ts[count] <= time {
            count += 1;
        }
        out.push(count as u32);
    }
}

#[cfg(test)]
mod tests;
