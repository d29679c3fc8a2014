//! Randomness out of one seed.
//!
//! SplitMix64, so that a seed means the same run on every platform and with every version of every
//! dependency. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use promontory_model::RandomSource;

/// A seeded [`RandomSource`]; clones of its `Arc` share one stream.
#[derive(Debug)]
pub struct SeededRandom {
    state: AtomicU64,
}

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl SeededRandom {
    /// A stream of numbers that depends on `seed` alone.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: AtomicU64::new(mix(seed)) }
    }

    /// A stream of its own for one actor: what it draws depends on no other actor.
    #[must_use]
    pub fn fork(seed: u64, name: &str) -> Self {
        let named = name.bytes().fold(mix(seed), |hash, byte| mix(hash ^ u64::from(byte)));
        Self::new(named)
    }

    /// True in `chance` of 10,000 draws.
    #[must_use]
    pub fn happens(&self, chance: u32) -> bool {
        chance > 0 && self.below(10_000) < u64::from(chance)
    }

    /// A uniform number of the range, both ends included.
    #[must_use]
    pub fn within(&self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// A uniform duration of whole milliseconds, both ends included.
    #[must_use]
    pub fn millis(&self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.within(range))
    }

    /// One of the items, each as likely.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<'a, T>(&self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }
}

impl RandomSource for SeededRandom {
    fn next_u64(&self) -> u64 {
        let before = self.state.fetch_add(GOLDEN_GAMMA, Ordering::Relaxed);
        mix(before.wrapping_add(GOLDEN_GAMMA))
    }
}

/// Spreads every input bit over the whole word.
#[must_use]
pub fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_stream_and_another_seed_another() {
        let draw = |seed| {
            let random = SeededRandom::new(seed);
            (0..8).map(|_| random.next_u64()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert_ne!(SeededRandom::fork(7, "a").next_u64(), SeededRandom::fork(7, "b").next_u64());
    }

    #[test]
    fn chances_are_kept_and_ranges_are_closed() {
        let random = SeededRandom::new(1);
        let hits = (0..10_000).filter(|_| random.happens(2_200)).count();
        assert!((2_000..2_400).contains(&hits), "{hits} of 10,000 at a chance of 2,200");
        assert!(!(0..1_000).any(|_| random.happens(0)));
        let drawn: std::collections::BTreeSet<u64> = (0..200).map(|_| random.within(3..=5)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [3, 4, 5]);
    }
}
