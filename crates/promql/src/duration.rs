//! Durations: Prometheus' notation (`1h30m`), and expressions over them (`step() * 2`).
//!
//! Source: `ParseDuration` and `Duration.String`, prometheus/common `model/time.go`; evaluation:
//! prometheus v3.16 `promql/durations.go`.

use promontory_model::labels::quote;

use crate::ast::{
    DurationExpr, DurationOp, DurationSpec, DurationTerm, Expr, ExprKind, QueryTimes, Span, UnaryOp,
};

/// Units from long to short, as they must come in a text.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Prometheus counts durations in nanoseconds of 64 bits: about 292 years.
const MILLIS_MAX: i64 = i64::MAX / 1_000_000;

/// A text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    #[error("empty duration string")]
    Empty,
    #[error("not a valid duration string: {}", quote(.0))]
    Syntax(String),
    /// The letters that are no unit, and the whole text.
    #[error("unknown unit {} in duration {}", quote(.0), quote(.1))]
    Unit(String, String),
    /// More than 64 bits of nanoseconds.
    #[error("duration out of range")]
    OutOfRange,
}

/// Milliseconds of a duration such as `1h30m` or `0`: whole numbers, units from long to short, each
/// at most once.
///
/// # Errors
/// [`InvalidDuration`] with Prometheus' text.
pub fn parse_duration(text: &str) -> Result<i64, InvalidDuration> {
    match text {
        "" => return Err(InvalidDuration::Empty),
        "0" => return Ok(0),
        _ => {}
    }
    let syntax = || InvalidDuration::Syntax(text.to_owned());
    let mut total: i64 = 0;
    let mut rest = text;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let (amount, behind) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
        let unit = behind.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default();
        let amount: u64 = amount.parse().map_err(|_| syntax())?;
        if unit.is_empty() {
            return Err(syntax());
        }
        if !UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(InvalidDuration::Unit(unit.to_owned(), text.to_owned()));
        }
        // Each unit is looked for behind the one before, so that the order is checked too.
        let (_, millis) = units.find(|(name, _)| *name == unit).ok_or_else(syntax)?;
        let part = i64::try_from(amount).ok().and_then(|amount| amount.checked_mul(*millis));
        total = part
            .and_then(|part| total.checked_add(part))
            .filter(|ms| *ms <= MILLIS_MAX)
            .ok_or(InvalidDuration::OutOfRange)?;
        rest = &behind[unit.len()..];
    }
    Ok(total)
}

/// Milliseconds in Prometheus' notation; years and weeks only where they come out even.
#[must_use]
pub fn format_duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    if ms < 0 {
        out.push('-');
    }
    let mut rest = ms.unsigned_abs();
    for (index, (unit, millis)) in UNITS.iter().enumerate() {
        let millis = millis.unsigned_abs();
        let only_if_even = index < 2;
        if rest < millis || (only_if_even && !rest.is_multiple_of(millis)) {
            continue;
        }
        out.push_str(&(rest / millis).to_string());
        out.push_str(unit);
        rest %= millis;
    }
    out
}

/// A duration that comes out impossible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}: {reason}", .span.start, .span.end)]
pub struct DurationError {
    /// The expression at fault; its text names the two offsets, as Prometheus does.
    pub span: Span,
    pub reason: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Any,
    Positive,
}

impl Expr {
    /// Replaces every computed duration by its milliseconds.
    ///
    /// # Errors
    /// If a duration divides by zero, is not finite, too large, or not positive where it must be.
    pub fn resolve(&mut self, times: QueryTimes) -> Result<(), DurationError> {
        let mut failed = None;
        self.walk_mut(&mut |expr| {
            if failed.is_none() {
                failed = resolve_node(&mut expr.kind, times).err();
            }
        });
        failed.map_or(Ok(()), Err)
    }
}

fn resolve_node(kind: &mut ExprKind, times: QueryTimes) -> Result<(), DurationError> {
    match kind {
        ExprKind::Vector(selector) => resolve_spec(&mut selector.offset, times, Sign::Any),
        ExprKind::Matrix(matrix) => {
            resolve_spec(&mut matrix.selector.offset, times, Sign::Any)?;
            resolve_spec(&mut matrix.range, times, Sign::Positive)
        }
        ExprKind::Subquery(subquery) => {
            resolve_spec(&mut subquery.offset, times, Sign::Any)?;
            if let Some(step) = &mut subquery.step {
                resolve_spec(step, times, Sign::Positive)?;
            }
            resolve_spec(&mut subquery.range, times, Sign::Positive)
        }
        _ => Ok(()),
    }
}

fn resolve_spec(spec: &mut DurationSpec, times: QueryTimes, sign: Sign) -> Result<(), DurationError> {
    if let DurationSpec::Computed(expr) = spec {
        *spec = DurationSpec::Fixed(expr.millis(times, sign)?);
    }
    Ok(())
}

impl DurationExpr {
    fn millis(&self, times: QueryTimes, sign: Sign) -> Result<i64, DurationError> {
        let seconds = self.seconds(times)?;
        let reason = if !seconds.is_finite() {
            "duration is NaN or infinite"
        } else if seconds <= 0.0 && sign == Sign::Positive {
            "duration must be greater than 0"
        } else if out_of_range(seconds) {
            "duration is out of range"
        } else {
            // In range, so the cast cannot saturate; fractions of a millisecond are cut off.
            return Ok((seconds * 1000.0) as i64);
        };
        Err(DurationError { span: self.span, reason })
    }

    /// The value in seconds.
    ///
    /// # Errors
    /// If it divides by zero.
    pub fn seconds(&self, times: QueryTimes) -> Result<f64, DurationError> {
        Ok(match &self.term {
            DurationTerm::Number(number) => number.value,
            DurationTerm::Step => times.step as f64 / 1000.0,
            DurationTerm::Range => times.end.saturating_sub(times.start) as f64 / 1000.0,
            DurationTerm::Minus(expr) => -expr.seconds(times)?,
            DurationTerm::Paren(expr) => expr.seconds(times)?,
            DurationTerm::MinOf(lhs, rhs) => go_min(lhs.seconds(times)?, rhs.seconds(times)?),
            DurationTerm::MaxOf(lhs, rhs) => -go_min(-lhs.seconds(times)?, -rhs.seconds(times)?),
            DurationTerm::Binary(op, lhs, rhs) => {
                let (lhs, rhs) = (lhs.seconds(times)?, rhs.seconds(times)?);
                let by_zero = |reason| Err(DurationError { span: self.span, reason });
                match op {
                    DurationOp::Div if rhs == 0.0 => return by_zero("division by zero"),
                    DurationOp::Mod if rhs == 0.0 => return by_zero("modulo by zero"),
                    _ => op.on_floats().apply(lhs, rhs),
                }
            }
        })
    }

    /// Nodes on the longest path to a leaf.
    pub(crate) fn depth(&self) -> u32 {
        let mut deepest = 0;
        let mut pending = vec![(self, 1)];
        while let Some((expr, depth)) = pending.pop() {
            deepest = deepest.max(depth);
            match &expr.term {
                DurationTerm::Number(_) | DurationTerm::Step | DurationTerm::Range => {}
                DurationTerm::Minus(inner) | DurationTerm::Paren(inner) => pending.push((inner, depth + 1)),
                DurationTerm::Binary(_, lhs, rhs)
                | DurationTerm::MinOf(lhs, rhs)
                | DurationTerm::MaxOf(lhs, rhs) => pending.extend([(&**lhs, depth + 1), (&**rhs, depth + 1)]),
            }
        }
        deepest
    }
}

/// Go's `math.Min`: NaN wins.
fn go_min(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

/// True if that many seconds do not fit into 64 bits of nanoseconds.
pub(crate) fn out_of_range(seconds: f64) -> bool {
    seconds.abs() > 9_223_372_036.854_776
}

/// Seconds of a literal as milliseconds, as Prometheus cuts them: rounded to nanoseconds first.
pub(crate) fn seconds_to_millis(seconds: f64) -> i64 {
    ((seconds * 1e9).round() as i64) / 1_000_000
}

/// The number that is written with this sign. There is one NaN, whatever its sign.
pub(crate) fn apply_sign(op: UnaryOp, value: f64) -> f64 {
    match op {
        UnaryOp::Minus if !value.is_nan() => -value,
        _ => value,
    }
}

#[cfg(test)]
mod tests;
