//! What a selection may take: what is left of the request's memory, as long as the request runs.

use std::sync::Arc;

use promontory_store::{Allowance, Error as StoreError};

use crate::context::QueryContext;
use crate::error::QueryError;
use crate::memory::Held;

/// One selection's part of the request's memory.
#[derive(Debug)]
pub(super) struct Selecting {
    context: Arc<QueryContext>,
    held: Held,
}

impl Selecting {
    pub(super) fn of(context: &Arc<QueryContext>) -> Arc<dyn Allowance> {
        Arc::new(Self { context: Arc::clone(context), held: context.held() })
    }
}

impl Allowance for Selecting {
    fn take(&self, bytes: u64) -> Result<(), StoreError> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let taken =
            self.context.running().and_then(|()| self.held.grow(bytes, "the series of its selectors"));
        taken.map_err(|refusal| match refusal {
            QueryError::TimedOut(_) | QueryError::Cancelled(_) => StoreError::Stopped(refusal.to_string()),
            QueryError::Busy(text) => StoreError::Busy(text),
            other => StoreError::Limited(other.to_string()),
        })
    }
}
