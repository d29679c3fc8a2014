//! Where objects lie and which count: keys, catalog, commit, snapshot, tail, cache, sweep.
//!
//! This crate does not know: DataFusion, HTTP, PromQL, or any role's schedule. It owns the state
//! machines of the protocol, pure over store, clock and random source; roles only schedule them and
//! the simulator runs the same ones.

pub mod adopter;
pub mod blocks;
pub mod bucket;
mod cache;
pub mod catalog;
pub mod chain;
pub mod compaction;
pub mod context;
pub mod counted;
pub mod counters;
pub mod durable;
mod encoding;
pub mod error;
#[cfg(test)]
mod flips;
pub mod format;
pub mod fsck;
pub mod head;
pub mod keys;
pub mod life;
pub mod merger;
pub mod planted;
pub mod reader;
pub mod select;
pub mod selftest;
mod slots;
pub mod source;
pub mod stored;
pub mod sweeper;
#[cfg(test)]
mod testing;
mod whole_blocks;
pub mod writer;

pub use bucket::{Bucket, StoreUrl};
pub use error::Error;
pub use source::{SampleSnapshot, SampleSource, Samples, Selection};
