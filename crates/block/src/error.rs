//! What can go wrong with bytes.

/// An error of encoding or decoding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are damaged or not ours: call a human.
    #[error("corrupt {what} at byte {offset}: {why}")]
    Corrupt {
        /// Kind of object, for example `segment` or `samples`.
        what: &'static str,
        /// Where in the object, in bytes.
        offset: u64,
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
