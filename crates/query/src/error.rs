//! From errors inside a plan to the door's errors.
//!
//! Operators raise [`QueryError`] inside DataFusion's error; [`to_engine_error`] finds it again under
//! whatever context operators have wrapped around it.

use std::error::Error as StdError;

use datafusion::common::DataFusionError;
use promontory_plan::PlanError;
use promontory_promql::engine::EngineError;
use promontory_store::Error as StoreError;

use crate::settings::FLAG_OF_ALL;

/// What an operator of a query can run into.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The expression cannot be evaluated over this data.
    #[error("{0}")]
    Execution(String),
    /// A limit is reached.
    #[error("{0}")]
    Limited(String),
    /// All requests together hold as much as they may.
    #[error("{0}")]
    Busy(String),
    /// The time is over.
    #[error("query timed out in {0}")]
    TimedOut(&'static str),
    /// The caller went away.
    #[error("query was canceled in {0}")]
    Cancelled(&'static str),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where Prometheus says that an evaluation was when it was stopped.
pub const EVALUATION: &str = "expression evaluation";
/// Where Prometheus says that a query was that never got a place.
pub const QUEUE: &str = "query queue";

impl From<QueryError> for DataFusionError {
    fn from(error: QueryError) -> Self {
        Self::External(Box::new(error))
    }
}

/// Fails the query with this text, as Prometheus' evaluator does.
pub fn execution<T>(text: impl Into<String>) -> datafusion::common::Result<T> {
    Err(QueryError::Execution(text.into()).into())
}

/// The door's error for an error of a plan.
pub fn to_engine_error(error: DataFusionError) -> EngineError {
    let mut source: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(current) = source {
        if let Some(query) = current.downcast_ref::<QueryError>() {
            return engine_error_of(query);
        }
        if let Some(DataFusionError::External(inner)) = current.downcast_ref::<DataFusionError>()
            && let Some(query) = inner.downcast_ref::<QueryError>()
        {
            return engine_error_of(query);
        }
        source = current.source();
    }
    match error.find_root() {
        // The pool words both refusals; an operator between loses which it was.
        DataFusionError::ResourcesExhausted(text) if text.contains(FLAG_OF_ALL) => {
            EngineError::Unavailable(text.clone())
        }
        DataFusionError::ResourcesExhausted(text) => {
            EngineError::Limited(format!("query needs more memory than it may use: {text}"))
        }
        DataFusionError::Execution(text) => EngineError::Unanswerable(text.clone()),
        root => EngineError::Bug(root.to_string()),
    }
}

/// The door's error for a query without a plan.
pub fn plan_error(error: PlanError) -> EngineError {
    match error {
        PlanError::Invalid(_) | PlanError::Unsupported(_) => EngineError::Unanswerable(error.to_string()),
        PlanError::Limited(_) => EngineError::Limited(error.to_string()),
        PlanError::Bug(_) => EngineError::Bug(error.to_string()),
    }
}

/// The door's error for an error of the store: once for each, because it is logged here.
pub fn store_error(error: &StoreError) -> EngineError {
    if let StoreError::Stopped(text) = error {
        return EngineError::TimedOut(text.clone());
    }
    let text = error.told("expanding series");
    match error {
        StoreError::Limited(_) => EngineError::Limited(text),
        // Asking again later may help; for what remains a human is needed.
        StoreError::Unavailable { .. }
        | StoreError::Missing { .. }
        | StoreError::Busy(_)
        | StoreError::Stale(_) => EngineError::Unavailable(text),
        StoreError::Corrupt { .. } | StoreError::Unsupported(_) => EngineError::Corrupt(text),
        StoreError::Bug(_) | StoreError::Stopped(_) => EngineError::Bug(text),
    }
}

pub fn engine_error_of(error: &QueryError) -> EngineError {
    match error {
        QueryError::Execution(text) => EngineError::Unanswerable(text.clone()),
        QueryError::Limited(text) => EngineError::Limited(text.clone()),
        QueryError::Busy(text) => EngineError::Unavailable(text.clone()),
        QueryError::TimedOut(_) => EngineError::TimedOut(error.to_string()),
        QueryError::Cancelled(_) => EngineError::Cancelled(error.to_string()),
        QueryError::Store(error) => store_error(error),
    }
}
