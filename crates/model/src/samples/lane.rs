//! One kind of sample as columns, owned and borrowed.

use std::cmp::Ordering;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use crate::float_order::value_order;
use crate::histogram::{Histogram, HistogramColumn, HistogramColumnView};
use crate::time::TimeRange;

/// The values of one kind of samples, owned: floats or native histograms.
pub trait Column: Clone + Debug + Default + PartialEq {
    /// What is borrowed of the column, whole or in part.
    type View<'a>: ColumnView
    where
        Self: 'a;

    /// The whole column, borrowed.
    fn view(&self) -> Self::View<'_>;

    /// Appends a copy of each of `values`, in order.
    fn extend(&mut self, values: Self::View<'_>);

    /// Removes all values; where it can, the memory stays for the next ones.
    fn clear(&mut self);

    /// Makes room for `additional` values, so that appending them does not move the others.
    fn reserve(&mut self, additional: usize);

    /// Memory of one value in bytes, where it is the same for all; what is on the heap is left out.
    const VALUE_BYTES: usize;
}

/// The values of one kind of samples, borrowed: a part of a [`Column`].
pub trait ColumnView: Copy + Debug {
    /// Number of values: one for each timestamp of a lane.
    fn len(self) -> usize;

    /// The values at `range`, which must lie inside.
    fn part(self, range: Range<usize>) -> Self;

    /// Which of two values at one timestamp stays: the greater; `self[at]` beside `other[other_at]`.
    fn compare(self, at: usize, other: Self, other_at: usize) -> Ordering;

    /// True if [`Self::len`] is 0.
    fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Samples of one kind: column by column, owned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lane<C> {
    ts: Vec<i64>,
    values: C,
    /// Empty, or one per timestamp.
    start_ts: Vec<i64>,
}

/// Samples of one kind, borrowed; `V` is the view of their values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LaneView<'a, V> {
    ts: &'a [i64],
    values: V,
    start_ts: &'a [i64],
}

/// Float samples, owned; stale markers are floats, too.
pub type Floats = Lane<Vec<f64>>;
/// Float samples, borrowed.
pub type FloatsView<'a> = LaneView<'a, &'a [f64]>;
/// Samples that are native histograms, owned.
pub type Histograms = Lane<HistogramColumn>;
/// Samples that are native histograms, borrowed.
pub type HistogramsView<'a> = LaneView<'a, HistogramColumnView<'a>>;

impl<C: Column> Lane<C> {
    /// A lane of columns that belong together, without start timestamps.
    ///
    /// # Panics
    /// If the columns differ in length.
    #[must_use]
    pub fn new(ts: Vec<i64>, values: C) -> Self {
        assert_eq!(ts.len(), values.view().len(), "columns of one lane");
        Self { ts, values, start_ts: Vec::new() }
    }

    /// No samples, with room for `samples` of them.
    #[must_use]
    pub fn with_capacity(samples: usize) -> Self {
        let mut lane = Self::default();
        lane.reserve(samples);
        lane
    }

    /// Makes room for `additional` samples without start timestamps.
    pub fn reserve(&mut self, additional: usize) {
        self.ts.reserve(additional);
        self.values.reserve(additional);
    }

    /// Number of samples, which is the length of each column; `start_ts` may be empty instead.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ts.len()
    }

    /// True if [`Self::len`] is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ts.is_empty()
    }

    /// Timestamps in milliseconds since the Unix epoch, in the order in which samples were appended.
    #[must_use]
    pub fn ts(&self) -> &[i64] {
        &self.ts
    }

    /// The values, one for each timestamp.
    #[must_use]
    pub fn values(&self) -> &C {
        &self.values
    }

    /// Start timestamps in milliseconds, 0 where unknown: one per sample, or none at all.
    ///
    /// Source: created timestamps of OpenMetrics 1.0 and start timestamps of remote write 2.0.
    #[must_use]
    pub fn start_ts(&self) -> &[i64] {
        &self.start_ts
    }

    /// Timestamps, values and start timestamps, taken apart.
    #[must_use]
    pub fn into_columns(self) -> (Vec<i64>, C, Vec<i64>) {
        (self.ts, self.values, self.start_ts)
    }

    /// All samples, borrowed.
    #[must_use]
    pub fn view(&self) -> LaneView<'_, C::View<'_>> {
        LaneView { ts: &self.ts, values: self.values.view(), start_ts: &self.start_ts }
    }

    /// Appends a copy of each of `samples`, in order and with its start timestamp.
    pub fn extend(&mut self, samples: LaneView<'_, C::View<'_>>) {
        self.extend_start_ts(samples.ts.len(), samples.start_ts);
        self.ts.extend_from_slice(samples.ts);
        self.values.extend(samples.values);
    }

    /// Appends `added` start timestamps; must come before the timestamps that they belong to.
    fn extend_start_ts(&mut self, added: usize, start_ts: &[i64]) {
        if self.start_ts.is_empty() && start_ts.is_empty() {
            return;
        }
        self.start_ts.resize(self.ts.len(), 0);
        self.start_ts.extend_from_slice(start_ts);
        self.start_ts.resize(self.ts.len() + added, 0);
    }

    /// Removes all samples; where it can, the memory stays for the next ones.
    pub fn clear(&mut self) {
        self.ts.clear();
        self.values.clear();
        self.start_ts.clear();
    }

    /// Memory of the columns in bytes; what values hold on the heap is left out.
    #[must_use]
    pub fn column_bytes(&self) -> usize {
        size_of::<i64>() * (self.ts.len() + self.start_ts.len()) + C::VALUE_BYTES * self.ts.len()
    }

    /// Sets the start timestamps.
    ///
    /// # Panics
    /// If there is not one for each sample.
    #[must_use]
    pub fn with_start_ts(mut self, start_ts: Vec<i64>) -> Self {
        assert_eq!(start_ts.len(), self.ts.len(), "start timestamps of one lane");
        self.start_ts = if start_ts.iter().all(|start| *start == 0) { Vec::new() } else { start_ts };
        self
    }
}

impl Floats {
    /// Appends a float without a start timestamp.
    pub fn push(&mut self, ts: i64, value: f64) {
        self.ts.push(ts);
        self.values.push(value);
        if !self.start_ts.is_empty() {
            self.start_ts.push(0);
        }
    }

    /// Timestamp and value of each sample, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (i64, f64)> + '_ {
        self.view().iter()
    }
}

impl FromIterator<(i64, f64)> for Floats {
    fn from_iter<T: IntoIterator<Item = (i64, f64)>>(samples: T) -> Self {
        let (ts, values) = samples.into_iter().unzip();
        Self { ts, values, start_ts: Vec::new() }
    }
}

impl<'a, V: ColumnView> LaneView<'a, V> {
    /// A view of columns that belong together, without start timestamps.
    ///
    /// # Panics
    /// If the columns differ in length.
    #[must_use]
    pub fn new(ts: &'a [i64], values: V) -> Self {
        assert_eq!(ts.len(), values.len(), "columns of one lane");
        Self { ts, values, start_ts: &[] }
    }

    /// Number of samples, which is the length of each column; `start_ts` may be empty instead.
    #[must_use]
    pub fn len(self) -> usize {
        self.ts.len()
    }

    /// True if [`Self::len`] is 0.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.ts.is_empty()
    }

    /// Timestamps in milliseconds since the Unix epoch, in the order in which samples were appended.
    #[must_use]
    pub fn ts(self) -> &'a [i64] {
        self.ts
    }

    /// The values, one for each timestamp.
    #[must_use]
    pub fn values(self) -> V {
        self.values
    }

    /// Start timestamps in milliseconds, 0 where unknown: one per sample, or none at all.
    #[must_use]
    pub fn start_ts(self) -> &'a [i64] {
        self.start_ts
    }

    /// The samples at `range`, which must lie inside.
    #[must_use]
    pub fn part(self, range: Range<usize>) -> Self {
        let start_ts = if self.start_ts.is_empty() { self.start_ts } else { &self.start_ts[range.clone()] };
        Self { ts: &self.ts[range.clone()], values: self.values.part(range), start_ts }
    }

    /// The samples inside `range`; timestamps ascend.
    #[must_use]
    pub fn clip(self, range: TimeRange) -> Self {
        let part = range.part_of(self.ts);
        if part.len() == self.ts.len() { self } else { self.part(part) }
    }

    /// The samples up to the first whose timestamp does not pass, and the others; `passes` is true for the
    /// first timestamps only.
    #[must_use]
    pub fn split_by_time(self, passes: impl Fn(i64) -> bool) -> (Self, Self) {
        let passed = self.ts.partition_point(|ts| passes(*ts));
        (self.part(0..passed), self.part(passed..self.len()))
    }

    /// The samples cut into as few pieces as have strictly ascending timestamps.
    pub fn ascending_parts(self) -> impl Iterator<Item = Self> {
        let mut from = 0;
        self.ts.chunk_by(|a, b| a < b).map(move |part| {
            let start = from;
            from += part.len();
            if part.len() == self.ts.len() { self } else { self.part(start..from) }
        })
    }

    /// Which of two samples at one timestamp stays: the greater by value; of equal values the one with the
    /// later start timestamp.
    #[must_use]
    pub fn compare(self, at: usize, other: Self, other_at: usize) -> Ordering {
        let start_of = |lane: Self, at: usize| lane.start_ts.get(at).copied().unwrap_or(0);
        let by_value = self.values.compare(at, other.values, other_at);
        by_value.then_with(|| start_of(self, at).cmp(&start_of(other, other_at)))
    }
}

impl Histograms {
    /// Appends a native histogram without a start timestamp.
    pub fn push(&mut self, ts: i64, histogram: Arc<Histogram>) {
        self.ts.push(ts);
        self.values.push(histogram);
        if !self.start_ts.is_empty() {
            self.start_ts.push(0);
        }
    }
}

impl HistogramsView<'_> {
    /// A view of no samples, for series that have floats only.
    #[must_use]
    pub fn empty() -> Self {
        Self { ts: &[], values: HistogramColumnView::default(), start_ts: &[] }
    }
}

impl<'a> FloatsView<'a> {
    /// Timestamp and value of each sample, in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = (i64, f64)> + 'a {
        self.ts.iter().copied().zip(self.values.iter().copied())
    }
}

impl Column for Vec<f64> {
    type View<'a> = &'a [f64];

    const VALUE_BYTES: usize = size_of::<f64>();

    fn view(&self) -> &[f64] {
        self
    }

    fn extend(&mut self, values: &[f64]) {
        self.extend_from_slice(values);
    }

    fn clear(&mut self) {
        Vec::clear(self);
    }

    fn reserve(&mut self, additional: usize) {
        Vec::reserve(self, additional);
    }
}

impl ColumnView for &[f64] {
    fn len(self) -> usize {
        <[f64]>::len(self)
    }

    fn part(self, range: Range<usize>) -> Self {
        &self[range]
    }

    fn compare(self, at: usize, other: Self, other_at: usize) -> Ordering {
        value_order(self[at], other[other_at])
    }
}

impl Column for HistogramColumn {
    type View<'a> = HistogramColumnView<'a>;

    const VALUE_BYTES: usize = HistogramColumn::VALUE_BYTES;

    fn view(&self) -> HistogramColumnView<'_> {
        HistogramColumn::view(self)
    }

    fn extend(&mut self, values: HistogramColumnView<'_>) {
        HistogramColumn::extend(self, values);
    }

    fn clear(&mut self) {
        *self = HistogramColumn::default();
    }

    fn reserve(&mut self, additional: usize) {
        HistogramColumn::reserve(self, additional);
    }
}

impl ColumnView for HistogramColumnView<'_> {
    fn len(self) -> usize {
        HistogramColumnView::len(self)
    }

    fn part(self, range: Range<usize>) -> Self {
        HistogramColumnView::part(self, range)
    }

    fn compare(self, at: usize, other: Self, other_at: usize) -> Ordering {
        self.get(at).canonical_order(other.get(other_at))
    }
}
