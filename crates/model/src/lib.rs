//! The field's words: labels, matchers, samples, time, tenants, limits, and the door [`Append`].
//!
//! This crate does not know: IO, async runtimes, Arrow, serde, HTTP, or any byte format of others.
//!
//! In reading order: [`labels`] (label sets as canonical bytes), [`matcher`] and [`re2`] (which
//! series are meant), [`sample`] (values, stale markers, the order that settles equal timestamps),
//! [`time`], [`tenant`], [`limits`], [`append`] (the door for samples), [`float`] (doubles as text).

pub mod append;
pub mod float;
pub mod labels;
pub mod limits;
pub mod matcher;
pub mod random;
pub mod re2;
pub mod sample;
pub mod tenant;
pub mod time;

pub use append::{Append, AppendError, Appended, Batch, BatchSeries, LabelsCodec, Position, WriterId};
pub use labels::{Labels, LabelsBuilder, LabelsRef, METRIC_NAME};
pub use limits::IngestLimits;
pub use matcher::{MatchOp, Matcher, MatcherError};
pub use random::RandomSource;
pub use sample::{STALE_NAN_BITS, is_stale, stale_nan};
pub use tenant::{InvalidTenant, TenantId};
pub use time::{Clock, TimeRange};
