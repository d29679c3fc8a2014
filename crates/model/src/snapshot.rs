//! The identity of a snapshot: what was there when a question was asked.

use crate::append::Position;

/// Which snapshot an answer stands on. Two questions over one snapshot see the same samples.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SnapshotId {
    /// The version of the catalog, which says which blocks count.
    pub version: u64,
    /// The last segment of every writer that lives in that version; ordered by writer.
    pub tails: Vec<Position>,
}
