//! The sweeper: deletes what no version of the last grace and no upload in flight can need.
//!
//! Any number of sweepers may run at once, stall anywhere and go on after hours.
//!
//! Order of a sweep; each step is safe because of the ones before it:
//! 1. Ask the store what time it is. If our clock differs by more than a minute, do nothing.
//! 2. Commit the *floor*: the newest version older than the grace. From now on an upload with an older
//!    base cannot be committed.
//! 3. List. A stale list misses litter, which the next sweep finds.
//! 4. Read the newest version: whatever was listed and has been committed is in it or in a version
//!    since the floor.
//! 5. Delete listed blocks with a base below the floor that no version since the floor references, and
//!    listed segments that no such version references.
//! 6. Sweep whole epochs of versions below the floor, oldest first: a complete checkpoint at the
//!    epoch's end, then the mark `swept/<epoch>`, then the deletions.
//!
//! Invariants:
//! - Ages are differences of the store's own last-modified times.
//! - The version at the floor was the newest until a moment inside the grace, so what it references
//!   stays too.
//! - A closed mark is never deleted: a writer that wakes after a year must find it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;
use object_store::path::Path;
use promontory_block::CLOSED_BYTES;
use promontory_model::WriterId;

use crate::catalog::chain::{Chain, Next, Outcome};
use crate::catalog::state::{Catalog, Change};
use crate::counters::add;
use crate::error::Error;
use crate::object::context::Context;
use crate::object::encoding::{DecodeError, Decoder, Encoder};
use crate::object::keys::{self, BlockId};
use crate::planted::Bug;

const MAGIC_SWEPT: [u8; 4] = *b"PMSW";
const VERSION: u16 = 1;

/// Most deletions in flight at once.
const PARALLEL_MAX: usize = 16;

/// Bounds of a sweeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweeperSettings {
    /// Difference between our clock and the store's beyond which nothing is deleted.
    pub skew_max: Duration,
    /// Objects deleted by one sweep; the next one goes on.
    pub objects_max: usize,
}

impl Default for SweeperSettings {
    fn default() -> Self {
        Self { skew_max: Duration::from_secs(60), objects_max: 100_000 }
    }
}

/// The object `swept/<epoch>`.
pub(crate) fn encode_mark(epoch: u64) -> Bytes {
    let mut mark = Encoder::new(MAGIC_SWEPT, VERSION);
    mark.number(epoch);
    mark.finish()
}

/// The epoch of the object `swept/<epoch>`. Only checks ask: to everybody else it is there or not.
pub(crate) fn decode_mark(bytes: &[u8]) -> Result<u64, DecodeError> {
    let mut mark = Decoder::new(bytes, MAGIC_SWEPT, VERSION)?;
    let epoch = mark.number()?;
    mark.finish()?;
    Ok(epoch)
}

/// What one sweep deleted, or why it deleted nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Our clock minus the store's, in milliseconds, if that was too much to sweep.
    pub skew_ms: Option<i64>,
    /// The floor that it went by: a catalog version older than the grace.
    pub floor: u64,
    /// Objects of blocks that were deleted.
    pub block_objects: u64,
    /// Slots that were deleted.
    pub segments: u64,
    /// Catalog versions, checkpoint roots and pages that were deleted.
    pub catalog_objects: u64,
    /// Bytes of all deleted objects together.
    pub bytes: u64,
    /// Epochs whose versions were marked as being deleted.
    pub epochs: u64,
}

/// Deletes objects that nothing refers to once the grace has passed.
#[derive(Debug)]
pub struct Sweeper {
    chain: Arc<Chain>,
    settings: SweeperSettings,
}

/// What the versions since the floor reference.
#[derive(Debug, Default)]
struct References {
    blocks: BTreeSet<BlockId>,
    /// The lowest watermark of each writer that lives in one of them.
    writers: BTreeMap<WriterId, u64>,
}

impl References {
    /// Adds what one version refers to.
    fn add(&mut self, catalog: &Catalog) {
        self.blocks.extend(catalog.entries().map(|entry| entry.id));
        for (id, state) in &catalog.writers {
            let lowest = self.writers.entry(*id).or_insert(state.watermark);
            *lowest = state.watermark.min(*lowest);
        }
    }

    /// Adds what the version after the last one refers to and that one did not: thousands of versions lie above the
    /// floor, and each has every block of the bucket.
    fn add_change(&mut self, change: &Change) {
        self.blocks.extend(change.added().iter().map(|entry| entry.id));
        if let Change::Birth { writer, .. } = change {
            self.writers.insert(*writer, 0);
        }
    }

    /// True if it has all that one version refers to.
    fn covers(&self, catalog: &Catalog) -> bool {
        let lowest = |id, watermark| self.writers.get(id).is_some_and(|lowest| *lowest <= watermark);
        catalog.entries().all(|entry| self.blocks.contains(&entry.id))
            && catalog.writers.iter().all(|(id, state)| lowest(id, state.watermark))
    }

    /// A writer absent from all of them left before the floor: blocks contain its segments up to its
    /// mark, and what lies above is void. It is not one that is still to be born, because a segment
    /// that was listed is younger than its writer's birth and older than the newest version.
    fn segment(&self, writer: WriterId, seq: u64) -> bool {
        self.writers.get(&writer).is_some_and(|watermark| seq > *watermark)
    }
}

impl Sweeper {
    /// A sweeper over the bucket of `chain`.
    #[must_use]
    pub fn new(chain: Arc<Chain>, settings: SweeperSettings) -> Self {
        Self { chain, settings }
    }

    fn context(&self) -> &Arc<Context> {
        self.chain.context()
    }

    /// Sweeps once.
    ///
    /// # Errors
    /// `Unavailable`, or `Stale` if another sweeper was faster; call again.
    pub async fn sweep(&self) -> Result<Sweep, Error> {
        let store_ms = self.store_time().await?;
        let skew_ms = self.context().clock.now_ms() - store_ms;
        if skew_ms.unsigned_abs() > self.settings.skew_max.as_millis() as u64 {
            tracing::warn!(skew_ms, "the clock differs from the store's; nothing is swept");
            return Ok(Sweep { skew_ms: Some(skew_ms), ..Sweep::default() });
        }
        let floor = self.raise_floor(store_ms).await?;
        let mut sweep = Sweep { floor, ..Sweep::default() };
        if floor == 0 {
            return Ok(sweep);
        }
        let young = self.youngest_swept(store_ms);
        let blocks = self.list_blocks(floor, young).await?;
        let slots = self.list_slots(young).await?;
        let newest = self.chain.refresh().await?;
        let references = self.references(floor, newest.version).await?;
        self.sweep_blocks(&references, blocks, &mut sweep).await?;
        self.sweep_segments(&references, slots, &mut sweep).await?;
        self.sweep_epochs(floor, &mut sweep).await?;
        self.sweep_catalog(&mut sweep).await?;
        let counters = &self.context().counters;
        add(&counters.sweeps, 1);
        add(&counters.objects_swept, sweep.block_objects + sweep.segments + sweep.catalog_objects);
        add(&counters.bytes_swept, sweep.bytes);
        add(&counters.epochs_swept, sweep.epochs);
        Ok(sweep)
    }

    /// The store's time in milliseconds: when it took an object that we just wrote.
    async fn store_time(&self) -> Result<i64, Error> {
        let key = keys::clock(self.context().random.next_u128());
        self.context().overwrite(&key, Bytes::from_static(b"what time is it?\n")).await?;
        let Some(meta) = self.context().head(&key).await? else {
            return Err(Error::Missing { object: key.to_string() });
        };
        self.context().delete(&key).await?;
        Ok(meta.last_modified.timestamp_millis())
    }

    // --- Step 2 ---

    async fn raise_floor(&self, store_ms: i64) -> Result<u64, Error> {
        let catalog = self.chain.refresh().await?;
        let floor = if self.context().planted.is(Bug::SweepWithoutGrace) {
            catalog.version
        } else {
            self.newest_older_than_grace(&catalog, store_ms).await?
        };
        let outcome = self.chain.commit(|catalog| {
            let higher = floor > catalog.floor;
            if higher { Next::Try(Change::Floor { floor }) } else { Next::Stop(catalog.floor) }
        });
        match outcome.await? {
            Outcome::Committed(_) => Ok(floor),
            // Another sweeper's floor is older than the grace as well.
            Outcome::Stopped(floor) => Ok(floor),
            Outcome::Void(void) => Err(Error::Bug(format!("floor {floor}: {void}"))),
        }
    }

    /// By bisection: versions grow younger with their numbers.
    async fn newest_older_than_grace(&self, catalog: &Catalog, store_ms: i64) -> Result<u64, Error> {
        let grace_ms = self.context().format.grace_ms as i64;
        let (mut old, mut young) = (catalog.floor, catalog.version + 1);
        while young - old > 1 {
            let middle = old + (young - old) / 2;
            let Some(meta) = self.context().head(&keys::version(middle)).await? else {
                return Err(Error::Stale(format!("version {middle} was swept by another sweeper")));
            };
            if store_ms - meta.last_modified.timestamp_millis() > grace_ms {
                old = middle;
            } else {
                young = middle;
            }
        }
        Ok(old)
    }

    // --- Step 3 ---

    /// What was stored at or after this time stays, whatever the catalog says: its age does not rest on any
    /// version.
    fn youngest_swept(&self, store_ms: i64) -> i64 {
        match self.context().planted.is(Bug::SweepWithoutGrace) {
            true => i64::MAX,
            false => store_ms.saturating_sub(self.context().format.grace_ms as i64),
        }
    }

    async fn list_blocks(&self, floor: u64, young: i64) -> Result<Vec<(BlockId, ObjectMeta)>, Error> {
        let listed = self.context().list(keys::BLOCKS).try_filter(move |meta| old_enough(meta, young));
        let old = listed.try_filter_map(|meta| async move {
            let id = keys::parse_block(&meta.location).filter(|id| id.base < floor);
            Ok(id.map(|id| (id, meta)))
        });
        // Referenced blocks are listed too; they are not counted against the bound of deletions, but
        // memory is: 100 bytes per object of a bucket with a million blocks.
        old.try_collect().await
    }

    async fn list_slots(&self, young: i64) -> Result<Vec<(WriterId, u64, ObjectMeta)>, Error> {
        let listed = self.context().list(keys::WAL).try_filter(move |meta| old_enough(meta, young));
        let slots = listed.try_filter_map(|meta| async move {
            Ok(keys::parse_slot(&meta.location).map(|(writer, seq)| (writer, seq, meta)))
        });
        slots.try_collect().await
    }

    // --- Steps 4 and 5 ---

    async fn references(&self, floor: u64, newest: u64) -> Result<References, Error> {
        let overtaken = || Error::Stale(format!("version {floor} was swept by another sweeper"));
        let mut state = self.chain.load(Some(floor)).await?.ok_or_else(overtaken)?;
        let mut references = References::default();
        if self.context().planted.is(Bug::SweepWithoutGrace) {
            references.add(&self.chain.latest());
            return Ok(references);
        }
        references.add(&state);
        let deltas = (floor + 1..=newest).map(|version| self.chain.delta(version));
        let mut deltas = stream::iter(deltas).buffered(PARALLEL_MAX);
        while let Some(delta) = deltas.try_next().await? {
            let delta = delta.ok_or_else(overtaken)?;
            state = match self.chain.apply(&state, &delta) {
                Ok(next) => next,
                // In a hole anything may lie.
                Err(_) if self.chain.is_swept(floor + 1).await? => return Err(overtaken()),
                Err(damage) => return Err(damage),
            };
            references.add_change(&delta.change);
        }
        // Nothing is deleted on the word of a sum that is not the whole.
        if !references.covers(&state) {
            return Err(Error::Bug(format!(
                "version {newest} refers to more than the versions up to it brought"
            )));
        }
        // What was read in a hole may have been litter that looked right.
        if newest > floor && self.chain.is_swept(floor + 1).await? {
            return Err(overtaken());
        }
        Ok(references)
    }

    async fn sweep_blocks(
        &self,
        references: &References,
        listed: Vec<(BlockId, ObjectMeta)>,
        sweep: &mut Sweep,
    ) -> Result<(), Error> {
        let unreferenced = listed.into_iter().filter(|(id, _)| !references.blocks.contains(id));
        let objects: Vec<ObjectMeta> =
            unreferenced.map(|(_, meta)| meta).take(self.settings.objects_max).collect();
        sweep.block_objects += self.delete(objects, &mut sweep.bytes).await?;
        Ok(())
    }

    async fn sweep_segments(
        &self,
        references: &References,
        listed: Vec<(WriterId, u64, ObjectMeta)>,
        sweep: &mut Sweep,
    ) -> Result<(), Error> {
        let unreferenced = listed.into_iter().filter(|(writer, seq, _)| !references.segment(*writer, *seq));
        let candidates = unreferenced.map(|(_, _, meta)| meta).filter(|meta| !self.is_mark(meta));
        let candidates: Vec<ObjectMeta> = candidates.take(self.settings.objects_max).collect();
        sweep.segments += self.delete(candidates, &mut sweep.bytes).await?;
        Ok(())
    }

    /// A closed mark, by its size: nothing else is written that has it. What an older program wrote without samples
    /// has it, too, and stays.
    fn is_mark(&self, meta: &ObjectMeta) -> bool {
        meta.size <= CLOSED_BYTES as u64 && !self.context().planted.is(Bug::SweepClosedMark)
    }

    // --- Step 6 ---

    async fn sweep_epochs(&self, floor: u64, sweep: &mut Sweep) -> Result<(), Error> {
        let format = self.context().format;
        let mut epoch = self.chain.first_unswept_epoch().await?;
        while floor >= format.first_version(epoch + 1) {
            self.ensure_checkpoint(format.first_version(epoch + 1)).await?;
            self.context().create_equal(&keys::swept(epoch), &encode_mark(epoch), |_| false).await?;
            sweep.epochs += 1;
            epoch += 1;
        }
        Ok(())
    }

    /// Reads a complete checkpoint back, writing it first if need be.
    async fn ensure_checkpoint(&self, version: u64) -> Result<(), Error> {
        if matches!(self.chain.read_checkpoint(version).await, Ok(Some(_))) {
            return Ok(());
        }
        let overtaken = || Error::Stale(format!("version {version} was swept by another sweeper"));
        let state = self.chain.load(Some(version)).await?.ok_or_else(overtaken)?;
        self.chain.forget_pages();
        self.chain.write_checkpoint(&state).await?;
        match self.chain.read_checkpoint(version).await? {
            Some(_) => Ok(()),
            None => Err(Error::Stale(format!("checkpoint {version} is incomplete after it was written"))),
        }
    }

    /// Deletes versions, checkpoint roots and pages below the first epoch that is not swept.
    async fn sweep_catalog(&self, sweep: &mut Sweep) -> Result<(), Error> {
        let format = self.context().format;
        let first = format.first_version(self.chain.first_unswept_epoch().await?);
        if first == 0 {
            return Ok(());
        }
        for folder in [keys::CATALOG, keys::CHECKPOINT] {
            let listed = self.context().list(folder);
            let below = listed.try_filter(|meta| {
                let below = keys::parse_version(&meta.location).is_some_and(|version| version < first);
                async move { below }
            });
            let objects = below.take(self.settings.objects_max).try_collect().await?;
            sweep.catalog_objects += self.delete(objects, &mut sweep.bytes).await?;
        }
        self.sweep_pages(first, sweep).await
    }

    /// A page is needed by the checkpoints from `first` on unless the one there has a newer one.
    async fn sweep_pages(&self, first: u64, sweep: &mut Sweep) -> Result<(), Error> {
        let Some(state) = self.chain.read_checkpoint(first).await? else {
            return Err(Error::Stale(format!("checkpoint {first} was swept by another sweeper")));
        };
        let newest: BTreeMap<Path, Path> = state
            .tenants
            .iter()
            .map(|(id, tenant)| (keys::pages(id), keys::page(id, tenant.changed)))
            .collect();
        let listed: Vec<ObjectMeta> = self.context().list(keys::PAGE).try_collect().await?;
        let superseded = listed.into_iter().filter(|meta| {
            let of_tenant = keys::folder(&meta.location).and_then(|folder| newest.get(&folder));
            of_tenant.is_some_and(|newest| meta.location < *newest)
        });
        let objects = superseded.take(self.settings.objects_max).collect();
        sweep.catalog_objects += self.delete(objects, &mut sweep.bytes).await?;
        Ok(())
    }

    async fn delete(&self, objects: Vec<ObjectMeta>, bytes: &mut u64) -> Result<u64, Error> {
        let deletion = |meta: &ObjectMeta| {
            let key = meta.location.clone();
            async move { self.context().delete(&key).await }
        };
        // Collected, because a future that holds a closure over references is not `Send`.
        let deletions: Vec<_> = objects.iter().map(deletion).collect();
        stream::iter(deletions).buffered(PARALLEL_MAX).try_collect::<()>().await?;
        *bytes += objects.iter().map(|meta| meta.size).sum::<u64>();
        Ok(objects.len() as u64)
    }
}

fn old_enough(meta: &ObjectMeta, young: i64) -> std::future::Ready<bool> {
    std::future::ready(meta.last_modified.timestamp_millis() < young)
}

#[cfg(test)]
mod tests;
