//! Writes one Parquet file in memory, with a checksum of every page in its footer.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, RowGroupMetaData};
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};
use parquet::file::writer::SerializedFileWriter;

use super::{FORMAT_VERSION, KEY_FORMAT, KEY_PAGES, KEY_TABLE};
use crate::codec::Level;
use crate::error::Error;

/// A file and the length of its tail.
pub(super) struct File {
    pub bytes: Bytes,
    pub footer_size: u32,
}

pub(super) struct TableWriter {
    writer: SerializedFileWriter<Vec<u8>>,
    factory: ArrowRowGroupWriterFactory,
    schema: SchemaRef,
    groups: usize,
    /// CRC32C of each page as eight hexadecimal digits: by row group, column, dictionary first.
    page_crcs: String,
}

impl TableWriter {
    pub(super) fn new(schema: SchemaRef, properties: WriterProperties) -> Result<Self, Error> {
        let parquet_schema = ArrowSchemaConverter::new().convert(&schema).map_err(bug)?;
        let root = parquet_schema.root_schema_ptr();
        let writer = SerializedFileWriter::new(Vec::new(), root, Arc::new(properties)).map_err(bug)?;
        let factory = ArrowRowGroupWriterFactory::new(&writer, schema.clone());
        Ok(Self { writer, factory, schema, groups: 0, page_crcs: String::new() })
    }

    /// Writes one row group from batches that arrive in order.
    pub(super) fn write_group(
        &mut self,
        batches: impl IntoIterator<Item = Result<RecordBatch, Error>>,
    ) -> Result<(), Error> {
        let mut columns = self.factory.create_column_writers(self.groups).map_err(bug)?;
        for batch in batches {
            let batch = batch?;
            let mut writers = columns.iter_mut();
            for (field, array) in self.schema.fields().iter().zip(batch.columns()) {
                for leaf in compute_leaves(field, array).map_err(bug)? {
                    let writer =
                        writers.next().ok_or_else(|| Error::Bug("more leaves than columns".into()))?;
                    writer.write(&leaf).map_err(bug)?;
                }
            }
        }
        let mut page_sizes: Vec<Vec<i32>> = Vec::with_capacity(columns.len());
        let mut group = self.writer.next_row_group().map_err(bug)?;
        for column in columns {
            let chunk = column.close().map_err(bug)?;
            let pages = chunk.close().offset_index.as_ref().map(|index| &index.page_locations);
            page_sizes.push(pages.into_iter().flatten().map(|page| page.compressed_page_size).collect());
            chunk.append_to_row_group(&mut group).map_err(bug)?;
        }
        let group = group.close().map_err(bug)?;
        self.writer.flush().map_err(|error| Error::Bug(error.to_string()))?;
        self.groups += 1;
        self.add_page_crcs(&group, &page_sizes)
    }

    /// Pages of a chunk lie back to back: a dictionary if there is one, then the data pages.
    fn add_page_crcs(&mut self, group: &RowGroupMetaData, page_sizes: &[Vec<i32>]) -> Result<(), Error> {
        for (column, sizes) in group.columns().iter().zip(page_sizes) {
            let (start, length) = column.byte_range();
            let data: u64 = sizes.iter().map(|size| *size as u64).sum();
            let dictionary = length.checked_sub(data).filter(|size| *size > 0);
            let mut at = start;
            for size in dictionary.into_iter().chain(sizes.iter().map(|size| *size as u64)) {
                let page = self.writer.inner().get(at as usize..(at + size) as usize);
                let page = page.ok_or_else(|| Error::Bug("a page outside what is written".into()))?;
                let _ = write!(self.page_crcs, "{:08x}", crc32c::crc32c(page));
                at += size;
            }
        }
        Ok(())
    }

    /// Ends the file. `table` is its name in the footer, `more` further key-value pairs.
    pub(super) fn finish(mut self, table: &str, more: Vec<(&str, String)>) -> Result<File, Error> {
        let pairs = [
            (KEY_FORMAT, FORMAT_VERSION.to_owned()),
            (KEY_TABLE, table.to_owned()),
            (KEY_PAGES, self.page_crcs),
        ];
        for (key, value) in pairs.into_iter().chain(more) {
            self.writer.append_key_value_metadata(KeyValue::new(key.to_owned(), value));
        }
        let data_end = self.writer.bytes_written();
        let bytes = self.writer.into_inner().map_err(bug)?;
        let footer_size = u32::try_from(bytes.len() - data_end)
            .map_err(|_| Error::Bug("a footer of more than 4 GiB".into()))?;
        Ok(File { bytes: bytes.into(), footer_size })
    }
}

/// What the files of a level have in common.
pub(super) fn properties(level: Level) -> Result<WriterPropertiesBuilder, Error> {
    let zstd = ZstdLevel::try_new(if level == Level::L1 { 1 } else { 3 }).map_err(bug)?;
    Ok(WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_created_by("promontory".to_owned())
        .set_compression(Compression::ZSTD(zstd))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(None)
        .set_data_page_size_limit(64 << 20))
}

pub(super) fn bug(error: ParquetError) -> Error {
    Error::Bug(format!("parquet: {error}"))
}
