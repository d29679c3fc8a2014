//! Why there is no answer.

use crate::parser::ParseError;

/// Why there is no answer, by the caller's next move. Each face translates it into its protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Mend the request: it does not parse, or its parts do not fit together.
    #[error("{0}")]
    Invalid(String),
    /// Ask something else: the expression has no answer over this data.
    #[error("{0}")]
    Unanswerable(String),
    /// Ask for less, or have the limit raised that the text names.
    #[error("{0}")]
    Limited(String),
    /// Allow more time, or ask for less.
    #[error("{0}")]
    TimedOut(String),
    /// Nothing: the caller went away.
    #[error("{0}")]
    Cancelled(String),
    /// Retry later: too many queries wait, or the store does not answer.
    #[error("{0}")]
    Unavailable(String),
    /// Call a human: the store holds damaged data.
    #[error("{0}")]
    Corrupt(String),
    /// Report it: a mistake of ours.
    #[error("{0}")]
    Bug(String),
}

impl From<ParseError> for EngineError {
    fn from(error: ParseError) -> Self {
        if error.over_limit { Self::Limited(error.to_string()) } else { Self::Invalid(error.to_string()) }
    }
}
