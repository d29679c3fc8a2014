//! Scalar expressions: computed here wherever no vector is inside.

use std::sync::Arc;

use promontory_promql::ast::{Call, Expr, ExprKind, Operator, UnaryOp};
use promontory_promql::kernels::Comparison;
use promontory_promql::{Grid, Kernel, QueryTime};

use super::invariant::is_step_invariant;
use super::{Lowered, Lowering, broadcast, bug};
use crate::node::{MapFunction, Node, NodeKind, ScalarArg};
use crate::projection::LabelProjection;

impl Lowering<'_> {
    pub(super) fn scalar(&mut self, expr: &Expr, grid: Grid) -> Lowered<ScalarArg> {
        let expr = expr.without_parens();
        match &expr.kind {
            ExprKind::Number(number) => Ok(ScalarArg::Constant(number.value)),
            ExprKind::Unary(UnaryOp::Plus, inner) => self.scalar(inner, grid),
            ExprKind::Unary(UnaryOp::Minus, inner) => {
                let inner = self.scalar(inner, grid)?;
                Ok(self.scalar_map(inner, grid, MapFunction::Negate, |value| -value))
            }
            ExprKind::Binary(binary) => {
                let Operator::Value(op) = binary.op else {
                    return bug(format!("operator {} of scalars", binary.op));
                };
                let left = self.scalar(&binary.lhs, grid)?;
                let right = self.scalar(&binary.rhs, grid)?;
                let function = MapFunction::VectorScalar(op, Comparison::Bool);
                Ok(self.scalar_pair(left, right, grid, function, |a, b| op.apply(a, b)))
            }
            ExprKind::Call(call) => self.scalar_call(expr, call, grid),
            other => bug(format!("{other:?} is no scalar")),
        }
    }

    fn scalar_call(&mut self, expr: &Expr, call: &Call, grid: Grid) -> Lowered<ScalarArg> {
        match call.function.kernel {
            Kernel::Pi => Ok(ScalarArg::Constant(std::f64::consts::PI)),
            Kernel::Time => Ok(times(grid, |ms| ms as f64 / 1000.0)),
            Kernel::OfQuery(time) => Ok(ScalarArg::Constant(self.time_of_query(time) as f64 / 1000.0)),
            Kernel::Extreme(extreme) => {
                let left = self.scalar(&call.args[0], grid)?;
                let right = self.scalar(&call.args[1], grid)?;
                let function = MapFunction::Extreme(extreme);
                Ok(self.scalar_pair(left, right, grid, function, |a, b| extreme.apply(a, b)))
            }
            Kernel::Scalar => self.only_sample(expr, &call.args[0], grid),
            _ => bug(format!("{}() is no scalar", call.function.name)),
        }
    }

    fn time_of_query(&self, time: QueryTime) -> i64 {
        match time {
            QueryTime::Start => self.settings.start,
            QueryTime::End => self.settings.end,
            QueryTime::Range => self.settings.end - self.settings.start,
            QueryTime::Step => self.settings.step,
        }
    }

    /// `scalar(arg)`, which is `expr`.
    fn only_sample(&mut self, expr: &Expr, arg: &Expr, grid: Grid) -> Lowered<ScalarArg> {
        let node = if grid.steps > 1 && is_step_invariant(expr) {
            let one = Grid { steps: 1, ..grid };
            let input = Box::new(self.vector(arg, one)?);
            broadcast(Node::new(NodeKind::Scalar { input }, one), grid)
        } else {
            let input = Box::new(self.vector(arg, grid)?);
            Node::new(NodeKind::Scalar { input }, grid)
        };
        Ok(ScalarArg::Node(Box::new(node)))
    }

    fn scalar_map(
        &self,
        input: ScalarArg,
        grid: Grid,
        function: MapFunction,
        apply: impl Fn(f64) -> f64,
    ) -> ScalarArg {
        input.map_known(apply).unwrap_or_else(|| scalar_node(input, grid, function, Vec::new()))
    }

    fn scalar_pair(
        &self,
        left: ScalarArg,
        right: ScalarArg,
        grid: Grid,
        function: MapFunction,
        apply: impl Fn(f64, f64) -> f64,
    ) -> ScalarArg {
        match (&left, &right) {
            (ScalarArg::Constant(a), ScalarArg::Constant(b)) => ScalarArg::Constant(apply(*a, *b)),
            (ScalarArg::Node(_), _) | (_, ScalarArg::Node(_)) => {
                scalar_node(left, grid, function, vec![right])
            }
            _ => {
                let at = |arg: &ScalarArg, step| arg.known_at(step).unwrap_or(f64::NAN);
                let values = (0..grid.steps).map(|step| apply(at(&left, step), at(&right, step)));
                ScalarArg::Steps(values.collect())
            }
        }
    }
}

fn scalar_node(input: ScalarArg, grid: Grid, function: MapFunction, params: Vec<ScalarArg>) -> ScalarArg {
    let input = Box::new(input.into_node(grid));
    let labels = LabelProjection::All;
    ScalarArg::Node(Box::new(Node::new(NodeKind::Map { input, function, params, labels }, grid)))
}

/// One value per step from its time; a constant if there is one step.
pub(super) fn times(grid: Grid, value: impl Fn(i64) -> f64) -> ScalarArg {
    if grid.steps == 1 {
        return ScalarArg::Constant(value(grid.start));
    }
    ScalarArg::Steps(grid.times().map(value).collect::<Arc<[f64]>>())
}
