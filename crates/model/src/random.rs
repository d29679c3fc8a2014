//! Randomness as an argument, so that a seed replays a failure.

/// A source of random bits; in tests one that a seed determines.
pub trait RandomSource: Send + Sync + std::fmt::Debug {
    /// The next 64 bits, uniform and independent of those before.
    fn next_u64(&self) -> u64;

    /// 128 uniform bits, enough for an id that is never met twice.
    fn next_u128(&self) -> u128 {
        (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64())
    }

    /// A uniform number in `0..bound`; 0 if `bound` is 0.
    fn below(&self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}
