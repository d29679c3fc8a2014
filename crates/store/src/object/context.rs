//! What every machine of the protocol gets handed, and its requests to the store.
//!
//! Invariants:
//! - Every request has a timeout; a request that hangs is a request whose answer is unknown.
//! - Only success of a create says who won; whoever gets any other answer reads back. That an object is there to
//!   read does not say that it stays: on a local folder its name may not have outlasted a power loss yet. So what is
//!   read back counts as kept only beside an answer that the object exists ([`Created::Exists`]), which the store
//!   gives for kept names only; after any other error one asks again.
//! - Whatever is decoded is read by `object::verified`, with its repeats and its time-outs.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    Error as StoreError, GetOptions, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutOptions,
};
use promontory_block::BlockCodec;
use promontory_model::{Clock, RandomSource};
use tokio::time::sleep;

use crate::counters::Counters;
use crate::error::Error;
use crate::object::bucket::Bucket;
use crate::object::encoding::DecodeError;
use crate::object::format::Format;
use crate::object::keys::{self, IN_FLIGHT_MAX};
use crate::object::requests::{found, unavailable, within};
use crate::object::verified::{READ_TIMEOUT_BASE, read_timeout, read_verified};
use crate::planted::{Bug, Planted};

/// How often the creation of an object is tried whose bytes follow from its key.
const CREATE_TRIES_MAX: u32 = 4;

/// How often the upload of one object is tried.
const UPLOAD_TRIES_MAX: u32 = 4;

/// Objects above this are uploaded in parts of this size; S3 wants at least 5 MiB.
const PART_BYTES: usize = 32 << 20;

/// Objects up to this are put and read by the client with the short time-outs: on the slowest link that is waited
/// for they take two seconds.
const SMALL_BYTES_MAX: u64 = 1 << 20;

/// Bounds of requests and of waiting between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Of one small request, the client's own retries included; reads of large objects have more, by
    /// their size.
    pub metadata_timeout: Duration,
    /// Longest time for the upload of one whole object.
    pub transfer_timeout: Duration,
    /// Wait after the first failure, on average; it doubles with each further one.
    pub backoff_min: Duration,
    /// Longest wait after any failure.
    pub backoff_max: Duration,
    /// A store that denies what it holds does so for at least this long: within it, an answer between two that
    /// showed what must be there is true.
    pub absence_window: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            metadata_timeout: READ_TIMEOUT_BASE,
            transfer_timeout: Duration::from_secs(600),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
            absence_window: Duration::from_secs(5),
        }
    }
}

/// Everything from outside that the protocol needs; the simulator brings its own of each.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where objects lie.
    pub bucket: Bucket,
    /// The bucket's constants, read from its `format` object.
    pub format: Format,
    /// Turns rows into a block's objects and back.
    pub codec: Arc<dyn BlockCodec>,
    /// Wall clock; only compared with the store's by the sweeper.
    pub clock: Arc<dyn Clock>,
    /// Source of ids and of the spread of waits.
    pub random: Arc<dyn RandomSource>,
    /// Bounds of requests and of waiting between them.
    pub timing: Timing,
    /// The level that this program knows; [`crate::LEVEL`] outside of tests.
    pub level: u32,
    /// Most bytes of one block in memory, beyond which its rows become several; [`Context::BLOCK_BYTES_MAX`]
    /// outside of tests.
    pub block_bytes_max: usize,
    /// What happened.
    pub counters: Arc<Counters>,
    /// [`Planted::NONE`] in every shipped build.
    pub planted: Planted,
}

/// What the answer to the creation of an object says.
#[derive(Debug)]
pub(crate) enum Created {
    /// It holds our bytes and did not exist before.
    New,
    /// It exists and is kept, whoever made it; the answer as an error, for whoever finds that it is not ours. Some
    /// stores say so of an object that another request is about to make.
    Exists(Error),
}

impl Context {
    /// Encoding a block takes its decoded bytes once more, and so does reading it whole. Float samples alone make it
    /// about 64 MiB in the store.
    pub const BLOCK_BYTES_MAX: usize = 512 << 20;

    /// The bytes of an object that is small nearly always, or `None` if there is none. One that is not is asked
    /// for again with the time that its size needs.
    pub(crate) async fn get(&self, key: &Path) -> Result<Option<Bytes>, Error> {
        let get = async {
            let answer = self.bucket.metadata.get_opts(key, GetOptions::default()).await?;
            match answer.meta.size {
                0..=SMALL_BYTES_MAX => answer.bytes().await.map(Ok),
                large => Ok(Err(large)),
            }
        };
        let answer = found(within(self.timing.metadata_timeout, get).await);
        match answer.map_err(|source| unavailable("read", key, source))? {
            None => Ok(None),
            Some(Ok(bytes)) => Ok(Some(bytes)),
            Some(Err(size)) => self.get_from(&self.bucket.reads, key, self.time_beside_others(size)).await,
        }
    }

    /// The bytes of a large object, of which `size` are expected, or `None` if there is none.
    pub(crate) async fn get_large(&self, key: &Path, size: u64) -> Result<Option<Bytes>, Error> {
        let limit = read_timeout(self.timing.metadata_timeout, size);
        self.get_from(&self.bucket.reads, key, limit).await
    }

    /// Some bytes of an object that must be there.
    pub(crate) async fn get_range(&self, key: &Path, range: Range<u64>) -> Result<Bytes, Error> {
        let limit = read_timeout(self.timing.metadata_timeout, range.end - range.start);
        let bytes = found(within(limit, self.bucket.reads.get_range(key, range)).await);
        let bytes = bytes.map_err(|source| unavailable("read", key, source))?;
        bytes.ok_or_else(|| Error::Missing { object: key.to_string() })
    }

    /// Longest time for a large object on a link that as many share as a writer has slots in flight.
    fn time_beside_others(&self, bytes: u64) -> Duration {
        read_timeout(self.timing.metadata_timeout, bytes.saturating_mul(IN_FLIGHT_MAX as u64))
    }

    async fn get_from(
        &self,
        store: &Arc<dyn ObjectStore>,
        key: &Path,
        limit: Duration,
    ) -> Result<Option<Bytes>, Error> {
        let get = async { store.get_opts(key, GetOptions::default()).await?.bytes().await };
        found(within(limit, get).await).map_err(|source| unavailable("read", key, source))
    }

    /// What `verify` makes of a small object's bytes, which are read again while it finds them damaged;
    /// `None` if there is no object.
    pub(crate) async fn get_verified<T>(
        &self,
        key: &Path,
        verify: impl Fn(&[u8]) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let verify = |bytes: Option<Bytes>| bytes.map(|bytes| verify(&bytes)).transpose();
        read_verified(&self.counters.damaged_reads, |_| self.get(key), verify).await
    }

    /// As [`Self::get_verified`], for an object of this crate's own encoding.
    pub(crate) async fn get_decoded<T>(
        &self,
        key: &Path,
        decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, Error> {
        self.get_verified(key, |bytes| decode(bytes).map_err(|error| error.about(key))).await
    }

    /// Size and age of an object.
    pub(crate) async fn head(&self, key: &Path) -> Result<Option<ObjectMeta>, Error> {
        let head = within(self.timing.metadata_timeout, self.bucket.metadata.head(key)).await;
        found(head).map_err(|source| unavailable("look at", key, source))
    }

    pub(crate) async fn exists(&self, key: &Path) -> Result<bool, Error> {
        Ok(self.head(key).await?.is_some())
    }

    /// Creates an object. Any error means that nothing is known.
    ///
    /// Few bytes must be taken quickly, or the request is repeated; many have the time that they need on a link
    /// that all slots in flight share.
    pub(crate) async fn create(&self, key: &Path, bytes: Bytes) -> Result<Created, Error> {
        let (client, limit) = match bytes.len() as u64 {
            0..=SMALL_BYTES_MAX => (&self.bucket.metadata, self.timing.metadata_timeout),
            large => (&self.bucket.uploads, self.time_beside_others(large)),
        };
        let options = PutOptions { mode: PutMode::Create, ..Default::default() };
        let answer = within(limit, client.put_opts(key, bytes.into(), options)).await;
        match answer {
            Ok(_) => Ok(Created::New),
            Err(source @ StoreError::AlreadyExists { .. }) => {
                Ok(Created::Exists(unavailable("create", key, source)))
            }
            Err(source) => Err(unavailable("create", key, source)),
        }
    }

    /// Creates a small object whose content follows from its key, so that it does not matter who did; `same`
    /// tells whether other bytes mean the same.
    pub(crate) async fn create_equal(
        &self,
        key: &Path,
        bytes: &Bytes,
        same: impl Fn(&[u8]) -> bool,
    ) -> Result<(), Error> {
        let same = |found: &[u8]| {
            let other = || Error::Corrupt {
                object: key.to_string(),
                why: "holds other bytes than its key demands".into(),
            };
            if found == bytes || same(found) { Ok(()) } else { Err(other()) }
        };
        let mut tries = 0;
        loop {
            let (kept, error) = match self.create(key, bytes.clone()).await {
                Ok(Created::New) => return Ok(()),
                Ok(Created::Exists(error)) => (true, error),
                Err(error) => (self.planted.is(Bug::TrustReadBack), error),
            };
            tries += 1;
            match self.get_verified(key, same).await {
                Ok(Some(())) if kept => return Ok(()),
                Err(other @ Error::Corrupt { .. }) => return Err(other),
                _ if tries >= CREATE_TRIES_MAX => return Err(error),
                _ => self.back_off(tries).await,
            }
        }
    }

    /// Overwrites a small object.
    pub(crate) async fn overwrite(&self, key: &Path, bytes: Bytes) -> Result<(), Error> {
        let put = within(self.timing.metadata_timeout, self.bucket.metadata.put(key, bytes.into())).await;
        put.map(drop).map_err(|source| unavailable("write", key, source))
    }

    /// Uploads a large object under a name that nobody else uses; repeating it is harmless.
    pub(crate) async fn upload(&self, key: &Path, bytes: &Bytes) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            let once = within(self.timing.transfer_timeout, self.upload_once(key, bytes)).await;
            let Err(source) = once else {
                return Ok(());
            };
            tries += 1;
            if tries >= UPLOAD_TRIES_MAX {
                return Err(unavailable("upload", key, source));
            }
            self.back_off(tries).await;
        }
    }

    async fn upload_once(&self, key: &Path, bytes: &Bytes) -> Result<(), StoreError> {
        if bytes.len() <= PART_BYTES {
            return self.bucket.uploads.put(key, bytes.clone().into()).await.map(drop);
        }
        let mut parts = self.bucket.uploads.put_multipart(key).await?;
        let uploaded = upload_parts(&mut *parts, bytes).await;
        if uploaded.is_err() {
            // Parts that stay behind cost money but harm nobody; the store's own rules remove them.
            let _ = parts.abort().await;
        }
        uploaded
    }

    /// All objects below a folder; only a hint, because lists may be stale.
    pub(crate) fn list(&self, folder: &str) -> BoxStream<'static, Result<ObjectMeta, Error>> {
        let folder = Path::from(folder);
        let listed = self.bucket.metadata.list(Some(&folder));
        Box::pin(listed.map_err(move |source| unavailable("list", &folder, source)))
    }

    /// The numbers of the versions, marks or checkpoints below a folder; what a stale list lacks, too, may be
    /// there.
    pub(crate) async fn list_numbers(&self, folder: &str) -> Result<BTreeSet<u64>, Error> {
        let numbers = self.list(folder);
        let numbers = numbers.try_filter_map(|meta| async move { Ok(keys::parse_version(&meta.location)) });
        numbers.try_collect().await
    }

    /// Deletes an object; it does not matter if it is gone already.
    pub(crate) async fn delete(&self, key: &Path) -> Result<(), Error> {
        let delete = within(self.timing.metadata_timeout, self.bucket.metadata.delete(key)).await;
        found(delete).map(drop).map_err(|source| unavailable("delete", key, source))
    }

    /// Waits after failure number `failures`, from 1: exponential, with full jitter.
    pub(crate) async fn back_off(&self, failures: u32) {
        let doubled = self.timing.backoff_min.saturating_mul(2u32.saturating_pow(failures.min(16)));
        let longest = doubled.min(self.timing.backoff_max).as_micros() as u64;
        sleep(Duration::from_micros(self.random.below(longest) + 1)).await;
    }
}

async fn upload_parts(parts: &mut dyn MultipartUpload, bytes: &Bytes) -> Result<(), StoreError> {
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        let part = rest.split_to(rest.len().min(PART_BYTES));
        parts.put_part(part.into()).await?;
    }
    parts.complete().await.map(drop)
}
