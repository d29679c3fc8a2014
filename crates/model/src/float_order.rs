//! Stale markers, and the order that settles two floats at one timestamp.

use std::cmp::Ordering;

/// The bits of the NaN that marks the end of a series.
///
/// Source: `value.StaleNaN`, prometheus v3.16 `model/value/value.go`.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The stale marker as a float; compare it with [`is_stale`], as no NaN equals another.
#[must_use]
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// True for the stale marker only; every other NaN is a value.
#[must_use]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// Which of two values of one series at one timestamp stays: the greater.
///
/// Floats by IEEE `totalOrder`, but every NaN below the numbers and the stale marker lowest. It does
/// not depend on arrival, so every merge, retry and replay gives the same answer.
#[must_use]
pub fn value_order(a: f64, b: f64) -> Ordering {
    fn rank(value: f64) -> u8 {
        if is_stale(value) {
            0
        } else if value.is_nan() {
            1
        } else {
            2
        }
    }
    rank(a).cmp(&rank(b)).then_with(|| a.total_cmp(&b))
}
