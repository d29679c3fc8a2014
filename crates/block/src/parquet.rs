//! A block as a pair of Parquet files: the codec behind the protocol, and selective reading.
//!
//! Words: the *series table* has one row per series, the *samples table* one row per sample, both in
//! order of (tenant, key, time); `sid` numbers the series of a file from 0 and stands in both, so that
//! outside readers can join; a *tail* is the end of a file from the first byte of its page index,
//! which is what [`Footer`] is read from.
//!
//! Invariants of format version 1:
//! - The rows of series `sid` in the samples table are `row_offset .. row_offset + row_count`.
//! - Pages of `ts`, `value` and `vi` begin at the same rows, [`SAMPLES_PAGE_ROWS`] apart within a row
//!   group, and have no dictionary: a run of rows is a run of pages in each.
//! - The footer carries a CRC32C of every page, header included, and the catalog entry one of the
//!   tail, so that each fetched range is verified by itself. Checksums are per page and not per
//!   column chunk, as a chunk is never fetched whole by a query; they cost 8 bytes per page.
//! - Every value keeps its bits.
//!
//! The columns are specified in `docs/format.md`.

mod footer;
mod part;
mod samples;
mod series_index;
mod series_table;
mod write;
mod write_samples;
mod write_series;

pub use crate::fetched::{Fetched, MERGE_GAP_BYTES, join_ranges};
pub use footer::Footer;
pub use samples::{SamplePage, SamplesTable};
pub use series_table::{SeriesRow, SeriesTable};

use std::ops::Range;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use self::part::{OpenFiles, Part};
use crate::codec::{
    BlockCodec, BlockMeta, EncodedBlock, EncodedObject, Level, ObjectKind, ObjectMeta, OpenBlock, TenantRows,
    TenantSpan, describe, verify_objects, verify_rows,
};
use crate::error::Error;

/// Rows of a page of the samples table.
pub const SAMPLES_PAGE_ROWS: usize = 20_000;

/// Rows of a row group of the samples table.
pub const SAMPLES_GROUP_ROWS: usize = 4_000_000;

/// Rows of a page of the series table.
pub const SERIES_PAGE_ROWS: usize = 8_192;

/// Rows of a row group of the series table.
pub const SERIES_GROUP_ROWS: usize = 1 << 20;

/// Decoded label bytes from which on a row group of the series table takes no more rows: Arrow's columns of texts
/// hold 2 GiB, and whoever reads one group holds this much.
pub const SERIES_GROUP_LABEL_BYTES: usize = 64 << 20;

/// Most labels that get a column of their own; each costs about 225 bytes per row group even where it
/// is null.
pub const PROMOTED_LABELS_MAX: usize = 200;

/// A label gets a column of its own if at least one in so many series of the file has it.
pub const PROMOTED_ONE_IN: usize = 100;

/// The format version in the footer of each file.
const FORMAT_VERSION: &str = "1";
const KEY_FORMAT: &str = "promontory.format";
const KEY_TABLE: &str = "promontory.table";
const KEY_PAGES: &str = "promontory.pages_crc32c";
const KEY_BUCKET_START: &str = "promontory.bucket_start_ms";

/// Time that one entry of `bucket_offsets` covers.
const BUCKET_MS: i64 = 2 * 3_600 * 1_000;

/// A block that spans more buckets has no `bucket_offsets`.
const BUCKETS_MAX: i64 = 48;

/// Blocks as Parquet: what production writes.
#[derive(Clone, Copy, Debug, Default)]
pub struct ParquetCodec;

impl BlockCodec for ParquetCodec {
    fn encode(&self, level: Level, tenants: &[TenantRows]) -> Result<EncodedBlock, Error> {
        let mut meta = describe(level, tenants)?;
        let files = [
            (ObjectKind::Series, write_series::encode(&meta, tenants)?),
            (ObjectKind::Samples, write_samples::encode(level, tenants)?),
        ];
        let mut objects = Vec::with_capacity(files.len());
        for (kind, file) in files {
            let tail = &file.bytes[file.bytes.len() - file.footer_size as usize..];
            meta.objects.push(ObjectMeta {
                kind,
                size: file.bytes.len() as u64,
                rows: meta.rows_of(kind),
                checksum: xxh3_128(&file.bytes),
                footer_size: file.footer_size,
                footer_crc: crc32c::crc32c(tail),
            });
            objects.push(EncodedObject { kind, bytes: file.bytes });
        }
        Ok(EncodedBlock { objects, meta })
    }

    fn decode(&self, meta: &BlockMeta, objects: &[Bytes]) -> Result<Vec<TenantRows>, Error> {
        verify_objects(meta, objects).map_err(|error| damage(meta, objects).unwrap_or(error))?;
        let series = open(meta, objects, ObjectKind::Series)?;
        let samples = open(meta, objects, ObjectKind::Samples)?;
        let table = SeriesTable::decode(&series.0, 0..series.0.rows(), &series.1)?;
        let floats =
            SamplesTable::new(&samples.0)?.decode_rows(&(0..samples.0.rows()), &samples.1, &table)?;
        let part = Part::new(&series.0, &table, 0, floats.view(), 0);
        let run_of = |span: &TenantSpan| Ok((span.tenant.clone(), part.run(span)?));
        let tenants: Vec<TenantRows> = meta.tenants.iter().map(run_of).collect::<Result<_, Error>>()?;
        verify_rows(meta, &tenants)?;
        Ok(tenants)
    }

    fn tail(&self, object: &ObjectMeta) -> Result<Range<u64>, Error> {
        object.tail()
    }

    fn open(&self, meta: &BlockMeta, tails: &[Bytes]) -> Result<Box<dyn OpenBlock>, Error> {
        Ok(Box::new(OpenFiles::new(meta, tails)?))
    }
}

fn open(meta: &BlockMeta, objects: &[Bytes], kind: ObjectKind) -> Result<(Footer, Fetched), Error> {
    let found = meta.objects.iter().zip(objects).find(|(object, _)| object.kind == kind);
    let (object, bytes) = found.ok_or_else(|| corrupt(kind, 0..0, "the block lacks the object"))?;
    Ok((read_footer(object, bytes)?, Fetched::whole(bytes.clone())))
}

fn read_footer(object: &ObjectMeta, bytes: &Bytes) -> Result<Footer, Error> {
    let tail = object.tail()?;
    let tail = Fetched::whole(bytes.clone()).get(&tail);
    Footer::read(object, tail.ok_or_else(|| corrupt(object.kind, 0..object.size, "ends before its footer"))?)
}

/// Which part of the first whole object that differs from the entry is the damaged one; `None` if
/// that does not show.
fn damage(meta: &BlockMeta, objects: &[Bytes]) -> Option<Error> {
    let differs = |(object, bytes): &(&ObjectMeta, &Bytes)| xxh3_128(bytes) != object.checksum;
    let (object, bytes) = meta.objects.iter().zip(objects).find(differs)?;
    if bytes.len() as u64 != object.size {
        return None;
    }
    match read_footer(object, bytes) {
        Ok(footer) => Some(footer.damage(&Fetched::whole(bytes.clone()))),
        Err(error) => Some(error),
    }
}

fn corrupt(kind: ObjectKind, at: Range<u64>, why: impl Into<String>) -> Error {
    Error::Corrupt { what: kind.file_name(), at, why: why.into() }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "one range is meant")]
mod tests;
