//! What can go wrong with bytes.

use std::ops::Range;

/// An error of encoding or decoding.
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
        /// What was expected and what is there.
        why: String,
    },
    /// A version or required section that this program does not know: upgrade it.
    #[error("unsupported {what}: {why}")]
    Unsupported {
        /// Kind of object.
        what: &'static str,
        /// What is unknown.
        why: String,
    },
    /// Our own mistake.
    #[error("bug: {0}")]
    Bug(String),
}
