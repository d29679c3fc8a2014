//! One writer id of this process: which of its segments are confirmed, and their samples.
//!
//! Words: a *life* is the time of one writer id, from its birth to its closing; a process may have
//! several after each other.
//!
//! Invariants:
//! - `confirmed` rises by one with each slot that is known to hold its bytes, and is published before
//!   the acknowledgement.
//! - The head holds at least the rows of segments `watermark + 1..=confirmed`. It is replaced, never
//!   emptied, when the watermark rises, so that a snapshot keeps what it has.
//! - The watermark is raised here only after the chain of this process has published the version
//!   that raised it: whoever takes a view and then the newest catalog misses nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use promontory_model::{MutexExt as _, WriterId};

use crate::catalog::state::Catalog;
use crate::write::head::Contribution;
use crate::write::shared_head::SharedHead;

/// The time of one writer id of this process, from its birth to its closed mark.
#[derive(Debug)]
pub struct Life {
    writer: WriterId,
    born: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    head: Arc<SharedHead>,
    watermark: u64,
    confirmed: u64,
    /// Sequence number and encoded size of the confirmed segments above the watermark.
    sizes: VecDeque<(u64, u64)>,
    bytes: u64,
    retired: bool,
}

/// What a life holds at one moment.
#[derive(Clone, Debug)]
pub struct LifeView {
    pub writer: WriterId,
    /// At least the rows of segments `watermark + 1..=confirmed`.
    pub head: Arc<SharedHead>,
    /// The last segment that an L1 block contains.
    pub watermark: u64,
    /// The last segment that is known to be stored.
    pub confirmed: u64,
    /// Confirmed segments above the watermark.
    pub segments: u64,
    /// Their encoded bytes.
    pub bytes: u64,
    /// Memory of the head: samples and label sets, in bytes.
    pub decoded_bytes: usize,
}

impl Life {
    /// A life that begins with the catalog version `born`.
    #[must_use]
    pub fn new(writer: WriterId, born: u64) -> Arc<Self> {
        let state = State {
            head: Arc::default(),
            watermark: 0,
            confirmed: 0,
            sizes: VecDeque::new(),
            bytes: 0,
            retired: false,
        };
        Arc::new(Self { writer, born, state: Mutex::new(state) })
    }

    #[must_use]
    pub fn writer(&self) -> WriterId {
        self.writer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.locked()
    }

    #[must_use]
    pub fn view(&self) -> LifeView {
        let state = self.state();
        LifeView {
            writer: self.writer,
            head: state.head.clone(),
            watermark: state.watermark,
            confirmed: state.confirmed,
            segments: state.confirmed.saturating_sub(state.watermark),
            bytes: state.bytes,
            decoded_bytes: state.head.bytes(),
        }
    }

    /// Publishes the next segment, which is known to be stored, and whose rows take `decoded_bytes` of memory.
    pub(crate) fn confirm(&self, seq: u64, rows: Contribution, bytes: u64, decoded_bytes: usize) {
        let mut state = self.state();
        // An adopter may have contained it in an L1 block before we knew that it is stored.
        if seq > state.watermark {
            state.head.publish(seq, rows, decoded_bytes);
            state.sizes.push_back((seq, bytes));
            state.bytes += bytes;
        }
        state.confirmed = state.confirmed.max(seq);
    }

    /// Makes the series of what is published findable before somebody looks for them, unless somebody does now.
    pub(crate) fn settle(&self) {
        let head = self.state().head.clone();
        head.settle();
    }

    /// Lets go of what an L1 block contains.
    pub(crate) fn raise_watermark(&self, watermark: u64) {
        let mut state = self.state();
        if watermark <= state.watermark {
            return;
        }
        state.head = state.head.rebased(watermark);
        state.watermark = watermark;
        while let Some((_, bytes)) = state.sizes.pop_front_if(|(seq, _)| *seq <= watermark) {
            state.bytes -= bytes;
        }
        // The rest takes time, and acknowledgements need this lock.
        drop(state);
        self.settle();
    }

    /// No more segments will come.
    pub(crate) fn retire(&self) {
        self.state().retired = true;
    }

    /// True if the blocks of `catalog` contain all that this life acknowledged or ever will.
    fn is_contained(&self, catalog: &Catalog) -> bool {
        match catalog.writers.get(&self.writer) {
            None => catalog.version >= self.born,
            Some(writer) => {
                let state = self.state();
                state.retired && writer.watermark >= state.confirmed
            }
        }
    }
}

impl LifeView {
    /// The rows of segments `watermark + 1..=up_to`.
    pub(crate) fn contributions(&self, up_to: u64) -> Vec<Contribution> {
        self.head.contributions_within(self.watermark, up_to)
    }
}

/// The lives of this process, where its reader finds their samples without a request.
#[derive(Debug, Default)]
pub struct LocalLives {
    lives: Mutex<BTreeMap<WriterId, Arc<Life>>>,
}

impl LocalLives {
    fn lives(&self) -> MutexGuard<'_, BTreeMap<WriterId, Arc<Life>>> {
        self.lives.locked()
    }

    pub(crate) fn register(&self, life: &Arc<Life>) {
        self.lives().insert(life.writer, life.clone());
    }

    /// The lives of this process that may hold samples no block contains, by writer.
    #[must_use]
    pub fn views(&self) -> BTreeMap<WriterId, LifeView> {
        self.lives().iter().map(|(id, life)| (*id, life.view())).collect()
    }

    /// Forgets the lives that blocks contain.
    pub(crate) fn forget_contained(&self, catalog: &Catalog) {
        self.lives().retain(|_, life| !life.is_contained(catalog));
    }
}
