//! The object store as this system uses it: one bucket, three clients.

use std::sync::Arc;

use object_store::ObjectStore;

/// One bucket (or folder) behind three clients that differ only in timeouts and retries.
///
/// Small metadata requests must fail fast, range reads obey the query's deadline, uploads of blocks
/// may take minutes on a slow link.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Catalog, slots, marks: small, short timeouts.
    pub metadata: Arc<dyn ObjectStore>,
    /// Ranges of blocks for queries.
    pub reads: Arc<dyn ObjectStore>,
    /// Whole blocks.
    pub uploads: Arc<dyn ObjectStore>,
}

impl Bucket {
    /// All three purposes through one client, as in tests and the simulator.
    #[must_use]
    pub fn single(store: Arc<dyn ObjectStore>) -> Self {
        Self { metadata: store.clone(), reads: store.clone(), uploads: store }
    }
}
