//! Answers of the query API, and whether two servers gave the same one.
//!
//! "Same" means: the same HTTP status, the same error type, the same result type, exactly the same
//! label sets and timestamps, and floats within a relative 1e-9 (NaN equals NaN). Series of a range
//! query come in the same order; so do those of an instant query, if the caller asks for it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::http::Answer;

/// How far two floats may differ, relative to the larger one.
const TOLERANCE: f64 = 1e-9;
/// How many differences are told of one pair of answers.
const TOLD_MAX: usize = 3;

/// Whether the series of an instant vector must come in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The query sorts.
    Matters,
    /// The order is not defined.
    Free,
}

/// Samples by series, each series by its labels in one line of JSON.
pub type Matrix = BTreeMap<String, Vec<(i64, f64)>>;

/// What differs, in words; `None` if the answers are the same.
pub fn difference(expected: &Answer, actual: &Answer, order: Order) -> Option<String> {
    if expected.status != actual.status {
        let text: String = actual.text().chars().take(300).collect();
        return Some(format!("status {} instead of {}: {text}", actual.status, expected.status));
    }
    let (left, right) = (expected.json(), actual.json());
    if left["errorType"] != right["errorType"] {
        return Some(format!(
            "{} ({}) instead of {} ({})",
            right["errorType"], right["error"], left["errorType"], left["error"]
        ));
    }
    if left["status"] != right["status"] {
        return Some(format!("status {} instead of {}", right["status"], left["status"]));
    }
    if left["status"] == "error" {
        return None;
    }
    data_difference(&left["data"], &right["data"], order)
}

fn data_difference(left: &Value, right: &Value, order: Order) -> Option<String> {
    let kind = &left["resultType"];
    if kind != &right["resultType"] {
        return Some(format!("result type {} instead of {kind}", right["resultType"]));
    }
    match kind.as_str() {
        Some("matrix") => series_difference(left, right, Order::Matters),
        Some("vector") => series_difference(left, right, order),
        Some("scalar") => {
            let (left, right) = (sample(&left["result"]), sample(&right["result"]));
            (!same_sample(&left, &right)).then(|| format!("{right:?} instead of {left:?}"))
        }
        // Strings, and the lists of /labels, /label and /series.
        _ => plain_difference(left, right),
    }
}

fn plain_difference(left: &Value, right: &Value) -> Option<String> {
    if left == right {
        return None;
    }
    let (Some(left), Some(right)) = (left.as_array(), right.as_array()) else {
        return Some(format!("{right} instead of {left}"));
    };
    let missing: Vec<String> = left.iter().filter(|v| !right.contains(v)).map(Value::to_string).collect();
    let extra: Vec<String> = right.iter().filter(|v| !left.contains(v)).map(Value::to_string).collect();
    if missing.is_empty() && extra.is_empty() {
        return Some("the same entries in another order".to_owned());
    }
    Some(format!("missing {}, unexpected {}", told(&missing), told(&extra)))
}

fn series_difference(left: &Value, right: &Value, order: Order) -> Option<String> {
    let (left, right) = (series(left), series(right));
    let (names, others) = (names(&left), names(&right));
    let by_name: BTreeMap<&str, &Vec<(i64, f64)>> = right.iter().map(|(k, v)| (k.as_str(), v)).collect();
    let missing: Vec<String> =
        names.iter().filter(|n| !by_name.contains_key(n.as_str())).map(String::clone).collect();
    let extra: Vec<String> = others.iter().filter(|n| !names.contains(n)).map(String::clone).collect();
    if !missing.is_empty() || !extra.is_empty() {
        return Some(format!("missing {}, unexpected {}", told(&missing), told(&extra)));
    }
    if left.len() != right.len() {
        return Some(format!("{} series instead of {}", right.len(), left.len()));
    }
    let wrong: Vec<String> = left
        .iter()
        .filter_map(|(name, samples)| {
            Some(format!("{name}: {}", samples_difference(samples, by_name[name.as_str()])?))
        })
        .collect();
    if !wrong.is_empty() {
        return Some(format!("{} series differ: {}", wrong.len(), told(&wrong)));
    }
    if order == Order::Matters && names != others {
        let at = names.iter().zip(&others).position(|(a, b)| a != b).unwrap_or_default();
        return Some(format!("another order: at {at} {} instead of {}", others[at], names[at]));
    }
    None
}

fn names(series: &[(String, Vec<(i64, f64)>)]) -> Vec<String> {
    series.iter().map(|(name, _)| name.clone()).collect()
}

fn samples_difference(left: &[(i64, f64)], right: &[(i64, f64)]) -> Option<String> {
    let wrong = left.iter().zip(right).find(|(left, right)| !same_sample(left, right));
    if let Some((left, right)) = wrong {
        return Some(format!("{right:?} instead of {left:?}"));
    }
    (left.len() != right.len()).then(|| format!("{} samples instead of {}", right.len(), left.len()))
}

fn same_sample(left: &(i64, f64), right: &(i64, f64)) -> bool {
    left.0 == right.0 && same_float(left.1, right.1)
}

fn same_float(left: f64, right: f64) -> bool {
    if left.is_nan() || right.is_nan() {
        return left.is_nan() && right.is_nan();
    }
    let finite = left.is_finite() && right.is_finite();
    left == right || finite && (left - right).abs() <= TOLERANCE * left.abs().max(right.abs())
}

fn told(lines: &[String]) -> String {
    let shown = lines.iter().take(TOLD_MAX).cloned().collect::<Vec<_>>().join("; ");
    if lines.len() > TOLD_MAX { format!("{} ({shown}; ...)", lines.len()) } else { format!("[{shown}]") }
}

/// The series of a vector or matrix in the order of the answer.
fn series(data: &Value) -> Vec<(String, Vec<(i64, f64)>)> {
    let Some(result) = data["result"].as_array() else { return Vec::new() };
    result
        .iter()
        .map(|entry| {
            let samples = match &entry["values"] {
                Value::Array(values) => values.iter().map(sample).collect(),
                _ => vec![sample(&entry["value"])],
            };
            (labels(&entry["metric"]), samples)
        })
        .collect()
}

/// Labels in one line, sorted by name.
fn labels(metric: &Value) -> String {
    let sorted: BTreeMap<String, String> = metric
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or("(no text)").to_owned()))
        .collect();
    serde_json::to_string(&sorted).expect("a map of strings")
}

/// One `[seconds, "value"]`.
fn sample(pair: &Value) -> (i64, f64) {
    // Seconds with up to three decimals: rounding gives back the milliseconds.
    let seconds = pair[0].as_f64().unwrap_or(f64::NAN);
    let text = pair[1].as_str().unwrap_or("(no text)");
    let value = text.parse().unwrap_or_else(|_| panic!("not a sample value: {text:?}"));
    ((seconds * 1_000.0).round() as i64, value)
}

/// The matrix of an answer.
///
/// # Panics
/// If the answer is no matrix or lists a series twice.
pub fn matrix(answer: &Answer) -> Matrix {
    let json = answer.json();
    let head: String = answer.text().chars().take(300).collect();
    assert_eq!(json["data"]["resultType"], "matrix", "status {}: {head}", answer.status);
    let mut out = Matrix::new();
    for (name, samples) in series(&json["data"]) {
        assert!(out.insert(name.clone(), samples).is_none(), "series twice in one answer: {name}");
    }
    out
}

/// The one value of an answer: of a scalar or of a vector of one series.
pub fn one_value(answer: &Answer) -> Option<f64> {
    let json = answer.json();
    let result = &json["data"]["result"];
    let pair = if json["data"]["resultType"] == "scalar" { result } else { &result[0]["value"] };
    pair[1].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(entries: &[(&str, &str)]) -> Answer {
        let result: Vec<Value> = entries
            .iter()
            .map(|(name, value)| serde_json::json!({"metric": {"n": name}, "value": [1.5, value]}))
            .collect();
        let data = serde_json::json!({"resultType": "vector", "result": result});
        let body = serde_json::json!({"status": "success", "data": data});
        Answer { status: 200, retry_after: None, body: body.to_string().into_bytes() }
    }

    fn check(left: &[(&str, &str)], right: &[(&str, &str)], order: Order, expected: Option<&str>) {
        let told = difference(&vector(left), &vector(right), order);
        match expected {
            None => assert_eq!(told, None),
            Some(part) => assert!(told.as_deref().unwrap_or("").contains(part), "{told:?} lacks {part:?}"),
        }
    }

    #[test]
    fn a_difference_of_answers_is_found_and_told() {
        let two = [("a", "1"), ("b", "NaN")];
        check(&two, &[("b", "NaN"), ("a", "1.0000000001")], Order::Free, None);
        check(&two, &[("b", "NaN"), ("a", "1")], Order::Matters, Some("another order"));
        check(&two, &[("a", "1.00000001"), ("b", "NaN")], Order::Free, Some("1 series differ"));
        check(&two, &[("a", "1"), ("b", "0")], Order::Free, Some("instead of"));
        check(&two, &[("a", "1")], Order::Free, Some("missing"));
        check(&[("a", "1")], &two, Order::Free, Some("unexpected"));
        check(&[("a", "+Inf")], &[("a", "-Inf")], Order::Free, Some("instead of"));
        check(&[("a", "+Inf")], &[("a", "1e308")], Order::Free, Some("instead of"));
    }
}
