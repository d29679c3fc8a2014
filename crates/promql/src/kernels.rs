//! The arithmetic of PromQL as pure functions on slices, for float samples.
//!
//! A kernel sees one series at a time (its timestamps and values) or one row of a step grid, writes
//! into slices that the caller owns, and says which points it left without a sample. It knows no
//! labels (except in `labels`), no tables, no threads. Its results are those of Prometheus 3.16 bit
//! for bit, except where a function says otherwise (transcendental functions come from the
//! platform's `libm`).
//!
//! Who drops stale markers: [`eval_range`] drops them from windows; [`lookup_value`] treats the
//! newest sample being a marker as absence. Callers pass samples as they are stored, sorted by time,
//! without duplicates of a timestamp.
//!
//! In reading order: `window` (window edges, subquery grids), `range` (functions of range vectors),
//! `instant` (lookback), `math`, `date` and `binary` (element by element), `aggregate` (grids of
//! groups), `select` (`topk` and the others that choose series), `quantile`, `classic_histogram`,
//! `labels`; `kahan` is the sum that several of them share.

mod window;
mod range;
mod instant;
mod math;
mod date;
mod binary;
mod aggregate;
mod select;
mod quantile;
mod classic_histogram;
mod labels;
mod kahan;

pub use aggregate::{AggregateFunction, GridAccumulator, QuantileAccumulator};
pub use binary::{BinaryOp, Comparison, scalar_vector, vector_scalar, vector_vector};
pub(crate) use classic_histogram::ForcedMonotonicity;
pub use classic_histogram::{BUCKET_LABEL, BucketFunction, ClassicHistogram, upper_bound};
pub use date::DateFunction;
pub(crate) use date::rfc3339;
pub use instant::{lookup_timestamp, lookup_value};
pub use labels::{LabelJoin, LabelReplace};
pub use math::{Extreme, UnaryFunction, clamp, round};
pub use range::{RangeFunction, RangeParams, Scratch, eval_range};
pub use select::{
    CountValues, KeptSample, LimitK, Order, SelectFunction, TopK, limits_per_step, ratio_keeps, ratio_offset,
};
pub use window::{RangeWindow, subquery_grid};

/// A scalar argument: one number, or one per evaluation step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Param<'a> {
    /// The same at every step.
    Constant(f64),
    /// One value per step.
    PerStep(&'a [f64]),
}

impl Param<'_> {
    /// The value at `step`; NaN outside the slice.
    #[must_use]
    pub fn at(&self, step: usize) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::PerStep(values) => values.get(step).copied().unwrap_or(f64::NAN),
        }
    }
}

/// An argument with which a function cannot be evaluated at all; the query fails with this text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KernelError(pub String);
