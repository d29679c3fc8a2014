//! Series descriptions: a label set and its values, with repetitions.
//!
//! ```text
//! item  := '_' | '_x' N | value | value 'x' N | value sign number 'x' N
//! value := number | sign number | 'stale' | histogram
//! ```
//!
//! `value x N` is N + 1 values: the one at the start and N more.

use std::sync::Arc;

use promontory_model::histogram::CounterResetHint;
use promontory_model::{Labels, stale_nan};

use super::{HistogramStep, HistogramValue, SEQUENCE_VALUES_MAX, SequenceValue, TestBuckets, TestHistogram};
use crate::duration::parse_duration;
use crate::parser::{parse_metric_prefix, parse_number};

/// A label set and its values: `metric{a="b"} 1 2+3x4 _ stale`.
///
/// # Errors
/// A text that says what cannot be read.
pub fn parse_series(text: &str) -> Result<(Labels, Vec<SequenceValue>), String> {
    let (labels, end) = parse_metric_prefix(text).map_err(|error| error.to_string())?;
    Ok((labels, parse_values(&text[end..])?))
}

fn parse_values(text: &str) -> Result<Vec<SequenceValue>, String> {
    let mut values = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let item = rest.trim_start();
        if item.len() == rest.len() {
            return Err(format!("expected a space before {rest:?} in series values"));
        }
        if !item.is_empty() {
            rest = parse_item(item, &mut values)?;
        } else {
            rest = item;
        }
    }
    Ok(values)
}

/// Reads one item and returns what is behind it.
fn parse_item<'a>(text: &'a str, values: &mut Vec<SequenceValue>) -> Result<&'a str, String> {
    if text.starts_with("{{") {
        return parse_histogram_item(text, values);
    }
    let (item, rest) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
    let unreadable = |why: &str| format!("cannot read series value {item:?}: {why}");
    if let Some(behind) = item.strip_prefix('_') {
        let count = if behind.is_empty() { 1 } else { repetition(behind)? };
        push(values, count, |_| SequenceValue::Omitted)?;
        return Ok(rest);
    }
    if item == "stale" {
        push(values, 1, |_| SequenceValue::Float(stale_nan()))?;
        return Ok(rest);
    }
    let (mut value, behind) = signed_number(item).map_err(|why| unreadable(&why))?;
    if behind.is_empty() {
        push(values, 1, |_| SequenceValue::Float(value))?;
        return Ok(rest);
    }
    let (step, behind) = match behind.starts_with('x') {
        true => (None, behind),
        false => {
            let (step, behind) = signed_number(behind).map_err(|why| unreadable(&why))?;
            (Some(step), behind)
        }
    };
    push(values, repetition(behind)?.saturating_add(1), |_| {
        let now = value;
        // One after the other, so that rounding adds up as upstream's does; without a step nothing
        // is added, because a NaN would lose its bits.
        if let Some(step) = step {
            value += step;
        }
        SequenceValue::Float(now)
    })?;
    Ok(rest)
}

fn push(
    values: &mut Vec<SequenceValue>,
    count: usize,
    mut value: impl FnMut(usize) -> SequenceValue,
) -> Result<(), String> {
    if count > SEQUENCE_VALUES_MAX - values.len().min(SEQUENCE_VALUES_MAX) {
        return Err(format!("series has more than {SEQUENCE_VALUES_MAX} values"));
    }
    values.extend((0..count).map(&mut value));
    Ok(())
}

/// `xN`
fn repetition(text: &str) -> Result<usize, String> {
    let count = text.strip_prefix('x').filter(|count| count.bytes().all(|c| c.is_ascii_digit()));
    count
        .and_then(|count| count.parse().ok())
        .ok_or_else(|| format!("invalid repetition in series values: {text:?}"))
}

/// A number with or without sign, and what is behind it.
fn signed_number(text: &str) -> Result<(f64, &str), String> {
    let unsigned = text.trim_start_matches(['+', '-']);
    let negative = text.starts_with('-');
    if text.len() - unsigned.len() > 1 {
        return Err("more than one sign".to_owned());
    }
    let end = number_end(unsigned);
    let value = parse_number(&unsigned[..end])?;
    Ok((if negative { -value } else { value }, &unsigned[end..]))
}

/// Where the number at the start of a text ends. There are no hexadecimal numbers here: `0x3` is a
/// repetition.
fn number_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    if bytes.first().is_some_and(u8::is_ascii_alphabetic) {
        return text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    }
    let mut end = 0;
    while let Some(c) = bytes.get(end) {
        let sign_of_exponent = matches!(c, b'+' | b'-') && end > 0 && matches!(bytes[end - 1], b'e' | b'E');
        if !(c.is_ascii_digit() || matches!(c, b'.' | b'_' | b'e' | b'E') || sign_of_exponent) {
            break;
        }
        end += 1;
    }
    end
}

// Histograms.

/// `{{..}}`, `{{..}}xN`, `{{..}}+{{..}}xN`, `{{..}}-{{..}}xN`.
fn parse_histogram_item<'a>(text: &'a str, values: &mut Vec<SequenceValue>) -> Result<&'a str, String> {
    let (base, behind) = parse_histogram(text)?;
    let step = match behind.as_bytes().first() {
        Some(sign @ (b'+' | b'-')) => Some((*sign == b'-', parse_histogram(&behind[1..])?)),
        _ => None,
    };
    let behind = step.as_ref().map_or(behind, |(_, (_, behind))| behind);
    let (repeat, rest) = behind.split_at(behind.find(char::is_whitespace).unwrap_or(behind.len()));
    if repeat.is_empty() && step.is_some() {
        return Err("a histogram that changes needs a repetition".to_owned());
    }
    let count = if repeat.is_empty() { 1 } else { repetition(repeat)?.saturating_add(1) };
    let base = Arc::new(base);
    let step = step.map(|(subtract, (by, _))| HistogramStep { subtract, by: Arc::new(by) });
    push(values, count, |times| {
        SequenceValue::Histogram(HistogramValue {
            base: Arc::clone(&base),
            step: step.clone(),
            times: if step.is_some() { times } else { 0 },
        })
    })?;
    Ok(rest)
}

/// `{{key:value ...}}` and what is behind it.
fn parse_histogram(text: &str) -> Result<(TestHistogram, &str), String> {
    let incomplete = || format!("histogram description incomplete: {text:?}");
    let (inside, behind) =
        text.strip_prefix("{{").and_then(|text| text.split_once("}}")).ok_or_else(incomplete)?;
    let mut histogram = TestHistogram::default();
    let mut seen = Vec::new();
    let mut rest = inside.trim();
    while !rest.is_empty() {
        let (key, value) =
            rest.split_once(':').ok_or_else(|| format!("missing `:` for histogram descriptor {rest:?}"))?;
        let key = key.to_ascii_lowercase();
        let end = if value.starts_with('[') {
            value.find(']').map(|end| end + 1)
        } else {
            value.find(char::is_whitespace)
        };
        let (value, behind) = value.split_at(end.unwrap_or(value.len()));
        set_field(&mut histogram, &key, value)?;
        if seen.contains(&key) {
            return Err(format!("duplicate key {key:?} in histogram"));
        }
        seen.push(key);
        rest = behind.trim_start();
    }
    Ok((histogram, behind))
}

fn set_field(histogram: &mut TestHistogram, key: &str, value: &str) -> Result<(), String> {
    let offset = |buckets: &mut TestBuckets| integer(value).map(|offset| buckets.offset = offset);
    match key {
        "schema" => histogram.schema = integer(value)?,
        "sum" => histogram.sum = number(value)?,
        "count" => histogram.count = number(value)?,
        "z_bucket" => histogram.zero_count = number(value)?,
        "z_bucket_w" => histogram.zero_threshold = number(value)?,
        "custom_values" => histogram.custom_values = numbers(value)?,
        "buckets" => histogram.positive.counts = numbers(value)?,
        "n_buckets" => histogram.negative.counts = numbers(value)?,
        "offset" => offset(&mut histogram.positive)?,
        "n_offset" => offset(&mut histogram.negative)?,
        "counter_reset_hint" => histogram.reset_hint = Some(reset_hint(value)?),
        _ => return Err(format!("bad histogram descriptor found: {key:?}")),
    }
    Ok(())
}

fn reset_hint(text: &str) -> Result<CounterResetHint, String> {
    match text.to_ascii_lowercase().as_str() {
        "unknown" => Ok(CounterResetHint::Unknown),
        "reset" => Ok(CounterResetHint::Reset),
        "not_reset" => Ok(CounterResetHint::NoReset),
        "gauge" => Ok(CounterResetHint::Gauge),
        _ => Err(format!("error parsing counter_reset_hint: unknown value {text:?}")),
    }
}

fn number(text: &str) -> Result<f64, String> {
    match signed_number(text)? {
        (value, "") => Ok(value),
        _ => Err(format!("cannot read number {text:?}")),
    }
}

fn integer(text: &str) -> Result<i32, String> {
    text.parse().map_err(|_| format!("cannot read integer {text:?}"))
}

/// `[1 2 3]`
fn numbers(text: &str) -> Result<Vec<f64>, String> {
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let inside = inside.ok_or_else(|| format!("cannot read bucket set {text:?}"))?;
    inside.split_whitespace().map(number).collect()
}

// Start timestamps.

/// The offsets of an `@st` line, in milliseconds, one per value: `_ -1m 0s-1mx3`.
///
/// # Errors
/// A text that says which item cannot be read.
pub fn parse_start_timestamps(text: &str) -> Result<Vec<Option<i64>>, String> {
    let mut offsets = Vec::new();
    for item in text.split_whitespace() {
        let more = start_timestamp_item(item).map_err(|why| format!("invalid ST item {item:?}: {why}"))?;
        if more.count > SEQUENCE_VALUES_MAX - offsets.len() {
            return Err(format!("series has more than {SEQUENCE_VALUES_MAX} values"));
        }
        let mut offset = more.first;
        for _ in 0..more.count {
            offsets.push(offset);
            offset = offset.map(|offset| offset.saturating_add(more.step));
        }
    }
    Ok(offsets)
}

struct Offsets {
    first: Option<i64>,
    step: i64,
    count: usize,
}

fn start_timestamp_item(item: &str) -> Result<Offsets, String> {
    if let Some(behind) = item.strip_prefix('_') {
        let count = if behind.is_empty() { 1 } else { repetition(behind)? };
        return Ok(Offsets { first: None, step: 0, count });
    }
    let (first, behind) = signed_duration(item)?;
    let (step, behind) = match behind.as_bytes().first() {
        Some(b'+' | b'-') => signed_duration(behind)?,
        _ => (0, behind),
    };
    let count = if behind.is_empty() && step == 0 { 1 } else { repetition(behind)?.saturating_add(1) };
    Ok(Offsets { first: Some(first), step, count })
}

/// A duration with a sign, which has only one unit here, and what is behind it.
fn signed_duration(text: &str) -> Result<(i64, &str), String> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let letters = unsigned[digits..].bytes().take_while(|c| c.is_ascii_alphabetic() && *c != b'x').count();
    let (duration, behind) = unsigned.split_at(digits + letters);
    let ms = parse_duration(duration).map_err(|why| why.to_string())?;
    Ok((if text.starts_with('-') { -ms } else { ms }, behind))
}
