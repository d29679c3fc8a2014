//! Remote write 1.0: `prometheus.WriteRequest` in a snappy block.
//!
//! ```text
//! WriteRequest := ( 1: TimeSeries | 3: MetricMetadata )*
//! TimeSeries   := ( 1: Label | 2: Sample | 3: Exemplar | 4: Histogram )*
//! Label        := 1: name (string), 2: value (string)
//! Sample       := 1: value (double), 2: timestamp (int64, milliseconds)
//! ```
//!
//! The decoder walks the message once. Labels are not decoded: a series keeps the range of the bytes
//! that hold them, and [`RemoteWrite1Labels`] decodes those of series that turn out to be new.
//!
//! Invariants:
//! - A series' label bytes are a sequence of `1: Label` fields and nothing else. Where a sender put
//!   other fields between them, they are copied together behind the message, so that equal label
//!   sequences have equal bytes.
//! - Series and samples are counted before memory is taken for them.
//! - Fields may come in any order and repeat; of a scalar the last one counts, absent ones are zero.
//! - Unknown fields are skipped; a known field of another wire type is an error.
//!
//! Source: prometheus v3.16 `prompb/remote.proto`, `prompb/types.proto`; remote write specification
//! 1.0.

mod encode;

use std::sync::Arc;

use bytes::Bytes;
use promontory_model::{Batch, BatchSeries, Floats, IngestLimits, LabelsBuilder, LabelsCodec};

pub use self::encode::WriteRequestEncoder;
use crate::error::DecodeError;
use crate::protobuf::{FieldReader, ProtobufError, Tag, WireType};
use crate::snappy;

const WRITE_REQUEST_TIMESERIES: u32 = 1;
const WRITE_REQUEST_METADATA: u32 = 3;
const TIMESERIES_LABELS: u32 = 1;
const TIMESERIES_SAMPLES: u32 = 2;
const TIMESERIES_EXEMPLARS: u32 = 3;
const TIMESERIES_HISTOGRAMS: u32 = 4;
const LABEL_NAME: u32 = 1;
const LABEL_VALUE: u32 = 2;
const SAMPLE_VALUE: u32 = 1;
const SAMPLE_TIMESTAMP: u32 = 2;

/// Bytes that one series with its first sample usually has at least; only sizes the first allocation.
const SERIES_BYTES_TYPICAL: usize = 96;

/// A request, decoded and counted.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The series that have samples. Memory: the decompressed message, 64 bytes per series and 16 per
    /// float.
    pub batch: Batch,
    /// What the request holds that no batch does.
    pub other: OtherContent,
}

/// Parts of a request that no batch holds, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OtherContent {
    /// Series without any sample, histogram or exemplar; legal, and nothing to store.
    pub empty_series: u64,
    /// Native histograms; not stored yet.
    pub histograms: u64,
    /// Exemplars; not stored yet.
    pub exemplars: u64,
    /// Entries of metric metadata; not stored yet.
    pub metadata: u64,
}

/// Decompresses and decodes a request's body.
///
/// # Errors
/// [`DecodeError`]; `TooLarge` names the limit among `decoded_bytes_max`, `series_per_request_max` and
/// `samples_per_request_max`.
pub fn decode(body: &[u8], limits: &IngestLimits) -> Result<Decoded, DecodeError> {
    decode_message(snappy::decompress(body, limits.decoded_bytes_max)?, limits)
}

/// Decodes a message that is already decompressed.
///
/// # Errors
/// As [`decode`].
pub fn decode_message(message: Vec<u8>, limits: &IngestLimits) -> Result<Decoded, DecodeError> {
    let series_expected = (message.len() / SERIES_BYTES_TYPICAL).min(limits.series_per_request_max);
    let mut decoder = Decoder {
        limits,
        message_len: message.len(),
        series_seen: 0,
        series: Vec::with_capacity(series_expected),
        timestamps: Vec::with_capacity(series_expected),
        values: Vec::with_capacity(series_expected),
        gathered: Vec::new(),
        other: OtherContent::default(),
    };
    decoder.write_request(&message)?;
    let Decoder { series, timestamps, values, gathered, other, .. } = decoder;
    let mut body = message;
    body.extend_from_slice(&gathered);
    let mut batch = Batch::new(Bytes::from(body), Arc::new(RemoteWrite1Labels));
    batch.series = series;
    batch.samples = Floats::new(timestamps, values).into();
    Ok(Decoded { batch, other })
}

/// The codec of label bytes: `1: Label` fields one after the other.
#[derive(Clone, Copy, Debug)]
pub struct RemoteWrite1Labels;

impl RemoteWrite1Labels {
    /// Labels of one series at most, whatever the limit of the receiver: it bounds the memory that
    /// decoding takes (millions of empty labels fit into one request).
    pub const LABELS_MAX: usize = 16_384;
}

impl LabelsCodec for RemoteWrite1Labels {
    fn context(&self) -> &[u8] {
        b"remote write 1.0"
    }

    fn decode(&self, encoded: &[u8], out: &mut LabelsBuilder) -> Result<(), String> {
        let mut reader = FieldReader::new(encoded);
        for count in 0.. {
            let Some(tag) = reader.tag().map_err(in_labels)? else { break };
            if count == Self::LABELS_MAX {
                return Err(format!("more than {} labels", Self::LABELS_MAX));
            }
            if tag.field != TIMESERIES_LABELS {
                return Err("label bytes hold something else than labels".to_owned());
            }
            reader.expect(tag, WireType::Bytes).map_err(in_labels)?;
            let (name, value) = label(reader.message().map_err(in_labels)?).map_err(in_labels)?;
            out.push(utf8("name", name)?, utf8("value", value)?);
        }
        Ok(())
    }
}

struct Decoder<'a> {
    limits: &'a IngestLimits,
    message_len: usize,
    /// All series, those without samples included: they are what a bomb is made of.
    series_seen: usize,
    series: Vec<BatchSeries>,
    timestamps: Vec<i64>,
    values: Vec<f64>,
    /// Labels of series in which other fields lie between them; they follow the message.
    gathered: Vec<u8>,
    other: OtherContent,
}

impl Decoder<'_> {
    fn write_request(&mut self, message: &[u8]) -> Result<(), DecodeError> {
        let mut reader = FieldReader::new(message);
        while let Some(tag) = reader.tag()? {
            match tag.field {
                WRITE_REQUEST_TIMESERIES => {
                    reader.expect(tag, WireType::Bytes)?;
                    self.count_series()?;
                    self.time_series(message, reader.message()?)?;
                }
                WRITE_REQUEST_METADATA => skip_message(&mut reader, tag, &mut self.other.metadata)?,
                _ => reader.skip(tag)?,
            }
        }
        Ok(())
    }

    fn time_series(&mut self, message: &[u8], mut reader: FieldReader<'_>) -> Result<(), DecodeError> {
        let samples_start = self.timestamps.len();
        let others_before = self.other;
        let mut labels = LabelBytes::new(reader.offset());
        while let Some(field_start) = Some(reader.offset()).filter(|_| !reader.is_empty()) {
            let Some(tag) = reader.tag()? else { break };
            match tag.field {
                TIMESERIES_LABELS => {
                    reader.expect(tag, WireType::Bytes)?;
                    reader.bytes()?;
                    labels.add(message, field_start..reader.offset(), &mut self.gathered);
                }
                TIMESERIES_SAMPLES => {
                    reader.expect(tag, WireType::Bytes)?;
                    self.count_sample()?;
                    let (timestamp, value) = sample(reader.message()?)?;
                    self.timestamps.push(timestamp);
                    self.values.push(value);
                }
                TIMESERIES_EXEMPLARS => skip_message(&mut reader, tag, &mut self.other.exemplars)?,
                TIMESERIES_HISTOGRAMS => skip_message(&mut reader, tag, &mut self.other.histograms)?,
                _ => reader.skip(tag)?,
            }
        }
        let floats = samples_start..self.timestamps.len();
        if !floats.is_empty() {
            let labels = labels.range(self.message_len, self.gathered.len());
            self.series.push(BatchSeries { labels, floats, histograms: 0..0, exemplars: 0..0 });
            return Ok(());
        }
        labels.forget(&mut self.gathered);
        if self.other == others_before {
            self.other.empty_series += 1;
        }
        Ok(())
    }

    fn count_series(&mut self) -> Result<(), DecodeError> {
        self.series_seen += 1;
        within("series", self.series_seen, self.limits.series_per_request_max, "series_per_request_max")
    }

    fn count_sample(&self) -> Result<(), DecodeError> {
        let found = self.timestamps.len() + 1;
        within("samples", found, self.limits.samples_per_request_max, "samples_per_request_max")
    }
}

/// Where the labels of one series lie: one range of the message while nothing comes between them,
/// else a range of the gathered bytes.
struct LabelBytes {
    range: std::ops::Range<usize>,
    gathered_from: Option<usize>,
}

impl LabelBytes {
    fn new(at: usize) -> Self {
        Self { range: at..at, gathered_from: None }
    }

    fn add(&mut self, message: &[u8], field: std::ops::Range<usize>, gathered: &mut Vec<u8>) {
        if self.gathered_from.is_some() {
            gathered.extend_from_slice(&message[field]);
        } else if self.range.is_empty() {
            self.range = field;
        } else if self.range.end == field.start {
            self.range.end = field.end;
        } else {
            self.gathered_from = Some(gathered.len());
            gathered.extend_from_slice(&message[self.range.clone()]);
            gathered.extend_from_slice(&message[field]);
        }
    }

    fn range(&self, message_len: usize, gathered_len: usize) -> std::ops::Range<usize> {
        match self.gathered_from {
            Some(from) => message_len + from..message_len + gathered_len,
            None => self.range.clone(),
        }
    }

    fn forget(&self, gathered: &mut Vec<u8>) {
        if let Some(from) = self.gathered_from {
            gathered.truncate(from);
        }
    }
}

fn within(what: &'static str, found: usize, limit: usize, name: &'static str) -> Result<(), DecodeError> {
    if found <= limit {
        return Ok(());
    }
    Err(DecodeError::TooLarge { what, found, limit, name })
}

fn skip_message(reader: &mut FieldReader<'_>, tag: Tag, count: &mut u64) -> Result<(), ProtobufError> {
    reader.expect(tag, WireType::Bytes)?;
    reader.bytes()?;
    *count += 1;
    Ok(())
}

fn sample(mut reader: FieldReader<'_>) -> Result<(i64, f64), ProtobufError> {
    let (mut timestamp, mut value) = (0_i64, 0_f64);
    while let Some(tag) = reader.tag()? {
        match tag.field {
            SAMPLE_VALUE => {
                reader.expect(tag, WireType::Fixed64)?;
                value = f64::from_bits(reader.fixed64()?);
            }
            SAMPLE_TIMESTAMP => {
                reader.expect(tag, WireType::Varint)?;
                timestamp = reader.varint()? as i64;
            }
            _ => reader.skip(tag)?,
        }
    }
    Ok((timestamp, value))
}

fn label(mut reader: FieldReader<'_>) -> Result<(&[u8], &[u8]), ProtobufError> {
    let (mut name, mut value) = (&[][..], &[][..]);
    while let Some(tag) = reader.tag()? {
        let target = match tag.field {
            LABEL_NAME => &mut name,
            LABEL_VALUE => &mut value,
            _ => {
                reader.skip(tag)?;
                continue;
            }
        };
        reader.expect(tag, WireType::Bytes)?;
        *target = reader.bytes()?;
    }
    Ok((name, value))
}

fn utf8<'a>(part: &str, bytes: &'a [u8]) -> Result<&'a str, String> {
    std::str::from_utf8(bytes).map_err(|_| format!("label {part} is not UTF-8: {}", bytes.escape_ascii()))
}

fn in_labels(error: ProtobufError) -> String {
    format!("labels are not well-formed: {error}")
}

#[cfg(test)]
mod tests;
