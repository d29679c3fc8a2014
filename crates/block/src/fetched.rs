//! Ranges of an object: joined before they are fetched, looked up afterwards.

use std::ops::Range;

use bytes::Bytes;

/// Two wanted ranges with a gap of at most so many bytes become one request.
///
/// A request costs about as much time as 256 KiB take to arrive at 10 MB/s from a store that answers
/// in 25 ms; the 1 MiB of the usual clients read up to 70 times too much on tiny selections.
pub const MERGE_GAP_BYTES: u64 = 256 << 10;

/// Sorts ranges and joins those with a gap of at most `gap`; empty ones are left out.
#[must_use]
pub fn join_ranges(mut ranges: Vec<Range<u64>>, gap: u64) -> Vec<Range<u64>> {
    ranges.retain(|range| range.start < range.end);
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len().min(16));
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end.saturating_add(gap) => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// Parts of one object that are in memory.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    /// Start and bytes, sorted by start.
    parts: Vec<(u64, Bytes)>,
}

impl Fetched {
    /// An object that is in memory from its first byte to its last.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        Self { parts: vec![(0, bytes)] }
    }

    /// Adds bytes that begin at byte `start` of the object.
    pub fn insert(&mut self, start: u64, bytes: Bytes) {
        let at = self.parts.partition_point(|(other, _)| *other < start);
        self.parts.insert(at, (start, bytes));
    }

    /// The first of `ranges` of which not all bytes came.
    #[must_use]
    pub fn lacks<'a>(&self, ranges: &'a [Range<u64>]) -> Option<&'a Range<u64>> {
        ranges.iter().find(|range| self.get(range).is_none())
    }

    /// The bytes of `range` if one part holds all of them.
    #[must_use]
    pub fn get(&self, range: &Range<u64>) -> Option<Bytes> {
        let at = self.parts.partition_point(|(start, _)| *start <= range.start);
        self.parts[..at].iter().rev().find_map(|(start, bytes)| {
            let from = usize::try_from(range.start - start).ok()?;
            let to = usize::try_from(range.end.checked_sub(*start)?).ok()?;
            (from <= to && to <= bytes.len()).then(|| bytes.slice(from..to))
        })
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "one range is meant")]
mod tests {
    use super::*;

    #[test]
    fn near_ranges_are_joined_and_far_ones_are_not() {
        let check = |ranges: &[Range<u64>], gap, expected: &[Range<u64>]| {
            assert_eq!(join_ranges(ranges.to_vec(), gap), expected);
        };
        check(&[], 10, &[]);
        check(&[5..5], 10, &[]);
        check(&[20..30, 0..10], 10, &[0..30]);
        check(&[0..10, 21..30], 10, &[0..10, 21..30]);
        check(&[0..100, 10..20, 100..101], 0, &[0..101]);
    }

    #[test]
    fn only_what_one_part_holds_is_found() {
        let mut fetched = Fetched::default();
        fetched.insert(100, Bytes::from_static(b"0123456789"));
        fetched.insert(0, Bytes::from_static(b"abc"));
        assert_eq!(fetched.get(&(102..105)).as_deref(), Some(&b"234"[..]));
        assert_eq!(fetched.get(&(0..3)).as_deref(), Some(&b"abc"[..]));
        for missing in [0..4, 50..51, 99..101, 109..111, 200..201] {
            assert_eq!(fetched.get(&missing), None, "{missing:?}");
        }
    }
}
