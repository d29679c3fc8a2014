//! Bytes that others define: remote write, and later the other wire protocols.
//!
//! This crate does not know: HTTP, tenants, what is stored, async runtimes, Arrow. It turns the bytes
//! of one protocol into a [`promontory_model::Batch`] and says, typed, why it cannot.
//!
//! In reading order: [`snappy`] (the block format, with the declared length checked first),
//! [`protobuf`] (a reader that copies nothing and a writer), [`remote_write_1`] (the message
//! `prometheus.WriteRequest`). Each further protocol is a sibling module with its own decoder and its
//! own [`promontory_model::LabelsCodec`].
//!
//! Invariants of every decoder here:
//! - Arbitrary bytes give a value or a typed error, never a panic.
//! - Whatever is counted is counted before memory is taken for it, and refused at its limit: a request
//!   cannot make the decoder take more than a small multiple of its own size.
//! - Timestamps and values leave with the bits with which they came.

mod error;
pub mod protobuf;
pub mod remote_write_1;
pub mod snappy;

pub use error::DecodeError;
