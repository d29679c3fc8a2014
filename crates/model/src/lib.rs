//! The field's words: labels, matchers, samples, time, tenants, limits, and the door [`Append`].
//!
//! This crate does not know: IO, async runtimes, Arrow, serde, HTTP, or any byte format of others.
//!
//! In reading order: [`labels`] (label sets as canonical bytes), [`matcher`] and [`re2`] (which
//! series are meant), [`samples`] (timestamps and values in columns, stale markers, the order that settles
//! equal timestamps), [`histogram`] (native histograms), [`exemplar`] and [`metadata`] (what comes beside
//! samples), [`time`], [`tenant`], [`limits`], [`append`] (the door for samples), [`float`] (doubles as
//! text), [`DurationHistogram`] (how long things took), [`SnapshotId`] (what a question saw), [`MutexExt`] and
//! [`RwLockExt`] (locks, poisoned or not).

pub mod append;
mod durations;
mod exemplar;
pub mod float;
mod float_order;
pub mod histogram;
pub mod labels;
mod limits;
mod matcher;
mod metadata;
mod random;
pub mod re2;
pub mod samples;
mod snapshot;
mod sync;
mod tenant;
pub mod time;

pub use append::{Append, AppendError, Appended, Batch, BatchSeries, LabelsCodec, Position, WriterId};
pub use durations::{DurationHistogram, ObservedDurations};
pub use exemplar::Exemplar;
pub use labels::{Labels, LabelsBuilder, LabelsRef, METRIC_NAME};
pub use limits::{HeadMemory, IngestLimits};
pub use matcher::{MatchOp, Matcher, MatcherError, ValueBounds};
pub use metadata::{MetricKind, MetricMetadata};
pub use random::RandomSource;
pub use samples::{
    Floats, FloatsView, STALE_NAN_BITS, SampleLists, Samples, SamplesView, is_stale, stale_nan,
};
pub use snapshot::SnapshotId;
pub use sync::{MutexExt, RwLockExt};
pub use tenant::{InvalidTenant, TENANT_SEPARATOR, TenantId, Tenants};
pub use time::{Clock, TimeRange};
