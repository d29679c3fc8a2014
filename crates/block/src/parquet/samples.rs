//! Selective reading of the samples table, page by page.
//!
//! A page is the unit of fetching, verifying, decoding and caching. The decoder works on the pages
//! themselves: a run of pages of one column is one call, without row selections or Arrow arrays.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;
use promontory_model::samples::{Floats, FloatsView};

use super::footer::{Footer, Page};
use super::series_table::SeriesTable;
use super::{Fetched, corrupt};
use crate::codec::ObjectKind;
use crate::error::Error;

/// The samples table of one block, seen through its footer.
#[derive(Clone, Debug)]
pub struct SamplesTable<'a> {
    footer: &'a Footer,
    ts: usize,
    value: usize,
    /// The decimal column, if the file has one.
    decimals: Option<usize>,
}

/// The decoded rows of one page.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplePage {
    /// The rows of the file that the page holds.
    pub rows: Range<u64>,
    /// Their samples, where the decimal column has none.
    pub floats: Floats,
    /// The decimal column of a file that has one: `None` for rows whose value is in `floats`.
    pub decimals: Option<Vec<Option<i64>>>,
}

impl SamplePage {
    /// Approximate memory in bytes.
    #[must_use]
    pub fn memory_size(&self) -> usize {
        let decimals = self.decimals.as_ref().map_or(0, |decimals| decimals.len() * 16);
        size_of::<Self>() + self.floats.column_bytes() + decimals
    }

    /// Those of `rows` that the page holds; `None` where the decimal column must be resolved first.
    #[must_use]
    pub fn part(&self, rows: &Range<u64>) -> Option<FloatsView<'_>> {
        self.decimals.is_none().then(|| self.floats.view().part(self.places_of(rows)))
    }

    /// Appends those of `rows` that the page holds; `scale` is the series' decimal scale.
    pub fn append_rows(&self, rows: &Range<u64>, scale: u8, out: &mut Floats) {
        let here = self.places_of(rows);
        let floats = self.floats.view().part(here.clone());
        let Some(decimals) = &self.decimals else { return out.extend(floats) };
        for ((ts, value), decimal) in floats.iter().zip(&decimals[here]) {
            out.push(ts, decimal.map_or(value, |decimal| from_decimal(decimal, scale)));
        }
    }

    /// Where those of `rows` that the page holds lie in it.
    fn places_of(&self, rows: &Range<u64>) -> Range<usize> {
        let (from, to) = (rows.start.max(self.rows.start), rows.end.min(self.rows.end));
        (from - self.rows.start) as usize..(to.max(from) - self.rows.start) as usize
    }
}

impl<'a> SamplesTable<'a> {
    /// Finds the columns.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a column is missing or of another type, or pages are not aligned.
    pub fn new(footer: &'a Footer) -> Result<Self, Error> {
        use parquet::basic::Type;
        let missing =
            |name: &str| corrupt(footer.kind, footer.whole(), format!("no column {name} of the right type"));
        if footer.kind != ObjectKind::Samples {
            return Err(Error::Bug("not the footer of a samples table".into()));
        }
        let column = |name: &str, physical: Type| {
            let column = footer.column(name)?;
            let descriptor = footer.column_descriptor(column);
            let fits = descriptor.physical_type() == physical && descriptor.max_rep_level() == 0;
            fits.then_some(column)
        };
        let ts = column("ts", Type::INT64).ok_or_else(|| missing("ts"))?;
        let value = column("value", Type::DOUBLE).ok_or_else(|| missing("value"))?;
        let decimals = match footer.column("vi") {
            None => None,
            Some(_) => Some(column("vi", Type::INT64).ok_or_else(|| missing("vi"))?),
        };
        let table = Self { footer, ts, value, decimals };
        table.check_alignment()?;
        Ok(table)
    }

    /// The rows of each page, in order; together they are all rows.
    pub fn pages(&self) -> impl Iterator<Item = Range<u64>> {
        self.footer.groups.iter().flat_map(|group| &group.chunks[self.ts].pages).map(|page| page.rows.clone())
    }

    /// Numbers of the pages that hold any of `rows`, ascending and without repetition.
    #[must_use]
    pub fn pages_of(&self, rows: &[Range<u64>]) -> Vec<usize> {
        let mut numbers = Vec::new();
        for rows in rows.iter().filter(|rows| rows.start < rows.end) {
            let mut before = 0;
            for group in &self.footer.groups {
                let pages = group.chunks[self.ts].covering(rows);
                numbers.extend(pages.map(|page| before + page));
                before += group.chunks[self.ts].pages.len();
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// The byte ranges of pages, not joined.
    #[must_use]
    pub fn page_bytes(&self, pages: &[usize]) -> Vec<Range<u64>> {
        let mut bytes = Vec::with_capacity(pages.len() * 2);
        self.for_each_run(pages, |group, run| {
            for column in self.columns() {
                let pages = &self.footer.groups[group].chunks[column].pages[run.clone()];
                bytes.extend(pages.iter().map(|page| page.bytes.clone()));
            }
            Ok::<(), ()>(())
        })
        .unwrap_or_default();
        bytes
    }

    /// The byte ranges to fetch for some rows, joined over gaps of at most `gap` bytes.
    #[must_use]
    pub fn plan(&self, rows: &[Range<u64>], gap: u64) -> Vec<Range<u64>> {
        super::join_ranges(self.page_bytes(&self.pages_of(rows)), gap)
    }

    /// Verifies and decodes pages, given by ascending numbers.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a checksum differs or a page does not decode, [`Error::Bug`] if its
    /// bytes were not fetched.
    pub fn decode_pages(&self, pages: &[usize], fetched: &Fetched) -> Result<Vec<SamplePage>, Error> {
        let mut decoded = Vec::with_capacity(pages.len());
        self.for_each_run(pages, |group, run| self.decode_run(group, run, fetched, &mut decoded))?;
        Ok(decoded)
    }

    /// The samples of some rows, one range after the other.
    ///
    /// # Errors
    /// As [`Self::decode_pages`]; [`Error::Bug`] if the file has a decimal column, whose scale only the
    /// series table knows.
    pub fn decode(&self, rows: &[Range<u64>], fetched: &Fetched) -> Result<Floats, Error> {
        if self.decimals.is_some() {
            return Err(Error::Bug("rows of a decimal column need the scale of their series".into()));
        }
        let pages = self.decode_pages(&self.pages_of(rows), fetched)?;
        let mut floats = Floats::default();
        for rows in rows {
            let first = pages.partition_point(|page| page.rows.end <= rows.start);
            for page in pages[first..].iter().take_while(|page| page.rows.start < rows.end) {
                page.append_rows(rows, 0, &mut floats);
            }
        }
        Ok(floats)
    }

    /// Consecutive rows, with the decimal column resolved; `series` are those to which they belong.
    pub(super) fn decode_rows(
        &self,
        rows: &Range<u64>,
        fetched: &Fetched,
        series: &SeriesTable,
    ) -> Result<Floats, Error> {
        let mut floats = Floats::default();
        let mut next_series = 0;
        for page in self.pages_of(std::slice::from_ref(rows)) {
            for page in self.decode_pages(&[page], fetched)? {
                if page.decimals.is_none() {
                    page.append_rows(rows, 0, &mut floats);
                    continue;
                }
                while next_series < series.len() {
                    let row = series.row(next_series);
                    page.append_rows(&row.rows, row.scale, &mut floats);
                    if row.rows.end > page.rows.end {
                        break;
                    }
                    next_series += 1;
                }
            }
        }
        let n_rows = rows.end - rows.start;
        if floats.len() as u64 != n_rows {
            return Err(corrupt(
                self.footer.kind,
                self.footer.whole(),
                format!("{} rows, expected {n_rows}", floats.len()),
            ));
        }
        Ok(floats)
    }

    fn columns(&self) -> impl Iterator<Item = usize> + use<> {
        [Some(self.ts), Some(self.value), self.decimals].into_iter().flatten()
    }

    fn check_alignment(&self) -> Result<(), Error> {
        for group in &self.footer.groups {
            let ts = &group.chunks[self.ts];
            for column in self.columns() {
                let chunk = &group.chunks[column];
                let same =
                    chunk.pages.iter().map(|page| &page.rows).eq(ts.pages.iter().map(|page| &page.rows));
                if !same || chunk.dictionary.is_some() {
                    let at = chunk.pages.first().map_or(self.footer.whole(), |page| page.bytes.clone());
                    return Err(corrupt(self.footer.kind, at, "pages of samples that are not aligned"));
                }
            }
        }
        Ok(())
    }

    /// Calls `act` with a row group and a run of consecutive pages within it.
    fn for_each_run<E>(
        &self,
        pages: &[usize],
        mut act: impl FnMut(usize, Range<usize>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = pages;
        let mut before = 0;
        for (group_idx, group) in self.footer.groups.iter().enumerate() {
            let n_pages = group.chunks[self.ts].pages.len();
            while let Some(first) = rest.first().map(|page| page - before).filter(|page| *page < n_pages) {
                let length = rest
                    .iter()
                    .enumerate()
                    .take_while(|(i, page)| **page - before == first + i && first + i < n_pages)
                    .count();
                act(group_idx, first..first + length)?;
                rest = &rest[length..];
            }
            before += n_pages;
        }
        Ok(())
    }

    fn decode_run(
        &self,
        group: usize,
        run: Range<usize>,
        fetched: &Fetched,
        out: &mut Vec<SamplePage>,
    ) -> Result<(), Error> {
        let ts = self.decode_column::<Int64Type>(group, self.ts, run.clone(), fetched)?;
        let values = self.decode_column::<DoubleType>(group, self.value, run.clone(), fetched)?;
        let mut decimals = match self.decimals {
            None => None,
            Some(column) => {
                Some(self.decode_column::<Int64Type>(group, column, run.clone(), fetched)?.into_iter())
            }
        };
        let pages = &self.footer.groups[group].chunks[self.ts].pages[run];
        for ((page, ts), values) in pages.iter().zip(ts).zip(values) {
            let decimals = decimals.as_mut().and_then(Iterator::next).map(ColumnPage::into_options);
            let without = match (&decimals, &values.present) {
                (_, None) => false,
                (None, Some(_)) => true,
                (Some(vi), Some(present)) => vi.iter().zip(present).any(|(vi, set)| vi.is_none() && !set),
            };
            if without {
                return Err(corrupt(self.footer.kind, page.bytes.clone(), "a row without a value"));
            }
            let floats = Floats::new(ts.values, values.into_rows());
            out.push(SamplePage { rows: page.rows.clone(), floats, decimals });
        }
        Ok(())
    }

    /// The values of a run of pages of one column, page by page.
    fn decode_column<T: DataType>(
        &self,
        group: usize,
        column: usize,
        run: Range<usize>,
        fetched: &Fetched,
    ) -> Result<Vec<ColumnPage<T::T>>, Error> {
        let pages = &self.footer.groups[group].chunks[column].pages[run];
        let (Some(first), Some(last)) = (pages.first(), pages.last()) else { return Ok(Vec::new()) };
        let at = first.bytes.start;
        let fail = |error: ParquetError| corrupt(self.footer.kind, at..last.bytes.end, error.to_string());
        let chunk = self.footer.metadata.row_group(group).column(column).clone();
        // To the page reader the run is the whole chunk.
        let chunk = chunk
            .into_builder()
            .set_dictionary_page_offset(None)
            .set_data_page_offset(at as i64)
            .set_total_compressed_size((last.bytes.end - at) as i64)
            .build()
            .map_err(fail)?;
        let bytes = Arc::new(RunBytes { start: at, bytes: self.run_bytes(pages, fetched)? });
        let n_rows = (last.rows.end - first.rows.start) as usize;
        let reader = SerializedPageReader::new(bytes, &chunk, n_rows, None).map_err(fail)?;
        let descriptor = self.footer.column_descriptor(column);
        let optional = descriptor.max_def_level() > 0;
        let mut reader = ColumnReaderImpl::<T>::new(descriptor, Box::new(reader));
        let mut decoded = Vec::with_capacity(pages.len());
        let mut levels: Vec<i16> = Vec::new();
        for page in pages {
            let n_rows = (page.rows.end - page.rows.start) as usize;
            let mut values = Vec::with_capacity(n_rows);
            levels.clear();
            let mut n_read = 0;
            while n_read < n_rows {
                let (records, _, _) = reader
                    .read_records(n_rows - n_read, optional.then_some(&mut levels), None, &mut values)
                    .map_err(fail)?;
                if records == 0 {
                    let why = format!("{n_read} rows in a page of {n_rows}");
                    return Err(corrupt(self.footer.kind, page.bytes.clone(), why));
                }
                n_read += records;
            }
            let complete = values.len() == n_rows;
            let present = (!complete).then(|| levels.iter().map(|level| *level > 0).collect::<Vec<bool>>());
            let n_present = present.as_ref().map_or(n_rows, |rows| rows.iter().filter(|row| **row).count());
            if values.len() != n_present || present.as_ref().is_some_and(|rows| rows.len() != n_rows) {
                return Err(corrupt(
                    self.footer.kind,
                    page.bytes.clone(),
                    "levels and values that do not fit",
                ));
            }
            decoded.push(ColumnPage { values, present });
        }
        Ok(decoded)
    }

    /// The bytes of pages that lie back to back, each verified.
    fn run_bytes(&self, pages: &[Page], fetched: &Fetched) -> Result<Bytes, Error> {
        let (Some(first), Some(last)) = (pages.first(), pages.last()) else { return Ok(Bytes::new()) };
        let mut parts = Vec::with_capacity(pages.len());
        for page in pages {
            parts.push(self.footer.page(page, fetched)?);
        }
        let whole = fetched.get(&(first.bytes.start..last.bytes.end));
        Ok(whole.unwrap_or_else(|| parts.concat().into()))
    }
}

/// `vi / 10^scale`, which the encoder has checked to give the exact bits.
fn from_decimal(decimal: i64, scale: u8) -> f64 {
    /// Every power that is exact as a double.
    const POWERS: [f64; 23] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17,
        1e18, 1e19, 1e20, 1e21, 1e22,
    ];
    decimal as f64 / POWERS[usize::from(scale).min(POWERS.len() - 1)]
}

struct ColumnPage<T> {
    /// The values that are not null.
    values: Vec<T>,
    /// Which rows have one; `None` if all have.
    present: Option<Vec<bool>>,
}

impl<T: Copy + Default> ColumnPage<T> {
    /// Values at their rows, with the default where there is none.
    fn into_rows(self) -> Vec<T> {
        match self.present {
            None => self.values,
            Some(_) => self.into_options().into_iter().map(Option::unwrap_or_default).collect(),
        }
    }

    fn into_options(self) -> Vec<Option<T>> {
        let mut values = self.values.into_iter();
        match self.present {
            None => values.map(Some).collect(),
            Some(present) => present.into_iter().map(|set| if set { values.next() } else { None }).collect(),
        }
    }
}

/// A run of pages as a part of its file.
struct RunBytes {
    start: u64,
    bytes: Bytes,
}

impl Length for RunBytes {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for RunBytes {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let length = self.len().saturating_sub(start) as usize;
        Ok(self.get_bytes(start, length)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let from = start.checked_sub(self.start).map(|from| from as usize);
        let range = from.and_then(|from| Some(from..from.checked_add(length)?));
        match range.filter(|range| range.end <= self.bytes.len()) {
            Some(range) => Ok(self.bytes.slice(range)),
            None => Err(ParquetError::EOF(format!("{length} bytes at {start} are outside the pages"))),
        }
    }
}
