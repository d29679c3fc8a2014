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
//! - A version names the identity of the one before it: nobody builds on a version that was replaced.
//! - Nothing is written that the catalog's *level* does not know, and the level rises only once every live
//!   writer knows it: programs of two levels may share a bucket while they are exchanged one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use object_store::path::Path;
use promontory_block::{BlockMeta, Level, TenantSpan};
use promontory_model::{TenantId, TimeRange, WriterId};

use crate::catalog::epochs::{Epochs, Touched};
use crate::object::keys::BlockId;
use crate::planted::{Bug, Planted};

/// Most blocks that one change adds or takes away.
pub const CHANGE_BLOCKS_MAX: usize = 4_096;

/// The level of this program: what it can read, and writes once the catalog has it. A level says which
/// changes and which required parts of an entry may occur; 0 is what `catalog::bytes` version 2 began with.
pub const LEVEL: u32 = 0;

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

/// Blocks that come, with the windows of time in which their rows change answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Addition {
    /// The blocks; none if all segments were empty.
    pub entries: Vec<BlockEntry>,
    /// For each tenant with rows in them, in order. Empty in a version of the first encoding.
    pub touched: Vec<Touched>,
}

impl Addition {
    /// Samples in the blocks.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.entries.iter().map(|entry| entry.meta.rows).sum()
    }

    /// True if a block was uploaded before the version `floor`, which a commit must not add any more.
    #[must_use]
    pub fn is_below(&self, floor: u64) -> bool {
        self.entries.iter().any(|entry| entry.id.base < floor)
    }
}

/// What one version changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A bucket begins: version 1 of every bucket but those of the first encoding.
    Genesis {
        /// The bucket's id, which `format` repeats.
        bucket: u128,
    },
    /// A writer begins with watermark 0.
    Birth {
        /// Its fresh id.
        writer: WriterId,
        /// The level that its program knows.
        level: u32,
    },
    /// A writer's segments `from + 1..=to` are contained in `rows`, or are all empty.
    L1 {
        writer: WriterId,
        /// The writer's watermark before the commit; another value makes it void.
        from: u64,
        to: u64,
        /// Their rows.
        rows: Addition,
    },
    /// A writer ends: its segments `from + 1..mark` are contained in `rows`, or are all empty.
    Close {
        writer: WriterId,
        /// The writer's watermark before the commit; another value makes it void.
        from: u64,
        /// The slot of the closed mark; what lies above it is void.
        mark: u64,
        /// The rows of the last segments.
        rows: Addition,
    },
    /// All rows of one tenant in the L1 objects of versions `from + 1..=to` are in `outputs`, but those
    /// in the objects of `passed_over`.
    MergeL1 {
        tenant: TenantId,
        /// The L1 watermark that the merge starts from.
        from: u64,
        to: u64,
        /// L1 blocks that cannot be read, ascending.
        passed_over: Vec<L1Place>,
        /// L2 blocks.
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
    Retain {
        /// Whose samples.
        tenant: TenantId,
        /// The first timestamp that stays.
        from_ts: i64,
    },
    /// A block that is lost for ever is given up, by somebody who knows.
    ForgetBlock {
        /// Which block.
        block: BlockId,
    },
    /// A segment that is lost for ever is given up: the watermark of its writer passes it.
    ForgetSegment {
        /// Whose segment.
        writer: WriterId,
        /// Its number, directly above the watermark.
        seq: u64,
    },
    /// A version of the chain that was lost: whoever reads forward to it goes on from a checkpoint.
    Lost {
        /// The version of that checkpoint, not below this one.
        checkpoint: u64,
    },
    /// From now on versions of this level are written.
    Raise {
        /// Higher than before, and known to every live writer.
        level: u32,
    },
}

impl Change {
    /// The blocks that it adds.
    pub(crate) fn added(&self) -> &[BlockEntry] {
        match self {
            Self::L1 { rows, .. } | Self::Close { rows, .. } => &rows.entries,
            Self::MergeL1 { outputs, .. } | Self::Merge { outputs, .. } => outputs,
            Self::Genesis { .. }
            | Self::Birth { .. }
            | Self::Floor { .. }
            | Self::Retain { .. }
            | Self::ForgetBlock { .. }
            | Self::ForgetSegment { .. }
            | Self::Lost { .. }
            | Self::Raise { .. } => &[],
        }
    }
}

/// Where an L1 block stands in the order of commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct L1Place {
    /// The version that added it.
    pub version: u64,
    /// Which of the blocks of that version, from 0.
    pub part: u32,
}

/// The object `catalog/<version>`.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    pub version: u64,
    /// Fresh random bits: no two attempts have the same bytes. It is the identity of the version.
    pub attempt: u128,
    /// The identity of the version before; 0 in version 1 and in the first encoding, which has none.
    pub predecessor: u128,
    /// What it changes.
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
    /// The level that its program knows; 0 in the first encoding.
    pub level: u32,
}

/// One tenant's part of the state, but its rows in L1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TenantState {
    /// The last version that changed this tenant; names its page in a checkpoint.
    pub changed: u64,
    /// The version up to which `blocks` contain the tenant's L1 rows, but those of `passed_over`.
    pub l1_watermark: u64,
    /// L1 blocks at or below the watermark whose rows count in L1 still.
    pub passed_over: BTreeSet<L1Place>,
    /// The first timestamp that retention keeps.
    pub retained_from: Option<i64>,
    /// Blocks of L2 and L3.
    pub blocks: BTreeMap<BlockId, Arc<BlockEntry>>,
}

/// The state at one version: what counts as stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalog {
    /// Which version this is; 0 is the empty state before the first delta.
    pub version: u64,
    /// The identity of this version; 0 where the first encoding did not keep it.
    pub attempt: u128,
    /// The bucket's id; 0 in a bucket that began with the first encoding.
    pub bucket: u128,
    /// What may be written.
    pub level: u32,
    /// No block with a lower base may be added.
    pub floor: u64,
    /// Writers that were born and are not closed.
    pub writers: BTreeMap<WriterId, WriterState>,
    /// L1 blocks in the order of their commits.
    pub l1: BTreeMap<L1Place, Arc<BlockEntry>>,
    /// Tenants that have passed an L1 block or have a retention.
    pub tenants: BTreeMap<TenantId, Arc<TenantState>>,
    /// Data epochs. Apart from `tenants`, because every L1 commit changes them: nobody copies a tenant's list
    /// of blocks for that.
    pub epochs: BTreeMap<TenantId, Arc<Epochs>>,
}

impl L1Place {
    /// Below all blocks of `version`.
    #[must_use]
    pub fn first_of(version: u64) -> Self {
        Self { version, part: 0 }
    }
}

impl fmt::Display for L1Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.version, self.part)
    }
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
    pub fn l1_of<'a>(&'a self, tenant: &'a TenantId) -> impl Iterator<Item = (L1Place, &'a Arc<BlockEntry>)> {
        let passed_over = self.tenants.get(tenant).into_iter().flat_map(|tenant| &tenant.passed_over);
        let damaged = passed_over.filter_map(|place| self.l1.get_key_value(place));
        let damaged = damaged.map(|(place, entry)| (*place, entry));
        damaged.chain(self.unmerged_l1_of(tenant))
    }

    /// The blocks of [`Self::l1_of`] that no merge has taken yet.
    pub fn unmerged_l1_of<'a>(
        &'a self,
        tenant: &'a TenantId,
    ) -> impl Iterator<Item = (L1Place, &'a Arc<BlockEntry>)> {
        let above = self.l1.range(L1Place::first_of(self.l1_watermark(tenant).saturating_add(1))..);
        above.map(|(place, entry)| (*place, entry)).filter(|(_, entry)| entry.holds(tenant))
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

    /// The state that `delta` makes of this one, or why it is void here.
    ///
    /// # Errors
    /// [`Void`] names the precondition.
    pub fn follow(&self, delta: &Delta, planted: Planted) -> Result<Self, Void> {
        let known = delta.predecessor != 0 && self.attempt != 0;
        if known && delta.predecessor != self.attempt {
            return void(format!("it follows another version {} than the one that is there", self.version));
        }
        let mut next = self.apply(&delta.change, planted)?;
        next.attempt = delta.attempt;
        Ok(next)
    }

    /// The next version, or why `change` is void on this one.
    ///
    /// # Errors
    /// [`Void`] names the precondition.
    pub fn apply(&self, change: &Change, planted: Planted) -> Result<Self, Void> {
        let mut next = self.clone();
        next.version += 1;
        next.attempt = 0;
        match change {
            Change::Genesis { bucket } => next.genesis(*bucket)?,
            Change::Birth { writer, level } => next.birth(*writer, *level)?,
            Change::L1 { writer, from, to, rows } => {
                if to <= from {
                    return void(format!("watermark of writer {writer} does not rise from {from} to {to}"));
                }
                next.raise_watermark(*writer, *from, *to, planted)?;
                next.add_l1(rows, planted)?;
            }
            Change::Close { writer, from, mark, rows } => {
                let Some(to) = mark.checked_sub(1).filter(|to| to >= from) else {
                    return void(format!("closed mark {mark} of writer {writer} is not above {from}"));
                };
                next.raise_watermark(*writer, *from, to, planted)?;
                next.add_l1(rows, planted)?;
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
            Change::ForgetBlock { block } => next.forget_block(*block)?,
            Change::ForgetSegment { writer, seq } => {
                let Some(from) = seq.checked_sub(1) else { return void(format!("segment {seq}")) };
                next.raise_watermark(*writer, from, *seq, planted)?;
            }
            Change::Lost { checkpoint } => {
                return void(format!("it was lost; go on from checkpoint {checkpoint}"));
            }
            Change::Raise { level } => next.raise_level(*level)?,
        }
        Ok(next)
    }

    fn genesis(&mut self, bucket: u128) -> Result<(), Void> {
        if self.version != 1 || bucket == 0 {
            return void(format!("a bucket {bucket:032x} cannot begin with version {}", self.version));
        }
        self.bucket = bucket;
        Ok(())
    }

    fn raise_level(&mut self, level: u32) -> Result<(), Void> {
        if level <= self.level {
            return void(format!("the level does not rise from {} to {level}", self.level));
        }
        if let Some((id, state)) = self.writers.iter().find(|(_, state)| state.level < level) {
            return void(format!("writer {id} knows level {} only, not {level}", state.level));
        }
        self.level = level;
        Ok(())
    }

    fn birth(&mut self, writer: WriterId, level: u32) -> Result<(), Void> {
        if level < self.level {
            return void(format!("writer {writer} knows level {level} only, the bucket has {}", self.level));
        }
        let state = WriterState { born: self.version, watermark: 0, level };
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

    fn add_l1(&mut self, rows: &Addition, planted: Planted) -> Result<(), Void> {
        if rows.entries.len() > CHANGE_BLOCKS_MAX {
            return void(format!("{} L1 blocks, at most {CHANGE_BLOCKS_MAX}", rows.entries.len()));
        }
        for (part, entry) in (0..).zip(&rows.entries) {
            self.check_new(entry, planted)?;
            if entry.meta.level != Level::L1 || entry.meta.tenants.is_empty() {
                return void(format!("block {} is not an L1 block", entry.id));
            }
            let place = L1Place { version: self.version, part };
            self.l1.insert(place, Arc::new(entry.clone()));
        }
        self.touch(&rows.touched);
        Ok(())
    }

    /// Answers about these windows have changed with this version.
    fn touch(&mut self, touched: &[Touched]) {
        for Touched { tenant, windows } in touched {
            let epochs = self.epochs.entry(tenant.clone()).or_default();
            Arc::make_mut(epochs).raise(windows, self.version);
        }
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
        passed_over: &[L1Place],
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
        for place in passed_over {
            let there = self.l1.get(place).is_some_and(|entry| entry.holds(tenant));
            if !there || place.version <= from || place.version > to {
                return void(format!("version {place} added no L1 block of tenant {tenant} to pass over"));
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
        let passed = |place: L1Place, entry: &BlockEntry| {
            let state = |span: &TenantSpan| self.tenants.get(&span.tenant);
            let mut states = entry.meta.tenants.iter().map(state);
            states.all(|tenant| {
                tenant.is_some_and(|t| t.l1_watermark >= place.version && !t.passed_over.contains(&place))
            })
        };
        let ends = L1Place::first_of(from.saturating_add(1))..L1Place::first_of(to.saturating_add(1));
        let gone: Vec<L1Place> =
            self.l1.range(ends).filter(|(place, entry)| passed(**place, entry)).map(|(p, _)| *p).collect();
        for place in gone {
            self.l1.remove(&place);
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
            |place: &L1Place| self.l1.get(place).is_none_or(|entry| entry.meta.time_range.end < from_ts);
        let passed_over = self.tenants.get(tenant).into_iter().flat_map(|tenant| &tenant.passed_over);
        let gone: Vec<L1Place> = passed_over.copied().filter(ends_before).collect();
        for place in gone {
            self.tenant_mut(tenant).passed_over.remove(&place);
            self.drop_passed_l1(place.version - 1, place.version);
        }
        let until = from_ts.saturating_sub(1);
        self.touch(&[Touched::by_range(tenant, TimeRange::new(i64::MIN, until))]);
        Ok(())
    }

    /// The rows of the block are gone, for each of its tenants.
    fn forget_block(&mut self, block: BlockId) -> Result<(), Void> {
        let in_l1 = self.l1.iter().find(|(_, entry)| entry.id == block).map(|(place, _)| *place);
        let entry = match in_l1 {
            Some(place) => {
                let passed: Vec<TenantId> = self
                    .tenants
                    .iter()
                    .filter(|(_, tenant)| tenant.passed_over.contains(&place))
                    .map(|(id, _)| id.clone())
                    .collect();
                for tenant in passed {
                    self.tenant_mut(&tenant).passed_over.remove(&place);
                }
                self.l1.remove(&place)
            }
            None => {
                let holds = |tenant: &Arc<TenantState>| tenant.blocks.contains_key(&block);
                let owner = self.tenants.iter().find(|(_, tenant)| holds(tenant)).map(|(id, _)| id.clone());
                owner.and_then(|tenant| self.tenant_mut(&tenant).blocks.remove(&block))
            }
        };
        let Some(entry) = entry else { return void(format!("block {block} is not there")) };
        let spans = entry.meta.tenants.iter();
        let touched: Vec<Touched> =
            spans.map(|span| Touched::by_range(&span.tenant, span.time_range)).collect();
        self.touch(&touched);
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
