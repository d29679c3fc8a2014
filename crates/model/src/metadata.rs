//! Metadata of metrics: type, help text and unit.

/// What a metric is, as its target describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricMetadata {
    /// Its type, which says what its series mean: `Unknown` if none is stated.
    pub kind: MetricKind,
    /// What it counts or measures, in a sentence for users.
    pub help: String,
    /// Its unit; empty if none is stated.
    pub unit: String,
}

/// The type of a metric.
///
/// Source: prometheus/common `model/metadata.go`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // Each is the type of its name.
pub enum MetricKind {
    Unknown,
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    Stateset,
}

impl MetricKind {
    /// Its name in exposition formats and in the HTTP API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::Stateset => "stateset",
        }
    }
}
