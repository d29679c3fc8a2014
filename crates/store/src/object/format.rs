//! What a bucket was made with: constants of the catalog that never change afterwards.

use std::time::Duration;

use bytes::Bytes;

use crate::error::Error;
use crate::object::bucket::Bucket;
use crate::object::encoding::{DecodeError, Decoder, Encoder};
use crate::object::keys;
use crate::object::verified::read_unopened;

const MAGIC: [u8; 4] = *b"PMFO";
const VERSION: u16 = 2;

/// The constants that a bucket was made with: its `format` object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Catalog versions per epoch, the unit in which versions are swept; a multiple of the spacing.
    pub epoch_length: u64,
    /// Every version that is a multiple of this has a checkpoint.
    pub checkpoint_spacing: u64,
    /// Longer than any query and any merge, in milliseconds.
    pub grace_ms: u64,
    /// The bucket's id, which version 1 of its catalog repeats; 0 in a bucket that began with the first
    /// encoding.
    pub bucket: u128,
}

impl Default for Format {
    fn default() -> Self {
        Self { epoch_length: 1_024, checkpoint_spacing: 64, grace_ms: 3_600_000, bucket: 0 }
    }
}

impl Format {
    /// The epoch that `version` is swept with.
    #[must_use]
    pub fn epoch(&self, version: u64) -> u64 {
        version / self.epoch_length
    }

    /// The first version of `epoch`.
    #[must_use]
    pub fn first_version(&self, epoch: u64) -> u64 {
        epoch.saturating_mul(self.epoch_length)
    }

    /// How long objects that nothing refers to are kept.
    #[must_use]
    pub fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }

    /// How old a snapshot may be when it is read.
    #[must_use]
    pub fn snapshot_age_max(&self) -> Duration {
        self.grace() / 2
    }

    /// The bytes of the `format` object: magic, version, the three constants and a checksum.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut encoder = Encoder::new(MAGIC, VERSION);
        encoder.number(self.epoch_length);
        encoder.number(self.checkpoint_spacing);
        encoder.number(self.grace_ms);
        encoder.u128(self.bucket);
        encoder.finish()
    }

    /// Reads the object's bytes.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Unsupported`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        Self::decode_inner(bytes).map_err(|error| error.about(&keys::format()))
    }

    pub(crate) fn decode_inner(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(bytes, MAGIC, VERSION)?;
        let mut format = Self {
            epoch_length: decoder.number()?,
            checkpoint_spacing: decoder.number()?,
            grace_ms: decoder.number()?,
            bucket: 0,
        };
        if decoder.version() > 1 {
            format.bucket = decoder.u128()?;
        }
        let spacing = format.checkpoint_spacing;
        if spacing == 0 || format.epoch_length == 0 || !format.epoch_length.is_multiple_of(spacing) {
            let why = format!("epochs of {} with checkpoints each {spacing}", format.epoch_length);
            return decoder.corrupt(0, why);
        }
        decoder.finish()?;
        Ok(format)
    }

    /// Reads the bucket's format; `None` if there is none, because nothing was written yet or the bucket
    /// is somebody else's.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Corrupt`] or [`Error::Unsupported`].
    pub async fn load(bucket: &Bucket) -> Result<Option<Self>, Error> {
        read_unopened(bucket, &keys::format(), Self::decode).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_bytes_are_stable() {
        let format = Format { bucket: 7, ..Format::default() };
        let bytes = format.encode();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
        assert_eq!(Format::decode(&bytes).unwrap(), format);
        let first: Vec<u8> = (0..GOLDEN_V1.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&GOLDEN_V1[at..at + 2], 16).unwrap())
            .collect();
        assert_eq!(Format::decode(&first).unwrap(), Format::default());
    }

    const GOLDEN: &str = "504d464f020080084080dddb0107000000000000000000000000000000b816cee9";
    /// Bytes of the first encoding, which has no id.
    const GOLDEN_V1: &str = "504d464f010080084080dddb017ec373f8";

    #[test]
    fn a_spacing_that_does_not_divide_the_epoch_is_refused() {
        for (epoch_length, checkpoint_spacing) in [(0, 1), (8, 0), (8, 3)] {
            let bytes = Format { epoch_length, checkpoint_spacing, grace_ms: 1, bucket: 0 }.encode();
            assert!(Format::decode(&bytes).is_err());
        }
    }
}
