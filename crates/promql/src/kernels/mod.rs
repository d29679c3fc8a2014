//! The arithmetic of PromQL as pure functions on slices, for float samples.
//!
//! A kernel sees one series at a time (its timestamps and values) or one row of a step grid, writes
//! into slices that the caller owns, and says which points it left without a sample. It knows no
//! labels (except [`labels`]), no tables, no threads. Its results are those of Prometheus 3.16 bit
//! for bit, except where a function says otherwise (transcendental functions come from the
//! platform's `libm`).
//!
//! Who drops stale markers: [`range::eval_range`] drops them from windows; [`instant`] treats the
//! newest sample being a marker as absence. Callers pass samples as they are stored, sorted by time,
//! without duplicates of a timestamp.
//!
//! In reading order: [`window`] (window edges, subquery grids), [`range`] (functions of range
//! vectors), [`instant`] (lookback), [`math`] and [`date`] and [`binary`] (element by element),
//! [`aggregate`] (grids of groups), [`select`] (topk and its kin), [`quantile`], [`classic_histogram`],
//! [`labels`]; [`kahan`] and [`go`] are what they share with Prometheus' language.

pub mod aggregate;
pub mod binary;
pub mod classic_histogram;
pub mod date;
pub mod go;

pub mod instant;
pub mod kahan;
pub mod labels;
pub mod math;
pub mod quantile;
pub mod range;
pub mod select;
pub mod window;

pub use aggregate::{AggregateFunction, GridAccumulator};
pub use binary::BinaryOp;
pub use date::DateFunction;
pub use math::UnaryFunction;
pub use range::{RangeFunction, RangeParams, Scratch, eval_range};
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
