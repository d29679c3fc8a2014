//! Answers, in plain types.

use std::pin::Pin;

use futures_core::Stream;
use promontory_model::samples::{SampleValue, Samples};
use promontory_model::{Exemplar, Labels, MetricMetadata, SnapshotId, TenantId, TimeRange};

use super::error::EngineError;

/// Metadata by metric name; a name may have several where sources disagree.
pub type MetadataByMetric = Vec<(String, Vec<MetricMetadata>)>;

/// One series of a matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The label set; a matrix has each once.
    pub labels: Labels,
    /// At least one sample, without stale markers and start timestamps; timestamps of each lane ascend.
    pub samples: Samples,
}

/// One element of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The label set.
    pub labels: Labels,
    /// The evaluation time, in milliseconds since the Unix epoch.
    pub ts: i64,
    /// A float or a native histogram.
    pub value: SampleValue,
}

/// The result of a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Range queries and range vectors; sorted by labels in Prometheus' order.
    Matrix(Vec<Series>),
    /// Instant vectors, in the order that the expression gives.
    Vector(Vec<Sample>),
    /// A scalar, at an evaluation time.
    Scalar {
        /// Milliseconds since the Unix epoch.
        ts: i64,
        /// The value; NaN is a value.
        value: f64,
    },
    /// A string, at an evaluation time.
    String {
        /// Milliseconds since the Unix epoch.
        ts: i64,
        /// The text.
        text: String,
    },
}

/// Warnings and infos, sorted, without duplicates; each ends with `(line:col)` where it has a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// The result may be wrong or incomplete.
    pub warnings: Vec<String>,
    /// The result is right but perhaps not what was meant.
    pub infos: Vec<String>,
}

/// Query statistics, as `stats=all` shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Samples that all windows held, counted once per evaluation.
    pub total_queryable_samples: u64,
    /// Most samples held at a time.
    pub peak_samples: u64,
    /// Samples read from storage.
    pub samples_read: u64,
    /// Series that selectors matched; counted once for each selector that matched them.
    pub series_touched: u64,
    /// Seconds in the queue.
    pub exec_queue_seconds: f64,
    /// Seconds for parsing, snapshot and planning.
    pub query_preparation_seconds: f64,
    /// Seconds of execution.
    pub inner_eval_seconds: f64,
    /// Seconds of sorting the result.
    pub result_sort_seconds: f64,
    /// Seconds in all.
    pub exec_total_seconds: f64,
}

/// An answered query.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The result.
    pub value: Value,
    /// Warnings and infos.
    pub annotations: Annotations,
    /// Where time and samples went.
    pub statistics: Statistics,
    /// What it was made of.
    pub dependencies: Dependencies,
}

/// What an answer depends on: as long as all of it stays, so does the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependencies {
    /// The snapshot that was asked. The same question to the same snapshot has the same answer.
    pub snapshot: SnapshotId,
    /// The data that selectors asked for, whether or not there was any: runs of two-hour windows of one epoch,
    /// ordered by tenant and time, without overlap.
    pub epochs: Vec<WindowEpochs>,
    /// From this time on (milliseconds) samples were still on their way when the snapshot was taken. Before
    /// it the answer changes only by samples that come late, and they raise the epoch of their window.
    pub mutable_from: i64,
}

impl Default for Dependencies {
    /// Of an answer that nothing was read for.
    fn default() -> Self {
        Self { snapshot: SnapshotId::default(), epochs: Vec::new(), mutable_from: i64::MAX }
    }
}

/// Consecutive two-hour windows of one tenant whose data is in one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowEpochs {
    /// Whose data.
    pub tenant: TenantId,
    /// Whole windows, from the first millisecond of the first to the last of the last; ends that time in
    /// milliseconds does not reach are cut off.
    pub windows: TimeRange,
    /// The last catalog version that changed it; 0 if none did since data epochs are kept.
    pub epoch: u64,
}

/// An answered listing; `truncated` if `limit` cut it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing<T> {
    /// Sorted, without duplicates.
    pub items: Vec<T>,
    /// True if there would have been more.
    pub truncated: bool,
    /// Warnings and infos.
    pub annotations: Annotations,
}

/// Consecutive samples of one series, as they were sent; stale markers are among them.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesChunk {
    /// The series.
    pub labels: Labels,
    /// At least one sample; of both kinds together at most [`CHUNK_SAMPLES_MAX`].
    pub samples: Samples,
}

/// Most samples of one [`SeriesChunk`].
pub const CHUNK_SAMPLES_MAX: usize = 8_192;

/// Chunks, series by series in Prometheus' order of labels, each series in order of time. Series without a
/// sample in the range are left out.
///
/// They are read while they are taken: what is not taken waits unread, and dropping the stream ends the
/// reading. An error is the last item.
pub type SampleStream = Pin<Box<dyn Stream<Item = Result<SeriesChunk, EngineError>> + Send>>;

/// An answered request for exemplars.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExemplarAnswer {
    /// False if the expression has no selector, such as `1`: then there was nothing to ask.
    pub selects: bool,
    /// Series that have exemplars; sorted by labels in Prometheus' order.
    pub series: Vec<SeriesExemplars>,
}

/// The exemplars of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesExemplars {
    /// The labels of the series.
    pub labels: Labels,
    /// At least one; times do not descend.
    pub exemplars: Vec<Exemplar>,
}

/// How a query would be answered, as text for people; programs must not read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// The tree of vectors over grids, after all rewriting: one node a line, what is below indented.
    pub logical: String,
    /// The operators, in the same form; empty where nothing is left to be run.
    pub physical: String,
}

/// What a query would cost, known without reading a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Series that its selectors match; one counts for each selector that matches it.
    pub series: u64,
    /// Most samples that they read.
    pub samples: u64,
    /// Bytes of blocks that hold these samples, estimated; those in memory cost none.
    pub stored_bytes: u64,
    /// Bytes of memory that it will certainly hold.
    pub memory_bytes: u64,
}
