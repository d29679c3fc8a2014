//! Binary operations of which at least one side is a vector.

use promontory_promql::ast::{Binary, Cardinality, Expr, Operator, VectorMatching};
use promontory_promql::kernels::{BinaryOp, Comparison};
use promontory_promql::{Grid, ValueType};

use super::{Lowered, Lowering, distinct, unsupported};
use crate::matching::{MatchOperation, MatchSpec};
use crate::node::{MapFunction, Node, NodeKind};
use crate::projection::LabelProjection;

impl Lowering<'_> {
    pub(super) fn binary(&mut self, binary: &Binary, grid: Grid) -> Lowered<Node> {
        let scalar = |expr: &Expr| expr.value_type() == ValueType::Scalar;
        match binary.op {
            Operator::Trim(_) => unsupported(format!("operator {}", binary.op)),
            Operator::Set(op) => self.match_vectors(binary, MatchOperation::Set(op), grid),
            Operator::Value(op) if scalar(&binary.lhs) || scalar(&binary.rhs) => {
                self.with_scalar(binary, op, grid)
            }
            Operator::Value(op) => {
                self.match_vectors(binary, MatchOperation::Values(op, comparison_of(binary)), grid)
            }
        }
    }

    fn with_scalar(&mut self, binary: &Binary, op: BinaryOp, grid: Grid) -> Lowered<Node> {
        let comparison = comparison_of(binary);
        let (input, function, param) = if binary.rhs.value_type() == ValueType::Scalar {
            let input = self.vector(&binary.lhs, grid)?;
            (input, MapFunction::VectorScalar(op, comparison), self.scalar(&binary.rhs, grid)?)
        } else {
            let param = self.scalar(&binary.lhs, grid)?;
            (self.vector(&binary.rhs, grid)?, MapFunction::ScalarVector(op, comparison), param)
        };
        if !op.is_comparison() || binary.return_bool {
            return Ok(distinct(self.map(input, function, vec![param])));
        }
        let labels = LabelProjection::All;
        let kind = NodeKind::Map { input: Box::new(input), function, params: vec![param], labels };
        Ok(Node::new(kind, grid))
    }

    fn match_vectors(&mut self, binary: &Binary, operation: MatchOperation, grid: Grid) -> Lowered<Node> {
        let default = VectorMatching {
            cardinality: if binary.op.is_set() { Cardinality::ManyToMany } else { Cardinality::OneToOne },
            on: false,
            labels: Vec::new(),
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        };
        let matching = binary.matching.as_ref().unwrap_or(&default);
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

/// Whether a result is no longer what the metric name says: computed, and not compared or chosen.
///
/// Source: `changesMetricSchema`, prometheus v3.16 `promql/engine.go`.
fn changes_schema(op: Operator) -> bool {
    matches!(op, Operator::Value(op) if !op.is_comparison())
}
