//! What can go wrong between us and the store, by what the caller should do next, and what clients are told
//! of it.

use std::error::Error as StdError;
use std::io;

use object_store::client::{HttpError, HttpErrorKind};

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
        // Out of the machine's randomness: the id appears in two texts and decides nothing, so that a seed
        // replays all the same.
        let incident = format!("{:08x}", rand::random::<u32>());
        tracing::warn!(incident, error = %self, "the object store failed a request; its client reads the incident");
        format!("{doing}: cannot {action}: {}; the log names it as incident {incident}", failure(source))
    }
}

/// Which kind of failure it was, by the first cause that says so.
fn failure(source: &object_store::Error) -> &'static str {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(source);
    while let Some(error) = cause {
        let found =
            error.downcast_ref().and_then(of_store).or_else(|| error.downcast_ref().and_then(of_http));
        let found = found.or_else(|| error.downcast_ref().and_then(of_system));
        let elapsed = error.is::<tokio::time::error::Elapsed>().then_some(LATE);
        if let Some(failure) = found.or(elapsed) {
            return failure;
        }
        cause = error.source();
    }
    "the object store failed"
}

const LATE: &str = "the object store did not answer in time";
const DENIED: &str = "the object store denies access";
const BROKEN: &str = "the connection to the object store broke";

fn of_store(error: &object_store::Error) -> Option<&'static str> {
    use object_store::Error as E;
    match error {
        E::PermissionDenied { .. } => Some(DENIED),
        E::Unauthenticated { .. } => Some("the object store does not accept the credentials"),
        E::NotFound { .. } => Some("the object store does not find it"),
        E::NotSupported { .. } | E::NotImplemented { .. } => Some("the object store does not support it"),
        _ => None,
    }
}

fn of_http(error: &HttpError) -> Option<&'static str> {
    match error.kind() {
        HttpErrorKind::Connect => Some("the object store cannot be reached"),
        HttpErrorKind::Timeout => Some(LATE),
        HttpErrorKind::Request | HttpErrorKind::Interrupted => Some(BROKEN),
        _ => None,
    }
}

fn of_system(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some("the object store is full"),
        io::ErrorKind::PermissionDenied => Some(DENIED),
        io::ErrorKind::ReadOnlyFilesystem => Some("the object store can only be read"),
        io::ErrorKind::TimedOut => Some(LATE),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
