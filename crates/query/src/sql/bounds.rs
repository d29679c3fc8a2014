//! What a `WHERE` says of name, labels and time, as matchers and a time range.
//!
//! Words: a filter is *exact* if what it lets through is just what the matchers and the range select,
//! so that nobody needs to look again; it is *inexact* if they select more.
//!
//! | filter | becomes | |
//! |---|---|---|
//! | `name = 'a'`, `labels['l'] = 'a'`, `'a' = name` | equality | exact |
//! | `... IN ('a', 'b')`, `... = 'a' OR ... = 'b'` | one matcher of a set | exact |
//! | `ts` and a literal, with `=`, `<`, `<=`, `>`, `>=`, `BETWEEN`, also under a cast of `ts` | time range | exact |
//! | `AND` of several | each by itself | exact if all are |
//! | everything else | nothing | not taken |
//!
//! `labels['__name__']` is not taken: the column `labels` has no such key. An empty string is not taken: in SQL no label is empty, in Prometheus an absent one is. Other
//! matchers than equality are not either: `<>` leaves rows without the label out in SQL and not in
//! Prometheus.

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};
use promontory_model::re2::escape;
use promontory_model::{METRIC_NAME, MatchOp, Matcher, TimeRange};

use crate::sql::columns::{LABELS, NAME, TS};
use crate::sql::meaning::SATURATED;

/// What a statement wants of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Bounds {
    /// All of them must match.
    pub matchers: Vec<Matcher>,
    /// Both ends included, in milliseconds.
    pub range: TimeRange,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { matchers: Vec::new(), range: TimeRange::ALL }
    }
}

impl Bounds {
    /// The bounds of filters of which all must hold; those that are not taken are left out.
    #[must_use]
    pub fn of(filters: &[Expr]) -> Self {
        let mut bounds = Self::default();
        for filter in filters {
            bounds.add(filter);
        }
        bounds
    }

    /// Narrows the bounds by a filter, as far as it can be taken; true if it was taken whole.
    pub fn add(&mut self, filter: &Expr) -> bool {
        if let Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) = filter {
            let left = self.add(left);
            return self.add(right) && left;
        }
        if let Some(range) = time_range(filter) {
            self.range = self.range.intersect(range);
            return true;
        }
        let matcher = set_of(filter).and_then(|(subject, values)| matcher(&subject, &values));
        let taken = matcher.is_some();
        self.matchers.extend(matcher);
        taken
    }
}

/// A matcher for one of a set of texts.
fn matcher(label: &str, values: &BTreeSet<String>) -> Option<Matcher> {
    if values.iter().any(String::is_empty) {
        return None;
    }
    if values.len() == 1 {
        return values.first().map(|value| Matcher::equal(label, value.as_str()));
    }
    let alternatives: Vec<String> = values.iter().map(|value| escape(value)).collect();
    Matcher::new(label, MatchOp::Regex, alternatives.join("|")).ok()
}

/// The label that a filter asks for and the values that it lets through.
fn set_of(filter: &Expr) -> Option<(String, BTreeSet<String>)> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let (subject, value) = match (subject(left), subject(right)) {
                (Some(subject), _) => (subject, text(right)?),
                (None, Some(subject)) => (subject, text(left)?),
                (None, None) => return None,
            };
            Some((subject, BTreeSet::from([value])))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let (subject, mut values) = set_of(left)?;
            let (other, more) = set_of(right)?;
            values.extend(more);
            (subject == other).then_some((subject, values))
        }
        Expr::InList(list) if !list.negated && !list.list.is_empty() => {
            let values = list.list.iter().map(text).collect::<Option<BTreeSet<String>>>()?;
            Some((subject(&list.expr)?, values))
        }
        _ => None,
    }
}

/// The label that an expression reads.
fn subject(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Column(column) if column.name == NAME => Some(METRIC_NAME.to_owned()),
        Expr::ScalarFunction(call) if call.func.name() == "get_field" => match &call.args[..] {
            // The column has no such key; as a matcher it would be the name.
            [Expr::Column(column), label] if column.name == LABELS => {
                text(label).filter(|label| label != METRIC_NAME)
            }
            _ => None,
        },
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten().map(str::to_owned),
        _ => None,
    }
}

/// The times that a comparison of `ts` lets through.
fn time_range(filter: &Expr) -> Option<TimeRange> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_ts(left) => compared(*op, nanos(right)?),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_ts(right) => {
            compared(op.swap()?, nanos(left)?)
        }
        Expr::Between(Between { expr, negated: false, low, high }) if is_ts(expr) => {
            let low = compared(Operator::GtEq, nanos(low)?)?;
            Some(low.intersect(compared(Operator::LtEq, nanos(high)?)?))
        }
        _ => None,
    }
}

/// The whole milliseconds `t` for which `t op at` holds, `at` in nanoseconds.
fn compared(op: Operator, at: i128) -> Option<TimeRange> {
    const MILLI: i128 = 1_000_000;
    let clamp = |ms: i128| ms.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
    let floor = at.div_euclid(MILLI);
    let is_whole = at.rem_euclid(MILLI) == 0;
    let ceil = if is_whole { floor } else { floor + 1 };
    let (from, to) = match op {
        Operator::Eq if is_whole => (clamp(floor), clamp(floor)),
        Operator::Eq => return Some(TimeRange::EMPTY),
        Operator::GtEq => (clamp(ceil), i64::MAX),
        Operator::Gt if floor >= i128::from(i64::MAX) => return Some(TimeRange::EMPTY),
        Operator::Gt => (clamp(floor + 1), i64::MAX),
        Operator::LtEq => (i64::MIN, clamp(floor)),
        Operator::Lt if ceil <= i128::from(i64::MIN) => return Some(TimeRange::EMPTY),
        Operator::Lt => (i64::MIN, clamp(ceil - 1)),
        _ => return None,
    };
    Some(TimeRange::new(from, to))
}

/// The column `ts`, also as a timestamp of a finer unit: such a cast changes no comparison.
fn is_ts(expr: &Expr) -> bool {
    let finer = |data_type: &DataType| {
        matches!(
            data_type,
            DataType::Timestamp(
                TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond,
                Some(_)
            )
        )
    };
    match expr {
        Expr::Column(column) => column.name == TS,
        Expr::Cast(cast) => finer(cast.field.data_type()) && is_ts(&cast.expr),
        Expr::ScalarFunction(call) if call.func.name() == SATURATED => call.args.iter().all(is_ts),
        _ => false,
    }
}

/// A timestamp literal in nanoseconds since the Unix epoch.
fn nanos(expr: &Expr) -> Option<i128> {
    let Expr::Literal(value, _) = expr else { return None };
    let (value, unit) = match value {
        ScalarValue::TimestampSecond(Some(value), _) => (*value, 1_000_000_000),
        ScalarValue::TimestampMillisecond(Some(value), _) => (*value, 1_000_000),
        ScalarValue::TimestampMicrosecond(Some(value), _) => (*value, 1_000),
        ScalarValue::TimestampNanosecond(Some(value), _) => (*value, 1),
        _ => return None,
    };
    Some(i128::from(value) * unit)
}

#[cfg(test)]
mod tests;
