//! When a tenant's L1 becomes L2: a pure function plans, [`Compaction`] carries out.
//!
//! 1. Every round reads the newest version and the ages of the versions that added its L1 blocks.
//! 2. [`plan`] chooses the tenants that are due and their order; it sees values only.
//! 3. Each planned merge is one [`Merger::merge_l1`], which decides by the version that it finds then.
//!
//! Invariants:
//! - Nothing depends on the plan being right: a merge that somebody else has made is void or finds
//!   nothing. So ages may come from clocks that differ, and any number of compactors may plan at once.
//! - An error of one tenant does not keep the others from being merged.
//! - A merge takes everything of its tenant that is in L1, young rows too: a merge for each L1 block
//!   would make as many small L2 blocks as there were L1 blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use promontory_model::{MutexExt as _, TenantId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::catalog::chain::Chain;
use crate::catalog::state::Catalog;
use crate::error::Error;
use crate::object::context::Context;
use crate::object::keys;
use crate::upkeep::merger::{Merged, Merger, MergerSettings};

/// When the L1 blocks of a tenant are due to be merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanSettings {
    /// A tenant is due once the oldest L1 block that its L2 does not contain is this old:
    /// `--compactor.l2-after`.
    pub l2_after: Duration,
    /// A tenant with more such blocks is due whatever their age: each is one more pair of files to
    /// open for every query, and many ingesters make many of them.
    pub l1_blocks_max: usize,
}

impl Default for PlanSettings {
    fn default() -> Self {
        Self { l2_after: Duration::from_secs(600), l1_blocks_max: 64 }
    }
}

/// One tenant whose L1 rows become L2 blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L1Merge {
    pub tenant: TenantId,
    /// How many they are, repeated ones counted again.
    pub rows: u64,
    pub newest_ts: i64,
}

/// The merges from L1 that are due, in the order in which they should be made.
///
/// `ages` holds the age of each version that added an L1 block; a version that it does not name is
/// old. The busiest tenants come first, by powers of two of their rows; among those of one power
/// `salt` decides, so that several compactors begin at different ends, and then the newest rows.
#[must_use]
pub fn plan(
    catalog: &Catalog,
    ages: &BTreeMap<u64, Duration>,
    settings: PlanSettings,
    salt: u64,
) -> Vec<L1Merge> {
    let mut waiting: BTreeMap<&TenantId, Waiting> = BTreeMap::new();
    for (place, entry) in &catalog.l1 {
        let age = ages.get(&place.version).copied().unwrap_or(Duration::MAX);
        for span in &entry.meta.tenants {
            // What was passed over lies below and waits for no merge.
            if catalog.l1_watermark(&span.tenant) < place.version {
                let waiting = waiting.entry(&span.tenant).or_default();
                waiting.blocks += 1;
                waiting.oldest = waiting.oldest.max(age);
                waiting.rows += span.rows.end - span.rows.start;
                waiting.newest_ts = waiting.newest_ts.max(span.time_range.end);
            }
        }
    }
    let due =
        |waiting: &Waiting| waiting.oldest >= settings.l2_after || waiting.blocks > settings.l1_blocks_max;
    let mut merges: Vec<L1Merge> = waiting
        .into_iter()
        .filter(|(_, waiting)| due(waiting))
        .map(|(tenant, Waiting { rows, newest_ts, .. })| L1Merge { tenant: tenant.clone(), rows, newest_ts })
        .collect();
    merges.sort_by_cached_key(|merge| {
        let mixed = xxh3_64_with_seed(merge.tenant.as_str().as_bytes(), salt);
        (merge.rows.leading_zeros(), mixed, std::cmp::Reverse(merge.newest_ts))
    });
    merges
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    blocks: usize,
    oldest: Duration,
    rows: u64,
    newest_ts: i64,
}

impl Default for Waiting {
    fn default() -> Self {
        Self { blocks: 0, oldest: Duration::ZERO, rows: 0, newest_ts: i64::MIN }
    }
}

/// What one round of merges did.
#[derive(Debug, Default)]
pub struct Round {
    /// Merges that are in the catalog.
    pub merges: usize,
    /// Blocks that they added.
    pub blocks: usize,
    /// Samples in those blocks.
    pub rows: u64,
    /// Damaged L1 blocks that they went past.
    pub passed_over: usize,
    /// Merges that somebody else made first.
    pub void: usize,
    /// Tenants that could not be merged, and why; each is tried again in the next round.
    pub failures: Vec<(TenantId, Error)>,
}

/// Merges L1 into L2, round by round.
#[derive(Debug)]
pub struct Compaction {
    chain: Arc<Chain>,
    merger: Merger,
    settings: PlanSettings,
    salt: u64,
    /// When the versions that added L1 blocks were created, by the store's clock.
    created_ms: Mutex<BTreeMap<u64, i64>>,
}

impl Compaction {
    /// A compaction that commits through `chain`.
    #[must_use]
    pub fn new(chain: Arc<Chain>, merger: MergerSettings, settings: PlanSettings) -> Self {
        let salt = chain.context().random.next_u64();
        let merger = Merger::new(chain.clone(), merger);
        Self { chain, merger, settings, salt, created_ms: Mutex::default() }
    }

    fn context(&self) -> &Arc<Context> {
        self.chain.context()
    }

    /// Makes the merges that are due now.
    ///
    /// # Errors
    /// If the catalog cannot be read; what one tenant meets is in [`Round::failures`].
    pub async fn round(&self) -> Result<Round, Error> {
        let catalog = self.chain.refresh().await?;
        let ages = self.ages(&catalog).await?;
        let mut round = Round::default();
        for merge in plan(&catalog, &ages, self.settings, self.salt) {
            match self.merger.merge_l1(&merge.tenant).await {
                Ok(Merged::Committed { blocks, rows, passed_over }) => {
                    round.merges += 1;
                    round.passed_over += passed_over;
                    round.blocks += blocks;
                    round.rows += rows;
                }
                Ok(Merged::Void) => round.void += 1,
                Ok(Merged::Nothing) => {}
                Err(error) => round.failures.push((merge.tenant, error)),
            }
        }
        self.merger.forget_inputs();
        Ok(round)
    }

    /// The age of each version that added an L1 block: one small request for each that is new.
    async fn ages(&self, catalog: &Catalog) -> Result<BTreeMap<u64, Duration>, Error> {
        let mut known = self.known().clone();
        let versions: BTreeSet<u64> = catalog.l1.keys().map(|place| place.version).collect();
        known.retain(|version, _| versions.contains(version));
        let fresh: Vec<u64> = versions.into_iter().filter(|version| !known.contains_key(version)).collect();
        for version in fresh {
            // A version that was swept is older than any wait.
            let created = self.context().head(&keys::version(version)).await?;
            let created = created.map_or(i64::MIN, |object| object.last_modified.timestamp_millis());
            known.insert(version, created);
        }
        let now_ms = self.context().clock.now_ms();
        let age = |created_ms: i64| Duration::from_millis(now_ms.saturating_sub(created_ms).max(0) as u64);
        let ages = known.iter().map(|(version, created_ms)| (*version, age(*created_ms))).collect();
        *self.known() = known;
        Ok(ages)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, i64>> {
        self.created_ms.locked()
    }
}

#[cfg(test)]
mod tests;
