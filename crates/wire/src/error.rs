//! Why bytes from outside cannot be decoded, by what the sender should do about it.

use crate::protobuf::ProtobufError;

/// Why a request cannot be decoded. None of it becomes a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Mend the request: the snappy block is not well-formed.
    #[error("cannot decompress snappy block: {0}")]
    Snappy(String),
    /// Mend the request: the message is not well-formed.
    #[error("cannot decode protobuf message: {0}")]
    Protobuf(#[from] ProtobufError),
    /// Send smaller requests: a count or a size exceeds its limit.
    #[error("request has {found} {what}, at most {limit} are accepted ({name})")]
    TooLarge {
        /// What is counted, as the error's text names it: `samples`, `decompressed bytes`.
        what: &'static str,
        /// How many there are; where counting stopped at the limit, the first number above it.
        found: usize,
        /// The most that is taken.
        limit: usize,
        /// The limit's name in `promontory_model::IngestLimits`.
        name: &'static str,
    },
}

impl DecodeError {
    /// True if smaller requests would be taken, false if the request is malformed.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::TooLarge { .. })
    }
}
