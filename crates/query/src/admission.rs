//! Waiting: at most so many queries run, at most so many wait for a place.

use std::sync::Arc;
use std::time::Instant;

use promontory_promql::engine::EngineError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::counters::{Counted, EngineCounters, add_one};
use crate::error::{QUEUE, QueryError};

#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    queue_max: usize,
    counters: Arc<EngineCounters>,
}

/// A place among the running queries; free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    _running: Counted<Arc<EngineCounters>>,
}

impl Places {
    /// `concurrency_max` places, at least one, and a queue of `queue_max`.
    pub(crate) fn new(concurrency_max: usize, queue_max: usize, counters: Arc<EngineCounters>) -> Self {
        Self { free: Arc::new(Semaphore::new(concurrency_max.max(1))), queue_max, counters }
    }

    /// Waits for a place until `deadline`.
    ///
    /// # Errors
    /// `Unavailable` if too many wait already, `TimedOut` if the deadline comes first.
    pub(crate) async fn enter(&self, deadline: Instant) -> Result<Place, EngineError> {
        let began = Instant::now();
        let permit = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self.wait(deadline).await?,
        };
        self.counters.durations.queue.observe(began.elapsed());
        let (running, _) = Counted::enter(Arc::clone(&self.counters), |counters| &counters.running);
        Ok(Place { _permit: permit, _running: running })
    }

    async fn wait(&self, deadline: Instant) -> Result<OwnedSemaphorePermit, EngineError> {
        let (_waiting, before) = Counted::enter(Arc::clone(&self.counters), |counters| &counters.waiting);
        if before >= self.queue_max as u64 {
            add_one(&self.counters.refused_queue_full);
            return Err(EngineError::Unavailable(format!(
                "too many queries: {before} wait for a place already"
            )));
        }
        let wait = Arc::clone(&self.free).acquire_owned();
        match tokio::time::timeout_at(deadline.into(), wait).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(EngineError::Unavailable("the query engine is closed".into())),
            Err(_) => {
                add_one(&self.counters.refused_queue_timeout);
                Err(EngineError::TimedOut(QueryError::TimedOut(QUEUE).to_string()))
            }
        }
    }
}
