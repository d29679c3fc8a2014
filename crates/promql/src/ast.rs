//! The syntax tree of a PromQL expression.
//!
//! Invariants of a tree that [`crate::parser::parse`] returned:
//! - It passed the type checks of Prometheus, so every argument has the type that its place wants.
//! - No path from the root is longer than [`crate::parser::ParserSettings::depth_max`] nodes, so a
//!   recursive walk of it has a bounded stack. [`Expr::depth`] tells.
//! - Every node has the place of its text ([`Span`], byte offsets; [`line_col`] for people).
//! - Equality of expressions looks at meaning and spelling, not at places, and compares numbers by
//!   their bits, so that NaN equals itself.
//!
//! Durations in brackets and after `offset` may be computed (`[step() * 2]`); [`Expr::resolve`]
//! replaces them by their milliseconds once start, end and step of the query are known. Only a
//! resolved tree can be planned.

#![allow(missing_docs)] // What a field or a variant does not say by its name is said beside it.

use std::fmt;

use promontory_model::Matcher;

use crate::functions::{Aggregation, Function};
use crate::kernels::BinaryOp;
use crate::types::ValueType;

/// A piece of the text, in bytes: from `start` to before `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    #[must_use]
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// From the start of this one to the end of `last`.
    #[must_use]
    pub fn to(self, last: Self) -> Self {
        Self { start: self.start, end: last.end }
    }
}

/// An expression with its place in the text.
#[derive(Clone)]
pub struct Expr {
    pub kind: ExprKind,
    pub span: Span,
    value_type: ValueType,
    depth: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A number, or a duration used as a number of seconds.
    Number(Number),
    String(String),
    Vector(Box<VectorSelector>),
    /// A range vector selector, `selector[range]`.
    Matrix(Box<MatrixSelector>),
    /// `expr[range:step]`.
    Subquery(Box<Subquery>),
    Call(Call),
    Aggregate(Box<Aggregate>),
    Binary(Box<Binary>),
    /// `+expr` or `-expr`.
    Unary(UnaryOp, Box<Expr>),
    /// `(expr)`.
    Paren(Box<Expr>),
}

#[derive(Clone, Copy, Debug)]
pub struct Number {
    /// The value; seconds if it was written as a duration.
    pub value: f64,
    /// True if it was written as a duration (`5m`) and is printed as one.
    pub is_duration: bool,
}

/// An instant vector selector; the order of the matchers does not count for equality.
#[derive(Clone, Debug)]
pub struct VectorSelector {
    /// The metric name if it was written before the braces or quoted inside them; then `matchers`
    /// also holds its equality matcher, last.
    pub name: Option<String>,
    /// `__name__` included.
    pub matchers: Vec<Matcher>,
    /// How far back to look; negative is forward.
    pub offset: DurationSpec,
    /// The fixed evaluation time, if there is one.
    pub at: Option<At>,
    /// `anchored` or `smoothed`.
    pub extension: RangeExtension,
    /// True for the second argument of `info`, which need not hold a non-empty matcher.
    pub may_match_everything: bool,
}

#[derive(Clone, Debug)]
pub struct MatrixSelector {
    /// Whose samples; offset and `@` are here.
    pub selector: VectorSelector,
    /// The place of `selector` without its modifiers and the range.
    pub selector_span: Span,
    pub range: DurationSpec,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// Evaluated at every step inside the range.
    pub expr: Expr,
    pub range: DurationSpec,
    /// Distance of evaluations; `None`: the default step of the engine.
    pub step: Option<DurationSpec>,
    /// How far back to look; negative is forward.
    pub offset: DurationSpec,
    /// The fixed evaluation time, if there is one.
    pub at: Option<At>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    pub function: &'static Function,
    /// The arguments as written; absent optional ones are not filled in.
    pub args: Vec<Expr>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    pub op: &'static Aggregation,
    pub expr: Expr,
    /// The parameter of `topk`, `bottomk`, `quantile`, `count_values`, `limitk`, `limit_ratio`.
    pub param: Option<Expr>,
    pub grouping: Grouping,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Grouping {
    /// `by (labels)`; without a modifier it is `By` with no labels.
    By(Vec<String>),
    Without(Vec<String>),
}

impl Grouping {
    #[must_use]
    pub fn labels(&self) -> &[String] {
        match self {
            Self::By(labels) | Self::Without(labels) => labels,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    pub op: Operator,
    pub lhs: Expr,
    pub rhs: Expr,
    /// How two vectors are matched; `None` unless both sides are vectors.
    pub matching: Option<VectorMatching>,
    /// `bool`: a comparison answers 0 or 1 instead of filtering.
    pub return_bool: bool,
}

/// How the elements of two vectors find each other.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorMatching {
    /// How many elements of each side may match.
    pub cardinality: Cardinality,
    /// True: the pair is equal on `labels`; false: on all labels except `labels`.
    pub on: bool,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Labels of the "one" side that the result keeps: `group_left(these)`.
    pub include: Vec<String>,
    /// Stands in for a left element that is missing.
    pub fill_left: Option<FillValue>,
    /// Stands in for a right element that is missing.
    pub fill_right: Option<FillValue>,
}

/// A value of `fill`, equal by bits.
#[derive(Clone, Copy, Debug)]
pub struct FillValue(pub f64);

/// How many elements of each side may match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cardinality {
    OneToOne,
    /// `group_left`.
    ManyToOne,
    /// `group_right`.
    OneToMany,
    /// What set operators do.
    ManyToMany,
}

impl Cardinality {
    /// As Prometheus writes it in error texts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneToOne => "one-to-one",
            Self::ManyToOne => "many-to-one",
            Self::OneToMany => "one-to-many",
            Self::ManyToMany => "many-to-many",
        }
    }
}

/// The fixed evaluation time of a selector or subquery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum At {
    /// `@ 1609746000`, here in milliseconds.
    Timestamp(i64),
    Start,
    End,
}

/// How the edges of a window are completed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RangeExtension {
    /// Not at all: only samples inside count.
    #[default]
    None,
    Anchored,
    Smoothed,
}

/// A length of time in a selector: known, or computed from the times of the query.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationSpec {
    /// Milliseconds.
    Fixed(i64),
    /// To be replaced by [`Expr::resolve`].
    Computed(Box<DurationExpr>),
}

impl DurationSpec {
    /// Nothing, as an offset that was not written.
    pub const ZERO: Self = Self::Fixed(0);

    /// The milliseconds, unless they still have to be computed.
    #[must_use]
    pub fn fixed_ms(&self) -> Option<i64> {
        match self {
            Self::Fixed(ms) => Some(*ms),
            Self::Computed(_) => None,
        }
    }
}

/// An expression over durations, with its place.
#[derive(Clone, Debug)]
pub struct DurationExpr {
    pub term: DurationTerm,
    pub span: Span,
}

/// What a duration expression is; everything is in seconds.
#[derive(Clone, Debug, PartialEq)]
pub enum DurationTerm {
    /// A number of seconds or a duration.
    Number(Number),
    /// `step()`: the step of the query.
    Step,
    /// `range()`: end minus start of the query.
    Range,
    Minus(Box<DurationExpr>),
    Paren(Box<DurationExpr>),
    Binary(DurationOp, Box<DurationExpr>, Box<DurationExpr>),
    MinOf(Box<DurationExpr>, Box<DurationExpr>),
    MaxOf(Box<DurationExpr>, Box<DurationExpr>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DurationOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
}

impl DurationOp {
    /// In the order of their declaration.
    pub const ALL: [Self; 6] = [Self::Add, Self::Sub, Self::Mul, Self::Div, Self::Mod, Self::Pow];

    /// The operator on floats that is written and computed alike.
    #[must_use]
    pub fn on_floats(self) -> BinaryOp {
        match self {
            Self::Add => BinaryOp::Add,
            Self::Sub => BinaryOp::Sub,
            Self::Mul => BinaryOp::Mul,
            Self::Div => BinaryOp::Div,
            Self::Mod => BinaryOp::Mod,
            Self::Pow => BinaryOp::Pow,
        }
    }
}

impl PartialEq for DurationExpr {
    fn eq(&self, other: &Self) -> bool {
        self.term == other.term
    }
}

/// The times of a query that durations may be computed from, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryTimes {
    pub start: i64,
    /// Last evaluation time; equal to `start` for instant queries.
    pub end: i64,
    /// Distance of evaluation times; 0 for instant queries.
    pub step: i64,
}

/// The sign before an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    Plus,
    Minus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// Computes or compares values.
    Value(BinaryOp),
    /// Keeps elements by whether the other side has them.
    Set(SetOp),
    /// Keeps a part of a histogram.
    Trim(TrimOp),
}

/// A set operator between vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetOp {
    And,
    Or,
    Unless,
}

/// An operator that keeps a part of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrimOp {
    /// `</`: what lies below a value.
    Upper,
    /// `>/`: what lies above a value.
    Lower,
}

impl SetOp {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }
}

impl Operator {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Value(op) => op.as_str(),
            Self::Set(op) => op.as_str(),
            Self::Trim(TrimOp::Upper) => "</",
            Self::Trim(TrimOp::Lower) => ">/",
        }
    }

    #[must_use]
    pub fn is_comparison(self) -> bool {
        matches!(self, Self::Value(op) if op.is_comparison())
    }

    #[must_use]
    pub fn is_set(self) -> bool {
        matches!(self, Self::Set(_))
    }

    /// How tightly it binds: 1 (`or`) to 6 (`^`).
    #[must_use]
    pub fn precedence(self) -> u8 {
        match self {
            Self::Set(SetOp::Or) => 1,
            Self::Set(SetOp::And | SetOp::Unless) => 2,
            Self::Trim(_) => 3,
            Self::Value(op) => match op {
                BinaryOp::Add | BinaryOp::Sub => 4,
                BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => 5,
                BinaryOp::Pow => 6,
                _ => 3,
            },
        }
    }
}

impl From<BinaryOp> for Operator {
    fn from(op: BinaryOp) -> Self {
        Self::Value(op)
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Expr {
    /// A node over checked children.
    #[must_use]
    pub fn new(kind: ExprKind, span: Span) -> Self {
        let value_type = match &kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::Vector(_) | ExprKind::Aggregate(_) => ValueType::Vector,
            ExprKind::Matrix(_) | ExprKind::Subquery(_) => ValueType::Matrix,
            ExprKind::Call(call) => call.function.returns,
            ExprKind::Binary(binary) => binary_type(&binary.lhs, &binary.rhs),
            ExprKind::Unary(_, expr) | ExprKind::Paren(expr) => expr.value_type,
        };
        let mut below = 0;
        kind.for_each_child(&mut |child| below = below.max(child.depth));
        Self { kind, span, value_type, depth: below.saturating_add(1) }
    }

    #[must_use]
    pub fn value_type(&self) -> ValueType {
        self.value_type
    }

    /// Nodes on the longest path from here to a leaf, this one included.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// The expression inside all parentheses around it.
    #[must_use]
    pub fn without_parens(&self) -> &Self {
        let mut expr = self;
        while let ExprKind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        expr
    }

    /// Calls `visit` for this node and everything below it, parents first, in the order of the text
    /// (parameter before vector in aggregations).
    pub fn walk(&self, visit: &mut impl FnMut(&Self)) {
        let mut pending = vec![self];
        while let Some(expr) = pending.pop() {
            visit(expr);
            let from = pending.len();
            expr.kind.for_each_child(&mut |child| pending.push(child));
            pending[from..].reverse();
        }
    }

    /// As [`Self::walk`], and the nodes may be changed, though not their types.
    pub fn walk_mut(&mut self, visit: &mut impl FnMut(&mut Self)) {
        let mut pending = vec![self];
        while let Some(expr) = pending.pop() {
            visit(expr);
            let from = pending.len();
            expr.kind.for_each_child_mut(&mut |child| pending.push(child));
            pending[from..].reverse();
        }
    }

    /// The matchers of every selector, in the order of the text.
    #[must_use]
    pub fn selectors(&self) -> Vec<&[Matcher]> {
        let mut pending = vec![self];
        let mut found = Vec::new();
        while let Some(expr) = pending.pop() {
            match &expr.kind {
                ExprKind::Vector(selector) => found.push(selector.matchers.as_slice()),
                ExprKind::Matrix(matrix) => found.push(matrix.selector.matchers.as_slice()),
                _ => {}
            }
            let from = pending.len();
            expr.kind.for_each_child(&mut |child| pending.push(child));
            pending[from..].reverse();
        }
        found
    }
}

fn binary_type(lhs: &Expr, rhs: &Expr) -> ValueType {
    if lhs.value_type == ValueType::Scalar && rhs.value_type == ValueType::Scalar {
        ValueType::Scalar
    } else {
        ValueType::Vector
    }
}

impl ExprKind {
    /// Calls `visit` for every direct child in the order of the text.
    pub fn for_each_child<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        match self {
            Self::Number(_) | Self::String(_) | Self::Vector(_) | Self::Matrix(_) => {}
            Self::Subquery(subquery) => visit(&subquery.expr),
            Self::Call(call) => call.args.iter().for_each(visit),
            Self::Aggregate(aggregate) => {
                aggregate.param.iter().for_each(&mut *visit);
                visit(&aggregate.expr);
            }
            Self::Binary(binary) => {
                visit(&binary.lhs);
                visit(&binary.rhs);
            }
            Self::Unary(_, expr) | Self::Paren(expr) => visit(expr),
        }
    }

    /// As [`Self::for_each_child`], to change children.
    pub fn for_each_child_mut<'a>(&'a mut self, visit: &mut dyn FnMut(&'a mut Expr)) {
        match self {
            Self::Number(_) | Self::String(_) | Self::Vector(_) | Self::Matrix(_) => {}
            Self::Subquery(subquery) => visit(&mut subquery.expr),
            Self::Call(call) => call.args.iter_mut().for_each(visit),
            Self::Aggregate(aggregate) => {
                aggregate.param.iter_mut().for_each(&mut *visit);
                visit(&mut aggregate.expr);
            }
            Self::Binary(binary) => {
                visit(&mut binary.lhs);
                visit(&mut binary.rhs);
            }
            Self::Unary(_, expr) | Self::Paren(expr) => visit(expr),
        }
    }
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl PartialEq for VectorSelector {
    fn eq(&self, other: &Self) -> bool {
        let sorted = |selector: &Self| {
            let mut matchers: Vec<String> = selector.matchers.iter().map(ToString::to_string).collect();
            matchers.sort_unstable();
            matchers
        };
        self.name == other.name
            && self.offset == other.offset
            && self.at == other.at
            && self.extension == other.extension
            && self.may_match_everything == other.may_match_everything
            && (self.matchers == other.matchers || sorted(self) == sorted(other))
    }
}

impl PartialEq for MatrixSelector {
    fn eq(&self, other: &Self) -> bool {
        self.selector == other.selector && self.range == other.range
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        // A duration of -0 is printed as 0s.
        let same_value = match self.is_duration {
            true => self.value == other.value,
            false => self.value.to_bits() == other.value.to_bits(),
        };
        self.is_duration == other.is_duration && same_value
    }
}

impl PartialEq for FillValue {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{}..{}", self.kind, self.span.start, self.span.end)
    }
}

/// Line and column (both from 1) of a byte offset; columns count bytes, as in Prometheus.
#[must_use]
pub fn line_col(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    (line, before.len() - start + 1)
}
