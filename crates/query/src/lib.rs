//! PromQL and SQL as DataFusion plans over a snapshot.
//!
//! This crate does not know: HTTP, any role, how blocks and segments are laid out, the object store's
//! protocol. It reads through `promontory_store::SampleSource` and is the only host of DataFusion.
//!
//! In reading order: [`engine`] (the door), [`physical`] (a plan of `promontory_plan` to operators),
//! [`scan`] and [`vector_match`] (our two operators), [`functions`] and [`aggregates`] (everything that standard
//! operators call), [`grids`] (the one table shape), [`answer`] and [`metadata`] (results), [`sql`] (the same
//! scan for SQL).

pub mod aggregates;
pub mod answer;
pub mod context;
pub mod engine;
pub mod error;
pub mod functions;
pub mod grids;
pub mod metadata;
pub mod options;
pub mod physical;
pub mod scan;
pub mod sort_key;
pub mod sql;
pub mod vector_match;

pub use engine::{QueryEngine, THREAD_STACK_BYTES};
pub use options::EngineOptions;
