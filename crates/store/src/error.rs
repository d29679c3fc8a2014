//! What can go wrong between us and the store, by what the caller should do next, and what clients are told
//! of it.

use crate::trouble::StoreTrouble;

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
    /// An object that the catalog names is not shown. That proves nothing: retry; if it stays away, call a
    /// human.
    #[error("{object}: is missing")]
    Missing {
        /// The object's key.
        object: String,
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
    /// Whoever asked has gone, or its time is over: nothing needs to be done.
    #[error("{0}")]
    Stopped(String),
    /// The snapshot is too old to be read safely: take a new one.
    #[error("{0}")]
    Stale(String),
    /// An invariant of this program is broken: report it.
    #[error("bug: {0}")]
    Bug(String),
}

impl Error {
    /// What a client may read of this error, which came up while `doing`.
    ///
    /// A store's own words may hold a key id, the string that was signed, an endpoint, a bucket or a path of
    /// this machine. So clients read what could not be done, to which object and what kind of failure it was;
    /// the whole error goes to the log, under an id that the text names. Everybody who turns an error of the
    /// store into an answer does it here. What we worded ourselves is told whole.
    #[must_use]
    pub fn told(&self, doing: &str) -> String {
        let Self::Unavailable { action, source } = self else { return format!("{doing}: {self}") };
        let trouble = StoreTrouble::of(source);
        // Out of the machine's randomness: the id appears in two texts and decides nothing, so that a seed
        // replays all the same.
        let incident = format!("{:08x}", rand::random::<u32>());
        tracing::warn!(incident, error = %self, "the object store failed a request; its client reads the incident");
        format!("{doing}: cannot {action}: {trouble}; the log names it as incident {incident}")
    }

    /// What is wrong with the store, if this error is the store's.
    #[must_use]
    pub fn trouble(&self) -> Option<StoreTrouble> {
        match self {
            Self::Unavailable { source, .. } => Some(StoreTrouble::of(source)),
            _ => None,
        }
    }

    /// True if the same request may succeed later without anybody's doing.
    #[must_use]
    pub fn mends_itself(&self) -> bool {
        match self {
            Self::Unavailable { source, .. } => StoreTrouble::of(source).mends_itself(),
            Self::Missing { .. } | Self::Busy(_) | Self::Stale(_) => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
