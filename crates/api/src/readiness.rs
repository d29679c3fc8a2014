//! Whether requests are served: the binary turns the handle, the faces look at it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// What the process does with requests at this stage of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyState {
    /// Starting: everything but `/-/healthy` answers 503.
    NotReady,
    /// Serving: requests are answered.
    Ready,
    /// Stopping: as not ready, and the answer says so.
    Stopping,
}

/// A handle that all its clones share; not ready at first.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    state: Arc<AtomicU8>,
}

impl Readiness {
    /// A handle that is already turned to `state`.
    #[must_use]
    pub fn new(state: ReadyState) -> Self {
        let readiness = Self::default();
        readiness.set(state);
        readiness
    }

    /// Sets the stage for this handle and all its clones; the next request sees it.
    pub fn set(&self, state: ReadyState) {
        let raw = match state {
            ReadyState::NotReady => 0,
            ReadyState::Ready => 1,
            ReadyState::Stopping => 2,
        };
        self.state.store(raw, Ordering::Release);
    }

    /// The stage that was set last.
    #[must_use]
    pub fn get(&self) -> ReadyState {
        match self.state.load(Ordering::Acquire) {
            0 => ReadyState::NotReady,
            1 => ReadyState::Ready,
            _ => ReadyState::Stopping,
        }
    }
}
