//! The reader: snapshots of the catalog and of every live writer's newest segments.
//!
//! Words: the *tail* of a writer is what it has stored above its watermark; a tail is *local* if the
//! writer lives in this process, whose head is then shared, and *followed* otherwise.
//!
//! Invariants:
//! - A snapshot is one catalog version and, for each writer live in it, all segments from its
//!   watermark to the last one known when the snapshot was taken. Neither changes afterwards.
//! - Local tails are looked at before the catalog is, so that what leaves a head is in the version.
//! - A snapshot is read only while it is younger than half the grace, measured from a moment at which
//!   its version was the newest.
//! - Missing or uncertain parts are named in the snapshot's warnings.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use futures::{StreamExt, stream};
use promontory_block::{SeriesRun, merge_owned};
use promontory_model::{HeadMemory, Position, RwLockExt as _, SnapshotId, TenantId, TimeRange, WriterId};
use tokio::time::{Instant, sleep};

use crate::catalog::chain::{Chain, Latest};
use crate::catalog::epochs::Epochs;
use crate::catalog::state::{BlockEntry, Catalog};
use crate::counters::add;
use crate::error::Error;
use crate::heavy::heavy;
use crate::object::context::Context;
use crate::object::keys;
use crate::read::blocks::span_of;
use crate::read::slot_log::{Found, SlotLog};
use crate::read::whole_blocks;
use crate::write::life::LocalLives;
use crate::write::shared_head::SharedHead;

/// How many writers are probed at once.
const PROBES_MAX: usize = 16;

/// How long a wait for a position sleeps between two looks.
const POSITION_WAIT: Duration = Duration::from_millis(50);

/// Bounds and intervals of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderSettings {
    /// Catalog and tails are probed at most this often.
    pub probe_interval: Duration,
    /// A part that could not be probed for this long is named in the warnings.
    pub warn_after: Duration,
    /// Memory of all followed tails, beyond which snapshots are refused.
    pub tail_bytes_max: usize,
    /// How long a snapshot waits for the positions that it must contain.
    pub position_timeout: Duration,
}

impl ReaderSettings {
    /// The same with as much memory as is given.
    #[must_use]
    pub fn within(self, memory: HeadMemory) -> Self {
        Self { tail_bytes_max: memory.tails(), ..self }
    }
}

impl Default for ReaderSettings {
    fn default() -> Self {
        Self {
            probe_interval: Duration::from_secs(1),
            warn_after: Duration::from_secs(10),
            tail_bytes_max: HeadMemory::default().tails(),
            position_timeout: Duration::from_secs(10),
        }
    }
}

/// Follows catalog and tails, and gives snapshots.
#[derive(Debug)]
pub struct Reader {
    chain: Arc<Chain>,
    locals: Arc<LocalLives>,
    settings: ReaderSettings,
    /// The tails that are followed; the lock is held while they are brought up to date.
    following: tokio::sync::Mutex<BTreeMap<WriterId, Followed>>,
    published: RwLock<Published>,
}

/// The followed tails as of one moment.
#[derive(Clone, Debug)]
struct Published {
    tails: Arc<BTreeMap<WriterId, Followed>>,
    /// When the look began that found them; `None` before the first.
    as_of: Option<Instant>,
}

/// The tail of a writer that lives elsewhere.
#[derive(Clone, Debug)]
struct Followed {
    /// Rows of segments from the watermark at which it began to `last`.
    head: Arc<SharedHead>,
    last: u64,
    /// When its end was seen last.
    probed: Option<Instant>,
    end: TailEnd,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TailEnd {
    Open,
    Closed,
    Foreign(String),
    OverBudget,
}

/// One immutable view of all tenants: a catalog version plus the tails above its watermarks.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The state at the version that the snapshot is pinned to.
    pub catalog: Arc<Catalog>,
    /// The tail of every writer live in it.
    pub tails: BTreeMap<WriterId, Tail>,
    /// What is missing or uncertain, as text for users.
    pub warnings: Vec<String>,
    as_of: Instant,
    age_max: Duration,
}

/// One writer's segments above its watermark.
#[derive(Clone, Debug)]
pub struct Tail {
    /// Holds at least the rows of segments `after + 1..=last`; what it holds of others, blocks of the
    /// same snapshot hold too or nobody may see yet.
    pub head: Arc<SharedHead>,
    /// The writer's watermark: blocks hold its segments up to here.
    pub after: u64,
    /// The last segment that the snapshot contains.
    pub last: u64,
}

impl Tail {
    /// The sequence numbers of the segments that the snapshot contains and no block of it does.
    #[must_use]
    pub fn seqs(&self) -> Range<u64> {
        self.after + 1..self.last + 1
    }
}

/// One tenant's part of one snapshot.
#[derive(Clone, Debug)]
pub struct View {
    pub tenant: TenantId,
    /// The blocks that count for the tenant, in any order; each with rows of it.
    pub blocks: Vec<Arc<BlockEntry>>,
    /// The tails of live writers; not each has samples of the tenant.
    pub tails: Vec<Tail>,
    /// Samples before this time in milliseconds do not count any more; `None`: all count.
    pub retained_from: Option<i64>,
    /// Which version changed the data last, by window; `None` if none did since epochs are kept.
    pub epochs: Option<Arc<Epochs>>,
    /// After this moment the snapshot's objects may be swept; `None` for a view that nobody sweeps.
    pub expires: Option<Instant>,
    /// What is missing or uncertain, as text for users.
    pub warnings: Vec<String>,
}

impl View {
    /// The oldest sample of the tails, which hold what came in the last minutes; where they hold nothing of
    /// the tenant, the first millisecond after its newest sample.
    ///
    /// One sample that came late makes this earlier than it could be, never later, until a block holds it.
    #[must_use]
    pub fn mutable_from(&self) -> i64 {
        let of_tail = |tail: &Tail| tail.head.read().time_range(&self.tenant, tail.seqs());
        let tails = self.tails.iter().map(of_tail).fold(TimeRange::EMPTY, TimeRange::union);
        if !tails.is_empty() {
            return tails.start;
        }
        let spans = self.blocks.iter().filter_map(|entry| span_of(entry, &self.tenant));
        spans.map(|span| span.time_range.end.saturating_add(1)).max().unwrap_or(i64::MIN)
    }
}

impl Snapshot {
    /// What of the snapshot is `tenant`'s: its blocks in L1 that its L2 does not contain, in commit order,
    /// then its L2 and L3; tails, which may or may not hold the tenant.
    #[must_use]
    pub fn view(&self, tenant: &TenantId) -> View {
        let l1 = self.catalog.l1_of(tenant).map(|(_, entry)| entry);
        View {
            tenant: tenant.clone(),
            blocks: l1.chain(self.catalog.blocks_of(tenant)).cloned().collect(),
            tails: self.tails.values().filter(|tail| tail.last > tail.after).cloned().collect(),
            retained_from: self.catalog.tenants.get(tenant).and_then(|tenant| tenant.retained_from),
            epochs: self.catalog.epochs.get(tenant).cloned(),
            expires: Some(self.expires()),
            warnings: self.warnings.clone(),
        }
    }

    /// After this moment the snapshot may not be read any more.
    #[must_use]
    pub fn expires(&self) -> Instant {
        self.as_of + self.age_max
    }

    /// Fails once the snapshot is too old to be read: call before and after reading blocks.
    ///
    /// # Errors
    /// [`Error::Stale`].
    pub fn check_age(&self) -> Result<(), Error> {
        let age = self.as_of.elapsed();
        if age <= self.age_max {
            return Ok(());
        }
        Err(Error::Stale(format!(
            "snapshot of catalog version {} is {} s old, at most {} s",
            self.catalog.version,
            age.as_secs(),
            self.age_max.as_secs()
        )))
    }

    /// The version and the ends of all tails: equal ids mean equal samples.
    #[must_use]
    pub fn id(&self) -> SnapshotId {
        let tails = self.tails.iter().map(|(writer, tail)| Position { writer: *writer, seq: tail.last });
        SnapshotId { version: self.catalog.version, tails: tails.collect() }
    }

    /// The snapshot `id`, if this one is of the same version and not older: it is this one with shorter tails.
    #[must_use]
    pub fn at(&self, id: &SnapshotId) -> Option<Self> {
        if self.catalog.version != id.version {
            return None;
        }
        let cut = |position: &Position| {
            let tail = self.tails.get(&position.writer).filter(|tail| tail.last >= position.seq)?;
            Some((position.writer, Tail { last: position.seq, ..tail.clone() }))
        };
        let tails = id.tails.iter().map(cut).collect::<Option<_>>()?;
        Some(Self { tails, ..self.clone() })
    }

    /// Time since its version was known to be the newest.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.as_of.elapsed()
    }

    /// True if the snapshot certainly holds the segment. False also for a writer that does not live in its
    /// version: it may have ended before or begun afterwards.
    pub(crate) fn holds(&self, position: &Position) -> bool {
        self.catalog.writers.get(&position.writer).is_some_and(|state| {
            let last = self.tails.get(&position.writer).map_or(0, |tail| tail.last);
            position.seq <= state.watermark || position.seq <= last
        })
    }

    /// True if the snapshot holds the segment, acknowledged before `since`.
    fn contains(&self, position: &Position, since: Instant) -> bool {
        // A writer's birth is older than the acknowledgement. So in a version that is newer it has been
        // born, and is absent because blocks contain all of it.
        let ended = !self.catalog.writers.contains_key(&position.writer) && self.as_of > since;
        ended || self.holds(position)
    }
}

impl Reader {
    /// A reader that has looked at nothing yet.
    #[must_use]
    pub fn new(chain: Arc<Chain>, locals: Arc<LocalLives>, settings: ReaderSettings) -> Arc<Self> {
        let published = Published { tails: Arc::default(), as_of: None };
        Arc::new(Self {
            chain,
            locals,
            settings,
            following: tokio::sync::Mutex::default(),
            published: RwLock::new(published),
        })
    }

    /// The bucket, clock and randomness that the reader works with.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        self.chain.context()
    }

    fn published(&self) -> Published {
        self.published.read_locked().clone()
    }

    /// The newest snapshot that contains at least `must_contain`.
    ///
    /// Looks at the store if the last look is older than the probe interval. If the store does not
    /// answer, an older snapshot serves with warnings as long as it may be read.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`; `Limited` if the tails are over their budget; `Stale` if nothing
    /// young enough is known; `Busy` if a position did not show up in time.
    pub async fn snapshot(&self, must_contain: &[Position]) -> Result<Arc<Snapshot>, Error> {
        let began = Instant::now();
        let mut failure = match self.published().as_of {
            Some(as_of) if as_of.elapsed() < self.settings.probe_interval => None,
            _ => self.look(began.checked_sub(self.settings.probe_interval).unwrap_or(began)).await.err(),
        };
        loop {
            let never_looked = self.published().as_of.is_none();
            match (failure.take(), self.current()) {
                (Some(error), _) if never_looked => return Err(error),
                (Some(error @ (Error::Corrupt { .. } | Error::Unsupported(_))), _) => return Err(error),
                (_, Err(error)) => return Err(error),
                (_, Ok(snapshot)) => {
                    let Some(missing) = must_contain.iter().find(|p| !snapshot.contains(p, began)) else {
                        return Ok(Arc::new(snapshot));
                    };
                    if began.elapsed() >= self.settings.position_timeout {
                        return Err(Error::Busy(format!(
                            "segment {} of writer {} is not visible after {} s",
                            missing.seq,
                            missing.writer,
                            began.elapsed().as_secs()
                        )));
                    }
                }
            }
            failure = self.look(Instant::now()).await.err();
            sleep(POSITION_WAIT).await;
        }
    }

    /// Looks at catalog and tails now, as a role schedules it.
    ///
    /// # Errors
    /// As [`Self::snapshot`].
    pub async fn refresh(&self) -> Result<(), Error> {
        self.look(Instant::now()).await
    }

    /// Looks at catalog and tails, unless somebody began to do so after `wanted`.
    async fn look(&self, wanted: Instant) -> Result<(), Error> {
        let mut following = self.following.lock().await;
        if self.published().as_of.is_some_and(|as_of| as_of > wanted) {
            return Ok(());
        }
        let as_of = Instant::now();
        let catalog = self.chain.refresh().await?;
        self.locals.forget_contained(&catalog);
        let local = self.locals.views();
        // A query that runs into its deadline may drop this future: what is known stays in place.
        let live = catalog.writers.iter().filter(|(id, _)| !local.contains_key(id));
        let follows = live.map(|(id, state)| self.follow(*id, state.watermark, following.get(id).cloned()));
        let follows: Vec<_> = follows.collect();
        let followed: BTreeMap<WriterId, Followed> =
            stream::iter(follows).buffered(PROBES_MAX).collect().await;
        // The end of a tail is an absence.
        if !followed.is_empty() {
            self.chain.vouch().await?;
        }
        *following = followed;
        // SlotLog above a watermark stay for a grace after the version was the newest; what was looked
        // at later may have been a hole.
        if as_of.elapsed() > self.context().format.snapshot_age_max() {
            following.clear();
            return Err(Error::Stale("looking at the tails took longer than half the grace".into()));
        }
        let tails = Arc::new(following.clone());
        let mut published = self.published.write_locked();
        *published = Published { tails, as_of: Some(as_of) };
        Ok(())
    }

    /// Brings the tail of one writer up to date.
    async fn follow(&self, writer: WriterId, watermark: u64, tail: Option<Followed>) -> (WriterId, Followed) {
        let fresh = |probed| Followed { head: Arc::default(), last: watermark, probed, end: TailEnd::Open };
        let mut tail = tail.unwrap_or_else(|| fresh(None));
        // A look that was dropped may have inserted more than it published.
        tail.last = tail.last.max(tail.head.last_seq().unwrap_or(0));
        if tail.last < watermark {
            tail = fresh(tail.probed);
        } else {
            tail.rebase(watermark);
        }
        if tail.end == TailEnd::Closed {
            tail.probed = Some(Instant::now());
            return (writer, tail);
        }
        let counters = &self.context().counters;
        let mut slots = SlotLog::new(self.context(), writer, tail.last + 1);
        loop {
            if tail.head.bytes() > self.settings.tail_bytes_max {
                tail.end = TailEnd::OverBudget;
                break;
            }
            let asked = Instant::now();
            match slots.next().await {
                Ok(Found::Segment(segment, bytes)) => {
                    add(&counters.tail_segments, 1);
                    add(&counters.tail_bytes, bytes);
                    heavy(|| tail.head.insert_decoded(segment.seq, segment.sections));
                    tail.last = segment.seq;
                    continue;
                }
                // Whoever followed it from the beginning would have seen what is gone.
                Ok(Found::Nothing) if tail.probed.is_none() => match slots.vanished().await {
                    Ok(Some(why)) => tail.end = TailEnd::Foreign(why),
                    Ok(None) => tail.end = TailEnd::Open,
                    Err(_) => break,
                },
                Ok(Found::Nothing) => tail.end = TailEnd::Open,
                Ok(Found::ClosedMark) => tail.end = TailEnd::Closed,
                Ok(Found::Foreign(why)) => tail.end = TailEnd::Foreign(why),
                Err(_) => {
                    add(&counters.tail_probe_failures, 1);
                    break;
                }
            }
            tail.probed = Some(asked);
            break;
        }
        (writer, tail)
    }

    /// A snapshot of what is known now, without a request.
    fn current(&self) -> Result<Snapshot, Error> {
        let local = self.locals.views();
        let published = self.published();
        let Latest { catalog, as_of } = self.chain.latest_as_of();
        let mut snapshot = Snapshot {
            tails: BTreeMap::new(),
            warnings: Vec::new(),
            as_of,
            age_max: self.context().format.snapshot_age_max(),
            catalog,
        };
        snapshot.check_age()?;
        let warn_after = self.settings.warn_after;
        if as_of.elapsed() > warn_after {
            let seconds = as_of.elapsed().as_secs();
            snapshot.warnings.push(format!("the catalog could not be probed for {seconds} s"));
        }
        let mut bytes = 0;
        for (id, state) in &snapshot.catalog.writers {
            let after = state.watermark;
            if let Some(view) = local.get(id) {
                let tail = Tail { head: view.head.clone(), after, last: view.confirmed };
                snapshot.tails.insert(*id, tail);
            } else if let Some(followed) = published.tails.get(id) {
                bytes += followed.head.bytes();
                snapshot.warnings.extend(followed.warning(*id, warn_after));
                let tail = Tail { head: followed.head.clone(), after, last: followed.last };
                snapshot.tails.insert(*id, tail);
            } else if published.as_of.is_none_or(|as_of| as_of.elapsed() > warn_after) {
                // The chain is shared: another machine's commit has read forward over this birth,
                // and no look has succeeded since.
                snapshot
                    .warnings
                    .push(format!("writer {id} could not be probed yet; its samples may be missing"));
            }
        }
        if bytes > self.settings.tail_bytes_max {
            let limit = self.settings.tail_bytes_max;
            return Err(Error::Limited(format!(
                "tails hold {bytes} bytes, at most {limit}; are blocks written?"
            )));
        }
        Ok(snapshot)
    }

    /// All rows of one tenant, merged and deduplicated; for checks, not for queries.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`, or `Stale` if the snapshot became too old.
    pub async fn read_all(&self, snapshot: &Snapshot, tenant: &TenantId) -> Result<SeriesRun, Error> {
        snapshot.check_age()?;
        let view = snapshot.view(tenant);
        let mut runs = Vec::new();
        for entry in &view.blocks {
            match whole_blocks::read(self.context(), entry).await {
                Ok(rows) => runs.push(whole_blocks::rows_of(rows, tenant)),
                // An object may be gone once the snapshot is too old: say that instead.
                Err(error) => return Err(snapshot.check_age().err().unwrap_or(error)),
            }
        }
        for tail in &view.tails {
            runs.push(whole_blocks::rows_of(tail.head.read().rows(tail.last), tenant));
        }
        snapshot.check_age()?;
        let merged = heavy(|| merge_owned(runs));
        Ok(match view.retained_from {
            Some(from_ts) => clipped(&merged, from_ts),
            None => merged,
        })
    }
}

impl Followed {
    fn rebase(&mut self, watermark: u64) {
        if self.head.reaches_below(watermark) {
            self.head = self.head.rebased(watermark);
            heavy(|| self.head.settle());
        }
    }

    fn warning(&self, writer: WriterId, warn_after: Duration) -> Option<String> {
        let slot = || keys::slot(writer, self.last + 1);
        match &self.end {
            TailEnd::Foreign(why) => Some(format!("writer {writer} is quarantined: {} {why}", slot())),
            TailEnd::OverBudget => Some(format!("the tail of writer {writer} is over its budget")),
            TailEnd::Open | TailEnd::Closed => match self.probed.map(|probed| probed.elapsed()) {
                None => Some(format!("writer {writer} could not be probed yet; its samples may be missing")),
                Some(age) if age > warn_after => Some(format!(
                    "writer {writer} could not be probed for {} s; newest samples may be missing",
                    age.as_secs()
                )),
                Some(_) => None,
            },
        }
    }
}

/// The samples from `from_ts` on.
pub(crate) fn clipped(run: &SeriesRun, from_ts: i64) -> SeriesRun {
    let mut out = SeriesRun::default();
    let kept = TimeRange::new(from_ts, i64::MAX);
    for (key, samples) in run.iter() {
        out.push(key.clone(), samples.clip(kept));
    }
    out
}

#[cfg(test)]
mod tests;
