//! The tail of a file: where its pages lie and what their checksums are.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::DecodeResult;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataPushDecoder};
use parquet::schema::types::ColumnDescPtr;

use super::{FORMAT_VERSION, KEY_BUCKET_START, KEY_FORMAT, KEY_PAGES, KEY_TABLE, corrupt};
use crate::codec::{ObjectKind, ObjectMeta};
use crate::error::Error;
use crate::parquet::Fetched;

/// Most rows of one page that a reader accepts; the writer makes far smaller ones.
///
/// It bounds what is allocated on the word of a footer.
const PAGE_ROWS_MAX: u64 = 1 << 20;

/// A parsed tail: enough to plan and verify every read of its file.
#[derive(Clone, Debug)]
pub struct Footer {
    pub(super) kind: ObjectKind,
    pub(super) metadata: Arc<ParquetMetaData>,
    pub(super) groups: Vec<Group>,
    pub(super) bucket_start: Option<i64>,
    rows: u64,
    size: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Group {
    pub rows: Range<u64>,
    /// In order of the leaf columns of the schema.
    pub chunks: Vec<Chunk>,
}

/// One column of a row group: pages that lie back to back.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub dictionary: Option<Page>,
    pub pages: Vec<Page>,
}

#[derive(Clone, Debug)]
pub(super) struct Page {
    /// Rows of the file; those of the whole group for a dictionary.
    pub rows: Range<u64>,
    /// Bytes of the file, header included.
    pub bytes: Range<u64>,
    /// CRC32C of those bytes.
    pub crc: u32,
}

impl Footer {
    /// Reads the tail of an object, which is the last `object.footer_size` bytes of it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the tail is not the one of the entry or describes impossible pages,
    /// [`Error::Unsupported`] if a newer program wrote it.
    pub fn read(object: &ObjectMeta, tail: Bytes) -> Result<Self, Error> {
        let kind = object.kind;
        let start =
            object.size.checked_sub(tail.len() as u64).filter(|_| tail.len() == object.footer_size as usize);
        let start = start
            .ok_or_else(|| corrupt(kind, 0..object.size, "a footer of another length than the entry says"))?;
        if crc32c::crc32c(&tail) != object.footer_crc {
            return Err(corrupt(
                kind,
                start..object.size,
                "the checksum of the footer differs from the entry",
            ));
        }
        let place = start..object.size;
        let metadata = read_metadata(kind, &place, tail)?;
        let table = if kind == ObjectKind::Series { "series" } else { "samples" };
        if text(&metadata, KEY_FORMAT) != Some(FORMAT_VERSION) || text(&metadata, KEY_TABLE) != Some(table) {
            let found = text(&metadata, KEY_FORMAT).unwrap_or("none");
            let why = format!("format version {found}, this program knows {FORMAT_VERSION}");
            return Err(Error::Unsupported { what: kind.file_name(), why });
        }
        let crcs = parse_crcs(text(&metadata, KEY_PAGES).unwrap_or_default());
        let crcs = crcs.ok_or_else(|| corrupt(kind, place.clone(), "page checksums that are no numbers"))?;
        let groups = read_groups(kind, &metadata, &crcs, &place)?;
        let rows = groups.last().map_or(0, |group| group.rows.end);
        let bucket_start = text(&metadata, KEY_BUCKET_START).and_then(|start| start.parse().ok());
        Ok(Self { kind, metadata: Arc::new(metadata), groups, bucket_start, rows, size: object.size })
    }

    /// Number of rows of the table.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Size of the object in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn whole(&self) -> Range<u64> {
        0..self.size
    }

    /// The pages of the file, by row group, then leaf column, dictionaries first: the column's path
    /// and the bytes, header included.
    pub fn pages(&self) -> impl Iterator<Item = (String, Range<u64>)> {
        let columns = self.metadata.file_metadata().schema_descr();
        let chunks = self.groups.iter().flat_map(|group| group.chunks.iter().enumerate());
        chunks.flat_map(|(column, chunk)| {
            let path = columns.column(column).path().string();
            chunk.all_pages().map(move |page| (path.clone(), page.bytes.clone()))
        })
    }

    /// What is damaged in a file that is all in memory and whose tail is whole: the first page that
    /// differs from its checksum, or what lies before all pages.
    pub(super) fn damage(&self, whole: &Fetched) -> Error {
        let pages = || self.groups.iter().flat_map(|group| &group.chunks).flat_map(Chunk::all_pages);
        let damaged = pages().find_map(|page| self.page(page, whole).err());
        let data_start = pages().map(|page| page.bytes.start).min().unwrap_or(self.size);
        damaged.unwrap_or_else(|| corrupt(self.kind, 0..data_start, "no page and not the footer is damaged"))
    }

    /// Approximate bytes that this value takes in memory.
    #[must_use]
    pub fn memory_size(&self) -> usize {
        let pages: usize =
            self.groups.iter().flat_map(|g| &g.chunks).map(|chunk| chunk.pages.len() + 1).sum();
        self.metadata.memory_size() + pages * size_of::<Page>()
    }

    /// The leaf column `path` (its parts joined by dots), if the file has it.
    pub(super) fn column(&self, path: &str) -> Option<usize> {
        let columns = self.metadata.file_metadata().schema_descr().columns();
        columns.iter().position(|column| column.path().string() == path)
    }

    pub(super) fn column_descriptor(&self, column: usize) -> ColumnDescPtr {
        self.metadata.file_metadata().schema_descr().column(column)
    }

    /// The bytes of a page, verified.
    pub(super) fn page(&self, page: &Page, fetched: &Fetched) -> Result<Bytes, Error> {
        let bytes = fetched.get(&page.bytes);
        let bytes = bytes.ok_or_else(|| Error::Bug(format!("bytes {:?} were not fetched", page.bytes)))?;
        if crc32c::crc32c(&bytes) != page.crc {
            return Err(corrupt(self.kind, page.bytes.clone(), "the checksum of a page differs"));
        }
        Ok(bytes)
    }
}

impl Chunk {
    /// The dictionary, if there is one, and the data pages.
    fn all_pages(&self) -> impl Iterator<Item = &Page> {
        self.dictionary.iter().chain(&self.pages)
    }

    /// The pages that hold rows of `rows`.
    pub(super) fn covering(&self, rows: &Range<u64>) -> Range<usize> {
        let first = self.pages.partition_point(|page| page.rows.end <= rows.start);
        let last = self.pages.partition_point(|page| page.rows.start < rows.end);
        first..last.max(first)
    }
}

/// Reads the metadata out of the tail, which lies at `place`.
fn read_metadata(kind: ObjectKind, place: &Range<u64>, tail: Bytes) -> Result<ParquetMetaData, Error> {
    let fail = |why: String| corrupt(kind, place.clone(), why);
    let mut decoder = ParquetMetaDataPushDecoder::try_new(place.end)
        .map_err(|error| fail(error.to_string()))?
        .with_page_index_policy(PageIndexPolicy::Required);
    decoder.push_range(place.clone(), tail).map_err(|error| fail(error.to_string()))?;
    match decoder.try_decode().map_err(|error| fail(error.to_string()))? {
        DecodeResult::Data(metadata) => Ok(metadata),
        DecodeResult::NeedsData(_) | DecodeResult::Finished => Err(fail("a footer that is not whole".into())),
    }
}

fn text<'a>(metadata: &'a ParquetMetaData, key: &str) -> Option<&'a str> {
    let pairs = metadata.file_metadata().key_value_metadata()?;
    pairs.iter().find(|pair| pair.key == key)?.value.as_deref()
}

fn parse_crcs(text: &str) -> Option<Vec<u32>> {
    let digits = text.as_bytes().chunks(8);
    digits.map(|digits| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()).collect()
}

/// Pages of all chunks with their checksums; they lie before `tail`.
fn read_groups(
    kind: ObjectKind,
    metadata: &ParquetMetaData,
    crcs: &[u32],
    tail: &Range<u64>,
) -> Result<Vec<Group>, Error> {
    let fail = |why: &str| corrupt(kind, tail.clone(), why);
    let offsets = metadata.offset_index().map_or(&[][..], |index| index);
    if offsets.len() != metadata.num_row_groups() {
        return Err(fail("row groups without an offset index"));
    }
    let mut crcs = crcs.iter().copied();
    let mut groups = Vec::with_capacity(offsets.len());
    let mut first_row = 0u64;
    for (group, indexes) in metadata.row_groups().iter().zip(offsets) {
        let n_rows = u64::try_from(group.num_rows()).map_err(|_| fail("a negative number of rows"))?;
        let rows = first_row..first_row.checked_add(n_rows).ok_or_else(|| fail("too many rows"))?;
        first_row = rows.end;
        let mut chunks = Vec::with_capacity(group.num_columns());
        for (column, index) in group.columns().iter().zip(indexes) {
            // `ColumnChunkMetaData::byte_range` panics on a negative offset.
            let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
            let start = u64::try_from(start).map_err(|_| fail("a negative offset"))?;
            let mut locations = Vec::with_capacity(index.page_locations().len());
            for page in index.page_locations() {
                let offset = u64::try_from(page.offset).ok();
                let length = u64::try_from(page.compressed_page_size).ok();
                let row = u64::try_from(page.first_row_index).ok();
                let (Some(offset), Some(length), Some(row)) = (offset, length, row) else {
                    return Err(fail("a page at a negative place"));
                };
                locations.push((offset, length, row));
            }
            let chunk = read_chunk(start, &locations, &rows, &mut crcs, tail.start);
            chunks.push(chunk.ok_or_else(|| fail("pages that do not follow one another"))?);
        }
        if chunks.len() != group.num_columns() {
            return Err(fail("columns without an offset index"));
        }
        groups.push(Group { rows, chunks });
    }
    if crcs.next().is_some() {
        return Err(fail("more checksums than pages"));
    }
    Ok(groups)
}

/// One chunk of `rows`; `None` unless its pages cover them back to back below `data_end`.
fn read_chunk(
    start: u64,
    locations: &[(u64, u64, u64)],
    rows: &Range<u64>,
    crcs: &mut impl Iterator<Item = u32>,
    data_end: u64,
) -> Option<Chunk> {
    let first = locations.first()?;
    let dictionary = match first.0.checked_sub(start)? {
        0 => None,
        _ => Some(Page { rows: rows.clone(), bytes: start..first.0, crc: crcs.next()? }),
    };
    let mut next = first.0;
    let mut pages: Vec<Page> = Vec::with_capacity(locations.len());
    for (number, (offset, length, row)) in locations.iter().enumerate() {
        let end = offset.checked_add(*length).filter(|end| *end <= data_end && *offset == next)?;
        let row = rows.start.checked_add(*row)?;
        let row_end = match locations.get(number + 1) {
            Some(following) => rows.start.checked_add(following.2)?,
            None => rows.end,
        };
        let begins_right = number > 0 || row == rows.start;
        if !begins_right || row >= row_end || row_end > rows.end || row_end - row > PAGE_ROWS_MAX {
            return None;
        }
        pages.push(Page { rows: row..row_end, bytes: *offset..end, crc: crcs.next()? });
        next = end;
    }
    Some(Chunk { dictionary, pages })
}
