//! Opening the object store: its self-test, its format, the catalog.
//!
//! What time may mend (a refused connection, an answer that does not come, a full disk) is tried again until it
//! is mended; what only a person can mend (a bucket that is missing, a secret that is wrong) ends the process
//! with one sentence that says what to do.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use promontory_block::ParquetCodec;
use promontory_store::{
    Bucket, Chain, Context, Error as StoreError, Format, LEVEL, OutageLog, Planted, RequestCounters,
    StoreTrouble, StoreUrl, Timing, ask_first, find_bucket, find_or_found_bucket, self_test,
};
use tokio::time::{Instant, sleep};

use crate::environment::{OsRandom, SystemClock};

/// Shortest and longest pause before a store that fails is asked again. In between it is a tenth of the time
/// that it has failed: after a short outage a process is ready at once, and a store that was away for an hour
/// is not asked twice a second by everybody who waits for it.
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(500);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);

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
    patiently("open the object store", &OutageLog::default(), || open_once(url))
        .await
        .map_err(|error| unusable(url, error))
}

/// Does something with a store that may be away, again and again until it succeeds or time cannot mend what
/// is wrong.
///
/// # Errors
/// The first that does not mend itself.
pub async fn patiently<T, F: Future<Output = Result<T, StoreError>>>(
    doing: &'static str,
    outages: &OutageLog,
    attempt: impl Fn() -> F,
) -> Result<T, StoreError> {
    let begun = Instant::now();
    loop {
        match attempt().await {
            Err(error) if error.mends_itself() => outages.failed(doing, &error),
            Err(error) => return Err(error),
            Ok(done) => {
                outages.succeeded(doing);
                return Ok(done);
            }
        }
        sleep((begun.elapsed() / 10).clamp(RETRY_PAUSE_MIN, RETRY_PAUSE_MAX)).await;
    }
}

/// One sentence: which store, what could not be done, why, and what to do.
pub fn unusable(url: &StoreUrl, error: StoreError) -> anyhow::Error {
    let (Some(trouble), StoreError::Unavailable { action, source }) = (error.trouble(), &error) else {
        return anyhow::Error::new(error).context(format!("cannot use store {url}"));
    };
    // The store's own words may be pages of XML, and hold a key id.
    tracing::debug!(%error, "what the store said");
    let words = match trouble {
        StoreTrouble::Refused | StoreTrouble::Other => format!("{trouble}: {source}"),
        _ => format!("{trouble}; {}", trouble.mend()),
    };
    anyhow!("cannot use store {url}: cannot {action}: {words}")
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
    let format = find_bucket(&bucket).await.with_context(cannot_open)?;
    let format = format.with_context(|| format!("cannot open store {url}: nothing was written there yet"))?;
    open_catalog(bucket, format, requests).await.with_context(cannot_open)
}

async fn open_once(url: &StoreUrl) -> Result<Opened, StoreError> {
    let requests = Arc::new(RequestCounters::default());
    let bucket = Bucket::open(url, &requests)?;
    ask_first(&bucket).await?;
    // Before anything is written: what is no store of ours stays as it is.
    find_bucket(&bucket).await?;
    let tested = self_test(&bucket, &OsRandom, env!("CARGO_PKG_VERSION")).await?;
    tracing::debug!(?tested, "store self-test passed");
    let format = find_or_found_bucket(&bucket, Format::default(), &OsRandom).await?;
    open_catalog(bucket, format, requests).await
}

async fn open_catalog(
    bucket: Bucket,
    format: Format,
    requests: Arc<RequestCounters>,
) -> Result<Opened, StoreError> {
    let context = context(bucket, format);
    let chain = Chain::open(context.clone()).await?;
    Ok(Opened { context, chain, requests })
}

/// What the machines of the protocol get handed in this program.
pub fn context(bucket: Bucket, format: Format) -> Arc<Context> {
    Arc::new(Context {
        bucket,
        format,
        codec: Arc::new(ParquetCodec),
        clock: Arc::new(SystemClock),
        random: Arc::new(OsRandom),
        timing: Timing::default(),
        level: LEVEL,
        block_bytes_max: Context::BLOCK_BYTES_MAX,
        counters: Arc::default(),
        planted: Planted::NONE,
    })
}
