//! Aggregations, and what can be said of their parameters before anything is read.

use promontory_promql::ast::{Aggregate, Expr, Grouping};
use promontory_promql::kernels::{AggregateFunction, Param, SelectFunction, limits_per_step};
use promontory_promql::{AggregateKernel, Annotation, Grid};

use super::{Lowered, Lowering, bug, invalid, kernel_error, string_of};
use crate::node::{Node, NodeKind, ScalarArg};
use crate::projection::LabelProjection;

impl Lowering<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate, grid: Grid) -> Lowered<Node> {
        let by = match &aggregate.grouping {
            Grouping::By(labels) => LabelProjection::by(labels.iter().cloned()),
            Grouping::Without(labels) => LabelProjection::without(labels.iter().cloned()),
        };
        let function = match aggregate.op.kernel {
            AggregateKernel::Grid(function) => {
                let input = Box::new(self.vector(&aggregate.expr, grid)?);
                return Ok(Node::new(NodeKind::Aggregate { input, function, by }, grid));
            }
            AggregateKernel::CountValues => return self.count_values(aggregate, by, grid),
            AggregateKernel::Quantile => return self.quantile(aggregate, by, grid),
            AggregateKernel::Select(function) => function,
        };
        let place = param_of(aggregate)?.span.start;
        let param = self.scalar(param_of(aggregate)?, grid)?;
        let input = Box::new(self.vector(&aggregate.expr, grid)?);
        match function {
            SelectFunction::LimitRatio => self.check_ratio(&param, place)?,
            SelectFunction::Top(_) | SelectFunction::Limit => {
                if let Some(values) = param.known() {
                    limits_per_step(Param::PerStep(values), values.len(), usize::MAX)
                        .map_err(kernel_error)?;
                }
            }
        }
        Ok(Node::new(NodeKind::Select { input, function, param, by }, grid))
    }

    fn quantile(&mut self, aggregate: &Aggregate, by: LabelProjection, grid: Grid) -> Lowered<Node> {
        let place = param_of(aggregate)?.span.start;
        let param = self.scalar(param_of(aggregate)?, grid)?;
        let input = Box::new(self.vector(&aggregate.expr, grid)?);
        // Prometheus judges only the extremes of a parameter that changes.
        self.note_extreme_quantiles(&param, place);
        Ok(Node::new(NodeKind::Quantile { input, param, by }, grid))
    }

    fn note_extreme_quantiles(&self, param: &ScalarArg, place: usize) {
        let Some(values) = param.known() else { return };
        let noted = |value: f64| self.annotations.add(Annotation::invalid_quantile(value), place);
        if values.iter().any(|value| value.is_nan()) {
            noted(f64::NAN);
        }
        let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
        if largest > 1.0 {
            noted(largest);
        }
        if smallest < 0.0 {
            noted(smallest);
        }
    }

    fn check_ratio(&self, param: &ScalarArg, place: usize) -> Lowered<()> {
        let Some(values) = param.known() else { return Ok(()) };
        if values.iter().any(|value| value.is_nan()) {
            return invalid("Ratio value is NaN");
        }
        let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
        if largest > 1.0 {
            self.annotations.add(Annotation::invalid_ratio(largest, 1.0), place);
        }
        if smallest < -1.0 {
            self.annotations.add(Annotation::invalid_ratio(smallest, -1.0), place);
        }
        Ok(())
    }

    fn count_values(&mut self, aggregate: &Aggregate, by: LabelProjection, grid: Grid) -> Lowered<Node> {
        let label = string_of(param_of(aggregate)?)?;
        if label.is_empty() {
            return invalid("invalid label name \"\"");
        }
        let input = Box::new(self.vector(&aggregate.expr, grid)?);
        // The label with the value replaces one of the same name before groups are made.
        let named = aggregate.grouping.labels();
        let by = match by {
            LabelProjection::By(_) => {
                LabelProjection::by(named.iter().filter(|name| **name != label).cloned())
            }
            _ if named.contains(&label) => {
                // `without` the label: every value falls into one group again.
                let function = AggregateFunction::Count;
                return Ok(Node::new(NodeKind::Aggregate { input, function, by }, grid));
            }
            _ => LabelProjection::without(named.iter().cloned().chain([label.clone()])),
        };
        Ok(Node::new(NodeKind::CountValues { input, label, by }, grid))
    }
}

fn param_of(aggregate: &Aggregate) -> Lowered<&Expr> {
    aggregate.param.as_ref().map_or_else(|| bug(format!("{} without a parameter", aggregate.op)), Ok)
}
