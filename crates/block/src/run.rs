//! Sorted series of one tenant with their samples: the currency of every merge, flush and scan.

use promontory_model::samples::{Column, Floats, Histograms, LaneLists, SampleLists, SamplesView};
use promontory_model::{Labels, TimeRange};

/// What a series takes beside its label bytes and its samples: the handle and the counts of its labels, its
/// place in the lists of a run.
const SERIES_BYTES: usize = 48;

/// Of a timestamp and a value.
pub(crate) const SAMPLE_BYTES: usize = 16;

/// Decoded bytes of a label set.
#[must_use]
pub fn key_bytes(key: &Labels) -> usize {
    key.key().len() + SERIES_BYTES
}

/// Decoded bytes of a series.
#[must_use]
pub fn series_bytes(key: &Labels, samples: SamplesView<'_>) -> usize {
    key_bytes(key) + samples.len() * SAMPLE_BYTES
}

/// Samples of one tenant, series sorted by key, samples by time.
///
/// Invariants: `keys` strictly ascend; there are as many series of samples as keys; timestamps of a lane
/// strictly ascend within a series. A series may have no samples only while a run is being built.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeriesRun {
    keys: Vec<Labels>,
    samples: SampleLists,
}

impl SeriesRun {
    /// A run of parts that belong together; [`Self::check`] says whether they do.
    #[must_use]
    pub fn new(keys: Vec<Labels>, samples: SampleLists) -> Self {
        Self { keys, samples }
    }

    /// No series, with room for the floats of `series` of `samples` together.
    #[must_use]
    pub fn with_capacity(series: usize, samples: usize) -> Self {
        Self { keys: Vec::with_capacity(series), samples: SampleLists::with_capacity(series, samples) }
    }

    /// The label sets of the series, strictly ascending by their canonical bytes.
    #[must_use]
    pub fn keys(&self) -> &[Labels] {
        &self.keys
    }

    /// Puts equal label sets in the place of its own, so that they lie in memory once.
    ///
    /// `shared` answers the label set to put there, for each series in order.
    pub fn share_keys(&mut self, mut shared: impl FnMut(&Labels) -> Option<Labels>) {
        for key in &mut self.keys {
            if let Some(other) = shared(key) {
                debug_assert_eq!(*key, other, "only equal label sets can be shared");
                *key = other;
            }
        }
    }

    /// The samples of all series, in the order of their keys.
    #[must_use]
    pub fn samples(&self) -> &SampleLists {
        &self.samples
    }

    /// The floats of all series, one series after the other.
    #[must_use]
    pub fn floats(&self) -> &Floats {
        self.samples.floats().lane()
    }

    /// True if there is no series; a finished run then has no samples either.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Number of samples of all series, floats and histograms.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.samples.samples()
    }

    /// What the run takes in memory where none of its label sets is shared, in bytes.
    #[must_use]
    pub fn decoded_bytes(&self) -> usize {
        self.samples.column_bytes() + self.keys.iter().map(key_bytes).sum::<usize>()
    }

    /// The samples of the series whose key is `keys()[series_idx]`.
    #[must_use]
    pub fn series(&self, series_idx: usize) -> SamplesView<'_> {
        self.samples.series(series_idx)
    }

    /// Each series' key and samples, ascending by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Labels, SamplesView<'_>)> {
        self.keys.iter().enumerate().map(|(series_idx, key)| (key, self.series(series_idx)))
    }

    /// Appends a series, which must sort after the last one; an empty one is left out.
    pub fn push(&mut self, key: Labels, samples: SamplesView<'_>) {
        self.push_with(key, |all| all.push(samples));
    }

    /// As [`Self::push`], of a series of floats that come one by one.
    pub fn push_floats(&mut self, key: Labels, samples: impl IntoIterator<Item = (i64, f64)>) {
        let fill = |floats: &mut Floats| samples.into_iter().for_each(|(ts, value)| floats.push(ts, value));
        self.push_with(key, |all| all.push_with(fill, |_: &mut Histograms| ()));
    }

    /// As [`Self::push`], where `add` appends the samples as one series and answers how many they are.
    pub fn push_with(&mut self, key: Labels, add: impl FnOnce(&mut SampleLists) -> usize) {
        debug_assert!(self.keys.last().is_none_or(|last| *last < key), "keys must ascend");
        if self.samples.push_nonempty(add) {
            self.keys.push(key);
        }
    }

    /// Checks every invariant; the text of an error says which is broken and where.
    ///
    /// # Errors
    /// The first broken invariant.
    pub fn check(&self) -> Result<(), String> {
        let Self { keys, samples } = self;
        if samples.len() != keys.len() {
            return Err(format!("samples of {} series for {} series", samples.len(), keys.len()));
        }
        if let Some(series_idx) = (0..keys.len()).find(|idx| samples.series(*idx).is_empty()) {
            return Err(format!("series {series_idx} has no samples"));
        }
        if let Some(series_idx) = keys.windows(2).position(|pair| pair[0] >= pair[1]) {
            return Err(format!("series {} does not sort after the one before", series_idx + 1));
        }
        check_lane(samples.floats())?;
        samples.histograms().map_or(Ok(()), check_lane)
    }

    /// The time range of all samples; empty if there are none.
    #[must_use]
    pub fn time_range(&self) -> TimeRange {
        self.samples.time_range()
    }
}

fn check_lane<C: Column>(lists: &LaneLists<C>) -> Result<(), String> {
    for rows in lists.offsets().windows(2) {
        if !lists.lane().ts()[rows[0]..rows[1]].windows(2).all(|pair| pair[0] < pair[1]) {
            return Err(format!("timestamps of rows {rows:?} do not ascend"));
        }
    }
    Ok(())
}
