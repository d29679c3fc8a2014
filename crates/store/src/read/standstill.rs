//! Time that this process did not notice.
//!
//! `Instant` stands still while a machine is suspended or its host has paused it, so everything that was read
//! before looks as fresh afterwards as it was then, although the grace of the store may have passed. The wall
//! clock goes on, or is set right soon after. So where it gained on the `Instant`s, the difference is taken for
//! a standstill; a clock that was merely set costs one look at the store.

use std::sync::Mutex;
use std::time::Duration;

use promontory_model::{Clock, MutexExt as _};
use tokio::time::Instant;

/// Shorter ones are not noticed: clocks are corrected by seconds at most, and the grace, half of which a
/// snapshot may be old, is minutes at least.
const STANDSTILL_MIN: Duration = Duration::from_secs(10);

/// Notices that the wall clock gained on the process.
#[derive(Debug)]
pub(crate) struct Standstill {
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    at: Instant,
    wall_ms: i64,
    /// Standstills after which nobody has looked yet.
    missed: Duration,
}

impl Standstill {
    /// Watches from now on.
    #[must_use]
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        let seen = Seen { at: Instant::now(), wall_ms: clock.now_ms(), missed: Duration::ZERO };
        Self { seen: Mutex::new(seen) }
    }

    /// How long the process stood still since somebody looked at the store; `None` if it did not.
    pub(crate) fn missed(&self, clock: &dyn Clock) -> Option<Duration> {
        let mut seen = self.seen.locked();
        let (at, wall_ms) = (Instant::now(), clock.now_ms());
        let by_wall = Duration::from_millis(u64::try_from(wall_ms.saturating_sub(seen.wall_ms)).unwrap_or(0));
        let gained = by_wall.saturating_sub(at - seen.at);
        (seen.at, seen.wall_ms) = (at, wall_ms);
        if gained >= STANDSTILL_MIN {
            seen.missed += gained;
            tracing::warn!(
                seconds = gained.as_secs(),
                "this machine was suspended or paused, or its clock was set; the store is looked at anew"
            );
        }
        (!seen.missed.is_zero()).then_some(seen.missed)
    }

    /// The store was looked at after the standstills that [`Self::missed`] named.
    pub(crate) fn made_up_for(&self, missed: Duration) {
        let mut seen = self.seen.locked();
        seen.missed = seen.missed.saturating_sub(missed);
    }
}
