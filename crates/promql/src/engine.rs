//! The door `Engine`: answers in plain types, so that a face needs no Arrow.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use promontory_model::{Labels, Matcher, MetricMetadata, Position, TenantId, TimeRange};

/// A boxed future, so that the door is an object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What every request carries.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Whose data; settled by the face, never parsed below it.
    pub tenant: TenantId,
    /// Upper bound of the request's own wish; the engine's `--query.timeout` bounds it too.
    pub timeout: Option<Duration>,
    /// Positions that the snapshot must contain.
    pub must_contain: Vec<Position>,
}

/// An instant query.
#[derive(Clone, Debug, PartialEq)]
pub struct InstantQuery {
    /// The expression as sent.
    pub expr: String,
    /// Evaluation time, milliseconds since the Unix epoch.
    pub time: i64,
    /// Overrides `--query.lookback-delta`.
    pub lookback_delta: Option<Duration>,
}

/// A range query over the grid `start, start + step, ..., <= end`.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeQuery {
    /// The expression as sent.
    pub expr: String,
    /// First evaluation time, milliseconds.
    pub start: i64,
    /// Last evaluation time at most, milliseconds; not before `start`.
    pub end: i64,
    /// Milliseconds between evaluations, positive.
    pub step: i64,
    /// Overrides `--query.lookback-delta`.
    pub lookback_delta: Option<Duration>,
}

/// A request for series, label names or label values.
#[derive(Clone, Debug)]
pub struct MetadataQuery {
    /// Alternatives: a series counts if it passes all matchers of one of them. Empty: all series.
    pub matcher_sets: Vec<Vec<Matcher>>,
    /// Series with a sample here; blocks and tail are pruned by it, so that an answer may hold
    /// series whose samples lie a little outside, as in Prometheus.
    pub range: TimeRange,
    /// 0: no limit.
    pub limit: usize,
}

/// Metadata by metric name; a name may have several where sources disagree.
pub type MetadataByMetric = Vec<(String, Vec<MetricMetadata>)>;

/// One point of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Milliseconds since the Unix epoch.
    pub ts: i64,
    /// The value; NaN is a value.
    pub value: f64,
}

/// One series of a matrix; points ascend in time.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The label set.
    pub labels: Labels,
    /// At least one point.
    pub points: Vec<Point>,
}

/// One element of an instant vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The label set.
    pub labels: Labels,
    /// Timestamp and value.
    pub point: Point,
}

/// The result of a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Range queries and range vectors; sorted by labels in Prometheus' order.
    Matrix(Vec<Series>),
    /// Instant vectors, in the order that the expression gives.
    Vector(Vec<Sample>),
    /// A scalar.
    Scalar(Point),
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
}

/// An answered metadata request; `truncated` if `limit` cut it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing<T> {
    /// Sorted, without duplicates.
    pub items: Vec<T>,
    /// True if there would have been more.
    pub truncated: bool,
    /// Warnings and infos.
    pub annotations: Annotations,
}

/// Why there is no answer; the kind decides `errorType` and status code at the face.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The request is wrong: `bad_data`, 400.
    #[error("{0}")]
    BadData(String),
    /// The expression cannot be evaluated over this data or exceeds a limit: `execution`, 422.
    #[error("{0}")]
    Execution(String),
    /// `timeout`, 503.
    #[error("{0}")]
    Timeout(String),
    /// The caller went away: `canceled`, 499.
    #[error("{0}")]
    Canceled(String),
    /// The store does not answer or holds damaged data: `internal`, 500.
    #[error("{0}")]
    Internal(String),
    /// Not ready, or too many queries wait: `unavailable`, 503.
    #[error("{0}")]
    Unavailable(String),
}

/// The door for questions.
pub trait Engine: Send + Sync {
    /// Evaluates an expression at one time.
    ///
    /// # Errors
    /// [`EngineError`] by kind.
    fn instant<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a InstantQuery,
    ) -> BoxFuture<'a, Result<Answer, EngineError>>;

    /// Evaluates an expression over a grid.
    ///
    /// # Errors
    /// [`EngineError`] by kind.
    fn range<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a RangeQuery,
    ) -> BoxFuture<'a, Result<Answer, EngineError>>;

    /// The label sets of matching series, sorted in Prometheus' order.
    ///
    /// # Errors
    /// [`EngineError`] by kind.
    fn series<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a MetadataQuery,
    ) -> BoxFuture<'a, Result<Listing<Labels>, EngineError>>;

    /// The label names of matching series, sorted.
    ///
    /// # Errors
    /// [`EngineError`] by kind.
    fn label_names<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a MetadataQuery,
    ) -> BoxFuture<'a, Result<Listing<String>, EngineError>>;

    /// The values of one label over matching series, sorted.
    ///
    /// # Errors
    /// [`EngineError`] by kind.
    fn label_values<'a>(
        &'a self,
        context: &'a RequestContext,
        name: &'a str,
        query: &'a MetadataQuery,
    ) -> BoxFuture<'a, Result<Listing<String>, EngineError>>;

    /// Metadata by metric name, sorted by it; may be empty.
    ///
    /// # Errors
    /// [`EngineError`] by kind.
    fn metadata<'a>(
        &'a self,
        context: &'a RequestContext,
        metric: Option<&'a str>,
    ) -> BoxFuture<'a, Result<MetadataByMetric, EngineError>>;
}
