//! Compares answers with what a script expects.
//!
//! Source: `compareResult`, `checkAnnotations` and `checkExpectedFailure`, prometheus v3.16
//! `promql/promqltest/test.go`; tolerance: `util/almost`.

use promontory_model::samples::SampleValue;
use promontory_model::{Labels, is_stale};

use super::{AnnotationsExpected, Eval, EvalTimes, Expected, ExpectedSeries, SequenceValue, TextMatch};
use crate::engine::{Annotations, Sample, Series, Value};

/// How far two floats may be apart, relative to their size.
pub const EPSILON: f64 = 0.000_001;

/// How an answer differs from what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("{0}")]
    Different(String),
    /// A native histogram is expected, which functions do not make yet.
    #[error("a native histogram is expected for {0}")]
    Histogram(String),
}

fn different<T>(message: impl Into<String>) -> Result<T, Mismatch> {
    Err(Mismatch::Different(message.into()))
}

/// True if two floats differ by less than [`EPSILON`] of their sum, or if both are stale markers, or
/// if both are other NaNs. Beside a zero only what is smaller than every normal number counts as
/// equal.
#[must_use]
pub fn almost_equal(a: f64, b: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    if (a.is_nan() && b.is_nan()) || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < EPSILON * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < EPSILON
}

impl Eval {
    /// Compares an answer with the expectation. Give answers to [`Eval::range_case`] as the vector
    /// or scalar of their middle step.
    ///
    /// # Errors
    /// [`Mismatch`] for the first difference.
    pub fn check_value(&self, value: &Value) -> Result<(), Mismatch> {
        match (&self.expected, value) {
            (Expected::Scalar(wanted), Value::Scalar { value, .. }) => {
                equal_or(*wanted, *value, || "the scalar".to_owned())
            }
            (Expected::String(wanted), Value::String { text, .. }) if wanted == text => Ok(()),
            (Expected::String(wanted), Value::String { text, .. }) => {
                different(format!("expected string {wanted:?} but got {text:?}"))
            }
            (Expected::Series { series, .. }, Value::Vector(samples)) => {
                check_vector(series, samples, self.ordered)
            }
            (Expected::Series { .. }, Value::Matrix(_)) if self.ordered => {
                different("expected ordered result, but query returned a matrix")
            }
            (Expected::Series { series, grid }, Value::Matrix(matrix)) => check_matrix(series, *grid, matrix),
            (Expected::Scalar(_), other) => different(format!("expected a scalar, got a {}", kind(other))),
            (Expected::String(_), other) => different(format!("expected a string, got a {}", kind(other))),
            (Expected::Series { .. }, other) => {
                different(format!("expected a vector or matrix, got a {}", kind(other)))
            }
        }
    }

    /// Compares warnings and infos with the expectation.
    ///
    /// # Errors
    /// [`Mismatch`] for the first difference.
    pub fn check_annotations(&self, annotations: &Annotations) -> Result<(), Mismatch> {
        check_texts(&self.warnings, &annotations.warnings, "warn")?;
        check_texts(&self.infos, &annotations.infos, "info")
    }

    /// Compares an error with the expectation.
    ///
    /// # Errors
    /// [`Mismatch`] if no error or another one was expected.
    pub fn check_failure(&self, error: &str) -> Result<(), Mismatch> {
        match &self.fail {
            None => different(format!("error evaluating query: {error}")),
            Some(wanted) if wanted.matches(error) => Ok(()),
            Some(wanted) => different(format!("expected an error matching {wanted}, but got: {error}")),
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Matrix(_) => "matrix",
        Value::Vector(_) => "vector",
        Value::Scalar { .. } => "scalar",
        Value::String { .. } => "string",
    }
}

fn equal_or(wanted: f64, got: f64, what: impl FnOnce() -> String) -> Result<(), Mismatch> {
    if almost_equal(wanted, got) {
        return Ok(());
    }
    different(format!("expected {wanted} for {} but got {got}", what()))
}

fn check_texts(expected: &AnnotationsExpected, texts: &[String], what: &str) -> Result<(), Mismatch> {
    let conditions = match expected {
        AnnotationsExpected::Unsaid => return Ok(()),
        AnnotationsExpected::None if texts.is_empty() => return Ok(()),
        AnnotationsExpected::None => return different(format!("unexpected {what} annotations: {texts:?}")),
        AnnotationsExpected::Each(conditions) => conditions,
    };
    let unmet = |condition: &&TextMatch| !texts.iter().any(|text| condition.matches(text));
    if let Some(condition) = conditions.iter().find(unmet) {
        return different(format!("expected {what} annotation matching {condition}, found: {texts:?}"));
    }
    let unasked = |text: &&String| !conditions.iter().any(|condition| condition.matches(text));
    match texts.iter().find(unasked) {
        Some(text) => different(format!("unexpected {what} annotation {text:?}")),
        None => Ok(()),
    }
}

/// Where the series with these labels is expected.
fn find<'a>(
    expected: &'a [ExpectedSeries],
    labels: &Labels,
) -> Result<(usize, &'a ExpectedSeries), Mismatch> {
    let found = expected.iter().enumerate().find(|(_, series)| series.labels == *labels);
    found.map_or_else(|| different(format!("unexpected metric {labels} in result")), Ok)
}

/// Names an expected series that did not come; labels of results are distinct, so counting would
/// do, but a name helps.
fn all_found<'a>(
    expected: &[ExpectedSeries],
    got: impl Iterator<Item = &'a Labels> + Clone,
) -> Result<(), Mismatch> {
    let missing = expected.iter().find(|series| !got.clone().any(|labels| *labels == series.labels));
    missing.map_or(Ok(()), |series| different(format!("expected metric {} not found", series.labels)))
}

fn check_vector(expected: &[ExpectedSeries], samples: &[Sample], ordered: bool) -> Result<(), Mismatch> {
    for (position, sample) in samples.iter().enumerate() {
        let (wanted_position, series) = find(expected, &sample.labels)?;
        if ordered && wanted_position != position {
            return different(format!(
                "expected metric {} at position {} but was at {}",
                sample.labels,
                wanted_position + 1,
                position + 1
            ));
        }
        match (series.values.first(), &sample.value) {
            (Some(SequenceValue::Float(wanted)), SampleValue::Float(got)) => {
                equal_or(*wanted, *got, || sample.labels.to_string())?;
            }
            (Some(SequenceValue::Float(_)), SampleValue::Histogram(_)) => {
                return different(format!("expected a float for {}, got a histogram", sample.labels));
            }
            (Some(SequenceValue::Histogram(_)), _) => {
                return Err(Mismatch::Histogram(sample.labels.to_string()));
            }
            (Some(SequenceValue::Omitted) | None, _) => {
                return different(format!("expected no value for {}", sample.labels));
            }
        }
    }
    all_found(expected, samples.iter().map(|sample| &sample.labels))
}

fn check_matrix(expected: &[ExpectedSeries], grid: EvalTimes, matrix: &[Series]) -> Result<(), Mismatch> {
    let sorted =
        matrix.windows(2).all(|pair| pair[0].labels.as_ref().cmp_prometheus(pair[1].labels.as_ref()).is_le());
    if !sorted {
        return different("matrix results should always be sorted by labels, but matrix is not sorted");
    }
    for series in matrix {
        check_points(find(expected, &series.labels)?.1, grid, series)?;
    }
    all_found(expected, matrix.iter().map(|series| &series.labels))
}

fn check_points(expected: &ExpectedSeries, grid: EvalTimes, series: &Series) -> Result<(), Mismatch> {
    let labels = &series.labels;
    let (start, end, step) = match grid {
        EvalTimes::Instant { at } => (at, at, 0),
        EvalTimes::Range { start, end, step } => (start, end, step),
    };
    let mut ts = start;
    if let Some(ts) = series.samples.histograms.ts().first() {
        return match expected.values.iter().any(|value| matches!(value, SequenceValue::Histogram(_))) {
            true => Err(Mismatch::Histogram(labels.to_string())),
            false => different(format!("unexpected histogram for {labels} at {ts}")),
        };
    }
    let mut floats = series.samples.floats.iter();
    for value in &expected.values {
        if ts > end {
            let wanted = expected.values.len();
            return different(format!("{wanted} points are expected for {labels}, more than the range has"));
        }
        match value {
            SequenceValue::Omitted => {}
            SequenceValue::Histogram(_) => return Err(Mismatch::Histogram(labels.to_string())),
            SequenceValue::Float(wanted) => match floats.next() {
                Some((at, got)) if at == ts => equal_or(*wanted, got, || format!("{labels} at {ts}"))?,
                Some((at, _)) => {
                    return different(format!("expected a value for {labels} at {ts}, got one at {at}"));
                }
                None => return different(format!("expected a value for {labels} at {ts}, got none")),
            },
        }
        ts = ts.saturating_add(step);
    }
    match floats.next() {
        Some((at, value)) => different(format!("unexpected value for {labels} at {at}: {value}")),
        None => Ok(()),
    }
}
