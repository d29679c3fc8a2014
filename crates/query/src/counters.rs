//! What an engine counts: plain atomics that the binary exports under its own names.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use promontory_model::DurationHistogram;

/// Upper bounds of the buckets of durations, in seconds; the last bucket has none. A query of one series
/// takes a fifth of a millisecond, the longest two minutes (`--query.timeout`).
const DURATION_BOUNDS: [f64; 13] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0];

/// What became of requests to one engine: queries, statements and listings.
#[derive(Debug, Default)]
pub struct EngineCounters {
    /// Requests that wait for a place now: a gauge.
    pub waiting: AtomicU64,
    /// Requests that have a place now: a gauge.
    pub running: AtomicU64,
    /// Refused at once, because too many waited already.
    pub refused_queue_full: AtomicU64,
    /// Refused, because their time ended while they waited.
    pub refused_queue_timeout: AtomicU64,
    /// Ended, because they reached a limit of samples, series or memory.
    pub refused_limit: AtomicU64,
    /// Memory that was not given, because all requests together held as much as they may.
    pub refused_memory_total: AtomicU64,
    /// Bytes that requests hold now: a gauge.
    pub memory_bytes: AtomicU64,
    /// The most that they held at a time.
    pub memory_bytes_peak: AtomicU64,
    /// Samples that the windows of answered PromQL queries held.
    pub samples: AtomicU64,
    /// How long the parts of requests took.
    pub durations: EngineDurations,
}

/// How long the parts of requests to one engine took.
#[derive(Debug)]
pub struct EngineDurations {
    /// Waiting for a place, of every request that got one.
    pub queue: DurationHistogram,
    /// Parsing, snapshot and planning, of answered PromQL queries.
    pub prepare: DurationHistogram,
    /// Execution, of answered PromQL queries.
    pub eval: DurationHistogram,
    /// Sorting the result, of answered PromQL queries.
    pub sort: DurationHistogram,
}

impl Default for EngineDurations {
    fn default() -> Self {
        let empty = || DurationHistogram::new(&DURATION_BOUNDS);
        Self { queue: empty(), prepare: empty(), eval: empty(), sort: empty() }
    }
}

/// Adds one to a gauge for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted<T: AsRef<EngineCounters>> {
    counters: T,
    gauge: fn(&EngineCounters) -> &AtomicU64,
}

impl<T: AsRef<EngineCounters>> Counted<T> {
    /// One more; also answers how many there were before.
    pub(crate) fn enter(counters: T, gauge: fn(&EngineCounters) -> &AtomicU64) -> (Self, u64) {
        let before = gauge(counters.as_ref()).fetch_add(1, Relaxed);
        (Self { counters, gauge }, before)
    }
}

impl<T: AsRef<EngineCounters>> Drop for Counted<T> {
    fn drop(&mut self) {
        (self.gauge)(self.counters.as_ref()).fetch_sub(1, Relaxed);
    }
}

/// Adds one to a counter.
pub(crate) fn add_one(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
