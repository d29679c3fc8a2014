//! Sorted samples of one tenant: the currency of every merge, flush and scan.

use promontory_model::{Labels, TimeRange};

/// Samples of one tenant, series sorted by key, samples by time.
///
/// Invariants: `keys` strictly ascend; `offsets` has `keys.len() + 1` entries from 0 to `ts.len()`
/// and never falls; within a series `ts` strictly ascends; `ts` and `values` have the same length.
/// A series may have no samples only while a run is being built.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesRun {
    /// Label sets in canonical bytes.
    pub keys: Vec<Labels>,
    /// The rows of `keys[i]` are `offsets[i]..offsets[i + 1]`.
    pub offsets: Vec<usize>,
    /// Milliseconds since the Unix epoch.
    pub ts: Vec<i64>,
    /// One value per timestamp; every bit pattern is legal.
    pub values: Vec<f64>,
}

impl Default for SeriesRun {
    fn default() -> Self {
        Self { keys: Vec::new(), offsets: vec![0], ts: Vec::new(), values: Vec::new() }
    }
}

impl SeriesRun {
    /// True if there is no series.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Number of samples.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.ts.len()
    }

    /// The samples of one series.
    #[must_use]
    pub fn series(&self, series_idx: usize) -> (&[i64], &[f64]) {
        let rows = self.offsets[series_idx]..self.offsets[series_idx + 1];
        (&self.ts[rows.clone()], &self.values[rows])
    }

    /// Appends a series, which must sort after the last one; an empty one is left out.
    pub fn push_series(&mut self, key: Labels, samples: impl IntoIterator<Item = (i64, f64)>) {
        debug_assert!(self.keys.last().is_none_or(|last| *last < key), "keys must ascend");
        let before = self.ts.len();
        for (ts, value) in samples {
            debug_assert!(self.ts[before..].last().is_none_or(|last| *last < ts), "ts must ascend");
            self.ts.push(ts);
            self.values.push(value);
        }
        if self.ts.len() > before {
            self.keys.push(key);
            self.offsets.push(self.ts.len());
        }
    }

    /// Checks every invariant; the text of an error says which is broken and where.
    ///
    /// # Errors
    /// The first broken invariant.
    pub fn check(&self) -> Result<(), String> {
        if self.offsets.len() != self.keys.len() + 1 || self.offsets.first() != Some(&0) {
            return Err(format!("{} offsets for {} series", self.offsets.len(), self.keys.len()));
        }
        if self.offsets.last() != Some(&self.ts.len()) || self.ts.len() != self.values.len() {
            return Err(format!("{} timestamps, {} values", self.ts.len(), self.values.len()));
        }
        if let Some(series_idx) = self.offsets.windows(2).position(|pair| pair[0] >= pair[1]) {
            return Err(format!("series {series_idx} has no samples"));
        }
        if let Some(series_idx) = self.keys.windows(2).position(|pair| pair[0] >= pair[1]) {
            return Err(format!("series {} does not sort after the one before", series_idx + 1));
        }
        for rows in self.offsets.windows(2) {
            if !self.ts[rows[0]..rows[1]].windows(2).all(|pair| pair[0] < pair[1]) {
                return Err(format!("timestamps of rows {rows:?} do not ascend"));
            }
        }
        Ok(())
    }

    /// Appends a series from two columns of the same length; an empty one is left out.
    pub fn push_columns(&mut self, key: Labels, ts: &[i64], values: &[f64]) {
        debug_assert_eq!(ts.len(), values.len(), "columns of one series");
        debug_assert!(self.keys.last().is_none_or(|last| *last < key), "keys must ascend");
        if !ts.is_empty() {
            self.ts.extend_from_slice(ts);
            self.values.extend_from_slice(values);
            self.keys.push(key);
            self.offsets.push(self.ts.len());
        }
    }

    /// The time range of all samples; empty if there are none.
    #[must_use]
    pub fn time_range(&self) -> TimeRange {
        self.ts.iter().fold(TimeRange::EMPTY, |range, ts| range.cover(*ts))
    }
}
