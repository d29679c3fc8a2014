//! From our plan to DataFusion's operators.
//!
//! Every vector becomes a plan with the columns `labels`, `values`. Two operators are ours
//! ([`SeriesScan`], [`VectorMatch`]); the rest are DataFusion's: Projection with functions by name,
//! Aggregate, Unnest, Sort, CrossJoin (brings a scalar that only execution knows beside every row),
//! Union, PlaceholderRow, Empty, CoalescePartitions.
//!
//! The operators are put together here and not by DataFusion's optimizer: the tree is known, and a
//! plan costs microseconds instead of a millisecond (docs/decisions/0001-physical-plans.md). Small
//! inputs have one partition and nothing is ever repartitioned; aggregations over several partitions
//! run in two stages with one final partition.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{NullHandling, Result, ScalarValue, UnnestOptions, internal_datafusion_err};
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr, ScalarFunctionExpr};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, PhysicalGroupBy};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::joins::CrossJoinExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::unnest::{ListUnnest, UnnestExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use promontory_model::Labels;
use promontory_plan::{
    LabelProjection, MapFunction, Node, NodeKind, RangeInput, Relabel, ScalarArg, SelectFunction, SortKey,
    Take,
};
use promontory_promql::grid::Grid;
use promontory_promql::kernels::RangeWindow;
use promontory_promql::kernels::binary::Comparison;
use promontory_promql::kernels::select::Order;
use promontory_store::Selection;

use crate::aggregates::{AggregateKind, BucketArguments, KnownParam, PromqlAggregate, row_fields, rows_type};
use crate::context::QueryContext;
use crate::functions::{self as f, scalar_function};
use crate::operators::VectorMatch;
use crate::operators::{ScanShape, SeriesScan};
use crate::table::{
    LABELS, TS, VALUES, grid_array, labels_field, timestamps_type, values_field, vector_schema,
};

/// A selection that was made, with the text of its selector.
#[derive(Clone, Debug)]
pub struct PreparedScan {
    /// For EXPLAIN.
    pub selector: Arc<str>,
    /// The series.
    pub selection: Arc<dyn Selection>,
}

/// Builds the operators of one query.
pub struct PhysicalPlanner<'a> {
    /// The query's context.
    pub context: Arc<QueryContext>,
    /// The session's configuration, which carries the context to functions.
    pub config: Arc<ConfigOptions>,
    /// What the query reads.
    pub scans: &'a [PreparedScan],
    /// Most partitions of a scan.
    pub partitions_max: usize,
    /// Values of a batch.
    pub batch_values: usize,
    /// Annotations name metrics, as they do while names are removed late.
    pub named_annotations: bool,
}

type PlanRef = Arc<dyn ExecutionPlan>;
type ExprRef = Arc<dyn PhysicalExpr>;

/// Where the columns of a vector are, after scalars have been joined before them.
struct Columns {
    plan: PlanRef,
    params: Vec<ExprRef>,
    /// Columns before the vector's own.
    shift: usize,
}

impl PhysicalPlanner<'_> {
    /// The operators of a vector.
    ///
    /// # Errors
    /// For our own mistakes only: everything that can be wrong with a query is found before.
    pub fn vector(&self, node: &Node) -> Result<PlanRef> {
        match &node.kind {
            NodeKind::Empty => Ok(Arc::new(EmptyExec::new(vector_schema()))),
            NodeKind::Row { labels, values } => self.row(labels, values, node.grid),
            NodeKind::Instant { scan, ends, lookback, take, labels } => {
                self.instant(*scan, *ends, *lookback, *take, labels)
            }
            NodeKind::Range { .. } => self.range(node),
            NodeKind::Map { input, function, params, labels } => {
                let columns = self.with_params(self.vector(input)?, params)?;
                let values = self.map_values(*function, &columns, node.grid)?;
                let labels = self.label_expr(labels, columns.labels())?;
                self.project(columns.plan, labels, values)
            }
            NodeKind::Relabel { input, function } => {
                let labels = self.relabel(function, column(LABELS, 0))?;
                self.project(self.vector(input)?, labels, column(VALUES, 1))
            }
            NodeKind::Distinct { input } => {
                let (name, kind) = ("one_per_step".to_owned(), AggregateKind::One);
                self.group(self.vector(input)?, &LabelProjection::All, name, kind, &[VALUES], node.grid)
            }
            NodeKind::Aggregate { input, function, by } => {
                let name = format!("grid_{function:?}").to_lowercase();
                let kind = AggregateKind::Grid(*function);
                self.group(self.vector(input)?, by, name, kind, &[VALUES], node.grid)
            }
            NodeKind::Quantile { input, param, by } => {
                let columns = self.with_unknown(self.vector(input)?, std::slice::from_ref(param))?;
                let kind = AggregateKind::Quantile(known(param));
                self.group_rows(columns, by, "quantile", kind, false, node.grid)
            }
            NodeKind::Select { input, function, param, by } => {
                self.select(self.vector(input)?, *function, param, by, node.grid)
            }
            NodeKind::CountValues { input, label, by } => {
                let columns = self.with_unknown(self.vector(input)?, &[])?;
                let kind = AggregateKind::CountValues;
                let groups = self.group_rows(columns, by, "count_values", kind, false, node.grid)?;
                let rows = self.unnest(groups)?;
                let args = vec![column("group", 0), text(label), column(LABELS, 1)];
                let labels = self.call(f::LABEL_SET, args, labels_field())?;
                self.project(rows, labels, column(VALUES, 2))
            }
            NodeKind::Buckets { input, function, params, place } => {
                let columns = self.with_unknown(self.vector(input)?, params)?;
                let known = [0, 1].map(|index| params.get(index).and_then(known));
                let kind = AggregateKind::Buckets(BucketArguments {
                    function: *function,
                    params: known,
                    place: *place,
                    named: self.named_annotations,
                });
                let name = format!("buckets_{function:?}").to_lowercase();
                self.group_rows(columns, &LabelProjection::without_bucket(), &name, kind, true, node.grid)
            }
            NodeKind::Absent { input, labels } => {
                let kind = AggregateKind::Grid(promontory_promql::kernels::AggregateFunction::Group);
                let any = self.whole(self.vector(input)?, "any", kind, node.grid)?;
                let values = self.call(f::INVERT, vec![column(VALUES, 0)], values_field())?;
                self.project(any, key(labels), values)
            }
            NodeKind::Scalar { input } => {
                let only = self.whole(self.vector(input)?, "only", AggregateKind::Only, node.grid)?;
                self.project(only, key(&Labels::empty()), column(VALUES, 0))
            }
            NodeKind::Match { left, right, spec } => {
                let sides = [coalesce(self.vector(left)?), coalesce(self.vector(right)?)];
                let in_order = [is_in_order(&sides[0]), is_in_order(&sides[1])];
                let rows = (self.batch_values / node.grid.steps.max(1)).max(1);
                let context = Arc::clone(&self.context);
                let spec = Arc::new(spec.clone());
                Ok(Arc::new(VectorMatch::new(spec, node.grid.steps, rows, sides, in_order, context)))
            }
            NodeKind::Broadcast { input } => {
                let args = vec![column(VALUES, 1), int(node.grid.steps as i64)];
                let values = self.call(f::BROADCAST, args, values_field())?;
                self.project(self.vector(input)?, column(LABELS, 0), values)
            }
            NodeKind::Sort { input, key, descending } => self.sort(self.vector(input)?, key, *descending),
            NodeKind::Union { inputs } => {
                UnionExec::try_new(inputs.iter().map(|input| self.vector(input)).collect::<Result<_>>()?)
            }
        }
    }

    /// The raw samples of a scan.
    pub fn samples(&self, scan: usize, labels: LabelProjection, steps: usize) -> Result<PlanRef> {
        let scan = self.scans.get(scan).ok_or_else(|| internal_datafusion_err!("no scan {scan}"))?;
        let shape = ScanShape::new(self.partitions_max, self.batch_values, steps);
        let (selector, selection) = (Arc::clone(&scan.selector), Arc::clone(&scan.selection));
        Ok(Arc::new(SeriesScan::new(selector, selection, labels, shape, Arc::clone(&self.context))))
    }

    fn row(&self, labels: &Labels, values: &ScalarArg, grid: Grid) -> Result<PlanRef> {
        if let ScalarArg::Node(node) = values {
            return self.project(self.vector(node)?, key(labels), column(VALUES, 1));
        }
        let one = Arc::new(PlaceholderRowExec::new(Arc::new(Schema::empty())));
        let args = vec![param_literal(values), int(grid.steps as i64)];
        let values = self.call(f::CONSTANT_GRID, args, values_field())?;
        self.project(one, key(labels), values)
    }

    fn instant(
        &self,
        scan: usize,
        ends: Grid,
        lookback: i64,
        take: Take,
        labels: &LabelProjection,
    ) -> Result<PlanRef> {
        let samples = self.samples(scan, labels.clone(), ends.steps)?;
        let name = match take {
            Take::Value => f::LOOKUP,
            Take::Timestamp => f::LOOKUP_TIMESTAMP,
        };
        let mut args = vec![column(TS, 1), column(VALUES, 2)];
        args.extend(grid_literals(ends));
        args.push(int(lookback));
        self.project(samples, column(LABELS, 0), self.call(name, args, values_field())?)
    }

    fn range(&self, node: &Node) -> Result<PlanRef> {
        let NodeKind::Range { input, function, window, params, labels, counter_place } = &node.kind else {
            return Err(internal_datafusion_err!("no function of a range vector"));
        };
        // Names must reach the info about counters; only without it can the scan drop them.
        let scan_labels = if counter_place.is_some() { LabelProjection::All } else { labels.clone() };
        let (columns, ts, samples, labels) = match input {
            RangeInput::Scan(scan) => {
                let plan = self.samples(*scan, scan_labels.clone(), window.ends.steps)?;
                let columns = self.with_params(plan, params)?;
                let (ts, samples) = (columns.column(TS, 1), columns.column(VALUES, 2));
                let rest = if scan_labels == *labels { &LabelProjection::All } else { labels };
                (columns, ts, samples, rest)
            }
            RangeInput::Subquery(inner) => {
                let columns = self.with_params(self.vector(inner)?, params)?;
                let grid = columns.column(VALUES, 1);
                let args = vec![Arc::clone(&grid), int(inner.grid.start), int(inner.grid.step)];
                let ts = self.call(f::GRID_TS, args, Arc::new(Field::new(TS, timestamps_type(), false)))?;
                let samples = self.call(f::GRID_SAMPLES, vec![grid], values_field())?;
                (columns, ts, samples, labels)
            }
        };
        let mut args = vec![ts, samples];
        args.extend(window_literals(window));
        args.extend(columns.params.iter().cloned());
        let mut values = self.call(function.name(), args, values_field())?;
        if let Some(place) = counter_place {
            let args = vec![columns.labels(), values, int(*place as i64)];
            values = self.call(f::NOTE_COUNTER, args, values_field())?;
        }
        let labels = self.label_expr(labels, columns.labels())?;
        self.project(columns.plan, labels, values)
    }

    fn map_values(&self, function: MapFunction, columns: &Columns, grid: Grid) -> Result<ExprRef> {
        let mut args = vec![columns.column(VALUES, 1)];
        args.extend(columns.params.iter().cloned());
        let returns_bool = |comparison| literal(ScalarValue::Boolean(Some(comparison == Comparison::Bool)));
        let name = match function {
            MapFunction::Unary(unary) => f::unary_name(unary),
            MapFunction::Date(date) => f::date_name(date),
            MapFunction::Negate => f::NEGATE.into(),
            MapFunction::Round => f::ROUND.into(),
            MapFunction::Clamp => f::CLAMP.into(),
            MapFunction::MaxOf => f::MAX_OF.into(),
            MapFunction::MinOf => f::MIN_OF.into(),
            MapFunction::VectorScalar(op, comparison) => {
                args.push(returns_bool(comparison));
                f::vector_scalar_name(op)
            }
            MapFunction::ScalarVector(op, comparison) => {
                args.push(returns_bool(comparison));
                f::scalar_vector_name(op)
            }
            MapFunction::EvaluationTime => {
                args.extend([int(grid.start), int(grid.step)]);
                f::EVALUATION_TIME.into()
            }
            MapFunction::Identity => return Ok(columns.column(VALUES, 1)),
        };
        self.call(&name, args, values_field())
    }

    fn relabel(&self, function: &Relabel, labels: ExprRef) -> Result<ExprRef> {
        let (name, args) = match function {
            Relabel::Replace { to, replacement, from, regex } => {
                (f::LABEL_REPLACE, vec![labels, text(to), text(replacement), text(from), text(regex)])
            }
            Relabel::Join { to, separator, from } => {
                (f::LABEL_JOIN, vec![labels, text(to), text(separator), texts(from)])
            }
            Relabel::Set { to, value } => (f::LABEL_SET, vec![labels, text(to), text(value)]),
            Relabel::DropMarkedNames => (f::FINISH_NAME, vec![labels]),
        };
        self.call(name, args, labels_field())
    }

    /// One row per group with a state of fixed size: two stages over several partitions.
    fn group(
        &self,
        input: PlanRef,
        by: &LabelProjection,
        name: String,
        kind: AggregateKind,
        inputs: &[&str],
        grid: Grid,
    ) -> Result<PlanRef> {
        let args = inputs.iter().map(|name| column(name, usize::from(*name == VALUES))).collect();
        let keys = vec![(self.label_expr(by, column(LABELS, 0))?, LABELS.to_owned())];
        self.aggregate(input, PhysicalGroupBy::new_single(keys), &name, kind, args, grid)
    }

    /// The whole input as one row, even of no input.
    fn whole(&self, input: PlanRef, name: &str, kind: AggregateKind, grid: Grid) -> Result<PlanRef> {
        let none = PhysicalGroupBy::new_single(Vec::new());
        self.aggregate(input, none, name, kind, vec![column(VALUES, 1)], grid)
    }

    /// One stage, for aggregations that hold rows; `with_labels` if they want to see labels.
    fn group_rows(
        &self,
        columns: Columns,
        by: &LabelProjection,
        name: &str,
        kind: AggregateKind,
        with_labels: bool,
        grid: Grid,
    ) -> Result<PlanRef> {
        let mut args = Vec::new();
        if with_labels {
            args.push(columns.labels());
        }
        args.push(columns.column(VALUES, 1));
        args.extend(columns.params.iter().cloned());
        let keys = vec![(self.label_expr(by, columns.labels())?, LABELS.to_owned())];
        let input = coalesce(columns.plan);
        self.aggregate(input, PhysicalGroupBy::new_single(keys), name, kind, args, grid)
    }

    fn aggregate(
        &self,
        input: PlanRef,
        by: PhysicalGroupBy,
        name: &str,
        kind: AggregateKind,
        args: Vec<ExprRef>,
        grid: Grid,
    ) -> Result<PlanRef> {
        let has_stages = PromqlAggregate::has_stages(&kind);
        let function = PromqlAggregate::new(name, kind, grid, Arc::clone(&self.context));
        let schema = input.schema();
        let expr = AggregateExprBuilder::new(Arc::new(AggregateUDF::new_from_impl(function)), args)
            .schema(Arc::clone(&schema))
            .human_display(format!("{name}({VALUES})"))
            .human_display_alias(VALUES)
            .alias(VALUES)
            .build()?;
        let expr = vec![Arc::new(expr)];
        let by = Arc::new(by);
        if input.output_partitioning().partition_count() == 1 || !has_stages {
            let mode = AggregateMode::Single;
            return Ok(Arc::new(AggregateExec::try_new(
                mode,
                by,
                expr,
                vec![None],
                coalesce(input),
                schema,
            )?));
        }
        let final_by = by.as_final();
        let mode = AggregateMode::Partial;
        let partial = AggregateExec::try_new(mode, by, expr.clone(), vec![None], input, Arc::clone(&schema))?;
        let merged = coalesce(Arc::new(partial));
        Ok(Arc::new(AggregateExec::try_new(
            AggregateMode::Final,
            final_by,
            expr,
            vec![None],
            merged,
            schema,
        )?))
    }

    fn select(
        &self,
        input: PlanRef,
        function: SelectFunction,
        param: &ScalarArg,
        by: &LabelProjection,
        grid: Grid,
    ) -> Result<PlanRef> {
        let (name, kind) = match function {
            SelectFunction::Topk => ("topk", AggregateKind::TopK(Order::Largest, known(param))),
            SelectFunction::Bottomk => ("bottomk", AggregateKind::TopK(Order::Smallest, known(param))),
            SelectFunction::Limitk => ("limitk", AggregateKind::LimitK(known(param))),
            SelectFunction::LimitRatio => {
                let columns = self.with_params(input, std::slice::from_ref(param))?;
                let mut args = vec![columns.labels(), columns.column(VALUES, 1)];
                args.extend(columns.params.iter().cloned());
                let values = self.call(f::LIMIT_RATIO, args, values_field())?;
                let labels = columns.labels();
                return self.project(columns.plan, labels, values);
            }
        };
        // The choice among equal values depends on the order of rows.
        let merged = coalesce(input);
        let input = if is_in_order(&merged) { merged } else { self.sort_by_labels(merged)? };
        let columns = self.with_unknown(input, std::slice::from_ref(param))?;
        let groups = self.group_rows(columns, by, name, kind, true, grid)?;
        let rows = self.unnest(groups)?;
        self.project(rows, column(LABELS, 1), column(VALUES, 2))
    }

    /// From `group`, list of (`labels`, `values`) to one row for each element of the list.
    fn unnest(&self, groups: PlanRef) -> Result<PlanRef> {
        let exprs = [
            ProjectionExpr { expr: column(LABELS, 0), alias: "group".into() },
            ProjectionExpr { expr: column(VALUES, 1), alias: "rows".into() },
        ];
        let groups = Arc::new(ProjectionExec::try_new(exprs, groups)?);
        let group = Field::new("group", DataType::BinaryView, true);
        let row = match rows_type() {
            DataType::List(item) => Field::new("rows", item.data_type().clone(), true),
            other => Field::new("rows", other, true),
        };
        let options = UnnestOptions { null_handling: NullHandling::Drop, recursions: Vec::new() };
        let schema = Arc::new(Schema::new(vec![group.clone(), row]));
        let list = vec![ListUnnest { index_in_input_schema: 1, depth: 1 }];
        let rows = UnnestExec::new(groups, list, Vec::new(), schema, options.clone())?;
        let mut fields: Vec<FieldRef> = vec![Arc::new(group)];
        fields.extend(row_fields().iter().map(|field| Arc::new(field.as_ref().clone().with_nullable(true))));
        let schema = Arc::new(Schema::new(fields));
        Ok(Arc::new(UnnestExec::new(Arc::new(rows), Vec::new(), vec![1], schema, options)?))
    }

    fn sort(&self, input: PlanRef, key: &SortKey, descending: bool) -> Result<PlanRef> {
        let labels = column(LABELS, 0);
        let keys = match key {
            SortKey::Value => {
                let value = self.call(f::VALUE_KEY, vec![column(VALUES, 1)], key_field(DataType::Float64))?;
                let label = self.call(f::LABEL_KEY, vec![labels], key_field(DataType::Binary))?;
                vec![sort_expr(value, descending), sort_expr(label, false)]
            }
            SortKey::Labels(names) => {
                let args = vec![labels, texts(names)];
                vec![sort_expr(self.call(f::NATURAL_KEY, args, key_field(DataType::Binary))?, descending)]
            }
        };
        sorted(coalesce(input), keys)
    }

    fn sort_by_labels(&self, input: PlanRef) -> Result<PlanRef> {
        sorted(input, vec![sort_expr(column(LABELS, 0), false)])
    }

    /// Joins the scalars that only execution knows before the columns of `input`.
    fn with_params(&self, input: PlanRef, params: &[ScalarArg]) -> Result<Columns> {
        self.join(input, params, |arg| Some(param_literal(arg)))
    }

    /// As [`Self::with_params`], for aggregations, which hold the known parameters themselves.
    fn with_unknown(&self, input: PlanRef, params: &[ScalarArg]) -> Result<Columns> {
        self.join(input, params, |_| None)
    }

    fn join(
        &self,
        input: PlanRef,
        params: &[ScalarArg],
        literal_of: impl Fn(&ScalarArg) -> Option<ExprRef>,
    ) -> Result<Columns> {
        let joined = params.iter().filter(|param| matches!(param, ScalarArg::Node(_))).count();
        let mut columns = Columns { plan: input, params: Vec::new(), shift: joined };
        // The last join is the outermost and comes first.
        let mut next = joined;
        for param in params {
            match param {
                ScalarArg::Node(node) => {
                    next -= 1;
                    let name = format!("param{next}");
                    let expr = ProjectionExpr { expr: column(VALUES, 1), alias: name.clone() };
                    let one = coalesce(self.vector(node)?);
                    let one = Arc::new(ProjectionExec::try_new([expr], one)?);
                    columns.plan = Arc::new(CrossJoinExec::new(one, columns.plan));
                    columns.params.push(column(&name, next));
                }
                known => columns.params.extend(literal_of(known)),
            }
        }
        Ok(columns)
    }

    fn label_expr(&self, projection: &LabelProjection, labels: ExprRef) -> Result<ExprRef> {
        match projection {
            LabelProjection::All => Ok(labels),
            LabelProjection::DropName => self.call(f::DROP_NAME, vec![labels], labels_field()),
            LabelProjection::MarkName => self.call(f::MARK_NAME, vec![labels], labels_field()),
            LabelProjection::By(names) => self.call(f::LABELS_BY, vec![labels, texts(names)], labels_field()),
            LabelProjection::Without(names) => {
                self.call(f::LABELS_WITHOUT, vec![labels, texts(names)], labels_field())
            }
        }
    }

    fn call(&self, name: &str, args: Vec<ExprRef>, returns: FieldRef) -> Result<ExprRef> {
        let function = scalar_function(name)?;
        Ok(Arc::new(ScalarFunctionExpr::new(name, function, args, returns, Arc::clone(&self.config))))
    }

    fn project(&self, input: PlanRef, labels: ExprRef, values: ExprRef) -> Result<PlanRef> {
        let exprs = [
            ProjectionExpr { expr: labels, alias: LABELS.into() },
            ProjectionExpr { expr: values, alias: VALUES.into() },
        ];
        Ok(Arc::new(ProjectionExec::try_new(exprs, input)?))
    }
}

impl Columns {
    fn column(&self, name: &str, index: usize) -> ExprRef {
        column(name, self.shift + index)
    }

    fn labels(&self) -> ExprRef {
        self.column(LABELS, 0)
    }
}

/// One partition.
pub fn coalesce(plan: PlanRef) -> PlanRef {
    if plan.output_partitioning().partition_count() == 1 {
        plan
    } else {
        Arc::new(CoalescePartitionsExec::new(plan))
    }
}

/// True if rows come in the same order every time: nothing below merges partitions as they finish.
fn is_in_order(plan: &PlanRef) -> bool {
    let mut todo: HashSet<usize> = HashSet::new();
    let mut stack = vec![plan];
    while let Some(plan) = stack.pop() {
        if !todo.insert(Arc::as_ptr(plan).cast::<()>() as usize) || plan.name() == "SortExec" {
            continue;
        }
        if plan.name() == "CoalescePartitionsExec" {
            return false;
        }
        stack.extend(plan.children());
    }
    true
}

fn sorted(input: PlanRef, keys: Vec<PhysicalSortExpr>) -> Result<PlanRef> {
    let ordering = LexOrdering::new(keys).ok_or_else(|| internal_datafusion_err!("no sort key"))?;
    Ok(Arc::new(SortExec::new(ordering, input)))
}

fn sort_expr(expr: ExprRef, descending: bool) -> PhysicalSortExpr {
    PhysicalSortExpr::new(expr, SortOptions { descending, nulls_first: false })
}

fn key_field(data_type: DataType) -> FieldRef {
    Arc::new(Field::new("key", data_type, true))
}

fn column(name: &str, index: usize) -> ExprRef {
    Arc::new(Column::new(name, index))
}

fn literal(value: ScalarValue) -> ExprRef {
    Arc::new(Literal::new(value))
}

fn int(value: i64) -> ExprRef {
    literal(ScalarValue::Int64(Some(value)))
}

fn text(value: &str) -> ExprRef {
    literal(ScalarValue::Utf8(Some(value.to_owned())))
}

fn texts(values: &[String]) -> ExprRef {
    let values: Vec<ScalarValue> =
        values.iter().map(|value| ScalarValue::Utf8(Some(value.clone()))).collect();
    literal(ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Utf8)))
}

fn key(labels: &Labels) -> ExprRef {
    literal(ScalarValue::BinaryView(Some(labels.key().to_vec())))
}

/// A scalar that is known, as a literal.
fn param_literal(arg: &ScalarArg) -> ExprRef {
    match arg {
        ScalarArg::Constant(value) => literal(ScalarValue::Float64(Some(*value))),
        ScalarArg::Steps(values) => literal(ScalarValue::List(grid_array(values))),
        ScalarArg::Node(_) => literal(ScalarValue::Float64(None)),
    }
}

fn known(arg: &ScalarArg) -> KnownParam {
    arg.known().map(Arc::from)
}

fn grid_literals(grid: Grid) -> [ExprRef; 3] {
    [int(grid.start), int(grid.step), int(grid.steps as i64)]
}

fn window_literals(window: &RangeWindow) -> Vec<ExprRef> {
    let mut literals = Vec::with_capacity(7);
    literals.extend(grid_literals(window.ends));
    literals.extend(grid_literals(window.eval));
    literals.push(int(window.range));
    literals
}
