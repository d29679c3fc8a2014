//! The series of the samples that no L1 block contains yet, of one writer.
//!
//! Samples lie in memory once: a head keeps the rows of each segment as they were cut and only adds an index from
//! series to stretches in them.
//!
//! Words: a *contribution* is what one segment brought; a *stretch* is the samples of one series
//! in one contribution; a *label index* lists, for each value of one label, the series that have it. One is
//! made when a query first asks for a label among many series, and grows with the head.
//!
//! Invariants:
//! - Contributions are inserted with ascending sequence numbers.
//! - A head only grows.
//! - A reader names the last sequence that it may see, so an unconfirmed contribution is invisible.

use std::collections::BTreeMap;
use std::hash::BuildHasher as _;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex};

use hashbrown::HashTable;
use promontory_block::{
    Candidates, INDEXED_SERIES_MIN, INDEXED_SHARE, LabelHash, SeriesMerge, SeriesRun, TenantRows, fewest,
    key_bytes,
};
use promontory_model::ValueBounds;
use promontory_model::labels::metric_key_range;
use promontory_model::samples::SamplesView;
use promontory_model::{Labels, METRIC_NAME, MatchOp, Matcher, MutexExt as _, TenantId, TimeRange};

/// The rows of one segment, shared between the writer, its head and every snapshot.
pub type Contribution = Arc<Vec<TenantRows>>;

/// The not yet flushed series of one writer.
#[derive(Debug, Default)]
pub struct Head {
    tenants: BTreeMap<TenantId, TenantHead>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct TenantHead {
    /// The tenant's share of each contribution that has one.
    runs: Vec<HeadRun>,
    /// Ids by key; the keys themselves are in `keys`.
    by_key: HashTable<u32>,
    hash: LabelHash,
    keys: Vec<Labels>,
    /// The series that followed each series in the last contribution that had it. An ingester sends much
    /// the same series each second, so most look-ups are one comparison of two pointers.
    next: Vec<u32>,
    /// Series ids in order of their keys.
    order: Vec<u32>,
    stretches: Vec<Vec<Stretch>>,
    /// By label; made and brought up to date by those who read.
    indexes: Mutex<BTreeMap<String, LabelIndex>>,
}

/// The series of a head by the values of one label.
#[derive(Debug, Default)]
struct LabelIndex {
    /// Series below this id are in it.
    covered: usize,
    ids: BTreeMap<Box<str>, Vec<u32>>,
    /// Approximate memory.
    bytes: usize,
}

/// Room for the indexes of one tenant: those of two labels with a value per series, or of dozens with few
/// values.
const INDEX_BYTES_PER_SERIES: usize = 256;

/// What a value takes in an index beside its text and its ids: its place in the tree and two allocations.
const INDEX_BYTES_PER_VALUE: usize = 80;

#[derive(Clone, Debug)]
struct HeadRun {
    seq: u64,
    time_range: TimeRange,
    contribution: Contribution,
    tenant_idx: usize,
}

/// The series number `series` of the tenant's run number `run`.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    run: u32,
    series: u32,
}

/// Series of one tenant selected from a head; owns what it needs, so no lock is held.
#[derive(Clone, Debug, Default)]
pub struct HeadSelection {
    runs: Vec<HeadRun>,
    /// Ascending by key.
    series: Vec<(Labels, Vec<Stretch>)>,
}

impl HeadRun {
    fn run(&self) -> &SeriesRun {
        &self.contribution[self.tenant_idx].1
    }
}

impl Head {
    /// Adds what segment `seq` holds; `seq` is above every earlier one.
    pub fn insert(&mut self, seq: u64, contribution: Contribution) {
        for (tenant_idx, (tenant, run)) in contribution.iter().enumerate() {
            self.bytes += run_bytes(run);
            let head = self.tenants.entry(tenant.clone()).or_default();
            self.bytes += head.insert(HeadRun {
                seq,
                time_range: run.time_range(),
                contribution: contribution.clone(),
                tenant_idx,
            });
        }
    }

    /// Gives series of decoded rows that are known here the label sets that lie in memory already.
    pub fn share_keys(&self, rows: &mut [TenantRows]) {
        for (tenant, run) in rows {
            let Some(head) = self.tenants.get(tenant) else { continue };
            let mut previous = None;
            run.share_keys(|key| {
                previous = head.known_after(previous, key);
                previous.map(|id| head.keys[id as usize].clone())
            });
        }
    }

    /// Approximate memory of samples, label sets and index in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Series of all tenants; one that several tenants have counts for each.
    #[must_use]
    pub fn series(&self) -> usize {
        self.tenants.values().map(|tenant| tenant.keys.len()).sum()
    }

    /// The rows of all contributions up to `up_to`, merged and deduplicated, tenants in order.
    #[must_use]
    pub fn rows(&self, up_to: u64) -> Vec<TenantRows> {
        let tenants = self.tenants.iter();
        let rows = tenants.map(|(tenant, head)| (tenant.clone(), head.rows(up_to)));
        rows.filter(|(_, run)| !run.is_empty()).collect()
    }

    /// The time range of the samples that the contributions `seqs` brought to `tenant`.
    #[must_use]
    pub fn time_range(&self, tenant: &TenantId, seqs: Range<u64>) -> TimeRange {
        let runs = self.tenants.get(tenant).into_iter().flat_map(|head| &head.runs);
        let visible = runs.filter(|run| seqs.contains(&run.seq));
        visible.map(|run| run.time_range).fold(TimeRange::EMPTY, TimeRange::union)
    }

    /// Selects the series of `tenant` that pass all matchers and have a contribution in
    /// `seqs` whose time range meets `range`.
    #[must_use]
    pub fn select(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        range: TimeRange,
        seqs: Range<u64>,
    ) -> HeadSelection {
        self.tenants
            .get(tenant)
            .map_or_else(HeadSelection::default, |head| head.select(matchers, range, seqs))
    }
}

impl TenantHead {
    /// Answers the bytes of label sets that nothing in the head shares.
    fn insert(&mut self, head_run: HeadRun) -> usize {
        let run_idx = self.runs.len() as u32;
        let (known, mut unshared) = (self.keys.len(), 0);
        let mut previous = None;
        for (series, key) in (0..).zip(head_run.run().keys()) {
            let id = self.id_after(previous, key);
            self.stretches[id as usize].push(Stretch { run: run_idx, series });
            let shared = (id as usize) < known && self.keys[id as usize].shares(key);
            unshared += if shared { 0 } else { key_bytes(key) };
            previous = Some(id);
        }
        if self.keys.len() > known {
            self.merge_order(known);
        }
        self.runs.push(head_run);
        unshared
    }

    /// The id of a known series that follows `previous` in a contribution.
    fn known_after(&self, previous: Option<u32>, key: &Labels) -> Option<u32> {
        let expected = previous.map_or(0, |previous| self.next[previous as usize]);
        if self.keys.get(expected as usize).is_some_and(|known| known == key) {
            return Some(expected);
        }
        self.by_key.find(self.hash.hash_one(key), |id| self.keys[*id as usize] == *key).copied()
    }

    /// The id of a series, new if it must be, that follows `previous` in a contribution.
    fn id_after(&mut self, previous: Option<u32>, key: &Labels) -> u32 {
        let expected = previous.map_or(0, |previous| self.next[previous as usize]);
        if self.keys.get(expected as usize).is_some_and(|known| known.shares(key)) {
            return expected;
        }
        let hash = self.hash.hash_one(key);
        let id = match self.by_key.find(hash, |id| self.keys[*id as usize] == *key) {
            Some(id) => *id,
            None => self.intern(hash, key),
        };
        if let Some(previous) = previous {
            self.next[previous as usize] = id;
        }
        id
    }

    fn intern(&mut self, hash: u64, key: &Labels) -> u32 {
        let id = self.keys.len() as u32;
        self.keys.push(key.clone());
        self.by_key.insert_unique(hash, id, |id| self.hash.hash_one(&self.keys[*id as usize]));
        self.next.push(id + 1);
        self.stretches.push(Vec::new());
        id
    }

    /// Brings the series from `known` on, whose keys ascend, into `order`.
    fn merge_order(&mut self, known: usize) {
        let old = std::mem::take(&mut self.order);
        let mut merged = Vec::with_capacity(self.keys.len());
        let mut fresh = (known as u32..self.keys.len() as u32).peekable();
        for id in old {
            while let Some(new) = fresh.next_if(|new| self.keys[*new as usize] < self.keys[id as usize]) {
                merged.push(new);
            }
            merged.push(id);
        }
        merged.extend(fresh);
        self.order = merged;
    }

    fn rows(&self, up_to: u64) -> SeriesRun {
        let mut out = SeriesRun::default();
        let mut sources = SeriesMerge::default();
        for id in &self.order {
            let visible = |stretch: &&Stretch| self.runs[stretch.run as usize].seq <= up_to;
            for stretch in self.stretches[*id as usize].iter().filter(visible) {
                sources.add(samples(&self.runs, *stretch));
            }
            out.push_with(self.keys[*id as usize].clone(), |all| sources.append_to(all));
        }
        out
    }

    fn select(&self, matchers: &[Matcher], range: TimeRange, seqs: Range<u64>) -> HeadSelection {
        let visible: Vec<bool> =
            self.runs.iter().map(|run| seqs.contains(&run.seq) && run.time_range.overlaps(range)).collect();
        if !visible.contains(&true) {
            return HeadSelection::default();
        }
        let mut series = Vec::new();
        let by_name = self.candidates(matchers);
        let by_label = self.candidates_by_label(matchers, by_name);
        for id in by_label.as_deref().unwrap_or(by_name) {
            let key = &self.keys[*id as usize];
            let stretches = self.stretches[*id as usize].iter().copied();
            let stretches: Vec<Stretch> = stretches.filter(|stretch| visible[stretch.run as usize]).collect();
            if !stretches.is_empty() && matchers.iter().all(|m| m.matches_labels(key.as_ref())) {
                series.push((key.clone(), stretches));
            }
        }
        HeadSelection { runs: self.runs.clone(), series }
    }

    /// The ids, in order of their keys, that the metric name leaves over.
    fn candidates(&self, matchers: &[Matcher]) -> &[u32] {
        let by_name = |m: &&Matcher| m.name() == METRIC_NAME && m.op() == MatchOp::Equal;
        let Some(name) = matchers.iter().find(by_name) else {
            return &self.order;
        };
        let (first, after) = metric_key_range(name.value());
        let from = self.order.partition_point(|id| self.keys[*id as usize].key() < first.as_slice());
        let to = self.order.partition_point(|id| self.keys[*id as usize].key() < after.as_slice());
        &self.order[from..to]
    }
}

impl TenantHead {
    /// The ids, in order of their keys, that one of the matchers leaves over, if an index says it and they
    /// are few.
    fn candidates_by_label(&self, matchers: &[Matcher], by_name: &[u32]) -> Option<Vec<u32>> {
        if by_name.len() < INDEXED_SERIES_MIN {
            return None;
        }
        let mut indexes = self.indexes.locked();
        let bytes_max = self.keys.len() * INDEX_BYTES_PER_SERIES;
        let mut ids = fewest(matchers, |matcher, make| {
            let taken: usize = indexes.values().map(|index| index.bytes).sum();
            // One more may take half of the room. What finds none is looked at series by series until the
            // next block takes the series out of the head.
            if make && taken <= bytes_max / 2 {
                indexes.insert(matcher.name().to_owned(), LabelIndex::default());
            }
            let Some(index) = indexes.get_mut(matcher.name()) else { return Candidates::NoIndex };
            index.cover(matcher.name(), &self.keys);
            index.ids_of(matcher, by_name.len() / INDEXED_SHARE)
        })?;
        drop(indexes);
        ids.sort_unstable_by(|a, b| self.keys[*a as usize].cmp(&self.keys[*b as usize]));
        Some(ids)
    }
}

impl LabelIndex {
    /// Adds the series that came since.
    fn cover(&mut self, label: &str, keys: &[Labels]) {
        for (id, key) in keys.iter().enumerate().skip(self.covered) {
            let Some(value) = key.get(label) else { continue };
            self.bytes += size_of::<u32>();
            match self.ids.get_mut(&*value) {
                Some(ids) => ids.push(id as u32),
                None => {
                    self.bytes += INDEX_BYTES_PER_VALUE + value.len();
                    self.ids.insert(value.into(), vec![id as u32]);
                }
            }
        }
        self.covered = keys.len();
    }

    /// The series whose value passes, in any order.
    fn ids_of(&self, matcher: &Matcher, ids_max: usize) -> Candidates {
        let mut found = Vec::new();
        let mut add = |ids: &Vec<u32>| {
            let few = found.len() + ids.len() <= ids_max;
            if few {
                found.extend_from_slice(ids);
            }
            few
        };
        let few = match matcher.value_bounds() {
            ValueBounds::One(value) => self.ids.get(value).is_none_or(&mut add),
            ValueBounds::AnyOf(values) => {
                values.iter().filter_map(|value| self.ids.get(value.as_str())).all(add)
            }
            ValueBounds::Prefix(prefix) => {
                let from = (Bound::Included(prefix), Bound::Unbounded);
                let known = self.ids.range::<str, _>(from).take_while(|(value, _)| value.starts_with(prefix));
                known.filter(|(value, _)| matcher.matches(value)).all(|(_, ids)| add(ids))
            }
        };
        if few { Candidates::Few(found) } else { Candidates::Many }
    }
}

impl HeadSelection {
    /// The selected series, ascending by key.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Labels> {
        self.series.iter().map(|(key, _)| key)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Number of rows of one series, duplicates included.
    #[must_use]
    pub fn rows(&self, series_idx: usize) -> usize {
        self.series[series_idx].1.iter().map(|stretch| samples(&self.runs, *stretch).len()).sum()
    }

    /// The samples of one series by contribution, each ascending in time; not clipped to a time range.
    pub fn samples(&self, series_idx: usize) -> impl Iterator<Item = SamplesView<'_>> {
        self.series[series_idx].1.iter().map(|stretch| samples(&self.runs, *stretch))
    }
}

fn samples(runs: &[HeadRun], stretch: Stretch) -> SamplesView<'_> {
    runs[stretch.run as usize].run().series(stretch.series as usize)
}

/// Samples, their share of the run's own index, and one stretch in ours; label sets apart.
fn run_bytes(run: &SeriesRun) -> usize {
    run.samples().column_bytes() + run.keys().len() * (16 + size_of::<Stretch>())
}

#[cfg(test)]
mod tests;
