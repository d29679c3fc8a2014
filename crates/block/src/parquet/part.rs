//! The rows of single tenants, out of some or all rows of a block's files.

use std::ops::Range;

use bytes::Bytes;
use promontory_model::samples::FloatsView;

use super::corrupt;
use super::footer::Footer;
use super::samples::SamplesTable;
use super::series_table::SeriesTable;
use crate::codec::{BlockMeta, ObjectKind, OpenBlock, TenantSpan, verify_run};
use crate::error::Error;
use crate::fetched::{Fetched, MERGE_GAP_BYTES};
use crate::run::SeriesRun;

/// Consecutive series of a block and their samples, decoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    footer: &'a Footer,
    table: &'a SeriesTable,
    /// The row of the table's first series in its file.
    first_series: u64,
    floats: FloatsView<'a>,
    /// The row of the first sample in its file.
    first_row: u64,
}

impl<'a> Part<'a> {
    pub(super) fn new(
        footer: &'a Footer,
        table: &'a SeriesTable,
        first_series: u64,
        floats: FloatsView<'a>,
        first_row: u64,
    ) -> Self {
        Self { footer, table, first_series, floats, first_row }
    }

    /// The rows of one tenant, which are in the part.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the samples of its series do not follow each other.
    pub(super) fn run(&self, span: &TenantSpan) -> Result<SeriesRun, Error> {
        let (mut run, mut next, mut scratch) = (SeriesRun::default(), span.rows.start, Vec::new());
        for row in span.series.clone() {
            let fail = || {
                let why = format!("row {row} does not follow the one before");
                corrupt(ObjectKind::Series, self.footer.whole(), why)
            };
            let series = self.place(row, self.first_series, self.table.len()).ok_or_else(fail)?;
            let rows = self.table.row(series).rows;
            let from = self.place(rows.start, self.first_row, self.floats.len()).ok_or_else(fail)?;
            let to = self.place(rows.end, self.first_row, self.floats.len() + 1).ok_or_else(fail)?;
            if rows.start != next || from > to {
                return Err(fail());
            }
            next = rows.end;
            run.push(self.table.key_with(series, &mut scratch), self.floats.part(from..to).into());
        }
        Ok(run)
    }

    /// Where a row of a file lies among `n` rows from `first` on.
    fn place(&self, row: u64, first: u64, n: usize) -> Option<usize> {
        row.checked_sub(first).and_then(|place| usize::try_from(place).ok()).filter(|place| *place < n)
    }
}

/// The two files of a block, seen through their footers.
#[derive(Debug)]
pub(super) struct OpenFiles {
    series: Footer,
    samples: Footer,
}

impl OpenFiles {
    pub(super) fn new(meta: &BlockMeta, tails: &[Bytes]) -> Result<Self, Error> {
        let footer = |kind: ObjectKind| {
            let found = meta.objects.iter().zip(tails).find(|(object, _)| object.kind == kind);
            let (object, tail) = found.ok_or_else(|| corrupt(kind, 0..0, "the block lacks the object"))?;
            Footer::read(object, tail.clone())
        };
        Ok(Self { series: footer(ObjectKind::Series)?, samples: footer(ObjectKind::Samples)? })
    }
}

impl OpenBlock for OpenFiles {
    fn plan(&self, span: &TenantSpan) -> Result<Vec<Vec<Range<u64>>>, Error> {
        let series = SeriesTable::plan(&self.series, &span.series, MERGE_GAP_BYTES)?;
        let samples = SamplesTable::new(&self.samples)?;
        Ok(vec![series, samples.plan(std::slice::from_ref(&span.rows), MERGE_GAP_BYTES)])
    }

    fn decode(&self, span: &TenantSpan, fetched: &[Fetched]) -> Result<SeriesRun, Error> {
        let [series, samples] = fetched else {
            return Err(Error::Bug(format!("{} objects of a block of two", fetched.len())));
        };
        let table = SeriesTable::decode(&self.series, span.series.clone(), series)?;
        let floats = SamplesTable::new(&self.samples)?.decode_rows(&span.rows, samples, &table)?;
        let part = Part::new(&self.series, &table, span.series.start, floats.view(), span.rows.start);
        let run = part.run(span)?;
        verify_run(span, &run).map_err(|why| corrupt(ObjectKind::Series, self.series.whole(), why))?;
        Ok(run)
    }
}
