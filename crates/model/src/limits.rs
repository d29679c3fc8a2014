//! Limits of what one write may bring, each with the flag that raises it.

/// Limits of ingestion; every one has a flag of the same meaning in the binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestLimits {
    /// Labels per series, `__name__` included.
    pub labels_per_series_max: usize,
    /// Bytes of one label name.
    pub label_name_bytes_max: usize,
    /// Bytes of one label value.
    pub label_value_bytes_max: usize,
    /// Bytes of a request body as sent.
    pub body_bytes_max: usize,
    /// Bytes of a request body after decompression.
    pub decoded_bytes_max: usize,
    /// Series of one request, repeated ones counted again.
    pub series_per_request_max: usize,
    /// Samples of one request, of all series together.
    pub samples_per_request_max: usize,
    /// Series that one tenant may have in an ingester's index, in which idle ones are forgotten.
    pub series_max: usize,
    /// How far in the future a sample may lie, milliseconds after the receiver's clock.
    pub future_ms_max: i64,
}

impl Default for IngestLimits {
    fn default() -> Self {
        Self {
            labels_per_series_max: 60,
            label_name_bytes_max: 1_024,
            label_value_bytes_max: 4_096,
            body_bytes_max: 16 << 20,
            decoded_bytes_max: 32 << 20,
            series_per_request_max: 50_000,
            samples_per_request_max: 500_000,
            // A series whose labels have 200 bytes takes about 600 bytes of the index: 1.2 GB for one tenant, far
            // above an honest tenant and far below what makes an ingester of a few GB fail for everybody.
            series_max: 2_000_000,
            future_ms_max: 10 * 60 * 1_000,
        }
    }
}
