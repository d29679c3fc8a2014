//! Exemplars: single observations beside a series that link to what is behind them, such as a trace.

use crate::labels::Labels;

/// One observation of a series with what it links to.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// What it links to, such as `trace_id`; not the labels of the series.
    pub labels: Labels,
    /// The observed value, which is no sample of the series.
    pub value: f64,
    /// Milliseconds since the Unix epoch; `None` where the sender gave none.
    pub ts: Option<i64>,
}
