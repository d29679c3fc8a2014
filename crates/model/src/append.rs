//! The door `Append`: take a batch of one tenant, answer when it is durable.
//!
//! Remote write, and later scrapers, rules and OTLP, are callers; relabelling, limits and HA
//! deduplication are wrappers. Nobody behind the door knows which protocol a batch came from, except
//! through [`LabelsCodec`], which decodes label bytes only for series that are new.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;

use bytes::Bytes;

use crate::labels::LabelsBuilder;
use crate::tenant::TenantId;

/// The id of one process life that writes segments; fresh and random at every start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterId(pub u128);

/// Where a batch lies: segment `seq` of `writer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Who wrote it.
    pub writer: WriterId,
    /// Which of its segments, from 1.
    pub seq: u64,
}

/// Samples of one tenant, with label sets still in the bytes of their source.
///
/// `timestamps` and `values` have the same length; series may repeat and samples need no order.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What [`BatchSeries::labels`] points into.
    pub body: Bytes,
    /// How those bytes become labels.
    pub codec: &'static dyn LabelsCodec,
    /// The series, each with at least one sample.
    pub series: Vec<BatchSeries>,
    /// Milliseconds since the Unix epoch.
    pub timestamps: Vec<i64>,
    /// One value per timestamp; NaN payloads are kept.
    pub values: Vec<f64>,
}

/// One series of a [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchSeries {
    /// Its encoded label set, as a range of `body`.
    pub labels: Range<usize>,
    /// Its samples, as a range of `timestamps` and `values`.
    pub samples: Range<usize>,
}

/// Decodes the label bytes of one protocol.
pub trait LabelsCodec: Send + Sync + fmt::Debug {
    /// Pushes the pairs in the order in which they were sent; duplicates are not removed.
    ///
    /// # Errors
    /// If the bytes are not well-formed; the text says what is wrong.
    fn decode(&self, encoded: &[u8], out: &mut LabelsBuilder) -> Result<(), String>;
}

/// May the flush wait for the interval?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Wait for the flush interval: fewer and larger segments.
    Batched,
    /// Flush now.
    Immediate,
}

/// What became durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Samples that are durable.
    pub samples: u64,
    /// Where the last of them lie; `None` if nothing had to be written.
    pub position: Option<Position>,
    /// What was refused.
    pub refused: Refusals,
}

/// Refused input: all of it counted, the first few named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Refused series.
    pub series: u64,
    /// Refused samples, those of refused series included.
    pub samples: u64,
    /// The refused samples by reason, in the order of [`RefusalReason::ALL`].
    pub by_reason: [u64; RefusalReason::ALL.len()],
    /// At most [`Refusals::EXAMPLES_MAX`].
    pub examples: Vec<Refusal>,
}

/// One refused series or sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which rule refused it.
    pub reason: RefusalReason,
    /// What was refused and why, for the sender.
    pub text: String,
}

/// Why input is refused; each is a label value of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalReason {
    /// More labels than the limit.
    TooManyLabels,
    /// A label name longer than the limit.
    LabelNameTooLong,
    /// A label value longer than the limit.
    LabelValueTooLong,
    /// No `__name__`, an empty label name, or bytes that are not a label set.
    InvalidLabels,
    /// One label name twice.
    DuplicateLabel,
    /// A sample too far in the future.
    TooFarInFuture,
}

impl RefusalReason {
    /// All reasons, in order of declaration.
    pub const ALL: [Self; 6] = [
        Self::TooManyLabels,
        Self::LabelNameTooLong,
        Self::LabelValueTooLong,
        Self::InvalidLabels,
        Self::DuplicateLabel,
        Self::TooFarInFuture,
    ];

    /// The label value of the counter.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooManyLabels => "too_many_labels",
            Self::LabelNameTooLong => "label_name_too_long",
            Self::LabelValueTooLong => "label_value_too_long",
            Self::InvalidLabels => "invalid_labels",
            Self::DuplicateLabel => "duplicate_label",
            Self::TooFarInFuture => "too_far_in_future",
        }
    }
}

impl Refusals {
    /// How many are named.
    pub const EXAMPLES_MAX: usize = 5;

    /// Counts one refused series with `samples` samples, or one refused sample (`series` 0).
    pub fn add(&mut self, series: u64, samples: u64, reason: RefusalReason, text: impl FnOnce() -> String) {
        self.series += series;
        self.samples += samples;
        self.by_reason[reason as usize] += samples;
        if self.examples.len() < Self::EXAMPLES_MAX {
            self.examples.push(Refusal { reason, text: text() });
        }
    }

    /// True if nothing was refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series == 0 && self.samples == 0
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

/// A boxed future, so that the door is an object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The door for samples.
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
