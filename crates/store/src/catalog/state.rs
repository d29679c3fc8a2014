//! Which blocks and writers exist: the state at one version, and what a version may change.
//!
//! Words: a *delta* makes version n out of version n - 1 and holds one [`Change`]; a *base* is the
//! version that was read before an upload; the *floor* is a version below which no base may lie.
//!
//! Invariants, checked by whoever commits and again by whoever applies:
//! - A writer's watermark rises only by a change that names the watermark it starts from.
//! - A writer leaves only by a closed mark directly above the segments that its last commit contains.
//! - A tenant's L1 watermark rises only by a merge that names the one it starts from.
//! - A merge above L1 finds every input in the version that it builds on.
//! - No block is added whose base is below the floor.
//! - An L1 entry is there exactly until all its tenants have passed it and none has passed it *over*.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use object_store::path::Path;
use promontory_block::{BlockMeta, Level, TenantSpan};
use promontory_model::{TenantId, WriterId};

use crate::object::keys::BlockId;
use crate::planted::{Bug, Planted};

/// Most blocks that one change adds or takes away.
pub const CHANGE_BLOCKS_MAX: usize = 4_096;

/// One block in the catalog.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockEntry {
    /// Its name, which holds the version that its making was based on.
    pub id: BlockId,
    /// The folder of its objects.
    pub path: Path,
    /// The newest catalog version whose tombstones its rows obey.
    pub applied: u64,
    /// Its size, time range, tenants and objects.
    pub meta: BlockMeta,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A writer begins with watermark 0.
    Birth { writer: WriterId },
    /// A writer's segments `from + 1..=to` are contained in `entry`, or are all empty.
    L1 {
        writer: WriterId,
        /// The writer's watermark before the commit; another value makes it void.
        from: u64,
        to: u64,
        entry: Option<BlockEntry>,
    },
    /// A writer ends: its segments `from + 1..mark` are contained in `entry`, or are all empty.
    Close {
        writer: WriterId,
        /// The writer's watermark before the commit; another value makes it void.
        from: u64,
        /// The slot of the closed mark; what lies above it is void.
        mark: u64,
        entry: Option<BlockEntry>,
    },
    /// All rows of one tenant in the L1 objects of versions `from + 1..=to` are in `outputs`, but those
    /// in the objects of `passed_over`.
    MergeL1 {
        tenant: TenantId,
        /// The L1 watermark that the merge starts from.
        from: u64,
        to: u64,
        /// Versions of L1 blocks that cannot be read, ascending.
        passed_over: Vec<u64>,
        outputs: Vec<BlockEntry>,
    },
    /// `outputs` replace `inputs`, all above L1.
    Merge { tenant: TenantId, inputs: Vec<BlockId>, outputs: Vec<BlockEntry> },
    /// No block with a base below `floor` may be added from here on.
    Floor {
        /// A version that is older than the grace.
        floor: u64,
    },
    /// Samples of a tenant before `from_ts` are gone.
    Retain { tenant: TenantId, from_ts: i64 },
}

/// The object `catalog/<version>`.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    pub version: u64,
    /// Fresh random bits: no two attempts have the same bytes.
    pub attempt: u128,
    pub change: Change,
}

/// A precondition that does not hold: the change is void at this version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Void(pub String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterState {
    /// The version that holds its birth.
    pub born: u64,
    /// The last segment that an L1 block contains; 0 at birth.
    pub watermark: u64,
}

/// One tenant's part of the state, but its rows in L1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TenantState {
    /// The last version that changed this tenant; names its page in a checkpoint.
    pub changed: u64,
    /// The version up to which `blocks` contain the tenant's L1 rows, but those of `passed_over`.
    pub l1_watermark: u64,
    /// Versions of L1 blocks at or below the watermark whose rows count in L1 still.
    pub passed_over: BTreeSet<u64>,
    /// The first timestamp in milliseconds that retention keeps; `None`: all.
    pub retained_from: Option<i64>,
    /// Blocks of L2 and L3.
    pub blocks: BTreeMap<BlockId, Arc<BlockEntry>>,
}

/// The state at one version: what counts as stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    /// Which version this is; 0 is the empty state before the first delta.
    pub version: u64,
    /// No block with a lower base may be added.
    pub floor: u64,
    /// Writers that were born and are not closed.
    pub writers: BTreeMap<WriterId, WriterState>,
    /// L1 blocks by the version that added them.
    pub l1: BTreeMap<u64, Arc<BlockEntry>>,
    /// Tenants that have passed an L1 block or have a retention.
    pub tenants: BTreeMap<TenantId, Arc<TenantState>>,
}

impl Catalog {
    /// The tenant's L1 watermark: 0 until its first merge.
    #[must_use]
    pub fn l1_watermark(&self, tenant: &TenantId) -> u64 {
        self.tenants.get(tenant).map_or(0, |tenant| tenant.l1_watermark)
    }

    /// The L1 blocks with rows of `tenant` that its L2 does not contain, in commit order.
    ///
    /// This is the one place that knows the rule; scans, merges and checks all ask here.
    pub fn l1_of<'a>(&'a self, tenant: &'a TenantId) -> impl Iterator<Item = (u64, &'a Arc<BlockEntry>)> {
        let passed_over = self.tenants.get(tenant).into_iter().flat_map(|tenant| &tenant.passed_over);
        let damaged = passed_over.filter_map(|version| self.l1.get_key_value(version));
        let damaged = damaged.map(|(version, entry)| (*version, entry));
        damaged.chain(self.unmerged_l1_of(tenant))
    }

    /// The blocks of [`Self::l1_of`] that no merge has taken yet.
    pub fn unmerged_l1_of<'a>(
        &'a self,
        tenant: &'a TenantId,
    ) -> impl Iterator<Item = (u64, &'a Arc<BlockEntry>)> {
        let above = self.l1.range(self.l1_watermark(tenant).saturating_add(1)..);
        above.map(|(version, entry)| (*version, entry)).filter(|(_, entry)| entry.holds(tenant))
    }

    /// The tenant's blocks of L2 and L3, in the order of their ids.
    pub fn blocks_of<'a>(&'a self, tenant: &TenantId) -> impl Iterator<Item = &'a Arc<BlockEntry>> {
        self.tenants.get(tenant).into_iter().flat_map(|tenant| tenant.blocks.values())
    }

    /// Every tenant with rows in a block, in order.
    #[must_use]
    pub fn tenants_with_rows(&self) -> Vec<TenantId> {
        let l1 = self.l1.values().flat_map(|entry| entry.meta.tenants.iter().map(|span| &span.tenant));
        let above = self.tenants.iter().filter(|(_, tenant)| !tenant.blocks.is_empty()).map(|(id, _)| id);
        let all: BTreeSet<&TenantId> = l1.chain(above).collect();
        all.into_iter().cloned().collect()
    }

    /// Every block that counts in this version, L1 first.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<BlockEntry>> {
        self.l1.values().chain(self.tenants.values().flat_map(|tenant| tenant.blocks.values()))
    }

    /// The next version, or why `change` is void on this one.
    ///
    /// # Errors
    /// [`Void`] names the precondition.
    pub fn apply(&self, change: &Change, planted: Planted) -> Result<Self, Void> {
        let mut next = self.clone();
        next.version += 1;
        match change {
            Change::Birth { writer } => next.birth(*writer)?,
            Change::L1 { writer, from, to, entry } => {
                if to <= from {
                    return void(format!("watermark of writer {writer} does not rise from {from} to {to}"));
                }
                next.raise_watermark(*writer, *from, *to, planted)?;
                next.add_l1(entry.as_ref(), planted)?;
            }
            Change::Close { writer, from, mark, entry } => {
                let Some(to) = mark.checked_sub(1).filter(|to| to >= from) else {
                    return void(format!("closed mark {mark} of writer {writer} is not above {from}"));
                };
                next.raise_watermark(*writer, *from, to, planted)?;
                next.add_l1(entry.as_ref(), planted)?;
                next.writers.remove(writer);
            }
            Change::MergeL1 { tenant, from, to, passed_over, outputs } => {
                next.merge_l1(tenant, *from..*to, passed_over, outputs, planted)?;
            }
            Change::Merge { tenant, inputs, outputs } => next.merge(tenant, inputs, outputs, planted)?,
            Change::Floor { floor } => {
                if *floor <= self.floor || *floor > self.version {
                    return void(format!(
                        "floor {floor} is not above {} or beyond version {}",
                        self.floor, self.version
                    ));
                }
                next.floor = *floor;
            }
            Change::Retain { tenant, from_ts } => next.retain(tenant, *from_ts)?,
        }
        Ok(next)
    }

    fn birth(&mut self, writer: WriterId) -> Result<(), Void> {
        let state = WriterState { born: self.version, watermark: 0 };
        match self.writers.insert(writer, state) {
            None => Ok(()),
            Some(_) => void(format!("writer {writer} is live already")),
        }
    }

    fn raise_watermark(
        &mut self,
        writer: WriterId,
        from: u64,
        to: u64,
        planted: Planted,
    ) -> Result<(), Void> {
        let Some(state) = self.writers.get_mut(&writer) else {
            return void(format!("writer {writer} is not live"));
        };
        if state.watermark != from && !planted.is(Bug::SkipWatermarkCheck) {
            return void(format!("watermark of writer {writer} is {}, not {from}", state.watermark));
        }
        state.watermark = to;
        Ok(())
    }

    fn add_l1(&mut self, entry: Option<&BlockEntry>, planted: Planted) -> Result<(), Void> {
        let Some(entry) = entry else {
            return Ok(());
        };
        self.check_new(entry, planted)?;
        if entry.meta.level != Level::L1 || entry.meta.tenants.is_empty() {
            return void(format!("block {} is not an L1 block", entry.id));
        }
        self.l1.insert(self.version, Arc::new(entry.clone()));
        Ok(())
    }

    fn check_new(&self, entry: &BlockEntry, planted: Planted) -> Result<(), Void> {
        let base = entry.id.base;
        if base < self.floor && !planted.is(Bug::CommitBelowFloor) {
            return void(format!("base of block {} is below the floor {}", entry.id, self.floor));
        }
        if base >= self.version {
            return void(format!("base of block {} is not older than version {}", entry.id, self.version));
        }
        Ok(())
    }

    fn add_blocks(
        &mut self,
        tenant: &TenantId,
        outputs: &[BlockEntry],
        planted: Planted,
    ) -> Result<(), Void> {
        if outputs.len() > CHANGE_BLOCKS_MAX {
            return void(format!("{} outputs, at most {CHANGE_BLOCKS_MAX}", outputs.len()));
        }
        for entry in outputs {
            self.check_new(entry, planted)?;
            let meta = &entry.meta;
            let one = meta.tenants.len() == 1 && meta.tenants[0].tenant == *tenant;
            if meta.level == Level::L1 || !one {
                return void(format!("block {} is not a block of tenant {tenant} above L1", entry.id));
            }
            if self.tenant_mut(tenant).blocks.insert(entry.id, Arc::new(entry.clone())).is_some() {
                return void(format!("block {} is there already", entry.id));
            }
        }
        Ok(())
    }

    fn tenant_mut(&mut self, tenant: &TenantId) -> &mut TenantState {
        let state = Arc::make_mut(self.tenants.entry(tenant.clone()).or_default());
        state.changed = self.version;
        state
    }

    /// The L1 watermark rises from `rise.start` to `rise.end`.
    fn merge_l1(
        &mut self,
        tenant: &TenantId,
        rise: Range<u64>,
        passed_over: &[u64],
        outputs: &[BlockEntry],
        planted: Planted,
    ) -> Result<(), Void> {
        let Range { start: from, end: to } = rise;
        let current = self.l1_watermark(tenant);
        if current != from && !planted.is(Bug::MergeSkipsL1Check) {
            return void(format!("L1 watermark of tenant {tenant} is {current}, not {from}"));
        }
        if to <= from || to >= self.version {
            return void(format!("L1 watermark of tenant {tenant} cannot rise from {from} to {to}"));
        }
        if outputs.iter().any(|entry| entry.meta.level != Level::L2) {
            return void(format!("a merge from L1 of tenant {tenant} makes L2 only"));
        }
        for version in passed_over {
            let there = self.l1.get(version).is_some_and(|entry| entry.holds(tenant));
            if !there || *version <= from || *version > to {
                return void(format!("version {version} added no L1 block of tenant {tenant} to pass over"));
            }
        }
        let state = self.tenant_mut(tenant);
        state.l1_watermark = to;
        state.passed_over.extend(passed_over);
        self.add_blocks(tenant, outputs, planted)?;
        self.drop_passed_l1(from.min(current), to);
        Ok(())
    }

    /// Removes the L1 entries of versions `from + 1..=to` that all their tenants have passed.
    fn drop_passed_l1(&mut self, from: u64, to: u64) {
        let passed = |version: u64, entry: &BlockEntry| {
            let state = |span: &TenantSpan| self.tenants.get(&span.tenant);
            let mut states = entry.meta.tenants.iter().map(state);
            states.all(|tenant| {
                tenant.is_some_and(|t| t.l1_watermark >= version && !t.passed_over.contains(&version))
            })
        };
        let range = self.l1.range(from.saturating_add(1)..=to);
        let gone: Vec<u64> =
            range.filter(|(version, entry)| passed(**version, entry)).map(|(v, _)| *v).collect();
        for version in gone {
            self.l1.remove(&version);
        }
    }

    fn merge(
        &mut self,
        tenant: &TenantId,
        inputs: &[BlockId],
        outputs: &[BlockEntry],
        planted: Planted,
    ) -> Result<(), Void> {
        if inputs.is_empty() || inputs.len() > CHANGE_BLOCKS_MAX {
            return void(format!("{} inputs, from 1 to {CHANGE_BLOCKS_MAX} are allowed", inputs.len()));
        }
        for input in inputs {
            if self.tenant_mut(tenant).blocks.remove(input).is_none() {
                return void(format!("input {input} of tenant {tenant} is gone"));
            }
        }
        self.add_blocks(tenant, outputs, planted)
    }

    fn retain(&mut self, tenant: &TenantId, from_ts: i64) -> Result<(), Void> {
        let state = self.tenant_mut(tenant);
        if state.retained_from.is_some_and(|current| from_ts <= current) {
            return void(format!("retention of tenant {tenant} does not rise to {from_ts}"));
        }
        state.retained_from = Some(from_ts);
        state.blocks.retain(|_, entry| entry.meta.time_range.end >= from_ts);
        let ends_before =
            |version: &u64| self.l1.get(version).is_none_or(|entry| entry.meta.time_range.end < from_ts);
        let passed_over = self.tenants.get(tenant).into_iter().flat_map(|tenant| &tenant.passed_over);
        let gone: Vec<u64> = passed_over.copied().filter(ends_before).collect();
        for version in gone {
            self.tenant_mut(tenant).passed_over.remove(&version);
            self.drop_passed_l1(version - 1, version);
        }
        Ok(())
    }
}

impl BlockEntry {
    /// True if the block has rows of `tenant`.
    #[must_use]
    pub fn holds(&self, tenant: &TenantId) -> bool {
        self.meta.tenants.binary_search_by(|span| span.tenant.cmp(tenant)).is_ok()
    }
}

fn void<T>(why: String) -> Result<T, Void> {
    Err(Void(why))
}

#[cfg(test)]
mod tests;
