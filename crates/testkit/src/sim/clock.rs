//! Simulated wall-clock time: the runtime's paused time, seen through one process's wrong watch.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use promontory_model::Clock;
use tokio::time::Instant;

/// Where simulated time begins: 2026-01-01T00:00:00Z.
pub const EPOCH_MS: i64 = 1_767_225_600_000;

/// A clock that runs with the runtime's time and is wrong by a settable amount.
#[derive(Clone, Debug)]
pub struct SimClock {
    begun: Instant,
    skew_ms: Arc<AtomicI64>,
}

impl SimClock {
    /// A right clock that reads [`EPOCH_MS`] now.
    #[must_use]
    pub fn starting_now() -> Self {
        Self { begun: Instant::now(), skew_ms: Arc::default() }
    }

    /// Another watch beside this one, ahead of true time by `skew_ms` (behind if negative).
    #[must_use]
    pub fn skewed(&self, skew_ms: i64) -> Self {
        Self { begun: self.begun, skew_ms: Arc::new(AtomicI64::new(skew_ms)) }
    }

    /// Makes this watch jump: from now on it is wrong by `skew_ms`.
    pub fn jump(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }

    /// Milliseconds of simulated time since the beginning, without skew.
    #[must_use]
    pub fn elapsed_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }
}

impl Clock for SimClock {
    fn now_ms(&self) -> i64 {
        EPOCH_MS + self.elapsed_ms() as i64 + self.skew_ms.load(Ordering::Relaxed)
    }
}
