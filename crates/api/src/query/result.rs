//! The result of a query as JSON, item by item.

use std::ops::Range;

use promontory_model::histogram::{Histogram, HistogramBucket};
use promontory_model::samples::{SampleValue, SamplesView};
use promontory_promql::engine::{Sample, Series, Value};

use crate::face::{Items, json, separated};

/// Samples that are written between two looks at the size of a part.
const SAMPLES_PER_CALL: usize = 256;

/// What stands between the brackets of `result`.
pub(super) fn items(value: Value) -> Items {
    match value {
        Value::Matrix(series) => matrix_items(series),
        Value::Vector(samples) => separated(samples, |out, sample| write_sample(out, &sample)),
        Value::Scalar { ts, value } => once(move |out| {
            json::plain_timestamp(out, ts);
            out.push(b',');
            json::scalar_value(out, value);
        }),
        Value::String { ts, text } => once(move |out| {
            json::plain_timestamp(out, ts);
            out.push(b',');
            json::string(out, &text);
        }),
    }
}

fn once(write: impl FnOnce(&mut Vec<u8>) + Send + 'static) -> Items {
    let mut write = Some(write);
    Box::new(move |out| write.take().map(|write| write(out)).is_some())
}

fn write_sample(out: &mut Vec<u8>, sample: &Sample) {
    out.extend_from_slice(b"{\"metric\":");
    json::labels(out, sample.labels.as_ref());
    match &sample.value {
        SampleValue::Float(value) => {
            out.extend_from_slice(b",\"value\":");
            write_float(out, sample.ts, *value);
        }
        SampleValue::Histogram(histogram) => {
            out.extend_from_slice(b",\"histogram\":");
            write_histogram(out, sample.ts, histogram);
        }
    }
    out.push(b'}');
}

/// A series may have millions of samples (a range vector), so it is written in pieces.
fn matrix_items(series: Vec<Series>) -> Items {
    let mut series = series.into_iter();
    let mut current: Option<(Series, usize)> = None;
    let mut separator: &[u8] = b"";
    Box::new(move |out| {
        let (one, at) = match current.take() {
            Some(under_way) => under_way,
            None => {
                let Some(one) = series.next() else { return false };
                out.extend_from_slice(separator);
                separator = b",";
                out.extend_from_slice(b"{\"metric\":");
                json::labels(out, one.labels.as_ref());
                (one, 0)
            }
        };
        let to = one.samples.len().min(at + SAMPLES_PER_CALL);
        write_samples(out, one.samples.view(), at..to);
        if to < one.samples.len() {
            current = Some((one, to));
        } else {
            out.push(b'}');
        }
        true
    })
}

/// Samples by their number: first the floats, as `values`, then the native histograms, as `histograms`.
fn write_samples(out: &mut Vec<u8>, samples: SamplesView<'_>, numbers: Range<usize>) {
    let SamplesView { floats, histograms } = samples;
    let split = floats.len();
    for at in numbers.start..numbers.end.min(split) {
        out.extend_from_slice(if at == 0 { b",\"values\":[" } else { b"," });
        write_float(out, floats.ts()[at], floats.values()[at]);
        close_list(out, at + 1 == split);
    }
    for at in numbers.start.max(split) - split..numbers.end.max(split) - split {
        out.extend_from_slice(if at == 0 { b",\"histograms\":[" } else { b"," });
        write_histogram(out, histograms.ts()[at], histograms.values().get(at));
        close_list(out, at + 1 == histograms.len());
    }
}

fn close_list(out: &mut Vec<u8>, last: bool) {
    if last {
        out.push(b']');
    }
}

fn write_float(out: &mut Vec<u8>, ts: i64, value: f64) {
    out.push(b'[');
    json::timestamp(out, ts);
    out.push(b',');
    json::value(out, value);
    out.push(b']');
}

/// A timestamp and the histogram; buckets without observations are left out.
///
/// Source: prometheus v3.16 `util/jsonutil/marshal.go`, `MarshalHistogram`.
fn write_histogram(out: &mut Vec<u8>, ts: i64, histogram: &Histogram) {
    out.push(b'[');
    json::timestamp(out, ts);
    out.extend_from_slice(b",{\"count\":");
    json::value(out, histogram.parts().count);
    out.extend_from_slice(b",\"sum\":");
    json::value(out, histogram.parts().sum);
    let mut open: &[u8] = b",\"buckets\":[";
    for bucket in histogram.buckets().filter(|bucket| bucket.count != 0.0) {
        out.extend_from_slice(open);
        open = b",";
        write_bucket(out, &bucket);
    }
    close_list(out, open == b",");
    out.extend_from_slice(b"}]");
}

/// `[rule, lower, upper, count]`; the rule says which bounds belong to the bucket.
fn write_bucket(out: &mut Vec<u8>, bucket: &HistogramBucket) {
    out.extend_from_slice(match (bucket.lower_inclusive, bucket.upper_inclusive) {
        (false, true) => b"[0",
        (true, false) => b"[1",
        (false, false) => b"[2",
        (true, true) => b"[3",
    });
    for value in [bucket.lower, bucket.upper, bucket.count] {
        out.push(b',');
        json::value(out, value);
    }
    out.push(b']');
}
