//! Samples on their way into the next segment.
//!
//! Most of the cost of ingestion is labels, so a series is looked up by the raw bytes that its
//! sender encodes; only a series that is new is decoded, checked against the limits and interned.
//!
//! Words: *raw* is a label set as the protocol encodes it; *pending* is a sample that no segment
//! holds yet.
//!
//! Invariants:
//! - Two raw encodings of one label set share one id.
//! - Nothing is taken from a batch that is refused as a whole; within a batch each series or sample
//!   is either pending or counted in [`Refusals`].
//! - Pending memory is bounded by [`Intake::PENDING_BYTES_MAX`]; the index by
//!   [`Intake::SERIES_MAX`] and [`Intake::forget_idle`].

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashTable;
use promontory_block::{SeriesRun, TenantRows};
use promontory_model::append::{RefusalReason, Refusals};
use promontory_model::samples::value_order;
use promontory_model::{
    AppendError, Batch, IngestLimits, Labels, LabelsBuilder, LabelsCodec, METRIC_NAME, TenantId,
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The index of known series and the samples that wait for the next segment, of all tenants.
#[derive(Debug)]
pub struct Intake {
    limits: IngestLimits,
    /// Random per process, so that nobody can prepare colliding label sets.
    hash_seed: u64,
    tenants: BTreeMap<TenantId, TenantIntake>,
    /// Number of the cut that pending samples will go into.
    cut: u32,
    pending_bytes: usize,
    series: usize,
}

#[derive(Debug, Default)]
struct TenantIntake {
    by_raw: HashTable<u32>,
    /// The raw bytes and their hash, one entry per encoding; [`Encoding::id`] says whose.
    encodings: Vec<Encoding>,
    /// Ids by key; the keys themselves are in `keys`.
    by_key: HashTable<u32>,
    /// Shared with a cut that is being sorted outside the lock.
    keys: Arc<Vec<Labels>>,
    /// Position of each id in the order of keys; stale while shorter than `keys`.
    ranks: Arc<Vec<u32>>,
    last_cut: Vec<u32>,
    pending: Vec<Pending>,
}

#[derive(Debug)]
struct Encoding {
    hash: u64,
    raw: Box<[u8]>,
    id: u32,
    /// The encoding that followed this one in the last batch that had it. Senders repeat themselves, so
    /// most look-ups are one comparison, without hash and table.
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    id: u32,
    ts: i64,
    value: f64,
}

/// What one cut took: sorted into rows outside the intake's lock.
#[derive(Debug)]
pub struct Cut {
    tenants: Vec<TenantCut>,
    /// Pending samples in it, duplicates included.
    pub samples: usize,
    /// Their memory in bytes.
    pub bytes: usize,
}

/// One tenant's share of a cut.
#[derive(Debug)]
struct TenantCut {
    tenant: TenantId,
    keys: Arc<Vec<Labels>>,
    ranks: Arc<Vec<u32>>,
    pending: Vec<Pending>,
}

impl Intake {
    /// Most memory of samples that wait for a segment; above it writes are asked to slow down. That many
    /// samples can be numbered with 32 bits.
    pub const PENDING_BYTES_MAX: usize = 256 << 20;
    /// Most series in the index; above it new series are refused until idle ones are forgotten.
    pub const SERIES_MAX: usize = 20_000_000;

    /// An empty intake.
    #[must_use]
    pub fn new(limits: IngestLimits, hash_seed: u64) -> Self {
        Self { limits, hash_seed, tenants: BTreeMap::new(), cut: 0, pending_bytes: 0, series: 0 }
    }

    /// Bytes of pending samples.
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
    /// [`AppendError::Unavailable`] if pending memory is full, [`AppendError::Limited`] if the series
    /// index is; then nothing was taken.
    pub fn add(
        &mut self,
        tenant: &TenantId,
        batch: &Batch,
        now_ms: i64,
    ) -> Result<(u64, Refusals), AppendError> {
        let bytes = batch.timestamps.len() * size_of::<Pending>();
        if self.pending_bytes + bytes > Self::PENDING_BYTES_MAX {
            // Not `Limited`: by default a Prometheus drops what is answered with 429.
            return Err(AppendError::Unavailable(format!(
                "{} bytes of samples wait for the object store, at most {}; retry later",
                self.pending_bytes,
                Self::PENDING_BYTES_MAX
            )));
        }
        if self.series > Self::SERIES_MAX {
            return Err(AppendError::Limited(format!(
                "series index is full: {} series, at most {}; retry later or drop labels",
                self.series,
                Self::SERIES_MAX
            )));
        }
        let head = self.tenants.entry(tenant.clone()).or_default();
        let (series_before, pending_before) = (head.keys.len(), head.pending.len());
        let mut refused = Refusals::default();
        let newest = now_ms.saturating_add(self.limits.future_ms_max);
        let mut scratch = LabelsBuilder::default();
        let mut previous = None;
        for series in &batch.series {
            let raw = &batch.body[series.labels.clone()];
            let encoding = match head.find(previous, raw, self.hash_seed) {
                Ok(encoding) => encoding,
                Err(hash) => match checked_labels(batch.codec, raw, &self.limits, &mut scratch) {
                    Ok(labels) => head.intern(hash, raw, labels, self.hash_seed),
                    Err((reason, text)) => {
                        refused.add(1, series.samples.len() as u64, reason, || text);
                        continue;
                    }
                },
            };
            head.expect(previous, encoding);
            previous = Some(encoding);
            let id = head.encodings[encoding as usize].id;
            head.last_cut[id as usize] = self.cut;
            for sample in series.samples.clone() {
                let (ts, value) = (batch.timestamps[sample], batch.values[sample]);
                if ts > newest {
                    refused.add(0, 1, RefusalReason::TooFarInFuture, || {
                        format!(
                            "sample of {} at {ts} is more than {} ms in the future",
                            head.keys[id as usize], self.limits.future_ms_max
                        )
                    });
                } else {
                    head.pending.push(Pending { id, ts, value });
                }
            }
        }
        let taken = head.pending.len() - pending_before;
        self.series += head.keys.len() - series_before;
        self.pending_bytes += taken * size_of::<Pending>();
        Ok((taken as u64, refused))
    }

    /// Takes everything that is pending; what comes later belongs to the next cut.
    pub fn cut(&mut self) -> Cut {
        let mut cut = Cut { tenants: Vec::new(), samples: 0, bytes: self.pending_bytes };
        for (tenant, head) in &mut self.tenants {
            if head.pending.is_empty() {
                continue;
            }
            head.rank();
            let pending = std::mem::take(&mut head.pending);
            head.pending.reserve(pending.len());
            cut.samples += pending.len();
            let (tenant, keys, ranks) = (tenant.clone(), head.keys.clone(), head.ranks.clone());
            cut.tenants.push(TenantCut { tenant, keys, ranks, pending });
        }
        self.pending_bytes = 0;
        self.cut += 1;
        cut
    }

    /// Forgets series without a sample in the last `cuts` cuts, where they are more than a quarter of
    /// their tenant's. Call it right after a cut: a tenant with pending samples is left alone.
    pub fn forget_idle(&mut self, cuts: u32) {
        let oldest = self.cut.saturating_sub(cuts);
        for head in self.tenants.values_mut().filter(|head| head.pending.is_empty()) {
            let idle = head.last_cut.iter().filter(|cut| **cut < oldest).count();
            if idle * 4 > head.keys.len() {
                self.series -= idle;
                head.forget(oldest, self.hash_seed);
            }
        }
        self.tenants.retain(|_, head| !head.keys.is_empty());
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
        let Self { tenant, keys, ranks, pending } = self;
        // Rank and arrival in one integer: the ranks lie scattered and are looked up once per sample and
        // not in each comparison.
        let mut order: Vec<u64> =
            (0..).zip(&pending).map(|(at, p): (u64, _)| u64::from(ranks[p.id as usize]) << 32 | at).collect();
        order.sort_unstable();
        let mut run = SeriesRun::default();
        run.ts.reserve_exact(pending.len());
        run.values.reserve_exact(pending.len());
        let mut series: Vec<Pending> = Vec::new();
        for same in order.chunk_by(|a, b| a >> 32 == b >> 32) {
            series.clear();
            series.extend(same.iter().map(|entry| pending[(entry & u64::from(u32::MAX)) as usize]));
            sort_samples(&mut series);
            run.keys.push(keys[series[0].id as usize].clone());
            run.ts.extend(series.iter().map(|p| p.ts));
            run.values.extend(series.iter().map(|p| p.value));
            run.offsets.push(run.ts.len());
        }
        (tenant, run)
    }
}

/// Sorts the samples of one series by time; of equal timestamps the greatest value stays.
fn sort_samples(series: &mut Vec<Pending>) {
    if series.windows(2).all(|pair| pair[0].ts < pair[1].ts) {
        return;
    }
    series.sort_unstable_by(|a, b| a.ts.cmp(&b.ts).then_with(|| value_order(b.value, a.value)));
    series.dedup_by(|b, a| a.ts == b.ts);
}

impl TenantIntake {
    /// The encoding with these bytes, which follow `previous` in their batch; the hash of the bytes if
    /// there is none yet.
    fn find(&self, previous: Option<u32>, raw: &[u8], hash_seed: u64) -> Result<u32, u64> {
        let expected = previous.map_or(0, |previous| self.encodings[previous as usize].next);
        if self.encodings.get(expected as usize).is_some_and(|encoding| *encoding.raw == *raw) {
            return Ok(expected);
        }
        let hash = xxh3_64_with_seed(raw, hash_seed);
        let known = self.by_raw.find(hash, |e| *self.encodings[*e as usize].raw == *raw);
        known.copied().ok_or(hash)
    }

    /// Notes which encoding came after `previous`.
    fn expect(&mut self, previous: Option<u32>, encoding: u32) {
        if let Some(previous) = previous {
            self.encodings[previous as usize].next = encoding;
        }
    }

    /// Adds an encoding and, if it is new, its series; answers the encoding.
    fn intern(&mut self, hash: u64, raw: &[u8], labels: Labels, hash_seed: u64) -> u32 {
        let key_hash = xxh3_64_with_seed(labels.key(), hash_seed);
        let known = self.by_key.find(key_hash, |id| self.keys[*id as usize] == labels);
        let id = match known {
            Some(id) => *id,
            None => {
                let id = self.keys.len() as u32;
                Arc::make_mut(&mut self.keys).push(labels);
                let keys = &self.keys;
                let hash_of = |id: &u32| xxh3_64_with_seed(keys[*id as usize].key(), hash_seed);
                self.by_key.insert_unique(key_hash, id, hash_of);
                self.last_cut.push(0);
                id
            }
        };
        let encoding = self.encodings.len() as u32;
        self.encodings.push(Encoding { hash, raw: raw.into(), id, next: encoding + 1 });
        let encodings = &self.encodings;
        self.by_raw.insert_unique(hash, encoding, |e| encodings[*e as usize].hash);
        encoding
    }

    /// Brings `ranks` up to date.
    fn rank(&mut self) {
        if self.ranks.len() == self.keys.len() {
            return;
        }
        let mut order: Vec<u32> = (0..self.keys.len() as u32).collect();
        let known = self.ranks.len();
        for (id, rank) in self.ranks.iter().enumerate() {
            order[*rank as usize] = id as u32;
        }
        let by_key = |a: &u32, b: &u32| -> Ordering { self.keys[*a as usize].cmp(&self.keys[*b as usize]) };
        order[known..].sort_unstable_by(by_key);
        // Two ascending runs: the stable sort finds and merges them in linear time.
        order.sort_by(by_key);
        let mut ranks = vec![0; order.len()];
        for (rank, id) in order.iter().enumerate() {
            ranks[*id as usize] = rank as u32;
        }
        self.ranks = Arc::new(ranks);
    }

    fn forget(&mut self, oldest: u32, hash_seed: u64) {
        let old = std::mem::take(self);
        let mut new_ids = vec![u32::MAX; old.keys.len()];
        let keys = Arc::make_mut(&mut self.keys);
        for (id, key) in old.keys.iter().enumerate().filter(|(id, _)| old.last_cut[*id] >= oldest) {
            new_ids[id] = keys.len() as u32;
            self.last_cut.push(old.last_cut[id]);
            keys.push(key.clone());
        }
        let hash_of = |id: &u32| xxh3_64_with_seed(keys[*id as usize].key(), hash_seed);
        for id in 0..keys.len() as u32 {
            self.by_key.insert_unique(hash_of(&id), id, hash_of);
        }
        self.encodings = old.encodings;
        self.encodings.retain_mut(|encoding| {
            encoding.id = new_ids[encoding.id as usize];
            encoding.id != u32::MAX
        });
        let encodings = &self.encodings;
        for (encoding, Encoding { hash, .. }) in encodings.iter().enumerate() {
            self.by_raw.insert_unique(*hash, encoding as u32, |e| encodings[*e as usize].hash);
        }
    }
}

/// Decodes a label set and holds it against the limits.
fn checked_labels(
    codec: &dyn LabelsCodec,
    raw: &[u8],
    limits: &IngestLimits,
    scratch: &mut LabelsBuilder,
) -> Result<Labels, (RefusalReason, String)> {
    scratch.clear();
    let invalid = |text: String| (RefusalReason::InvalidLabels, text);
    codec.decode(raw, scratch).map_err(|why| invalid(format!("invalid labels: {why}")))?;
    let series = || scratch.build().to_string();
    let pairs = scratch.pairs();
    if pairs.len() > limits.labels_per_series_max {
        let text = format!(
            "series {} has {} labels, at most {}",
            shortened(&series()),
            pairs.len(),
            limits.labels_per_series_max
        );
        return Err((RefusalReason::TooManyLabels, text));
    }
    for (name, value) in pairs {
        if name.is_empty() {
            return Err(invalid(format!("series {} has a label with an empty name", shortened(&series()))));
        }
        if name.len() > limits.label_name_bytes_max {
            let text = format!(
                "label name \"{}\" of {} bytes is too long, at most {}",
                shortened(name),
                name.len(),
                limits.label_name_bytes_max
            );
            return Err((RefusalReason::LabelNameTooLong, text));
        }
        if value.len() > limits.label_value_bytes_max {
            let text = format!(
                "value of label \"{name}\" of {} bytes is too long, at most {}: \"{}\"",
                value.len(),
                limits.label_value_bytes_max,
                shortened(value)
            );
            return Err((RefusalReason::LabelValueTooLong, text));
        }
    }
    if let Some(name) = scratch.duplicate() {
        let text = format!("series {} has the label \"{name}\" twice", shortened(&series()));
        return Err((RefusalReason::DuplicateLabel, text));
    }
    let labels = scratch.build();
    if labels.get(METRIC_NAME).is_none() {
        return Err(invalid(format!("series {} has no metric name", shortened(&labels.to_string()))));
    }
    Ok(labels)
}

/// At most 200 characters, for texts that go back to the sender.
fn shortened(text: &str) -> String {
    const SHOWN_MAX: usize = 200;
    match text.char_indices().nth(SHOWN_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

#[cfg(test)]
mod tests;
