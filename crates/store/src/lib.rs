//! Where objects lie and which count: keys, catalog, commit, snapshot, tail, cache, sweep.
//!
//! This crate does not know: DataFusion, HTTP, PromQL, or any role's schedule. It owns the state
//! machines of the protocol, pure over store, clock and random source; roles only schedule them and
//! the simulator runs the same ones.

pub mod bucket;
pub mod error;
pub mod source;

pub use bucket::Bucket;
pub use error::Error;
pub use source::{SampleSnapshot, SampleSource, Samples, Selection};
