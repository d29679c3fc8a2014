//! PromQL and SQL as DataFusion plans over a snapshot.
//!
//! This crate does not know: HTTP, any role, how blocks and segments are laid out, the object store's
//! protocol. It reads through `promontory_store::SampleSource` and is the only host of DataFusion.
//!
//! In reading order: [`engine`] (the door), [`admission`] and [`session`] (waiting, running, stopping), [`counters`] (what became of requests),
//! [`memory`] (what a request holds), [`view`] (what a request sees of a snapshot: tenants, label policy, what its answer depends on),
//! [`context`] (what the operators of one query share),
//! [`physical`] (a plan of `promontory_plan` to operators), [`table`] (the one table shape),
//! [`operators`] (our own two), [`functions`] and [`aggregates`] (everything that standard operators
//! call), [`answer`] and [`listing`] (results), [`sql`] (the same scan for SQL).

mod engine;
mod admission;
mod counters;
mod memory;
mod session;
mod view;
mod context;
mod settings;
mod error;
mod physical;
mod table;
mod operators;
mod functions;
mod aggregates;
mod answer;
mod listing;
mod sql;

pub use counters::EngineCounters;
pub use engine::{QueryEngine, THREAD_STACK_BYTES};
pub use settings::{EngineSettings, LIMIT_FLAGS};
pub use sql::{SqlAnswer, SqlQuery, iso_date, iso_time, sql_functions, sql_type};
