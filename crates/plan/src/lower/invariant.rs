//! Which expressions give the same at every evaluation time.

use promontory_promql::ast::{Expr, ExprKind};
use promontory_promql::{Kernel, Property};

/// True if all evaluation times give the same, because `@` fixes every selector.
///
/// Source: `preprocessExprHelper`, prometheus v3.16 `promql/engine.go`; a parameter of an aggregation
/// does not count there either.
pub(super) fn is_step_invariant(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Vector(selector) => selector.at.is_some(),
        ExprKind::Matrix(matrix) => matrix.selector.at.is_some(),
        ExprKind::Subquery(subquery) => subquery.at.is_some(),
        ExprKind::Aggregate(aggregate) => is_step_invariant(&aggregate.expr),
        ExprKind::Binary(binary) => is_step_invariant(&binary.lhs) && is_step_invariant(&binary.rhs),
        ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => is_step_invariant(inner),
        ExprKind::Number(_) | ExprKind::String(_) => true,
        ExprKind::Call(call) => {
            let of_selector = |arg: &Expr| {
                matches!(arg.without_parens().kind, ExprKind::Vector(_)) && is_step_invariant(arg)
            };
            if call.function.kernel == Kernel::Timestamp {
                return call.args.iter().all(of_selector);
            }
            !call.function.has(Property::ReadsTime) && call.args.iter().all(is_step_invariant)
        }
    }
}
