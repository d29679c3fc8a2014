//! The adopter: closes writers that look dead and writes what they left behind.
//!
//! Adoption is safe at any moment: a writer that was only slow finds the closed mark, moves what is
//! not acknowledged under a new id and loses nothing. So the timeout is a heuristic, and no clock is
//! trusted.
//!
//! Invariants:
//! - Only time in which our own requests succeeded counts as silence of the other.
//! - The mark closes the writer only if its slot is above the watermark in the version that the
//!   closing builds on, with every slot between read; otherwise everything starts again from reading.
//! - A slot with damaged or foreign bytes is never skipped: what lies below it becomes a block, the
//!   writer stays and is reported.
//! - At most `replay_bytes_max` of segments, decoded, and one more segment are in memory at once.
//! - A writer that cannot be adopted now keeps no other from being adopted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use promontory_block::{Closed, TenantRows, decoded_bytes, merge_tenants};
use promontory_model::{HeadMemory, WriterId};
use tokio::time::Instant;

use crate::catalog::chain::{Chain, Next, Outcome, last_present};
use crate::catalog::state::{Addition, Catalog, Change};
use crate::counters::add;
use crate::error::Error;
use crate::heavy::heavy;
use crate::object::context::{Context, Created};
use crate::object::keys;
use crate::planted::Bug;
use crate::read::slot_log::{Found, SlotLog};
use crate::write::upload::upload_l1;

/// How many writers are probed at once.
const PROBES_MAX: usize = 16;

/// How often one call starts an adoption again; the next tick goes on.
const STARTS_MAX: u32 = 16;

/// How often a closed mark is tried in one slot before the store is said not to answer.
const MARK_TRIES_MAX: u32 = 8;

/// Bounds of an adopter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdopterSettings {
    /// A writer without a new slot for this long is dead.
    pub dead_after: Duration,
    /// Decoded bytes of segments that are committed at once; the rest comes with further commits.
    pub replay_bytes_max: usize,
}

impl Default for AdopterSettings {
    fn default() -> Self {
        Self { dead_after: Duration::from_secs(90), replay_bytes_max: HeadMemory::default().replay() }
    }
}

/// How the adoption of one dead writer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// The writer is closed and contained in blocks.
    Closed,
    /// It had left the catalog already: somebody else closed it.
    Gone,
    /// A slot holds damaged or foreign bytes; the writer stays until a human decides.
    Quarantined {
        /// Number of the slot in the writer's log.
        seq: u64,
        /// What lies there instead of a segment, with the bytes that do not fit.
        why: String,
    },
}

/// Watches the live writers and adopts the dead.
#[derive(Debug)]
pub struct Adopter {
    chain: Arc<Chain>,
    settings: AdopterSettings,
    watched: tokio::sync::Mutex<BTreeMap<WriterId, Watched>>,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    /// The last slot seen.
    last: u64,
    /// How long no new one appeared, as far as the store answered.
    quiet: Duration,
    /// The last probe, if it was answered.
    answered: Option<Instant>,
}

/// The segments between a watermark and wherever reading stopped.
struct Replay {
    rows: Vec<TenantRows>,
    last: u64,
    end: ReplayEnd,
}

enum ReplayEnd {
    Mark(u64),
    BytesMax,
    Foreign(String),
}

impl Adopter {
    /// An adopter that has seen nothing yet: no writer is dead before `dead_after` has passed from here.
    #[must_use]
    pub fn new(chain: Arc<Chain>, settings: AdopterSettings) -> Self {
        Self { chain, settings, watched: tokio::sync::Mutex::default() }
    }

    fn context(&self) -> &Arc<Context> {
        self.chain.context()
    }

    /// Probes every live writer once and adopts those that look dead, one after the other.
    ///
    /// # Errors
    /// `Unavailable`; where one writer could not be adopted, its error, after all others were tried. What was begun
    /// is finished by a later tick.
    pub async fn tick(&self) -> Result<Vec<(WriterId, Adoption)>, Error> {
        let dead = self.dead().await?;
        let (mut adopted, mut failure) = (Vec::new(), None);
        for writer in dead {
            match self.adopt(writer).await {
                Ok(adoption) => adopted.push((writer, adoption)),
                Err(error) => {
                    add(&self.context().counters.adoptions_failed, 1);
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(adopted), Err)
    }

    async fn dead(&self) -> Result<Vec<WriterId>, Error> {
        let catalog = self.chain.refresh().await?;
        let mut watched = self.watched.lock().await;
        let known = std::mem::take(&mut *watched);
        let probes = catalog.writers.iter().map(|(id, state)| {
            let fresh = Watched { last: state.watermark, quiet: Duration::ZERO, answered: None };
            let mut watched = known.get(id).copied().unwrap_or(fresh);
            watched.last = watched.last.max(state.watermark);
            self.probe(*id, watched)
        });
        let probed: Vec<(WriterId, Watched)> =
            stream::iter(probes.collect::<Vec<_>>()).buffered(PROBES_MAX).collect().await;
        // What a store denies that denies everything is no silence of a writer.
        if let Err(error) = self.chain.vouch().await {
            let unanswered = |(id, watched)| (id, Watched { answered: None, ..watched });
            *watched = known.into_iter().map(unanswered).collect();
            return Err(error);
        }
        *watched = probed.into_iter().collect();
        let dead = watched.iter().filter(|(_, watched)| watched.quiet >= self.settings.dead_after);
        Ok(dead.map(|(id, _)| *id).collect())
    }

    async fn probe(&self, writer: WriterId, mut watched: Watched) -> (WriterId, Watched) {
        let exists = |seq| async move { self.context().exists(&keys::slot(writer, seq)).await };
        match last_present(watched.last, exists).await {
            Ok(last) => {
                let now = Instant::now();
                if last > watched.last {
                    watched.quiet = Duration::ZERO;
                } else if let Some(before) = watched.answered {
                    // Time in which nobody asked, because this process stood still, proves little.
                    watched.quiet += (now - before).min(self.settings.dead_after / 3);
                }
                watched.last = last;
                watched.answered = Some(now);
            }
            Err(_) => watched.answered = None,
        }
        (writer, watched)
    }

    /// Closes a writer and writes what it left as L1 blocks.
    ///
    /// # Errors
    /// `Unavailable`; calling again goes on.
    pub async fn adopt(&self, writer: WriterId) -> Result<Adoption, Error> {
        let counters = &self.context().counters;
        for starts in 1..=STARTS_MAX {
            let catalog = self.chain.refresh().await?;
            let Some(state) = catalog.writers.get(&writer) else {
                return Ok(Adoption::Gone);
            };
            let mut replay = self.replay(writer, state.watermark).await?;
            if !self.commit(writer, state.watermark, &catalog, &mut replay).await? {
                add(&counters.adoptions_void, 1);
                self.context().back_off(starts).await;
                continue;
            }
            match replay.end {
                ReplayEnd::Mark(_) => {
                    add(&counters.adoptions, 1);
                    tracing::info!(%writer, segments = replay.last - state.watermark, "adopted a dead writer");
                    return Ok(Adoption::Closed);
                }
                ReplayEnd::Foreign(why) => {
                    let seq = replay.last + 1;
                    tracing::error!(%writer, seq, why, "a writer's slot is damaged; it cannot be adopted");
                    return Ok(Adoption::Quarantined { seq, why });
                }
                ReplayEnd::BytesMax => {}
            }
        }
        Err(Error::Busy(format!("adoption of writer {writer} began {STARTS_MAX} times; it goes on later")))
    }

    /// Reads from the watermark to the closed mark, which is created where the log ends.
    async fn replay(&self, writer: WriterId, watermark: u64) -> Result<Replay, Error> {
        let mut slots = SlotLog::new(self.context(), writer, watermark + 1);
        let (mut segments, mut bytes, mut last, mut marks) = (Vec::new(), 0, watermark, 0);
        let put_mark = |seq| {
            let mark = Closed { writer, seq, applied: self.chain.latest().version };
            async move { self.context().create(&keys::slot(writer, seq), mark.encode()).await }
        };
        let end = loop {
            if bytes >= self.settings.replay_bytes_max {
                break ReplayEnd::BytesMax;
            }
            match slots.next().await {
                Ok(Found::Segment(segment, _)) => {
                    bytes += decoded_bytes(&segment.sections);
                    last = segment.seq;
                    segments.push(segment.sections);
                }
                Ok(Found::ClosedMark) => {
                    // Whoever put it may not know yet whether it is kept, and our commit would come first.
                    put_mark(last + 1).await?;
                    break ReplayEnd::Mark(last + 1);
                }
                Ok(Found::Foreign(why)) => break ReplayEnd::Foreign(why),
                Ok(Found::Nothing) => {
                    if let Some(why) = slots.vanished().await? {
                        break ReplayEnd::Foreign(why);
                    }
                    match put_mark(last + 1).await {
                        Ok(Created::New) => break ReplayEnd::Mark(last + 1),
                        Ok(Created::Exists(error)) | Err(error) if marks >= MARK_TRIES_MAX => {
                            return Err(error);
                        }
                        // Ours, another adopter's, or a segment: the next look tells.
                        Ok(Created::Exists(_)) | Err(_) => marks += 1,
                    }
                    self.context().back_off(marks).await;
                }
                Err(_) if self.context().planted.is(Bug::SwallowUnavailable) => {
                    slots.skip();
                    last += 1;
                }
                Err(error) => return Err(error),
            }
        };
        let inputs: Vec<&[TenantRows]> = segments.iter().map(Vec::as_slice).collect();
        Ok(Replay { rows: heavy(|| merge_tenants(&inputs)), last, end })
    }

    /// Uploads and commits; false if it was void.
    async fn commit(
        &self,
        writer: WriterId,
        from: u64,
        catalog: &Catalog,
        replay: &mut Replay,
    ) -> Result<bool, Error> {
        let mark = match &replay.end {
            ReplayEnd::Mark(mark) => Some(*mark),
            _ if replay.last == from => return Ok(true),
            _ => None,
        };
        let rows = std::mem::take(&mut replay.rows);
        let rows = upload_l1(self.context(), catalog.version, rows).await?;
        let change = match mark {
            Some(mark) => Change::Close { writer, from, mark, rows: rows.clone() },
            None => Change::L1 { writer, from, to: replay.last, rows: rows.clone() },
        };
        let outcome = self
            .chain
            .commit(|catalog| match self.stop(catalog, writer, from, &rows) {
                Some(committed) => Next::Stop(committed),
                None => Next::Try(change.clone()),
            })
            .await?;
        Ok(match outcome {
            Outcome::Committed(_) => true,
            Outcome::Stopped(committed) => committed,
            Outcome::Void(_) => false,
        })
    }

    /// Whether the commit is pointless on this version; if so, whether somebody made it.
    fn stop(&self, catalog: &Catalog, writer: WriterId, from: u64, rows: &Addition) -> Option<bool> {
        let planted = self.context().planted;
        let Some(state) = catalog.writers.get(&writer) else {
            // Closed by us with a lost answer, by another adopter, or by itself. Who reads the
            // catalog next sees that it is gone.
            return Some(false);
        };
        let moved = state.watermark != from && !planted.is(Bug::SkipWatermarkCheck);
        (moved || rows.is_below(catalog.floor) && !planted.is(Bug::CommitBelowFloor)).then_some(false)
    }
}

#[cfg(test)]
mod tests;
