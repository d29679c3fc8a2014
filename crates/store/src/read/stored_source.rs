//! The source of samples that queries use: snapshots of the reader, read selectively.

use std::sync::Arc;

use async_trait::async_trait;
use promontory_model::{Position, TenantId};

use crate::error::Error;
use crate::read::blocks::BlockReader;
use crate::read::reader::Reader;
use crate::read::select::ViewSnapshot;
use crate::read::source::{SampleSnapshot, SampleSource};

/// Samples as they are stored: blocks of the catalog and tails of live writers.
#[derive(Debug)]
pub struct StoredSource {
    reader: Arc<Reader>,
    blocks: Arc<BlockReader>,
}

impl StoredSource {
    /// A source that pins snapshots of `reader` and reads their blocks through `blocks`.
    #[must_use]
    pub fn new(reader: Arc<Reader>, blocks: Arc<BlockReader>) -> Self {
        Self { reader, blocks }
    }
}

#[async_trait]
impl SampleSource for StoredSource {
    async fn snapshot(
        &self,
        tenant: &TenantId,
        must_contain: &[Position],
    ) -> Result<Arc<dyn SampleSnapshot>, Error> {
        let snapshot = self.reader.snapshot(must_contain).await?;
        Ok(Arc::new(ViewSnapshot::new(snapshot.view(tenant), self.blocks.clone())))
    }
}
