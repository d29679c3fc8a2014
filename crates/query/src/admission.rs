//! Waiting: at most so many queries run, at most so many wait for a place.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use promontory_promql::engine::EngineError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{QUEUE, QueryError};

#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue_max: usize,
}

/// A place among the running queries; free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// `concurrency_max` places, at least one, and a queue of `queue_max`.
    pub(crate) fn new(concurrency_max: usize, queue_max: usize) -> Self {
        let free = Arc::new(Semaphore::new(concurrency_max.max(1)));
        Self { free, waiting: AtomicUsize::new(0), queue_max }
    }

    /// Waits for a place until `deadline`.
    ///
    /// # Errors
    /// `Unavailable` if too many wait already, `TimedOut` if the deadline comes first.
    pub(crate) async fn enter(&self, deadline: Instant) -> Result<Place, EngineError> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Ok(Place { _permit: permit });
        }
        let _waiting = Waiting::enter(&self.waiting, self.queue_max)?;
        let wait = Arc::clone(&self.free).acquire_owned();
        match tokio::time::timeout_at(deadline.into(), wait).await {
            Ok(Ok(permit)) => Ok(Place { _permit: permit }),
            Ok(Err(_)) => Err(EngineError::Unavailable("the query engine is closed".into())),
            Err(_) => Err(EngineError::TimedOut(QueryError::TimedOut(QUEUE).to_string())),
        }
    }
}

/// Counts a waiting query as long as it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(waiting: &'a AtomicUsize, queue_max: usize) -> Result<Self, EngineError> {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let entered = Self(waiting);
        if before >= queue_max {
            return Err(EngineError::Unavailable(format!(
                "too many queries: {before} wait for a place already"
            )));
        }
        Ok(entered)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
