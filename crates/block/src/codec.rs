//! The seam between the protocol and the bytes of a block.
//!
//! `store`'s state machines write and read blocks only through [`BlockCodec`], so that the simulator
//! can run nearly all seeds with plain rows and a few with the real Parquet codec. The query path
//! reads Parquet blocks selectively and does not pass through here.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use promontory_model::{TenantId, TimeRange};
use xxhash_rust::xxh3::xxh3_128;

use crate::error::Error;
use crate::fetched::Fetched;
use crate::run::SeriesRun;

/// How often a block's rows have been merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// About two minutes of one writer, many tenants in one object.
    L1,
    /// A two-hour window of one tenant.
    L2,
    /// A day of one tenant.
    L3,
}

/// Rows of one block before it is encoded: tenants strictly ascend; L2 and L3 hold exactly one.
pub type TenantRows = (TenantId, SeriesRun);

/// One of the two objects of a block; the order is that of every list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// One row per series.
    Series,
    /// One row per sample.
    Samples,
    /// One row per native histogram; not written yet.
    Histograms,
    /// One row per exemplar; not written yet.
    Exemplars,
    /// One row per metric; not written yet.
    Metadata,
    /// Aggregates that answer coarse questions; not written yet.
    Summaries,
    /// How many distinct series there are; not written yet.
    Sketch,
    /// Which series are certainly not in the block; not written yet.
    KeyFilter,
    /// What a newer program added, and whoever does not know it may pass over: the number of its kind.
    Other(u8),
}

impl BlockMeta {
    /// The rows of one of the block's objects, as its entry says them.
    #[must_use]
    pub fn rows_of(&self, kind: ObjectKind) -> u64 {
        match kind {
            ObjectKind::Series => self.series,
            ObjectKind::Samples => self.rows,
            _ => 0,
        }
    }
}

impl ObjectKind {
    /// The object's name below the block's folder.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Series => "series.parquet",
            Self::Samples => "samples.parquet",
            Self::Histograms => "histograms.parquet",
            Self::Exemplars => "exemplars.parquet",
            Self::Metadata => "metadata.parquet",
            Self::Summaries => "summaries.parquet",
            Self::Sketch => "sketch.bin",
            Self::KeyFilter => "keys.bin",
            Self::Other(_) => "other",
        }
    }

    /// True if the rows of the block cannot be read without it.
    #[must_use]
    pub fn is_essential(self) -> bool {
        matches!(self, Self::Series | Self::Samples)
    }
}

/// What the catalog entry says of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Which of the block's objects it is.
    pub kind: ObjectKind,
    /// Its whole size in bytes.
    pub size: u64,
    /// Its rows; of what is no table, 0.
    pub rows: u64,
    /// xxh3-128 of all its bytes.
    pub checksum: u128,
    /// Bytes of the tail that hold the Parquet footer (metadata, its length and the magic).
    pub footer_size: u32,
    /// CRC32C of that tail.
    pub footer_crc: u32,
}

impl ObjectMeta {
    /// Where its footer lies.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the footer is larger than the object.
    pub fn tail(&self) -> Result<Range<u64>, Error> {
        let start = self.size.checked_sub(u64::from(self.footer_size));
        let fail = || Error::Corrupt {
            what: self.kind.file_name(),
            at: 0..self.size,
            why: format!("a footer of {} bytes in an object of {}", self.footer_size, self.size),
        };
        Ok(start.ok_or_else(fail)?..self.size)
    }
}

/// One tenant's share of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantSpan {
    /// The tenant; each has at most one span in a block.
    pub tenant: TenantId,
    /// Rows of the series table, one per series.
    pub series: Range<u64>,
    /// Rows of the samples table, one per sample, series after series.
    pub rows: Range<u64>,
    /// Rows of further tables, in order of kind.
    pub other_rows: Vec<(ObjectKind, Range<u64>)>,
    /// Time range of those samples.
    pub time_range: TimeRange,
}

/// What the catalog entry says of one block, its path and `applied` version apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockMeta {
    /// How often its rows have been merged.
    pub level: Level,
    /// Samples of all tenants.
    pub rows: u64,
    /// Series of all tenants; one that several tenants have counts for each.
    pub series: u64,
    /// Time range of all samples in milliseconds.
    pub time_range: TimeRange,
    /// Canonical bytes of the first key of the first tenant.
    pub first_key: Bytes,
    /// Canonical bytes of the last key of the last tenant.
    pub last_key: Bytes,
    /// Tenants in order; one for L2 and L3.
    pub tenants: Vec<TenantSpan>,
    /// The block's objects in order of kind.
    pub objects: Vec<ObjectMeta>,
}

/// One object of a block, ready to be uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedObject {
    /// Which of the block's objects it is.
    pub kind: ObjectKind,
    /// The whole object.
    pub bytes: Bytes,
}

/// A block that is ready to be uploaded, and what the catalog will say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedBlock {
    /// In order of kind; the same order as `meta.objects`.
    pub objects: Vec<EncodedObject>,
    /// What the catalog says of the block.
    pub meta: BlockMeta,
}

/// Turns rows into the objects of a block and back.
pub trait BlockCodec: Send + Sync + fmt::Debug {
    /// Encodes a block. `tenants` is not empty and holds no empty run.
    ///
    /// # Errors
    /// [`Error::Bug`] if the rows break an invariant of [`SeriesRun`].
    fn encode(&self, level: Level, tenants: &[TenantRows]) -> Result<EncodedBlock, Error>;

    /// Decodes all rows. `objects` are the whole objects in the order of `meta.objects`; sizes and
    /// checksums are verified first.
    ///
    /// # Errors
    /// [`Error::Corrupt`] names the object's kind and the bytes that do not fit.
    fn decode(&self, meta: &BlockMeta, objects: &[Bytes]) -> Result<Vec<TenantRows>, Error>;

    /// The bytes of an object that [`Self::open`] needs.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the entry names impossible ones.
    fn tail(&self, object: &ObjectMeta) -> Result<Range<u64>, Error>;

    /// Opens a block to read the rows of single tenants. `tails` are the bytes that [`Self::tail`] names, in the
    /// order of `meta.objects`; they are verified.
    ///
    /// # Errors
    /// [`Error::Corrupt`] names the object's kind and the bytes that do not fit.
    fn open(&self, meta: &BlockMeta, tails: &[Bytes]) -> Result<Box<dyn OpenBlock>, Error>;
}

/// A block of which the rows of single tenants are read.
pub trait OpenBlock: Send + Sync + fmt::Debug {
    /// The byte ranges of each object that [`Self::decode`] needs, none of them empty; objects in the order of their
    /// kinds.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if an object lacks what the rows need.
    fn plan(&self, span: &TenantSpan) -> Result<Vec<Vec<Range<u64>>>, Error>;

    /// The rows of one tenant of the block, out of the bytes that [`Self::plan`] names; they are verified.
    ///
    /// # Errors
    /// [`Error::Corrupt`] names the object's kind and the bytes that do not fit.
    fn decode(&self, span: &TenantSpan, fetched: &[Fetched]) -> Result<SeriesRun, Error>;
}

/// What two codecs say alike of a block: everything but its objects.
///
/// # Errors
/// [`Error::Bug`] if the rows break an invariant.
pub(crate) fn describe(level: Level, tenants: &[TenantRows]) -> Result<BlockMeta, Error> {
    let bug = |why: String| Error::Bug(format!("block of level {level:?}: {why}"));
    let (Some((_, first)), Some((_, last))) = (tenants.first(), tenants.last()) else {
        return Err(bug("no tenant".into()));
    };
    if level != Level::L1 && tenants.len() != 1 {
        return Err(bug(format!("{} tenants", tenants.len())));
    }
    if !tenants.windows(2).all(|pair| pair[0].0 < pair[1].0) {
        return Err(bug("tenants do not ascend".into()));
    }
    let mut spans: Vec<TenantSpan> = Vec::with_capacity(tenants.len());
    for (tenant, run) in tenants {
        check_storable(run).map_err(|why| bug(format!("tenant {tenant}: {why}")))?;
        if run.is_empty() {
            return Err(bug(format!("tenant {tenant} has no series")));
        }
        let (series, rows) = spans.last().map_or((0, 0), |span| (span.series.end, span.rows.end));
        spans.push(TenantSpan {
            tenant: tenant.clone(),
            series: series..series + run.keys().len() as u64,
            rows: rows..rows + run.rows() as u64,
            other_rows: Vec::new(),
            time_range: run.time_range(),
        });
    }
    let key =
        |key: Option<&promontory_model::Labels>| Bytes::copy_from_slice(key.map_or(&[], |key| key.key()));
    Ok(BlockMeta {
        level,
        rows: spans.last().map_or(0, |span| span.rows.end),
        series: spans.last().map_or(0, |span| span.series.end),
        time_range: spans.iter().fold(TimeRange::EMPTY, |range, span| range.union(span.time_range)),
        first_key: key(first.keys().first()),
        last_key: key(last.keys().last()),
        tenants: spans,
        objects: Vec::new(),
    })
}

/// Checks what segments and blocks ask of the rows they store: every invariant of [`SeriesRun`], and only
/// floats, because the formats have no place for more yet.
///
/// # Errors
/// The first broken invariant; a native histogram or a start timestamp.
pub(crate) fn check_storable(run: &SeriesRun) -> Result<(), String> {
    run.check()?;
    match (run.samples().histograms(), run.floats().start_ts()) {
        (None, []) => Ok(()),
        (Some(_), _) => Err("native histograms have no place in the format".into()),
        (None, _) => Err("start timestamps have no place in the format".into()),
    }
}

/// Verifies that `objects` are the block's whole objects, undamaged.
///
/// # Errors
/// [`Error::Corrupt`] names the object that differs.
pub fn verify_objects(meta: &BlockMeta, objects: &[Bytes]) -> Result<(), Error> {
    if meta.objects.len() != objects.len() {
        let why = format!("{} objects, the entry names {}", objects.len(), meta.objects.len());
        return Err(Error::Corrupt { what: "block", at: whole_block(meta), why });
    }
    for (object, bytes) in meta.objects.iter().zip(objects) {
        let corrupt = |why| Error::Corrupt { what: object.kind.file_name(), at: 0..object.size, why };
        if bytes.len() as u64 != object.size {
            return Err(corrupt(format!("{} bytes, the entry says {}", bytes.len(), object.size)));
        }
        if xxh3_128(bytes) != object.checksum {
            return Err(corrupt("the checksum of the object differs from the entry".into()));
        }
    }
    Ok(())
}

/// The bytes of all objects, as if they lay back to back.
fn whole_block(meta: &BlockMeta) -> Range<u64> {
    0..meta.objects.iter().map(|object| object.size).sum()
}

/// Checks that the decoded rows of one tenant are the ones that the entry describes.
///
/// # Errors
/// What differs.
pub(crate) fn verify_run(span: &TenantSpan, run: &SeriesRun) -> Result<(), String> {
    check_storable(run)?;
    let count = |range: &Range<u64>| range.end - range.start;
    let found = (run.keys().len() as u64, run.rows() as u64, run.time_range());
    if found == (count(&span.series), count(&span.rows), span.time_range) {
        return Ok(());
    }
    Err(format!("the rows of tenant {} are not those of the entry", span.tenant))
}

/// Checks that decoded rows are the ones that the entry describes.
pub(crate) fn verify_rows(meta: &BlockMeta, tenants: &[TenantRows]) -> Result<(), Error> {
    let corrupt = |why: String| Error::Corrupt { what: "block", at: whole_block(meta), why };
    let mut found = describe(meta.level, tenants).map_err(|error| corrupt(error.to_string()))?;
    found.objects.clone_from(&meta.objects);
    if found == *meta { Ok(()) } else { Err(corrupt("its rows are not those of the entry".into())) }
}
