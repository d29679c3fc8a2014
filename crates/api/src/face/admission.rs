//! Admission of write requests by the bytes that they hold.
//!
//! Bytes are taken as they arrive, not as they are announced, so that a sender who announces much and
//! sends nothing holds nothing. What does not fit is refused at once: waiting would hold the body's
//! sender and its memory, and a sender of remote write keeps its data and comes back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::face::counters::Counters;

/// Bytes that one request holds; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct HeldBytes {
    counters: Arc<Counters>,
    bytes_max: u64,
    held: u64,
}

impl HeldBytes {
    /// Holds nothing yet; all holders of `counters` together hold at most `bytes_max`.
    pub(crate) fn new(counters: Arc<Counters>, bytes_max: usize) -> Self {
        Self { counters, bytes_max: bytes_max as u64, held: 0 }
    }

    /// Would `bytes` more fit now?
    pub(crate) fn would_fit(&self, bytes: usize) -> bool {
        let in_flight = self.counters.write_bytes_in_flight.load(Ordering::Relaxed);
        in_flight.saturating_add(bytes as u64) <= self.bytes_max
    }

    /// Holds `bytes` more; false, and nothing changes, if they do not fit.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let next = |now: u64| now.checked_add(bytes).filter(|sum| *sum <= self.bytes_max);
        let gauge = &self.counters.write_bytes_in_flight;
        let fits = gauge.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok();
        if fits {
            self.held += bytes;
        }
        fits
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.counters.write_bytes_in_flight.fetch_sub(self.held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_held_up_to_the_bound_and_given_back() {
        let counters = Arc::new(Counters::default());
        let mut one = HeldBytes::new(counters.clone(), 100);
        let mut two = HeldBytes::new(counters.clone(), 100);
        assert!(one.grow(60) && two.grow(40));
        assert!(!one.grow(1) && !two.would_fit(1));
        assert!(!two.grow(usize::MAX));
        drop(one);
        assert!(two.would_fit(60) && two.grow(60));
        drop(two);
        assert_eq!(counters.write_bytes_in_flight.load(Ordering::Relaxed), 0);
    }
}
