//! Reads ranges of blocks for queries: fetched once, verified, decoded, cached.
//!
//! Words: a *file* is one object of a block, open once its footer is read; a *piece* is a run of rows
//! of a series table, a page or all of one tenant; a *page* is a page of samples.
//!
//! Invariants:
//! - Objects of blocks never change, so a cached entry is right for ever; its key is the block's
//!   random id, not a path.
//! - Whatever enters a cache was verified against a checksum that comes from the catalog entry or
//!   from a footer that was.
//! - Ranges are verified each time they are decoded; what proves damaged is fetched and kept anew.
//! - Damaged bytes are fetched again before they are called damaged: the way from the store can flip
//!   bits too.
//! - At most [`BlockReaderSettings::requests_max`] requests are under way in a process.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStoreExt as _};
use promontory_block::parquet::{
    Fetched, Footer, MERGE_GAP_BYTES, SERIES_PAGE_ROWS, SamplePage, SamplesTable, SeriesTable,
};
use promontory_block::{ObjectKind, TenantSpan};
use promontory_model::TenantId;
use tokio::sync::Semaphore;

use crate::catalog::state::BlockEntry;
use crate::error::Error;
use crate::object::bucket::Bucket;
use crate::object::keys::{self, BlockId};
use crate::object::requests::{unavailable, within};
use crate::object::verified::{READ_TIMEOUT_BASE, read_timeout, read_verified};
use crate::read::cache::{Cache, CacheCounters};
use crate::read::whole_blocks::decode_error;

/// Series of one tenant in one block up to which its table is read whole.
///
/// Above, a selection by metric reads only the pages of its metrics; one without a metric reads all,
/// in one piece, because each piece decodes the dictionary of label values anew.
const WHOLE_TABLE_ROWS: u64 = 2 * SERIES_PAGE_ROWS as u64;

/// A cache of ranges below this is too small to hold what is fetched ahead.
const PREFETCH_CACHE_BYTES_MIN: u64 = 64 << 20;

/// Sizes of the caches of blocks, and bounds of requests and selections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockReaderSettings {
    /// Bytes of open files: footers, and small files whole.
    pub files_bytes_max: u64,
    /// Bytes of decoded series tables.
    pub series_bytes_max: u64,
    /// Bytes of ranges as they are stored. Samples take some 0.7 bytes here and 16 decoded, so what no
    /// longer fits decoded needs no request for a long time.
    pub ranges_bytes_max: u64,
    /// Bytes of decoded samples.
    pub samples_bytes_max: u64,
    /// Requests under way at once in the process.
    pub requests_max: usize,
    /// Requests under way at once for one load of one file.
    pub requests_per_load_max: usize,
    /// Two wanted ranges with a gap of at most so many bytes become one request.
    pub merge_gap_bytes: u64,
    /// A file of at most so many bytes is fetched whole with its footer.
    pub small_file_bytes: u64,
    /// Series that one selection may hold, counted once for each block and tail that has them.
    pub selected_series_max: usize,
}

impl Default for BlockReaderSettings {
    fn default() -> Self {
        Self {
            files_bytes_max: 128 << 20,
            series_bytes_max: 256 << 20,
            ranges_bytes_max: 256 << 20,
            samples_bytes_max: 512 << 20,
            requests_max: 64,
            requests_per_load_max: 8,
            merge_gap_bytes: MERGE_GAP_BYTES,
            small_file_bytes: MERGE_GAP_BYTES,
            selected_series_max: 4_000_000,
        }
    }
}

/// Counters of what was fetched from blocks; they only rise.
#[derive(Debug, Default)]
pub struct BlockCounters {
    /// Requests to the store.
    pub requests: AtomicU64,
    /// Bytes that they answered.
    pub request_bytes: AtomicU64,
    /// Loads repeated because bytes were damaged.
    pub damaged_reads: AtomicU64,
}

/// The reader of one bucket's blocks, with its caches; one per process.
#[derive(Debug)]
pub struct BlockReader {
    bucket: Bucket,
    settings: BlockReaderSettings,
    requests: Semaphore,
    files: Cache<FileKey, File>,
    series: Cache<RowsKey, SeriesTable>,
    ranges: Cache<RangeKey, Bytes>,
    pages: Cache<RowsKey, SamplePage>,
    counters: BlockCounters,
}

/// Metric names from the first to the last, both inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NameRange {
    pub first: String,
    pub last: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FileKey {
    block: BlockId,
    kind: ObjectKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct RowsKey {
    block: BlockId,
    start: u64,
    end: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct RangeKey {
    file: FileKey,
    start: u64,
    end: u64,
}

impl RangeKey {
    fn new(file: FileKey, range: &Range<u64>) -> Self {
        Self { file, start: range.start, end: range.end }
    }
}

#[derive(Debug)]
struct File {
    id: FileKey,
    key: Path,
    footer: Footer,
    /// All its bytes, if it is small.
    whole: Option<Bytes>,
}

impl BlockReader {
    /// A reader with empty caches.
    #[must_use]
    pub fn new(bucket: Bucket, settings: BlockReaderSettings) -> Arc<Self> {
        let file_bytes = |file: &File| file.footer.memory_size() + file.whole.as_ref().map_or(0, Bytes::len);
        Arc::new(Self {
            bucket,
            settings,
            requests: Semaphore::new(settings.requests_max),
            files: Cache::new(settings.files_bytes_max, file_bytes),
            series: Cache::new(settings.series_bytes_max, SeriesTable::memory_size),
            ranges: Cache::new(settings.ranges_bytes_max, Bytes::len),
            pages: Cache::new(settings.samples_bytes_max, SamplePage::memory_size),
            counters: BlockCounters::default(),
        })
    }

    /// What the reader was made with.
    #[must_use]
    pub fn settings(&self) -> &BlockReaderSettings {
        &self.settings
    }

    /// What was fetched so far, hits of the caches not counted.
    #[must_use]
    pub fn counters(&self) -> &BlockCounters {
        &self.counters
    }

    /// Each cache's name, counters and bytes.
    #[must_use]
    pub fn caches(&self) -> [(&'static str, &CacheCounters, u64); 4] {
        [
            ("files", self.files.counters(), self.files.bytes()),
            ("series", self.series.counters(), self.series.bytes()),
            ("ranges", self.ranges.counters(), self.ranges.bytes()),
            ("samples", self.pages.counters(), self.pages.bytes()),
        ]
    }

    /// The series of one tenant in a block, in pieces that ascend; with `names`, at least those whose
    /// metric name lies there.
    pub(crate) async fn series(
        self: &Arc<Self>,
        entry: &Arc<BlockEntry>,
        tenant: &TenantId,
        names: Option<&NameRange>,
    ) -> Result<Vec<Arc<SeriesTable>>, Error> {
        let Some(span) = span_of(entry, tenant).map(|span| span.series.clone()) else {
            return Ok(Vec::new());
        };
        let whole = RowsKey { block: entry.id, start: span.start, end: span.end };
        if let Some(table) = self.series.get(&whole).await {
            return Ok(vec![table]);
        }
        let file = self.open(entry, ObjectKind::Series).await?;
        let keys = match names.filter(|_| span.end - span.start > WHOLE_TABLE_ROWS) {
            None => vec![whole],
            Some(names) => {
                let rows =
                    SeriesTable::prune_by_metric(&file.footer, span.clone(), &names.first, &names.last);
                pieces(entry.id, &rows, &span)
            }
        };
        let reader = self.clone();
        let load = |keys: Vec<RowsKey>| async move { reader.load_series(&file, &keys).await }.boxed();
        self.series.get_many(&keys, load).await
    }

    /// The pages of a block that hold any of `rows`, ascending.
    pub(crate) async fn pages(
        self: &Arc<Self>,
        entry: &Arc<BlockEntry>,
        rows: &[Range<u64>],
    ) -> Result<Vec<Arc<SamplePage>>, Error> {
        if rows.iter().all(Range::is_empty) {
            return Ok(Vec::new());
        }
        let file = self.open(entry, ObjectKind::Samples).await?;
        let table = SamplesTable::new(&file.footer).map_err(|error| decode_error(&file.key, error))?;
        let wanted = table.pages_of(rows);
        let page_rows: Vec<Range<u64>> = table.pages().collect();
        let key = |page: &usize| {
            let Range { start, end } = page_rows[*page].clone();
            RowsKey { block: entry.id, start, end }
        };
        let keys: Vec<RowsKey> = wanted.iter().map(key).collect();
        let reader = self.clone();
        let load = |keys: Vec<RowsKey>| {
            let file = file.clone();
            async move { reader.load_pages(&file, &keys).await }.boxed()
        };
        self.pages.get_many(&keys, load).await
    }

    /// Fetches the pages that hold `rows` and are neither decoded nor near, in as few requests as the
    /// gaps between them allow.
    pub(crate) async fn prefetch_pages(
        self: &Arc<Self>,
        entry: &Arc<BlockEntry>,
        rows: &[Range<u64>],
    ) -> Result<(), Error> {
        // What would not stay until it is decoded would be fetched twice.
        if self.settings.ranges_bytes_max < PREFETCH_CACHE_BYTES_MIN || rows.iter().all(Range::is_empty) {
            return Ok(());
        }
        let file = self.open(entry, ObjectKind::Samples).await?;
        let Held::Ranges(id) = file.held() else { return Ok(()) };
        let table = SamplesTable::new(&file.footer).map_err(|error| decode_error(&file.key, error))?;
        let mut pages = table.pages_of(rows);
        let page_rows: Vec<Range<u64>> = table.pages().collect();
        pages.retain(|page| {
            let Range { start, end } = page_rows[*page].clone();
            !self.pages.contains(&RowsKey { block: entry.id, start, end })
        });
        let ranges = table.page_bytes(&pages);
        let absent: Vec<Range<u64>> =
            ranges.into_iter().filter(|range| !self.ranges.contains(&RangeKey::new(id, range))).collect();
        let wanted = promontory_block::parquet::join_ranges(absent.clone(), self.settings.merge_gap_bytes);
        let mut fetched = Fetched::default();
        self.fetch(&file.key, &wanted, &mut fetched).await?;
        self.keep(Held::Ranges(id), &absent, &fetched).await;
        Ok(())
    }

    /// Opens the samples of a block, so that a later read need not wait for the footer.
    pub(crate) async fn prepare_samples(self: &Arc<Self>, entry: &Arc<BlockEntry>) -> Result<(), Error> {
        self.open(entry, ObjectKind::Samples).await.map(drop)
    }

    async fn open(self: &Arc<Self>, entry: &Arc<BlockEntry>, kind: ObjectKind) -> Result<Arc<File>, Error> {
        let (reader, entry) = (self.clone(), entry.clone());
        let key = FileKey { block: entry.id, kind };
        let load = |_| async move { Ok(vec![reader.load_file(&entry, kind).await?]) }.boxed();
        let mut files = self.files.get_many(&[key], load).await?;
        files.pop().ok_or_else(|| Error::Bug("no file was opened".into()))
    }

    async fn load_file(&self, entry: &BlockEntry, kind: ObjectKind) -> Result<File, Error> {
        let key = keys::block_object(&entry.path, kind);
        let object = entry.meta.objects.iter().find(|object| object.kind == kind);
        let object = object.ok_or_else(|| Error::Corrupt {
            object: key.to_string(),
            why: "is not named by the catalog entry".into(),
        })?;
        let tail = object.tail().map_err(|error| decode_error(&key, error))?;
        let small = object.size <= self.settings.small_file_bytes;
        let range = if small { 0..object.size } else { tail.clone() };
        let read = |fetched: &Fetched| {
            let tail = fetched.get(&tail).ok_or_else(|| promontory_block::Error::Bug("no tail".into()))?;
            let footer = Footer::read(object, tail)?;
            let whole = if small { fetched.get(&(0..object.size)) } else { None };
            let id = FileKey { block: entry.id, kind };
            Ok(File { id, key: key.clone(), footer, whole })
        };
        self.read_ranges(&key, Held::Nothing, vec![range], read).await
    }

    async fn load_series(&self, file: &File, keys: &[RowsKey]) -> Result<Vec<SeriesTable>, Error> {
        let mut ranges = Vec::new();
        for key in keys {
            let plan = SeriesTable::plan(&file.footer, &(key.start..key.end), self.settings.merge_gap_bytes);
            ranges.extend(plan.map_err(|error| decode_error(&file.key, error))?);
        }
        self.read_ranges(&file.key, file.held(), ranges, |fetched| {
            keys.iter().map(|key| SeriesTable::decode(&file.footer, key.start..key.end, fetched)).collect()
        })
        .await
    }

    async fn load_pages(&self, file: &File, keys: &[RowsKey]) -> Result<Vec<SamplePage>, Error> {
        let table = SamplesTable::new(&file.footer).map_err(|error| decode_error(&file.key, error))?;
        let rows: Vec<Range<u64>> = keys.iter().map(|key| key.start..key.end).collect();
        let pages = table.pages_of(&rows);
        let ranges = table.page_bytes(&pages);
        let decode = |fetched: &Fetched| table.decode_pages(&pages, fetched);
        self.read_ranges(&file.key, file.held(), ranges, decode).await
    }

    /// Brings ranges and decodes them; what proves damaged is fetched again.
    async fn read_ranges<T>(
        &self,
        key: &Path,
        held: Held<'_>,
        ranges: Vec<Range<u64>>,
        decode: impl Fn(&Fetched) -> Result<T, promontory_block::Error>,
    ) -> Result<T, Error> {
        // What proves damaged is not taken from memory again.
        let read = |reads: u32| self.bring(key, if reads == 0 { held } else { Held::Nothing }, &ranges);
        let verify = |(fetched, absent): (Fetched, Vec<Range<u64>>)| {
            check_delivered(key, &fetched, &ranges)?;
            let value = decode(&fetched).map_err(|error| decode_error(key, error))?;
            Ok((value, fetched, absent))
        };
        let verified = read_verified(&self.counters.damaged_reads, read, verify).await;
        let (value, fetched, absent) = verified?;
        self.keep(held, &absent, &fetched).await;
        Ok(value)
    }

    /// The bytes of `ranges`, and which of these were not in memory.
    async fn bring(
        &self,
        key: &Path,
        held: Held<'_>,
        ranges: &[Range<u64>],
    ) -> Result<(Fetched, Vec<Range<u64>>), Error> {
        let (mut fetched, absent) = self.in_memory(held, ranges).await;
        let wanted = promontory_block::parquet::join_ranges(absent.clone(), self.settings.merge_gap_bytes);
        self.fetch(key, &wanted, &mut fetched).await?;
        Ok((fetched, absent))
    }

    /// What of `ranges` is in memory, and what is not.
    async fn in_memory(&self, held: Held<'_>, ranges: &[Range<u64>]) -> (Fetched, Vec<Range<u64>>) {
        let file = match held {
            Held::Nothing => return (Fetched::default(), ranges.to_vec()),
            Held::Whole(bytes) => return (Fetched::whole(bytes.clone()), Vec::new()),
            Held::Ranges(file) => file,
        };
        let (mut fetched, mut absent) = (Fetched::default(), Vec::new());
        for range in ranges {
            match self.ranges.look(&RangeKey::new(file, range)).await {
                Some(bytes) => fetched.insert(range.start, Bytes::clone(&bytes)),
                None => absent.push(range.clone()),
            }
        }
        (fetched, absent)
    }

    /// Keeps ranges that were fetched.
    async fn keep(&self, held: Held<'_>, ranges: &[Range<u64>], fetched: &Fetched) {
        let Held::Ranges(file) = held else { return };
        for range in ranges {
            if let Some(bytes) = fetched.get(range) {
                // A slice would hold all that its request brought.
                self.ranges.put(RangeKey::new(file, range), Bytes::copy_from_slice(&bytes)).await;
            }
        }
    }

    async fn fetch(&self, key: &Path, ranges: &[Range<u64>], fetched: &mut Fetched) -> Result<(), Error> {
        let requests = futures::stream::iter(ranges.iter().cloned().map(|range| self.get(key, range)));
        let mut parts = requests.buffer_unordered(self.settings.requests_per_load_max.max(1));
        while let Some((start, bytes)) = parts.try_next().await? {
            fetched.insert(start, bytes);
        }
        Ok(())
    }

    async fn get(&self, key: &Path, range: Range<u64>) -> Result<(u64, Bytes), Error> {
        let permit = self.requests.acquire().await;
        let _permit = permit.map_err(|_| Error::Bug("the requests' semaphore is closed".into()))?;
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        let limit = read_timeout(READ_TIMEOUT_BASE, range.end - range.start);
        let answer = within(limit, self.bucket.reads.get_range(key, range.clone())).await;
        match answer {
            Ok(bytes) => {
                self.counters.request_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Ok((range.start, bytes))
            }
            Err(StoreError::NotFound { .. }) => Err(Error::Missing { object: key.to_string() }),
            Err(source) => Err(unavailable("read", key, source)),
        }
    }
}

/// What of a file may be in memory.
#[derive(Clone, Copy, Debug)]
enum Held<'a> {
    Nothing,
    Whole(&'a Bytes),
    Ranges(FileKey),
}

impl File {
    fn held(&self) -> Held<'_> {
        match &self.whole {
            Some(bytes) => Held::Whole(bytes),
            None => Held::Ranges(self.id),
        }
    }
}

/// A store may answer with fewer bytes than were asked for.
pub(crate) fn check_delivered(key: &Path, fetched: &Fetched, ranges: &[Range<u64>]) -> Result<(), Error> {
    match fetched.lacks(ranges) {
        None => Ok(()),
        Some(Range { start, end }) => Err(Error::Corrupt {
            object: key.to_string(),
            why: format!("bytes {start}..{end} were not delivered"),
        }),
    }
}

/// The rows of one tenant in a block.
pub(crate) fn span_of<'a>(entry: &'a BlockEntry, tenant: &TenantId) -> Option<&'a TenantSpan> {
    let spans = &entry.meta.tenants;
    spans.binary_search_by(|span| span.tenant.cmp(tenant)).ok().map(|idx| &spans[idx])
}

/// The pieces that cover `rows`. Their edges depend on the tenant's span only, so that selections of
/// different metrics share them.
fn pieces(block: BlockId, rows: &Range<u64>, span: &Range<u64>) -> Vec<RowsKey> {
    let step = SERIES_PAGE_ROWS as u64;
    if rows.start >= rows.end {
        return Vec::new();
    }
    let (first, last) = (rows.start / step, (rows.end - 1) / step);
    let piece = |number: u64| {
        let start = (number * step).max(span.start);
        RowsKey { block, start, end: ((number + 1) * step).min(span.end) }
    };
    (first..=last).map(piece).collect()
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "one range is meant")]
pub(crate) mod tests;
