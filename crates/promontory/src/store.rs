//! Opening the object store: its self-test, its format, the catalog. A store that does not answer is
//! tried again until it does; a store that cannot be used ends the process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use promontory_block::ParquetCodec;
use promontory_store::{
    Bucket, Chain, Context, Error as StoreError, Format, Planted, RequestCounters, StoreUrl, Timing,
    self_test,
};

use crate::environment::{OsRandom, SystemClock};

/// Pause between two tries to open a store that does not answer.
const OPEN_RETRY_INTERVAL: Duration = Duration::from_millis(500);

pub struct Opened {
    pub context: Arc<Context>,
    pub chain: Arc<Chain>,
    /// Counters of the requests to the store, of all its clients.
    pub requests: Arc<RequestCounters>,
}

/// Opens the store for serving, and makes a new one where there is none; tries again while it does not
/// answer.
///
/// # Errors
/// If the store cannot be used.
pub async fn open(url: &StoreUrl) -> anyhow::Result<Opened> {
    loop {
        match open_once(url).await {
            Ok(opened) => return Ok(opened),
            Err(error @ (StoreError::Unavailable { .. } | StoreError::Busy(_))) => {
                tracing::warn!(%error, store = %url, "cannot open the object store yet; trying again");
                tokio::time::sleep(OPEN_RETRY_INTERVAL).await;
            }
            Err(error) => return Err(error).with_context(|| format!("cannot use store {url}")),
        }
    }
}

/// Opens an existing store for a command that only reads.
///
/// # Errors
/// If there is no store at `url`, or it does not answer.
pub async fn open_existing(url: &StoreUrl) -> anyhow::Result<Opened> {
    if let StoreUrl::Local(path) = url {
        anyhow::ensure!(path.is_dir(), "cannot open store {url}: there is no such folder");
    }
    let requests = Arc::default();
    let bucket = Bucket::open(url, &requests)?;
    let cannot_open = || format!("cannot open store {url}");
    let format = Format::load(&bucket).await.with_context(cannot_open)?.with_context(|| {
        format!("cannot open store {url}: it holds no object `format`: nothing was written there yet, or that object was deleted")
    })?;
    open_catalog(bucket, format, requests).await.with_context(cannot_open)
}

async fn open_once(url: &StoreUrl) -> Result<Opened, StoreError> {
    let requests = Arc::new(RequestCounters::default());
    let bucket = Bucket::open(url, &requests)?;
    let tested = self_test(&bucket, &OsRandom, env!("CARGO_PKG_VERSION")).await?;
    tracing::debug!(?tested, "store self-test passed");
    let format = Format::load_or_create(&bucket, Format::default()).await?;
    open_catalog(bucket, format, requests).await
}

async fn open_catalog(
    bucket: Bucket,
    format: Format,
    requests: Arc<RequestCounters>,
) -> Result<Opened, StoreError> {
    let context = Arc::new(Context {
        bucket,
        format,
        codec: Arc::new(ParquetCodec),
        clock: Arc::new(SystemClock),
        random: Arc::new(OsRandom),
        timing: Timing::default(),
        counters: Arc::default(),
        planted: Planted::NONE,
    });
    let chain = Chain::open(context.clone()).await?;
    Ok(Opened { context, chain, requests })
}
