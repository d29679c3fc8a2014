//! The writer: segments in, acknowledgements out, L1 blocks behind.
//!
//! A process start is a new writer with a fresh id. [`Writer::run`] drives its slots,
//! [`Writer::flush_l1`] is scheduled by the role, both at once on shared state.
//!
//! Words: a *slot* is `wal/<writer>/<seq>`; *resolving* a slot means to learn what it holds.
//!
//! Invariants:
//! - Nothing is acknowledged before the birth is confirmed in the chain.
//! - The bytes of a slot are fixed before its first PUT and are never put anywhere else.
//! - A segment is acknowledged once its slot and all below it are known to hold their bytes.
//! - An L1 block contains exactly the confirmed segments up to its watermark.
//! - At most `in_flight_max` slots are unresolved, and at most `segments_max` segments or `bytes_max`
//!   bytes lie above the watermark.
//! - Rows that would make a larger segment than `segment_bytes_max` become several, and are acknowledged with the
//!   last of them: a slot must get through in the time of one request, and be read into little memory.
//! - Rows that wait for a slot and the head together have at most `decoded_bytes_max` bytes in memory, beyond
//!   which nothing more is taken.
//!
//! Resolving a slot:
//! 1. PUT with create. Success: it holds our bytes.
//! 2. Anything else: read back. Our bytes, and the answer was that the slot is taken: as 1. Our bytes after any other
//!    answer: nothing says yet that they are kept, begin again. Nothing, or no answer: wait, begin again.
//! 3. A closed mark: somebody adopted this writer. What is not acknowledged moves under a new id.
//! 4. Anything else: the writer is quarantined, nothing above the slot counts; go on as in 3.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use object_store::path::Path;
use promontory_block::{Closed, Slot, TenantRows, cut_rows, decoded_bytes, encode_segment, merge_tenants};
use promontory_model::{HeadMemory, MutexExt as _, Position, RwLockExt as _, WriterId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::catalog::chain::{Chain, Next, Outcome};
use crate::catalog::state::{Addition, Catalog, Change};
use crate::counters::add;
use crate::error::Error;
use crate::heavy::heavy;
use crate::object::context::{Context, Created};
use crate::object::keys::{self, IN_FLIGHT_MAX};
use crate::outage::OutageLog;
use crate::planted::Bug;
use crate::write::head::Contribution;
use crate::write::life::{Life, LifeView, LocalLives};
use crate::write::upload::upload_l1;

/// What [`OutageLog`] calls the putting of segments.
const PUT_SEGMENTS: &str = "put segments";

/// And that of a new writer.
const BEGIN_WRITER: &str = "begin a new writer";

/// Segments that wait for a free slot; more wait in the callers.
const QUEUE_MAX: usize = 16;

/// How often a block is uploaded anew because the floor passed its base.
const UPLOADS_MAX: u32 = 3;

/// Bounds and intervals of a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterSettings {
    /// Unresolved slots at once, at most 4.
    pub in_flight_max: usize,
    /// Segments above the watermark from which appends are refused.
    pub segments_max: u64,
    /// Bytes of segments above the watermark from which appends are refused.
    pub bytes_max: u64,
    /// Memory of samples and label sets that no block holds, from which appends are refused.
    pub decoded_bytes_max: usize,
    /// Most bytes of one segment as it is stored, beyond which its rows become several.
    pub segment_bytes_max: usize,
    /// The same in memory.
    pub segment_decoded_bytes_max: usize,
    /// A writer without input puts an empty segment this often.
    pub idle_interval: Duration,
    /// Empty segments above the watermark from which a commit moves the watermark only.
    pub empty_segments_max: u64,
    /// How long an append waits for its acknowledgement.
    pub acknowledge_timeout: Duration,
}

impl WriterSettings {
    /// The same with as much memory as is given.
    #[must_use]
    pub fn within(self, memory: HeadMemory) -> Self {
        Self { decoded_bytes_max: memory.head(), segment_decoded_bytes_max: memory.segment(), ..self }
    }
}

impl Default for WriterSettings {
    fn default() -> Self {
        let memory = HeadMemory::default();
        Self {
            in_flight_max: IN_FLIGHT_MAX,
            segments_max: 300,
            bytes_max: 1 << 30,
            decoded_bytes_max: memory.head(),
            segment_bytes_max: 8 << 20,
            segment_decoded_bytes_max: memory.segment(),
            idle_interval: Duration::from_secs(30),
            empty_segments_max: 60,
            acknowledge_timeout: Duration::from_secs(30),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// There was too little to be worth a commit.
    Nothing,
    /// The watermark rose to this segment.
    Watermark(u64),
    /// Somebody closed this writer; its next segment finds out and begins a new life.
    Closed,
}

/// What a writer is doing, for metrics and for scheduling flushes.
#[derive(Clone, Debug)]
pub struct WriterStatus {
    /// Its present life.
    pub life: LifeView,
    /// Appends that wait for a slot.
    pub queued: usize,
    /// Memory of the rows that no slot is known to hold, in bytes.
    pub waiting_bytes: usize,
}

/// Takes segments of one process and makes them durable.
#[derive(Debug)]
pub struct Writer {
    chain: Arc<Chain>,
    settings: WriterSettings,
    locals: Arc<LocalLives>,
    life: RwLock<Arc<Life>>,
    queue: mpsc::Sender<Message>,
    /// Memory of the rows that no slot is known to hold.
    waiting: Arc<AtomicUsize>,
    inbox: Mutex<Option<mpsc::Receiver<Message>>>,
    /// The block whose commit is not known to be in; also serialises flushes.
    prepared: tokio::sync::Mutex<Option<PreparedBlock>>,
}

#[derive(Debug)]
enum Message {
    Append(PendingSegment),
    Close(oneshot::Sender<Result<(), Error>>),
}

/// A segment that is not acknowledged.
#[derive(Debug)]
struct PendingSegment {
    rows: Contribution,
    /// `None` for the empty segment of an idle writer.
    acknowledge: Option<oneshot::Sender<Position>>,
    /// Encoded size, once it has a slot.
    bytes: u64,
    waiting: Waiting,
}

/// The memory of some rows as a part of all that wait; gives it back when dropped.
#[derive(Debug)]
struct Waiting {
    decoded_bytes: usize,
    of: Arc<AtomicUsize>,
}

impl Waiting {
    fn new(rows: &[TenantRows], of: &Arc<AtomicUsize>) -> Self {
        let decoded_bytes = decoded_bytes(rows);
        of.fetch_add(decoded_bytes, Relaxed);
        Self { decoded_bytes, of: of.clone() }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.of.fetch_sub(self.decoded_bytes, Relaxed);
    }
}

/// An uploaded L1 block and the watermarks that its commit goes between.
#[derive(Debug)]
struct PreparedBlock {
    writer: WriterId,
    from: u64,
    to: u64,
    rows: Addition,
}

/// What a slot turned out to hold.
#[derive(Debug, PartialEq, Eq)]
enum Resolved {
    Ours,
    ClosedMark,
    Foreign(String),
}

/// How an L1 commit ended without being made.
enum Stopped {
    Gone,
    Moved(u64),
    BelowFloor,
}

type SlotFuture = Pin<Box<dyn Future<Output = Resolved> + Send>>;

/// The driver's state: one life's slots.
struct LifeSlots {
    life: Arc<Life>,
    next_seq: u64,
    flight: FuturesOrdered<SlotFuture>,
    /// The segments of `flight`, in order.
    unresolved: VecDeque<PendingSegment>,
    /// Segments that come before the queue: they moved from a closed life, or are parts of one that was too large.
    moved: VecDeque<PendingSegment>,
    idle_at: Instant,
}

impl Writer {
    /// A writer whose birth is confirmed; nothing moves before [`Self::run`] is polled.
    ///
    /// # Errors
    /// `Unavailable` if the birth could not be confirmed; the next try uses a fresh id.
    pub async fn open(
        chain: Arc<Chain>,
        locals: Arc<LocalLives>,
        settings: WriterSettings,
    ) -> Result<Arc<Self>, Error> {
        let life = birth(&chain).await?;
        locals.register(&life);
        let (queue, inbox) = mpsc::channel(QUEUE_MAX);
        Ok(Arc::new(Self {
            chain,
            settings,
            locals,
            life: RwLock::new(life),
            queue,
            waiting: Arc::default(),
            inbox: Mutex::new(Some(inbox)),
            prepared: tokio::sync::Mutex::new(None),
        }))
    }

    fn context(&self) -> &Arc<Context> {
        self.chain.context()
    }

    /// Where loops say how their requests to this writer's store went.
    #[must_use]
    pub fn outages(&self) -> &OutageLog {
        &self.context().bucket.outages
    }

    fn life(&self) -> Arc<Life> {
        self.life.read_locked().clone()
    }

    /// Head, watermark and queue as they are now.
    #[must_use]
    pub fn status(&self) -> WriterStatus {
        let queued = QUEUE_MAX - self.queue.capacity();
        WriterStatus { life: self.life().view(), queued, waiting_bytes: self.waiting.load(Relaxed) }
    }

    /// Makes rows durable, as one segment or as several; resolves when they and all earlier ones are, with the
    /// place of the last segment.
    ///
    /// Tenants strictly ascend. Dropping the future does not stop the segment.
    ///
    /// # Errors
    /// `Busy` if too much lies above the watermark, the store does not answer in time, or the writer
    /// is closing. After an error the rows may still become durable; sending them again is safe.
    pub async fn append_segment(&self, rows: Vec<TenantRows>) -> Result<Position, Error> {
        self.check_backlog()?;
        let (acknowledge, acknowledged) = oneshot::channel();
        let pending = self.pending(rows, Some(acknowledge));
        let sent = async {
            self.queue.send(Message::Append(pending)).await.map_err(|_| closing())?;
            acknowledged.await.map_err(|_| closing())
        };
        let limit = self.settings.acknowledge_timeout;
        match timeout(limit, sent).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Busy(format!("no segment became durable within {} s", limit.as_secs_f64()))),
        }
    }

    fn pending(
        &self,
        rows: Vec<TenantRows>,
        acknowledge: Option<oneshot::Sender<Position>>,
    ) -> PendingSegment {
        let waiting = Waiting::new(&rows, &self.waiting);
        PendingSegment { rows: Arc::new(rows), acknowledge, bytes: 0, waiting }
    }

    /// Whether an append would be taken now.
    ///
    /// # Errors
    /// `Busy` if too many segments or bytes lie above the watermark, or wait for their slots.
    pub fn check_backlog(&self) -> Result<(), Error> {
        let view = self.life().view();
        let WriterSettings { segments_max, bytes_max, decoded_bytes_max, .. } = self.settings;
        let decoded_bytes = view.decoded_bytes + self.waiting.load(Relaxed);
        let over = if view.segments >= segments_max {
            format!("{} segments, at most {segments_max}", view.segments)
        } else if view.bytes >= bytes_max {
            format!("{} bytes of segments, at most {bytes_max}", view.bytes)
        } else if decoded_bytes >= decoded_bytes_max {
            format!(
                "{decoded_bytes} bytes of samples and labels in memory, at most {decoded_bytes_max} of --head.max-memory"
            )
        } else {
            return Ok(());
        };
        add(&self.context().counters.appends_backlogged, 1);
        let waits = format!("{over}, wait for their block in writer {}; retry later", view.writer);
        Err(Error::Busy(self.outages().explained(waits)))
    }

    /// Stops taking segments, writes the last L1 block and the closed mark, and leaves the catalog.
    /// [`Self::run`] must be running; it ends afterwards.
    ///
    /// # Errors
    /// `Unavailable` if the store does not answer. Nothing is lost: whoever adopts dead writers does
    /// the rest.
    pub async fn close(&self) -> Result<(), Error> {
        let (done, closed) = oneshot::channel();
        self.queue.send(Message::Close(done)).await.map_err(|_| closing())?;
        closed.await.map_err(|_| closing())?
    }

    // --- Slots ---

    /// Drives the slots until the writer is closed; to be polled by one task.
    ///
    /// # Errors
    /// [`Error::Bug`] if it runs already.
    pub async fn run(&self) -> Result<(), Error> {
        let inbox = self.inbox.locked().take();
        let mut inbox = inbox.ok_or_else(|| Error::Bug("a writer runs twice".into()))?;
        let mut slots = LifeSlots::new(self.life(), VecDeque::new(), self.settings.idle_interval);
        loop {
            let in_flight_max = self.settings.in_flight_max.min(IN_FLIGHT_MAX);
            while slots.flight.len() < in_flight_max
                && let Some(pending) = slots.moved.pop_front()
            {
                self.start(&mut slots, pending)?;
            }
            let room = slots.flight.len() < in_flight_max;
            let idle = slots.flight.is_empty() && slots.moved.is_empty();
            tokio::select! {
                biased;
                Some(resolved) = slots.flight.next(), if !slots.flight.is_empty() => {
                    self.resolved(&mut slots, resolved).await;
                }
                message = inbox.recv(), if room => match message {
                    Some(Message::Append(pending)) => self.start(&mut slots, pending)?,
                    Some(Message::Close(done)) => {
                        // Whoever still waits in the queue gets an error and sends again elsewhere.
                        inbox.close();
                        drop(inbox);
                        let closed = self.close_life(slots).await;
                        let _ = done.send(closed);
                        return Ok(());
                    }
                    None => return Ok(()),
                },
                () = sleep_until(slots.idle_at), if idle => {
                    self.start(&mut slots, self.pending(Vec::new(), None))?;
                }
            }
        }
    }

    /// Fixes the bytes of the next slot and sends them. The parts of a segment that is too large come next instead.
    fn start(&self, slots: &mut LifeSlots, pending: PendingSegment) -> Result<(), Error> {
        let WriterSettings { segment_bytes_max, segment_decoded_bytes_max, .. } = self.settings;
        let (writer, seq) = (slots.life.writer(), slots.next_seq);
        let applied = self.chain.latest().version;
        let Some(pending) = self.whole(slots, pending, segment_decoded_bytes_max) else { return Ok(()) };
        let bytes = heavy(|| encode_segment(writer, seq, applied, &pending.rows))
            .map_err(|error| Error::Bug(error.to_string()))?;
        // Parts compress unlike each other: three quarters are aimed at, and what is still too large is cut again.
        let parts = (4 * bytes.len()).div_ceil(3 * segment_bytes_max);
        let fitting =
            if bytes.len() > segment_bytes_max { pending.waiting.decoded_bytes / parts } else { usize::MAX };
        let Some(mut pending) = self.whole(slots, pending, fitting) else { return Ok(()) };
        pending.bytes = bytes.len() as u64;
        if self.context().planted.is(Bug::AcknowledgeEarly) {
            acknowledge(&mut pending, Position { writer, seq });
        }
        slots.flight.push_back(Box::pin(resolve_slot(self.context().clone(), writer, seq, bytes)));
        slots.unresolved.push_back(pending);
        slots.next_seq += 1;
        slots.idle_at = Instant::now() + self.settings.idle_interval;
        Ok(())
    }

    /// The segment, if it has at most `bytes_max` decoded bytes or cannot be cut; otherwise its parts are the next to
    /// be started, and the last of them is acknowledged.
    fn whole(
        &self,
        slots: &mut LifeSlots,
        pending: PendingSegment,
        bytes_max: usize,
    ) -> Option<PendingSegment> {
        if pending.waiting.decoded_bytes <= bytes_max {
            return Some(pending);
        }
        let PendingSegment { rows, mut acknowledge, .. } = pending;
        let mut parts = heavy(|| cut_rows(Arc::unwrap_or_clone(rows), bytes_max));
        if parts.len() == 1 {
            return parts.pop().map(|rows| self.pending(rows, acknowledge));
        }
        add(&self.context().counters.segments_cut, 1);
        for rows in parts.into_iter().rev() {
            slots.moved.push_front(self.pending(rows, acknowledge.take()));
        }
        None
    }

    /// Takes the answer about the oldest unresolved slot.
    async fn resolved(&self, slots: &mut LifeSlots, resolved: Resolved) {
        let counters = &self.context().counters;
        match resolved {
            Resolved::Ours => {
                self.confirm_oldest(slots);
                return;
            }
            Resolved::ClosedMark if self.context().planted.is(Bug::IgnoreClosedMark) => {
                slots.flight.clear();
                slots.moved = slots.not_acknowledged();
                return;
            }
            Resolved::ClosedMark => {
                add(&counters.writers_closed_by_others, 1);
                tracing::info!(writer = %slots.life.writer(), "writer was adopted; going on under a new id");
            }
            Resolved::Foreign(why) => {
                add(&counters.writers_quarantined, 1);
                tracing::error!(writer = %slots.life.writer(), why, "writer is quarantined");
            }
        }
        slots.life.retire();
        let life = self.reborn().await;
        *slots = LifeSlots::new(life, slots.not_acknowledged(), self.settings.idle_interval);
    }

    fn confirm_oldest(&self, slots: &mut LifeSlots) {
        let Some(mut pending) = slots.unresolved.pop_front() else {
            return;
        };
        let seq = slots.next_seq - 1 - slots.unresolved.len() as u64;
        let counters = &self.context().counters;
        add(&counters.segments, 1);
        add(&counters.segment_bytes, pending.bytes);
        slots.life.confirm(seq, pending.rows.clone(), pending.bytes, pending.waiting.decoded_bytes);
        acknowledge(&mut pending, Position { writer: slots.life.writer(), seq });
        heavy(|| slots.life.settle());
    }

    /// A new life after a closed or quarantined one; waits as long as the store does not answer,
    /// while appends run into their timeout.
    async fn reborn(&self) -> Arc<Life> {
        let mut failures = 0;
        loop {
            match birth(&self.chain).await {
                Ok(life) => {
                    self.outages().succeeded(BEGIN_WRITER);
                    self.locals.register(&life);
                    *self.life.write_locked() = life.clone();
                    return life;
                }
                Err(error) => self.outages().failed(BEGIN_WRITER, &error),
            }
            failures += 1;
            self.context().back_off(failures).await;
        }
    }

    /// Resolves what is in flight, puts the closed mark, writes the last L1 block, leaves.
    async fn close_life(&self, mut slots: LifeSlots) -> Result<(), Error> {
        while let Some(resolved) = slots.flight.next().await {
            match resolved {
                Resolved::Ours => self.confirm_oldest(&mut slots),
                // Adopted: what is not acknowledged gets an error as its channel closes.
                Resolved::ClosedMark => return Ok(()),
                Resolved::Foreign(why) => {
                    let object = keys::slot(slots.life.writer(), slots.life.view().confirmed + 1).to_string();
                    return Err(Error::Corrupt { object, why });
                }
            }
        }
        let (writer, mark) = (slots.life.writer(), slots.next_seq);
        let bytes = Closed { writer, seq: mark, applied: self.chain.latest().version }.encode();
        if let Resolved::Foreign(why) = resolve_slot(self.context().clone(), writer, mark, bytes).await {
            return Err(Error::Corrupt { object: keys::slot(writer, mark).to_string(), why });
        }
        slots.life.retire();
        let mut prepared = self.prepared.lock().await;
        self.commit_rows(&slots.life, &mut prepared, Some(mark)).await.map(drop)
    }

    // --- L1 ---

    /// Writes the confirmed segments above the watermark as one L1 block and commits both.
    ///
    /// A commit whose answer is unknown is looked for, with the same block, by the next call.
    ///
    /// # Errors
    /// `Unavailable`: call again.
    pub async fn flush_l1(&self) -> Result<Flushed, Error> {
        let mut prepared = self.prepared.lock().await;
        let life = self.life();
        self.commit_rows(&life, &mut prepared, None).await
    }

    async fn commit_rows(
        &self,
        life: &Arc<Life>,
        prepared: &mut Option<PreparedBlock>,
        mark: Option<u64>,
    ) -> Result<Flushed, Error> {
        for _ in 0..UPLOADS_MAX {
            let view = life.view();
            // What a closing prepared without rows is nothing that a flush could commit.
            let fits =
                |p: &PreparedBlock| if mark.is_some() { p.to == view.confirmed } else { p.to > p.from };
            let usable = |p: &PreparedBlock| p.writer == view.writer && p.from == view.watermark && fits(p);
            let ready = match prepared.take().filter(usable) {
                Some(ready) => ready,
                None => match self.prepare(&view, mark.is_some()).await? {
                    Some(ready) => ready,
                    None => return Ok(Flushed::Nothing),
                },
            };
            // Kept, so that a call after an unknown answer does not upload again.
            let ready = prepared.insert(ready);
            let stopped =
                match self.chain.commit(|catalog| decide(self.context(), catalog, ready, mark)).await? {
                    Outcome::Committed(_) => {
                        let counters = &self.context().counters;
                        add(&counters.l1_commits, u64::from(!ready.rows.entries.is_empty()));
                        add(&counters.l1_rows, ready.rows.rows());
                        Stopped::Moved(ready.to)
                    }
                    Outcome::Stopped(stopped) => stopped,
                    Outcome::Void(void) => {
                        *prepared = None;
                        return Err(Error::Bug(format!("L1 commit of writer {}: {void}", view.writer)));
                    }
                };
            *prepared = None;
            match stopped {
                Stopped::Gone => return Ok(Flushed::Closed),
                Stopped::BelowFloor => {}
                Stopped::Moved(watermark) => {
                    heavy(|| life.raise_watermark(watermark));
                    let left = mark.is_some() && self.chain.latest().writers.contains_key(&view.writer);
                    if !left {
                        return Ok(Flushed::Watermark(watermark));
                    }
                }
            }
        }
        Err(Error::Busy(format!("the floor passed {UPLOADS_MAX} uploads before their commit")))
    }

    /// Uploads the confirmed rows above the watermark; `None` if a commit is not worth it.
    async fn prepare(&self, view: &LifeView, last: bool) -> Result<Option<PreparedBlock>, Error> {
        let (from, to) = (view.watermark, view.confirmed.max(view.watermark));
        // Merged outside of the lock, which acknowledgements need.
        let contributions = view.contributions(to);
        let inputs: Vec<&[TenantRows]> = contributions.iter().map(|rows| rows.as_slice()).collect();
        let rows = heavy(|| merge_tenants(&inputs));
        let worth_it = !rows.is_empty() || last || to - from >= self.settings.empty_segments_max;
        if !worth_it {
            return Ok(None);
        }
        let base = self.chain.latest().version;
        let rows = upload_l1(self.context(), base, rows).await?;
        Ok(Some(PreparedBlock { writer: view.writer, from, to, rows }))
    }
}

/// What an L1 commit or a closing wants on this version.
fn decide(context: &Context, catalog: &Catalog, ready: &PreparedBlock, mark: Option<u64>) -> Next<Stopped> {
    let Some(state) = catalog.writers.get(&ready.writer) else {
        return Next::Stop(Stopped::Gone);
    };
    if state.watermark != ready.from && !context.planted.is(Bug::SkipWatermarkCheck) {
        return Next::Stop(Stopped::Moved(state.watermark));
    }
    if ready.rows.is_below(catalog.floor) && !context.planted.is(Bug::CommitBelowFloor) {
        return Next::Stop(Stopped::BelowFloor);
    }
    let (writer, from, rows) = (ready.writer, ready.from, ready.rows.clone());
    Next::Try(match mark {
        Some(mark) => Change::Close { writer, from, mark, rows },
        None => Change::L1 { writer, from, to: ready.to, rows },
    })
}

/// A life whose birth is confirmed present in the chain.
async fn birth(chain: &Chain) -> Result<Arc<Life>, Error> {
    let mut tried: Vec<WriterId> = Vec::new();
    let outcome = chain
        .commit(|catalog| {
            // An attempt whose answer was lost; a fresh id for each, because one that was born and
            // closed again must not come back.
            if let Some(id) = tried.iter().find(|id| catalog.writers.contains_key(id)) {
                return Next::Stop((*id, catalog.writers[id].born));
            }
            let writer = WriterId(chain.context().random.next_u128());
            tried.push(writer);
            Next::Try(Change::Birth { writer, level: chain.context().level })
        })
        .await?;
    let (writer, born) = match outcome {
        Outcome::Stopped(born) => born,
        Outcome::Committed(catalog) => match tried.last() {
            Some(writer) => (*writer, catalog.version),
            None => return Err(Error::Bug("a birth was committed that was never tried".into())),
        },
        Outcome::Void(void) => return Err(Error::Bug(format!("birth of a fresh writer: {void}"))),
    };
    add(&chain.context().counters.writer_births, 1);
    Ok(Life::new(writer, born))
}

impl LifeSlots {
    fn new(life: Arc<Life>, moved: VecDeque<PendingSegment>, idle_interval: Duration) -> Self {
        Self {
            life,
            next_seq: 1,
            flight: FuturesOrdered::new(),
            unresolved: VecDeque::new(),
            moved,
            idle_at: Instant::now() + idle_interval,
        }
    }

    /// Takes what has a slot and what is to have one next, in order.
    fn not_acknowledged(&mut self) -> VecDeque<PendingSegment> {
        let mut all = std::mem::take(&mut self.unresolved);
        all.append(&mut self.moved);
        all
    }
}

fn acknowledge(pending: &mut PendingSegment, position: Position) {
    if let Some(acknowledge) = pending.acknowledge.take() {
        // The caller may have given up waiting.
        let _ = acknowledge.send(position);
    }
}

fn closing() -> Error {
    Error::Busy("the writer is closing".into())
}

/// Puts `bytes` into a slot until it is known what the slot holds.
///
/// It never gives up while the store does not answer: the bytes may have landed, and only the slot
/// can tell. Its memory is bounded by the slots in flight.
async fn resolve_slot(context: Arc<Context>, writer: WriterId, seq: u64, bytes: Bytes) -> Resolved {
    let key = keys::slot(writer, seq);
    let outages = &context.bucket.outages;
    let mut failures = 0;
    loop {
        let (kept, refusal) = match context.create(&key, bytes.clone()).await {
            Ok(Created::New) => {
                outages.succeeded(PUT_SEGMENTS);
                return Resolved::Ours;
            }
            Ok(Created::Exists(refusal)) => (true, refusal),
            Err(refusal) => (context.planted.is(Bug::TrustReadBack), refusal),
        };
        add(&context.counters.slot_unknown_answers, 1);
        let held = context.get_verified(&key, |found| resolved_by(&key, (writer, seq), &bytes, found)).await;
        match held {
            Ok(Some(resolved)) if kept || resolved != Resolved::Ours => {
                outages.succeeded(PUT_SEGMENTS);
                return resolved;
            }
            Err(Error::Corrupt { why, .. }) => return Resolved::Foreign(why),
            Ok(_) | Err(_) => outages.failed(PUT_SEGMENTS, &refusal),
        }
        failures += 1;
        context.back_off(failures).await;
    }
}

/// What the bytes found in a slot resolve it to, into which `ours` were put.
fn resolved_by(key: &Path, slot: (WriterId, u64), ours: &[u8], found: &[u8]) -> Result<Resolved, Error> {
    if found == ours {
        return Ok(Resolved::Ours);
    }
    match Slot::decode(found) {
        Ok(Slot::Closed(mark)) if (mark.writer, mark.seq) == slot => Ok(Resolved::ClosedMark),
        Ok(_) => Ok(Resolved::Foreign("holds the bytes of somebody else".into())),
        Err(error) => Err(Error::Corrupt { object: key.to_string(), why: error.to_string() }),
    }
}

#[cfg(test)]
mod tests;
