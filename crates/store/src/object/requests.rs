//! What the answer to one request to the store means.

use std::time::Duration;

use object_store::Error as StoreError;
use object_store::path::Path;
use tokio::time::timeout;

use crate::error::Error;

/// A missing object is an answer.
pub(crate) fn found<T>(answer: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::NotFound { .. }) => Ok(None),
        Err(source) => Err(source),
    }
}

/// A request that does not answer in time is one that failed.
pub(crate) async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match timeout(limit, request).await {
        Ok(answer) => answer,
        Err(elapsed) => Err(StoreError::Generic { store: "timeout", source: Box::new(elapsed) }),
    }
}

/// The store did not do `action` to `key`.
pub(crate) fn unavailable(action: &str, key: &Path, source: StoreError) -> Error {
    Error::Unavailable { action: format!("{action} {key}"), source }
}
