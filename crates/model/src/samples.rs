//! Samples in columns: the one currency of every batch, head, merge, block, scan and kernel.
//!
//! Words:
//! - A *lane* holds the samples of one kind, floats or native histograms, as columns: timestamps,
//!   values and, where the sender gave them, start timestamps. A series may use both lanes.
//! - A *column* is the values of a lane; a *view* borrows a lane or a part of it.
//! - The *stale marker* is the float with the bits [`STALE_NAN_BITS`]: it marks the end of a series.
//!
//! Why two lanes and not one column of either: nearly every series is all floats, every format keeps
//! the kinds apart (blocks in two tables, Prometheus' JSON in two arrays), and so code for floats
//! runs over plain slices and never asks which kind a sample is.
//!
//! Invariants:
//! - Columns of a lane have one length; start timestamps may be absent for the whole lane.
//! - In merged samples, timestamps of a lane strictly ascend and no timestamp is in both lanes.
//! - Of two samples of one series at one timestamp the greater stays: a histogram before a float,
//!   floats by [`value_order`], histograms by their canonical order. The order does not depend on arrival,
//!   so every merge, retry and replay gives the same answer.
//! - Every bit pattern of a float is legal and survives.
//!
//! In reading order: [`Column`] and [`Lane`] (one kind), [`Samples`] (both kinds of one series),
//! [`SampleLists`] (many series).

mod lane;
mod lists;

mod series;

pub use crate::float_order::{STALE_NAN_BITS, is_stale, stale_nan, value_order};
pub use lane::{Column, ColumnView, Floats, FloatsView, Histograms, HistogramsView, Lane, LaneView};
pub use lists::{LaneLists, SampleLists};
pub use series::{SampleValue, Samples, SamplesView};

#[cfg(test)]
mod tests;
