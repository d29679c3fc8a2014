//! What a bucket was made with: constants of the catalog that never change afterwards.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use object_store::{PutMode, PutOptions};

use crate::error::Error;
use crate::object::bucket::Bucket;
use crate::object::encoding::{DecodeError, Decoder, Encoder};
use crate::object::keys;
use crate::object::requests::{found, unavailable, within};
use crate::object::verified::{READ_TIMEOUT_BASE, read_verified};

const MAGIC: [u8; 4] = *b"PMFO";
const VERSION: u16 = 1;

/// How often `format` is created before giving up.
const CREATES_MAX: u32 = 5;

/// The constants that a bucket was made with: its `format` object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Catalog versions per epoch, the unit in which versions are swept; a multiple of the spacing.
    pub epoch_length: u64,
    /// Every version that is a multiple of this has a checkpoint.
    pub checkpoint_spacing: u64,
    /// Longer than any query and any merge, in milliseconds.
    pub grace_ms: u64,
}

impl Default for Format {
    fn default() -> Self {
        Self { epoch_length: 1_024, checkpoint_spacing: 64, grace_ms: 3_600_000 }
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
        let format = Self {
            epoch_length: decoder.number()?,
            checkpoint_spacing: decoder.number()?,
            grace_ms: decoder.number()?,
        };
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
        let (key, store) = (keys::format(), &bucket.metadata);
        let read = |_| async {
            let get = async { store.get_opts(&key, Default::default()).await?.bytes().await };
            found(within(READ_TIMEOUT_BASE, get).await).map_err(|source| unavailable("read", &key, source))
        };
        // Read once per start: nobody counts its repeats.
        let damaged_reads = AtomicU64::default();
        let decode = |bytes: Option<Bytes>| bytes.map(|bytes| Self::decode(&bytes)).transpose();
        read_verified(&damaged_reads, read, decode).await
    }

    /// As [`Self::load`]; creates the format as `wanted` if the bucket is new.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub async fn load_or_create(bucket: &Bucket, wanted: Self) -> Result<Self, Error> {
        let key = keys::format();
        let mut last = None;
        for _ in 0..CREATES_MAX {
            if let Some(found) = Self::load(bucket).await? {
                return Ok(found);
            }
            let options = PutOptions { mode: PutMode::Create, ..Default::default() };
            // Whatever the answer, only reading tells what is there.
            if let Err(source) = bucket.metadata.put_opts(&key, wanted.encode().into(), options).await {
                last = Some(source);
            }
        }
        if let Some(found) = Self::load(bucket).await? {
            return Ok(found);
        }
        match last {
            Some(source) => Err(Error::Unavailable { action: format!("create {key}"), source }),
            None => Err(Error::Unsupported(format!("the store does not show {key} after it was created"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;

    use super::*;

    #[test]
    fn format_bytes_are_stable() {
        let bytes = Format::default().encode();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
        assert_eq!(Format::decode(&bytes).unwrap(), Format::default());
    }

    const GOLDEN: &str = "504d464f010080084080dddb017ec373f8";

    #[tokio::test]
    async fn the_first_format_stays() {
        let bucket = Bucket::single(Arc::new(InMemory::new()));
        let first = Format { epoch_length: 8, checkpoint_spacing: 4, grace_ms: 10 };
        assert_eq!(Format::load(&bucket).await.unwrap(), None);
        assert_eq!(Format::load_or_create(&bucket, first).await.unwrap(), first);
        assert_eq!(Format::load_or_create(&bucket, Format::default()).await.unwrap(), first);
        assert_eq!(Format::load(&bucket).await.unwrap(), Some(first));
    }

    #[test]
    fn a_spacing_that_does_not_divide_the_epoch_is_refused() {
        for (epoch_length, checkpoint_spacing) in [(0, 1), (8, 0), (8, 3)] {
            let bytes = Format { epoch_length, checkpoint_spacing, grace_ms: 1 }.encode();
            assert!(Format::decode(&bytes).is_err());
        }
    }
}
