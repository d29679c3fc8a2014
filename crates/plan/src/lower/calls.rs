//! Calls of functions that give a vector.

use promontory_model::Labels;
use promontory_promql::ast::{Call, Expr, ExprKind};
use promontory_promql::kernels::{BucketFunction, DateFunction, LabelJoin, LabelReplace, RangeFunction};
use promontory_promql::{
    Annotation, ClampBounds, Grid, Kernel, Property, SortDirection, ValueType, format_general,
};

use super::scalars::times;
use super::selectors::{fixed, labels_of_absence, no_extension};
use super::{Lowered, Lowering, bug, distinct, kernel_error, string_of, unsupported};
use crate::node::{MapFunction, Node, NodeKind, RangeInput, Relabel, ScalarArg, SortKey, Take};
use crate::projection::LabelProjection;

impl Lowering<'_> {
    pub(super) fn call(&mut self, expr: &Expr, call: &Call, grid: Grid) -> Lowered<Node> {
        let args = &call.args;
        match call.function.kernel {
            Kernel::Range(function) => self.range_call(function, call, grid),
            Kernel::Unary(function) => {
                let input = self.vector(&args[0], grid)?;
                Ok(distinct(self.map(input, MapFunction::Unary(function), Vec::new())))
            }
            Kernel::Date(function) => self.date_call(function, args, grid),
            Kernel::Round => self.round(args, grid),
            Kernel::Clamp(bounds) => self.clamp(bounds, args, grid),
            Kernel::LabelReplace => self.label_replace(args, grid),
            Kernel::LabelJoin => self.label_join(args, grid),
            Kernel::Sort(direction) => self.sort(expr, args, SortKey::Value, direction, grid),
            Kernel::SortByLabel(direction) => {
                let labels = args[1..].iter().map(string_of).collect::<Lowered<_>>()?;
                self.sort(expr, args, SortKey::Labels(labels), direction, grid)
            }
            Kernel::Vector => Ok(self.scalar(&args[0], grid)?.into_node(grid)),
            Kernel::Timestamp => self.timestamp(&args[0], grid),
            Kernel::Absent => self.absent(&args[0], grid),
            Kernel::Buckets(function) => self.buckets(function, call, grid),
            Kernel::BucketQuantiles => self.quantiles(call, grid),
            Kernel::Native(_) => {
                // Floats have no such property, and native histograms are refused at the door until
                // they are stored: Prometheus answers the same over the same samples.
                self.vector(&args[0], grid)?;
                Ok(Node::new(NodeKind::Empty, grid))
            }
            Kernel::Info | Kernel::StartTimestamp => {
                unsupported(format!("function {}()", call.function.name))
            }
            Kernel::Scalar | Kernel::Pi | Kernel::Time | Kernel::OfQuery(_) | Kernel::Extreme(_) => {
                bug(format!("{}() is no vector", call.function.name))
            }
        }
    }

    fn range_call(&mut self, function: RangeFunction, call: &Call, grid: Grid) -> Lowered<Node> {
        let is_matrix = |arg: &&Expr| arg.value_type() == ValueType::Matrix;
        let Some(matrix) = call.args.iter().find(is_matrix) else {
            return bug(format!("{}() without a range vector", call.function.name));
        };
        let params = call.args.iter().filter(|arg| !is_matrix(arg));
        let params = params.map(|arg| self.scalar(arg, grid)).collect::<Lowered<Vec<_>>>()?;
        let arg = matrix.without_parens();
        let (input, window, labels_if_absent) = match &arg.kind {
            ExprKind::Matrix(matrix) => {
                let selector = &matrix.selector;
                no_extension(selector)?;
                let window = self.window(selector, fixed(&matrix.range)?, grid)?;
                let scan = self.scan(selector, window.ends.covered(window.range));
                (RangeInput::Scan(scan), window, labels_of_absence(selector))
            }
            ExprKind::Subquery(subquery) => {
                let (node, window) = self.subquery(subquery, grid)?;
                (RangeInput::Subquery(Box::new(node)), window, Labels::empty())
            }
            other => return bug(format!("{other:?} is no range vector")),
        };
        if function == RangeFunction::QuantileOverTime {
            self.note_quantiles(&params[0], arg.span.start);
        }
        let keeps_name = call.function.has(Property::KeepsName);
        let labels = if keeps_name { LabelProjection::All } else { self.drop_name() };
        let counter_place = call.function.has(Property::OfCounters).then_some(arg.span.start);
        let kind = NodeKind::Range { input, function, window, params, labels, counter_place };
        let node = Node::new(kind, grid);
        if function == RangeFunction::AbsentOverTime {
            let kind = NodeKind::Absent { input: Box::new(node), labels: labels_if_absent };
            return Ok(Node::new(kind, grid));
        }
        Ok(distinct(node))
    }

    fn date_call(&mut self, function: DateFunction, args: &[Expr], grid: Grid) -> Lowered<Node> {
        let Some(arg) = args.first() else {
            // Whole seconds, rounded towards zero, of the evaluation time.
            let values = times(grid, |ms| function.apply((ms / 1000) as f64));
            return Ok(values.into_node(grid));
        };
        let input = self.vector(arg, grid)?;
        Ok(distinct(self.map(input, MapFunction::Date(function), Vec::new())))
    }

    fn round(&mut self, args: &[Expr], grid: Grid) -> Lowered<Node> {
        let input = self.vector(&args[0], grid)?;
        let nearest = match args.get(1) {
            Some(arg) => self.scalar(arg, grid)?,
            None => ScalarArg::Constant(1.0),
        };
        Ok(distinct(self.map(input, MapFunction::Round, vec![nearest])))
    }

    fn clamp(&mut self, bounds: ClampBounds, args: &[Expr], grid: Grid) -> Lowered<Node> {
        let input = self.vector(&args[0], grid)?;
        let first = self.scalar(&args[1], grid)?;
        let params = match bounds {
            ClampBounds::Lower => vec![first, ScalarArg::Constant(f64::INFINITY)],
            ClampBounds::Upper => vec![ScalarArg::Constant(f64::NEG_INFINITY), first],
            ClampBounds::Both => vec![first, self.scalar(&args[2], grid)?],
        };
        Ok(distinct(self.map(input, MapFunction::Clamp, params)))
    }

    fn label_replace(&mut self, args: &[Expr], grid: Grid) -> Lowered<Node> {
        let text = |index: usize| string_of(&args[index]);
        let (to, replacement, from, regex) = (text(1)?, text(2)?, text(3)?, text(4)?);
        LabelReplace::new(&to, &replacement, &from, &regex).map_err(kernel_error)?;
        let input = Box::new(self.vector(&args[0], grid)?);
        let function = Relabel::Replace { to, replacement, from, regex };
        Ok(distinct(Node::new(NodeKind::Relabel { input, function }, grid)))
    }

    fn label_join(&mut self, args: &[Expr], grid: Grid) -> Lowered<Node> {
        let (to, separator) = (string_of(&args[1])?, string_of(&args[2])?);
        let from = args[3..].iter().map(string_of).collect::<Lowered<Vec<_>>>()?;
        LabelJoin::new(&to, &separator, &from).map_err(kernel_error)?;
        let input = Box::new(self.vector(&args[0], grid)?);
        let function = Relabel::Join { to, separator, from };
        Ok(distinct(Node::new(NodeKind::Relabel { input, function }, grid)))
    }

    fn absent(&mut self, arg: &Expr, grid: Grid) -> Lowered<Node> {
        let arg = arg.without_parens();
        let labels = match &arg.kind {
            ExprKind::Vector(selector) => labels_of_absence(selector),
            _ => Labels::empty(),
        };
        let input = Box::new(self.vector(arg, grid)?);
        Ok(Node::new(NodeKind::Absent { input, labels }, grid))
    }

    fn sort(
        &mut self,
        expr: &Expr,
        args: &[Expr],
        key: SortKey,
        direction: SortDirection,
        grid: Grid,
    ) -> Lowered<Node> {
        let input = self.vector(&args[0], grid)?;
        if grid.steps > 1 {
            self.annotations.add(Annotation::sort_in_range_query(), expr.span.start);
            return Ok(input);
        }
        Ok(Node::new(NodeKind::Sort { input: Box::new(input), key, direction }, grid))
    }

    fn timestamp(&mut self, arg: &Expr, grid: Grid) -> Lowered<Node> {
        let arg = arg.without_parens();
        if let ExprKind::Vector(selector) = &arg.kind {
            let labels = self.drop_name();
            return Ok(distinct(self.instant(selector, grid, Take::Timestamp, labels)?));
        }
        let input = self.vector(arg, grid)?;
        Ok(distinct(self.map(input, MapFunction::EvaluationTime, Vec::new())))
    }

    fn buckets(&mut self, function: BucketFunction, call: &Call, grid: Grid) -> Lowered<Node> {
        let (vector, scalars) = call.args.split_last().map_or_else(|| bug("no arguments"), Ok)?;
        let params = scalars.iter().map(|arg| self.scalar(arg, grid)).collect::<Lowered<Vec<_>>>()?;
        if function == BucketFunction::Quantile {
            self.note_quantiles(&params[0], scalars[0].span.start);
        }
        let place = vector.span.start;
        let input = self.vector(vector, grid)?;
        Ok(distinct(self.bucket_node(input, function, params, place)))
    }

    fn bucket_node(
        &self,
        input: Node,
        function: BucketFunction,
        params: Vec<ScalarArg>,
        place: usize,
    ) -> Node {
        let grid = input.grid;
        let kind = NodeKind::Buckets { input: Box::new(input), function, params, place };
        self.map(Node::new(kind, grid), MapFunction::Identity, Vec::new())
    }

    fn quantiles(&mut self, call: &Call, grid: Grid) -> Lowered<Node> {
        let input = self.vector(&call.args[0], grid)?;
        let label = string_of(&call.args[1])?;
        let mut inputs = Vec::new();
        for arg in &call.args[2..] {
            let quantile = self.scalar(arg, grid)?;
            self.note_quantiles(&quantile, arg.span.start);
            let ScalarArg::Constant(q) = quantile else {
                return unsupported("histogram_quantiles() with a quantile that is no constant");
            };
            let place = call.args[0].span.start;
            let node = self.bucket_node(input.clone(), BucketFunction::Quantile, vec![quantile], place);
            let function = Relabel::Set { to: label.clone(), value: open_metrics_float(q) };
            inputs.push(Node::new(NodeKind::Relabel { input: Box::new(node), function }, grid));
        }
        Ok(distinct(Node::new(NodeKind::Union { inputs }, grid)))
    }

    fn note_quantiles(&self, quantile: &ScalarArg, position: usize) {
        let Some(values) = quantile.known() else { return };
        for value in values.iter().filter(|value| !(0.0..=1.0).contains(*value)) {
            self.annotations.add(Annotation::invalid_quantile(*value), position);
        }
    }
}

/// A float as OpenMetrics writes it: with a point or an exponent.
///
/// Source: `labels.FormatOpenMetricsFloat`, prometheus v3.16 `model/labels/float.go`.
fn open_metrics_float(value: f64) -> String {
    if value.is_infinite() || value.is_nan() {
        return format_general(value);
    }
    let text = format_general(value);
    if text.contains(['e', '.']) { text } else { format!("{text}.0") }
}
