//! The querier role: keeps a fresh view of everything that was written, and hands it out to be asked.
//!
//! This crate does not know: PromQL, SQL, HTTP, how a tail is followed or a block is read (that is
//! `promontory_store`). It decides only *when*: when to look for new samples. Any number of queriers
//! may read one bucket.
//!
//! In reading order: `querier`.

mod querier;

pub use querier::{Querier, QuerierSettings};
