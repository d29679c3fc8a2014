//! The test language of Prometheus: scripts that load samples, evaluate expressions and say what must
//! come out.
//!
//! ```text
//! load 1m
//!   http_requests{job="api"}  0+10x5 _ 70 stale
//!
//! eval instant at 5m rate(http_requests[5m])
//!   expect no_warn
//!   {job="api"} 0.16666666666666666
//! ```
//!
//! [`parse_script`] makes [`TestCommand`]s of a text. A runner then loads [`Load::series`] into a fresh
//! storage, asks its engine for every [`Eval`] and hands the answer back: [`Eval::check_value`],
//! [`Eval::check_annotations`], [`Eval::check_failure`]. Upstream's runner asks more than is
//! written, see [`Eval::at_modifier_cases`] and [`Eval::range_case`].
//!
//! Bounds: a series of a script has at most [`SEQUENCE_VALUES_MAX`] values, however short its text.
//!
//! Source: prometheus v3.16 `promql/promqltest/test.go` and `promqltest/README.md`.

#![allow(missing_docs)] // What a field or a variant does not say by its name is said beside it.

use std::fmt;
use std::sync::Arc;

use promontory_model::Labels;
use promontory_model::histogram::CounterResetHint;
use promontory_model::re2::Re2;

use crate::ast::{At, Expr, ExprKind};
use crate::parser::{ParseError, ParserSettings, parse};

mod compare;
mod script;
mod series;

pub use compare::{EPSILON, Mismatch, almost_equal};
pub use script::{ScriptError, parse_script};
pub use series::{parse_series, parse_start_timestamps};

/// Most values that one series of a script may have.
pub const SEQUENCE_VALUES_MAX: usize = 1_000_000;

#[derive(Clone, Debug)]
pub enum TestCommand {
    Clear,
    Load(Load),
    Eval(Box<Eval>),
}

/// Series to be added; their first values are at the Unix epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Line of the command, from 1.
    pub line: usize,
    /// Milliseconds between values.
    pub step: i64,
    /// `load_with_nhcb`: classic histograms are added a second time as native ones.
    pub with_nhcb: bool,
    /// The series, in the order of the script; of two with the same labels only the later is here.
    pub series: Vec<LoadSeries>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LoadSeries {
    pub labels: Labels,
    /// One entry per step.
    pub values: Vec<SequenceValue>,
    /// For every value how far before it (negative) its series started, in milliseconds; `None`
    /// without an `@st` line.
    pub start_timestamps: Option<Vec<Option<i64>>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadSample<'a> {
    /// Milliseconds since the Unix epoch.
    pub ts: i64,
    /// When the series started, if the script says so.
    pub start_ts: Option<i64>,
    /// Never [`SequenceValue::Omitted`].
    pub value: &'a SequenceValue,
}

impl LoadSeries {
    /// The samples of the series where values are `step` milliseconds apart.
    pub fn samples(&self, step: i64) -> impl Iterator<Item = LoadSample<'_>> {
        let present = self.values.iter().enumerate().filter(|(_, value)| **value != SequenceValue::Omitted);
        present.map(move |(index, value)| {
            // Bounded by SEQUENCE_VALUES_MAX and the largest duration, 2^43 ms.
            let ts = step.saturating_mul(i64::try_from(index).unwrap_or(i64::MAX));
            let offsets = self.start_timestamps.as_ref();
            let offset = offsets.and_then(|offsets| offsets.get(index).copied().flatten());
            LoadSample { ts, start_ts: offset.map(|offset| ts.saturating_add(offset)), value }
        })
    }
}

#[derive(Clone, Debug)]
pub enum SequenceValue {
    /// `_`: no sample.
    Omitted,
    /// A float; `stale` is the stale marker.
    Float(f64),
    /// A native histogram.
    Histogram(HistogramValue),
}

/// Floats are equal by their bits.
impl PartialEq for SequenceValue {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Omitted, Self::Omitted) => true,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Histogram(a), Self::Histogram(b)) => a == b,
            _ => false,
        }
    }
}

/// A histogram of a sequence: `base`, or `base` with another histogram added or subtracted `times`
/// times, one after the other. The sum is left to those who know histograms.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramValue {
    /// Where the sequence begins.
    pub base: Arc<TestHistogram>,
    /// What is added at each step.
    pub step: Option<HistogramStep>,
    /// How often `step` was taken.
    pub times: usize,
}

/// What is added to a histogram at each step of a sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramStep {
    /// True: subtracted.
    pub subtract: bool,
    pub by: Arc<TestHistogram>,
}

/// A native histogram as scripts write it: `{{schema:1 sum:5 count:3 buckets:[1 2]}}`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TestHistogram {
    /// `schema`; -53 for custom buckets.
    pub schema: i32,
    /// `sum`
    pub sum: f64,
    /// `count`
    pub count: f64,
    /// `z_bucket`
    pub zero_count: f64,
    /// `z_bucket_w`
    pub zero_threshold: f64,
    /// `custom_values`
    pub custom_values: Vec<f64>,
    /// `offset` and `buckets`
    pub positive: TestBuckets,
    /// `n_offset` and `n_buckets`
    pub negative: TestBuckets,
    /// `counter_reset_hint`; `None` if it is not written, and then it is not compared.
    pub reset_hint: Option<CounterResetHint>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TestBuckets {
    /// Index of the first bucket.
    pub offset: i32,
    /// What the buckets hold.
    pub counts: Vec<f64>,
}

/// An evaluation with what must come out.
#[derive(Clone, Debug)]
pub struct Eval {
    /// Line of the command, from 1.
    pub line: usize,
    pub expr: String,
    pub times: EvalTimes,
    /// `expect ordered`
    pub ordered: bool,
    /// `expect fail`: there must be an error with such a text.
    pub fail: Option<TextMatch>,
    /// What the warnings must be.
    pub warnings: AnnotationsExpected,
    /// What the infos must be.
    pub infos: AnnotationsExpected,
    pub expected: Expected,
}

/// When an expression is evaluated, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvalTimes {
    Instant {
        at: i64,
    },
    Range {
        start: i64,
        end: i64,
        /// Distance of evaluation times.
        step: i64,
    },
}

/// What the warnings or infos of an evaluation must be.
#[derive(Clone, Debug, Default)]
pub enum AnnotationsExpected {
    /// Nothing is said about them.
    #[default]
    Unsaid,
    /// There must be none.
    None,
    /// Each of these must match one, and each one must be matched.
    Each(Vec<TextMatch>),
}

/// A condition on a text.
#[derive(Clone, Debug)]
pub enum TextMatch {
    Any,
    /// `msg:`
    Exact(String),
    /// `regex:`, found anywhere; the pattern as written is the first field.
    Regex(String, Box<Re2>),
}

impl TextMatch {
    /// True if the text satisfies the condition.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(wanted) => wanted == text,
            Self::Regex(_, regex) => regex.is_match(text),
        }
    }
}

impl fmt::Display for TextMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any text"),
            Self::Exact(wanted) => write!(f, "the text {wanted:?}"),
            Self::Regex(pattern, _) => write!(f, "the pattern {pattern:?}"),
        }
    }
}

/// The value that must come out.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    Scalar(f64),
    String(String),
    /// A vector or matrix; none means an empty one.
    Series {
        /// In the order of the script.
        series: Vec<ExpectedSeries>,
        /// Of what times the values are.
        grid: EvalTimes,
    },
}

/// One series that must come out.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpectedSeries {
    pub labels: Labels,
    /// For an instant vector one value, else one per step of the grid.
    pub values: Vec<SequenceValue>,
}

/// Functions that depend on the evaluation time even where all their selectors have `@`.
///
/// Source: `AtModifierUnsafeFunctions`, prometheus v3.16 `promql/functions.go`.
const TIME_DEPENDENT: [&str; 15] = [
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "end",
    "hour",
    "minute",
    "month",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
    "timestamp",
    "year",
];

impl Eval {
    /// The further evaluations that upstream's runner makes of an instant evaluation, all with the
    /// same expectation: the expression with `@` the evaluation time written onto every selector, at
    /// five other times. Empty for range evaluations and where the expression depends on the time.
    ///
    /// # Errors
    /// If the expression is not PromQL.
    pub fn at_modifier_cases(&self) -> Result<Vec<(String, i64)>, ParseError> {
        let EvalTimes::Instant { at } = self.times else {
            return Ok(Vec::new());
        };
        let Some(expr) = with_at_modifier(&parse(&self.expr, &ParserSettings::all())?, at) else {
            return Ok(Vec::new());
        };
        let text = expr.to_string();
        let times = if at == 0 {
            vec![-1_000, 0, 1_000]
        } else {
            vec![at.saturating_mul(-10), 0, at / 5, at, at.saturating_mul(10)]
        };
        Ok(times.into_iter().map(|time| (text.clone(), time)).collect())
    }

    /// The range evaluation that upstream's runner makes of `expr` at `time` (the script's own or one
    /// of [`Self::at_modifier_cases`]): its middle step must be what an instant evaluation answers.
    /// `None` where that cannot be, because the value is a text or range vector, because the result
    /// is ordered, or because the expression asks for the times of the query.
    #[must_use]
    pub fn range_case(&self, expr: &str, time: i64) -> Option<EvalTimes> {
        const MINUTE: i64 = 60_000;
        let asks_for_times = ["start()", "end()", "range()", "step()"].iter().any(|call| expr.contains(call));
        let instant = matches!(
            &self.expected,
            Expected::Scalar(_) | Expected::Series { grid: EvalTimes::Instant { .. }, .. }
        );
        (instant && !asks_for_times && !self.ordered && self.fail.is_none()).then(|| EvalTimes::Range {
            start: time.saturating_sub(MINUTE),
            end: time.saturating_add(MINUTE),
            step: MINUTE,
        })
    }
}

/// The expression with `@` `time` (milliseconds) on every selector and subquery that has no fixed
/// time of its own, except below a subquery: its own `@` decides. `None` if the value would still
/// depend on the evaluation time.
///
/// `@ start()` and `@ end()` are replaced, too.
///
/// Source: `atModifierTestCases`, prometheus v3.16 `promql/promqltest/test.go`.
#[must_use]
pub fn with_at_modifier(expr: &Expr, time: i64) -> Option<Expr> {
    let mut expr = expr.clone();
    let mut depends_on_time = false;
    let mut pending = vec![&mut expr];
    while let Some(node) = pending.pop() {
        let at = match &mut node.kind {
            ExprKind::Vector(selector) => Some(&mut selector.at),
            ExprKind::Matrix(matrix) => Some(&mut matrix.selector.at),
            ExprKind::Subquery(subquery) => Some(&mut subquery.at),
            ExprKind::Call(call) => {
                depends_on_time |= TIME_DEPENDENT.contains(&call.function.name);
                None
            }
            _ => None,
        };
        if let Some(at) = at
            && !matches!(at, Some(At::Timestamp(_)))
        {
            *at = Some(At::Timestamp(time));
        }
        if let ExprKind::Subquery(subquery) = &node.kind {
            // Selectors below stay as they are, but time-dependent functions still count.
            subquery.expr.walk(&mut |inner| {
                if let ExprKind::Call(call) = &inner.kind {
                    depends_on_time |= TIME_DEPENDENT.contains(&call.function.name);
                }
            });
        } else {
            node.kind.for_each_child_mut(&mut |child| pending.push(child));
        }
    }
    if depends_on_time { None } else { Some(expr) }
}

#[cfg(test)]
mod tests;
