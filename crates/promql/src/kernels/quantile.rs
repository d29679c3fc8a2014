//! The quantile of a set of floats.
//!
//! Source: `quantile`, prometheus v3.16 `promql/quantile.go`.

use std::cmp::Ordering;

/// The `q`-quantile of `values`, interpolated between the two nearest ranks; `values` is reordered.
///
/// NaN if there are no values or `q` is NaN, -Inf for `q < 0`, +Inf for `q > 1`. NaN values sort
/// below all others.
pub fn quantile(q: f64, values: &mut [f64]) -> f64 {
    match Ranks::of(q, values.len()) {
        Ok(ranks) => {
            let (lower, upper) = order_statistics(values, ranks.lower, ranks.upper);
            ranks.interpolate(lower, upper)
        }
        Err(outside) => outside,
    }
}

/// As [`quantile`], for values that are sorted with NaN first.
#[must_use]
pub fn quantile_of_sorted(q: f64, values: &[f64]) -> f64 {
    match Ranks::of(q, values.len()) {
        Ok(ranks) => ranks.interpolate(values[ranks.lower], values[ranks.upper]),
        Err(outside) => outside,
    }
}

/// The two ranks between which a quantile lies, and how near it is to the upper one.
struct Ranks {
    lower: usize,
    upper: usize,
    weight: f64,
}

impl Ranks {
    /// The ranks among `count` values, or the quantile where it does not depend on values.
    fn of(q: f64, count: usize) -> Result<Self, f64> {
        if count == 0 || q.is_nan() {
            return Err(f64::NAN);
        }
        if q < 0.0 {
            return Err(f64::NEG_INFINITY);
        }
        if q > 1.0 {
            return Err(f64::INFINITY);
        }
        let last = (count - 1) as f64;
        let rank = q * last;
        let lower = rank.floor().max(0.0);
        let upper = last.min(lower + 1.0);
        Ok(Self { lower: lower as usize, upper: upper as usize, weight: rank - rank.floor() })
    }

    /// An exact rank is not interpolated: zero times an infinite neighbour would be NaN.
    fn interpolate(&self, lower: f64, upper: f64) -> f64 {
        if self.weight == 0.0 {
            return lower;
        }
        lower * (1.0 - self.weight) + upper * self.weight
    }
}

/// The values at two neighbouring (or equal) ranks: selecting them costs linear time, sorting all
/// values does not.
fn order_statistics(values: &mut [f64], lower: usize, upper: usize) -> (f64, f64) {
    let (_, lower_value, above) = values.select_nth_unstable_by(lower, nan_first);
    let lower_value = *lower_value;
    if upper == lower {
        return (lower_value, lower_value);
    }
    (lower_value, above.iter().copied().min_by(nan_first).unwrap_or(lower_value))
}

/// NaN below every number; numbers by value, zeros of either sign equal.
pub(super) fn nan_first(a: &f64, b: &f64) -> Ordering {
    a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_interpolated() {
        for (q, expected) in [(0.0, 1.0), (0.25, 1.75), (0.5, 2.5), (0.8, 3.4), (1.0, 4.0)] {
            let got = quantile(q, &mut [4.0, 1.0, 3.0, 2.0]);
            assert!((got - expected).abs() < 1e-12, "{q}: {got}");
        }
        assert_eq!(quantile(0.3, &mut [7.0]), 7.0);
    }

    #[test]
    fn quantiles_outside_the_domain_are_infinite_or_nan() {
        assert_eq!(quantile(-0.1, &mut [1.0]), f64::NEG_INFINITY);
        assert_eq!(quantile(1.1, &mut [1.0]), f64::INFINITY);
        assert!(quantile(f64::NAN, &mut [1.0]).is_nan());
        assert!(quantile(0.5, &mut []).is_nan());
    }

    #[test]
    fn infinite_neighbours_of_an_exact_rank_do_not_count() {
        assert_eq!(quantile(0.5, &mut [1.0, 2.0, f64::INFINITY]), 2.0);
        assert_eq!(quantile(0.5, &mut [f64::NEG_INFINITY, 2.0, 3.0]), 2.0);
        assert_eq!(quantile_of_sorted(0.0, &[f64::NEG_INFINITY]), f64::NEG_INFINITY);
        assert_eq!(quantile_of_sorted(1.0, &[1.0, f64::INFINITY]), f64::INFINITY);
        assert!(quantile(0.5, &mut [f64::NEG_INFINITY, f64::INFINITY]).is_nan());
    }

    #[test]
    fn nan_sorts_first() {
        assert_eq!(quantile(1.0, &mut [f64::NAN, 1.0, 2.0]), 2.0);
        assert!(quantile(0.0, &mut [2.0, f64::NAN, 1.0]).is_nan());
        assert_eq!(quantile(0.5, &mut [2.0, f64::NAN, 1.0]), 1.0);
    }
}
