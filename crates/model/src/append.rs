//! The door `Append`: take a batch of one tenant, answer when it is durable.
//!
//! Remote write, and later scrapers, rules and OTLP, are callers; relabelling, limits and HA
//! deduplication are wrappers. Nobody behind the door knows which protocol a batch came from, except
//! through [`LabelsCodec`], which decodes label bytes only for series that are new.
//!
//! A batch has room for more than can be stored today; what cannot be is refused by a
//! [`RefusalReason`] of its own, and the rest of the batch is taken.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::exemplar::Exemplar;
use crate::labels::LabelsBuilder;
use crate::metadata::MetricMetadata;
use crate::samples::Samples;
use crate::tenant::TenantId;

/// The id of one process life that writes segments; fresh and random at every start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterId(pub u128);

/// Where a batch lies: segment `seq` of `writer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The process life that wrote the segment.
    pub writer: WriterId,
    /// Number of the segment in that life, from 1.
    pub seq: u64,
}

/// Samples of one tenant, with label sets still in the bytes of their source.
///
/// Series may repeat and samples need no order. The ranges of the series lie inside what they point into
/// and together cover it: what no series points to is not stored.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The bytes that [`BatchSeries::labels`] are ranges of, often the request's whole message.
    pub body: Bytes,
    /// Turns those bytes into labels; equal contexts mean equal labels.
    pub codec: Arc<dyn LabelsCodec>,
    /// The series, each with at least one sample or exemplar.
    pub series: Vec<BatchSeries>,
    /// The samples of all series, with start timestamps where the sender gave them.
    pub samples: Samples,
    /// The exemplars of all series; each series has a range of them.
    pub exemplars: Vec<Exemplar>,
    /// Metadata by metric name; it needs no series.
    pub metadata: Vec<(String, MetricMetadata)>,
}

/// Which parts of a [`Batch`] belong to one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchSeries {
    /// Its encoded label set, as a range of `body`.
    pub labels: Range<usize>,
    /// Its floats, as a range of `samples.floats`.
    pub floats: Range<usize>,
    /// Its native histograms, as a range of `samples.histograms`.
    pub histograms: Range<usize>,
    /// Its exemplars, as a range of `exemplars`.
    pub exemplars: Range<usize>,
}

/// Decodes the label bytes of one source: of a protocol, or of a protocol and what its sender adds.
pub trait LabelsCodec: Send + Sync + fmt::Debug {
    /// Everything beside the encoded bytes that the labels depend on: the protocol's name, and, where they
    /// become labels, the target labels of a scrape or the attributes of a resource.
    ///
    /// Codecs with equal contexts decode equal bytes to equal labels: receivers recognise a series by
    /// (context, encoded bytes) and then do not decode it.
    fn context(&self) -> &[u8];

    /// Pushes the pairs in the order in which they were sent; duplicates are not removed.
    ///
    /// # Errors
    /// If the bytes are not well-formed; the text says what is wrong.
    fn decode(&self, encoded: &[u8], out: &mut LabelsBuilder) -> Result<(), String>;
}

/// Whether the flush may wait for the interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Wait for the flush interval: fewer and larger segments.
    Batched,
    /// Flush at once, without waiting for more samples.
    Immediate,
}

/// What became of a batch that was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Samples that are durable, those with equal timestamps counted each.
    pub samples: u64,
    /// Where the last of them lie; `None` if nothing had to be written.
    pub position: Option<Position>,
    /// What the batch held and was not taken.
    pub refused: Refusals,
}

/// Refused input: all of it counted, the first few named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Refused series, each with all its samples.
    pub series: u64,
    /// Refused samples, those of refused series included.
    pub samples: u64,
    /// What was refused by reason, in the order of [`RefusalReason::ALL`]: samples, or what a reason names
    /// instead (exemplars, entries of metadata, start timestamps).
    pub by_reason: [u64; RefusalReason::ALL.len()],
    /// The first refusals, at most [`Refusals::EXAMPLES_MAX`] of them.
    pub examples: Vec<Refusal>,
}

/// One refused series, sample or other thing, as its sender is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The rule that it breaks.
    pub reason: RefusalReason,
    /// What was refused and why, for the sender.
    pub text: String,
}

/// Why input is refused; each is a label value of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalReason {
    /// A series with more labels than [`IngestLimits`](crate::IngestLimits) allow.
    TooManyLabels,
    /// A label name with more bytes than the limits allow.
    LabelNameTooLong,
    /// A label value with more bytes than the limits allow.
    LabelValueTooLong,
    /// No `__name__`, an empty label name, or bytes that are not a label set.
    InvalidLabels,
    /// A series with one label name twice.
    DuplicateLabel,
    /// A sample further ahead of the receiver's clock than the limits allow.
    TooFarInFuture,
    /// A new series where the tenant, or the process, has as many as it may.
    SeriesLimit,
    /// A native histogram: none is stored yet.
    HistogramNotStored,
    /// An exemplar: none is stored yet. Counts exemplars.
    ExemplarNotStored,
    /// Metadata of a metric: none is stored yet. Counts entries.
    MetadataNotStored,
    /// A start timestamp: none is stored yet. Counts start timestamps; their samples are taken.
    StartTimestampNotStored,
}

impl RefusalReason {
    /// In the order of their declaration, which is that of all counters by reason.
    pub const ALL: [Self; 11] = [
        Self::TooManyLabels,
        Self::LabelNameTooLong,
        Self::LabelValueTooLong,
        Self::InvalidLabels,
        Self::DuplicateLabel,
        Self::TooFarInFuture,
        Self::SeriesLimit,
        Self::HistogramNotStored,
        Self::ExemplarNotStored,
        Self::MetadataNotStored,
        Self::StartTimestampNotStored,
    ];

    /// The reason as the label of a counter.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooManyLabels => "too_many_labels",
            Self::LabelNameTooLong => "label_name_too_long",
            Self::LabelValueTooLong => "label_value_too_long",
            Self::InvalidLabels => "invalid_labels",
            Self::DuplicateLabel => "duplicate_label",
            Self::TooFarInFuture => "too_far_in_future",
            Self::SeriesLimit => "series_limit",
            Self::HistogramNotStored => "histogram_not_stored",
            Self::ExemplarNotStored => "exemplar_not_stored",
            Self::MetadataNotStored => "metadata_not_stored",
            Self::StartTimestampNotStored => "start_timestamp_not_stored",
        }
    }
}

impl Refusals {
    /// Most refusals that are kept with their text.
    pub const EXAMPLES_MAX: usize = 5;

    /// Counts one refused series with `samples` samples, or one refused sample (`series` 0).
    pub fn add(&mut self, series: u64, samples: u64, reason: RefusalReason, text: impl FnOnce() -> String) {
        self.series += series;
        self.samples += samples;
        self.add_beside(samples, reason, text);
    }

    /// Counts `count` refused things that are no samples, as their reason says.
    pub fn add_beside(&mut self, count: u64, reason: RefusalReason, text: impl FnOnce() -> String) {
        self.by_reason[reason as usize] += count;
        if self.examples.len() < Self::EXAMPLES_MAX {
            self.examples.push(Refusal { reason, text: text() });
        }
    }

    /// True if the whole batch was taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series == 0 && self.by_reason.iter().all(|count| *count == 0)
    }
}

/// Why nothing of a batch is durable, in terms of what the sender should do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Mend the request: it will never be taken as it is.
    #[error("{0}")]
    Invalid(String),
    /// Slow down: a limit of rate or memory is reached.
    #[error("{0}")]
    Limited(String),
    /// Retry later: the store does not answer, or the process stops.
    ///
    /// The samples may have become durable; sending them again is safe.
    #[error("{0}")]
    Unavailable(String),
}

impl Batch {
    /// A batch without content over the bytes that label sets will lie in.
    #[must_use]
    pub fn new(body: Bytes, codec: Arc<dyn LabelsCodec>) -> Self {
        Self {
            body,
            codec,
            series: Vec::new(),
            samples: Samples::default(),
            exemplars: Vec::new(),
            metadata: Vec::new(),
        }
    }
}

/// A boxed future, so that the door is an object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The door for samples: everything that sends samples calls it, and wrappers stand before it.
pub trait Append: Send + Sync {
    /// Answers when every sample that is not listed as refused is in the object store.
    ///
    /// # Errors
    /// [`AppendError`]; nothing may be concluded about durability from an error.
    fn append<'a>(
        &'a self,
        tenant: &'a TenantId,
        batch: Batch,
        urgency: Urgency,
    ) -> BoxFuture<'a, Result<Appended, AppendError>>;
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
