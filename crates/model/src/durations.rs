//! Histograms of durations in plain atomics, which know nothing of metrics formats; the binary exports
//! them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counts durations by ranges of their length; shared by threads without a lock.
#[derive(Debug)]
pub struct DurationHistogram {
    bounds_seconds: &'static [f64],
    /// One more than there are bounds: the last holds what is above.
    buckets: Box<[AtomicU64]>,
    micros: AtomicU64,
}

/// What a [`DurationHistogram`] held at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedDurations {
    /// Upper bounds of the buckets, themselves included, in seconds.
    pub bounds_seconds: &'static [f64],
    /// Durations by bucket, not cumulative; one more than there are bounds.
    pub buckets: Vec<u64>,
    /// All durations together, in seconds, each with a precision of a microsecond.
    pub sum_seconds: f64,
}

impl DurationHistogram {
    /// An empty histogram with these upper bounds in seconds, which ascend.
    #[must_use]
    pub fn new(bounds_seconds: &'static [f64]) -> Self {
        debug_assert!(bounds_seconds.is_sorted(), "bounds of a histogram ascend");
        let buckets = (0..=bounds_seconds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds_seconds, buckets, micros: AtomicU64::new(0) }
    }

    /// Counts one duration, in the first bucket whose upper bound is not below it.
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = self.bounds_seconds.partition_point(|bound| *bound < seconds);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.micros.fetch_add(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The counts so far; those of durations that end meanwhile may be in some parts only.
    #[must_use]
    pub fn observed(&self) -> ObservedDurations {
        let buckets = self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect();
        let sum_seconds = self.micros.load(Relaxed) as f64 / 1e6;
        ObservedDurations { bounds_seconds: self.bounds_seconds, buckets, sum_seconds }
    }
}

impl ObservedDurations {
    /// Number of durations in all buckets.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_at_a_bound_is_in_its_bucket() {
        let histogram = DurationHistogram::new(&[0.5, 1.0]);
        for ms in [0, 500, 501, 1_000, 1_001, 60_000] {
            histogram.observe(Duration::from_millis(ms));
        }
        let observed = histogram.observed();
        assert_eq!(observed.buckets, [2, 2, 2]);
        assert_eq!((observed.count(), observed.sum_seconds), (6, 63.002));
        assert_eq!(DurationHistogram::new(&[]).observed().buckets, [0]);
    }
}
