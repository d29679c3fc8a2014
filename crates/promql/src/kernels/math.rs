//! Functions of one float, element by element.
//!
//! Source: prometheus v3.16 `promql/functions.go` and package `math` of Go 1.25 for what the
//! special values give. Transcendental functions come from the platform and may differ from Go's in
//! the last digit.

use super::Param;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // Each is the PromQL function of its name.
pub enum UnaryFunction {
    Abs,
    Ceil,
    Floor,
    Sqrt,
    Exp,
    Ln,
    Log2,
    Log10,
    Sgn,
    Deg,
    Rad,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
}

/// The larger or the smaller of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extreme {
    /// `max_of`
    Max,
    /// `min_of`
    Min,
}

impl Extreme {
    /// As [`max`] or [`min`].
    #[must_use]
    pub fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Max => max(a, b),
            Self::Min => min(a, b),
        }
    }
}

impl UnaryFunction {
    /// As [`Self::apply_all`], of one value.
    #[must_use]
    pub fn apply(self, value: f64) -> f64 {
        let mut value = [value];
        self.apply_all(&mut value);
        value[0]
    }

    /// All values in place. Values at points without a sample are changed too and mean nothing.
    pub fn apply_all(self, values: &mut [f64]) {
        use std::f64::consts::PI;
        match self {
            Self::Abs => map(values, f64::abs),
            Self::Ceil => map(values, f64::ceil),
            Self::Floor => map(values, f64::floor),
            Self::Sqrt => map(values, f64::sqrt),
            Self::Exp => map(values, f64::exp),
            Self::Ln => map(values, f64::ln),
            Self::Log2 => map(values, log2),
            Self::Log10 => map(values, f64::log10),
            Self::Sgn => map(values, sgn),
            Self::Deg => map(values, |v| v * (180.0 / PI)),
            Self::Rad => map(values, |v| v * (PI / 180.0)),
            Self::Sin => map(values, f64::sin),
            Self::Cos => map(values, f64::cos),
            Self::Tan => map(values, f64::tan),
            Self::Asin => map(values, f64::asin),
            Self::Acos => map(values, f64::acos),
            Self::Atan => map(values, f64::atan),
            Self::Sinh => map(values, f64::sinh),
            Self::Cosh => map(values, f64::cosh),
            Self::Tanh => map(values, f64::tanh),
            Self::Asinh => map(values, f64::asinh),
            Self::Acosh => map(values, f64::acosh),
            Self::Atanh => map(values, f64::atanh),
        }
    }
}

#[inline(always)]
fn map(values: &mut [f64], function: impl Fn(f64) -> f64) {
    for value in values {
        *value = function(*value);
    }
}

fn sgn(value: f64) -> f64 {
    if value < 0.0 {
        -1.0
    } else if value > 0.0 {
        1.0
    } else {
        value
    }
}

/// Exact for powers of two, as Go's.
fn log2(value: f64) -> f64 {
    value.log2()
}

/// `round(values, to_nearest)`: ties are rounded up.
pub fn round(values: &mut [f64], to_nearest: Param<'_>) {
    for (step, value) in values.iter_mut().enumerate() {
        let inverse = 1.0 / to_nearest.at(step);
        *value = (*value * inverse + 0.5).floor() / inverse;
    }
}

/// `clamp(values, lower, upper)`; at steps where `upper < lower` no point stays valid.
///
/// `clamp_min` is `clamp(lower, +Inf)`, `clamp_max` is `clamp(-Inf, upper)`.
pub fn clamp(values: &mut [f64], valid: &mut [bool], lower: Param<'_>, upper: Param<'_>) {
    for (step, (value, valid)) in values.iter_mut().zip(valid).enumerate() {
        let (lower, upper) = (lower.at(step), upper.at(step));
        if upper < lower {
            *valid = false;
        } else {
            *value = max(lower, min(upper, *value));
        }
    }
}

/// `math.Max`: +Inf wins over NaN, NaN over numbers, and +0 is above -0.
#[must_use]
pub fn max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { b } else { a }
    } else if a > b {
        a
    } else {
        b
    }
}

/// `math.Min`: -Inf wins over NaN, NaN over numbers, and -0 is below +0.
#[must_use]
pub fn min(a: f64, b: f64) -> f64 {
    if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { a } else { b }
    } else if a < b {
        a
    } else {
        b
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_values_give_what_go_gives() {
        use UnaryFunction as U;
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        for (function, input, expected) in [
            (U::Abs, -1.5, 1.5),
            (U::Abs, -inf, inf),
            (U::Ceil, -0.5, -0.0),
            (U::Floor, -0.5, -1.0),
            (U::Sqrt, -1.0, nan),
            (U::Sqrt, -0.0, -0.0),
            (U::Exp, -inf, 0.0),
            (U::Ln, 0.0, -inf),
            (U::Ln, -1.0, nan),
            (U::Log2, 8.0, 3.0),
            (U::Log10, 1000.0, 3.0),
            (U::Sgn, -0.0, -0.0),
            (U::Sgn, nan, nan),
            (U::Sgn, -inf, -1.0),
            (U::Deg, std::f64::consts::PI, 180.0),
            (U::Rad, 180.0, std::f64::consts::PI),
            // The factor first: the product with 180 or pi alone would overflow.
            (U::Deg, 1e306, 1e306 * (180.0 / std::f64::consts::PI)),
            (U::Rad, 1e308, 1e308 * (std::f64::consts::PI / 180.0)),
            (U::Asin, 2.0, nan),
            (U::Acosh, 0.5, nan),
            (U::Atanh, 1.0, inf),
            (U::Tanh, inf, 1.0),
        ] {
            let got = function.apply(input);
            assert!(
                got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan()),
                "{function:?}({input}) = {got}, expected {expected}"
            );
        }
    }

    #[test]
    fn round_goes_up_on_ties() {
        let mut values = [-0.5, 0.5, 1.5, -1.5, 2.4];
        round(&mut values, Param::Constant(1.0));
        assert_eq!(values, [0.0, 1.0, 2.0, -1.0, 2.0]);
        let mut values = [0.07, 12.3];
        round(&mut values, Param::PerStep(&[0.1, 5.0]));
        assert_eq!(values, [0.1, 10.0]);
        let mut values = [f64::NAN, f64::INFINITY];
        round(&mut values, Param::Constant(1.0));
        assert!(values[0].is_nan() && values[1] == f64::INFINITY);
    }

    #[test]
    fn clamp_keeps_nan_and_empties_inverted_bounds() {
        let mut values = [-5.0, 0.5, 9.0, f64::NAN];
        let mut valid = [true; 4];
        clamp(&mut values, &mut valid, Param::Constant(0.0), Param::Constant(1.0));
        assert_eq!(values[..3], [0.0, 0.5, 1.0]);
        assert!(values[3].is_nan() && valid == [true; 4]);
        clamp(&mut values, &mut valid, Param::Constant(2.0), Param::PerStep(&[1.0, 3.0, 1.0, 3.0]));
        assert_eq!(valid, [false, true, false, true]);
        let mut values = [1.0];
        clamp(&mut values, &mut [true], Param::Constant(f64::NAN), Param::Constant(3.0));
        assert!(values[0].is_nan());
    }

    #[test]
    fn infinities_win_over_nan_in_max_and_min() {
        assert_eq!(max(f64::NAN, f64::INFINITY), f64::INFINITY);
        assert!(max(f64::NAN, 1.0).is_nan());
        assert_eq!(min(f64::NEG_INFINITY, f64::NAN), f64::NEG_INFINITY);
        assert!(max(-0.0, 0.0).is_sign_positive() && min(0.0, -0.0).is_sign_negative());
    }
}
