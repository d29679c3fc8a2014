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

mod groups;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, ScalarValue, internal_datafusion_err};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr, ScalarFunctionExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::joins::CrossJoinExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use promontory_model::Labels;
use promontory_plan::{
    LabelProjection, MapFunction, Node, NodeKind, RangeInput, Relabel, ScalarArg, SortKey, Take,
};
use promontory_promql::kernels::{AggregateFunction, Comparison};
use promontory_promql::{ClampBounds, Grid, Kernel, SortDirection};
use promontory_store::Selection;

use crate::aggregates::{AggregateKind, BucketArguments, KnownParam};
use crate::context::QueryContext;
use crate::functions::{
    self as f, ConstantCall, ExprRef, JoinCall, LabelsCall, LookupCall, NamesCall, NoteCall, OperatorCall,
    ParamsCall, RangeCall, ReplaceCall, SetCall, SpreadCall, TimesCall, ValuesCall, Write, literal,
    scalar_function,
};
use crate::operators::{ScanShape, SeriesScan, VectorMatch};
use crate::table::{
    LABELS, TS, VALUES, grid_array, labels_field, timestamps_type, values_field, vector_schema,
};

/// A selection that was made, with the text of its selector.
#[derive(Clone, Debug)]
pub struct PreparedScan {
    /// For EXPLAIN.
    pub selector: Arc<str>,
    pub selection: Arc<dyn Selection>,
}

/// Builds the operators of one query.
pub struct PhysicalPlanner<'a> {
    pub context: Arc<QueryContext>,
    /// The session's configuration, which carries the context to functions.
    pub config: Arc<ConfigOptions>,
    pub scans: &'a [PreparedScan],
    pub partitions_max: usize,
    pub batch_values: usize,
    /// Annotations name metrics, as they do while names are removed late.
    pub named_annotations: bool,
}

pub(crate) type PlanRef = Arc<dyn ExecutionPlan>;

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
                self.group(self.vector(input)?, &LabelProjection::All, AggregateKind::One, node.grid)
            }
            NodeKind::Aggregate { input, function, by } => {
                self.group(self.vector(input)?, by, AggregateKind::Grid(*function), node.grid)
            }
            NodeKind::Quantile { input, param, by } => {
                let columns = self.with_unknown(self.vector(input)?, std::slice::from_ref(param))?;
                self.group_rows(columns, by, AggregateKind::Quantile(known(param)), node.grid)
            }
            NodeKind::Select { input, function, param, by } => {
                self.select(self.vector(input)?, *function, param, by, node.grid)
            }
            NodeKind::CountValues { input, label, by } => self.count_values(input, label, by, node.grid),
            NodeKind::Buckets { input, function, params, place } => {
                let columns = self.with_unknown(self.vector(input)?, params)?;
                let kind = AggregateKind::Buckets(BucketArguments {
                    function: *function,
                    params: [0, 1].map(|index| params.get(index).map(known).unwrap_or_default()),
                    place: *place,
                    named: self.named_annotations,
                });
                self.group_rows(columns, &LabelProjection::without_bucket(), kind, node.grid)
            }
            NodeKind::Absent { input, labels } => {
                let kind = AggregateKind::Grid(AggregateFunction::Group);
                let any = self.whole(self.vector(input)?, kind, node.grid)?;
                let values = ValuesCall { values: column(VALUES, 0) };
                self.project(any, key(labels), self.call(f::INVERT, values, values_field())?)
            }
            NodeKind::Scalar { input } => {
                let only = self.whole(self.vector(input)?, AggregateKind::Only, node.grid)?;
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
                let spread = SpreadCall { values: column(VALUES, 1), steps: node.grid.steps as i64 };
                let values = self.call(f::BROADCAST, spread, values_field())?;
                self.project(self.vector(input)?, column(LABELS, 0), values)
            }
            NodeKind::Sort { input, key, direction } => self.sort(self.vector(input)?, key, *direction),
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
        let constant = ConstantCall { scalar: param_literal(values), steps: grid.steps as i64 };
        let values = self.call(f::CONSTANT_GRID, constant, values_field())?;
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
        let lookup = LookupCall { ts: column(TS, 1), samples: column(VALUES, 2), ends, lookback };
        self.project(samples, column(LABELS, 0), self.call(name, lookup, values_field())?)
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
                let times = TimesCall { values: Arc::clone(&grid), grid: inner.grid };
                let ts = self.call(f::GRID_TS, times, Arc::new(Field::new(TS, timestamps_type(), false)))?;
                let samples = self.call(f::GRID_SAMPLES, ValuesCall { values: grid }, values_field())?;
                (columns, ts, samples, labels)
            }
        };
        let call = RangeCall { ts, samples, window: *window, params: columns.params.clone() };
        let mut values = self.call(f::name_of(Kernel::Range(*function))?, call, values_field())?;
        if let Some(place) = counter_place {
            let note = NoteCall { labels: columns.labels(), values, place: *place as i64 };
            values = self.call(f::NOTE_COUNTER, note, values_field())?;
        }
        let labels = self.label_expr(labels, columns.labels())?;
        self.project(columns.plan, labels, values)
    }

    fn map_values(&self, function: MapFunction, columns: &Columns, grid: Grid) -> Result<ExprRef> {
        let values = columns.column(VALUES, 1);
        let of_params = |kernel| {
            let call = ParamsCall { values: Arc::clone(&values), params: columns.params.clone() };
            self.call(f::name_of(kernel)?, call, values_field())
        };
        let operator = |name: Cow<'static, str>, comparison| {
            let (values, scalar) = (Arc::clone(&values), columns.param()?);
            let call = OperatorCall { values, scalar, returns_bool: comparison == Comparison::Bool };
            self.call(&name, call, values_field())
        };
        match function {
            MapFunction::Unary(unary) => {
                self.call(f::name_of(Kernel::Unary(unary))?, ValuesCall { values }, values_field())
            }
            MapFunction::Date(date) => {
                self.call(f::name_of(Kernel::Date(date))?, ValuesCall { values }, values_field())
            }
            MapFunction::Negate => self.call(f::NEGATE, ValuesCall { values }, values_field()),
            MapFunction::Round => of_params(Kernel::Round),
            MapFunction::Clamp => of_params(Kernel::Clamp(ClampBounds::Both)),
            MapFunction::Extreme(extreme) => of_params(Kernel::Extreme(extreme)),
            MapFunction::VectorScalar(op, comparison) => operator(f::values_operator(op), comparison),
            MapFunction::ScalarVector(op, comparison) => operator(f::scalar_operator(op), comparison),
            MapFunction::EvaluationTime => {
                self.call(f::EVALUATION_TIME, TimesCall { values, grid }, values_field())
            }
            MapFunction::Identity => Ok(values),
        }
    }

    fn relabel(&self, function: &Relabel, labels: ExprRef) -> Result<ExprRef> {
        match function {
            Relabel::Replace { to, replacement, from, regex } => {
                let (to, replacement) = (to.clone(), replacement.clone());
                let (from, regex) = (from.clone(), regex.clone());
                let call = ReplaceCall { labels, to, replacement, from, regex };
                self.call(f::name_of(Kernel::LabelReplace)?, call, labels_field())
            }
            Relabel::Join { to, separator, from } => {
                let (to, separator, from) = (to.clone(), separator.clone(), from.as_slice().into());
                let call = JoinCall { labels, to, separator, from };
                self.call(f::name_of(Kernel::LabelJoin)?, call, labels_field())
            }
            Relabel::Set { to, value } => {
                let call = SetCall { labels, to: to.clone(), value: value.clone() };
                self.call(f::LABEL_SET, call, labels_field())
            }
            Relabel::DropMarkedNames => self.call(f::FINISH_NAME, LabelsCall { labels }, labels_field()),
        }
    }

    fn sort(&self, input: PlanRef, key: &SortKey, direction: SortDirection) -> Result<PlanRef> {
        let labels = column(LABELS, 0);
        let keys = match key {
            SortKey::Value => {
                let value = ValuesCall { values: column(VALUES, 1) };
                let value = self.call(f::VALUE_KEY, value, key_field(DataType::Float64))?;
                let label = self.call(f::LABEL_KEY, LabelsCall { labels }, key_field(DataType::Binary))?;
                vec![sort_expr(value, direction), sort_expr(label, SortDirection::Ascending)]
            }
            SortKey::Labels(names) => {
                let call = NamesCall { labels, names: names.as_slice().into() };
                let key = self.call(f::NATURAL_KEY, call, key_field(DataType::Binary))?;
                vec![sort_expr(key, direction)]
            }
        };
        sorted(coalesce(input), keys)
    }

    fn sort_by_labels(&self, input: PlanRef) -> Result<PlanRef> {
        sorted(input, vec![sort_expr(column(LABELS, 0), SortDirection::Ascending)])
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
            LabelProjection::DropName => self.call(f::DROP_NAME, LabelsCall { labels }, labels_field()),
            LabelProjection::MarkName => self.call(f::MARK_NAME, LabelsCall { labels }, labels_field()),
            LabelProjection::By(names) => {
                self.call(f::LABELS_BY, NamesCall { labels, names: Arc::clone(names) }, labels_field())
            }
            LabelProjection::Without(names) => {
                self.call(f::LABELS_WITHOUT, NamesCall { labels, names: Arc::clone(names) }, labels_field())
            }
        }
    }

    fn call(&self, name: &str, call: impl Write, returns: FieldRef) -> Result<ExprRef> {
        let function = scalar_function(name)?;
        Ok(Arc::new(ScalarFunctionExpr::new(name, function, call.write(), returns, Arc::clone(&self.config))))
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

    fn param(&self) -> Result<ExprRef> {
        self.params.first().cloned().ok_or_else(|| internal_datafusion_err!("a parameter is missing"))
    }
}

pub fn coalesce(plan: PlanRef) -> PlanRef {
    if plan.output_partitioning().partition_count() == 1 {
        plan
    } else {
        Arc::new(CoalescePartitionsExec::new(plan))
    }
}

/// True if rows come in the same order every time: nothing below merges partitions as they finish.
fn is_in_order(plan: &PlanRef) -> bool {
    let mut seen: HashSet<usize> = HashSet::new();
    let mut stack = vec![plan];
    while let Some(plan) = stack.pop() {
        if !seen.insert(Arc::as_ptr(plan).cast::<()>() as usize) || plan.name() == "SortExec" {
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

fn sort_expr(expr: ExprRef, direction: SortDirection) -> PhysicalSortExpr {
    let descending = direction == SortDirection::Descending;
    PhysicalSortExpr::new(expr, SortOptions { descending, nulls_first: false })
}

fn key_field(data_type: DataType) -> FieldRef {
    Arc::new(Field::new("key", data_type, true))
}

fn column(name: &str, index: usize) -> ExprRef {
    Arc::new(Column::new(name, index))
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
    KnownParam(arg.known().map(Arc::from))
}
