//! Kahan-Neumaier summation, in the order and with the special cases of Prometheus.
//!
//! Source: `kahansum.Inc`, prometheus v3.16 `util/kahansum/kahansum.go`.

/// A running sum and what rounding has lost so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Kahan {
    /// The sum without compensation.
    pub sum: f64,
    /// The compensation.
    pub compensation: f64,
}

impl Kahan {
    /// Adds `value`. Once the sum is infinite the compensation is zero.
    #[inline(always)]
    pub fn add(&mut self, value: f64) {
        (self.sum, self.compensation) = add(value, self.sum, self.compensation);
    }

    /// The compensated sum; for an infinite sum the compensation is zero, so this is the sum.
    #[inline(always)]
    #[must_use]
    pub fn total(self) -> f64 {
        self.sum + self.compensation
    }
}

/// One step: the new sum and the new compensation.
///
/// Written without branches, so that loops over independent sums vectorise.
#[inline(always)]
#[must_use]
pub fn add(value: f64, sum: f64, compensation: f64) -> (f64, f64) {
    let total = sum + value;
    let sum_is_larger = sum.abs() >= value.abs();
    let larger = if sum_is_larger { sum } else { value };
    let smaller = if sum_is_larger { value } else { sum };
    let lost = (larger - total) + smaller;
    let compensation = if total.abs() > f64::MAX { 0.0 } else { compensation + lost };
    (total, compensation)
}
