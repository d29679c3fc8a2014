//! Bytes of one segment or block: schema, write, read, merge of sorted runs, checksums.
//!
//! This crate does not know: object stores, async runtimes, DataFusion, which blocks count. It does
//! no IO: it encodes to bytes, turns a footer and a wish into byte ranges, and decodes what was
//! fetched.
//!
//! In reading order: [`run`] (sorted samples of one tenant, the currency of every merge), [`codec`]
//! (the seam between protocol and bytes of a block), [`error`].

pub mod codec;
pub mod error;
pub mod run;

pub use codec::{
    BlockCodec, BlockMeta, EncodedBlock, EncodedObject, Level, ObjectKind, ObjectMeta, TenantRows, TenantSpan,
};
pub use error::Error;
pub use run::SeriesRun;
