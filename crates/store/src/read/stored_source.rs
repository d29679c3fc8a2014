//! The source of samples that queries use: snapshots of the reader, read selectively.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use promontory_model::{MutexExt as _, Position, SnapshotId, Tenants};

use crate::error::Error;
use crate::read::blocks::BlockReader;
use crate::read::reader::{Reader, Snapshot};
use crate::read::select::ViewSnapshot;
use crate::read::source::{PinnedViews, SampleSnapshot, SampleSource, SnapshotWish};
use crate::read::standstill::Standstill;

/// Catalog versions of which a snapshot is remembered: who pins one asks again while the next version or
/// two come. Each may hold a head that the ingester has already let go, some two minutes of samples.
const REMEMBERED_VERSIONS: usize = 3;

/// How long a snapshot can be named again by its id.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// Samples as they are stored: blocks of the catalog and tails of live writers.
#[derive(Debug)]
pub struct StoredSource {
    reader: Arc<Reader>,
    blocks: Arc<BlockReader>,
    /// The newest snapshot given of each of the last versions; versions ascend.
    remembered: Mutex<VecDeque<Arc<Snapshot>>>,
    standstill: Standstill,
}

impl StoredSource {
    /// A source that pins snapshots of `reader` and reads their blocks through `blocks`.
    #[must_use]
    pub fn new(reader: Arc<Reader>, blocks: Arc<BlockReader>) -> Self {
        let standstill = Standstill::new(&*reader.context().clock);
        Self { reader, blocks, remembered: Mutex::default(), standstill }
    }

    /// After a standstill nothing that was known counts before the store has been looked at.
    async fn look_after_standstill(&self) -> Result<(), Error> {
        let Some(missed) = self.standstill.missed(&*self.reader.context().clock) else { return Ok(()) };
        self.remembered.locked().clear();
        self.reader.refresh().await?;
        self.standstill.made_up_for(missed);
        Ok(())
    }

    /// Exactly the snapshot `id`.
    ///
    /// Tails only grow within a version, so any snapshot of the version that is not older holds it.
    async fn pinned(&self, id: &SnapshotId) -> Result<Arc<Snapshot>, Error> {
        if let Some(found) = self.recall(id) {
            return Ok(found);
        }
        // Another process may have pinned what this one has not seen yet.
        let newest = self.reader.snapshot(&id.tails).await?;
        self.remember(&newest);
        match newest.at(id) {
            Some(found) => Ok(Arc::new(found)),
            None => Err(Error::Stale(format!(
                "the pinned snapshot of catalog version {} is gone, the newest is of version {}; pin that",
                id.version, newest.catalog.version
            ))),
        }
    }

    fn recall(&self, id: &SnapshotId) -> Option<Arc<Snapshot>> {
        let remembered = self.remembered.locked();
        let found = remembered.iter().filter(|snapshot| snapshot.check_age().is_ok());
        found.filter_map(|snapshot| snapshot.at(id)).next().map(Arc::new)
    }

    fn remember(&self, snapshot: &Arc<Snapshot>) {
        let mut remembered = self.remembered.locked();
        if remembered.back().is_some_and(|known| known.catalog.version > snapshot.catalog.version) {
            return;
        }
        remembered
            .retain(|known| known.catalog.version < snapshot.catalog.version && known.age() < REMEMBERED_FOR);
        remembered.push_back(snapshot.clone());
        let excess = remembered.len().saturating_sub(REMEMBERED_VERSIONS);
        remembered.drain(..excess);
    }
}

#[async_trait]
impl SampleSource for StoredSource {
    async fn snapshot(&self, tenants: &Tenants, wish: SnapshotWish<'_>) -> Result<PinnedViews, Error> {
        self.look_after_standstill().await?;
        let snapshot = match wish.pinned {
            Some(id) => holding(self.pinned(id).await?, wish.must_contain)?,
            None => self.reader.snapshot(wish.must_contain).await?,
        };
        if wish.pinned.is_none() {
            self.remember(&snapshot);
        }
        let view = |tenant| Arc::new(ViewSnapshot::new(snapshot.view(tenant), self.blocks.clone()));
        let views = tenants.as_slice().iter().map(|tenant| view(tenant) as Arc<dyn SampleSnapshot>);
        Ok(PinnedViews { id: snapshot.id(), views: views.collect() })
    }
}

/// The snapshot, if all positions are certainly in it.
fn holding(snapshot: Arc<Snapshot>, must_contain: &[Position]) -> Result<Arc<Snapshot>, Error> {
    match must_contain.iter().find(|position| !snapshot.holds(position)) {
        None => Ok(snapshot),
        Some(Position { writer, seq }) => Err(Error::Stale(format!(
            "the pinned snapshot does not hold segment {seq} of writer {writer}; pin a newer one"
        ))),
    }
}

#[cfg(test)]
mod tests;
