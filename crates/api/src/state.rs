//! What Prometheus' API stands on: the doors of this role, beside what every face has.

use std::sync::Arc;

use axum::extract::FromRef;
use promontory_model::{Append, Clock};
use promontory_promql::Engine;
use tokio::sync::Semaphore;

use crate::face::{ApiError, Door, FaceState};

/// What the handlers of Prometheus' API see.
#[derive(Clone)]
pub struct ApiState {
    /// The door for samples; `None` in a role that takes none.
    pub append: Option<Arc<dyn Append>>,
    /// The door for questions; `None` in a role that answers none.
    pub engine: Option<Arc<dyn Engine>>,
    /// The default evaluation time of an instant query.
    pub clock: Arc<dyn Clock>,
    /// Limits, tenancy, counters and readiness, as for every face.
    pub face: Arc<FaceState>,
    /// Places for large writes that are being decoded: [`Self::decoding_places`].
    pub decoding: Arc<Semaphore>,
}

impl ApiState {
    /// A place per processor. More at once are decoded no sooner, and each of them takes its share of the
    /// processors from the threads that answer everybody else: with a hundred, a question of 6 ms took a second.
    #[must_use]
    pub fn decoding_places() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(2, usize::from)))
    }

    /// The door for questions.
    ///
    /// # Errors
    /// `NotFound` in a role that answers none.
    pub(crate) fn engine(&self) -> Result<&Arc<dyn Engine>, ApiError> {
        self.engine.as_ref().ok_or_else(ApiError::no_engine)
    }

    pub(crate) fn open_doors(&self) -> Vec<Door> {
        let append = self.append.is_some().then_some(Door::Append);
        let engine = self.engine.is_some().then_some(Door::Engine);
        append.into_iter().chain(engine).collect()
    }
}

impl FromRef<ApiState> for Arc<FaceState> {
    fn from_ref(state: &ApiState) -> Self {
        Arc::clone(&state.face)
    }
}
