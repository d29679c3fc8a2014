//! The compactor role: adopts dead writers, merges L1 blocks into L2, sweeps what nothing refers to.
//!
//! This crate does not know: how a slot, a commit, a merge or a sweep works (that is `promontory_store`), HTTP,
//! PromQL. It decides only *when*. Any number of compactors may run over one bucket.
//!
//! In reading order: `compactor`.

mod compactor;

pub use compactor::{Compactor, CompactorSettings};
