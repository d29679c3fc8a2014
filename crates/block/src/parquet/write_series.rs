//! The series table: one row per series with its labels and the place of its rows.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeBinaryBuilder, Int8Array, Int64Builder, ListBuilder, MapBuilder, MapFieldNames,
    StringArray, StringBuilder, UInt32Array, UInt32Builder, UInt64Array, new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use promontory_model::{Labels, METRIC_NAME};
use xxhash_rust::xxh3::xxh3_128;

use super::write::{File, TableWriter, properties};
use super::{
    BUCKET_MS, BUCKETS_MAX, KEY_BUCKET_START, PROMOTED_LABELS_MAX, PROMOTED_ONE_IN, SERIES_GROUP_LABEL_BYTES,
    SERIES_GROUP_ROWS, SERIES_PAGE_ROWS,
};
use crate::codec::{BlockMeta, Level, TenantRows};
use crate::error::Error;

/// Bytes of distinct values above which a column gives up its dictionary. The usual 1 MiB makes a
/// label column three times larger (58.7 instead of 18.9 B per series).
const DICTIONARY_BYTES_MAX: usize = 16 << 20;

pub(super) fn encode(meta: &BlockMeta, tenants: &[TenantRows]) -> Result<File, Error> {
    if u32::try_from(meta.series).is_err() {
        return Err(Error::Bug(format!("{} series in one block", meta.series)));
    }
    let promoted = promoted_labels(meta.series as usize, tenants);
    let buckets = Buckets::of(meta);
    let schema = schema(meta.level, &promoted);
    let mut writer = TableWriter::new(schema.clone(), writer_properties(meta.level, &schema, &promoted)?)?;
    let mut rows = tenants.iter().flat_map(|(tenant, run)| {
        run.iter().map(move |(key, samples)| (tenant.as_str(), key, samples.floats.ts()))
    });
    let (mut sid, mut row) = (0u32, 0u64);
    loop {
        let (mut group, mut label_bytes) = (Vec::new(), 0);
        while group.len() < SERIES_GROUP_ROWS
            && label_bytes < SERIES_GROUP_LABEL_BYTES
            && let Some((tenant, key, ts)) = rows.next()
        {
            group.push(Row { tenant, sid, key, row_offset: row, ts });
            label_bytes += key.key().len();
            sid += 1;
            row += ts.len() as u64;
        }
        if group.is_empty() {
            break;
        }
        let columns = columns(meta.level, &promoted, buckets.as_ref(), &group);
        let batch = RecordBatch::try_new(schema.clone(), columns);
        writer.write_group([batch.map_err(|error| Error::Bug(format!("arrow: {error}")))])?;
    }
    let start = buckets.map(|buckets| (KEY_BUCKET_START, buckets.start.to_string()));
    writer.finish("series", start.into_iter().collect())
}

/// One row before it is turned into columns.
struct Row<'a> {
    tenant: &'a str,
    sid: u32,
    key: &'a Labels,
    row_offset: u64,
    ts: &'a [i64],
}

/// The grid of `bucket_offsets`: a day's block can be read by series and time.
struct Buckets {
    start: i64,
    count: i64,
}

impl Buckets {
    /// Only blocks of a day have them, unless late samples stretch the block too far.
    fn of(meta: &BlockMeta) -> Option<Self> {
        let first = meta.time_range.start.div_euclid(BUCKET_MS);
        let count = meta.time_range.end.div_euclid(BUCKET_MS) - first + 1;
        let fits = meta.level == Level::L3 && count <= BUCKETS_MAX;
        Some(Self { start: first.checked_mul(BUCKET_MS)?, count }).filter(|_| fits)
    }
}

/// Labels with a column of their own: frequent ones, the most frequent first kept, sorted by name.
///
/// Of names that differ in case only, which SQL readers would confuse, the most frequent stays.
fn promoted_labels(n_series: usize, tenants: &[TenantRows]) -> Vec<String> {
    let mut counts: HashMap<Vec<u8>, usize> = HashMap::new();
    for (name, _) in tenants.iter().flat_map(|(_, run)| run.keys()).flat_map(|key| key.as_ref().iter_bytes())
    {
        match counts.get_mut(&*name) {
            Some(count) => *count += 1,
            None => {
                counts.insert(name.into_owned(), 1);
            }
        }
    }
    counts.remove(METRIC_NAME.as_bytes());
    let mut frequent: Vec<(usize, String)> = counts
        .into_iter()
        .filter(|(_, count)| count.saturating_mul(PROMOTED_ONE_IN) >= n_series)
        .filter_map(|(name, count)| Some((count, String::from_utf8(name).ok()?)))
        .collect();
    frequent.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let mut folded = HashSet::new();
    let distinct =
        frequent.into_iter().map(|(_, name)| name).filter(|name| folded.insert(name.to_lowercase()));
    let mut promoted: Vec<String> = distinct.take(PROMOTED_LABELS_MAX).collect();
    promoted.sort_unstable();
    promoted
}

fn schema(level: Level, promoted: &[String]) -> Arc<Schema> {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let mut fields = Vec::with_capacity(promoted.len() + 16);
    if level == Level::L1 {
        fields.push(Field::new("tenant", DataType::Utf8, false));
    }
    fields.push(Field::new("sid", DataType::UInt32, false));
    fields.push(text(METRIC_NAME));
    fields.extend(promoted.iter().map(|name| text(&column_of(name))));
    let entry = DataType::Struct(
        vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, false)].into(),
    );
    let entries = Arc::new(Field::new("key_value", entry, false));
    fields.extend([
        Field::new("labels", DataType::Map(entries, false), false),
        Field::new("row_offset", DataType::UInt64, false),
        Field::new("row_count", DataType::UInt32, false),
        Field::new("min_ts", DataType::Int64, false),
        Field::new("max_ts", DataType::Int64, false),
        Field::new("scale", DataType::Int8, true),
        Field::new("bucket_offsets", DataType::List(bucket_item()), true),
        Field::new("hist_offset", DataType::UInt64, true),
        Field::new("hist_count", DataType::UInt32, true),
        Field::new("exemplar_offset", DataType::UInt64, true),
        Field::new("exemplar_count", DataType::UInt32, true),
        Field::new("fingerprint", DataType::FixedSizeBinary(16), false),
    ]);
    Arc::new(Schema::new(fields))
}

/// The column of a promoted label; no other column begins with `l_`.
fn column_of(label: &str) -> String {
    format!("l_{label}")
}

fn bucket_item() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::UInt32, false))
}

fn writer_properties(level: Level, schema: &Schema, promoted: &[String]) -> Result<WriterProperties, Error> {
    let column = |name: &str| ColumnPath::from(name.to_owned());
    let mut properties = properties(level)?
        .set_dictionary_enabled(false)
        .set_data_page_row_count_limit(SERIES_PAGE_ROWS)
        .set_write_batch_size(1_024)
        .set_column_compression(column("fingerprint"), Compression::UNCOMPRESSED)
        .set_column_statistics_enabled(column("sid"), EnabledStatistics::Page)
        .set_column_statistics_enabled(column(METRIC_NAME), EnabledStatistics::Page)
        // A bound must never be cut short of what it bounds; names are short anyway.
        .set_column_index_truncate_length(None)
        .set_statistics_truncate_length(None);
    for name in ["sid", "row_offset", "row_count", "min_ts", "max_ts"] {
        properties = properties.set_column_encoding(column(name), Encoding::DELTA_BINARY_PACKED);
    }
    let parts = |parts: [&str; 3]| ColumnPath::new(parts.map(str::to_owned).to_vec());
    let mut texts = vec![
        column("tenant"),
        column(METRIC_NAME),
        parts(["labels", "key_value", "key"]),
        parts(["labels", "key_value", "value"]),
    ];
    // A name with a dot is one part of a path, not two.
    texts.extend(promoted.iter().map(|name| ColumnPath::new(vec![column_of(name)])));
    for text in texts {
        properties = properties
            .set_column_dictionary_enabled(text.clone(), true)
            .set_column_dictionary_page_size_limit(text, DICTIONARY_BYTES_MAX);
    }
    let sid = schema.index_of("sid").map_err(|error| Error::Bug(format!("arrow: {error}")))?;
    let sorted = SortingColumn { column_idx: sid as i32, descending: false, nulls_first: false };
    Ok(properties.set_sorting_columns(Some(vec![sorted])).build())
}

/// The columns of one row group in the order of the schema.
fn columns(level: Level, promoted: &[String], buckets: Option<&Buckets>, rows: &[Row<'_>]) -> Vec<ArrayRef> {
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(promoted.len() + 16);
    if level == Level::L1 {
        columns.push(Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.tenant))));
    }
    columns.push(Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.sid))));
    columns.extend(label_columns(promoted, rows));
    let first = |row: &Row<'_>| row.ts.first().copied().unwrap_or_default();
    let last = |row: &Row<'_>| row.ts.last().copied().unwrap_or_default();
    let mut min_ts = Int64Builder::with_capacity(rows.len());
    let mut max_ts = Int64Builder::with_capacity(rows.len());
    let mut fingerprints = FixedSizeBinaryBuilder::with_capacity(rows.len(), 16);
    for row in rows {
        min_ts.append_value(first(row));
        max_ts.append_value(last(row));
        // Sixteen bytes fit a column of sixteen bytes.
        let _ = fingerprints.append_value(xxh3_128(row.key.key()).to_be_bytes());
    }
    let null = |data_type: DataType| new_null_array(&data_type, rows.len());
    columns.push(Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.row_offset))));
    columns.push(Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.ts.len() as u32))));
    columns.push(Arc::new(min_ts.finish()));
    columns.push(Arc::new(max_ts.finish()));
    columns.push(Arc::new(Int8Array::new_null(rows.len())));
    columns.push(bucket_column(buckets, rows));
    for data_type in [DataType::UInt64, DataType::UInt32, DataType::UInt64, DataType::UInt32] {
        columns.push(null(data_type));
    }
    columns.push(Arc::new(fingerprints.finish()));
    columns
}

/// `__name__`, the promoted labels and the complete map, in one walk over the labels.
fn label_columns(promoted: &[String], rows: &[Row<'_>]) -> Vec<ArrayRef> {
    let mut builders: Vec<StringBuilder> = (0..=promoted.len()).map(|_| StringBuilder::new()).collect();
    let mut column_of: HashMap<&[u8], usize> = HashMap::with_capacity(promoted.len() + 1);
    column_of.insert(METRIC_NAME.as_bytes(), 0);
    column_of.extend(promoted.iter().enumerate().map(|(idx, name)| (name.as_bytes(), idx + 1)));
    let names =
        MapFieldNames { entry: "key_value".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    let mut map = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
        .with_values_field(Field::new("value", DataType::Utf8, false));
    for (row_idx, row) in rows.iter().enumerate() {
        for (name, value) in row.key.iter() {
            if let Some(column) = column_of.get(name.as_bytes()) {
                let builder = &mut builders[*column];
                pad(builder, row_idx);
                builder.append_value(&value);
            }
            map.keys().append_value(&name);
            map.values().append_value(&value);
        }
        // The two builders grow together, so that the entry cannot be refused.
        let _ = map.append(true);
    }
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(builders.len() + 1);
    for mut builder in builders {
        pad(&mut builder, rows.len());
        columns.push(Arc::new(builder.finish()));
    }
    columns.push(Arc::new(map.finish()));
    columns
}

/// Appends nulls up to `rows` rows.
fn pad(builder: &mut StringBuilder, rows: usize) {
    use arrow::array::ArrayBuilder as _;
    for _ in builder.len()..rows {
        builder.append_null();
    }
}

/// For each series the row, counted from its first, at which each bucket begins.
fn bucket_column(buckets: Option<&Buckets>, rows: &[Row<'_>]) -> ArrayRef {
    let mut lists = ListBuilder::new(UInt32Builder::new()).with_field(bucket_item());
    for row in rows {
        if let Some(buckets) = buckets {
            for bucket in 0..buckets.count {
                let start = buckets.start + bucket * BUCKET_MS;
                lists.values().append_value(row.ts.partition_point(|ts| *ts < start) as u32);
            }
        }
        lists.append(buckets.is_some());
    }
    Arc::new(lists.finish())
}
