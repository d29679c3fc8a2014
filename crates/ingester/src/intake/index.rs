//! The series of one tenant, known again by the bytes in which their senders encode them.
//!
//! Words:
//! - A *source* is everything with one context of its codec: equal bytes of one source are one series,
//!   equal bytes of two sources may be two.
//! - An *encoding* is one label set in the bytes of one source.
//! - A *walk* goes through the series of one batch.
//!
//! Invariants:
//! - Label sets that are equal share one id, whatever their source and encoding.
//! - Of each (source, series) the last two encodings are kept. There are at most
//!   [`ENCODINGS_PER_SERIES_MAX`] times as many encodings as series, and none is much longer than its label set
//!   ([`encoding_bytes_max`]): so the index takes a bounded number of bytes per series, whatever senders do.
//!   What is not kept is decoded each time.
//! - Series and encodings are taken only where there is [`Room`] for their bytes.
//! - Each source has an encoding; a source whose last encoding was forgotten is forgotten with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use hashbrown::HashTable;
use promontory_block::key_bytes;
use promontory_model::Labels;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::keys::{Keys, Ranking};

/// Encodings per series of a tenant, on average. Two senders that write one series in two orders need two
/// or four.
const ENCODINGS_PER_SERIES_MAX: usize = 8;
/// Stands where there is no encoding.
const NONE: u32 = u32::MAX;
/// What a series takes beside its label set: its places in three lists and a table.
const SERIES_BYTES: usize = 20;
/// What an encoding takes beside its bytes, its places in two tables included.
const ENCODING_BYTES: usize = size_of::<Encoding>() + 16;
/// What a source takes beside its context.
const SOURCE_BYTES: usize = size_of::<Source>() + 48;

/// How much more an index may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// Series.
    pub(super) series: usize,
    /// Bytes of series and encodings.
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) struct SeriesIndex {
    hash_seed: u64,
    sources_by_context: HashMap<Box<[u8]>, u32>,
    sources: Vec<Source>,
    /// Places in `sources` that no context has.
    sources_free: Vec<u32>,
    encodings: Vec<Encoding>,
    /// Encodings by source and raw bytes.
    by_raw: HashTable<u32>,
    /// One encoding of each (source, series).
    by_pair: HashTable<u32>,
    /// Ids by key; the keys themselves are in `keys`.
    by_key: HashTable<u32>,
    keys: Keys,
    /// Belongs to those who sort cuts.
    ranking: Arc<Mutex<Ranking>>,
    last_cut: Vec<u32>,
    /// Memory of label sets, encodings and sources.
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    /// The encoding with which its last batch began.
    first: u32,
    last_cut: u32,
}

#[derive(Debug)]
struct Encoding {
    hash: u64,
    raw: Box<[u8]>,
    source: u32,
    id: u32,
    /// The encoding that followed this one in the last batch that had it. Senders repeat themselves, so
    /// most look-ups are one comparison, without hash and table.
    next: u32,
    /// The other encoding of the same source and series, or [`NONE`].
    sibling: u32,
    /// Its sibling was used after it.
    older: bool,
}

/// How far the look-ups of one batch have come.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    context: &'a [u8],
    /// Number of the cut that the batch goes into.
    cut: u32,
    /// Unknown until a first series of the source is known.
    source: Option<u32>,
    /// The last encoding that was found or added.
    previous: Option<u32>,
}

impl SeriesIndex {
    /// An empty index; `hash_seed` is random, so that nobody can prepare colliding label sets.
    pub(super) fn new(hash_seed: u64) -> Self {
        Self {
            hash_seed,
            sources_by_context: HashMap::new(),
            sources: Vec::new(),
            sources_free: Vec::new(),
            encodings: Vec::new(),
            by_raw: HashTable::new(),
            by_pair: HashTable::new(),
            by_key: HashTable::new(),
            keys: Keys::default(),
            ranking: Arc::default(),
            last_cut: Vec::new(),
            bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Memory of label sets, encodings and sources.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn labels(&self, id: u32) -> &Labels {
        self.keys.get(id)
    }

    /// Begins with a batch of the source with this context.
    pub(super) fn walk<'a>(&mut self, context: &'a [u8], cut: u32) -> Walk<'a> {
        let source = self.sources_by_context.get(context).copied();
        if let Some(source) = source {
            self.sources[source as usize].last_cut = cut;
        }
        Walk { context, cut, source, previous: None }
    }

    /// The series with these bytes, which are next in the batch; `None` if they are not known.
    pub(super) fn find(&mut self, walk: &mut Walk<'_>, raw: &[u8]) -> Option<u32> {
        let source = walk.source?;
        let expected = match walk.previous {
            Some(previous) => self.encodings[previous as usize].next,
            None => self.sources[source as usize].first,
        };
        let encoding = match self.encodings.get(expected as usize) {
            Some(encoding) if encoding.source == source && *encoding.raw == *raw => expected,
            _ => {
                let encoding = self.look_up(source, raw)?;
                self.expect(walk, source, encoding);
                encoding
            }
        };
        walk.previous = Some(encoding);
        self.note_use(encoding);
        let id = self.encodings[encoding as usize].id;
        self.last_cut[id as usize] = walk.cut;
        Some(id)
    }

    /// The series with these labels, whose bytes [`Self::find`] does not know; `None` if it is new and
    /// there is no `room` for another series.
    pub(super) fn insert(
        &mut self,
        walk: &mut Walk<'_>,
        raw: &[u8],
        labels: Labels,
        room: Room,
    ) -> Option<u32> {
        let bytes_before = self.bytes;
        let id = self.id_of(labels, room)?;
        self.last_cut[id as usize] = walk.cut;
        let needed = (self.bytes - bytes_before) + ENCODING_BYTES + raw.len();
        let too_long = raw.len() > encoding_bytes_max(self.labels(id));
        if too_long || self.encodings_are_full() || needed > room.bytes {
            return Some(id);
        }
        let source = match walk.source {
            Some(source) => source,
            None => self.add_source(walk),
        };
        let encoding = self.keep(source, id, raw.into());
        self.expect(walk, source, encoding);
        walk.previous = Some(encoding);
        Some(id)
    }

    /// Keys by id, and in what order they are.
    pub(super) fn keys(&self) -> (Keys, Arc<Mutex<Ranking>>) {
        (self.keys.clone(), self.ranking.clone())
    }

    /// Forgets series and sources without a sample since the cut `oldest`, where they are many or hold up
    /// others: more than a quarter, or some while there are `series_max` series.
    pub(super) fn forget_idle(&mut self, oldest: u32, series_max: usize) {
        let idle = self.last_cut.iter().filter(|cut| **cut < oldest).count();
        let contexts = &self.sources_by_context;
        let idle_sources =
            contexts.values().filter(|source| self.sources[**source as usize].last_cut < oldest).count();
        let many = idle * 4 > self.len() || idle_sources * 4 > contexts.len();
        let full = self.len() >= series_max || self.encodings_are_full();
        if many || (full && idle + idle_sources > 0) {
            self.forget(oldest);
        }
    }

    fn look_up(&self, source: u32, raw: &[u8]) -> Option<u32> {
        let same = |encoding: &u32| {
            let encoding = &self.encodings[*encoding as usize];
            encoding.source == source && *encoding.raw == *raw
        };
        self.by_raw.find(raw_hash(self.hash_seed, source, raw), same).copied()
    }

    /// Notes which encoding came next in the walk.
    fn expect(&mut self, walk: &Walk<'_>, source: u32, encoding: u32) {
        match walk.previous {
            Some(previous) => self.encodings[previous as usize].next = encoding,
            None => self.sources[source as usize].first = encoding,
        }
    }

    /// Notes that of two siblings this one was used last.
    fn note_use(&mut self, encoding: u32) {
        let used = &mut self.encodings[encoding as usize];
        if used.older {
            used.older = false;
            let sibling = used.sibling as usize;
            self.encodings[sibling].older = true;
        }
    }

    fn id_of(&mut self, labels: Labels, room: Room) -> Option<u32> {
        let hash = xxh3_64_with_seed(labels.key(), self.hash_seed);
        let known = self.by_key.find(hash, |id| *self.keys.get(*id) == labels).copied();
        let bytes = key_bytes(&labels) + SERIES_BYTES;
        if known.is_some() || room.series == 0 || bytes > room.bytes {
            return known;
        }
        self.bytes += bytes;
        let id = self.keys.push(labels);
        self.last_cut.push(0);
        let keys = &self.keys;
        let hash_of = |id: &u32| xxh3_64_with_seed(keys.get(*id).key(), self.hash_seed);
        self.by_key.insert_unique(hash, id, hash_of);
        Some(id)
    }

    fn encodings_are_full(&self) -> bool {
        self.encodings.len() >= ENCODINGS_PER_SERIES_MAX * self.keys.len()
    }

    fn add_source(&mut self, walk: &mut Walk<'_>) -> u32 {
        let source = Source { first: NONE, last_cut: walk.cut };
        let id = match self.sources_free.pop() {
            Some(free) => {
                self.sources[free as usize] = source;
                free
            }
            None => {
                self.sources.push(source);
                self.sources.len() as u32 - 1
            }
        };
        self.bytes += walk.context.len() + SOURCE_BYTES;
        self.sources_by_context.insert(walk.context.into(), id);
        walk.source = Some(id);
        id
    }

    /// Keeps an encoding; of three of one source and series the one that was used least recently goes.
    fn keep(&mut self, source: u32, id: u32, raw: Box<[u8]>) -> u32 {
        let hash = raw_hash(self.hash_seed, source, &raw);
        let pair = self.find_pair(source, id);
        let siblings = pair.map(|first| (first, self.encodings[first as usize].sibling));
        let encoding = match siblings {
            Some((first, second)) if second != NONE => {
                let oldest = if self.encodings[first as usize].older { first } else { second };
                self.replace(oldest, hash, raw);
                oldest
            }
            _ => {
                let encoding = self.encodings.len() as u32;
                let next = encoding + 1;
                self.bytes += ENCODING_BYTES + raw.len();
                self.encodings.push(Encoding { hash, raw, source, id, next, sibling: NONE, older: false });
                self.join_pair(pair, encoding);
                encoding
            }
        };
        let encodings = &self.encodings;
        self.by_raw.insert_unique(hash, encoding, |e| encodings[*e as usize].hash);
        encoding
    }

    /// Puts other bytes in the place of an encoding. What is expected after it stays: it is the same series.
    fn replace(&mut self, encoding: u32, hash: u64, raw: Box<[u8]>) {
        let place = &mut self.encodings[encoding as usize];
        self.bytes = self.bytes - place.raw.len() + raw.len();
        let hash_before = std::mem::replace(&mut place.hash, hash);
        place.raw = raw;
        if let Ok(entry) = self.by_raw.find_entry(hash_before, |e| *e == encoding) {
            entry.remove();
        }
        self.note_use(encoding);
    }

    fn find_pair(&self, source: u32, id: u32) -> Option<u32> {
        let same = |encoding: &u32| {
            let encoding = &self.encodings[*encoding as usize];
            (encoding.source, encoding.id) == (source, id)
        };
        self.by_pair.find(pair_hash(self.hash_seed, source, id), same).copied()
    }

    /// Makes a new encoding the sibling of `pair`, or the first of its source and series.
    fn join_pair(&mut self, pair: Option<u32>, encoding: u32) {
        if let Some(first) = pair {
            self.encodings[first as usize].sibling = encoding;
            self.encodings[first as usize].older = true;
            self.encodings[encoding as usize].sibling = first;
            return;
        }
        let (seed, encodings) = (self.hash_seed, &self.encodings);
        let hash_of = |e: &u32| {
            let encoding = &encodings[*e as usize];
            pair_hash(seed, encoding.source, encoding.id)
        };
        self.by_pair.insert_unique(hash_of(&encoding), encoding, hash_of);
    }

    fn forget(&mut self, oldest: u32) {
        let old = std::mem::replace(self, Self::new(self.hash_seed));
        let mut new_ids = vec![None; old.keys.len()];
        for (id, key) in old.keys.iter().enumerate().filter(|(id, _)| old.last_cut[*id] >= oldest) {
            new_ids[id] = self.id_of(key.clone(), Room { series: 1, bytes: usize::MAX });
            self.last_cut[self.keys.len() - 1] = old.last_cut[id];
        }
        self.sources = old.sources;
        let mut used = vec![false; self.sources.len()];
        // In the order of their last use, so that siblings are again the older and the newer one.
        let (before, last): (Vec<_>, Vec<_>) = old.encodings.into_iter().partition(|e| e.older);
        for encoding in before.into_iter().chain(last) {
            let idle = self.sources[encoding.source as usize].last_cut < oldest;
            if let Some(id) = new_ids[encoding.id as usize].filter(|_| !idle) {
                used[encoding.source as usize] = true;
                self.keep(encoding.source, id, encoding.raw);
            }
        }
        self.sources_by_context = old.sources_by_context;
        self.sources_by_context.retain(|_, source| used[*source as usize]);
        self.bytes +=
            self.sources_by_context.keys().map(|context| context.len() + SOURCE_BYTES).sum::<usize>();
        self.sources_free = (0..used.len() as u32).filter(|source| !used[*source as usize]).collect();
    }
}

/// Longest encoding that is kept of a label set: senders may pad theirs with fields that nobody knows.
fn encoding_bytes_max(labels: &Labels) -> usize {
    256 + 4 * labels.key().len()
}

fn raw_hash(seed: u64, source: u32, raw: &[u8]) -> u64 {
    xxh3_64_with_seed(raw, seed ^ u64::from(source))
}

fn pair_hash(seed: u64, source: u32, id: u32) -> u64 {
    xxh3_64_with_seed(&(u64::from(source) << 32 | u64::from(id)).to_le_bytes(), seed)
}

#[cfg(test)]
impl SeriesIndex {
    pub(super) fn raw_bytes(&self) -> usize {
        self.encodings.iter().map(|encoding| encoding.raw.len()).sum()
    }

    pub(super) fn encodings(&self) -> usize {
        self.encodings.len()
    }

    /// Number of sources, and of places for them.
    pub(super) fn sources(&self) -> (usize, usize) {
        (self.sources_by_context.len(), self.sources.len())
    }
}
