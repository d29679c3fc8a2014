//! A query as a tree of vectors over step grids, and what can be said of it before anything is read.
//!
//! This crate does not know: Arrow, DataFusion, any runtime, the store. It turns a syntax tree of
//! `promontory_promql` into a [`Plan`], rewrites it by facts about the selected series and estimates
//! what it will hold; `promontory_query` turns it into operators.
//!
//! In reading order: [`LabelProjection`] (what an operator does to label sets) and the mark of names
//! that go late, [`MatchSpec`] (how two vectors match), [`Node`] (the tree), [`lower()`] (from the
//! syntax tree), [`passes`](prune) (rewrites), [`estimate()`] (admission).

mod error;
mod estimate;
mod lower;
mod matching;
mod node;
mod passes;
mod projection;

pub use error::PlanError;
pub use estimate::{Estimate, admit, estimate};
pub use lower::{QuerySettings, lower};
pub use matching::{MatchOperation, MatchSpec};
pub use node::{
    MapFunction, Node, NodeKind, Plan, PlanRoot, RangeInput, Relabel, ScalarArg, ScanSpec, SortKey, Take,
};
pub use passes::{
    Facts, NameFact, ScanFacts, all_counters, for_each_vector, name_fact, prune, prune_counter_notes,
    push_labels,
};
pub use projection::{DROP_NAME_MARK, LabelProjection, is_reserved, labels_of, split_mark};
