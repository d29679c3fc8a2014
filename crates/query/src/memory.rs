//! Memory: what one request holds, and what all requests of an engine hold together.
//!
//! Everything that grows with a request is charged while it is made: compiled expressions, selected series,
//! samples on their way through operators, states of operators, the answer. DataFusion's operators reserve from
//! [`QueryMemory`] as from any pool of theirs; everybody else holds a [`Held`], which gives back what it took
//! when it is dropped.
//!
//! What is charged is what the contents take, counted once per batch or series: not what an allocator adds, and
//! no lists of a few bytes. So a request may take a little more than its limit says, never a multiple of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use datafusion::common::{Result as DataFusionResult, resources_err};
use datafusion::execution::memory_pool::{MemoryLimit, MemoryPool, MemoryReservation};

use crate::counters::{EngineCounters, add_one};
use crate::error::QueryError;
use crate::settings::{FLAG_OF_ALL, FLAG_OF_ONE};

/// What memory is taken for, where several say the same.
pub const ANSWER: &str = "its answer";
/// The same.
pub const REGEXES: &str = "its regular expressions";

/// Bytes that all requests of one engine hold; `/metrics` shows them.
#[derive(Debug)]
pub struct TotalMemory {
    bytes_max: usize,
    counters: Arc<EngineCounters>,
}

/// Bytes that one request holds.
#[derive(Debug)]
pub struct QueryMemory {
    bytes: AtomicUsize,
    bytes_max: usize,
    total: Arc<TotalMemory>,
}

impl TotalMemory {
    /// At most `bytes_max` for all.
    pub fn new(bytes_max: usize, counters: Arc<EngineCounters>) -> Arc<Self> {
        Arc::new(Self { bytes_max, counters })
    }

    fn bytes(&self) -> &AtomicU64 {
        &self.counters.memory_bytes
    }

    fn add(&self, bytes: usize) -> u64 {
        let held = self.bytes().fetch_add(bytes as u64, Relaxed) + bytes as u64;
        self.counters.memory_bytes_peak.fetch_max(held, Relaxed);
        held
    }
}

impl QueryMemory {
    /// One request's, at most `bytes_max`.
    pub fn new(bytes_max: usize, total: &Arc<TotalMemory>) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), bytes_max, total: Arc::clone(total) })
    }

    /// Takes `bytes` more for `what`.
    ///
    /// # Errors
    /// `Limited` if the request would hold more than it may, `Busy` if all together would; nothing is taken then.
    pub fn take(&self, bytes: usize, what: &str) -> Result<(), QueryError> {
        let held = self.bytes.fetch_add(bytes, Relaxed).saturating_add(bytes);
        if held > self.bytes_max {
            self.bytes.fetch_sub(bytes, Relaxed);
            return Err(QueryError::Limited(format!(
                "the request would hold {held} bytes of memory with {what}, at most {} are allowed to it; narrow its \
                 selectors, shorten its range, or raise {FLAG_OF_ONE}",
                self.bytes_max
            )));
        }
        let held = self.total.add(bytes);
        if held > self.total.bytes_max as u64 {
            self.give_back(bytes);
            add_one(&self.total.counters.refused_memory_total);
            return Err(QueryError::Busy(format!(
                "all requests together would hold {held} bytes of memory with {what}, at most {} are allowed to them; \
                 retry later, or raise {FLAG_OF_ALL}",
                self.total.bytes_max
            )));
        }
        Ok(())
    }

    fn give_back(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Relaxed);
        self.total.bytes().fetch_sub(bytes as u64, Relaxed);
    }
}

impl fmt::Display for QueryMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.bytes.load(Relaxed), self.bytes_max)
    }
}

impl MemoryPool for QueryMemory {
    fn name(&self) -> &'static str {
        "promontory"
    }

    fn grow(&self, _: &MemoryReservation, additional: usize) {
        self.bytes.fetch_add(additional, Relaxed);
        self.total.add(additional);
    }

    fn shrink(&self, _: &MemoryReservation, shrink: usize) {
        self.give_back(shrink);
    }

    /// Operators know DataFusion's own error and may make do with less; so it has to be that.
    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> DataFusionResult<()> {
        match self.take(additional, reservation.consumer().name()) {
            Ok(()) => Ok(()),
            Err(refusal) => resources_err!("{refusal}"),
        }
    }

    fn reserved(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes_max)
    }
}

/// Bytes that were taken; given back when this is dropped.
#[derive(Debug)]
pub struct Held {
    memory: Arc<QueryMemory>,
    bytes: AtomicUsize,
}

impl Held {
    /// Nothing yet.
    pub fn none(memory: &Arc<QueryMemory>) -> Self {
        Self { memory: Arc::clone(memory), bytes: AtomicUsize::new(0) }
    }

    /// Takes `bytes` more for `what`.
    ///
    /// # Errors
    /// As [`QueryMemory::take`].
    pub fn grow(&self, bytes: usize, what: &str) -> Result<(), QueryError> {
        self.memory.take(bytes, what)?;
        self.bytes.fetch_add(bytes, Relaxed);
        Ok(())
    }

    /// Gives back what it has and takes `bytes`.
    ///
    /// # Errors
    /// As [`QueryMemory::take`].
    pub fn replace(&self, bytes: usize, what: &str) -> Result<(), QueryError> {
        self.memory.give_back(self.bytes.swap(0, Relaxed));
        self.grow(bytes, what)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.memory.give_back(*self.bytes.get_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_free_again_for_one_and_for_all() {
        let counters = Arc::<EngineCounters>::default();
        let total = TotalMemory::new(150, Arc::clone(&counters));
        let (a, b) = (QueryMemory::new(100, &total), QueryMemory::new(100, &total));
        let of_a = Held::none(&a);
        of_a.grow(60, "a list").unwrap();
        let refused = of_a.grow(41, "a list").unwrap_err();
        assert!(
            matches!(&refused, QueryError::Limited(text) if text.contains("101 bytes of memory with a list"))
        );
        assert!(refused.to_string().contains(FLAG_OF_ONE), "{refused}");
        of_a.grow(40, "a list").unwrap();
        let of_b = Held::none(&b);
        let refused = of_b.grow(51, "a list").unwrap_err();
        assert!(matches!(&refused, QueryError::Busy(text) if text.contains(FLAG_OF_ALL)), "{refused}");
        assert_eq!((counters.refused_memory_total.load(Relaxed), b.reserved(), a.reserved()), (1, 0, 100));
        of_a.replace(10, "a list").unwrap();
        of_b.grow(51, "a list").unwrap();
        drop((of_a, of_b));
        assert_eq!((a.reserved(), b.reserved(), counters.memory_bytes.load(Relaxed)), (0, 0, 0));
        assert_eq!(counters.memory_bytes_peak.load(Relaxed), 151, "refused bytes are seen for a moment");
    }
}
