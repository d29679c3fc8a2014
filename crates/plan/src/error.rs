//! Why a query has no plan, by what the caller can do about it.

/// Why a query has no plan. Prometheus finds all but the last while it evaluates, so its texts are
/// those of an evaluation that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// An argument is outside its domain: mend the query.
    #[error("{0}")]
    Invalid(String),
    /// The query would hold more than it may: narrow it or raise the limit.
    #[error("{0}")]
    Limited(String),
    /// The language has it and we do not evaluate it.
    #[error("{0} is not supported yet")]
    Unsupported(String),
    /// The tree breaks an invariant of the parser: a mistake of ours.
    #[error("bug: {0}")]
    Bug(String),
}
