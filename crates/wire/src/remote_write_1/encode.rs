//! Writes `prometheus.WriteRequest`: for tests, load generators and, later, remote write out.

use crate::protobuf::FieldWriter;
use crate::snappy;

use super::{
    LABEL_NAME, LABEL_VALUE, SAMPLE_TIMESTAMP, SAMPLE_VALUE, TIMESERIES_LABELS, TIMESERIES_SAMPLES,
    WRITE_REQUEST_METADATA, WRITE_REQUEST_TIMESERIES,
};

/// Collects the series of one request.
///
/// Zero timestamps and values and empty strings are left out as proto3 does; everything else is
/// written as given, so that tests can also write what a receiver must refuse.
#[derive(Clone, Debug, Default)]
pub struct WriteRequestEncoder {
    message: FieldWriter,
    /// Scratch memory of the series and of the label or sample at hand.
    series: FieldWriter,
    part: FieldWriter,
}

impl WriteRequestEncoder {
    /// A request without series.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one series: its labels in the order given, and its samples as (milliseconds, value).
    pub fn series<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        labels: impl IntoIterator<Item = (N, V)>,
        samples: impl IntoIterator<Item = (i64, f64)>,
    ) -> &mut Self {
        let Self { message, series, part } = self;
        series.clear();
        for (name, value) in labels {
            part.clear();
            string(part, LABEL_NAME, name.as_ref());
            string(part, LABEL_VALUE, value.as_ref());
            series.bytes(TIMESERIES_LABELS, part.as_bytes());
        }
        for (timestamp, value) in samples {
            part.clear();
            if value.to_bits() != 0 {
                part.fixed64(SAMPLE_VALUE, value.to_bits());
            }
            if timestamp != 0 {
                part.varint(SAMPLE_TIMESTAMP, timestamp as u64);
            }
            series.bytes(TIMESERIES_SAMPLES, part.as_bytes());
        }
        message.bytes(WRITE_REQUEST_TIMESERIES, series.as_bytes());
        self
    }

    /// Adds metadata of one metric family; `kind` is the number of `MetricMetadata.MetricType`.
    pub fn metadata(&mut self, kind: u64, family: &str, help: &str, unit: &str) -> &mut Self {
        self.part.clear();
        self.part.varint(1, kind);
        string(&mut self.part, 2, family.as_bytes());
        string(&mut self.part, 4, help.as_bytes());
        string(&mut self.part, 5, unit.as_bytes());
        self.message.bytes(WRITE_REQUEST_METADATA, self.part.as_bytes());
        self
    }

    /// The message so far, not compressed.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        self.message.as_bytes()
    }

    /// The request's body: the message in a snappy block.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        snappy::compress(self.message.as_bytes())
    }

    /// Begins a new request in the same memory.
    pub fn clear(&mut self) {
        self.message.clear();
    }
}

fn string(out: &mut FieldWriter, field: u32, value: &[u8]) {
    if !value.is_empty() {
        out.bytes(field, value);
    }
}
