//! The ingester role: makes samples durable before it acknowledges them, and cuts L1 blocks.
//!
//! This crate does not know: HTTP, protocols, PromQL, how a slot or a commit works (that is
//! `promontory_store::Writer`). It decides only *when*: when to cut a segment, when to write a block,
//! when to refuse.
//!
//! In reading order: [`intake`] (series by their raw label bytes, limits, pending samples),
//! [`ingester`] (the door `Append`, the flush and block loops, the graceful stop).

mod ingester;
mod intake;

pub use ingester::{Ingester, IngesterCounters, IngesterSettings, IntakeSize};
pub use intake::Intake;
