//! Aggregations over grids: one accumulator for many groups, a grid of partial states each.
//!
//! Words:
//! - *lane*: one number of the partial state per group and step. A function has zero to three of
//!   them; together with *seen* (has this group a sample at this step?) they are the whole state.
//!
//! Invariants:
//! - All lanes hold `groups * steps` numbers, group by group.
//! - Where *seen* is false the lanes hold the function's neutral state, so that inner loops need no
//!   case for a first sample. That this gives what Prometheus computes is argued at each function.
//! - One state fed with all rows in order gives Prometheus' result bit for bit; merged states give
//!   it up to the rounding of a compensated sum.
//!
//! Source: `evaluator.aggregation`, prometheus v3.16 `promql/engine.go`, float samples.

use super::kahan;
use crate::grid::{GridRow, Validity};

/// An aggregation whose state has a fixed size per step.
///
/// `quantile` keeps all values ([`QuantileAccumulator`]); aggregations that choose series keep those
/// ([`super::select`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // Each is the PromQL aggregation of its name.
pub enum AggregateFunction {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
}

/// Most lanes that a function has.
pub const LANES_MAX: usize = 3;

impl AggregateFunction {
    /// The lanes of its state, by name.
    ///
    /// `count` of `avg` is negative once the state holds a running mean instead of a sum, because
    /// the sum would have overflowed.
    #[must_use]
    pub fn lanes(self) -> &'static [&'static str] {
        match self {
            Self::Sum => &["sum", "compensation"],
            Self::Avg => &["sum", "compensation", "count"],
            Self::Min | Self::Max => &["value"],
            Self::Count => &["count"],
            Self::Group => &[],
            Self::Stddev | Self::Stdvar => &["mean", "squares", "count"],
        }
    }

    fn neutral(self) -> f64 {
        match self {
            // NaN gives way to every sample, and stays if all samples are NaN: as upstream.
            Self::Min | Self::Max => f64::NAN,
            _ => 0.0,
        }
    }
}

/// The states of one aggregation for many groups over one grid.
#[derive(Clone, Debug)]
pub struct GridAccumulator {
    function: AggregateFunction,
    steps: usize,
    groups: usize,
    lanes: [Vec<f64>; LANES_MAX],
    seen: Vec<bool>,
    /// Per group: every step is seen, nothing is left to note.
    complete: Vec<bool>,
    row: Vec<f64>,
    mask: Vec<bool>,
    staged: [Vec<f64>; 2],
}

impl GridAccumulator {
    /// An accumulator without groups over grids of `steps` points.
    #[must_use]
    pub fn new(function: AggregateFunction, steps: usize) -> Self {
        Self {
            function,
            steps,
            groups: 0,
            lanes: Default::default(),
            seen: Vec::new(),
            complete: Vec::new(),
            row: vec![0.0; steps],
            mask: vec![false; steps],
            staged: [vec![0.0; steps], vec![0.0; steps]],
        }
    }

    /// What [`Self::new`] was told to compute.
    #[must_use]
    pub fn function(&self) -> AggregateFunction {
        self.function
    }

    /// How many groups [`Self::resize`] has made.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Points of each grid.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Grows to `groups` groups; never shrinks.
    pub fn resize(&mut self, groups: usize) {
        if groups <= self.groups {
            return;
        }
        let points = groups * self.steps;
        for lane in &mut self.lanes[..self.function.lanes().len()] {
            lane.resize(points, self.function.neutral());
        }
        self.seen.resize(points, false);
        self.complete.resize(groups, self.steps == 0);
        self.groups = groups;
    }

    /// Adds one row: a series' values over the grid.
    ///
    /// # Panics
    /// If `group` is not below [`Self::groups`] or the row is shorter than the grid.
    pub fn update(&mut self, group: usize, row: GridRow<'_>) {
        let (values, validity) = (&row.values[..self.steps], row.valid);
        let range = self.range(group);
        let all = matches!(validity, Validity::All);
        if !all {
            validity.expand(&mut self.mask);
        }
        self.note_seen(group, all);
        let [first, second, third] = &mut self.lanes;
        match self.function {
            AggregateFunction::Sum => {
                let values = masked(values, (!all).then_some(&self.mask), 0.0, &mut self.row);
                add_row(&mut first[range.clone()], &mut second[range], values);
            }
            AggregateFunction::Avg => {
                let state = (&mut first[range.clone()], &mut second[range.clone()], &mut third[range]);
                average_row(state, values, (!all).then_some(&self.mask), &mut self.row, &mut self.staged);
            }
            AggregateFunction::Min => {
                let values = masked(values, (!all).then_some(&self.mask), f64::NAN, &mut self.row);
                min_row(&mut first[range], values);
            }
            AggregateFunction::Max => {
                let values = masked(values, (!all).then_some(&self.mask), f64::NAN, &mut self.row);
                max_row(&mut first[range], values);
            }
            AggregateFunction::Count => {
                for (step, count) in first[range].iter_mut().enumerate() {
                    *count += f64::from(u8::from(all || self.mask[step]));
                }
            }
            AggregateFunction::Group => {}
            AggregateFunction::Stddev | AggregateFunction::Stdvar => {
                let state = (&mut first[range.clone()], &mut second[range.clone()], &mut third[range]);
                welford_row(state, values, |step| all || self.mask[step]);
            }
        }
    }

    /// Adds the partial state of one group from elsewhere: its lanes in order, and where it was seen.
    ///
    /// # Panics
    /// If `group` is not below [`Self::groups`], or lanes are missing or shorter than the grid.
    pub fn merge(&mut self, group: usize, lanes: &[&[f64]], seen: Validity<'_>) {
        let all = matches!(seen, Validity::All);
        seen.expand(&mut self.mask);
        let range = self.range(group);
        let [first, second, third] = &mut self.lanes;
        for step in (0..self.steps).filter(|step| self.mask[*step]) {
            let at = range.start + step;
            match self.function {
                AggregateFunction::Sum => {
                    let (sum, compensation) = kahan::add(lanes[0][step], first[at], second[at]);
                    first[at] = sum;
                    second[at] = if sum.is_infinite() { 0.0 } else { compensation + lanes[1][step] };
                }
                AggregateFunction::Avg => {
                    let mine = Average { value: first[at], compensation: second[at], count: third[at] };
                    let other = Average {
                        value: lanes[0][step],
                        compensation: lanes[1][step],
                        count: lanes[2][step],
                    };
                    let merged = mine.merge(other);
                    (first[at], second[at], third[at]) = (merged.value, merged.compensation, merged.count);
                }
                AggregateFunction::Min => min_row(&mut first[at..=at], &lanes[0][step..=step]),
                AggregateFunction::Max => max_row(&mut first[at..=at], &lanes[0][step..=step]),
                AggregateFunction::Count => first[at] += lanes[0][step],
                AggregateFunction::Group => {}
                AggregateFunction::Stddev | AggregateFunction::Stdvar => {
                    let (mean, squares, count) = (lanes[0][step], lanes[1][step], lanes[2][step]);
                    let total = third[at] + count;
                    let delta = mean - first[at];
                    if third[at] == 0.0 {
                        (first[at], second[at]) = (mean, squares);
                    } else {
                        first[at] += delta * (count / total);
                        second[at] += squares + delta * delta * (third[at] * count / total);
                    }
                    third[at] = total;
                }
            }
        }
        self.note_seen(group, all);
    }

    /// One lane of one group's state.
    #[must_use]
    pub fn lane(&self, lane: usize, group: usize) -> &[f64] {
        &self.lanes[lane][self.range(group)]
    }

    /// Where one group has a sample.
    #[must_use]
    pub fn seen(&self, group: usize) -> &[bool] {
        &self.seen[self.range(group)]
    }

    /// Writes one group's result; returns how many points are valid.
    pub fn finish(&self, group: usize, out: &mut [f64], valid: &mut [bool]) -> usize {
        let range = self.range(group);
        valid.copy_from_slice(&self.seen[range.clone()]);
        let [first, second, third] = &self.lanes;
        for (step, out) in out.iter_mut().enumerate() {
            let at = range.start + step;
            *out = if !valid[step] {
                0.0
            } else {
                match self.function {
                    AggregateFunction::Sum => first[at] + second[at],
                    AggregateFunction::Avg => {
                        Average { value: first[at], compensation: second[at], count: third[at] }.result()
                    }
                    AggregateFunction::Min | AggregateFunction::Max | AggregateFunction::Count => first[at],
                    AggregateFunction::Group => 1.0,
                    AggregateFunction::Stdvar => second[at] / third[at],
                    AggregateFunction::Stddev => (second[at] / third[at]).sqrt(),
                }
            };
        }
        valid.iter().filter(|seen| **seen).count()
    }

    /// Forgets the first `groups` groups; the others move down.
    pub fn drop_first(&mut self, groups: usize) {
        let groups = groups.min(self.groups);
        let points = groups * self.steps;
        for lane in &mut self.lanes[..self.function.lanes().len()] {
            lane.drain(..points);
        }
        self.seen.drain(..points);
        self.complete.drain(..groups);
        self.groups -= groups;
    }

    /// Bytes that its vectors hold.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let lanes: usize = self.lanes.iter().map(Vec::capacity).sum();
        let rows = self.row.capacity() + self.staged.iter().map(Vec::capacity).sum::<usize>();
        (lanes + rows) * size_of::<f64>() + self.seen.capacity() + self.complete.capacity()
    }

    fn range(&self, group: usize) -> std::ops::Range<usize> {
        group * self.steps..(group + 1) * self.steps
    }

    /// Notes where the row in `mask` has samples.
    fn note_seen(&mut self, group: usize, all: bool) {
        if self.complete[group] {
            return;
        }
        let range = self.range(group);
        let seen = &mut self.seen[range];
        if all {
            seen.fill(true);
            self.complete[group] = true;
            return;
        }
        let mut complete = true;
        for (seen, valid) in seen.iter_mut().zip(&self.mask) {
            *seen |= *valid;
            complete &= *seen;
        }
        self.complete[group] = complete;
    }
}

/// The values, with `neutral` where the mask says that there is no sample.
fn masked<'a>(values: &'a [f64], mask: Option<&Vec<bool>>, neutral: f64, row: &'a mut [f64]) -> &'a [f64] {
    let Some(mask) = mask else { return values };
    for ((slot, value), valid) in row.iter_mut().zip(values).zip(mask) {
        *slot = if *valid { *value } else { neutral };
    }
    row
}

/// Adding zero changes neither sum nor compensation, so points without a sample add zero; and zero
/// plus the first sample is what Prometheus starts from.
fn add_row(sums: &mut [f64], compensations: &mut [f64], values: &[f64]) {
    for ((sum, compensation), value) in sums.iter_mut().zip(compensations).zip(values) {
        (*sum, *compensation) = kahan::add(*value, *sum, *compensation);
    }
}

fn min_row(mins: &mut [f64], values: &[f64]) {
    for (min, value) in mins.iter_mut().zip(values) {
        *min = if *min > *value || min.is_nan() { *value } else { *min };
    }
}

fn max_row(maxs: &mut [f64], values: &[f64]) {
    for (max, value) in maxs.iter_mut().zip(values) {
        *max = if *max < *value || max.is_nan() { *value } else { *max };
    }
}

/// The state of a mean: a compensated sum, until that would overflow; then a running mean.
#[derive(Clone, Copy)]
struct Average {
    value: f64,
    compensation: f64,
    /// Negative in the second form.
    count: f64,
}

impl Average {
    fn add(&mut self, sample: f64) {
        if self.count == 0.0 {
            *self = Self { value: sample, compensation: 0.0, count: 1.0 };
            return;
        }
        if self.count > 0.0 {
            let (sum, compensation) = kahan::add(sample, self.value, self.compensation);
            if !sum.is_infinite() {
                *self = Self { value: sum, compensation, count: self.count + 1.0 };
                return;
            }
            self.become_mean();
        }
        let count = -self.count + 1.0;
        let kept = (count - 1.0) / count;
        (self.value, self.compensation) =
            kahan::add(sample / count, kept * self.value, kept * self.compensation);
        self.count = -count;
    }

    fn become_mean(&mut self) {
        if self.count > 0.0 {
            self.value /= self.count;
            self.compensation /= self.count;
            self.count = -self.count;
        }
    }

    fn merge(mut self, mut other: Self) -> Self {
        if self.count == 0.0 {
            return other;
        }
        if other.count == 0.0 {
            return self;
        }
        if self.count > 0.0 && other.count > 0.0 {
            let (sum, compensation) = kahan::add(other.value, self.value, self.compensation);
            if !sum.is_infinite() {
                let compensation = compensation + other.compensation;
                return Self { value: sum, compensation, count: self.count + other.count };
            }
        }
        self.become_mean();
        other.become_mean();
        let count = self.count + other.count;
        let (mine, theirs) = (self.count / count, other.count / count);
        let (value, compensation) =
            kahan::add(theirs * other.value, mine * self.value, mine * self.compensation);
        let compensation = if value.is_infinite() { 0.0 } else { compensation + theirs * other.compensation };
        Self { value, compensation, count }
    }

    fn result(self) -> f64 {
        if self.count < 0.0 {
            self.value + self.compensation
        } else {
            self.value / self.count + self.compensation / self.count
        }
    }
}

/// Sums the whole row without a branch into `staged`; only if a sum overflowed, or a mean is running
/// already, the row is done again point by point.
fn average_row(
    (sums, compensations, counts): (&mut [f64], &mut [f64], &mut [f64]),
    values: &[f64],
    mask: Option<&Vec<bool>>,
    row: &mut [f64],
    staged: &mut [Vec<f64>; 2],
) {
    let plain = masked(values, mask, 0.0, row);
    let [staged_sums, staged_compensations] = staged;
    let mut special = false;
    for (step, value) in plain.iter().enumerate() {
        let (sum, compensation) = kahan::add(*value, sums[step], compensations[step]);
        staged_sums[step] = sum;
        staged_compensations[step] = compensation;
        special |= sum.abs() > f64::MAX || counts[step] < 0.0;
    }
    if special {
        for (step, value) in values.iter().enumerate().filter(|(step, _)| mask.is_none_or(|mask| mask[*step]))
        {
            let mut state =
                Average { value: sums[step], compensation: compensations[step], count: counts[step] };
            state.add(*value);
            (sums[step], compensations[step], counts[step]) = (state.value, state.compensation, state.count);
        }
        return;
    }
    sums.copy_from_slice(staged_sums);
    compensations.copy_from_slice(staged_compensations);
    match mask {
        None => counts.iter_mut().for_each(|count| *count += 1.0),
        Some(mask) => {
            counts.iter_mut().zip(mask).for_each(|(count, valid)| *count += f64::from(u8::from(*valid)));
        }
    }
}

/// From mean 0 and count 0 the general step gives what Prometheus sets for a first sample: the mean
/// is the sample, the squares are zero, or NaN for a sample that is NaN or infinite.
fn welford_row(
    (means, squares, counts): (&mut [f64], &mut [f64], &mut [f64]),
    values: &[f64],
    valid: impl Fn(usize) -> bool,
) {
    for (step, value) in values.iter().enumerate() {
        let count = counts[step] + 1.0;
        let delta = value - means[step];
        let mean = means[step] + delta / count;
        let square = squares[step] + delta * (value - mean);
        if valid(step) {
            (means[step], squares[step], counts[step]) = (mean, square, count);
        }
    }
}

/// `quantile`: keeps every row.
#[derive(Clone, Debug)]
pub struct QuantileAccumulator {
    steps: usize,
    groups: Vec<Rows>,
}

/// The rows of one group, one after the other.
#[derive(Clone, Debug, Default)]
struct Rows {
    values: Vec<f64>,
    valid: Vec<bool>,
}

/// Steps gathered at once when rows become columns: a cache line of values.
const GATHER_STEPS: usize = 8;

impl QuantileAccumulator {
    /// An accumulator without groups over grids of `steps` points.
    #[must_use]
    pub fn new(steps: usize) -> Self {
        Self { steps, groups: Vec::new() }
    }

    /// Grows to `groups` groups; never shrinks.
    pub fn resize(&mut self, groups: usize) {
        if groups > self.groups.len() {
            self.groups.resize_with(groups, Rows::default);
        }
    }

    /// Adds one row.
    ///
    /// # Panics
    /// If [`Self::resize`] has not made `group` or the row is shorter than the grid.
    pub fn update(&mut self, group: usize, row: GridRow<'_>) {
        self.merge(group, GridRow { values: &row.values[..self.steps], ..row });
    }

    /// Adds rows, one after the other: another state's [`Self::rows`].
    ///
    /// # Panics
    /// If [`Self::resize`] has not made `group`.
    pub fn merge(&mut self, group: usize, GridRow { values, valid }: GridRow<'_>) {
        let rows = &mut self.groups[group];
        let before = rows.valid.len();
        rows.values.extend_from_slice(values);
        rows.valid.resize(before + values.len(), false);
        valid.expand(&mut rows.valid[before..]);
    }

    /// The state of one group: its rows one after the other, and where they have samples.
    #[must_use]
    pub fn rows(&self, group: usize) -> (&[f64], &[bool]) {
        (&self.groups[group].values, &self.groups[group].valid)
    }

    /// Writes one group's `q`-quantiles; returns how many points are valid.
    pub fn finish(&self, group: usize, q: super::Param<'_>, out: &mut [f64], valid: &mut [bool]) -> usize {
        out.fill(0.0);
        valid.fill(false);
        let rows = &self.groups[group];
        let mut columns: [Vec<f64>; GATHER_STEPS] = Default::default();
        let mut found = 0;
        for first in (0..self.steps).step_by(GATHER_STEPS) {
            let width = GATHER_STEPS.min(self.steps - first);
            columns.iter_mut().for_each(Vec::clear);
            for at in (first..rows.values.len()).step_by(self.steps) {
                for (offset, column) in columns[..width].iter_mut().enumerate() {
                    if rows.valid[at + offset] {
                        column.push(rows.values[at + offset]);
                    }
                }
            }
            for (offset, column) in columns[..width].iter_mut().enumerate() {
                if !column.is_empty() {
                    let step = first + offset;
                    (out[step], valid[step]) = (super::quantile::quantile(q.at(step), column), true);
                    found += 1;
                }
            }
        }
        found
    }

    /// Forgets the first `groups` groups; the others move down.
    pub fn drop_first(&mut self, groups: usize) {
        self.groups.drain(..groups.min(self.groups.len()));
    }
}

#[cfg(test)]
mod tests;
