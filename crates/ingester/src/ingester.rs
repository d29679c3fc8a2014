//! The door `Append` over one writer, and the loops that cut segments and blocks.
//!
//! 1. [`Ingester::append`] brings a batch into the intake and waits for the cut that takes it.
//! 2. The flush loop cuts every flush interval, early when much is pending or a caller cannot wait,
//!    and hands the rows to the writer; at most [`CUTS_IN_FLIGHT_MAX`] cuts are on their way.
//! 3. The outcome of the cut answers everybody who waits for it. It is success only when the
//!    segment's slot holds its bytes.
//! 4. The block loop writes an L1 block every block interval, early when the head is large.
//! 5. On shutdown: no more appends, one last cut, one last block, a closed mark.
//!
//! Flushes, blocks and the writer's slots are tasks of their own; a panic in one of them goes up through
//! [`Ingester::run`], so that whoever runs the role sees it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use promontory_block::TenantRows;
use promontory_model::append::{BoxFuture, RefusalReason, Refusals, Urgency};
use promontory_model::{
    Append, AppendError, Appended, Batch, Clock, DurationHistogram, HeadMemory, IngestLimits, MutexExt as _,
    Position, RandomSource, TenantId,
};
use promontory_store::{Writer, panic_when_asked};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use crate::intake::{Cut, Intake};

/// Cuts that may be between the intake and the store at a time; the writer's slots have the same
/// number and the writer gives up on none of them, so a slow store makes the intake fill up and then
/// refuse.
pub const CUTS_IN_FLIGHT_MAX: usize = 4;
/// Pending bytes that make a cut early.
const CUT_BYTES: usize = 32 << 20;
/// A larger cut is sorted outside the IO runtime: after an outage it may hold all that the intake
/// takes, and sorting that on a runtime thread kept every request waiting for seconds.
const SORT_INLINE_BYTES_MAX: usize = 1 << 20;
/// Head bytes that make a block early, where memory allows as much: samples of about 64 MiB encoded.
const BLOCK_HEAD_BYTES: usize = 512 << 20;
/// A block is made early, too, once the head takes one part in so many of its memory.
const BLOCK_HEAD_SHARE: usize = 4;
/// Segments above the watermark that make a block early, well below the number at which the writer
/// refuses.
const BLOCK_SEGMENTS: u64 = 150;
/// Early blocks come no more often than this.
const EARLY_BLOCK_INTERVAL_MIN: Duration = Duration::from_secs(30);
/// How often it is asked whether a block is due.
const BLOCK_TICK: Duration = Duration::from_millis(500);
/// What the log of outages calls the block loop; samples stay in segments while it fails.
const WRITE_BLOCKS: &str = "write L1 blocks";
/// Series without a sample for this long leave the index.
const IDLE_SERIES_AFTER: Duration = Duration::from_secs(15 * 60);

/// When an ingester cuts, when it writes blocks, and what it refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngesterSettings {
    /// Longest time between cuts: `--ingester.flush-interval`.
    pub flush_interval: Duration,
    /// Time between L1 blocks, unless the head grows large earlier: `--ingester.block-interval`.
    pub block_interval: Duration,
    /// How long an append waits for the store before the sender is asked to retry.
    pub append_timeout: Duration,
    /// What a batch may bring and a tenant may hold; above it series and samples are refused.
    pub limits: IngestLimits,
    /// What known series and pending samples may take: `--head.max-memory`.
    pub memory: HeadMemory,
}

impl Default for IngesterSettings {
    fn default() -> Self {
        Self {
            flush_interval: Duration::from_secs(1),
            block_interval: Duration::from_secs(120),
            append_timeout: Duration::from_secs(25),
            limits: IngestLimits::default(),
            memory: HeadMemory::default(),
        }
    }
}

/// Upper bounds of the buckets of durations, in seconds; the last bucket has none.
const DURATION_BOUNDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// What the ingester did; the numbers only rise, and the binary exports them.
#[derive(Debug, Default)]
pub struct IngesterCounters {
    /// Batches that came through the door.
    pub appends: AtomicU64,
    /// Batches answered with an error.
    pub append_errors: AtomicU64,
    /// Samples that became durable.
    pub samples: AtomicU64,
    /// What was refused by reason (samples, or what the reason names), in the order of [`RefusalReason::ALL`].
    pub refused: [AtomicU64; RefusalReason::ALL.len()],
    /// Cuts that became durable.
    pub cuts: AtomicU64,
    /// Cuts whose segment could not be written.
    pub cut_errors: AtomicU64,
    /// Blocks that could not be written or committed; each is tried again.
    pub block_errors: AtomicU64,
    /// How long batches and cuts took.
    pub durations: IngesterDurations,
}

/// How long parts of an ingester's work took.
#[derive(Debug)]
pub struct IngesterDurations {
    /// From a batch's arrival to its acknowledgement; batches answered with an error are left out.
    pub append: DurationHistogram,
    /// From a cut to its durability; cuts that failed are left out.
    pub flush: DurationHistogram,
}

impl Default for IngesterDurations {
    fn default() -> Self {
        let empty = || DurationHistogram::new(&DURATION_BOUNDS);
        Self { append: empty(), flush: empty() }
    }
}

/// How much an ingester holds before its segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntakeSize {
    /// Series in the index.
    pub series: usize,
    /// Memory of the index, label sets included.
    pub index_bytes: usize,
    /// Memory of the samples that no segment holds.
    pub pending_bytes: usize,
}

/// What became of a cut; `None` while it is on its way.
type Outcome = Option<Result<Position, AppendError>>;

/// The ingester role: makes samples durable, and turns them into L1 blocks.
#[derive(Debug)]
pub struct Ingester {
    settings: IngesterSettings,
    clock: Arc<dyn Clock>,
    /// Nothing is written before [`Self::run`] is polled, which drives it.
    writer: Arc<Writer>,
    collecting: Mutex<Collecting>,
    /// Asks the flush loop for a cut now.
    cut_now: Notify,
    in_flight: Arc<Semaphore>,
    stopping: AtomicBool,
    counters: Arc<IngesterCounters>,
}

/// The intake together with those who wait for its next cut: both change under one lock.
#[derive(Debug)]
struct Collecting {
    intake: Intake,
    waiters: watch::Sender<Outcome>,
}

impl Ingester {
    /// An ingester over a writer that was born; [`Self::run`] must run for anything to be flushed.
    #[must_use]
    pub fn new(
        settings: IngesterSettings,
        clock: Arc<dyn Clock>,
        random: &dyn RandomSource,
        writer: Arc<Writer>,
    ) -> Arc<Self> {
        let intake = Intake::new(settings.limits.clone(), settings.memory, random.next_u64());
        Arc::new(Self {
            settings,
            clock,
            writer,
            collecting: Mutex::new(Collecting { intake, waiters: watch::Sender::new(None) }),
            cut_now: Notify::new(),
            in_flight: Arc::new(Semaphore::new(CUTS_IN_FLIGHT_MAX)),
            stopping: AtomicBool::new(false),
            counters: Arc::default(),
        })
    }

    /// What was appended, cut and written so far.
    #[must_use]
    pub fn counters(&self) -> Arc<IngesterCounters> {
        self.counters.clone()
    }

    /// What the intake holds.
    #[must_use]
    pub fn intake_size(&self) -> IntakeSize {
        let collecting = self.lock();
        let intake = &collecting.intake;
        let (series, index_bytes) = (intake.series(), intake.index_bytes());
        IntakeSize { series, index_bytes, pending_bytes: intake.pending_bytes() }
    }

    /// Flushes and writes blocks until `shutdown` resolves, then stops gracefully, which takes as long as the
    /// store does not take the last samples: whoever runs this bounds it.
    ///
    /// # Errors
    /// If the writer's slots end before, or the last cut, block or closed mark could not be written:
    /// nothing acknowledged is lost, an adopter will take the writer over.
    ///
    /// # Panics
    /// With the panic of any task that it started.
    pub async fn run(
        self: Arc<Self>,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), promontory_store::Error> {
        // Dropping the sets aborts their tasks.
        let (mut tasks, mut flushes) = (JoinSet::new(), JoinSet::new());
        tasks.spawn(drive_slots(self.writer.clone()));
        // Not in the task of the flush loop: encoding a block may take seconds, in which nothing would be cut.
        let blocks = tasks.spawn(self.clone().write_blocks());
        tokio::select! {
            biased;
            () = shutdown => {}
            ended = tasks.join_next() => return Err(task_ended(ended)),
            () = self.flush_loop(&mut flushes) => {}
        }
        blocks.abort();
        self.stop(flushes).await
    }

    /// The last cut; closing the writer writes the last block and the closed mark.
    async fn stop(&self, mut flushes: JoinSet<()>) -> Result<(), promontory_store::Error> {
        self.stopping.store(true, Relaxed);
        while let Some(ended) = flushes.join_next().await {
            with_its_panic(ended);
        }
        let (cut, waiters) = self.take_cut();
        self.flush(cut, waiters).await;
        self.writer.close().await
    }

    async fn flush_loop(self: &Arc<Self>, flushes: &mut JoinSet<()>) {
        let mut ticks = tokio::time::interval(self.settings.flush_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut index_swept = Instant::now();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.cut_now.notified() => {}
                Some(ended) = flushes.join_next() => {
                    with_its_panic(ended);
                    continue;
                }
            }
            let Ok(permit) = self.in_flight.clone().acquire_owned().await else { return };
            let (cut, waiters) = self.take_cut();
            if cut.samples == 0 {
                continue;
            }
            if index_swept.elapsed() > IDLE_SERIES_AFTER {
                index_swept = Instant::now();
                self.forget_idle_series();
            }
            let ingester = self.clone();
            flushes.spawn(async move {
                tokio::select! {
                    biased;
                    never = panic_when_asked("ingester flush") => match never {},
                    () = ingester.flush(cut, waiters) => {}
                }
                drop(permit);
            });
        }
    }

    fn forget_idle_series(&self) {
        let cuts = IDLE_SERIES_AFTER.as_millis() / self.settings.flush_interval.as_millis().max(1);
        self.lock().intake.forget_idle(u32::try_from(cuts).unwrap_or(u32::MAX));
    }

    fn take_cut(&self) -> (Cut, watch::Sender<Outcome>) {
        let mut collecting = self.lock();
        let cut = collecting.intake.cut();
        let waiters = std::mem::replace(&mut collecting.waiters, watch::Sender::new(None));
        (cut, waiters)
    }

    async fn flush(&self, cut: Cut, waiters: watch::Sender<Outcome>) {
        if cut.samples == 0 {
            return;
        }
        let begun = Instant::now();
        let samples = cut.samples as u64;
        let appended = async { self.writer.append_segment(sorted(cut).await?).await };
        let outcome = match appended.await {
            Ok(position) => {
                self.counters.cuts.fetch_add(1, Relaxed);
                self.counters.samples.fetch_add(samples, Relaxed);
                self.counters.durations.flush.observe(begun.elapsed());
                Ok(position)
            }
            Err(error) => {
                self.counters.cut_errors.fetch_add(1, Relaxed);
                let told = error.told("cannot make samples durable");
                tracing::warn!(error = told, samples, "the senders of these samples are asked to retry");
                Err(AppendError::Unavailable(told))
            }
        };
        // If nobody waits any more, nobody has to be told.
        waiters.send_replace(Some(outcome));
    }

    async fn write_blocks(self: Arc<Self>) -> Result<(), promontory_store::Error> {
        self.block_loop().await;
        Ok(())
    }

    async fn block_loop(&self) {
        let interval = self.settings.block_interval;
        // Many ingesters of one bucket commit at different times.
        let spread = self.writer.status().life.writer.0 % interval.as_millis().max(1);
        let mut next = Instant::now() + interval / 2 + Duration::from_millis(spread as u64) / 2;
        let mut last = Instant::now();
        let mut ticks = tokio::time::interval(BLOCK_TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let life = self.writer.status().life;
            let block_bytes = BLOCK_HEAD_BYTES.min(self.settings.memory.head() / BLOCK_HEAD_SHARE);
            let large = life.decoded_bytes >= block_bytes || life.segments >= BLOCK_SEGMENTS;
            let early = large && last.elapsed() >= EARLY_BLOCK_INTERVAL_MIN.min(interval);
            if Instant::now() < next && !early {
                continue;
            }
            last = Instant::now();
            next = last + interval;
            match self.writer.flush_l1().await {
                Ok(_) => self.writer.outages().succeeded(WRITE_BLOCKS),
                Err(error) => {
                    self.counters.block_errors.fetch_add(1, Relaxed);
                    self.writer.outages().failed(WRITE_BLOCKS, &error);
                    next = last + interval.min(Duration::from_secs(5));
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Collecting> {
        // A panic while the lock was held is our bug; the intake's own invariants still hold.
        self.collecting.locked()
    }

    async fn append_batch(
        &self,
        tenant: &TenantId,
        batch: Batch,
        urgency: Urgency,
    ) -> Result<Appended, AppendError> {
        if self.stopping.load(Relaxed) {
            return Err(AppendError::Unavailable(
                "the ingester is stopping; retry elsewhere or later".into(),
            ));
        }
        let over =
            |error: promontory_store::Error| AppendError::Unavailable(error.told("cannot take samples"));
        self.writer.check_backlog().map_err(over)?;
        let (taken, refused, outcome, pending) = {
            let mut collecting = self.lock();
            let (taken, refused) = collecting.intake.add(tenant, &batch, self.clock.now_ms())?;
            let pending = collecting.intake.pending_bytes();
            (taken, refused, collecting.waiters.subscribe(), pending)
        };
        // A decoded request is half a megabyte; hundreds of them wait for one flush.
        drop(batch);
        for (counter, samples) in self.counters.refused.iter().zip(refused.by_reason) {
            counter.fetch_add(samples, Relaxed);
        }
        if taken == 0 {
            return Ok(Appended { samples: 0, position: None, refused });
        }
        if urgency == Urgency::Immediate || pending >= CUT_BYTES {
            self.cut_now.notify_one();
        }
        self.wait(taken, refused, outcome).await
    }

    async fn wait(
        &self,
        samples: u64,
        refused: Refusals,
        mut outcome: watch::Receiver<Outcome>,
    ) -> Result<Appended, AppendError> {
        let known =
            tokio::time::timeout(self.settings.append_timeout, outcome.wait_for(Option::is_some)).await;
        let unavailable =
            |why: &str| AppendError::Unavailable(format!("{why}; the samples may be sent again"));
        let known = known.map_err(|_| {
            let late =
                format!("the object store did not take the samples in {:?}", self.settings.append_timeout);
            unavailable(&self.writer.outages().explained(late))
        })?;
        let known = known.map_err(|_| unavailable("the ingester stopped before the samples were durable"))?;
        match known.as_ref() {
            Some(Ok(position)) => Ok(Appended { samples, position: Some(*position), refused }),
            Some(Err(error)) => Err(error.clone()),
            None => Err(unavailable("the outcome is unknown")),
        }
    }
}

async fn drive_slots(writer: Arc<Writer>) -> Result<(), promontory_store::Error> {
    tokio::select! {
        ended = writer.run() => ended,
        never = panic_when_asked("ingester slots") => match never {},
    }
}

/// Why the slots of a writer that nobody closed are driven no more, or its blocks not written.
fn task_ended(
    ended: Option<Result<Result<(), promontory_store::Error>, JoinError>>,
) -> promontory_store::Error {
    match ended.and_then(with_its_panic) {
        Some(Err(error)) => error,
        _ => promontory_store::Error::Bug("a task of the writer ended before the writer was closed".into()),
    }
}

/// What a task answered; its panic goes on here, so that it ends this role and not only the task.
fn with_its_panic<T>(ended: Result<T, JoinError>) -> Option<T> {
    match ended.map_err(JoinError::try_into_panic) {
        Ok(answer) => Some(answer),
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_cancelled)) => None,
    }
}

async fn sorted(cut: Cut) -> Result<Vec<TenantRows>, promontory_store::Error> {
    if cut.bytes <= SORT_INLINE_BYTES_MAX {
        return Ok(cut.into_rows());
    }
    let rows = tokio::task::spawn_blocking(|| cut.into_rows()).await;
    rows.map_err(|error| promontory_store::Error::Bug(format!("cannot sort a cut: {error}")))
}

impl Append for Ingester {
    fn append<'a>(
        &'a self,
        tenant: &'a TenantId,
        batch: Batch,
        urgency: Urgency,
    ) -> BoxFuture<'a, Result<Appended, AppendError>> {
        Box::pin(async move {
            let begun = Instant::now();
            self.counters.appends.fetch_add(1, Relaxed);
            let answer = self.append_batch(tenant, batch, urgency).await;
            match &answer {
                Ok(_) => self.counters.durations.append.observe(begun.elapsed()),
                Err(_) => {
                    self.counters.append_errors.fetch_add(1, Relaxed);
                }
            }
            answer
        })
    }
}
