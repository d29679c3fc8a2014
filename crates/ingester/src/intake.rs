//! Samples on their way into the next segment.
//!
//! Most of the cost of ingestion is labels, so a series is looked up by the raw bytes that its
//! sender encodes; only a series that is new is decoded, checked against the limits and interned.
//!
//! Words: *raw* is a label set as the protocol encodes it; *pending* is a sample that no segment
//! holds yet.
//!
//! In reading order: [`Intake`]; `index` (series by source and raw bytes); `keys` (label sets by id and in order);
//! `checked` (label sets of new series).
//!
//! Invariants:
//! - Raw encodings of one label set share one id; a series is known again by its source (the context of
//!   its codec) and its raw bytes.
//! - A limit of series refuses new series only.
//! - Nothing is taken from a batch that is refused as a whole; within a batch each series or sample
//!   is either pending or counted in [`Refusals`].
//! - Pending memory is bounded by [`HeadMemory::pending`]; the index by [`IngestLimits::series_max`] for each tenant,
//!   [`Intake::SERIES_MAX`] for all and [`HeadMemory::labels`], in which [`Intake::forget_idle`] makes room.

mod checked;
mod index;
mod keys;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use promontory_block::{SeriesMerge, SeriesRun, TenantRows};
use promontory_model::append::{RefusalReason, Refusals};
use promontory_model::samples::{Floats, FloatsView, Histograms, SampleLists};
use promontory_model::{
    AppendError, Batch, BatchSeries, HeadMemory, IngestLimits, LabelsBuilder, MutexExt as _, TenantId,
};

use self::checked::checked_labels;
use self::index::{Room, SeriesIndex, Walk};
use self::keys::{Keys, Ranking};

/// The index of known series and the samples that wait for the next segment, of all tenants.
#[derive(Debug)]
pub struct Intake {
    limits: IngestLimits,
    memory: HeadMemory,
    /// Random per process; see [`SeriesIndex::new`].
    hash_seed: u64,
    tenants: BTreeMap<TenantId, TenantIntake>,
    /// Number of the cut that pending samples will go into.
    cut: u32,
    pending_bytes: usize,
    series: usize,
    /// Memory of all indexes.
    index_bytes: usize,
}

#[derive(Debug)]
struct TenantIntake {
    index: SeriesIndex,
    pending: Pending,
}

/// Samples that no segment holds yet, as their batches brought them.
#[derive(Debug, Default)]
struct Pending {
    /// One per series of a batch: which series of the index it is.
    ids: Vec<u32>,
    /// The samples that each of them brought, none empty.
    samples: SampleLists,
}

/// What one cut took: sorted into rows outside the intake's lock.
#[derive(Debug)]
pub struct Cut {
    tenants: Vec<TenantCut>,
    /// Pending samples in it, duplicates included.
    pub samples: usize,
    /// Memory of the pending samples in bytes.
    pub bytes: usize,
}

#[derive(Debug)]
struct TenantCut {
    tenant: TenantId,
    keys: Keys,
    ranking: Arc<Mutex<Ranking>>,
    pending: Pending,
}

impl Pending {
    /// Memory of a series of a batch beside its samples.
    const BYTES_PER_SERIES: usize = size_of::<u32>() + size_of::<usize>();

    fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    fn bytes(&self) -> usize {
        size_of::<u32>() * self.ids.len() + self.samples.column_bytes()
    }

    /// Adds what a batch brings of one series; samples after `newest` are refused one by one.
    fn push(&mut self, id: u32, floats: FloatsView<'_>, newest: i64, mut refuse: impl FnMut(i64)) {
        let one_by_one = |out: &mut Floats| {
            for (at, ts) in floats.ts().iter().enumerate() {
                if *ts > newest { refuse(*ts) } else { out.extend(floats.part(at..at + 1)) }
            }
        };
        let stays = self.samples.push_nonempty(|samples| {
            if floats.ts().iter().all(|ts| *ts <= newest) {
                return samples.push(floats.into());
            }
            samples.push_with(one_by_one, |_: &mut Histograms| ())
        });
        if stays {
            self.ids.push(id);
        }
    }

    /// Takes everything, and leaves room for as much.
    fn take(&mut self) -> Self {
        let room = Self {
            ids: Vec::with_capacity(self.ids.len()),
            samples: SampleLists::with_capacity(self.ids.len(), self.samples.samples()),
        };
        std::mem::replace(self, room)
    }
}

impl Intake {
    /// Most series in the index, of all tenants together; then new ones are refused until idle ones are
    /// forgotten.
    pub const SERIES_MAX: usize = 20_000_000;

    /// An intake without series; `hash_seed` is random, see `SeriesIndex::new`.
    #[must_use]
    pub fn new(limits: IngestLimits, memory: HeadMemory, hash_seed: u64) -> Self {
        let tenants = BTreeMap::new();
        Self { limits, memory, hash_seed, tenants, cut: 0, pending_bytes: 0, series: 0, index_bytes: 0 }
    }

    /// Memory of the index in bytes: label sets, and the encodings by which they are known again.
    #[must_use]
    pub fn index_bytes(&self) -> usize {
        self.index_bytes
    }

    /// Memory of the pending samples in bytes.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Series in the index, of all tenants.
    #[must_use]
    pub fn series(&self) -> usize {
        self.series
    }

    /// Adds a batch; answers how many samples became pending and what was refused.
    ///
    /// # Errors
    /// [`AppendError::Unavailable`] if pending memory is full; then nothing was taken.
    pub fn add(
        &mut self,
        tenant: &TenantId,
        batch: &Batch,
        now_ms: i64,
    ) -> Result<(u64, Refusals), AppendError> {
        self.check_pending(batch)?;
        let new_head =
            || TenantIntake { index: SeriesIndex::new(self.hash_seed), pending: Pending::default() };
        let head = self.tenants.entry(tenant.clone()).or_insert_with(new_head);
        let (series_before, index_before) = (head.index.len(), head.index.bytes());
        let (samples_before, bytes_before) = (head.pending.samples.samples(), head.pending.bytes());
        let others = Others { series: self.series - series_before, bytes: self.index_bytes - index_before };
        let mut refused = Refusals::default();
        refuse_unstored(batch, &mut refused);
        let newest = now_ms.saturating_add(self.limits.future_ms_max);
        let floats = batch.samples.floats.view();
        let (limits, bytes_max) = (&self.limits, self.memory.labels());
        let mut new_series =
            NewSeries { limits, bytes_max, tenant, batch, others, scratch: LabelsBuilder::default() };
        let mut walk = head.index.walk(batch.codec.context(), self.cut);
        for series in batch.series.iter().filter(|series| !series.floats.is_empty()) {
            let raw = &batch.body[series.labels.clone()];
            let found = match head.index.find(&mut walk, raw) {
                Some(id) => Ok(id),
                None => new_series.add(&mut head.index, &mut walk, raw),
            };
            let id = match found {
                Ok(id) => id,
                Err((reason, text)) => {
                    refused.add(1, series.floats.len() as u64, reason, || text);
                    continue;
                }
            };
            head.pending.push(id, floats.part(series.floats.clone()), newest, |ts| {
                refused.add(0, 1, RefusalReason::TooFarInFuture, || {
                    format!(
                        "sample of {} at {ts} is more than {} ms in the future",
                        head.index.labels(id),
                        self.limits.future_ms_max
                    )
                });
            });
        }
        let taken = head.pending.samples.samples() - samples_before;
        self.series += head.index.len() - series_before;
        self.index_bytes = self.index_bytes - index_before + head.index.bytes();
        self.pending_bytes += head.pending.bytes() - bytes_before;
        Ok((taken as u64, refused))
    }

    fn check_pending(&self, batch: &Batch) -> Result<(), AppendError> {
        let bytes = batch.samples.floats.column_bytes() + batch.series.len() * Pending::BYTES_PER_SERIES;
        let bytes_max = self.memory.pending();
        if self.pending_bytes + bytes <= bytes_max {
            return Ok(());
        }
        // Not `Limited`: by default a Prometheus drops what is answered with 429.
        Err(AppendError::Unavailable(format!(
            "{} bytes of samples wait for the object store, at most {bytes_max}; retry later",
            self.pending_bytes
        )))
    }

    /// Takes everything that is pending; what comes later belongs to the next cut.
    pub fn cut(&mut self) -> Cut {
        let mut cut = Cut { tenants: Vec::new(), samples: 0, bytes: self.pending_bytes };
        for (tenant, head) in &mut self.tenants {
            if head.pending.is_empty() {
                continue;
            }
            let (keys, ranking) = head.index.keys();
            let pending = head.pending.take();
            cut.samples += pending.samples.samples();
            cut.tenants.push(TenantCut { tenant: tenant.clone(), keys, ranking, pending });
        }
        self.pending_bytes = 0;
        self.cut += 1;
        cut
    }

    /// Forgets series and sources without a sample in the last `cuts` cuts, where they are more than a
    /// quarter of their tenant's or take room that is needed. Call it right after a cut: a tenant with
    /// pending samples is left alone.
    pub fn forget_idle(&mut self, cuts: u32) {
        let oldest = self.cut.saturating_sub(cuts);
        // Nearly full counts, too: the next series may be larger than what is left.
        let full = self.series >= Self::SERIES_MAX || self.index_bytes >= self.memory.labels() / 8 * 7;
        let series_max = if full { 0 } else { self.limits.series_max };
        for head in self.tenants.values_mut().filter(|head| head.pending.is_empty()) {
            let (series, bytes) = (head.index.len(), head.index.bytes());
            head.index.forget_idle(oldest, series_max);
            self.series -= series - head.index.len();
            self.index_bytes = self.index_bytes - bytes + head.index.bytes();
        }
        self.tenants.retain(|_, head| head.index.len() > 0);
    }
}

/// What decides whether series of one batch that are not known may come in.
struct NewSeries<'a> {
    limits: &'a IngestLimits,
    /// Most memory of all indexes.
    bytes_max: usize,
    tenant: &'a TenantId,
    batch: &'a Batch,
    others: Others,
    scratch: LabelsBuilder,
}

/// What other tenants have in the index.
#[derive(Clone, Copy)]
struct Others {
    series: usize,
    bytes: usize,
}

impl NewSeries<'_> {
    /// The id of a series whose bytes are not known; its labels may be.
    fn add(
        &mut self,
        index: &mut SeriesIndex,
        walk: &mut Walk<'_>,
        raw: &[u8],
    ) -> Result<u32, (RefusalReason, String)> {
        let labels = checked_labels(&*self.batch.codec, raw, self.limits, &mut self.scratch)?;
        let of_process = Intake::SERIES_MAX.saturating_sub(self.others.series);
        let room = Room {
            series: self.limits.series_max.min(of_process).saturating_sub(index.len()),
            bytes: self.bytes_max.saturating_sub(self.others.bytes + index.bytes()),
        };
        let id = index.insert(walk, raw, labels, room);
        id.ok_or_else(|| (RefusalReason::SeriesLimit, self.limit_text(room)))
    }

    /// Which limit leaves no `room`.
    fn limit_text(&self, room: Room) -> String {
        let Self { limits, tenant, others, bytes_max, .. } = self;
        if room.series > 0 {
            return format!(
                "labels take as much memory as they may in this ingester, {bytes_max} bytes; raise --head.max-memory, add \
                 ingesters or drop labels"
            );
        }
        if limits.series_max <= Intake::SERIES_MAX.saturating_sub(others.series) {
            let series_max = limits.series_max;
            return format!(
                "series limit of {series_max} reached for tenant \"{tenant}\"; raise --limits.series-max or drop labels"
            );
        }
        let series_max = Intake::SERIES_MAX;
        format!(
            "series limit of {series_max} reached for all tenants of this ingester; add ingesters or drop labels"
        )
    }
}

/// Counts what a batch holds and no segment can: everything but floats, of the whole batch.
fn refuse_unstored(batch: &Batch, refused: &mut Refusals) {
    let n_histograms = batch.samples.histograms.len() as u64;
    if n_histograms > 0 {
        let only_histograms =
            |series: &&BatchSeries| series.floats.is_empty() && !series.histograms.is_empty();
        let n_series = batch.series.iter().filter(only_histograms).count() as u64;
        refused.add(n_series, n_histograms, RefusalReason::HistogramNotStored, || {
            format!("{n_histograms} native histograms: they are not stored yet")
        });
    }
    let starts = [batch.samples.floats.start_ts(), batch.samples.histograms.start_ts()];
    let n_starts = starts.iter().flat_map(|starts| starts.iter()).filter(|start| **start != 0).count();
    for (count, reason, what) in [
        (batch.exemplars.len(), RefusalReason::ExemplarNotStored, "exemplars"),
        (batch.metadata.len(), RefusalReason::MetadataNotStored, "entries of metadata"),
        (n_starts, RefusalReason::StartTimestampNotStored, "start timestamps"),
    ] {
        if count > 0 {
            refused.add_beside(count as u64, reason, || format!("{count} {what}: they are not stored yet"));
        }
    }
}

impl Cut {
    /// The rows of the cut: tenants, keys and timestamps ascend; of equal timestamps the greatest
    /// value stays.
    #[must_use]
    pub fn into_rows(self) -> Vec<TenantRows> {
        self.tenants.into_iter().map(TenantCut::into_rows).collect()
    }
}

impl TenantCut {
    fn into_rows(self) -> TenantRows {
        let Self { tenant, keys, ranking, pending } = self;
        // Rank and arrival in one integer: the ranks lie scattered and are looked up once per sample and
        // not in each comparison.
        let mut order: Vec<u64> = {
            let mut ranking = ranking.locked();
            let ranks = ranking.of(&keys);
            (0..)
                .zip(&pending.ids)
                .map(|(at, id): (u64, _)| u64::from(ranks[*id as usize]) << 32 | at)
                .collect()
        };
        order.sort_unstable();
        let place = |entry: u64| (entry & u64::from(u32::MAX)) as usize;
        let mut run = SeriesRun::with_capacity(keys.len().min(order.len()), pending.samples.samples());
        let mut sources = SeriesMerge::default();
        for same in order.chunk_by(|a, b| a >> 32 == b >> 32) {
            same.iter().for_each(|entry| sources.add_unsorted(pending.samples.series(place(*entry))));
            let key = keys.get(pending.ids[place(same[0])]);
            run.push_with(key.clone(), |all| sources.append_to(all));
        }
        (tenant, run)
    }
}

#[cfg(test)]
mod tests;
