//! The decoded series table of a file, or of some of its rows: compact in memory, matched without
//! building a key.
//!
//! Words: a *shape* is the list of label names that many series share; a series is a shape and one
//! value symbol per name.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{
    DataType, Field, Fields, Int8Type, Int32Type, Int64Type, Schema, UInt32Type, UInt64Type,
};
use arrow::record_batch::RecordBatch;
use parquet::DecodeResult;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelection};
use parquet::arrow::push_decoder::ParquetPushDecoderBuilder;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use promontory_model::labels::push_field;
use promontory_model::{Labels, METRIC_NAME, MatchOp, Matcher, TimeRange};

use super::footer::Footer;
use super::series_index::{LabelIndex, LabelIndexes};
use super::{BUCKET_MS, Fetched, corrupt};
use crate::codec::ObjectKind;
use crate::error::Error;
use crate::label_index::{Candidates, INDEXED_SERIES_MIN, INDEXED_SHARE, fewest};

/// Leaf columns that a query needs; the last two may be missing.
const LEAVES: [&str; 8] = [
    "labels.key_value.key",
    "labels.key_value.value",
    "row_offset",
    "row_count",
    "min_ts",
    "max_ts",
    "scale",
    "bucket_offsets.list.element",
];
const LEAVES_REQUIRED: usize = 6;

/// What matchers say of a value is remembered where so many times the series have more than its symbols:
/// a memory of a million symbols costs more than to look at ten series.
const REMEMBERED_SHARE: usize = 8;

/// Label indexes may take one byte beside so many of the table: room for those of four labels, where a
/// series has ten.
const INDEXES_ONE_IN: usize = 2;

/// Consecutive rows of the series table of a block, decoded.
#[derive(Debug, Default)]
pub struct SeriesTable {
    symbols: Symbols,
    /// Name symbols of each shape.
    shapes: Vec<Box<[u32]>>,
    series: Vec<Series>,
    /// Value symbols, series after series.
    values: Vec<u32>,
    scales: Option<Vec<u8>>,
    buckets: Option<Buckets>,
    indexes: LabelIndexes,
}

#[derive(Clone, Copy, Debug)]
struct Series {
    shape: u32,
    row_count: u32,
    /// Where its values begin in `SeriesTable::values`.
    values: u64,
    row_offset: u64,
    time_range: TimeRange,
}

/// Row offsets on a grid of two hours.
#[derive(Debug)]
struct Buckets {
    start: i64,
    count: usize,
    offsets: Vec<u32>,
}

/// Where the samples of a series lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesRow {
    /// Rows of the samples table.
    pub rows: Range<u64>,
    /// Time range of those rows.
    pub time_range: TimeRange,
    /// Scale of the decimal lane; 0 where there is none.
    pub scale: u8,
}

impl SeriesTable {
    /// The rows of `within` whose pages may hold a metric from `first_name` to `last_name`.
    ///
    /// `within` must lie in one tenant's rows; names then ascend.
    #[must_use]
    pub fn prune_by_metric(
        footer: &Footer,
        within: Range<u64>,
        first_name: &str,
        last_name: &str,
    ) -> Range<u64> {
        let Some(column) = footer.column(METRIC_NAME) else { return within };
        let Some(index) = footer.metadata.column_index() else { return within };
        let mut kept: Option<Range<u64>> = None;
        for (group, indexes) in footer.groups.iter().zip(index) {
            let pages = &group.chunks[column].pages;
            let bounds = match indexes.get(column) {
                Some(ColumnIndexMetaData::BYTE_ARRAY(bounds)) if bounds.num_pages() == pages.len() as u64 => {
                    bounds
                }
                _ => return within,
            };
            for (number, page) in pages.iter().enumerate() {
                let above = bounds.min_value(number).is_some_and(|min| last_name.as_bytes() < min);
                let below = bounds.max_value(number).is_some_and(|max| first_name.as_bytes() > max);
                let absent = bounds.is_null_page(number);
                let rows = page.rows.start.max(within.start)..page.rows.end.min(within.end);
                if !above && !below && !absent && rows.start < rows.end {
                    let start = kept.map_or(rows.start, |kept| kept.start);
                    kept = Some(start..rows.end);
                }
            }
        }
        kept.unwrap_or(within.start..within.start)
    }

    /// Byte ranges to fetch for [`Self::decode`], joined over gaps of at most `gap` bytes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a column is missing.
    pub fn plan(footer: &Footer, rows: &Range<u64>, gap: u64) -> Result<Vec<Range<u64>>, Error> {
        let mut bytes = Vec::new();
        let columns = columns(footer)?;
        for group in &footer.groups {
            for chunk in columns.iter().map(|column| &group.chunks[*column]) {
                let pages = &chunk.pages[chunk.covering(rows)];
                let dictionary = chunk.dictionary.iter().filter(|_| !pages.is_empty());
                bytes.extend(dictionary.chain(pages).map(|page| page.bytes.clone()));
            }
        }
        Ok(super::join_ranges(bytes, gap))
    }

    /// Verifies and decodes `rows`, whose bytes [`Self::plan`] names.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a checksum differs or the pages do not decode, [`Error::Bug`] if bytes
    /// were not fetched.
    pub fn decode(footer: &Footer, rows: Range<u64>, fetched: &Fetched) -> Result<Self, Error> {
        if footer.kind != ObjectKind::Series || rows.end > footer.rows() {
            return Err(Error::Bug(format!("rows {rows:?} of a series table of {}", footer.rows())));
        }
        let columns = columns(footer)?;
        let mut table = Self::default();
        if rows.start >= rows.end {
            return Ok(table);
        }
        verify(footer, &columns, &rows, fetched)?;
        let mut interner = Interner::default();
        for batch in read_batches(footer, &columns, &rows, fetched)? {
            table.append(footer, &batch, &mut interner)?;
        }
        if table.len() as u64 != rows.end - rows.start {
            let why = format!("{} series in rows {rows:?}", table.len());
            return Err(corrupt(footer.kind, footer.whole(), why));
        }
        table.symbols.shrink();
        Ok(table)
    }

    /// Number of series, which is the number of rows that were read.
    #[must_use]
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// True if no rows were read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Where the samples of the series number `series_idx` of this table lie.
    #[must_use]
    pub fn row(&self, series_idx: usize) -> SeriesRow {
        let series = &self.series[series_idx];
        let rows = series.row_offset..series.row_offset + u64::from(series.row_count);
        let scale = self.scales.as_ref().map_or(0, |scales| scales[series_idx]);
        SeriesRow { rows, time_range: series.time_range, scale }
    }

    /// As [`Self::row`] with only the rows that may lie in `range`.
    #[must_use]
    pub fn row_within(&self, series_idx: usize, range: TimeRange) -> SeriesRow {
        let mut row = self.row(series_idx);
        if !row.time_range.overlaps(range) {
            row.rows.end = row.rows.start;
        } else if let Some(buckets) = &self.buckets {
            row.rows = buckets.narrow(series_idx, row.rows, range);
        }
        row
    }

    /// The label set of the series number `series_idx` of this table.
    #[must_use]
    pub fn key(&self, series_idx: usize) -> Labels {
        self.key_with(series_idx, &mut Vec::with_capacity(256))
    }

    /// As [`Self::key`], with `key` as scratch: for many series in turn.
    #[must_use]
    pub fn key_with(&self, series_idx: usize, key: &mut Vec<u8>) -> Labels {
        key.clear();
        let (names, values) = self.pairs(series_idx);
        let named = self.is_named(names);
        push_field(key, if named { self.symbols.get(values[0]).as_bytes() } else { b"" });
        for (name, value) in names.iter().zip(values).skip(usize::from(named)) {
            push_field(key, self.symbols.get(*name).as_bytes());
            push_field(key, self.symbols.get(*value).as_bytes());
        }
        Labels::from_key_unchecked(&key[..])
    }

    /// The series that pass all matchers and may have a sample in `range`, ascending.
    #[must_use]
    pub fn find(&self, matchers: &[Matcher], range: TimeRange) -> Vec<usize> {
        let by_name = self.candidates(matchers);
        match self.indexed(matchers, &by_name) {
            Some(series) => self.pass(series.into_iter().map(|series| series as usize), matchers, range),
            None => self.pass(by_name, matchers, range),
        }
    }

    /// Those of the series that pass all matchers and may have a sample in `range`.
    fn pass(
        &self,
        series: impl ExactSizeIterator<Item = usize>,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Vec<usize> {
        let remember = series.len() >= self.symbols.len() / REMEMBERED_SHARE;
        let mut filters: Vec<Filter<'_>> =
            matchers.iter().map(|matcher| Filter::new(matcher, self, remember)).collect();
        series
            .filter(|series_idx| self.series[*series_idx].time_range.overlaps(range))
            .filter(|series_idx| {
                let series = &self.series[*series_idx];
                filters.iter_mut().all(|filter| filter.passes(self, series))
            })
            .collect()
    }

    /// The series of `within` that one of the matchers leaves over, if an index says it and they are few.
    pub(super) fn indexed(&self, matchers: &[Matcher], within: &Range<usize>) -> Option<Vec<u32>> {
        if within.len() < INDEXED_SERIES_MIN {
            return None;
        }
        let range = u32::try_from(within.start).ok()?..u32::try_from(within.end).ok()?;
        let text = |symbol| self.symbols.get(symbol);
        // An index is over all series, which a small metric alone is not worth.
        let worth_making = within.len() * INDEXED_SHARE >= self.len();
        let (bytes, bytes_max) = (LabelIndex::memory_size_max(self.len()), self.indexes_bytes_max());
        fewest(matchers, |matcher, make| {
            let Some(label) = Label::new(matcher.name(), self) else { return Candidates::Few(Vec::new()) };
            let symbol_of = |idx: u32| label.symbol(self, &self.series[idx as usize]);
            let index = if make && worth_making {
                let new = || LabelIndex::new(self.len() as u32, symbol_of, text);
                self.indexes.get_or_make(label.name, bytes, bytes_max, new)
            } else {
                self.indexes.get(label.name)
            };
            index.map_or(Candidates::NoIndex, |index| {
                index.series_of(matcher, text, &range, within.len() / INDEXED_SHARE)
            })
        })
    }

    fn indexes_bytes_max(&self) -> usize {
        self.table_bytes() / INDEXES_ONE_IN
    }

    /// Approximate bytes in memory, with the room for label indexes.
    #[must_use]
    pub fn memory_size(&self) -> usize {
        self.table_bytes() + self.indexes_bytes_max()
    }

    fn table_bytes(&self) -> usize {
        let shapes: usize = self.shapes.iter().map(|shape| shape.len() * 4 + 16).sum();
        let buckets = self.buckets.as_ref().map_or(0, |buckets| buckets.offsets.len() * 4);
        size_of::<Self>()
            + self.symbols.memory_size()
            + shapes
            + self.series.len() * size_of::<Series>()
            + self.values.len() * 4
            + self.scales.as_ref().map_or(0, Vec::len)
            + buckets
    }

    /// The range of series whose metric name an equality matcher allows.
    fn candidates(&self, matchers: &[Matcher]) -> Range<usize> {
        let by_name = |matcher: &&Matcher| matcher.name() == METRIC_NAME && matcher.op() == MatchOp::Equal;
        let Some(name) = matchers.iter().find(by_name).map(Matcher::value) else { return 0..self.len() };
        let first = self.series.partition_point(|series| self.metric_name(series) < name);
        let count = self.series[first..].partition_point(|series| self.metric_name(series) == name);
        first..first + count
    }

    fn metric_name(&self, series: &Series) -> &str {
        match self.is_named(&self.shapes[series.shape as usize]) {
            true => self.symbols.get(self.values[series.values as usize]),
            false => "",
        }
    }

    fn is_named(&self, names: &[u32]) -> bool {
        names.first().is_some_and(|name| self.symbols.get(*name) == METRIC_NAME)
    }

    fn pairs(&self, series_idx: usize) -> (&[u32], &[u32]) {
        let series = &self.series[series_idx];
        let names = &*self.shapes[series.shape as usize];
        let first = series.values as usize;
        (names, &self.values[first..first + names.len()])
    }

    fn append(&mut self, footer: &Footer, batch: &RecordBatch, interner: &mut Interner) -> Result<(), Error> {
        let fail = |why: &str| corrupt(footer.kind, footer.whole(), why.to_owned());
        let column = |name: &str| batch.column_by_name(name);
        let required = |name: &str| {
            column(name).filter(|array| array.null_count() == 0).ok_or_else(|| fail("a column with nulls"))
        };
        let labels = required("labels")?.as_map_opt().ok_or_else(|| fail("labels that are no map"))?;
        let names = interner.encode(labels.keys(), &mut self.symbols).ok_or_else(|| fail("label names"))?;
        let values =
            interner.encode(labels.values(), &mut self.symbols).ok_or_else(|| fail("label values"))?;
        let typed = || -> Option<_> {
            Some((
                column("row_offset")?.as_primitive_opt::<UInt64Type>()?,
                column("row_count")?.as_primitive_opt::<UInt32Type>()?,
                column("min_ts")?.as_primitive_opt::<Int64Type>()?,
                column("max_ts")?.as_primitive_opt::<Int64Type>()?,
            ))
        };
        let (row_offset, row_count, min_ts, max_ts) =
            typed().ok_or_else(|| fail("a column of another type"))?;
        for row in 0..batch.num_rows() {
            let entries = labels.offsets()[row] as usize..labels.offsets()[row + 1] as usize;
            let first_value = self.values.len() as u64;
            self.values.extend_from_slice(&values[entries.clone()]);
            let row_offset = row_offset.value(row);
            if row_offset.checked_add(u64::from(row_count.value(row))).is_none() {
                return Err(fail("a series whose rows lie outside every file"));
            }
            self.series.push(Series {
                shape: interner.shape(&names[entries], &mut self.shapes),
                row_count: row_count.value(row),
                values: first_value,
                row_offset,
                time_range: TimeRange::new(min_ts.value(row), max_ts.value(row)),
            });
        }
        self.append_scales(column("scale"), batch.num_rows());
        self.append_buckets(footer, column("bucket_offsets")).ok_or_else(|| fail("bucket offsets"))
    }

    fn append_scales(&mut self, column: Option<&ArrayRef>, n_rows: usize) {
        let scales = column.and_then(|column| column.as_primitive_opt::<Int8Type>());
        if let Some(scales) = scales.filter(|scales| scales.null_count() < scales.len()) {
            let before = self.series.len() - n_rows;
            let all = self.scales.get_or_insert_default();
            all.resize(before, 0);
            all.extend(scales.iter().map(|scale| scale.unwrap_or(0).max(0) as u8));
        } else if let Some(scales) = &mut self.scales {
            scales.resize(self.series.len(), 0);
        }
    }

    /// `None` if lists are of uneven length; a file where any list is null has no buckets.
    fn append_buckets(&mut self, footer: &Footer, column: Option<&ArrayRef>) -> Option<()> {
        let (Some(column), Some(start)) = (column, footer.bucket_start) else { return Some(()) };
        let lists = column.as_list_opt::<i32>()?;
        if lists.null_count() > 0 || lists.is_empty() {
            return Some(());
        }
        let count = lists.value_length(0) as usize;
        let buckets =
            self.buckets.get_or_insert_with(|| Buckets { start, count, offsets: Vec::with_capacity(0) });
        let even = lists.offsets().windows(2).all(|ends| (ends[1] - ends[0]) as usize == buckets.count);
        let items = lists.values().as_primitive_opt::<UInt32Type>()?;
        let (first, last) = (*lists.offsets().first()? as usize, *lists.offsets().last()? as usize);
        buckets.offsets.extend_from_slice(&items.values()[first..last]);
        (even && buckets.offsets.len() == self.series.len() * buckets.count).then_some(())
    }
}

impl Buckets {
    /// Rows of the buckets that meet `range`.
    fn narrow(&self, series_idx: usize, rows: Range<u64>, range: TimeRange) -> Range<u64> {
        let offsets = &self.offsets[series_idx * self.count..(series_idx + 1) * self.count];
        let bucket = |ts: i64| ts.saturating_sub(self.start).div_euclid(BUCKET_MS);
        let first = usize::try_from(bucket(range.start)).ok().and_then(|bucket| offsets.get(bucket));
        let after = usize::try_from(bucket(range.end) + 1).ok().and_then(|bucket| offsets.get(bucket));
        let start = first.map_or(rows.start, |offset| rows.start + u64::from(*offset));
        let end = after.map_or(rows.end, |offset| rows.start + u64::from(*offset));
        start.min(rows.end)..end.clamp(start.min(rows.end), rows.end)
    }
}

/// Label names and values, numbered; text back to back.
#[derive(Debug, Default)]
struct Symbols {
    text: String,
    ends: Vec<u32>,
}

impl Symbols {
    fn get(&self, symbol: u32) -> &str {
        let end = self.ends[symbol as usize] as usize;
        let start = symbol.checked_sub(1).map_or(0, |before| self.ends[before as usize] as usize);
        &self.text[start..end]
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    /// Adds a symbol; `None` if text exceeds 4 GiB.
    fn push(&mut self, text: &str) -> Option<u32> {
        let end = u32::try_from(self.text.len() + text.len()).ok()?;
        self.text.push_str(text);
        self.ends.push(end);
        Some((self.ends.len() - 1) as u32)
    }

    fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    fn memory_size(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * 4
    }
}

/// Finds symbols and shapes again while a table is decoded.
#[derive(Default)]
struct Interner {
    symbols: HashMap<Box<str>, u32>,
    shapes: HashMap<Box<[u32]>, u32>,
    last_shape: u32,
}

impl Interner {
    /// The symbol of every row of a column of strings without nulls.
    fn encode(&mut self, column: &ArrayRef, symbols: &mut Symbols) -> Option<Vec<u32>> {
        if column.null_count() > 0 {
            return None;
        }
        if let Some(dictionary) = column.as_dictionary_opt::<Int32Type>() {
            let texts = dictionary.values().as_string_opt::<i32>()?;
            let mut known: Vec<Option<u32>> = vec![None; texts.len()];
            let numbers = dictionary.keys().values().iter().map(|number| {
                let number = *number as usize;
                if known[number].is_none() {
                    known[number] = Some(self.symbol(texts.value(number), symbols)?);
                }
                known[number]
            });
            return numbers.collect();
        }
        let texts: &StringArray = column.as_string_opt::<i32>()?;
        texts.iter().flatten().map(|text| self.symbol(text, symbols)).collect()
    }

    fn symbol(&mut self, text: &str, symbols: &mut Symbols) -> Option<u32> {
        if let Some(symbol) = self.symbols.get(text) {
            return Some(*symbol);
        }
        let symbol = symbols.push(text)?;
        self.symbols.insert(text.into(), symbol);
        Some(symbol)
    }

    fn shape(&mut self, names: &[u32], shapes: &mut Vec<Box<[u32]>>) -> u32 {
        if shapes.get(self.last_shape as usize).is_some_and(|shape| **shape == *names) {
            return self.last_shape;
        }
        self.last_shape = match self.shapes.get(names) {
            Some(shape) => *shape,
            None => {
                shapes.push(names.into());
                let shape = (shapes.len() - 1) as u32;
                self.shapes.insert(names.into(), shape);
                shape
            }
        };
        self.last_shape
    }
}

struct Label {
    name: u32,
    /// For each shape the place of the label; `None` where the label is absent.
    places: Vec<Option<u32>>,
}

impl Label {
    /// `None` if no series has it.
    fn new(name: &str, table: &SeriesTable) -> Option<Self> {
        let mut symbol = None;
        let mut place = |names: &[u32]| {
            let place = names.iter().position(|symbol| table.symbols.get(*symbol) == name)?;
            symbol = Some(names[place]);
            Some(place as u32)
        };
        let places = table.shapes.iter().map(|names| place(names)).collect();
        Some(Self { name: symbol?, places })
    }

    fn symbol(&self, table: &SeriesTable, series: &Series) -> Option<u32> {
        let place = self.places[series.shape as usize]?;
        Some(table.values[series.values as usize + place as usize])
    }
}

/// One matcher with what it found out so far.
struct Filter<'a> {
    matcher: &'a Matcher,
    label: Option<Label>,
    passes_absent: bool,
    /// For each symbol: not yet known, passes, fails; empty where nothing is remembered.
    known: Vec<Option<bool>>,
}

impl<'a> Filter<'a> {
    /// With `remember`, each distinct value is looked at once.
    fn new(matcher: &'a Matcher, table: &SeriesTable, remember: bool) -> Self {
        Self {
            matcher,
            label: Label::new(matcher.name(), table),
            passes_absent: matcher.matches_empty(),
            known: if remember { vec![None; table.symbols.len()] } else { Vec::new() },
        }
    }

    fn passes(&mut self, table: &SeriesTable, series: &Series) -> bool {
        let Some(symbol) = self.label.as_ref().and_then(|label| label.symbol(table, series)) else {
            return self.passes_absent;
        };
        let passes = || self.matcher.matches(table.symbols.get(symbol));
        match self.known.get_mut(symbol as usize) {
            Some(known) => *known.get_or_insert_with(passes),
            None => passes(),
        }
    }
}

/// The leaf columns that a query needs, in order of the file.
fn columns(footer: &Footer) -> Result<Vec<usize>, Error> {
    let mut columns = Vec::with_capacity(LEAVES.len());
    for (number, path) in LEAVES.iter().enumerate() {
        match footer.column(path) {
            Some(column) => columns.push(column),
            None if number < LEAVES_REQUIRED => {
                return Err(corrupt(footer.kind, footer.whole(), format!("no column {path}")));
            }
            None => {}
        }
    }
    Ok(columns)
}

/// Verifies every page that [`read_batches`] will touch.
fn verify(footer: &Footer, columns: &[usize], rows: &Range<u64>, fetched: &Fetched) -> Result<(), Error> {
    for group in &footer.groups {
        for chunk in columns.iter().map(|column| &group.chunks[*column]) {
            let pages = &chunk.pages[chunk.covering(rows)];
            let dictionary = chunk.dictionary.iter().filter(|_| !pages.is_empty());
            for page in dictionary.chain(pages) {
                footer.page(page, fetched)?;
            }
        }
    }
    Ok(())
}

fn read_batches(
    footer: &Footer,
    columns: &[usize],
    rows: &Range<u64>,
    fetched: &Fetched,
) -> Result<Vec<RecordBatch>, Error> {
    let fail = |error: parquet::errors::ParquetError| corrupt(footer.kind, footer.whole(), error.to_string());
    let inside = |group: &&(usize, Range<u64>)| group.1.start < rows.end && rows.start < group.1.end;
    let groups: Vec<(usize, Range<u64>)> =
        footer.groups.iter().enumerate().map(|(idx, group)| (idx, group.rows.clone())).collect();
    let groups: Vec<&(usize, Range<u64>)> = groups.iter().filter(inside).collect();
    let (Some(first), Some(last)) = (groups.first(), groups.last()) else { return Ok(Vec::new()) };
    let selected = (rows.start - first.1.start) as usize..(rows.end - first.1.start) as usize;
    let selection = RowSelection::from_consecutive_ranges(
        std::iter::once(selected),
        (last.1.end - first.1.start) as usize,
    );
    let mut decoder = ParquetPushDecoderBuilder::new_with_metadata(reader_metadata(footer)?)
        .with_projection(ProjectionMask::leaves(
            footer.metadata.file_metadata().schema_descr(),
            columns.iter().copied(),
        ))
        .with_row_groups(groups.iter().map(|(idx, _)| *idx).collect())
        .with_row_selection(selection)
        .with_batch_size((rows.end - rows.start) as usize)
        .build()
        .map_err(fail)?;
    let mut batches = Vec::new();
    loop {
        match decoder.try_decode().map_err(fail)? {
            DecodeResult::Data(batch) => batches.push(batch),
            DecodeResult::Finished => return Ok(batches),
            DecodeResult::NeedsData(ranges) => {
                let bytes: Option<Vec<_>> = ranges.iter().map(|range| fetched.get(range)).collect();
                let bytes = bytes.ok_or_else(|| Error::Bug(format!("bytes {ranges:?} were not planned")))?;
                decoder.push_ranges(ranges, bytes).map_err(fail)?;
            }
        }
    }
}

/// Asks for label names and values as the dictionaries that the file holds.
fn reader_metadata(footer: &Footer) -> Result<ArrowReaderMetadata, Error> {
    let fail = |error: parquet::errors::ParquetError| corrupt(footer.kind, footer.whole(), error.to_string());
    let options = || ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let plain = ArrowReaderMetadata::try_new(footer.metadata.clone(), options()).map_err(fail)?;
    let fields: Fields = plain.schema().fields().iter().map(with_dictionaries).collect();
    let schema = Arc::new(Schema::new(fields));
    ArrowReaderMetadata::try_new(footer.metadata.clone(), options().with_schema(schema)).map_err(fail)
}

fn with_dictionaries(field: &Arc<Field>) -> Arc<Field> {
    let DataType::Map(entries, sorted) = field.data_type() else { return field.clone() };
    let DataType::Struct(pair) = entries.data_type() else { return field.clone() };
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let pair: Fields = pair
        .iter()
        .map(|field| Arc::new(field.as_ref().clone().with_data_type(dictionary.clone())))
        .collect();
    let entries = entries.as_ref().clone().with_data_type(DataType::Struct(pair));
    let map = DataType::Map(Arc::new(entries), *sorted);
    Arc::new(field.as_ref().clone().with_data_type(map))
}
