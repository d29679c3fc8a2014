//! A remote write 1.0 client written from the specification, not from the product's decoder, so that
//! both sides cannot share a mistake.
//!
//! ```text
//! WriteRequest { TimeSeries timeseries = 1 }   TimeSeries { Label labels = 1; Sample samples = 2 }
//! Label { string name = 1; string value = 2 }  Sample { double value = 1; int64 timestamp = 2 }
//! ```

use super::http::{Answer, Client};

/// The headers of remote write 1.0.
pub const HEADERS: [(&str, &str); 3] = [
    ("Content-Type", "application/x-protobuf"),
    ("Content-Encoding", "snappy"),
    ("X-Prometheus-Remote-Write-Version", "0.1.0"),
];

/// The protobuf bytes of one request.
#[derive(Clone, Default)]
pub struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// Adds a series; labels are sent in the order given.
    pub fn series<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        labels: &[(N, V)],
        samples: &[(i64, f64)],
    ) -> &mut Self {
        self.encoded_series(&encode_labels(labels), samples)
    }

    /// Adds a series whose labels were encoded before.
    pub fn encoded_series(&mut self, labels: &[u8], samples: &[(i64, f64)]) -> &mut Self {
        let mut series = Vec::with_capacity(labels.len() + samples.len() * 20);
        series.extend_from_slice(labels);
        for (timestamp, value) in samples {
            let mut sample = vec![0x09];
            sample.extend_from_slice(&value.to_le_bytes());
            sample.push(0x10);
            // An int64 travels as the two's complement in a plain varint.
            varint(&mut sample, u64::from_le_bytes(timestamp.to_le_bytes()));
            field(&mut series, 2, &sample);
        }
        field(&mut self.bytes, 1, &series);
        self
    }

    /// The message before compression.
    pub fn protobuf(&self) -> &[u8] {
        &self.bytes
    }

    /// The body as it is sent.
    pub fn body(&self) -> Vec<u8> {
        snappy(&self.bytes)
    }
}

/// The labels of one series as protobuf.
pub fn encode_labels<N: AsRef<[u8]>, V: AsRef<[u8]>>(labels: &[(N, V)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in labels {
        let mut label = Vec::new();
        field(&mut label, 1, name.as_ref());
        field(&mut label, 2, value.as_ref());
        field(&mut out, 1, &label);
    }
    out
}

/// Compresses with the snappy block format.
pub fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).expect("below snappy's 4 GiB")
}

/// Sends one body.
///
/// # Errors
/// If there was no whole answer.
pub fn send(client: &Client, body: Vec<u8>) -> Result<Answer, String> {
    client.post("/api/v1/write", &HEADERS, body)
}

/// Appends one length-delimited field.
pub fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends one varint.
pub fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}
