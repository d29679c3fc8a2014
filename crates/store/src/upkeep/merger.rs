//! The merger: many small blocks into few large ones, losing and doubling nothing.
//!
//! A merge reads a version, reads its inputs, uploads its outputs under names that carry that
//! version, and commits; if its start is gone by then it is void and its uploads are swept.
//!
//! Invariants:
//! - A merge from L1 takes *all* rows of its tenant between two L1 watermarks, whatever their
//!   timestamps.
//! - Label sets may be a thousand times larger than what is stored of them, so what was decoded is counted: a merge
//!   from L1 that holds more than [`MergerSettings::decoded_bytes_max`] ends with the version that it has read, and
//!   the next one goes on from there.
//! - What of L1 cannot be read is passed over: it stays where it is, counted and readable as far as it
//!   is, and the merge takes the rest. Nothing that is damaged keeps a tenant from being merged.
//! - A merge above L1 is void unless all its inputs are in the version that it builds on.
//! - Two values for one timestamp are settled by [`promontory_block::merge`], as everywhere.
//!
//! L1 objects hold many tenants, and a merge takes one. So what was decoded stays until
//! [`Merger::forget_inputs`], as far as it is within [`MergerSettings::rows_max`] and
//! [`MergerSettings::decoded_bytes_max`]; of the other blocks each tenant's rows are read by themselves. A round over
//! a thousand tenants decodes each row once and not a thousand times.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use promontory_block::{Level, SeriesRun, TenantRows, decoded_bytes, merge, series_bytes};
use promontory_model::{HeadMemory, Labels, MutexExt as _, TenantId, TimeRange};
use tokio::time::Instant;

use crate::catalog::chain::{Chain, Latest, Next, Outcome};
use crate::catalog::state::{BlockEntry, Catalog, Change, L1Place};
use crate::counters::add;
use crate::error::Error;
use crate::heavy::heavy;
use crate::object::context::Context;
use crate::object::keys::BlockId;
use crate::planted::Bug;
use crate::read::block_parts::{self, OpenedBlock};
use crate::read::reader::clipped;
use crate::read::whole_blocks;
use crate::write::upload::upload_block;

const HOUR_MS: i64 = 3_600_000;

/// Most inputs that are decoded at the same time.
const INPUTS_AT_ONCE: usize = 4;

/// How often a block must be looked for, in a grace at least, before a merge goes past it.
const MISSING_LOOKS: u32 = 3;

/// Bounds of a merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergerSettings {
    /// Rows of all inputs; a merge from L1 takes fewer L1 blocks, but at least one. Inputs, result and
    /// the block that is being encoded are in memory at once, about 64 bytes a row.
    pub rows_max: u64,
    /// Decoded bytes, labels included, of what was merged so far, from which on a merge from L1 takes no further
    /// version; and of the inputs that are kept for the next tenant.
    pub decoded_bytes_max: usize,
    /// Windows that get a block of their own; what is older shares one late block.
    pub windows_max: usize,
    /// Length of a window of L2, in milliseconds.
    pub l2_window_ms: i64,
    /// Length of a window of L3, in milliseconds.
    pub l3_window_ms: i64,
    /// Most series in one output block; more make several.
    pub series_max: usize,
}

impl Default for MergerSettings {
    fn default() -> Self {
        Self {
            rows_max: 8 << 20,
            decoded_bytes_max: HeadMemory::default().merges(),
            windows_max: 64,
            l2_window_ms: 2 * HOUR_MS,
            l3_window_ms: 24 * HOUR_MS,
            series_max: 256 << 10,
        }
    }
}

/// How a merge ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    /// There was nothing to merge: no commit was tried.
    Nothing,
    /// The outputs are in the catalog and their rows count instead of those of the inputs.
    Committed {
        /// Number of outputs.
        blocks: usize,
        /// Samples in the outputs, duplicates of the inputs removed.
        rows: u64,
        /// Damaged L1 blocks that stay where they are.
        passed_over: usize,
    },
    /// Its start was gone; perhaps an earlier attempt of the same merge is in.
    Void,
}

/// Merges blocks of one tenant at a time.
#[derive(Debug)]
pub struct Merger {
    chain: Arc<Chain>,
    settings: MergerSettings,
    inputs: Mutex<Inputs>,
    missing: Mutex<BTreeMap<BlockId, Missing>>,
}

/// How often a block was looked for that the store does not show.
#[derive(Clone, Copy, Debug)]
struct Missing {
    since: Instant,
    looks: u32,
}

/// L1 blocks that were decoded for one tenant and may be wanted for the next.
#[derive(Debug, Default)]
struct Inputs {
    blocks: BTreeMap<BlockId, Arc<Vec<TenantRows>>>,
    rows: u64,
    decoded_bytes: usize,
    /// Blocks for which there was no room.
    too_large: BTreeMap<BlockId, Option<Arc<OpenedBlock>>>,
}

/// The rows that a merge has read.
struct Read {
    rows: SeriesRun,
    /// How many of its inputs they are: the first ones.
    inputs: usize,
}

impl Inputs {
    /// Is there room for all rows of a block, as far as one can know before it is read?
    fn has_room(&self, entry: &BlockEntry, settings: &MergerSettings) -> bool {
        let rows = self.rows.saturating_add(entry.meta.rows);
        rows <= settings.rows_max && !self.too_large.contains_key(&entry.id)
    }

    /// Keeps what was decoded, if there is room.
    fn keep(&mut self, entry: &BlockEntry, rows: &Arc<Vec<TenantRows>>, settings: &MergerSettings) {
        let bytes = self.decoded_bytes.saturating_add(decoded_bytes(rows));
        if !self.has_room(entry, settings) || bytes > settings.decoded_bytes_max {
            self.too_large.insert(entry.id, None);
            return;
        }
        self.rows += entry.meta.rows;
        self.decoded_bytes = bytes;
        self.blocks.insert(entry.id, rows.clone());
    }
}

impl Merger {
    /// A merger that commits through `chain`.
    #[must_use]
    pub fn new(chain: Arc<Chain>, settings: MergerSettings) -> Self {
        Self { chain, settings, inputs: Mutex::default(), missing: Mutex::default() }
    }

    /// Gives the memory of decoded inputs back: call it after a round of merges.
    pub fn forget_inputs(&self) {
        *self.inputs() = Inputs::default();
    }

    fn inputs(&self) -> std::sync::MutexGuard<'_, Inputs> {
        self.inputs.locked()
    }

    fn context(&self) -> &Arc<Context> {
        self.chain.context()
    }

    /// Merges the oldest rows of `tenant` in L1 into L2; damaged blocks are passed over.
    ///
    /// # Errors
    /// `Unavailable`, `Stale` if it stood still too long; nothing is half done.
    pub async fn merge_l1(&self, tenant: &TenantId) -> Result<Merged, Error> {
        self.chain.refresh().await?;
        let Latest { catalog, as_of } = self.chain.latest_as_of();
        let from = catalog.l1_watermark(tenant);
        let (inputs, mut to) = self.l1_inputs(&catalog, tenant);
        if inputs.is_empty() {
            return Ok(Merged::Nothing);
        }
        let (places, inputs): (Vec<L1Place>, Vec<Arc<BlockEntry>>) = inputs.into_iter().unzip();
        let begins_version = |input: usize| input > 0 && places[input - 1].version < places[input].version;
        let (planted, mut passed_over) = (self.context().planted, Vec::new());
        let read = self.read(&catalog, as_of, tenant, &inputs, begins_version, |input, error| {
            tracing::error!(%tenant, %error, "an L1 block is damaged and is passed over: its rows are not merged");
            if !planted.is(Bug::ForgetPassedOver) {
                passed_over.push(places[input]);
            }
            Ok(())
        });
        let read = read.await?;
        if let Some(next) = places.get(read.inputs) {
            to = next.version - 1;
        }
        let outputs = self.upload(&catalog, tenant, Level::L2, read.rows).await?;
        let change =
            Change::MergeL1 { tenant: tenant.clone(), from, to, passed_over, outputs: outputs.clone() };
        let unchecked = self.context().planted.is(Bug::MergeSkipsL1Check);
        self.commit(&outputs, change, |catalog| unchecked || catalog.l1_watermark(tenant) == from).await
    }

    /// The first L1 blocks above the tenant's L1 watermark, and the watermark that they reach.
    fn l1_inputs(&self, catalog: &Catalog, tenant: &TenantId) -> (Vec<(L1Place, Arc<BlockEntry>)>, u64) {
        let (mut inputs, mut rows, mut to) = (Vec::<(L1Place, Arc<BlockEntry>)>::new(), 0, catalog.version);
        for (place, entry) in catalog.unmerged_l1_of(tenant) {
            let spans = entry.meta.tenants.iter().filter(|span| span.tenant == *tenant);
            rows += spans.map(|span| span.rows.end - span.rows.start).sum::<u64>();
            // A version is taken with all its blocks, or not at all.
            let of_next = inputs.last().is_some_and(|(last, _)| last.version < place.version);
            if rows > self.settings.rows_max && of_next {
                to = place.version - 1;
                break;
            }
            inputs.push((place, entry.clone()));
        }
        (inputs, to)
    }

    /// Merges blocks above L1 into blocks of `level`.
    ///
    /// # Errors
    /// `Unavailable` or `Corrupt`, `Limited` if the inputs have too many rows, `Stale` if it stood
    /// still too long; nothing is half done.
    pub async fn merge(&self, tenant: &TenantId, inputs: &[BlockId], level: Level) -> Result<Merged, Error> {
        self.chain.refresh().await?;
        let Latest { catalog, as_of } = self.chain.latest_as_of();
        let find =
            |id: &BlockId| catalog.tenants.get(tenant).and_then(|tenant| tenant.blocks.get(id)).cloned();
        let Some(entries) = inputs.iter().map(find).collect::<Option<Vec<Arc<BlockEntry>>>>() else {
            return Ok(Merged::Void);
        };
        let rows: u64 = entries.iter().map(|entry| entry.meta.rows).sum();
        if rows > self.settings.rows_max {
            let limit = self.settings.rows_max;
            return Err(Error::Limited(format!(
                "a merge of {rows} rows of tenant {tenant}, at most {limit}"
            )));
        }
        if entries.is_empty() {
            return Ok(Merged::Nothing);
        }
        let read = self.read(&catalog, as_of, tenant, &entries, |_| false, |_, error| Err(error)).await?;
        let outputs = self.upload(&catalog, tenant, level, read.rows).await?;
        let change =
            Change::Merge { tenant: tenant.clone(), inputs: inputs.to_vec(), outputs: outputs.clone() };
        let there = |catalog: &Catalog| {
            let blocks = catalog.tenants.get(tenant).map(|tenant| &tenant.blocks);
            blocks.is_some_and(|blocks| inputs.iter().all(|id| blocks.contains_key(id)))
        };
        self.commit(&outputs, change, there).await
    }

    /// The merged rows of the tenant. Where they are too many, it ends before an input for which `may_end` is true;
    /// `damaged` decides about each input that is.
    async fn read(
        &self,
        catalog: &Catalog,
        as_of: Instant,
        tenant: &TenantId,
        inputs: &[Arc<BlockEntry>],
        may_end: impl Fn(usize) -> bool,
        mut damaged: impl FnMut(usize, Error) -> Result<(), Error>,
    ) -> Result<Read, Error> {
        let planted = self.context().planted;
        let run_of = |rows: &'_ Vec<TenantRows>| {
            rows.iter().position(|(id, _)| id == tenant || planted.is(Bug::WrongTenantPrefix))
        };
        // Merging in steps equals merging at once, and only the inputs of one step are in memory.
        let (mut merged, mut next) = (SeriesRun::default(), 0);
        let mut merged_bytes = 0;
        while next < inputs.len() && !(merged_bytes > self.settings.decoded_bytes_max && may_end(next)) {
            let blocks = self.read_step(tenant, inputs, &mut next, as_of, &mut damaged).await?;
            let mut runs: Vec<&SeriesRun> =
                blocks.iter().filter_map(|rows| run_of(rows).map(|idx| &rows[idx].1)).collect();
            if !merged.is_empty() {
                runs.push(&merged);
            }
            merged =
                if planted.is(Bug::DoubleCountInMerge) { added_up(&runs) } else { heavy(|| merge(&runs)) };
            merged_bytes = merged.decoded_bytes();
        }
        let retained_from = catalog.tenants.get(tenant).and_then(|tenant| tenant.retained_from);
        let rows = match retained_from {
            Some(from_ts) => clipped(&merged, from_ts),
            None => merged,
        };
        Ok(Read { rows, inputs: next })
    }

    /// The rows of the next few inputs, of `tenant` at least: fewer where they are large in memory.
    async fn read_step(
        &self,
        tenant: &TenantId,
        inputs: &[Arc<BlockEntry>],
        next: &mut usize,
        as_of: Instant,
        damaged: &mut impl FnMut(usize, Error) -> Result<(), Error>,
    ) -> Result<Vec<Arc<Vec<TenantRows>>>, Error> {
        let (mut blocks, mut bytes) = (Vec::new(), 0);
        while let Some(entry) = inputs.get(*next)
            && blocks.len() < INPUTS_AT_ONCE
            && bytes <= self.settings.decoded_bytes_max
        {
            let input = *next;
            *next += 1;
            match self.read_input(entry, tenant).await {
                Ok(rows) => {
                    bytes += decoded_bytes(&rows);
                    blocks.push(rows);
                }
                // A merge that stood still longer than the grace may find its inputs swept.
                Err(error) if as_of.elapsed() > self.context().format.snapshot_age_max() => {
                    return Err(overtaken(&error));
                }
                Err(error @ Error::Corrupt { .. }) => damaged(input, error)?,
                Err(error @ Error::Missing { .. }) if self.is_gone(entry).await? => damaged(input, error)?,
                Err(error) => return Err(error),
            }
        }
        Ok(blocks)
    }

    /// True once a block that the store does not show was looked for often and long enough, while the store
    /// showed what must be there. One answer, or one evening of a gateway that denies everything, passes no
    /// block over.
    async fn is_gone(&self, entry: &BlockEntry) -> Result<bool, Error> {
        self.chain.see_newest().await?;
        let fresh = Missing { since: Instant::now(), looks: 0 };
        let mut missing = self.missing.locked();
        let known = missing.entry(entry.id).or_insert(fresh);
        known.looks += 1;
        Ok(known.looks >= MISSING_LOOKS && known.since.elapsed() > self.context().format.grace())
    }

    /// The rows of one block, of `tenant` at least; they may have been decoded for another one.
    async fn read_input(
        &self,
        entry: &Arc<BlockEntry>,
        tenant: &TenantId,
    ) -> Result<Arc<Vec<TenantRows>>, Error> {
        if let Some(rows) = self.inputs().blocks.get(&entry.id) {
            return Ok(rows.clone());
        }
        let wanted_again = entry.meta.tenants.len() > 1;
        if wanted_again && !self.inputs().has_room(entry, &self.settings) {
            return self.read_part(entry, tenant).await;
        }
        let rows = Arc::new(whole_blocks::read(self.context(), entry).await?);
        self.missing.locked().remove(&entry.id);
        if wanted_again {
            self.inputs().keep(entry, &rows, &self.settings);
        }
        Ok(rows)
    }

    /// The rows of one tenant.
    async fn read_part(
        &self,
        entry: &Arc<BlockEntry>,
        tenant: &TenantId,
    ) -> Result<Arc<Vec<TenantRows>>, Error> {
        let known = self.inputs().too_large.get(&entry.id).cloned().flatten();
        let opened = match known {
            Some(opened) => opened,
            None => {
                let opened = Arc::new(block_parts::open(self.context(), entry).await?);
                self.inputs().too_large.insert(entry.id, Some(opened.clone()));
                opened
            }
        };
        let rows = opened.rows_of(self.context(), tenant).await?;
        self.missing.locked().remove(&entry.id);
        Ok(Arc::new(vec![(tenant.clone(), rows)]))
    }

    async fn upload(
        &self,
        catalog: &Catalog,
        tenant: &TenantId,
        level: Level,
        rows: SeriesRun,
    ) -> Result<Vec<BlockEntry>, Error> {
        let mut outputs = Vec::new();
        for part in self.parts(level, rows) {
            let rows = [(tenant.clone(), part)];
            outputs.push(upload_block(self.context(), catalog.version, level, &rows).await?);
        }
        Ok(outputs)
    }

    /// Cuts rows by window, then by number of series and by what they take in memory.
    fn parts(&self, level: Level, rows: SeriesRun) -> Vec<SeriesRun> {
        let window = if level == Level::L3 { self.settings.l3_window_ms } else { self.settings.l2_window_ms };
        // Nearly always there is nothing to cut, and nothing to copy.
        let TimeRange { start, end } = rows.time_range();
        let one_window = rows.is_empty() || start.div_euclid(window) == end.div_euclid(window);
        let bytes_max = self.context().block_bytes_max;
        let one_block = rows.keys().len() <= self.settings.series_max && rows.decoded_bytes() <= bytes_max;
        if one_window && one_block {
            return if rows.is_empty() { Vec::new() } else { vec![rows] };
        }
        let windows: BTreeSet<i64> = rows.samples().ts().map(|ts| ts.div_euclid(window)).collect();
        let late = windows.iter().rev().nth(self.settings.windows_max).copied();
        // All late windows fall into the newest of them.
        let window_of = |ts: i64| late.map_or(ts.div_euclid(window), |late| ts.div_euclid(window).max(late));
        let mut open: BTreeMap<i64, (SeriesRun, usize)> = BTreeMap::new();
        let mut parts = Vec::new();
        for (key, mut left) in rows.iter() {
            while let Some(first) = left.first_ts() {
                let window = window_of(first);
                let (samples, later) = left.split_by_time(|ts| window_of(ts) <= window);
                let (part, bytes) = open.entry(window).or_default();
                part.push(key.clone(), samples);
                *bytes += series_bytes(key, samples);
                if part.keys().len() >= self.settings.series_max || *bytes >= bytes_max {
                    parts.push(std::mem::take(part));
                    *bytes = 0;
                }
                left = later;
            }
        }
        parts.extend(open.into_values().map(|(part, _)| part).filter(|part| !part.is_empty()));
        parts
    }

    async fn commit(
        &self,
        outputs: &[BlockEntry],
        change: Change,
        still_there: impl Fn(&Catalog) -> bool,
    ) -> Result<Merged, Error> {
        let counters = &self.context().counters;
        let unchecked = self.context().planted.is(Bug::CommitBelowFloor);
        let passed_over = match &change {
            Change::MergeL1 { passed_over, .. } => passed_over.len(),
            _ => 0,
        };
        let outcome = self.chain.commit(|catalog| {
            let above_floor = unchecked || outputs.iter().all(|entry| entry.id.base >= catalog.floor);
            if still_there(catalog) && above_floor { Next::Try(change.clone()) } else { Next::Stop(()) }
        });
        match outcome.await? {
            Outcome::Committed(_) => {
                add(&counters.merges, 1);
                let rows = outputs.iter().map(|entry| entry.meta.rows).sum();
                add(&counters.l1_blocks_passed_over, passed_over as u64);
                Ok(Merged::Committed { blocks: outputs.len(), rows, passed_over })
            }
            Outcome::Stopped(()) | Outcome::Void(_) => {
                add(&counters.merges_void, 1);
                Ok(Merged::Void)
            }
        }
    }
}

fn overtaken(error: &Error) -> Error {
    Error::Stale(format!("a merge took longer than half the grace: {error}"))
}

/// The planted bug: values of one timestamp are added up.
fn added_up(runs: &[&SeriesRun]) -> SeriesRun {
    let mut all: BTreeMap<Labels, BTreeMap<i64, f64>> = BTreeMap::new();
    for run in runs {
        for (key, samples) in run.iter() {
            let series = all.entry(key.clone()).or_default();
            for (ts, value) in samples.floats.iter() {
                series.entry(ts).and_modify(|sum| *sum += value).or_insert(value);
            }
        }
    }
    let mut out = SeriesRun::default();
    for (key, samples) in all {
        out.push_floats(key, samples);
    }
    out
}

#[cfg(test)]
mod tests;
