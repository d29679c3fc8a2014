//! The step grid on which every expression is evaluated, and which of its points have a value.
//!
//! Words:
//! - *grid*: the evaluation times `start, start + step, ...`, `steps` of them, in milliseconds.
//! - *validity*: which points of a grid carry a sample; NaN stays a value.
//!
//! Invariants:
//! - `step` is not negative. Zero is legal and means the same time at every point (a selector with
//!   `@`).
//! - No index helper overflows for grids whose ends are representable.

use promontory_model::TimeRange;
use promontory_model::samples::ColumnView;

/// Evaluation times at equal distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grid {
    /// The first time, milliseconds since the Unix epoch.
    pub start: i64,
    /// Milliseconds between two points; not negative.
    pub step: i64,
    /// How many points there are.
    pub steps: usize,
}

impl Grid {
    /// The points `start, start + step, ...` up to `end`, both ends included if they are hit.
    ///
    /// Empty if `end < start`. A `step` of zero or less gives one point.
    #[must_use]
    pub fn new(start: i64, end: i64, step: i64) -> Self {
        if end < start {
            return Self { start, step: step.max(0), steps: 0 };
        }
        if step <= 0 {
            return Self { start, step: 0, steps: 1 };
        }
        let span = end.abs_diff(start) / step.unsigned_abs();
        Self { start, step, steps: usize::try_from(span).unwrap_or(usize::MAX - 1) + 1 }
    }

    /// The grid of an instant query: one point.
    #[must_use]
    pub fn instant(time: i64) -> Self {
        Self { start: time, step: 0, steps: 1 }
    }

    /// The time of point `index`, saturating at the ends of `i64`.
    #[must_use]
    pub fn time(&self, index: usize) -> i64 {
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        self.start.saturating_add(self.step.saturating_mul(index))
    }

    /// The time of the last point; `start` for an empty grid.
    #[must_use]
    pub fn end(&self) -> i64 {
        self.time(self.steps.saturating_sub(1))
    }

    /// All times in order.
    pub fn times(&self) -> impl ExactSizeIterator<Item = i64> + '_ {
        (0..self.steps).map(|index| self.time(index))
    }

    /// True if there is no point.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps == 0
    }

    /// The same points, all moved by `by` milliseconds (an `offset` moves by its negative).
    #[must_use]
    pub fn shifted(&self, by: i64) -> Self {
        Self { start: self.start.saturating_add(by), ..*self }
    }

    /// The index of the point at exactly `time`.
    #[must_use]
    pub fn index_of(&self, time: i64) -> Option<usize> {
        let index = self.first_at_or_after(time)?;
        (self.time(index) == time).then_some(index)
    }

    /// The first point at or after `time`; `None` if all are earlier.
    #[must_use]
    pub fn first_at_or_after(&self, time: i64) -> Option<usize> {
        if self.is_empty() {
            return None;
        }
        if time <= self.start {
            return Some(0);
        }
        if self.step == 0 {
            return None;
        }
        let index = usize::try_from(time.abs_diff(self.start).div_ceil(self.step.unsigned_abs())).ok()?;
        (index < self.steps).then_some(index)
    }

    /// A part of this grid: `count` points from point `first`, fewer at the end.
    #[must_use]
    pub fn part(&self, first: usize, count: usize) -> Self {
        let first = first.min(self.steps);
        Self { start: self.time(first), step: self.step, steps: count.min(self.steps - first) }
    }

    /// The timestamps of samples that windows of `range` milliseconds, left-open, can hold over
    /// this grid; both ends included.
    #[must_use]
    pub fn covered(&self, range: i64) -> TimeRange {
        if self.is_empty() {
            return TimeRange::EMPTY;
        }
        TimeRange::new(self.start.saturating_sub(range).saturating_add(1), self.end())
    }
}

/// Which points of a row carry a sample.
#[derive(Clone, Copy, Debug)]
pub enum Validity<'a> {
    /// Every point does.
    All,
    /// One `bool` per point.
    Bools(&'a [bool]),
    /// One bit per point, least significant bit first, from bit `offset`.
    Bits {
        /// The bytes of the bitmap.
        bytes: &'a [u8],
        /// The bit of point 0.
        offset: usize,
    },
}

/// One series over a grid: a value for each step, of which some are absent. `V` is the view of one lane's
/// values.
#[derive(Clone, Copy, Debug)]
pub struct GridRow<'a, V = &'a [f64]> {
    /// One value per step; what is not valid is arbitrary.
    pub values: V,
    /// Which steps carry a sample.
    pub valid: Validity<'a>,
}

impl<'a, V: ColumnView> GridRow<'a, V> {
    /// A row with a sample at every step.
    #[must_use]
    pub fn full(values: V) -> Self {
        Self { values, valid: Validity::All }
    }

    /// True if any point carries a sample.
    #[must_use]
    pub fn has_any(self) -> bool {
        match self.valid {
            Validity::All => !self.values.is_empty(),
            valid => (0..self.values.len()).any(|index| valid.get(index)),
        }
    }
}

impl<'a> GridRow<'a> {
    /// The points that carry a sample: index and value.
    pub fn iter(self) -> impl Iterator<Item = (usize, f64)> + 'a {
        let valid = self.valid;
        self.values.iter().enumerate().filter(move |(index, _)| valid.get(*index)).map(|(i, v)| (i, *v))
    }
}

impl<'a> Validity<'a> {
    /// True if point `index` carries a sample; points outside the slice carry none.
    #[must_use]
    pub fn get(&self, index: usize) -> bool {
        match self {
            Self::All => true,
            Self::Bools(bools) => bools.get(index).copied().unwrap_or(false),
            Self::Bits { bytes, offset } => {
                let bit = offset + index;
                bytes.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
            }
        }
    }

    /// Writes one `bool` per point into `out` and returns how many are true.
    pub fn expand(&self, out: &mut [bool]) -> usize {
        match self {
            Self::All => out.fill(true),
            Self::Bools(bools) => {
                let known = bools.len().min(out.len());
                out[..known].copy_from_slice(&bools[..known]);
                out[known..].fill(false);
            }
            Self::Bits { bytes, offset } => {
                expand_bits(bytes.get(offset / 8..).unwrap_or(&[]), offset % 8, out)
            }
        }
        out.iter().map(|bit| usize::from(*bit)).sum()
    }
}

/// Eight points at a time: they come from one byte, or from two neighbours.
fn expand_bits(bytes: &[u8], shift: usize, out: &mut [bool]) {
    let byte = |index: usize| u16::from(bytes.get(index).copied().unwrap_or(0));
    for (index, out) in out.chunks_mut(8).enumerate() {
        let bits = (byte(index) | byte(index + 1) << 8) >> shift;
        for (bit, slot) in out.iter_mut().enumerate() {
            *slot = bits >> bit & 1 == 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_ends_at_the_last_whole_step() {
        let grid = Grid::new(10, 39, 10);
        assert_eq!(grid.times().collect::<Vec<_>>(), [10, 20, 30]);
        assert_eq!(grid.end(), 30);
        assert_eq!(Grid::new(10, 40, 10).steps, 4);
        assert_eq!(Grid::new(10, 9, 10).steps, 0);
        assert_eq!(Grid::new(10, 10, 0).steps, 1);
        assert_eq!(Grid::new(i64::MIN, i64::MAX, i64::MAX).steps, 3);
    }

    #[test]
    fn index_helpers_round_up_and_stop_at_the_ends() {
        let grid = Grid::new(-20, 20, 10);
        for (time, first, exact) in [
            (-21, Some(0), None),
            (-20, Some(0), Some(0)),
            (-19, Some(1), None),
            (0, Some(2), Some(2)),
            (11, Some(4), None),
            (20, Some(4), Some(4)),
            (21, None, None),
        ] {
            assert_eq!(grid.first_at_or_after(time), first, "{time}");
            assert_eq!(grid.index_of(time), exact, "{time}");
        }
        assert_eq!(grid.part(3, 9), Grid { start: 10, step: 10, steps: 2 });
        assert_eq!(grid.part(9, 9).steps, 0);
    }

    #[test]
    fn windows_are_left_open() {
        assert_eq!(Grid::new(100, 200, 50).covered(30), TimeRange::new(71, 200));
        assert!(Grid::new(1, 0, 1).covered(30).is_empty());
    }

    #[test]
    fn bitmaps_and_bools_say_the_same() {
        let bytes = [0b1010_0110, 0b0000_0001];
        let bits = Validity::Bits { bytes: &bytes, offset: 1 };
        let mut bools = [false; 9];
        assert_eq!(bits.expand(&mut bools), 5);
        assert_eq!(bools, [true, true, false, false, true, false, true, true, false]);
        let beyond = Validity::Bits { bytes: &bytes, offset: 7 };
        let mut bools = [true; 20];
        assert_eq!(beyond.expand(&mut bools), 2);
        assert_eq!(bools[..4], [true, true, false, false]);
        assert!(beyond.get(0) && !beyond.get(2) && !beyond.get(99));
    }
}
