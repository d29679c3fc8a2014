//! Writes expressions as Prometheus writes them: on one line ([`std::fmt::Display`]), or over
//! several lines where one would be too long ([`Expr::pretty`]).
//!
//! A printed expression parses to an equal tree.
//!
//! Source: prometheus v3.16 `promql/parser/printer.go` and `prettier.go`.

use std::fmt::{self, Write};

use promontory_model::labels::{METRIC_NAME, is_legacy_label_name, quote};
use promontory_model::{MatchOp, Matcher, float};

use crate::ast::{
    Aggregate, At, Binary, Cardinality, DurationExpr, DurationOp, DurationSpec, DurationTerm, Expr, ExprKind,
    FillValue, Grouping, MatrixSelector, Number, Operator, RangeExtension, Subquery, UnaryOp, VectorMatching,
    VectorSelector,
};
use crate::duration::format_duration;
use crate::go::format_general;
use crate::kernels::BinaryOp;

/// A node that is longer on one line is split.
const LINE_BYTES_MAX: usize = 100;

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number(number) => number.fmt(f),
            ExprKind::String(text) => f.write_str(&reparsable(quote(text))),
            ExprKind::Vector(selector) => selector.fmt(f),
            ExprKind::Matrix(matrix) => matrix.fmt(f),
            ExprKind::Subquery(subquery) => write!(f, "{}{}", subquery.expr, SubqueryTimes(subquery)),
            ExprKind::Call(call) => {
                write!(f, "{}(", call.function.name)?;
                write_joined(f, &call.args, ", ")?;
                f.write_char(')')
            }
            ExprKind::Aggregate(aggregate) => {
                write!(f, "{}(", AggregateHead(aggregate))?;
                if let Some(param) = &aggregate.param {
                    write!(f, "{param}, ")?;
                }
                write!(f, "{})", aggregate.expr)
            }
            ExprKind::Binary(binary) => {
                write_base(f, binary)?;
                write!(f, " {} {}", BinaryHead(binary), binary.rhs)
            }
            ExprKind::Unary(op, expr) => write!(f, "{op}{expr}"),
            ExprKind::Paren(expr) => write!(f, "({expr})"),
        }
    }
}

impl Expr {
    /// The expression over several lines, indented by two spaces, as `format_query` answers it.
    #[must_use]
    pub fn pretty(&self) -> String {
        self.pretty_within(LINE_BYTES_MAX)
    }

    fn pretty_within(&self, line_bytes_max: usize) -> String {
        let mut out = String::new();
        self.write_pretty(line_bytes_max, 0, &mut out);
        out
    }

    /// Level 0 means that the line is already begun.
    fn write_pretty(&self, line_max: usize, level: usize, out: &mut String) {
        let line = self.to_string();
        let splits = line.len() > line_max;
        match &self.kind {
            // Without its indent: as upstream, which returns such a subquery before it indents.
            ExprKind::Subquery(_) if !splits => out.push_str(&line),
            ExprKind::Subquery(subquery) => {
                subquery.expr.write_pretty(line_max, level, out);
                out.push_str(&SubqueryTimes(subquery).to_string());
            }
            ExprKind::Unary(op, expr) => {
                let mut operand = String::new();
                expr.write_pretty(line_max, level, &mut operand);
                push_indent(level, out);
                out.push_str(op.as_str());
                out.push_str(operand.trim());
            }
            ExprKind::Aggregate(aggregate) if splits => {
                let params = aggregate.param.iter().chain([&aggregate.expr]);
                pretty_call(&AggregateHead(aggregate).to_string(), params, line_max, level, out);
            }
            ExprKind::Call(call) if splits => {
                pretty_call(call.function.name, call.args.iter(), line_max, level, out)
            }
            ExprKind::Paren(expr) if splits => pretty_call("", [&**expr], line_max, level, out),
            ExprKind::Binary(binary) if splits => {
                binary.lhs.write_pretty(line_max, level + 1, out);
                out.push('\n');
                push_indent(level, out);
                out.push_str(&BinaryHead(binary).to_string());
                out.push('\n');
                binary.rhs.write_pretty(line_max, level + 1, out);
            }
            _ => {
                push_indent(level, out);
                out.push_str(&line);
            }
        }
    }
}

fn pretty_call<'a>(
    head: &str,
    args: impl IntoIterator<Item = &'a Expr>,
    line_max: usize,
    level: usize,
    out: &mut String,
) {
    push_indent(level, out);
    out.push_str(head);
    out.push_str("(\n");
    for (index, arg) in args.into_iter().enumerate() {
        if index > 0 {
            out.push_str(",\n");
        }
        arg.write_pretty(line_max, level + 1, out);
    }
    out.push('\n');
    push_indent(level, out);
    out.push(')');
}

fn push_indent(level: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", level));
}

/// The left side. Upstream's `+Inf ^ x` would come back as `+(Inf ^ x)`.
fn write_base(f: &mut fmt::Formatter<'_>, binary: &Binary) -> fmt::Result {
    match binary.lhs.kind {
        ExprKind::Number(number)
            if binary.op == Operator::Value(BinaryOp::Pow) && number.value == f64::INFINITY =>
        {
            f.write_str("Inf")
        }
        _ => write!(f, "{}", binary.lhs),
    }
}

/// An aggregation up to its parenthesis.
struct AggregateHead<'a>(&'a Aggregate);

impl fmt::Display for AggregateHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.op)?;
        let word = match &self.0.grouping {
            Grouping::By(labels) if labels.is_empty() => return Ok(()),
            Grouping::By(_) => "by",
            Grouping::Without(_) => "without",
        };
        write!(f, " {word} (")?;
        write_labels(f, self.0.grouping.labels())?;
        f.write_str(") ")
    }
}

/// An operator with its modifiers.
struct BinaryHead<'a>(&'a Binary);

impl fmt::Display for BinaryHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.op.as_str())?;
        if self.0.return_bool {
            f.write_str(" bool")?;
        }
        self.0.matching.as_ref().map_or(Ok(()), |matching| matching.fmt(f))
    }
}

/// The modifiers, each with a space before it.
impl fmt::Display for VectorMatching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = match self.cardinality {
            Cardinality::ManyToOne => Some("group_left"),
            Cardinality::OneToMany => Some("group_right"),
            Cardinality::OneToOne | Cardinality::ManyToMany => None,
        };
        if self.on || !self.labels.is_empty() || group.is_some() {
            f.write_str(if self.on { " on (" } else { " ignoring (" })?;
            write_labels(f, &self.labels)?;
            f.write_char(')')?;
        }
        if let Some(group) = group {
            write!(f, " {group} (")?;
            write_labels(f, &self.include)?;
            f.write_char(')')?;
        }
        match (self.fill_left, self.fill_right) {
            (Some(left), Some(right)) if left.0 == right.0 => write!(f, " fill ({left})"),
            (left, right) => {
                left.map_or(Ok(()), |value| write!(f, " fill_left ({value})"))?;
                right.map_or(Ok(()), |value| write!(f, " fill_right ({value})"))
            }
        }
    }
}

impl fmt::Display for FillValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_general(self.0))
    }
}

impl UnaryOp {
    /// `+` or `-`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plus => "+",
            Self::Minus => "-",
        }
    }
}

impl fmt::Display for UnaryOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_duration {
            return f.write_str(&format_duration((self.value * 1e9) as i64 / 1_000_000));
        }
        f.write_str(&float::decimal(self.value))
    }
}

impl fmt::Display for VectorSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_series(f)?;
        write_at(f, self.at)?;
        write_extension(f, self.extension)?;
        write_offset(f, &self.offset)
    }
}

impl VectorSelector {
    /// Name and matchers; the matchers sorted by their text.
    fn write_series(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_deref().unwrap_or_default())?;
        let mut matchers: Vec<String> = self
            .matchers
            .iter()
            .filter(|matcher| !self.says_name(matcher))
            .map(ToString::to_string)
            .collect();
        if matchers.is_empty() {
            // Upstream writes nothing for `{}`, which is no expression.
            return if self.name.is_none() { f.write_str("{}") } else { Ok(()) };
        }
        matchers.sort_unstable();
        write!(f, "{{{}}}", matchers.join(","))
    }

    fn says_name(&self, matcher: &Matcher) -> bool {
        matcher.name() == METRIC_NAME
            && matcher.op() == MatchOp::Equal
            && self.name.as_deref() == Some(matcher.value())
    }
}

impl fmt::Display for MatrixSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.selector.write_series(f)?;
        write!(f, "[{}]", self.range)?;
        write_extension(f, self.selector.extension)?;
        write_at(f, self.selector.at)?;
        write_offset(f, &self.selector.offset)
    }
}

/// Range, step and modifiers of a subquery.
struct SubqueryTimes<'a>(&'a Subquery);

impl fmt::Display for SubqueryTimes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}:", self.0.range)?;
        if let Some(step) = &self.0.step {
            step.fmt(f)?;
        }
        f.write_char(']')?;
        write_at(f, self.0.at)?;
        write_offset(f, &self.0.offset)
    }
}

impl fmt::Display for DurationSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(ms) => f.write_str(&format_duration(*ms)),
            Self::Computed(expr) => expr.fmt(f),
        }
    }
}

impl fmt::Display for DurationExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.term {
            DurationTerm::Number(number) => number.fmt(f),
            DurationTerm::Step => f.write_str("step()"),
            DurationTerm::Range => f.write_str("range()"),
            DurationTerm::Minus(expr) => write!(f, "-{expr}"),
            DurationTerm::Paren(expr) => write!(f, "({expr})"),
            DurationTerm::Binary(op, lhs, rhs) => {
                let (base, op_text) = (lhs.to_string(), op.on_floats().as_str());
                // Upstream writes `(-1m) ^ 2` as `-1m ^ 2`, which means another number.
                if *op == DurationOp::Pow && base.starts_with('-') {
                    write!(f, "({base}) {op_text} {rhs}")
                } else {
                    write!(f, "{base} {op_text} {rhs}")
                }
            }
            DurationTerm::MinOf(lhs, rhs) => write!(f, "min_of({lhs}, {rhs})"),
            DurationTerm::MaxOf(lhs, rhs) => write!(f, "max_of({lhs}, {rhs})"),
        }
    }
}

fn write_at(f: &mut fmt::Formatter<'_>, at: Option<At>) -> fmt::Result {
    match at {
        None => Ok(()),
        Some(At::Start) => f.write_str(" @ start()"),
        Some(At::End) => f.write_str(" @ end()"),
        Some(At::Timestamp(ms)) => write!(f, " @ {:.3}", ms as f64 / 1000.0),
    }
}

fn write_extension(f: &mut fmt::Formatter<'_>, extension: RangeExtension) -> fmt::Result {
    match extension {
        RangeExtension::None => Ok(()),
        RangeExtension::Anchored => f.write_str(" anchored"),
        RangeExtension::Smoothed => f.write_str(" smoothed"),
    }
}

fn write_offset(f: &mut fmt::Formatter<'_>, offset: &DurationSpec) -> fmt::Result {
    if *offset == DurationSpec::ZERO { Ok(()) } else { write!(f, " offset {offset}") }
}

fn write_joined<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T], separator: &str) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

fn write_labels(f: &mut fmt::Formatter<'_>, labels: &[String]) -> fmt::Result {
    for (index, label) in labels.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        f.write_str(&if is_legacy_label_name(label) { label.clone() } else { reparsable(quote(label)) })?;
    }
    Ok(())
}

/// Upstream prints U+FFFD as it is, although its lexer refuses it.
fn reparsable(quoted: String) -> String {
    if quoted.contains(char::REPLACEMENT_CHARACTER) {
        quoted.replace(char::REPLACEMENT_CHARACTER, "\\ufffd")
    } else {
        quoted
    }
}

#[cfg(test)]
mod tests;
