//! The four types of PromQL values.

use std::fmt;

/// The type of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// One number per evaluation time.
    Scalar,
    /// An instant vector: one sample per series.
    Vector,
    /// A range vector: a window of samples per series.
    Matrix,
    /// A text, which is an argument and never a series.
    String,
}

impl ValueType {
    /// The word that error texts use.
    ///
    /// Source: `DocumentedType`, prometheus v3.16 `promql/parser/value.go`.
    #[must_use]
    pub fn documented(self) -> &'static str {
        match self {
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            Self::Scalar => "scalar",
            Self::String => "string",
        }
    }
}

/// The word that the HTTP API uses: `vector`, `matrix`, `scalar`, `string`.
impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vector => "vector",
            Self::Matrix => "matrix",
            Self::Scalar => "scalar",
            Self::String => "string",
        })
    }
}
