//! Samples of many series in shared columns: an offset for each series instead of a lane.

use super::lane::{Column, Floats, Histograms, HistogramsView, Lane, LaneView};
use super::series::SamplesView;
use crate::histogram::HistogramColumn;
use crate::time::TimeRange;

/// Samples of one kind of consecutive series, in one lane.
///
/// Invariants: there is one offset more than there are series; offsets start at 0, never fall and end at
/// the lane's length.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneLists<C> {
    offsets: Vec<usize>,
    lane: Lane<C>,
}

/// Samples of consecutive series, both kinds.
///
/// Invariant: the histograms, where there are any, have as many series as the floats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleLists {
    floats: LaneLists<Vec<f64>>,
    /// Nearly always `None`: then no offset per series is held for nothing.
    histograms: Option<Box<LaneLists<HistogramColumn>>>,
}

impl<C: Default> Default for LaneLists<C> {
    fn default() -> Self {
        Self { offsets: vec![0], lane: Lane::default() }
    }
}

impl<C: Column> LaneLists<C> {
    /// Lists over a lane; `None` if `offsets` does not start at 0, falls, or does not end at the lane's
    /// length.
    #[must_use]
    pub fn try_new(offsets: Vec<usize>, lane: Lane<C>) -> Option<Self> {
        let ends = (offsets.first(), offsets.last()) == (Some(&0), Some(&lane.len()));
        (ends && offsets.is_sorted()).then_some(Self { offsets, lane })
    }

    /// As [`Self::try_new`], of offsets that were made for the lane.
    ///
    /// # Panics
    /// Where that answers `None`.
    #[must_use]
    pub fn new(offsets: Vec<usize>, lane: Lane<C>) -> Self {
        Self::try_new(offsets, lane).expect("offsets of another lane")
    }

    /// No series, with room for `series` of `samples` together.
    #[must_use]
    pub fn with_capacity(series: usize, samples: usize) -> Self {
        let mut offsets = Vec::with_capacity(series + 1);
        offsets.push(0);
        Self { offsets, lane: Lane::with_capacity(samples) }
    }

    /// Number of series, empty ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// True if there is no series, not even an empty one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the samples of each series lie in the lane, from 0 to its length.
    #[must_use]
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// The samples of all series, one series after the other.
    #[must_use]
    pub fn lane(&self) -> &Lane<C> {
        &self.lane
    }

    /// The samples of the series number `series_idx`, from 0.
    #[must_use]
    pub fn series(&self, series_idx: usize) -> LaneView<'_, C::View<'_>> {
        self.lane.view().part(self.offsets[series_idx]..self.offsets[series_idx + 1])
    }

    /// Appends one series, whose samples `fill` appends to the lane; answers how many they were.
    pub fn push_with(&mut self, fill: impl FnOnce(&mut Lane<C>)) -> usize {
        let before = self.lane.len();
        fill(&mut self.lane);
        debug_assert!(self.lane.len() >= before, "a series cannot take samples of others away");
        self.offsets.push(self.lane.len());
        self.lane.len() - before
    }

    /// Offsets and lane, taken apart.
    #[must_use]
    pub fn into_parts(self) -> (Vec<usize>, Lane<C>) {
        (self.offsets, self.lane)
    }

    /// Takes the last series, which must be empty, away.
    fn pop_empty(&mut self) {
        let last = self.offsets.pop();
        debug_assert_eq!(last, self.offsets.last().copied(), "only an empty series can be taken away");
    }
}

impl SampleLists {
    /// No series, with room for the floats of `series` of `samples` together.
    #[must_use]
    pub fn with_capacity(series: usize, samples: usize) -> Self {
        Self { floats: LaneLists::with_capacity(series, samples), histograms: None }
    }

    /// Number of series, empty ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.floats.len()
    }

    /// True if there is no series, not even an empty one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.floats.is_empty()
    }

    /// Number of samples of both kinds.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.floats.lane.len() + self.histograms.as_ref().map_or(0, |lists| lists.lane.len())
    }

    /// The floats of all series.
    #[must_use]
    pub fn floats(&self) -> &LaneLists<Vec<f64>> {
        &self.floats
    }

    /// The floats of all series, without the histograms.
    #[must_use]
    pub fn into_floats(self) -> LaneLists<Vec<f64>> {
        self.floats
    }

    /// The native histograms of all series; `None` if no series has any.
    #[must_use]
    pub fn histograms(&self) -> Option<&LaneLists<HistogramColumn>> {
        self.histograms.as_deref()
    }

    /// The samples of the series number `series_idx`, from 0.
    #[must_use]
    pub fn series(&self, series_idx: usize) -> SamplesView<'_> {
        SamplesView {
            floats: self.floats.series(series_idx),
            histograms: self
                .histograms
                .as_ref()
                .map_or_else(HistogramsView::empty, |lists| lists.series(series_idx)),
        }
    }

    /// Appends one series, which may be empty; answers the number of its samples.
    pub fn push(&mut self, samples: SamplesView<'_>) -> usize {
        if samples.histograms.is_empty() && self.histograms.is_none() {
            return self.floats.push_with(|floats| floats.extend(samples.floats));
        }
        self.push_with(
            |floats| floats.extend(samples.floats),
            |histograms| histograms.extend(samples.histograms),
        )
    }

    /// Appends all series of `others`.
    pub fn extend(&mut self, others: &Self) {
        for series_idx in 0..others.len() {
            self.push(others.series(series_idx));
        }
    }

    /// Appends one series, whose samples the two append to the lanes; answers how many they were.
    ///
    /// `fill_histograms` is given an empty lane to try where no series before had any.
    pub fn push_with(
        &mut self,
        fill_floats: impl FnOnce(&mut Floats),
        fill_histograms: impl FnOnce(&mut Histograms),
    ) -> usize {
        let series_before = self.floats.len();
        let n_floats = self.floats.push_with(fill_floats);
        if let Some(lists) = &mut self.histograms {
            return n_floats + lists.push_with(fill_histograms);
        }
        let mut lane = Histograms::default();
        fill_histograms(&mut lane);
        let n_histograms = lane.len();
        if n_histograms > 0 {
            let mut offsets = vec![0; series_before + 1];
            offsets.push(n_histograms);
            self.histograms = Some(Box::new(LaneLists::new(offsets, lane)));
        }
        n_floats + n_histograms
    }

    /// Appends what `add` appends as one series, unless it has no samples; answers whether it has any.
    ///
    /// `add` answers how many samples it appended, as [`Self::push`] and [`Self::push_with`] do.
    pub fn push_nonempty(&mut self, add: impl FnOnce(&mut Self) -> usize) -> bool {
        let series_before = self.len();
        let n_samples = add(self);
        debug_assert_eq!(self.len(), series_before + 1, "one series is added at a time");
        if n_samples == 0 {
            self.pop_empty();
        }
        n_samples > 0
    }

    /// Takes the last series, which must be empty, away.
    fn pop_empty(&mut self) {
        self.floats.pop_empty();
        if let Some(lists) = &mut self.histograms {
            lists.pop_empty();
        }
    }

    /// The timestamps of all samples, first those of the floats.
    pub fn ts(&self) -> impl Iterator<Item = i64> + '_ {
        let histograms = self.histograms.iter().flat_map(|lists| lists.lane.ts());
        self.floats.lane.ts().iter().chain(histograms).copied()
    }

    /// The time range of all samples; empty if there are none.
    #[must_use]
    pub fn time_range(&self) -> TimeRange {
        self.ts().fold(TimeRange::EMPTY, TimeRange::cover)
    }

    /// Memory of the columns in bytes; what histograms hold on the heap is left out.
    #[must_use]
    pub fn column_bytes(&self) -> usize {
        fn of<C: Column>(lists: &LaneLists<C>) -> usize {
            lists.lane.column_bytes() + size_of::<usize>() * lists.offsets.len()
        }
        of(&self.floats) + self.histograms.as_ref().map_or(0, |lists| of(lists))
    }
}

impl From<LaneLists<Vec<f64>>> for SampleLists {
    fn from(floats: LaneLists<Vec<f64>>) -> Self {
        Self { floats, histograms: None }
    }
}
