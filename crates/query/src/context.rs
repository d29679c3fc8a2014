//! What all operators of one query share: its end, its budget, its counters, its annotations.
//!
//! Scalar functions reach it through the session's configuration ([`QueryExtension`]), because they
//! are registered once by name; aggregate functions and nodes are made per query and hold it.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::common::{Result as DataFusionResult, exec_err, internal_datafusion_err};
use promontory_promql::AnnotationCollector;

use crate::error::{EVALUATION, QueryError};
use crate::memory::{Held, QueryMemory};

/// Shared by the operators of one query.
#[derive(Debug)]
pub struct QueryContext {
    deadline: Instant,
    canceled: AtomicBool,
    samples_max: u64,
    samples_held: AtomicU64,
    samples_read: AtomicU64,
    series_touched: AtomicU64,
    samples_queryable: AtomicU64,
    annotations: AnnotationCollector,
    memory: Arc<QueryMemory>,
    kept: Held,
}

impl QueryContext {
    /// A query that must end at `deadline` and may hold `samples_max` samples, and bytes of `memory`.
    pub fn new(deadline: Instant, samples_max: u64, memory: Arc<QueryMemory>) -> Self {
        Self {
            deadline,
            canceled: AtomicBool::new(false),
            samples_max,
            samples_held: AtomicU64::new(0),
            samples_read: AtomicU64::new(0),
            series_touched: AtomicU64::new(0),
            samples_queryable: AtomicU64::new(0),
            annotations: AnnotationCollector::default(),
            kept: Held::none(&memory),
            memory,
        }
    }

    /// What it may hold, and holds.
    pub fn memory(&self) -> &Arc<QueryMemory> {
        &self.memory
    }

    /// What it holds until this context is dropped, and so until the answer was read: the answer itself, and
    /// what stays as long.
    pub fn kept(&self) -> &Held {
        &self.kept
    }

    /// Nothing yet, for what is dropped earlier.
    pub fn held(&self) -> Held {
        Held::none(&self.memory)
    }

    /// When the query must have ended.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Most samples that the query may hold.
    pub fn samples_max(&self) -> u64 {
        self.samples_max
    }

    /// Makes every operator stop at its next batch.
    pub fn cancel(&self) {
        self.canceled.store(true, Ordering::Relaxed);
    }

    /// To be called once per batch by everything that makes or consumes batches, and every thousand turns by
    /// every other loop.
    ///
    /// # Errors
    /// If the query was canceled or its time is over.
    pub fn running(&self) -> Result<(), QueryError> {
        if self.canceled.load(Ordering::Relaxed) {
            return Err(QueryError::Cancelled(EVALUATION));
        }
        if Instant::now() >= self.deadline {
            return Err(QueryError::TimedOut(EVALUATION));
        }
        Ok(())
    }

    /// The same for operators.
    ///
    /// # Errors
    /// As [`Self::running`].
    pub fn check(&self) -> DataFusionResult<()> {
        Ok(self.running()?)
    }

    /// Accounts for points that selectors and range functions have made, as Prometheus does: a point
    /// is held from then on.
    ///
    /// # Errors
    /// If the query would hold more than its limit.
    pub fn hold(&self, points: u64) -> DataFusionResult<()> {
        let held = self.samples_held.fetch_add(points, Ordering::Relaxed) + points;
        if held > self.samples_max {
            return too_many_samples();
        }
        Ok(())
    }

    /// Gives back what [`Self::hold`] took.
    pub fn release(&self, points: u64) {
        self.samples_held.fetch_sub(points, Ordering::Relaxed);
    }

    /// Counts what storage gave to a selector: series with their samples.
    pub fn count_read(&self, series: u64, samples: u64) {
        self.series_touched.fetch_add(series, Ordering::Relaxed);
        self.samples_read.fetch_add(samples, Ordering::Relaxed);
    }

    /// Counts samples that windows held, once per evaluation time.
    pub fn count_queryable(&self, samples: u64) {
        self.samples_queryable.fetch_add(samples, Ordering::Relaxed);
    }

    /// Series that selectors matched, a series once for each of them.
    pub fn series_touched(&self) -> u64 {
        self.series_touched.load(Ordering::Relaxed)
    }

    /// Samples read, samples in windows, most samples held.
    pub fn samples(&self) -> (u64, u64, u64) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (load(&self.samples_read), load(&self.samples_queryable), load(&self.samples_held))
    }

    /// Where annotations go.
    pub fn annotations(&self) -> &AnnotationCollector {
        &self.annotations
    }
}

/// Prometheus' error for a query over `--query.max-samples`.
pub fn too_many_samples<T>() -> DataFusionResult<T> {
    let text = "query processing would load too many samples into memory in query execution";
    Err(QueryError::Limited(text.to_owned()).into())
}

/// Carries the context to scalar functions.
#[derive(Clone, Debug)]
pub struct QueryExtension(pub Arc<QueryContext>);

impl QueryExtension {
    /// The context in a configuration.
    ///
    /// # Errors
    /// If there is none, which is a bug of the planner.
    pub fn of(config: &ConfigOptions) -> DataFusionResult<&Arc<QueryContext>> {
        let extension = config.extensions.get::<Self>();
        extension.map(|found| &found.0).ok_or_else(|| internal_datafusion_err!("no query context"))
    }
}

impl ConfigExtension for QueryExtension {
    const PREFIX: &'static str = "promontory";
}

impl ExtensionOptions for QueryExtension {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> DataFusionResult<()> {
        exec_err!("the query context has no setting {key}")
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}
