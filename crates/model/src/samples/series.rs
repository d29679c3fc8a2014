//! Samples of one series: a lane of floats and a lane of native histograms.

use std::sync::Arc;

use super::lane::{Floats, FloatsView, Histograms, HistogramsView};
use crate::float_order::stale_nan;
use crate::histogram::Histogram;
use crate::time::TimeRange;

/// Samples of one series, or of one request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// The floats, stale markers among them.
    pub floats: Floats,
    /// The native histograms.
    pub histograms: Histograms,
}

/// Samples of one series, borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplesView<'a> {
    /// The floats, stale markers among them.
    pub floats: FloatsView<'a>,
    /// The native histograms.
    pub histograms: HistogramsView<'a>,
}

/// One sample's value.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    /// A float; NaN is a value.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<Histogram>),
}

impl Samples {
    /// Number of samples of both kinds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    /// True if there is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.floats.is_empty() && self.histograms.is_empty()
    }

    /// Borrows all samples.
    #[must_use]
    pub fn view(&self) -> SamplesView<'_> {
        SamplesView { floats: self.floats.view(), histograms: self.histograms.view() }
    }

    /// Appends one sample. A histogram whose sum is the stale marker is the stale marker, as upstream
    /// has it, and lies with the floats.
    pub fn push(&mut self, ts: i64, value: SampleValue) {
        match value {
            SampleValue::Float(value) => self.floats.push(ts, value),
            SampleValue::Histogram(histogram) if histogram.is_stale() => self.floats.push(ts, stale_nan()),
            SampleValue::Histogram(histogram) => self.histograms.push(ts, histogram),
        }
    }

    /// The sample at `ts`; timestamps of each lane ascend.
    #[must_use]
    pub fn at(&self, ts: i64) -> Option<SampleValue> {
        if let Ok(at) = self.floats.ts().binary_search(&ts) {
            return Some(SampleValue::Float(self.floats.values()[at]));
        }
        let at = self.histograms.ts().binary_search(&ts).ok()?;
        Some(SampleValue::Histogram(Arc::clone(self.histograms.values().view().get(at))))
    }

    /// Memory of the columns in bytes; what histograms hold on the heap is left out.
    #[must_use]
    pub fn column_bytes(&self) -> usize {
        self.floats.column_bytes() + self.histograms.column_bytes()
    }
}

impl From<Floats> for Samples {
    fn from(floats: Floats) -> Self {
        Self { floats, histograms: Histograms::default() }
    }
}

impl<'a> SamplesView<'a> {
    /// Number of samples of both kinds.
    #[must_use]
    pub fn len(self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    /// True if there is no sample.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.floats.is_empty() && self.histograms.is_empty()
    }

    /// The samples inside `range`; timestamps of each lane ascend.
    #[must_use]
    pub fn clip(self, range: TimeRange) -> Self {
        Self { floats: self.floats.clip(range), histograms: self.histograms.clip(range) }
    }

    /// The earliest timestamp; `None` if there is no sample.
    #[must_use]
    pub fn first_ts(self) -> Option<i64> {
        self.floats.ts().first().into_iter().chain(self.histograms.ts().first()).min().copied()
    }

    /// The samples up to the first whose timestamp does not pass, and the others; `passes` is true for the
    /// first timestamps only.
    #[must_use]
    pub fn split_by_time(self, passes: impl Fn(i64) -> bool) -> (Self, Self) {
        let (floats, later_floats) = self.floats.split_by_time(&passes);
        let (histograms, later_histograms) = self.histograms.split_by_time(&passes);
        (Self { floats, histograms }, Self { floats: later_floats, histograms: later_histograms })
    }
}

impl<'a> From<FloatsView<'a>> for SamplesView<'a> {
    fn from(floats: FloatsView<'a>) -> Self {
        Self { floats, histograms: HistogramsView::empty() }
    }
}
