//! What bounds a query and which parts of the language are on; Prometheus' flags in mind.

use std::time::Duration;

use promontory_promql::ParserSettings;
use promontory_promql::engine::EngineError;

/// The flag that bounds one request.
pub const FLAG_OF_ONE: &str = "--query.max-memory";
/// The flag that bounds all requests together.
pub const FLAG_OF_ALL: &str = "--query.max-memory-total";

/// The flags that refusals name; the binary holds them against its own.
pub const LIMIT_FLAGS: [&str; 2] = [FLAG_OF_ONE, FLAG_OF_ALL];

/// Settings of a [`crate::QueryEngine`].
#[derive(Clone, Debug, PartialEq)]
pub struct EngineSettings {
    /// How far back an instant selector looks: `--query.lookback-delta`.
    pub lookback_delta: Duration,
    /// Longest evaluation, time in the queue included: `--query.timeout`.
    pub timeout: Duration,
    /// Most samples that one query may hold: `--query.max-samples`.
    pub samples_max: u64,
    /// Bytes that one request may hold: `--query.max-memory`; estimates above it are refused before they run.
    pub memory_bytes_max: usize,
    /// Bytes that all requests together may hold: `--query.max-memory-total`.
    pub memory_total_bytes_max: usize,
    /// Queries that run at once: `--query.max-concurrency`.
    pub concurrency_max: usize,
    /// Queries that wait for a place; one more is refused.
    pub queue_max: usize,
    /// Points per series of a range query; Prometheus has this limit in its HTTP API.
    pub points_max: usize,
    /// Distance of evaluations in a subquery without a step: the global evaluation interval.
    pub subquery_step: Duration,
    /// Threads that one query may use.
    pub partitions_max: usize,
    /// Values of a batch: rows x max(samples, steps).
    pub batch_values: usize,
    /// `promql-experimental-functions`.
    pub experimental_functions: bool,
    /// Arithmetic in brackets and offsets; on by default, as in Prometheus.
    pub duration_expressions: bool,
    /// `promql-binop-fill-modifiers`.
    pub fill_modifiers: bool,
    /// `promql-delayed-name-removal`: metric names go at the end of the query, not in each function.
    pub delayed_name_removal: bool,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            lookback_delta: Duration::from_secs(5 * 60),
            timeout: Duration::from_secs(2 * 60),
            samples_max: 50_000_000,
            memory_bytes_max: 2 << 30,
            memory_total_bytes_max: 8 << 30,
            concurrency_max: 20,
            queue_max: 200,
            points_max: 11_000,
            subquery_step: Duration::from_secs(60),
            partitions_max: std::thread::available_parallelism().map_or(1, usize::from),
            batch_values: 64 << 10,
            experimental_functions: false,
            duration_expressions: true,
            fill_modifiers: false,
            delayed_name_removal: false,
        }
    }
}

impl EngineSettings {
    /// What the parser takes under these settings.
    #[must_use]
    pub fn parser(&self) -> ParserSettings {
        ParserSettings {
            experimental_functions: self.experimental_functions,
            duration_expressions: self.duration_expressions,
            fill_modifiers: self.fill_modifiers,
            ..ParserSettings::default()
        }
    }
}

/// The text of Prometheus' HTTP API for a grid that is too fine.
///
/// Source: `queryRange`, prometheus v3.16 `web/api/v1/api.go`.
pub(crate) fn too_many_points() -> EngineError {
    EngineError::Invalid(
        "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query \
         resolution (?step=XX)"
            .into(),
    )
}
