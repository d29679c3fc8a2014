//! What can go wrong between us and the store, by what the caller should do next.

/// Why the store did not do what was asked; the kind says what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object store does not answer or refuses: retry later.
    #[error("cannot {action}: {source}")]
    Unavailable {
        /// What could not be done and to which object, as it follows `cannot`.
        action: String,
        /// What the client of the object store answered, after its own retries.
        source: object_store::Error,
    },
    /// Bytes in the store are damaged or missing: call a human.
    #[error("{object}: {why}")]
    Corrupt {
        /// The key of the damaged object, from the root of the bucket.
        object: String,
        /// What was expected and what is there. Where bytes do not fit it says `corrupt ... at bytes
        /// from..to`: the smallest part of the object that has a checksum of its own.
        why: String,
    },
    /// The store lacks a property that the protocol needs, or was written by a newer program.
    #[error("{0}")]
    Unsupported(String),
    /// A limit is reached: slow down or narrow the request.
    #[error("{0}")]
    Limited(String),
    /// This process holds as much as it may: retry later, or another process.
    #[error("{0}")]
    Busy(String),
    /// The snapshot is too old to be read safely: take a new one.
    #[error("{0}")]
    Stale(String),
    /// An invariant of this program is broken: report it.
    #[error("bug: {0}")]
    Bug(String),
}
