//! Binary operators on floats, element by element.
//!
//! Source: `scalarBinop` and `vectorElemBinop`, prometheus v3.16 `promql/engine.go`. `%` is Go's
//! `math.Mod` (C's `fmod`), `^` is `math.Pow` (C99's `pow` with the same special cases).

use super::Param;

/// A binary operator that computes a value of two, or compares them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // Each is the PromQL operator of its name.
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
}

/// What a comparison does to a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// Keeps the left value where it is true, drops the point otherwise.
    Filter,
    /// Gives 1 or 0 (`bool`).
    Bool,
}

impl BinaryOp {
    /// In the order of their declaration.
    pub const ALL: [Self; 13] = [
        Self::Add,
        Self::Sub,
        Self::Mul,
        Self::Div,
        Self::Mod,
        Self::Pow,
        Self::Atan2,
        Self::Equal,
        Self::NotEqual,
        Self::Greater,
        Self::Less,
        Self::GreaterOrEqual,
        Self::LessOrEqual,
    ];

    /// The operator as written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::GreaterOrEqual => ">=",
            Self::LessOrEqual => "<=",
        }
    }

    /// True for `==`, `!=`, `>`, `<`, `>=`, `<=`.
    #[must_use]
    pub fn is_comparison(self) -> bool {
        !matches!(self, Self::Add | Self::Sub | Self::Mul | Self::Div | Self::Mod | Self::Pow | Self::Atan2)
    }

    /// Between scalars: comparisons give 1 or 0.
    #[must_use]
    pub fn apply(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Sub => left - right,
            Self::Mul => left * right,
            Self::Div => left / right,
            Self::Mod => left % right,
            Self::Pow => left.powf(right),
            Self::Atan2 => left.atan2(right),
            _ => f64::from(u8::from(self.holds(left, right))),
        }
    }

    /// Whether a comparison is true; false for arithmetic operators.
    #[must_use]
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Greater => left > right,
            Self::Less => left < right,
            Self::GreaterOrEqual => left >= right,
            Self::LessOrEqual => left <= right,
            _ => false,
        }
    }
}

/// Two rows of one grid: `left` becomes the result, and `left_valid` where it has one.
///
/// A point needs a sample on both sides. With [`Comparison::Filter`] a comparison keeps left values;
/// arithmetic operators ignore `comparison`.
pub fn vector_vector(
    op: BinaryOp,
    comparison: Comparison,
    left: &mut [f64],
    left_valid: &mut [bool],
    right: &[f64],
    right_valid: &[bool],
) {
    for (valid, other) in left_valid.iter_mut().zip(right_valid) {
        *valid &= *other;
    }
    dispatch(op, comparison, left, left_valid, |step| right[step]);
}

/// A row and a scalar on its right.
pub fn vector_scalar(
    op: BinaryOp,
    comparison: Comparison,
    vector: &mut [f64],
    valid: &mut [bool],
    scalar: Param<'_>,
) {
    match scalar {
        Param::Constant(value) => dispatch(op, comparison, vector, valid, |_| value),
        Param::PerStep(_) => dispatch(op, comparison, vector, valid, |step| scalar.at(step)),
    }
}

/// A scalar on the left of a row. A filtering comparison keeps the value of the vector.
pub fn scalar_vector(
    op: BinaryOp,
    comparison: Comparison,
    scalar: Param<'_>,
    vector: &mut [f64],
    valid: &mut [bool],
) {
    let filters = op.is_comparison() && comparison == Comparison::Filter;
    for (step, (value, valid)) in vector.iter_mut().zip(valid).enumerate() {
        let left = scalar.at(step);
        if filters {
            *valid &= op.holds(left, *value);
        } else {
            *value = op.apply(left, *value);
        }
    }
}

fn dispatch(
    op: BinaryOp,
    comparison: Comparison,
    left: &mut [f64],
    valid: &mut [bool],
    right: impl Fn(usize) -> f64,
) {
    match op {
        BinaryOp::Add => map(left, right, |a, b| a + b),
        BinaryOp::Sub => map(left, right, |a, b| a - b),
        BinaryOp::Mul => map(left, right, |a, b| a * b),
        BinaryOp::Div => map(left, right, |a, b| a / b),
        BinaryOp::Mod => map(left, right, |a, b| a % b),
        BinaryOp::Pow => map(left, right, f64::powf),
        BinaryOp::Atan2 => map(left, right, f64::atan2),
        BinaryOp::Equal => compare(comparison, left, valid, right, |a, b| a == b),
        BinaryOp::NotEqual => compare(comparison, left, valid, right, |a, b| a != b),
        BinaryOp::Greater => compare(comparison, left, valid, right, |a, b| a > b),
        BinaryOp::Less => compare(comparison, left, valid, right, |a, b| a < b),
        BinaryOp::GreaterOrEqual => compare(comparison, left, valid, right, |a, b| a >= b),
        BinaryOp::LessOrEqual => compare(comparison, left, valid, right, |a, b| a <= b),
    }
}

#[inline(always)]
fn map(left: &mut [f64], right: impl Fn(usize) -> f64, op: impl Fn(f64, f64) -> f64) {
    for (step, value) in left.iter_mut().enumerate() {
        *value = op(*value, right(step));
    }
}

#[inline(always)]
fn compare(
    comparison: Comparison,
    left: &mut [f64],
    valid: &mut [bool],
    right: impl Fn(usize) -> f64,
    op: impl Fn(f64, f64) -> bool,
) {
    match comparison {
        Comparison::Filter => {
            for (step, (value, valid)) in left.iter().zip(valid).enumerate() {
                *valid &= op(*value, right(step));
            }
        }
        Comparison::Bool => map(left, right, |a, b| f64::from(u8::from(op(a, b)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INF: f64 = f64::INFINITY;
    const NAN: f64 = f64::NAN;

    fn check(token: &str, left: f64, right: f64, expected: f64) {
        let op = BinaryOp::ALL.into_iter().find(|op| op.as_str() == token).unwrap();
        let mut row = [left];
        vector_vector(op, Comparison::Bool, &mut row, &mut [true], &[right], &[true]);
        for got in [op.apply(left, right), row[0]] {
            let same = got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan());
            assert!(same, "{left} {token} {right} = {got}, expected {expected}");
        }
    }

    #[test]
    fn modulo_follows_the_sign_of_the_left_side() {
        for (left, right, expected) in [
            (5.0, 3.0, 2.0),
            (-5.0, 3.0, -2.0),
            (5.0, -3.0, 2.0),
            (-4.0, 2.0, -0.0),
            (5.5, 2.0, 1.5),
            (5.0, 0.0, NAN),
            (INF, 2.0, NAN),
            (5.0, INF, 5.0),
            (-5.0, -INF, -5.0),
            (1e308, 3e-308, 1e308 % 3e-308),
        ] {
            check("%", left, right, expected);
        }
    }

    #[test]
    fn powers_have_the_special_cases_of_go() {
        for (left, right, expected) in [
            (NAN, 0.0, 1.0),
            (1.0, NAN, 1.0),
            (NAN, 1.0, NAN),
            (2.0, NAN, NAN),
            (0.0, -3.0, INF),
            (-0.0, -3.0, -INF),
            (-0.0, -2.0, INF),
            (0.0, -INF, INF),
            (-0.0, 3.0, -0.0),
            (-1.0, INF, 1.0),
            (-1.0, -INF, 1.0),
            (0.5, INF, 0.0),
            (0.5, -INF, INF),
            (-INF, 3.0, -INF),
            (-INF, -3.0, -0.0),
            (-8.0, 1.0 / 3.0, NAN),
            (2.0, 10.0, 1024.0),
        ] {
            check("^", left, right, expected);
        }
    }

    #[test]
    fn division_and_atan2_have_ieee_results() {
        check("/", 1.0, 0.0, INF);
        check("/", 0.0, 0.0, NAN);
        check("/", -1.0, 0.0, -INF);
        check("atan2", -0.0, -1.0, -std::f64::consts::PI);
        check("atan2", INF, -INF, 3.0 * std::f64::consts::FRAC_PI_4);
    }

    #[test]
    fn nan_compares_false_except_for_unequal() {
        for token in ["==", ">", "<", ">=", "<="] {
            check(token, NAN, NAN, 0.0);
        }
        check("!=", NAN, NAN, 1.0);
    }

    #[test]
    fn filters_keep_left_values_and_need_both_sides() {
        let mut left = [1.0, 2.0, 3.0, 4.0];
        let mut valid = [true, true, true, false];
        vector_vector(
            BinaryOp::Greater,
            Comparison::Filter,
            &mut left,
            &mut valid,
            &[0.0, 5.0, 0.0, 0.0],
            &[true, true, false, true],
        );
        assert_eq!(valid, [true, false, false, false]);
        assert_eq!(left[0], 1.0);
    }

    #[test]
    fn a_scalar_on_the_left_filters_but_the_vector_stays() {
        let mut vector = [1.0, 3.0];
        let mut valid = [true, true];
        scalar_vector(BinaryOp::Greater, Comparison::Filter, Param::Constant(2.0), &mut vector, &mut valid);
        assert_eq!((vector, valid), ([1.0, 3.0], [true, false]));
        scalar_vector(
            BinaryOp::Sub,
            Comparison::Filter,
            Param::PerStep(&[2.0, 4.0]),
            &mut vector,
            &mut valid,
        );
        assert_eq!(vector, [1.0, 1.0]);
        vector_scalar(BinaryOp::Less, Comparison::Bool, &mut vector, &mut valid, Param::Constant(1.0));
        assert_eq!((vector, valid), ([0.0, 0.0], [true, false]));
    }
}
