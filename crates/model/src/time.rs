//! Time: milliseconds since the Unix epoch as `i64` (negative ones are legal), and the clock as an
//! argument.

use std::ops::Range;

/// Length of the windows by which changes of stored data are counted; they begin at multiples of it, in UTC.
pub const EPOCH_WINDOW_MS: i64 = 2 * 60 * 60 * 1_000;

/// An inclusive range of timestamps in milliseconds: both `start` and `end` are inside.
///
/// Empty if `start > end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// First millisecond that is inside.
    pub start: i64,
    /// Last millisecond that is inside, so a range of one timestamp has equal ends.
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

    /// True if `start` is after `end`: no timestamp is inside.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start > self.end
    }

    /// True if `ts` lies between the ends or on one of them.
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

    /// The places of the timestamps that lie inside, of these ascending ones; an empty range if none does.
    #[must_use]
    pub fn part_of(self, ascending: &[i64]) -> Range<usize> {
        let from = first_at_or_after(ascending, self.start);
        let to = self.end.checked_add(1).map_or(ascending.len(), |after| first_at_or_after(ascending, after));
        from..to.max(from)
    }
}

/// How many of these ascending timestamps lie before `bound`.
///
/// Scrapes are evenly spaced, so the place is guessed and then searched outwards: two or three
/// neighbouring timestamps are looked at, where halving looks at one in each of as many cache lines as
/// a series has.
#[must_use]
pub fn first_at_or_after(ascending: &[i64], bound: i64) -> usize {
    let (Some(&first), Some(&last)) = (ascending.first(), ascending.last()) else { return 0 };
    if bound <= first {
        return 0;
    }
    if last < bound {
        return ascending.len();
    }
    let end = ascending.len() - 1;
    let share = (bound as f64 - first as f64) / (last as f64 - first as f64);
    let guess = ((share * end as f64) as usize).min(end);
    // Always: ascending[low] < bound <= ascending[high].
    let (mut low, mut high) = (0, end);
    let mut step = 1;
    if ascending[guess] < bound {
        low = guess;
        while low + step < high {
            if ascending[low + step] >= bound {
                high = low + step;
            } else {
                low += step;
                step *= 2;
            }
        }
    } else {
        high = guess;
        while low + step < high {
            if ascending[high - step] < bound {
                low = high - step;
            } else {
                high -= step;
                step *= 2;
            }
        }
    }
    low + 1 + ascending[low + 1..high].partition_point(|ts| *ts < bound)
}

/// Wall-clock time as an argument, so that a seed replays a failure.
///
/// Only limits and human-facing times use it; no part of the commit protocol trusts it.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small steps, even ones, gaps, and the ends of what can be said.
    fn columns() -> Vec<Vec<i64>> {
        let mut columns = vec![
            vec![],
            vec![7],
            vec![i64::MIN, i64::MAX],
            vec![i64::MIN, -1, 0, 1, i64::MAX],
            (0..500).map(|i| 1_700_000_000_000 + i * 15_000).collect(),
            (0..500).map(|i| 1_700_000_000_000 + i * 15_000 + if i > 300 { 9_000_000 } else { 0 }).collect(),
            (0..60).map(|i| 1_i64 << i).collect(),
        ];
        // xorshift64: steps of many sizes.
        let mut bits = 88_172_645_463_325_252_u64;
        for _ in 0..50 {
            let mut ts = -1_000_000;
            let column = (0..100).map(|_| {
                bits ^= bits << 13;
                bits ^= bits >> 7;
                bits ^= bits << 17;
                ts += 1 + (bits >> (44 + bits % 20)) as i64;
                ts
            });
            columns.push(column.collect());
        }
        columns
    }

    #[test]
    fn the_guessed_place_is_the_one_that_halving_finds() {
        for column in columns() {
            let near = |ts: &i64| [ts.saturating_sub(1), *ts, ts.saturating_add(1)];
            for bound in column.iter().flat_map(near).chain([i64::MIN, 0, i64::MAX]) {
                let expected = column.partition_point(|ts| *ts < bound);
                assert_eq!(first_at_or_after(&column, bound), expected, "{bound} in {column:?}");
            }
        }
    }

    #[test]
    fn a_part_holds_what_is_inside_and_nothing_else() {
        for column in columns() {
            let some = || column.iter().step_by(7).copied().chain([i64::MIN, 3, i64::MAX]);
            for start in some() {
                for end in some() {
                    let range = TimeRange::new(start, end);
                    let inside: Vec<i64> = column.iter().copied().filter(|ts| range.contains(*ts)).collect();
                    assert_eq!(column[range.part_of(&column)], inside);
                }
            }
        }
    }
}
