//! Bytes of one segment or block: schema, write, read, merge of sorted runs, checksums.
//!
//! This crate does not know: object stores, async runtimes, DataFusion, which blocks count. It does
//! no IO: it encodes to bytes, turns a footer and a wish into byte ranges, and decodes what was
//! fetched.
//!
//! In reading order: [`run`] (sorted samples of one tenant, the currency of every merge), [`cut`] (rows in parts
//! of a bounded size), [`merge`], [`segment`] (one object of the write-ahead log), [`fetched`] (ranges of an object in
//! memory), [`codec`] (the seam between protocol and bytes of a block), [`parquet`] (its codec and selective reading), [`plain`] (the simulator's codec),
//! `hash` (of labels in memory), [`label_index`], [`error`].

mod codec;
mod cut;
mod error;
mod fetched;
#[cfg(test)]
mod fixtures;
mod frame;
mod hash;
mod label_index;
mod merge;
pub mod parquet;
mod plain;
mod run;
mod segment;

pub use crate::parquet::ParquetCodec;
pub use codec::{
    BlockCodec, BlockMeta, EncodedBlock, EncodedObject, Level, ObjectKind, ObjectMeta, OpenBlock, TenantRows,
    TenantSpan, verify_objects,
};
pub use cut::{cut_rows, decoded_bytes};
pub use error::Error;
pub use fetched::Fetched;
pub use hash::LabelHash;
pub use label_index::{Candidates, INDEXED_SERIES_MIN, INDEXED_SHARE, fewest};
pub use merge::{SeriesMerge, merge, merge_owned, merge_tenants};
pub use plain::PlainCodec;
pub use run::{SeriesRun, key_bytes, series_bytes};
pub use segment::{CLOSED_BYTES, Closed, Segment, Slot, encode_segment, slot_checksum};
