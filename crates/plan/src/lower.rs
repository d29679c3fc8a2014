//! From the syntax tree to our plan.
//!
//! Each expression is lowered for the grid on which its parent needs it:
//! - An expression that is *step-invariant* (`@` fixes all its times) is lowered for one step and
//!   broadcast, at the highest place where that holds, as Prometheus wraps it in
//!   `StepInvariantExpr`.
//! - The inside of a subquery is lowered for the subquery's own grid.
//! - Scalar expressions are computed here wherever no vector is inside.
//!
//! Lowering inserts [`NodeKind::Distinct`] wherever Prometheus checks for equal label sets; a pass
//! removes those that are provably not needed.
//!
//! Source: `PreprocessExpr` and `evaluator.eval`, prometheus v3.14 `promql/engine.go`.

use std::sync::Arc;

use promontory_model::{Labels, LabelsBuilder, MatchOp, TimeRange};
use promontory_promql::annotations::{Annotation, Collector};
use promontory_promql::ast::{
    Aggregate, At, Binary, BinaryOp as AstOp, Call, Cardinality, DurationSpec, Expr, ExprKind, FunctionId,
    Grouping, RangeExtension, Subquery, UnaryOp, ValueType, VectorMatching, VectorSelector,
};
use promontory_promql::functions::AggregateOp;
use promontory_promql::grid::Grid;
use promontory_promql::kernels::binary::Comparison;
use promontory_promql::kernels::go::format_general;
use promontory_promql::kernels::labels::{LabelJoin, LabelReplace};
use promontory_promql::kernels::{
    AggregateFunction, DateFunction, KernelError, Param, RangeFunction, RangeWindow, UnaryFunction, math,
    select, subquery_grid,
};

use crate::error::PlanError;
use crate::matching::{MatchOperation, MatchSpec};
use crate::node::{
    BucketFunction, DuplicateScope, MapFunction, Node, NodeKind, Plan, RangeInput, Relabel, Root, ScalarArg,
    ScanSpec, SelectFunction, SortKey, Take, kernel_op,
};
use crate::projection::{LabelProjection, is_reserved};

/// What lowering needs to know about the query around the expression.
#[derive(Clone, Copy, Debug)]
pub struct QuerySettings {
    /// First evaluation time, for `@ start()`.
    pub start: i64,
    /// Last evaluation time as given, for `@ end()`.
    pub end: i64,
    /// Distance of evaluation times; 0 for instant queries.
    pub step: i64,
    /// Lookback in milliseconds.
    pub lookback: i64,
    /// Step of subqueries without one.
    pub subquery_step: i64,
    /// Most samples that the query may hold; a grid alone may not be longer.
    pub samples_max: u64,
    /// Metric names go at the end.
    pub delayed_name_removal: bool,
}

/// Lowers a resolved expression for the grid of the query.
///
/// # Errors
/// [`PlanError`] for what cannot be evaluated.
pub fn lower(
    expr: &Expr,
    grid: Grid,
    settings: QuerySettings,
    annotations: &Collector,
) -> Result<Plan, PlanError> {
    let mut lowering = Lowering { settings, annotations, scans: Vec::new() };
    let root = lowering.root(expr.without_parens(), grid)?;
    Ok(Plan { root, scans: lowering.scans })
}

struct Lowering<'a> {
    settings: QuerySettings,
    annotations: &'a Collector,
    scans: Vec<ScanSpec>,
}

type Lowered<T> = Result<T, PlanError>;

fn invalid<T>(text: impl Into<String>) -> Lowered<T> {
    Err(PlanError::Invalid(text.into()))
}

fn unsupported<T>(what: impl Into<String>) -> Lowered<T> {
    Err(PlanError::Unsupported(what.into()))
}

fn bug<T>(what: impl Into<String>) -> Lowered<T> {
    Err(PlanError::Bug(what.into()))
}

fn kernel_error(error: KernelError) -> PlanError {
    PlanError::Invalid(error.0)
}

fn fixed(duration: &DurationSpec) -> Lowered<i64> {
    duration.fixed_ms().map_or_else(|| bug("a duration was not resolved"), Ok)
}

impl Lowering<'_> {
    fn root(&mut self, expr: &Expr, grid: Grid) -> Lowered<Root> {
        Ok(match expr.value_type() {
            ValueType::String => Root::String(string_of(expr)?),
            ValueType::Scalar => Root::Scalar(self.scalar(expr, grid)?),
            ValueType::Vector => {
                let node = self.vector(expr, grid)?;
                Root::Vector(self.finish_names(node))
            }
            ValueType::Matrix => match &expr.kind {
                ExprKind::Matrix(matrix) => {
                    let selector = &matrix.selector;
                    no_extension(selector)?;
                    let window = self.window(selector, fixed(&matrix.range)?, grid)?;
                    let range = window.ends.covered(window.range);
                    Root::Samples { scan: self.scan(selector, range), range }
                }
                ExprKind::Subquery(subquery) => {
                    let (node, _) = self.subquery(subquery, grid)?;
                    Root::Subquery(self.finish_names(node))
                }
                other => bug(format!("{other:?} is no range vector"))?,
            },
        })
    }

    /// The end of late name removal: names go, and only now can label sets collide.
    fn finish_names(&self, node: Node) -> Node {
        if self.settings.delayed_name_removal { self.drop_marked(node) } else { node }
    }

    fn drop_marked(&self, node: Node) -> Node {
        let grid = node.grid;
        let input = Box::new(node);
        let map = NodeKind::Relabel { input, function: Relabel::DropMarkedNames };
        distinct(Node::new(map, grid))
    }

    /// What functions do to the labels of their result.
    fn drop_name(&self) -> LabelProjection {
        if self.settings.delayed_name_removal { LabelProjection::MarkName } else { LabelProjection::DropName }
    }

    fn vector(&mut self, expr: &Expr, grid: Grid) -> Lowered<Node> {
        let expr = expr.without_parens();
        if expr.value_type() == ValueType::Scalar {
            return Ok(self.scalar(expr, grid)?.into_node(grid));
        }
        if grid.steps > 1 && is_step_invariant(expr) {
            let node = self.vector(expr, Grid { steps: 1, ..grid })?;
            return Ok(broadcast(node, grid));
        }
        match &expr.kind {
            ExprKind::Vector(selector) => self.instant(selector, grid, Take::Value, LabelProjection::All),
            ExprKind::Call(call) => self.call(expr, call, grid),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate, grid),
            ExprKind::Binary(binary) => self.binary(binary, grid),
            ExprKind::Unary(op, inner) => {
                let input = self.vector(inner, grid)?;
                Ok(match op {
                    UnaryOp::Plus => input,
                    UnaryOp::Minus => distinct(self.map(input, MapFunction::Negate, Vec::new())),
                })
            }
            other => bug(format!("{other:?} is no instant vector")),
        }
    }

    /// A function of each sample that drops the name.
    fn map(&self, input: Node, function: MapFunction, params: Vec<ScalarArg>) -> Node {
        let grid = input.grid;
        let labels = self.drop_name();
        Node::new(NodeKind::Map { input: Box::new(input), function, params, labels }, grid)
    }

    fn scan(&mut self, selector: &VectorSelector, range: TimeRange) -> usize {
        let spec = ScanSpec { matchers: selector.matchers.clone(), range };
        let known = self.scans.iter().position(|scan| *scan == spec);
        known.unwrap_or_else(|| {
            self.scans.push(spec);
            self.scans.len() - 1
        })
    }

    fn at(&self, at: Option<At>) -> Option<i64> {
        at.map(|at| match at {
            At::Timestamp(time) => time,
            At::Start => self.settings.start,
            At::End => self.settings.end,
        })
    }

    fn instant(
        &mut self,
        selector: &VectorSelector,
        grid: Grid,
        take: Take,
        labels: LabelProjection,
    ) -> Lowered<Node> {
        no_extension(selector)?;
        let offset = fixed(&selector.offset)?;
        let ends = match self.at(selector.at) {
            Some(time) => Grid { start: time, step: 0, steps: grid.steps },
            None => grid,
        }
        .shifted(offset.saturating_neg());
        let lookback = self.settings.lookback;
        let scan = self.scan(selector, ends.covered(lookback));
        Ok(Node::new(NodeKind::Instant { scan, ends, lookback, take, labels }, grid))
    }

    fn window(&self, selector: &VectorSelector, range: i64, grid: Grid) -> Lowered<RangeWindow> {
        let offset = fixed(&selector.offset)?;
        Ok(match self.at(selector.at) {
            Some(time) => RangeWindow::fixed(grid, range, time.saturating_sub(offset)),
            None => RangeWindow::new(grid, range, offset),
        })
    }

    /// The inner vector on the subquery's grid, and the windows over it.
    fn subquery(&mut self, subquery: &Subquery, grid: Grid) -> Lowered<(Node, RangeWindow)> {
        let range = fixed(&subquery.range)?;
        let offset = fixed(&subquery.offset)?;
        let step = match &subquery.step {
            Some(step) => fixed(step)?,
            None => self.settings.subquery_step,
        };
        let at = self.at(subquery.at);
        let outer = at.map_or(grid, Grid::instant);
        let inner = subquery_grid(outer, range, offset, step);
        if inner.steps as u64 > self.settings.samples_max {
            let text = "query processing would load too many samples into memory in query execution";
            return Err(PlanError::Limited(text.into()));
        }
        let window = match at {
            Some(time) => RangeWindow::fixed(grid, range, time.saturating_sub(offset)),
            None => RangeWindow::new(grid, range, offset),
        };
        let node = if inner.is_empty() {
            Node::new(NodeKind::Empty, inner)
        } else {
            self.vector(&subquery.expr, inner)?
        };
        Ok((node, window))
    }

    fn call(&mut self, expr: &Expr, call: &Call, grid: Grid) -> Lowered<Node> {
        use FunctionId as F;
        let args = &call.args;
        if let Some(function) = range_function(call.function.id) {
            return self.range_call(function, call, grid);
        }
        if let Some(function) = UnaryFunction::parse(call.function.name) {
            let input = self.vector(&args[0], grid)?;
            return Ok(distinct(self.map(input, MapFunction::Unary(function), Vec::new())));
        }
        if let Some(function) = DateFunction::parse(call.function.name) {
            return self.date_call(function, args, grid);
        }
        match call.function.id {
            F::Round => {
                let input = self.vector(&args[0], grid)?;
                let nearest = match args.get(1) {
                    Some(arg) => self.scalar(arg, grid)?,
                    None => ScalarArg::Constant(1.0),
                };
                Ok(distinct(self.map(input, MapFunction::Round, vec![nearest])))
            }
            F::Clamp | F::ClampMin | F::ClampMax => self.clamp(call.function.id, args, grid),
            F::LabelReplace | F::LabelJoin => self.relabel(call, grid),
            F::Sort | F::SortDesc => {
                self.sort(expr, args, SortKey::Value, call.function.id == F::SortDesc, grid)
            }
            F::SortByLabel | F::SortByLabelDesc => {
                let labels = args[1..].iter().map(string_of).collect::<Lowered<_>>()?;
                self.sort(expr, args, SortKey::Labels(labels), call.function.id == F::SortByLabelDesc, grid)
            }
            F::Vector => {
                let values = self.scalar(&args[0], grid)?;
                Ok(values.into_node(grid))
            }
            F::Timestamp => self.timestamp(&args[0], grid),
            F::Absent => {
                let arg = args[0].without_parens();
                let labels = match &arg.kind {
                    ExprKind::Vector(selector) => labels_of_absence(selector),
                    _ => Labels::empty(),
                };
                let input = Box::new(self.vector(arg, grid)?);
                Ok(Node::new(NodeKind::Absent { input, labels }, grid))
            }
            F::HistogramQuantile | F::HistogramFraction => self.buckets(call, grid),
            F::HistogramQuantiles => self.quantiles(call, grid),
            F::HistogramAvg
            | F::HistogramCount
            | F::HistogramSum
            | F::HistogramStddev
            | F::HistogramStdvar => {
                // Floats have no such property, and native histograms are refused at the door until
                // they are stored: Prometheus answers the same over the same samples.
                self.vector(&args[0], grid)?;
                Ok(Node::new(NodeKind::Empty, grid))
            }
            _ => unsupported(format!("function {}()", call.function.name)),
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
        let keeps_name = matches!(
            function,
            RangeFunction::FirstOverTime | RangeFunction::LastOverTime | RangeFunction::AbsentOverTime
        );
        let labels = if keeps_name { LabelProjection::All } else { self.drop_name() };
        let counter_place =
            matches!(function, RangeFunction::Rate | RangeFunction::Increase).then_some(arg.span.start);
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

    fn clamp(&mut self, id: FunctionId, args: &[Expr], grid: Grid) -> Lowered<Node> {
        let input = self.vector(&args[0], grid)?;
        let first = self.scalar(&args[1], grid)?;
        let params = match id {
            FunctionId::ClampMin => vec![first, ScalarArg::Constant(f64::INFINITY)],
            FunctionId::ClampMax => vec![ScalarArg::Constant(f64::NEG_INFINITY), first],
            _ => vec![first, self.scalar(&args[2], grid)?],
        };
        Ok(distinct(self.map(input, MapFunction::Clamp, params)))
    }

    fn relabel(&mut self, call: &Call, grid: Grid) -> Lowered<Node> {
        let texts = call.args[1..].iter().map(string_of).collect::<Lowered<Vec<_>>>()?;
        let function = if call.function.id == FunctionId::LabelReplace {
            LabelReplace::new(&texts[0], &texts[1], &texts[2], &texts[3]).map_err(kernel_error)?;
            let [to, replacement, from, regex] = [0, 1, 2, 3].map(|index: usize| texts[index].clone());
            Relabel::Replace { to, replacement, from, regex }
        } else {
            LabelJoin::new(&texts[0], &texts[1], &texts[2..]).map_err(kernel_error)?;
            Relabel::Join { to: texts[0].clone(), separator: texts[1].clone(), from: texts[2..].to_vec() }
        };
        let input = Box::new(self.vector(&call.args[0], grid)?);
        Ok(distinct(Node::new(NodeKind::Relabel { input, function }, grid)))
    }

    fn sort(
        &mut self,
        expr: &Expr,
        args: &[Expr],
        key: SortKey,
        descending: bool,
        grid: Grid,
    ) -> Lowered<Node> {
        let input = self.vector(&args[0], grid)?;
        if grid.steps > 1 {
            self.annotations.add(Annotation::sort_in_range_query(), expr.span.start);
            return Ok(input);
        }
        Ok(Node::new(NodeKind::Sort { input: Box::new(input), key, descending }, grid))
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

    fn buckets(&mut self, call: &Call, grid: Grid) -> Lowered<Node> {
        let (vector, scalars) = call.args.split_last().map_or_else(|| bug("no arguments"), Ok)?;
        let params = scalars.iter().map(|arg| self.scalar(arg, grid)).collect::<Lowered<Vec<_>>>()?;
        let function = if call.function.id == FunctionId::HistogramQuantile {
            self.note_quantiles(&params[0], scalars[0].span.start);
            BucketFunction::Quantile
        } else {
            BucketFunction::Fraction
        };
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

    fn aggregate(&mut self, aggregate: &Aggregate, grid: Grid) -> Lowered<Node> {
        let by = match &aggregate.grouping {
            Grouping::By(labels) => LabelProjection::by(labels.iter().cloned()),
            Grouping::Without(labels) => LabelProjection::without(labels.iter().cloned()),
        };
        if let Some(function) = AggregateFunction::parse(aggregate.op.as_str()) {
            let input = Box::new(self.vector(&aggregate.expr, grid)?);
            return Ok(Node::new(NodeKind::Aggregate { input, function, by }, grid));
        }
        let Some(param) = &aggregate.param else {
            return bug(format!("{} without a parameter", aggregate.op));
        };
        if aggregate.op == AggregateOp::CountValues {
            return self.count_values(aggregate, param, by, grid);
        }
        let place = param.span.start;
        let param = self.scalar(param, grid)?;
        let input = Box::new(self.vector(&aggregate.expr, grid)?);
        let function = match aggregate.op {
            AggregateOp::Quantile => {
                // Prometheus judges only the extremes of a parameter that changes.
                self.note_extreme_quantiles(&param, place);
                return Ok(Node::new(NodeKind::Quantile { input, param, by }, grid));
            }
            AggregateOp::Topk => SelectFunction::Topk,
            AggregateOp::Bottomk => SelectFunction::Bottomk,
            AggregateOp::Limitk => SelectFunction::Limitk,
            AggregateOp::LimitRatio => SelectFunction::LimitRatio,
            other => return bug(format!("{other} is no aggregation with a parameter")),
        };
        match function {
            SelectFunction::LimitRatio => self.check_ratio(&param, place)?,
            _ => {
                if let Some(values) = param.known() {
                    select::limits(Param::PerStep(values), values.len(), usize::MAX).map_err(kernel_error)?;
                }
            }
        }
        Ok(Node::new(NodeKind::Select { input, function, param, by }, grid))
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

    fn count_values(
        &mut self,
        aggregate: &Aggregate,
        param: &Expr,
        by: LabelProjection,
        grid: Grid,
    ) -> Lowered<Node> {
        let label = string_of(param)?;
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

    fn binary(&mut self, binary: &Binary, grid: Grid) -> Lowered<Node> {
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

    fn scalar(&mut self, expr: &Expr, grid: Grid) -> Lowered<ScalarArg> {
        let expr = expr.without_parens();
        match &expr.kind {
            ExprKind::Number(number) => Ok(ScalarArg::Constant(number.value)),
            ExprKind::Unary(UnaryOp::Plus, inner) => self.scalar(inner, grid),
            ExprKind::Unary(UnaryOp::Minus, inner) => {
                let inner = self.scalar(inner, grid)?;
                Ok(self.scalar_map(inner, grid, MapFunction::Negate, |value| -value))
            }
            ExprKind::Binary(binary) => {
                let op = kernel_op(binary.op)
                    .map_or_else(|| bug(format!("operator {} of scalars", binary.op)), Ok)?;
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
        match call.function.id {
            FunctionId::Pi => Ok(ScalarArg::Constant(std::f64::consts::PI)),
            FunctionId::Time => Ok(times(grid, |ms| ms as f64 / 1000.0)),
            FunctionId::Start => Ok(ScalarArg::Constant(self.settings.start as f64 / 1000.0)),
            FunctionId::End => Ok(ScalarArg::Constant(self.settings.end as f64 / 1000.0)),
            FunctionId::Range => {
                Ok(ScalarArg::Constant((self.settings.end - self.settings.start) as f64 / 1000.0))
            }
            FunctionId::Step => Ok(ScalarArg::Constant(self.settings.step as f64 / 1000.0)),
            FunctionId::MaxOf | FunctionId::MinOf => {
                let left = self.scalar(&call.args[0], grid)?;
                let right = self.scalar(&call.args[1], grid)?;
                let (function, apply): (_, fn(f64, f64) -> f64) = match call.function.id {
                    FunctionId::MaxOf => (MapFunction::MaxOf, math::max),
                    _ => (MapFunction::MinOf, math::min),
                };
                Ok(self.scalar_pair(left, right, grid, function, apply))
            }
            FunctionId::Scalar => {
                let node = if grid.steps > 1 && is_step_invariant(expr) {
                    let one = Grid { steps: 1, ..grid };
                    let input = Box::new(self.vector(&call.args[0], one)?);
                    broadcast(Node::new(NodeKind::Scalar { input }, one), grid)
                } else {
                    let input = Box::new(self.vector(&call.args[0], grid)?);
                    Node::new(NodeKind::Scalar { input }, grid)
                };
                Ok(ScalarArg::Node(Box::new(node)))
            }
            _ => unsupported(format!("function {}()", call.function.name)),
        }
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
fn times(grid: Grid, value: impl Fn(i64) -> f64) -> ScalarArg {
    if grid.steps == 1 {
        return ScalarArg::Constant(value(grid.start));
    }
    ScalarArg::Steps(grid.times().map(value).collect::<Arc<[f64]>>())
}

fn distinct(input: Node) -> Node {
    let grid = input.grid;
    Node::new(NodeKind::Distinct { input: Box::new(input), scope: DuplicateScope::Step }, grid)
}

/// The one step of `node` at every step of `grid`.
fn broadcast(node: Node, grid: Grid) -> Node {
    match node.kind {
        NodeKind::Row { labels, values } if values.known_at(0).is_some() => {
            let values = ScalarArg::Constant(values.known_at(0).unwrap_or(f64::NAN));
            Node::new(NodeKind::Row { labels, values }, grid)
        }
        NodeKind::Empty => Node::new(NodeKind::Empty, grid),
        _ => Node::new(NodeKind::Broadcast { input: Box::new(node) }, grid),
    }
}

fn no_extension(selector: &VectorSelector) -> Lowered<()> {
    match selector.extension {
        RangeExtension::None => Ok(()),
        RangeExtension::Anchored => unsupported("the modifier anchored"),
        RangeExtension::Smoothed => unsupported("the modifier smoothed"),
    }
}

fn comparison_of(binary: &Binary) -> Comparison {
    if binary.return_bool { Comparison::Bool } else { Comparison::Filter }
}

/// Source: `changesMetricSchema`, prometheus v3.14 `promql/engine.go`.
fn changes_schema(op: AstOp) -> bool {
    use AstOp::{Add, Atan2, Div, Mod, Mul, Pow, Sub};
    matches!(op, Add | Sub | Div | Mul | Pow | Mod | Atan2)
}

/// The text of a string argument.
fn string_of(expr: &Expr) -> Lowered<String> {
    match &expr.without_parens().kind {
        ExprKind::String(text) => Ok(text.clone()),
        other => bug(format!("{other:?} is no string")),
    }
}

/// True if all evaluation times give the same, because `@` fixes every selector.
///
/// Source: `preprocessExprHelper`, prometheus v3.14 `promql/engine.go`; a parameter of an aggregation
/// does not count there either.
fn is_step_invariant(expr: &Expr) -> bool {
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
            if call.function.id == FunctionId::Timestamp {
                return call.args.iter().all(of_selector);
            }
            !depends_on_time(call.function.id) && call.args.iter().all(is_step_invariant)
        }
    }
}

/// Source: `AtModifierUnsafeFunctions`, prometheus v3.14 `promql/functions.go`.
fn depends_on_time(function: FunctionId) -> bool {
    use FunctionId as F;
    matches!(
        function,
        F::DaysInMonth
            | F::DayOfMonth
            | F::DayOfWeek
            | F::DayOfYear
            | F::End
            | F::Hour
            | F::Minute
            | F::Month
            | F::Year
            | F::PredictLinear
            | F::Range
            | F::Start
            | F::Step
            | F::Time
            | F::Timestamp
    )
}

/// Source: `createLabelsForAbsentFunction`, prometheus v3.14 `promql/functions.go`.
fn labels_of_absence(selector: &VectorSelector) -> Labels {
    let mut builder = LabelsBuilder::default();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in selector.matchers.iter().filter(|matcher| !is_reserved(matcher.name().as_bytes())) {
        if matcher.op() == MatchOp::Equal && !seen.contains(&matcher.name()) {
            builder.set(matcher.name(), matcher.value());
            seen.push(matcher.name());
        } else {
            builder.remove(matcher.name());
        }
    }
    builder.build()
}

fn range_function(id: FunctionId) -> Option<RangeFunction> {
    use FunctionId as F;
    use RangeFunction as R;
    Some(match id {
        F::Rate => R::Rate,
        F::Increase => R::Increase,
        F::Delta => R::Delta,
        F::Irate => R::Irate,
        F::Idelta => R::Idelta,
        F::Deriv => R::Deriv,
        F::PredictLinear => R::PredictLinear,
        F::Changes => R::Changes,
        F::Resets => R::Resets,
        F::AvgOverTime => R::AvgOverTime,
        F::CountOverTime => R::CountOverTime,
        F::FirstOverTime => R::FirstOverTime,
        F::LastOverTime => R::LastOverTime,
        F::MaxOverTime => R::MaxOverTime,
        F::MinOverTime => R::MinOverTime,
        F::SumOverTime => R::SumOverTime,
        F::StddevOverTime => R::StddevOverTime,
        F::StdvarOverTime => R::StdvarOverTime,
        F::QuantileOverTime => R::QuantileOverTime,
        F::MadOverTime => R::MadOverTime,
        F::PresentOverTime => R::PresentOverTime,
        F::AbsentOverTime => R::AbsentOverTime,
        F::TsOfFirstOverTime => R::TsOfFirstOverTime,
        F::TsOfLastOverTime => R::TsOfLastOverTime,
        F::TsOfMaxOverTime => R::TsOfMaxOverTime,
        F::TsOfMinOverTime => R::TsOfMinOverTime,
        F::DoubleExponentialSmoothing => R::DoubleExponentialSmoothing,
        _ => return None,
    })
}

/// A float as OpenMetrics writes it: with a point or an exponent.
///
/// Source: `labels.FormatOpenMetricsFloat`, prometheus v3.14 `model/labels/float.go`.
fn open_metrics_float(value: f64) -> String {
    if value.is_infinite() || value.is_nan() {
        return format_general(value);
    }
    let text = format_general(value);
    if text.contains(['e', '.']) { text } else { format!("{text}.0") }
}
