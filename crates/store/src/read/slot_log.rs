//! Reading a writer's slots in order, as the tail and adoption do.
//!
//! Discovery and fetch are one cheap request per slot and need no list: the first slot that is not
//! there ends the log. While a log is long its slots are fetched some at a time.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use promontory_block::{Error as BlockError, Segment, Slot};
use promontory_model::WriterId;

use crate::error::Error;
use crate::heavy::heavy;
use crate::object::context::Context;
use crate::object::keys::{self, IN_FLIGHT_MAX};
use crate::object::verified::read_verified;

/// Slots of one writer fetched at once.
const WINDOW_MAX: u64 = 16;

/// Bytes of slots fetched at once: requests on one link share it, and each has its time.
const WINDOW_BYTES_MAX: u64 = 32 << 20;

/// What a slot of a log holds.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing: the log ends before it.
    Nothing,
    /// A segment and its encoded size.
    Segment(Segment, u64),
    /// The mark that closes the writer.
    ClosedMark,
    /// Damaged or foreign bytes: never skipped.
    Foreign(String),
}

/// Reads the slots of one writer from a sequence number on.
#[derive(Debug)]
pub(crate) struct SlotLog<'a> {
    context: &'a Context,
    writer: WriterId,
    /// The next slot to hand out.
    next: u64,
    window: u64,
    /// Slots from `next` on that were fetched already; present ones only.
    fetched: std::collections::VecDeque<Bytes>,
}

/// How far a writer's log can be read.
#[derive(Debug)]
pub(crate) struct LogEnd {
    /// The last slot of the segments that can be read from the watermark on.
    pub(crate) readable: u64,
    /// Why the slot above it cannot be read; `None` where the log ends there, closed or not.
    pub(crate) lost: Option<String>,
}

/// Reads a writer's log above its watermark to the end, or to the first slot that cannot be read.
pub(crate) async fn log_end(context: &Context, writer: WriterId, watermark: u64) -> Result<LogEnd, Error> {
    let mut slots = SlotLog::new(context, writer, watermark + 1);
    let mut readable = watermark;
    loop {
        let lost = match slots.next().await? {
            Found::Segment(..) => {
                readable += 1;
                continue;
            }
            Found::Foreign(why) => Some(why),
            Found::Nothing => slots.vanished().await?,
            Found::ClosedMark => None,
        };
        return Ok(LogEnd { readable, lost });
    }
}

impl<'a> SlotLog<'a> {
    pub(crate) fn new(context: &'a Context, writer: WriterId, first: u64) -> Self {
        Self { context, writer, next: first, window: 1, fetched: Default::default() }
    }

    /// What the next slot holds. After anything but a segment it stays the next slot.
    ///
    /// # Errors
    /// `Unavailable` if the store does not answer.
    pub(crate) async fn next(&mut self) -> Result<Found, Error> {
        if self.fetched.is_empty() {
            self.fetch().await?;
        }
        let Some(bytes) = self.fetched.pop_front() else {
            return Ok(Found::Nothing);
        };
        let found = self.decode(bytes).await?;
        match found {
            Found::Segment(..) => self.next += 1,
            _ => self.fetched.clear(),
        }
        Ok(found)
    }

    /// Why the next slot, which is not there, must have been: at most [`IN_FLIGHT_MAX`] slots of a writer are
    /// unresolved, so with one further up it was known to hold its segment.
    ///
    /// # Errors
    /// `Unavailable` if the store does not answer.
    pub(crate) async fn vanished(&self) -> Result<Option<String>, Error> {
        let (writer, resolved) = (self.writer, self.next + IN_FLIGHT_MAX as u64);
        let mut listed = self.context.list(&format!("{}/{writer}", keys::WAL));
        while let Some(meta) = listed.try_next().await? {
            if let Some((_, seq)) = keys::parse_slot(&meta.location).filter(|(_, seq)| *seq >= resolved) {
                // It may have been denied, or have come since.
                let there = self.context.exists(&keys::slot(writer, self.next)).await?;
                return Ok((!there).then(|| format!("is missing, and slot {seq} is there")));
            }
        }
        Ok(None)
    }

    /// Gives a slot up as if it were an empty segment: the planted bug.
    pub(crate) fn skip(&mut self) {
        self.fetched.clear();
        self.next += 1;
    }

    async fn fetch(&mut self) -> Result<(), Error> {
        let seqs = self.next..self.next + self.window;
        let (context, writer) = (self.context, self.writer);
        let gets = seqs.map(|seq| async move { context.get(&keys::slot(writer, seq)).await });
        let mut answers = stream::iter(gets).buffered(WINDOW_MAX as usize);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(Some(bytes)) => self.fetched.push_back(bytes),
                // What lies above a hole is in flight; it comes with the next look.
                Ok(None) => break,
                Err(error) if self.fetched.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        let largest = self.fetched.iter().map(|bytes| bytes.len() as u64).max().unwrap_or_default();
        let fitting = WINDOW_BYTES_MAX / largest.max(1);
        self.window = (self.window * 2).min(WINDOW_MAX).min(fitting).max(1);
        Ok(())
    }

    async fn decode(&self, bytes: Bytes) -> Result<Found, Error> {
        let (context, key) = (self.context, keys::slot(self.writer, self.next));
        let mut fetched = Some(bytes);
        let read = |_| {
            let (fetched, key) = (fetched.take(), &key);
            async move {
                match fetched {
                    Some(bytes) => Ok(Some(bytes)),
                    None => context.get(key).await,
                }
            }
        };
        let verify =
            |bytes: Option<Bytes>| bytes.map_or(Ok(Found::Nothing), |bytes| self.found(&key, &bytes));
        match read_verified(&context.counters.damaged_reads, read, verify).await {
            Err(Error::Corrupt { why, .. }) => Ok(Found::Foreign(why)),
            answer => answer,
        }
    }

    fn found(&self, key: &Path, bytes: &Bytes) -> Result<Found, Error> {
        match heavy(|| Slot::decode(bytes)) {
            Ok(slot) if (slot.writer(), slot.seq()) != (self.writer, self.next) => {
                Ok(Found::Foreign(format!("is slot {} of writer {}", slot.seq(), slot.writer())))
            }
            Ok(Slot::Segment(segment)) => Ok(Found::Segment(segment, bytes.len() as u64)),
            Ok(Slot::Closed(_)) => Ok(Found::ClosedMark),
            Err(corrupt @ BlockError::Corrupt { .. }) => {
                Err(Error::Corrupt { object: key.to_string(), why: corrupt.to_string() })
            }
            Err(error) => Ok(Found::Foreign(error.to_string())),
        }
    }
}
