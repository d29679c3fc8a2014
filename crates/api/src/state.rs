//! What Prometheus' API stands on: the doors of this role, beside what every face has.

use std::sync::Arc;

use axum::extract::FromRef;
use promontory_model::{Append, Clock};
use promontory_promql::Engine;

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
}

impl ApiState {
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
