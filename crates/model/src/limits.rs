//! Limits of what one write may bring, each with the flag that raises it, and of the memory for samples that no
//! block holds yet.

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

/// Memory of one process for samples that no block holds yet, decoded and with their labels: `--head.max-memory`.
///
/// Each part has a fixed share, so that none can take the room of another: a burst of new series leaves room for
/// the adoption of a dead writer, and a long tail for the samples that come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadMemory {
    /// All parts together, in bytes.
    pub bytes_max: usize,
}

impl HeadMemory {
    /// Below it a share could not hold what a single request may bring.
    pub const BYTES_MIN: usize = 256 << 20;

    fn sixteenths(self, n: usize) -> usize {
        self.bytes_max / 16 * n
    }

    /// Label sets that the ingester knows, with the bytes by which it knows them again.
    #[must_use]
    pub fn labels(self) -> usize {
        self.sixteenths(4)
    }

    /// Samples that wait for the next segment; more than this only makes longer waits, and the series of their
    /// batches could not be numbered with 32 bits.
    #[must_use]
    pub fn pending(self) -> usize {
        self.sixteenths(1).min(256 << 20)
    }

    /// Samples that wait for their slots or for the next L1 block.
    #[must_use]
    pub fn head(self) -> usize {
        self.sixteenths(4)
    }

    /// The newest segments of other processes, as queries see them.
    #[must_use]
    pub fn tails(self) -> usize {
        self.sixteenths(3)
    }

    /// Segments of dead writers that become blocks.
    #[must_use]
    pub fn replay(self) -> usize {
        self.sixteenths(2)
    }

    /// Blocks that are being merged.
    #[must_use]
    pub fn merges(self) -> usize {
        self.sixteenths(2)
    }

    /// One segment: whoever reads one holds it whole.
    #[must_use]
    pub fn segment(self) -> usize {
        (self.bytes_max / 32).min(64 << 20)
    }
}

impl Default for HeadMemory {
    fn default() -> Self {
        Self { bytes_max: 8 << 30 }
    }
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
