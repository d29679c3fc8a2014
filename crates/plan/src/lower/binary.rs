//! Binary operations of which at least one side is a vector.

use promontory_promql::ast::{Binary, BinaryOp as AstOp, Cardinality, Expr, ValueType, VectorMatching};
use promontory_promql::grid::Grid;
use promontory_promql::kernels::binary::Comparison;

use super::{Lowered, Lowering, bug, distinct, unsupported};
use crate::matching::{MatchOperation, MatchSpec};
use crate::node::{MapFunction, Node, NodeKind, kernel_op};
use crate::projection::LabelProjection;

impl Lowering<'_> {
    pub(super) fn binary(&mut self, binary: &Binary, grid: Grid) -> Lowered<Node> {
        let scalar = |expr: &Expr| expr.value_type() == ValueType::Scalar;
        if matches!(binary.op, AstOp::TrimUpper | AstOp::TrimLower) {
            return unsupported(format!("operator {}", binary.op));
        }
        if !scalar(&binary.lhs) && !scalar(&binary.rhs) {
            return self.match_vectors(binary, grid);
        }
        let op = kernel_op(binary.op).map_or_else(|| bug(format!("operator {}", binary.op)), Ok)?;
        let comparison = comparison_of(binary);
        let (input, function, param) = if scalar(&binary.rhs) {
            let input = self.vector(&binary.lhs, grid)?;
            (input, MapFunction::VectorScalar(op, comparison), self.scalar(&binary.rhs, grid)?)
        } else {
            let param = self.scalar(&binary.lhs, grid)?;
            (self.vector(&binary.rhs, grid)?, MapFunction::ScalarVector(op, comparison), param)
        };
        if changes_schema(binary.op) || binary.return_bool {
            return Ok(distinct(self.map(input, function, vec![param])));
        }
        let labels = LabelProjection::All;
        let kind = NodeKind::Map { input: Box::new(input), function, params: vec![param], labels };
        Ok(Node::new(kind, grid))
    }

    fn match_vectors(&mut self, binary: &Binary, grid: Grid) -> Lowered<Node> {
        let default = VectorMatching {
            cardinality: if binary.op.is_set() { Cardinality::ManyToMany } else { Cardinality::OneToOne },
            on: false,
            labels: Vec::new(),
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        };
        let matching = binary.matching.as_ref().unwrap_or(&default);
        let operation = match binary.op {
            AstOp::And => MatchOperation::And,
            AstOp::Or => MatchOperation::Or,
            AstOp::Unless => MatchOperation::Unless,
            op => {
                let op = kernel_op(op).map_or_else(|| bug(format!("operator {op}")), Ok)?;
                MatchOperation::Values(op, comparison_of(binary))
            }
        };
        let delayed = self.settings.delayed_name_removal;
        let spec = MatchSpec {
            operation,
            cardinality: matching.cardinality,
            on: matching.on,
            labels: matching.labels.clone(),
            include: matching.include.clone(),
            fill_left: matching.fill_left.map(|fill| fill.0),
            fill_right: matching.fill_right.map(|fill| fill.0),
            drop_name: changes_schema(binary.op) || (binary.return_bool && !delayed),
            mark_name: binary.return_bool && delayed,
        };
        let left = Box::new(self.vector(&binary.lhs, grid)?);
        let right = Box::new(self.vector(&binary.rhs, grid)?);
        Ok(Node::new(NodeKind::Match { left, right, spec }, grid))
    }
}

fn comparison_of(binary: &Binary) -> Comparison {
    if binary.return_bool { Comparison::Bool } else { Comparison::Filter }
}

/// Source: `changesMetricSchema`, prometheus v3.16 `promql/engine.go`.
fn changes_schema(op: AstOp) -> bool {
    use AstOp::{Add, Atan2, Div, Mod, Mul, Pow, Sub};
    matches!(op, Add | Sub | Div | Mul | Pow | Mod | Atan2)
}
