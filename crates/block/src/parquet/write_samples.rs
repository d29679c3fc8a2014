//! The samples table: `sid`, `ts`, `value`, one row per sample.
//!
//! The decimal column `vi` is reserved: the writer leaves the column out, which costs outside readers
//! nothing, and [`super::SamplesTable`] reads files with and without it.

use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use parquet::basic::Encoding;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::EnabledStatistics;
use parquet::schema::types::ColumnPath;
use promontory_model::samples::Floats;

use super::write::{File, TableWriter, properties};
use super::{SAMPLES_GROUP_ROWS, SAMPLES_PAGE_ROWS};
use crate::codec::{Level, TenantRows};
use crate::error::Error;

/// Rows handed to the column writers at once: whole pages, little memory.
const BATCH_ROWS: usize = 10 * SAMPLES_PAGE_ROWS;

pub(super) fn encode(level: Level, tenants: &[TenantRows]) -> Result<File, Error> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("sid", DataType::UInt32, false),
        Field::new("ts", DataType::Int64, false),
        Field::new("value", DataType::Float64, true),
    ]));
    let column = |name: &str| ColumnPath::from(name);
    let ascending = |column_idx| SortingColumn { column_idx, descending: false, nulls_first: false };
    let properties = properties(level)?
        .set_dictionary_enabled(false)
        .set_column_encoding(column("sid"), Encoding::DELTA_BINARY_PACKED)
        .set_column_encoding(column("ts"), Encoding::DELTA_BINARY_PACKED)
        .set_column_encoding(column("value"), Encoding::PLAIN)
        .set_column_statistics_enabled(column("sid"), EnabledStatistics::Page)
        .set_data_page_row_count_limit(SAMPLES_PAGE_ROWS)
        .set_write_batch_size(SAMPLES_PAGE_ROWS)
        .set_sorting_columns(Some(vec![ascending(0), ascending(1)]))
        .build();
    let mut writer = TableWriter::new(schema.clone(), properties)?;
    let mut rows = Rows::new(tenants);
    while rows.left > 0 {
        let mut group_left = SAMPLES_GROUP_ROWS;
        let batches = std::iter::from_fn(|| {
            let batch = rows.next_columns(BATCH_ROWS.min(group_left))?;
            group_left -= batch.0.len();
            let (ts, values, _) = batch.1.into_columns();
            let batch = RecordBatch::try_new(
                schema.clone(),
                vec![
                    Arc::new(UInt32Array::from(batch.0)),
                    Arc::new(Int64Array::from(ts)),
                    Arc::new(Float64Array::from(values)),
                ],
            );
            Some(batch.map_err(|error| Error::Bug(format!("arrow: {error}"))))
        });
        writer.write_group(batches)?;
    }
    writer.finish("samples", Vec::new())
}

/// Walks the rows of all tenants in order.
struct Rows<'a> {
    tenants: &'a [TenantRows],
    left: usize,
    tenant: usize,
    series: usize,
    taken: usize,
    sid: u32,
}

impl<'a> Rows<'a> {
    fn new(tenants: &'a [TenantRows]) -> Self {
        let left = tenants.iter().map(|(_, run)| run.rows()).sum();
        Self { tenants, left, tenant: 0, series: 0, taken: 0, sid: 0 }
    }

    /// The next rows, exactly `max` of them unless fewer are left; `None` if there is nothing to take.
    fn next_columns(&mut self, max: usize) -> Option<(Vec<u32>, Floats)> {
        let size = max.min(self.left);
        if size == 0 {
            return None;
        }
        let (mut sids, mut samples) = (Vec::with_capacity(size), Floats::with_capacity(size));
        while sids.len() < size {
            let (_, run) = &self.tenants[self.tenant];
            if self.series == run.keys().len() {
                (self.tenant, self.series) = (self.tenant + 1, 0);
                continue;
            }
            let series = run.series(self.series).floats;
            let end = series.len().min(self.taken + size - sids.len());
            sids.resize(sids.len() + end - self.taken, self.sid);
            samples.extend(series.part(self.taken..end));
            self.taken = end;
            if end == series.len() {
                (self.series, self.taken, self.sid) = (self.series + 1, 0, self.sid + 1);
            }
        }
        self.left -= size;
        Some((sids, samples))
    }
}
