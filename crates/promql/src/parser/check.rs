//! The type checks of a parsed expression.
//!
//! They also settle what only types can tell: a binary operation keeps its matching only between
//! vectors, set operators match many to many, and the second argument of `info` may match
//! everything.
//!
//! Source: `checkAST`, prometheus v3.16 `promql/parser/parse.go`; the order of the checks is the
//! order of its errors.

use promontory_model::labels::{METRIC_NAME, quote};

use super::{ParseError, Parsed};
use crate::ast::{Aggregate, Binary, Call, Cardinality, Expr, ExprKind, Span, Subquery, VectorSelector};
use crate::functions::Kernel;
use crate::types::ValueType;

/// Checks `expr`, which was parsed from `text`.
pub(super) fn check(text: &str, expr: &mut Expr) -> Parsed<()> {
    let span = expr.span;
    let checker = Checker { text };
    match &mut expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => Ok(()),
        ExprKind::Vector(selector) => checker.selector(selector, span),
        ExprKind::Matrix(matrix) => checker.selector(&matrix.selector, matrix.selector_span),
        ExprKind::Subquery(subquery) => checker.subquery(subquery, span),
        ExprKind::Call(call) => checker.call(call, span),
        ExprKind::Aggregate(aggregate) => checker.aggregate(aggregate),
        ExprKind::Binary(binary) => checker.binary(binary, span),
        ExprKind::Unary(_, operand) => checker.unary(operand, span),
        ExprKind::Paren(inner) => check(text, inner),
    }
}

struct Checker<'a> {
    text: &'a str,
}

impl Checker<'_> {
    fn error<T>(&self, span: Span, message: impl Into<String>) -> Parsed<T> {
        Err(ParseError::new(self.text, span, message))
    }

    fn selector(&self, selector: &VectorSelector, span: Span) -> Parsed<()> {
        if let Some(name) = &selector.name {
            let named = selector.matchers.len().saturating_sub(1);
            let twice = selector.matchers[..named].iter().find(|matcher| matcher.name() == METRIC_NAME);
            return match twice {
                Some(matcher) => self.error(
                    span,
                    format!(
                        "metric name must not be set twice: {} or {}",
                        quote(name),
                        quote(matcher.value())
                    ),
                ),
                None => Ok(()),
            };
        }
        if selector.may_match_everything || selector.matchers.iter().any(|matcher| !matcher.matches_empty()) {
            return Ok(());
        }
        self.error(span, "vector selector must contain at least one non-empty matcher")
    }

    fn subquery(&self, subquery: &mut Subquery, span: Span) -> Parsed<()> {
        check(self.text, &mut subquery.expr)?;
        match subquery.expr.value_type() {
            ValueType::Vector => Ok(()),
            other => {
                self.error(span, format!("subquery is only allowed on instant vector, got {other} instead"))
            }
        }
    }

    fn unary(&self, operand: &mut Expr, span: Span) -> Parsed<()> {
        check(self.text, operand)?;
        match operand.value_type() {
            ValueType::Scalar | ValueType::Vector => Ok(()),
            other => self.error(
                span,
                format!(
                    "unary expression only allowed on expressions of type scalar or instant vector, got \"{}\"",
                    other.documented()
                ),
            ),
        }
    }

    fn aggregate(&self, aggregate: &mut Aggregate) -> Parsed<()> {
        self.expect(&mut aggregate.expr, ValueType::Vector, "aggregation expression")?;
        match (aggregate.op.param, &mut aggregate.param) {
            (Some(wanted), Some(param)) => self.expect(param, wanted, "aggregation parameter"),
            _ => Ok(()),
        }
    }

    fn expect(&self, expr: &mut Expr, wanted: ValueType, place: &str) -> Parsed<()> {
        check(self.text, expr)?;
        let got = expr.value_type();
        if got == wanted {
            return Ok(());
        }
        self.error(
            expr.span,
            format!("expected type {} in {place}, got {}", wanted.documented(), got.documented()),
        )
    }

    fn call(&self, call: &mut Call, span: Span) -> Parsed<()> {
        let function = call.function;
        let (given, name) = (call.args.len(), function.name);
        let wanted = match (function.args_min(), function.args_max()) {
            (min, Some(max)) if min == max && given != min => Some((min, "expected")),
            (min, _) if given < min => Some((min, "expected at least")),
            (_, Some(max)) if given > max => Some((max, "expected at most")),
            _ => None,
        };
        if let Some((count, expected)) = wanted {
            let message = format!("{expected} {count} argument(s) in call to \"{name}\", got {given}");
            return self.error(span, message);
        }
        if function.kernel == Kernel::Info {
            self.info_selector(call, span)?;
        }
        let place = format!("call to function \"{name}\"");
        for (index, arg) in call.args.iter_mut().enumerate() {
            if let Some(wanted) = function.arg_type(index) {
                self.expect(arg, wanted, &place)?;
            }
        }
        Ok(())
    }

    fn info_selector(&self, call: &mut Call, span: Span) -> Parsed<()> {
        let Some(arg) = call.args.get_mut(1) else {
            return Ok(());
        };
        if arg.value_type() != ValueType::Vector {
            let got = arg.value_type().documented();
            return self.error(
                span,
                format!("expected type instant vector in call to function \"info\", got {got}"),
            );
        }
        match &mut arg.kind {
            ExprKind::Vector(selector) if selector.name.is_some() => {
                self.error(arg.span, "expected label selectors only, got vector selector instead")
            }
            ExprKind::Vector(selector) => {
                selector.may_match_everything = true;
                Ok(())
            }
            _ => self.error(arg.span, "expected label selectors only"),
        }
    }

    fn binary(&self, binary: &mut Binary, span: Span) -> Parsed<()> {
        check(self.text, &mut binary.lhs)?;
        check(self.text, &mut binary.rhs)?;
        let (op, lhs, rhs) = (binary.op, binary.lhs.value_type(), binary.rhs.value_type());
        let scalars = lhs == ValueType::Scalar && rhs == ValueType::Scalar;
        if binary.return_bool && !op.is_comparison() {
            return self.operator_error(binary, "bool modifier can only be used on comparison operators");
        }
        if op.is_comparison() && !binary.return_bool && scalars {
            return self.operator_error(binary, "comparisons between scalars must use BOOL modifier");
        }
        self.group_labels(binary)?;
        for (side, value_type) in [(&binary.lhs, lhs), (&binary.rhs, rhs)] {
            if !matches!(value_type, ValueType::Scalar | ValueType::Vector) {
                let message = "binary expression must contain only scalar and instant vector types";
                return self.error(side.span, message);
            }
        }
        if lhs == ValueType::Vector && rhs == ValueType::Vector {
            return self.set_operator(binary, span);
        }
        self.no_matching(binary, span)
    }

    fn group_labels(&self, binary: &Binary) -> Parsed<()> {
        let Some(matching) = binary.matching.as_ref().filter(|matching| matching.on) else {
            return Ok(());
        };
        match matching.labels.iter().find(|label| matching.include.contains(label)) {
            Some(label) => self.operator_error(
                binary,
                format!("label {} must not occur in ON and GROUP clause at once", quote(label)),
            ),
            None => Ok(()),
        }
    }

    /// Not two vectors: nothing to match.
    fn no_matching(&self, binary: &mut Binary, span: Span) -> Parsed<()> {
        if let Some(matching) = binary.matching.take() {
            if !matching.labels.is_empty() {
                return self.error(span, "vector matching only allowed between instant vectors");
            }
            if matching.fill_left.is_some() || matching.fill_right.is_some() {
                return self.error(span, "filling in missing series only allowed between instant vectors");
            }
        }
        if binary.op.is_set() {
            let message = format!("set operator \"{}\" not allowed in binary scalar expression", binary.op);
            return self.error(span, message);
        }
        Ok(())
    }

    fn set_operator(&self, binary: &mut Binary, span: Span) -> Parsed<()> {
        let op = binary.op;
        let Some(matching) = binary.matching.as_mut().filter(|_| op.is_set()) else {
            return Ok(());
        };
        if matches!(matching.cardinality, Cardinality::ManyToOne | Cardinality::OneToMany) {
            return self.error(span, format!("no grouping allowed for \"{op}\" operation"));
        }
        if matching.fill_left.is_some() || matching.fill_right.is_some() {
            return self.error(span, "filling in missing series not allowed for set operators");
        }
        matching.cardinality = Cardinality::ManyToMany;
        Ok(())
    }

    /// An error at the operator: between the two sides without the spaces.
    fn operator_error<T>(&self, binary: &Binary, message: impl Into<String>) -> Parsed<T> {
        let between = &self.text[binary.lhs.span.end..binary.rhs.span.start];
        let spaces: &[char] = &[' ', '\t', '\n', '\r'];
        let start = binary.lhs.span.end + (between.len() - between.trim_start_matches(spaces).len());
        let end = binary.lhs.span.end + between.trim_end_matches(spaces).len();
        self.error(Span::new(start, end.max(start)), message)
    }
}
