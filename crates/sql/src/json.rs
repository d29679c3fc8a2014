//! Arrow batches as JSON.
//!
//! ```text
//! integers, finite doubles   numbers            NaN, +Inf, -Inf   texts, as Prometheus writes them
//! timestamps                 RFC 3339 texts     map, struct       objects
//! lists                      arrays             NULL              null
//! ```

use std::sync::Arc;

use arrow::array::{Array, AsArray, Date32Array, Float32Array, Float64Array, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, FieldRef, Float32Type, Float64Type, Int64Type, Schema, TimeUnit,
};
use arrow::error::ArrowError;
use arrow::json::writer::{Encoder, EncoderFactory, EncoderOptions, NullableEncoder, make_encoder};
use arrow::util::display::{ArrayFormatter, DurationFormat, FormatOptions};
use axum::response::Response;
use promontory_api::{ApiError, ErrorType, Items, success_parts, while_read};
use promontory_promql::engine::{Annotations, RequestContext};
use promontory_query::{SqlAnswer, iso_date, iso_time, sql_type};

/// Rows that are written between two looks at the size of a part.
const ROWS_PER_CALL: usize = 256;

/// The response of an answer to a request.
///
/// # Errors
/// If a column has a type that JSON cannot show; the statement can cast it.
pub fn respond(context: &RequestContext, answer: SqlAnswer) -> Result<Response, ApiError> {
    check_types(&answer)?;
    let annotations = Annotations { warnings: answer.warnings, infos: Vec::new() };
    let schema = answer.schema;
    let before = |out: &mut Vec<u8>| columns(out, &schema);
    let after = |out: &mut Vec<u8>| out.extend_from_slice(b"]}");
    Ok(success_parts(&annotations, before, while_read(context, rows(answer.batches)), after))
}

/// Finds out before the answer begins whether all of it can be written.
fn check_types(answer: &SqlAnswer) -> Result<(), ApiError> {
    let empty = RecordBatch::new_empty(Arc::clone(&answer.schema));
    let mut out = Vec::new();
    write_rows(&empty, 0..0, &mut true, &mut out).map_err(|error| {
        ApiError::new(ErrorType::Execution, format!("cannot write the answer as JSON: {error}"))
    })
}

fn columns(out: &mut Vec<u8>, schema: &Schema) {
    out.extend_from_slice(b"{\"columns\":[");
    for (idx, field) in schema.fields().iter().enumerate() {
        let separator: &[u8] = if idx == 0 { b"" } else { b"," };
        out.extend_from_slice(separator);
        let (name, data_type) = (text(field.name()), text(&sql_type(field.data_type())));
        out.extend_from_slice(format!("{{\"name\":{name},\"type\":{data_type}}}").as_bytes());
    }
    out.extend_from_slice(b"],\"rows\":[");
}

fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn rows(batches: Vec<RecordBatch>) -> Items {
    let mut batches = batches.into_iter();
    let mut current: Option<(RecordBatch, usize)> = None;
    let mut first = true;
    Box::new(move |out| {
        let Some((batch, at)) = current.take().or_else(|| batches.next().map(|batch| (batch, 0))) else {
            return false;
        };
        let to = batch.num_rows().min(at + ROWS_PER_CALL);
        if let Err(error) = write_rows(&batch, at..to, &mut first, out) {
            // The types were checked, so this cannot be; an array that is not closed is no JSON.
            tracing::error!(%error, "cannot write rows as JSON; the answer is cut");
            return false;
        }
        if to < batch.num_rows() {
            current = Some((batch, to));
        }
        true
    })
}

fn write_rows(
    batch: &RecordBatch,
    rows: std::ops::Range<usize>,
    first: &mut bool,
    out: &mut Vec<u8>,
) -> Result<(), ArrowError> {
    let options = EncoderOptions::default().with_encoder_factory(Arc::new(Values));
    let schema = batch.schema();
    let fields = schema.fields().iter().zip(batch.columns());
    let mut encoders = fields
        .map(|(field, column)| make_encoder(field, column, &options))
        .collect::<Result<Vec<NullableEncoder<'_>>, ArrowError>>()?;
    for row in rows {
        out.extend_from_slice(if std::mem::take(first) { b"[" } else { b",[" });
        for (column, encoder) in encoders.iter_mut().enumerate() {
            if column > 0 {
                out.push(b',');
            }
            if encoder.is_null(row) {
                out.extend_from_slice(b"null");
            } else {
                encoder.encode(row, out);
            }
        }
        out.push(b']');
    }
    Ok(())
}

/// Writes floats so that none is lost: JSON has no NaN and no infinity, and a null would say that
/// nothing was there. And times so that each is one: the library ends the text of what its calendar does not know.
#[derive(Debug)]
struct Values;

impl EncoderFactory for Values {
    fn make_default_encoder<'a>(
        &self,
        _: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let encoder: Box<dyn Encoder + 'a> = match array.data_type() {
            DataType::Float64 => Box::new(Doubles(array.as_primitive::<Float64Type>())),
            DataType::Float32 => Box::new(Singles(array.as_primitive::<Float32Type>())),
            DataType::Timestamp(unit, zone) if zone.as_deref().is_none_or(|zone| zone == "UTC") => {
                let per_second = match unit {
                    TimeUnit::Second => 1,
                    TimeUnit::Millisecond => 1_000,
                    TimeUnit::Microsecond => 1_000_000,
                    TimeUnit::Nanosecond => 1_000_000_000,
                };
                Box::new(Times { ticks: ticks(array)?, per_second, is_instant: zone.is_some() })
            }
            DataType::Date32 => Box::new(Dates(array.as_primitive::<Date32Type>())),
            DataType::Time32(_) | DataType::Time64(_) | DataType::Duration(_) | DataType::Interval(_) => {
                let options = FormatOptions::new().with_duration_format(DurationFormat::ISO8601);
                Box::new(Texts(ArrayFormatter::try_new(array, &options)?))
            }
            _ => return Ok(None),
        };
        Ok(Some(NullableEncoder::new(encoder, array.nulls().cloned())))
    }
}

fn ticks(times: &dyn Array) -> Result<Int64Array, ArrowError> {
    Ok(cast(times, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
}

struct Times {
    ticks: Int64Array,
    per_second: i64,
    is_instant: bool,
}

impl Encoder for Times {
    fn encode(&mut self, idx: usize, out: &mut Vec<u8>) {
        let shown = iso_time(self.ticks.value(idx), self.per_second, self.is_instant);
        out.extend_from_slice(text(&shown).as_bytes());
    }
}

struct Dates<'a>(&'a Date32Array);

impl Encoder for Dates<'_> {
    fn encode(&mut self, idx: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(text(&iso_date(i64::from(self.0.value(idx)))).as_bytes());
    }
}

/// What has no calendar; a value that is none is null.
struct Texts<'a>(ArrayFormatter<'a>);

impl Encoder for Texts<'_> {
    fn encode(&mut self, idx: usize, out: &mut Vec<u8>) {
        match self.0.value(idx).try_to_string() {
            Ok(shown) => out.extend_from_slice(text(&shown).as_bytes()),
            Err(_) => out.extend_from_slice(b"null"),
        }
    }
}

struct Doubles<'a>(&'a Float64Array);

impl Encoder for Doubles<'_> {
    fn encode(&mut self, idx: usize, out: &mut Vec<u8>) {
        let value = self.0.value(idx);
        match serde_json::Number::from_f64(value) {
            Some(number) => out.extend_from_slice(number.to_string().as_bytes()),
            None => out.extend_from_slice(not_finite(value)),
        }
    }
}

struct Singles<'a>(&'a Float32Array);

impl Encoder for Singles<'_> {
    fn encode(&mut self, idx: usize, out: &mut Vec<u8>) {
        let value = self.0.value(idx);
        if value.is_finite() {
            // The shortest text of a single is not that of the same value as a double.
            out.extend_from_slice(format!("{value:?}").as_bytes());
        } else {
            out.extend_from_slice(not_finite(f64::from(value)));
        }
    }
}

fn not_finite(value: f64) -> &'static [u8] {
    if value.is_nan() {
        b"\"NaN\""
    } else if value > 0.0 {
        b"\"+Inf\""
    } else {
        b"\"-Inf\""
    }
}

#[cfg(test)]
mod tests;
