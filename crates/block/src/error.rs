//! What can go wrong with bytes of a segment or block, by what the caller should do next.

use std::ops::Range;

/// Why bytes cannot be encoded or decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are damaged or not ours: call a human.
    #[error("corrupt {what} at bytes {}..{}: {why}", at.start, at.end)]
    Corrupt {
        /// Kind of object, for example `segment` or `samples.parquet`.
        what: &'static str,
        /// The bytes of the object that do not fit: the smallest part that has a checksum of its own,
        /// or the field or section that makes no sense.
        at: Range<u64>,
        /// What was expected there and what is there instead.
        why: String,
    },
    /// A version or required section that this program does not know: upgrade it.
    #[error("unsupported {what}: {why}")]
    Unsupported {
        /// Kind of object, for example `segment` or `samples.parquet`.
        what: &'static str,
        /// The version or section that is not known, with what this program knows.
        why: String,
    },
    /// An invariant of this program is broken: report it.
    #[error("bug: {0}")]
    Bug(String),
}
