//! Time: milliseconds since the Unix epoch as `i64` (negative ones are legal), and the clock as an
//! argument.

/// An inclusive range of timestamps in milliseconds: both `start` and `end` are inside.
///
/// Empty if `start > end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// First millisecond inside.
    pub start: i64,
    /// Last millisecond inside.
    pub end: i64,
}

impl TimeRange {
    /// The range that holds nothing; [`Self::cover`] grows it.
    pub const EMPTY: Self = Self { start: i64::MAX, end: i64::MIN };
    /// The range that holds every timestamp.
    pub const ALL: Self = Self { start: i64::MIN, end: i64::MAX };

    /// The range from `start` to `end`, both inside.
    #[must_use]
    pub fn new(start: i64, end: i64) -> Self {
        Self { start, end }
    }

    /// True if no timestamp is inside.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start > self.end
    }

    /// True if `ts` is inside.
    #[must_use]
    pub fn contains(self, ts: i64) -> bool {
        self.start <= ts && ts <= self.end
    }

    /// True if the two share a timestamp.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.start.max(other.start) <= self.end.min(other.end)
    }

    /// The smallest range that holds this one and `ts`.
    #[must_use]
    pub fn cover(self, ts: i64) -> Self {
        Self { start: self.start.min(ts), end: self.end.max(ts) }
    }

    /// The smallest range that holds both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// What is in both; empty if nothing is.
    #[must_use]
    pub fn intersect(self, other: Self) -> Self {
        Self { start: self.start.max(other.start), end: self.end.min(other.end) }
    }
}

/// Wall-clock time as an argument, so that a seed replays a failure.
///
/// Only limits and human-facing times use it; no part of the commit protocol trusts it.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;
}
