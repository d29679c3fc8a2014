//! The samples of one writer that no L1 block contains, filled by one and read by many.
//!
//! Who fills it never waits for who reads it: an acknowledgement needs the rows of a segment *published* here,
//! which is one entry in a list. They are *settled* into the head, where their series are found, once nobody
//! reads it, and at the latest by whoever wants to read it next.
//!
//! Invariants:
//! - Contributions are published with ascending sequence numbers, and settled in that order.
//! - A reader finds all that was published before it came.
//! - What an L1 block contains leaves by [`SharedHead::rebased`], which makes a new head; a snapshot that still
//!   holds the old one keeps reading it.
//! - The head is locked before the list of contributions, never after it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use promontory_block::{TenantRows, decoded_bytes};
use promontory_model::{MutexExt as _, RwLockExt as _};

use crate::write::head::{Contribution, Head};

/// The contributions of one writer's segments, and the head in which their series are found.
#[derive(Debug, Default)]
pub struct SharedHead {
    contributions: Mutex<Contributions>,
    head: RwLock<Head>,
    /// Memory of the head.
    head_bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Contributions {
    published: Vec<Published>,
    /// How many of them are settled: the first ones.
    settled: usize,
    /// Memory of the others, label sets included.
    unsettled_bytes: usize,
}

#[derive(Clone, Debug)]
struct Published {
    seq: u64,
    rows: Contribution,
    /// Memory, label sets included.
    bytes: usize,
}

impl SharedHead {
    fn contributions(&self) -> MutexGuard<'_, Contributions> {
        self.contributions.locked()
    }

    /// Adds what segment `seq` holds, which takes `bytes` of memory; `seq` is above every earlier one.
    pub(crate) fn publish(&self, seq: u64, rows: Contribution, bytes: usize) {
        let mut contributions = self.contributions();
        let last = contributions.published.last().map(|last| last.seq);
        debug_assert!(last.is_none_or(|last| last < seq), "sequence numbers must ascend");
        contributions.published.push(Published { seq, rows, bytes });
        contributions.unsettled_bytes += bytes;
    }

    /// As [`Self::publish`] of rows that were decoded: their label sets then lie in memory once, however many
    /// segments hold the series.
    pub(crate) fn insert_decoded(&self, seq: u64, mut rows: Vec<TenantRows>) {
        self.read().share_keys(&mut rows);
        let bytes = decoded_bytes(&rows);
        self.publish(seq, Arc::new(rows), bytes);
        self.settle();
    }

    /// Settles what is published, unless others use the head now; then they or the next reader do.
    pub(crate) fn settle(&self) {
        match self.head.try_write() {
            Ok(head) => self.settle_into(head),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Poisoned(head)) => self.settle_into(head.into_inner()),
        }
    }

    fn settle_into(&self, mut head: RwLockWriteGuard<'_, Head>) {
        // Nobody else can settle meanwhile, and the list only grows.
        let (settled, unsettled) = {
            let contributions = self.contributions();
            (contributions.settled, contributions.published[contributions.settled..].to_vec())
        };
        for Published { seq, rows, .. } in &unsettled {
            head.insert(*seq, rows.clone());
        }
        self.head_bytes.store(head.bytes(), Relaxed);
        let mut contributions = self.contributions();
        contributions.settled = settled + unsettled.len();
        contributions.unsettled_bytes -= unsettled.iter().map(|published| published.bytes).sum::<usize>();
    }

    /// The head with all that is published.
    ///
    /// Waits for whoever settles, and settles what is left; does not keep a writer from publishing.
    pub fn read(&self) -> RwLockReadGuard<'_, Head> {
        loop {
            let head = self.head.read_locked();
            let contributions = self.contributions();
            if contributions.settled == contributions.published.len() {
                return head;
            }
            drop((contributions, head));
            self.settle_into(self.head.write_locked());
        }
    }

    /// The sequence number of the last contribution.
    #[must_use]
    pub fn last_seq(&self) -> Option<u64> {
        self.contributions().published.last().map(|last| last.seq)
    }

    /// Memory of samples, label sets and index in bytes; somewhat more than that while not all is settled.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.contributions().unsettled_bytes + self.head_bytes.load(Relaxed)
    }

    /// The contributions above `after` up to `up_to`, in order.
    #[must_use]
    pub fn contributions_within(&self, after: u64, up_to: u64) -> Vec<Contribution> {
        let contributions = self.contributions();
        let within = contributions.published.iter().filter(|one| one.seq > after && one.seq <= up_to);
        within.map(|one| one.rows.clone()).collect()
    }

    /// Has it contributions at or below `watermark`?
    pub(crate) fn reaches_below(&self, watermark: u64) -> bool {
        self.contributions().published.first().is_some_and(|first| first.seq <= watermark)
    }

    /// A new head with the contributions above `watermark` only, none of them settled.
    #[must_use]
    pub(crate) fn rebased(&self, watermark: u64) -> Arc<Self> {
        let rebased = Arc::<Self>::default();
        for Published { seq, rows, bytes } in &self.contributions().published {
            if *seq > watermark {
                rebased.publish(*seq, rows.clone(), *bytes);
            }
        }
        rebased
    }
}

#[cfg(test)]
mod tests;
