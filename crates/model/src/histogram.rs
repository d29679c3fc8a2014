//! Native histograms, as values and as a column.
//!
//! A native histogram is one sample that holds a whole distribution: sparse buckets whose bounds follow
//! from a schema, a zero bucket, count and sum.
//! Nothing stores them yet: the door [`crate::Append`] has room for them, lanes carry them, and whoever
//! cannot keep one refuses and counts it.
//!
//! Invariants of [`Histogram`] (checked once, in [`Histogram::new`]):
//! - Spans cover exactly the buckets; only the first span of a side has a negative offset.
//! - Bucket counts, zero count and count are not negative and not NaN; integer counts are whole numbers.
//! - Custom bounds are finite and strictly ascend; with them there is neither a zero bucket nor a negative
//!   side.
//!
//! Source: prometheus v3.16 `model/histogram/histogram.go`, `float_histogram.go` and `generic.go`
//! (`Validate`, `checkHistogramSpans`, `checkHistogramCustomBounds`).

mod buckets;

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

pub use buckets::HistogramBucket;

use crate::float_order::is_stale;

/// The smallest exponential schema: bucket bounds grow by 2^16.
pub const SCHEMA_MIN: i8 = -4;
/// The largest exponential schema: bucket bounds grow by 2^(1/256).
pub const SCHEMA_MAX: i8 = 8;

/// A native histogram whose parts fit together.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram(Parts);

/// What a native histogram consists of, not yet checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// Are the counts whole numbers, as a scraped target counts, or floats, as a query makes them?
    pub flavour: Flavour,
    /// What is known about a reset between the sample before and this one.
    pub reset_hint: CounterResetHint,
    /// Where bucket bounds lie.
    pub layout: Layout,
    /// Number of observations.
    pub count: f64,
    /// Sum of observations; every bit pattern is legal.
    pub sum: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// Buckets above zero, or all custom buckets.
    pub positive: Buckets,
    /// Buckets below zero.
    pub negative: Buckets,
}

/// Where bucket bounds lie.
#[derive(Clone, Debug, PartialEq)]
pub enum Layout {
    /// Bucket `i` ends at `2^(i * 2^-schema)`.
    Exponential {
        /// From [`SCHEMA_MIN`] to [`SCHEMA_MAX`].
        schema: i8,
        /// The zero bucket reaches from its negative to it; not negative.
        zero_threshold: f64,
    },
    /// Bucket `i` ends at the bound `i`; one more reaches to +Inf.
    Custom {
        /// Upper bounds, shared between the samples of a series.
        bounds: Arc<[f64]>,
    },
}

/// Whether counts are whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flavour {
    /// Whole numbers.
    Integer,
    /// Any number that is not negative.
    Float,
}

/// What is known about a counter reset between the sample before and this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CounterResetHint {
    /// Nothing: the buckets have to be compared.
    Unknown,
    /// There was one.
    Reset,
    /// There was none.
    NoReset,
    /// The histogram is a gauge: it does not reset.
    Gauge,
}

/// Counts of the buckets of one side, with the places of those that are not empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Runs of consecutive buckets.
    pub spans: Vec<BucketSpan>,
    /// One count per bucket of the spans, absolute.
    pub counts: Vec<f64>,
}

/// A run of consecutive buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BucketSpan {
    /// Empty buckets before it; of the first span, the index of its first bucket.
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

/// Why parts are no native histogram.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid native histogram: {0}")]
pub struct InvalidHistogram(String);

impl Histogram {
    /// Checks the parts.
    ///
    /// # Errors
    /// The first rule that they break.
    pub fn new(parts: Parts) -> Result<Self, InvalidHistogram> {
        match parts.check() {
            Ok(()) => Ok(Self(parts)),
            Err(why) => Err(InvalidHistogram(why)),
        }
    }

    /// The parts.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.0
    }

    /// True for the stale marker of a series of native histograms: its sum is [`crate::STALE_NAN_BITS`].
    #[must_use]
    pub fn is_stale(&self) -> bool {
        is_stale(self.0.sum)
    }

    /// Which of two histograms of one series at one timestamp stays: the greater. The order is total
    /// and means nothing else; equal means that all bits are the same.
    #[must_use]
    pub fn canonical_order(&self, other: &Self) -> Ordering {
        let (a, b) = (&self.0, &other.0);
        (a.flavour, a.reset_hint)
            .cmp(&(b.flavour, b.reset_hint))
            .then_with(|| a.layout.canonical_order(&b.layout))
            .then_with(|| floats_order(&[a.count, a.sum, a.zero_count], &[b.count, b.sum, b.zero_count]))
            .then_with(|| a.positive.canonical_order(&b.positive))
            .then_with(|| a.negative.canonical_order(&b.negative))
    }
}

impl Parts {
    fn check(&self) -> Result<(), String> {
        self.layout.check()?;
        self.positive.check("positive", self.flavour)?;
        self.negative.check("negative", self.flavour)?;
        check_count("count", self.count, self.flavour)?;
        check_count("zero count", self.zero_count, self.flavour)?;
        if let Layout::Custom { bounds } = &self.layout {
            if self.zero_count != 0.0 || self.negative != Buckets::default() {
                return Err("custom buckets leave no place for a zero bucket or negative buckets".to_owned());
            }
            let (reach, room) = (self.positive.reach(), bounds.len() as i64 + 1);
            if reach > room {
                return Err(format!("spans reach to bucket {reach}, custom bounds make only {room}"));
            }
        }
        Ok(())
    }
}

impl Layout {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Exponential { schema, .. } if !(SCHEMA_MIN..=SCHEMA_MAX).contains(schema) => {
                Err(format!("schema {schema} is not between {SCHEMA_MIN} and {SCHEMA_MAX}"))
            }
            Self::Exponential { zero_threshold, .. } if zero_threshold.is_nan() || *zero_threshold < 0.0 => {
                Err(format!("zero threshold {zero_threshold} is not a number from 0 on"))
            }
            Self::Exponential { .. } => Ok(()),
            Self::Custom { bounds } => match bounds.iter().find(|bound| !bound.is_finite()) {
                Some(bound) => Err(format!("custom bound {bound} is not finite")),
                None if bounds.windows(2).all(|pair| pair[0] < pair[1]) => Ok(()),
                None => Err("custom bounds do not strictly ascend".to_owned()),
            },
        }
    }

    fn canonical_order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (
                Self::Exponential { schema: a, zero_threshold: a_zero },
                Self::Exponential { schema: b, zero_threshold: b_zero },
            ) => a.cmp(b).then_with(|| a_zero.total_cmp(b_zero)),
            (Self::Custom { bounds: a }, Self::Custom { bounds: b }) => floats_order(a, b),
            (Self::Exponential { .. }, Self::Custom { .. }) => Ordering::Less,
            (Self::Custom { .. }, Self::Exponential { .. }) => Ordering::Greater,
        }
    }
}

impl Buckets {
    fn check(&self, side: &str, flavour: Flavour) -> Result<(), String> {
        if let Some(span) = self.spans.iter().skip(1).find(|span| span.offset < 0) {
            return Err(format!("{side} span with a negative offset of {} after the first", span.offset));
        }
        let covered: u64 = self.spans.iter().map(|span| u64::from(span.length)).sum();
        if covered != self.counts.len() as u64 {
            return Err(format!("{side} spans cover {covered} buckets, there are {}", self.counts.len()));
        }
        self.counts.iter().try_for_each(|count| check_count(&format!("{side} bucket"), *count, flavour))
    }

    /// One more than the index of the last bucket.
    fn reach(&self) -> i64 {
        self.spans.iter().map(|span| i64::from(span.offset) + i64::from(span.length)).sum()
    }

    fn canonical_order(&self, other: &Self) -> Ordering {
        self.spans.cmp(&other.spans).then_with(|| floats_order(&self.counts, &other.counts))
    }
}

fn check_count(what: &str, count: f64, flavour: Flavour) -> Result<(), String> {
    if count.is_nan() || count < 0.0 {
        return Err(format!("{what} {count} is not a number from 0 on"));
    }
    if flavour == Flavour::Integer && count.fract() != 0.0 {
        return Err(format!("{what} {count} of an integer histogram is not a whole number"));
    }
    Ok(())
}

/// Element by element by IEEE `totalOrder`, then by length.
fn floats_order(a: &[f64], b: &[f64]) -> Ordering {
    let first = a.iter().zip(b).map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne());
    first.unwrap_or_else(|| a.len().cmp(&b.len()))
}

/// Native histograms of one lane.
///
/// How they lie in memory is known here alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramColumn(Vec<Arc<Histogram>>);

/// Native histograms of one lane, borrowed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HistogramColumnView<'a>(&'a [Arc<Histogram>]);

impl HistogramColumn {
    /// Memory of one histogram in the column, without what it holds on the heap.
    pub(crate) const VALUE_BYTES: usize = size_of::<Arc<Histogram>>();

    /// Borrows all of them.
    #[must_use]
    pub fn view(&self) -> HistogramColumnView<'_> {
        HistogramColumnView(&self.0)
    }

    /// Appends one.
    pub(crate) fn push(&mut self, histogram: Arc<Histogram>) {
        self.0.push(histogram);
    }

    /// Appends all of `histograms`.
    pub(crate) fn extend(&mut self, histograms: HistogramColumnView<'_>) {
        self.0.extend_from_slice(histograms.0);
    }

    /// Makes room for `additional` histograms.
    pub(crate) fn reserve(&mut self, additional: usize) {
        self.0.reserve(additional);
    }
}

impl<'a> HistogramColumnView<'a> {
    /// Number of histograms.
    #[must_use]
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// One histogram; `at` must lie inside.
    #[must_use]
    pub fn get(self, at: usize) -> &'a Arc<Histogram> {
        &self.0[at]
    }

    /// The histograms at `range`, which must lie inside.
    pub(crate) fn part(self, range: Range<usize>) -> Self {
        Self(&self.0[range])
    }
}

#[cfg(test)]
mod tests;
