//! What the protocol's own tests share: a tiny world, and a store that fails on command.
//!
//! The simulator in `testkit` is the real adversary; these tests state single rules.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use promontory_block::{BlockCodec, PlainCodec, SeriesRun, TenantRows};
use promontory_model::{Clock, Labels, RandomSource, TenantId};
use tokio::task::JoinHandle;

use crate::catalog::chain::Chain;
use crate::catalog::state::LEVEL;
use crate::counters::Counters;
use crate::object::bucket::Bucket;
use crate::object::context::{Context, Timing};
use crate::object::format::Format;
use crate::planted::Planted;
use crate::write::life::LocalLives;
use crate::write::writer::{Writer, WriterSettings};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It has its effect, and the answer is lost.
    AnswerLost,
    /// As before, and from then on nothing is answered.
    AnswerLostAndDown,
    /// It has its effect, and the answer says that the object exists already.
    SaysExists,
    /// It has no effect, and the answer says that the object exists already.
    SaysExistsWithoutEffect,
    /// It has no effect.
    Fails,
}

/// What happens to one GET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GetFault {
    Fails,
    /// The last byte is missing, and nothing says so.
    IsShort,
}

/// A store in memory whose next requests to chosen keys fail as told.
#[derive(Debug, Default)]
pub(crate) struct Scripted {
    pub(crate) inner: InMemory,
    puts: Mutex<VecDeque<(String, Fault)>>,
    gets: Mutex<VecDeque<(String, GetFault)>>,
    /// While true nothing is answered.
    pub(crate) down: std::sync::atomic::AtomicBool,
}

impl Scripted {
    /// The next PUT to a key with this prefix meets `fault`.
    pub(crate) fn next_put(&self, prefix: impl fmt::Display, fault: Fault) {
        self.puts.lock().unwrap().push_back((prefix.to_string(), fault));
    }

    /// The next GET or HEAD of a key with this prefix fails.
    pub(crate) fn next_get_fails(&self, prefix: impl fmt::Display) {
        self.gets.lock().unwrap().push_back((prefix.to_string(), GetFault::Fails));
    }

    /// The next GET of a key with this prefix brings a byte less than it should.
    pub(crate) fn next_get_is_short(&self, prefix: impl fmt::Display) {
        self.gets.lock().unwrap().push_back((prefix.to_string(), GetFault::IsShort));
    }

    fn check_up(&self) -> Result<()> {
        if self.down.load(Ordering::SeqCst) { Err(failure()) } else { Ok(()) }
    }
}

impl fmt::Display for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("scripted")
    }
}

fn failure() -> StoreError {
    StoreError::Generic { store: "scripted", source: "told to fail".into() }
}

fn exists(path: &Path) -> StoreError {
    StoreError::AlreadyExists { path: path.to_string(), source: "told to say so".into() }
}

#[async_trait]
impl ObjectStore for Scripted {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.check_up()?;
        let fault = {
            let mut puts = self.puts.lock().unwrap();
            let at = puts.iter().position(|(prefix, _)| path.as_ref().starts_with(prefix.as_str()));
            at.and_then(|at| puts.remove(at)).map(|(_, fault)| fault)
        };
        match fault {
            Some(Fault::Fails) => return Err(failure()),
            Some(Fault::SaysExistsWithoutEffect) => return Err(exists(path)),
            _ => {}
        }
        let answer = self.inner.put_opts(path, payload, options).await;
        match fault {
            Some(Fault::AnswerLost) => Err(failure()),
            Some(Fault::AnswerLostAndDown) => {
                self.down.store(true, Ordering::SeqCst);
                Err(failure())
            }
            Some(Fault::SaysExists) => Err(exists(path)),
            _ => answer,
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.check_up()?;
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.check_up()?;
        let fault = {
            let mut gets = self.gets.lock().unwrap();
            let at = gets.iter().position(|(prefix, _)| path.as_ref().starts_with(prefix.as_str()));
            at.and_then(|at| gets.remove(at)).map(|(_, fault)| fault)
        };
        if fault == Some(GetFault::Fails) {
            return Err(failure());
        }
        let mut answer = self.inner.get_opts(path, options).await?;
        if fault == Some(GetFault::IsShort) {
            let (range, meta, attributes) =
                (answer.range.clone(), answer.meta.clone(), answer.attributes.clone());
            let bytes = answer.bytes().await?;
            let short = bytes.slice(..bytes.len().saturating_sub(1));
            let payload = GetResultPayload::Stream(Box::pin(futures::stream::iter([Ok(short)])));
            answer = GetResult { payload, meta, range, attributes };
        }
        Ok(answer)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// SplitMix64.
#[derive(Debug)]
struct Seeded(AtomicU64);

impl RandomSource for Seeded {
    fn next_u64(&self) -> u64 {
        let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        let mut mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The wall clock of the machine plus an offset.
#[derive(Debug, Default)]
pub(crate) struct OffsetClock(pub(crate) AtomicI64);

impl Clock for OffsetClock {
    #[expect(clippy::disallowed_methods, reason = "the memory store stamps the machine's time")]
    fn now_ms(&self) -> i64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_millis() as i64 + self.0.load(Ordering::SeqCst)
    }
}

/// A bucket, and processes that share it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) store: Arc<Scripted>,
    pub(crate) clock: Arc<OffsetClock>,
    pub(crate) format: Format,
    pub(crate) codec: Arc<dyn BlockCodec>,
    pub(crate) block_bytes_max: usize,
    pub(crate) processes: AtomicU64,
}

/// One process: a chain of its own and what hangs on it.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) chain: Arc<Chain>,
    pub(crate) locals: Arc<LocalLives>,
}

impl World {
    /// Epochs of 8 versions, checkpoints each 4. The memory store stamps real time, so a grace of
    /// zero stands for one that has passed.
    pub(crate) fn new() -> Self {
        Self::with_grace(3_600_000)
    }

    pub(crate) fn with_grace(grace_ms: u64) -> Self {
        Self {
            store: Arc::default(),
            clock: Arc::default(),
            format: Format { epoch_length: 8, checkpoint_spacing: 4, grace_ms, bucket: 0 },
            codec: Arc::new(PlainCodec),
            block_bytes_max: Context::BLOCK_BYTES_MAX,
            processes: AtomicU64::new(0),
        }
    }

    pub(crate) fn context(&self) -> Arc<Context> {
        let seed = self.processes.fetch_add(1, Ordering::SeqCst);
        Arc::new(Context {
            bucket: Bucket::single(self.store.clone()),
            format: self.format,
            codec: self.codec.clone(),
            clock: self.clock.clone(),
            random: Arc::new(Seeded(AtomicU64::new(seed << 32))),
            timing: Timing { backoff_min: Duration::from_millis(1), ..Timing::default() },
            level: LEVEL,
            block_bytes_max: self.block_bytes_max,
            counters: Arc::new(Counters::default()),
            planted: Planted::NONE,
        })
    }

    pub(crate) async fn process(&self) -> Process {
        let chain = Chain::open(self.context()).await.unwrap();
        Process { chain, locals: Arc::default() }
    }
}

impl Process {
    /// A writer that runs in the background.
    pub(crate) async fn writer(&self) -> Arc<Writer> {
        self.writer_with(WriterSettings::default()).await
    }

    pub(crate) async fn writer_with(&self, settings: WriterSettings) -> Arc<Writer> {
        self.mortal_writer(settings).await.0
    }

    /// A writer that stops, as if its process had died, when its task is aborted.
    pub(crate) async fn mortal_writer(&self, settings: WriterSettings) -> (Arc<Writer>, JoinHandle<()>) {
        let writer = Writer::open(self.chain.clone(), self.locals.clone(), settings).await.unwrap();
        let running = writer.clone();
        let task = tokio::spawn(async move { running.run().await.unwrap() });
        (writer, task)
    }

    pub(crate) fn counter(&self, name: &str) -> u64 {
        let values = self.chain.context().counters.values();
        values.into_iter().find(|(known, _)| *known == name).unwrap().1
    }
}

/// Lets the store's own clock move on.
#[expect(
    clippy::disallowed_methods,
    reason = "the memory store stamps the machine's time, which no runtime moves"
)]
pub(crate) fn wait() {
    std::thread::sleep(Duration::from_millis(3));
}

pub(crate) fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

/// One sample of series `m` at `ts`, whose value is `ts` too.
pub(crate) fn sample(name: &str, ts: i64) -> TenantRows {
    (tenant(name), run(&[ts]))
}

/// Samples of series `m`; each value is its timestamp.
pub(crate) fn run(ts: &[i64]) -> SeriesRun {
    let mut run = SeriesRun::default();
    let key = Labels::from_pairs([("__name__", "m")]);
    run.push_floats(key, ts.iter().map(|ts| (*ts, *ts as f64)));
    run
}
