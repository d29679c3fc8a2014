//! PromQL's aggregations as aggregate functions of DataFusion: a grid of states per group.
//!
//! Two families:
//! - [`GridGroups`] and [`OneGroups`] hold a state of fixed size per group and step, and run in two
//!   stages where the input has several partitions.
//! - [`RowGroups`] must hold rows (quantile, topk, count_values, buckets). Their state is a list of
//!   rows (`key`, `values`), so that it can be shipped and merged as well; within a process they run
//!   in one stage.
//!
//! `AccumulatorArgs` carries no configuration, so each query makes its own functions, which hold the
//! query's context; two of one name are equal. Parameters that are known are held too; others come as
//! a column that holds the same grid in every row.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::mem::size_of;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BinaryViewBuilder, BooleanArray, ListArray, StructArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, ScalarValue, exec_err, internal_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use promontory_model::LabelsRef;
use promontory_plan::{BucketFunction, DuplicateScope, labels_of};
use promontory_promql::annotations::{Annotation, AnnotationSet};
use promontory_promql::grid::{Grid, Validity};
use promontory_promql::kernels::aggregate::QuantileAccumulator;
use promontory_promql::kernels::histogram::{ClassicHistogram, upper_bound};
use promontory_promql::kernels::select::{self, CountValues, LimitK, Order, TopK};
use promontory_promql::kernels::{AggregateFunction, GridAccumulator, Param, go};

use crate::context::QueryContext;
use crate::error::{QueryError, execution};
use crate::table::{GridBuilder, GridRow, Grids, grid_type, label_keys};

/// Which aggregation.
#[derive(Clone, Debug)]
pub enum AggregateKind {
    /// `(values)`: a state of fixed size per step.
    Grid(AggregateFunction),
    /// `(values)`: rows of one label set become one row; see [`DuplicateScope`].
    One(DuplicateScope),
    /// `(values)`: the only sample of each step, NaN if there is none or more.
    Only,
    /// `(values[, q])`
    Quantile(KnownParam),
    /// `(labels, values[, k])`: rows.
    TopK(Order, KnownParam),
    /// `(labels, values[, k])`: rows.
    LimitK(KnownParam),
    /// `(values)`: rows, with the value's text as key.
    CountValues,
    /// `(labels, values[, first, second])`
    Buckets(BucketArguments),
}

/// What buckets are asked.
#[derive(Clone, Debug)]
pub struct BucketArguments {
    /// Which function.
    pub function: BucketFunction,
    /// Its scalar arguments.
    pub params: [KnownParam; 2],
    /// Where annotations point to.
    pub place: usize,
    /// Annotations name the metric, as they do while names are removed late.
    pub named: bool,
}

/// A parameter that is known at planning, or `None` if a column brings it.
pub type KnownParam = Option<Arc<[f64]>>;

/// One aggregation of one query.
pub struct PromqlAggregate {
    name: String,
    kind: AggregateKind,
    grid: Grid,
    context: Arc<QueryContext>,
    signature: Signature,
}

impl PromqlAggregate {
    /// An aggregation over vectors of `grid`.
    pub fn new(name: impl Into<String>, kind: AggregateKind, grid: Grid, context: Arc<QueryContext>) -> Self {
        let signature = Signature::variadic_any(Volatility::Immutable);
        Self { name: name.into(), kind, grid, context, signature }
    }

    /// True if it may run in two stages.
    pub fn has_stages(kind: &AggregateKind) -> bool {
        matches!(kind, AggregateKind::Grid(_) | AggregateKind::One(_) | AggregateKind::Only)
    }

    fn groups(&self) -> Box<dyn GroupsAccumulator> {
        let steps = self.grid.steps;
        let context = Arc::clone(&self.context);
        match &self.kind {
            AggregateKind::Grid(function) => {
                Box::new(GridGroups { state: GridAccumulator::new(*function, steps), context })
            }
            AggregateKind::One(scope) => Box::new(OneGroups::new(OneRule::Merge(*scope), steps, context)),
            AggregateKind::Only => Box::new(OneGroups::new(OneRule::Only, steps, context)),
            AggregateKind::Quantile(q) => {
                let state = Quantile { state: QuantileAccumulator::new(steps), steps, memory: 0 };
                Box::new(RowGroups::new(state, [q.clone(), None], 1, self.grid, context))
            }
            AggregateKind::TopK(order, k) => {
                let state = Top { order: *order, state: None, labels: Vec::new(), bytes: 0, groups: 0 };
                Box::new(RowGroups::new(state, [k.clone(), None], 1, self.grid, context))
            }
            AggregateKind::LimitK(k) => {
                let state = First { state: None, rows: Vec::new(), bytes: 0 };
                Box::new(RowGroups::new(state, [k.clone(), None], 1, self.grid, context))
            }
            AggregateKind::CountValues => {
                let state = Counts { state: CountValues::new(steps), steps };
                Box::new(RowGroups::new(state, [None, None], 0, self.grid, context))
            }
            AggregateKind::Buckets(arguments) => {
                let count = if arguments.function == BucketFunction::Quantile { 1 } else { 2 };
                let params = arguments.params.clone();
                let state = Buckets { arguments: arguments.clone(), groups: Vec::new(), bytes: 0 };
                Box::new(RowGroups::new(state, params, count, self.grid, context))
            }
        }
    }
}

impl fmt::Debug for PromqlAggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for PromqlAggregate {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.context, &other.context)
    }
}

impl Eq for PromqlAggregate {}

impl Hash for PromqlAggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl AggregateUDFImpl for PromqlAggregate {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            AggregateKind::TopK(..) | AggregateKind::LimitK(_) | AggregateKind::CountValues => rows_type(),
            _ => grid_type(),
        })
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup { groups: Mutex::new(self.groups()) }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let lanes = match &self.kind {
            AggregateKind::Grid(function) => function.lanes().len().max(1),
            AggregateKind::One(_) | AggregateKind::Only => 2,
            _ => return Ok(vec![Arc::new(Field::new(format!("{}[rows]", args.name), rows_type(), false))]),
        };
        let field = |lane| Arc::new(Field::new(format!("{}[{lane}]", args.name), grid_type(), false));
        Ok((0..lanes).map(field).collect())
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(self.groups())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// The whole input as one group, which exists even without input: `absent` and `scalar` need that.
///
/// `Accumulator` wants `Sync`, an accumulator of groups is only `Send`: hence the mutex, which nobody
/// ever waits for.
struct OneGroup {
    groups: Mutex<Box<dyn GroupsAccumulator>>,
}

impl fmt::Debug for OneGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneGroup")
    }
}

impl OneGroup {
    fn groups(&mut self) -> &mut dyn GroupsAccumulator {
        self.groups.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut()
    }

    fn rows(values: &[ArrayRef]) -> Vec<usize> {
        vec![0; values.first().map_or(0, |array| array.len())]
    }
}

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.groups().update_batch(values, &Self::rows(values), None, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.groups().update_batch(&[empty_grids()?], &[], None, 1)?;
        ScalarValue::try_from_array(&self.groups().evaluate(EmitTo::All)?, 0)
    }

    fn size(&self) -> usize {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.groups().update_batch(&[empty_grids()?], &[], None, 1)?;
        let state = self.groups().state(EmitTo::All)?;
        state.iter().map(|array| ScalarValue::try_from_array(array, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.groups().merge_batch(states, &Self::rows(states), 1)
    }
}

fn empty_grids() -> Result<ArrayRef> {
    Ok(GridBuilder::new(0, 0).finish())
}

fn emitted(emit_to: EmitTo, groups: usize) -> usize {
    match emit_to {
        EmitTo::All => groups,
        EmitTo::First(count) => count.min(groups),
    }
}

/// What the input says as state, row by row: feeds each row to a group of its own.
fn as_state(mut groups: impl GroupsAccumulator, values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    let rows = values.first().map_or(0, |array| array.len());
    let indices: Vec<usize> = (0..rows).collect();
    groups.update_batch(values, &indices, None, rows)?;
    groups.state(EmitTo::All)
}

// ------------------------------------------------------------------------ fixed size per step

struct GridGroups {
    state: GridAccumulator,
    context: Arc<QueryContext>,
}

impl GroupsAccumulator for GridGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        _: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.context.check()?;
        self.state.resize(total_num_groups);
        let grids = Grids::new(values[0].as_ref())?;
        for (row, group) in group_indices.iter().enumerate() {
            let row = grids.row(row);
            if row.values.len() != self.state.steps() {
                return exec_err!(
                    "a row of {} steps in an aggregation over {}",
                    row.values.len(),
                    self.state.steps()
                );
            }
            self.state.update(*group, row.values, row.valid);
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = emitted(emit_to, self.state.groups());
        let mut out = GridBuilder::new(self.state.steps(), groups);
        for group in 0..groups {
            let (values, valid) = out.row()?;
            self.state.finish(group, values, valid);
        }
        self.state.drop_first(groups);
        Ok(out.finish())
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = emitted(emit_to, self.state.groups());
        let lanes = self.state.function().lanes().len();
        let columns = (0..lanes.max(1))
            .map(|lane| {
                let mut out = GridBuilder::new(self.state.steps(), groups);
                for group in 0..groups {
                    let (values, valid) = out.row()?;
                    if lane < lanes {
                        values.copy_from_slice(self.state.lane(lane, group));
                    }
                    valid.copy_from_slice(self.state.seen(group));
                }
                Ok(out.finish())
            })
            .collect::<Result<Vec<_>>>()?;
        self.state.drop_first(groups);
        Ok(columns)
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.context.check()?;
        self.state.resize(total_num_groups);
        let lanes = values.iter().map(|array| Grids::new(array.as_ref())).collect::<Result<Vec<_>>>()?;
        for (row, group) in group_indices.iter().enumerate() {
            let rows: Vec<&[f64]> = lanes.iter().map(|lane| lane.row(row).values).collect();
            self.state.merge(*group, &rows, lanes[0].row(row).valid);
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], _: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let state = GridAccumulator::new(self.state.function(), self.state.steps());
        as_state(Self { state, context: Arc::clone(&self.context) }, values)
    }

    fn size(&self) -> usize {
        self.state.memory_bytes()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum OneRule {
    Merge(DuplicateScope),
    Only,
}

/// At most one sample per group and step.
struct OneGroups {
    rule: OneRule,
    steps: usize,
    values: Vec<f64>,
    /// Samples per point, counted to two.
    counts: Vec<u8>,
    rows: Vec<u32>,
    context: Arc<QueryContext>,
}

impl OneGroups {
    fn new(rule: OneRule, steps: usize, context: Arc<QueryContext>) -> Self {
        Self { rule, steps, values: Vec::new(), counts: Vec::new(), rows: Vec::new(), context }
    }

    fn resize(&mut self, groups: usize) {
        if groups > self.rows.len() {
            self.values.resize(groups * self.steps, 0.0);
            self.counts.resize(groups * self.steps, 0);
            self.rows.resize(groups, 0);
        }
    }

    fn add(&mut self, group: usize, row: GridRow<'_>, count: impl Fn(usize) -> u8) -> Result<()> {
        let from = group * self.steps;
        let mut any = false;
        for (step, value) in row.iter() {
            any = true;
            let counted = &mut self.counts[from + step];
            *counted = counted.saturating_add(count(step)).min(2);
            if *counted > 1 && self.rule != OneRule::Only {
                return same_labelset();
            }
            self.values[from + step] = value;
        }
        self.rows[group] += u32::from(any);
        if self.rows[group] > 1 && self.rule == OneRule::Merge(DuplicateScope::Range) {
            return same_labelset();
        }
        Ok(())
    }

    fn drop_first(&mut self, groups: usize) {
        self.values.drain(..groups * self.steps);
        self.counts.drain(..groups * self.steps);
        self.rows.drain(..groups);
    }
}

fn same_labelset() -> Result<()> {
    execution("vector cannot contain metrics with the same labelset")
}

impl GroupsAccumulator for OneGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        _: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.context.check()?;
        self.resize(total_num_groups);
        let grids = Grids::new(values[0].as_ref())?;
        for (row, group) in group_indices.iter().enumerate() {
            self.add(*group, grids.row(row), |_| 1)?;
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = emitted(emit_to, self.rows.len());
        let mut out = GridBuilder::new(self.steps, groups);
        for group in 0..groups {
            let (values, valid) = out.row()?;
            for step in 0..self.steps {
                let at = group * self.steps + step;
                (values[step], valid[step]) = match (self.rule, self.counts[at]) {
                    (_, 1) => (self.values[at], true),
                    (OneRule::Only, _) => (f64::NAN, true),
                    (OneRule::Merge(_), _) => (0.0, false),
                };
            }
        }
        self.drop_first(groups);
        Ok(out.finish())
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = emitted(emit_to, self.rows.len());
        let mut samples = GridBuilder::new(self.steps, groups);
        let mut counts = GridBuilder::new(self.steps, groups);
        for group in 0..groups {
            let range = group * self.steps..(group + 1) * self.steps;
            let (values, valid) = samples.row()?;
            values.copy_from_slice(&self.values[range.clone()]);
            let (count, counted) = counts.row()?;
            for step in 0..self.steps {
                let here = self.counts[range.start + step];
                valid[step] = here > 0;
                counted[step] = here > 0;
                count[step] = f64::from(here);
            }
        }
        self.drop_first(groups);
        Ok(vec![samples.finish(), counts.finish()])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.resize(total_num_groups);
        let (samples, counts) = (Grids::new(values[0].as_ref())?, Grids::new(values[1].as_ref())?);
        for (row, group) in group_indices.iter().enumerate() {
            let count = counts.row(row).values;
            self.add(*group, samples.row(row), |step| count[step] as u8)?;
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], _: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        as_state(Self::new(self.rule, self.steps, Arc::clone(&self.context)), values)
    }

    fn size(&self) -> usize {
        self.values.capacity() * size_of::<f64>() + self.counts.capacity() + self.rows.capacity() * 4
    }
}

// ------------------------------------------------------------------------------------- rows

static ROW_FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        Field::new("labels", DataType::BinaryView, false),
        Field::new("values", grid_type(), false),
    ])
});
static ROW_ITEM: LazyLock<FieldRef> =
    LazyLock::new(|| Arc::new(Field::new("item", DataType::Struct(ROW_FIELDS.clone()), true)));

/// `List<Struct{labels, values}>`: what topk and its kin give per group.
pub fn rows_type() -> DataType {
    DataType::List(Arc::clone(&ROW_ITEM))
}

/// The fields of one row.
pub fn row_fields() -> Fields {
    ROW_FIELDS.clone()
}

/// Lists of rows under construction.
struct RowsBuilder {
    keys: BinaryViewBuilder,
    grids: GridBuilder,
    rows: i32,
    offsets: Vec<i32>,
}

impl RowsBuilder {
    fn new(steps: usize) -> Self {
        Self { keys: BinaryViewBuilder::new(), grids: GridBuilder::new(steps, 0), rows: 0, offsets: vec![0] }
    }

    fn row(&mut self, key: &[u8]) -> Result<(&mut [f64], &mut [bool])> {
        self.keys.append_value(key);
        self.rows += 1;
        self.grids.row()
    }

    fn end_list(&mut self) {
        self.offsets.push(self.rows);
    }

    fn finish(mut self) -> ArrayRef {
        let columns: Vec<ArrayRef> = vec![Arc::new(self.keys.finish()), self.grids.finish()];
        let rows = StructArray::new(ROW_FIELDS.clone(), columns, None);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        Arc::new(ListArray::new(Arc::clone(&ROW_ITEM), offsets, Arc::new(rows), None))
    }
}

/// A state that consists of rows.
trait RowState: Send + 'static {
    /// An empty state of the same kind.
    fn fresh(&self) -> Self;
    /// Learns the parameters, before the first row.
    fn prepare(&mut self, _params: &Params<'_>, _steps: usize) -> Result<()> {
        Ok(())
    }
    /// Makes room for `groups` groups.
    fn resize(&mut self, groups: usize);
    /// Adds one row of the input, or one of another state.
    fn add(&mut self, group: usize, row: InputRow<'_>, shared: &Shared) -> Result<()>;
    /// Writes the rows of a group.
    fn rows(&self, group: usize, out: &mut RowsBuilder) -> Result<()>;
    /// Writes the result of a group, if that is a grid.
    fn finish(&self, group: usize, params: &Params<'_>, shared: &Shared, out: Output<'_>) -> Result<()>;
    /// True if the result is rows.
    const GIVES_ROWS: bool;
    /// Forgets the first groups.
    fn drop_first(&mut self, groups: usize);
    /// Memory held.
    fn bytes(&self) -> usize;
}

/// A row to be added.
enum InputRow<'a> {
    /// Of the input: its labels (empty if the function takes none).
    Sample(&'a [u8], GridRow<'a>),
    /// Of another state.
    State(&'a [u8], GridRow<'a>),
}

type Output<'a> = (&'a mut [f64], &'a mut [bool]);

struct Shared {
    grid: Grid,
    context: Arc<QueryContext>,
}

/// The scalar arguments of a group's result.
struct Params<'a>([Param<'a>; 2]);

struct RowGroups<S> {
    state: S,
    params: [KnownParam; 2],
    params_count: usize,
    prepared: bool,
    groups: usize,
    shared: Shared,
}

impl<S: RowState> RowGroups<S> {
    fn new(
        state: S,
        params: [KnownParam; 2],
        params_count: usize,
        grid: Grid,
        context: Arc<QueryContext>,
    ) -> Self {
        Self { state, params, params_count, prepared: false, groups: 0, shared: Shared { grid, context } }
    }

    /// Takes parameters from columns after the first `inputs`; every row holds the same.
    fn learn(&mut self, values: &[ArrayRef], inputs: usize) -> Result<()> {
        let mut columns = values.iter().skip(inputs);
        for param in self.params.iter_mut().take(self.params_count) {
            if param.is_none()
                && let Some(column) = columns.next()
                && !column.is_empty()
            {
                *param = Some(Grids::new(column.as_ref())?.row(0).values.into());
            }
        }
        Ok(())
    }

    fn params(params: &[KnownParam; 2]) -> Params<'_> {
        Params([0, 1].map(|index: usize| match params[index].as_deref() {
            None | Some([]) => Param::Constant(f64::NAN),
            Some([value]) => Param::Constant(*value),
            Some(values) => Param::PerStep(values),
        }))
    }

    fn resize(&mut self, groups: usize, any_row: bool) -> Result<()> {
        if any_row && !self.prepared {
            self.state.prepare(&Self::params(&self.params), self.shared.grid.steps)?;
            self.prepared = true;
        }
        self.groups = self.groups.max(groups);
        self.state.resize(self.groups);
        Ok(())
    }
}

impl<S: RowState> GroupsAccumulator for RowGroups<S> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        _: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.shared.context.check()?;
        let has_labels = matches!(values[0].data_type(), DataType::BinaryView);
        let inputs = if has_labels { 2 } else { 1 };
        if !group_indices.is_empty() {
            self.learn(values, inputs)?;
        }
        self.resize(total_num_groups, !group_indices.is_empty())?;
        let keys: Option<&BinaryViewArray> =
            if has_labels { Some(label_keys(values[0].as_ref())?) } else { None };
        let grids = Grids::new(values[inputs - 1].as_ref())?;
        for (row, group) in group_indices.iter().enumerate() {
            let key = keys.map_or(&[][..], |keys| keys.value(row));
            self.state.add(*group, InputRow::Sample(key, grids.row(row)), &self.shared)?;
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = emitted(emit_to, self.groups);
        let steps = self.shared.grid.steps;
        let params = Self::params(&self.params);
        let out = if S::GIVES_ROWS {
            let mut out = RowsBuilder::new(steps);
            for group in 0..groups {
                self.state.rows(group, &mut out)?;
                out.end_list();
            }
            out.finish()
        } else {
            let mut out = GridBuilder::new(steps, groups);
            for group in 0..groups {
                self.shared.context.check()?;
                self.state.finish(group, &params, &self.shared, out.row()?)?;
            }
            out.finish()
        };
        self.state.drop_first(groups);
        self.groups -= groups;
        Ok(out)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = emitted(emit_to, self.groups);
        let mut out = RowsBuilder::new(self.shared.grid.steps);
        for group in 0..groups {
            self.state.rows(group, &mut out)?;
            out.end_list();
        }
        self.state.drop_first(groups);
        self.groups -= groups;
        Ok(vec![out.finish()])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.shared.context.check()?;
        self.resize(total_num_groups, !group_indices.is_empty())?;
        let Some(lists) = values[0].as_list_opt::<i32>() else {
            return internal_err!("a state of rows is {}", values[0].data_type());
        };
        let Some(rows) = lists.values().as_struct_opt() else {
            return internal_err!("rows of a state are {}", lists.values().data_type());
        };
        let (keys, grids) = (label_keys(rows.column(0).as_ref())?, Grids::new(rows.column(1).as_ref())?);
        for (list, group) in group_indices.iter().enumerate() {
            let offsets = lists.value_offsets();
            for row in offsets[list] as usize..offsets[list + 1] as usize {
                self.state.add(*group, InputRow::State(keys.value(row), grids.row(row)), &self.shared)?;
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], _: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let context = Arc::clone(&self.shared.context);
        let params = self.params.clone();
        as_state(Self::new(self.state.fresh(), params, self.params_count, self.shared.grid, context), values)
    }

    fn size(&self) -> usize {
        self.state.bytes()
    }
}

fn no_grid() -> Result<()> {
    internal_err!("the result of this aggregation is rows")
}

struct Quantile {
    state: QuantileAccumulator,
    steps: usize,
    memory: usize,
}

impl RowState for Quantile {
    const GIVES_ROWS: bool = false;

    fn fresh(&self) -> Self {
        Self { state: QuantileAccumulator::new(self.steps), steps: self.steps, memory: 0 }
    }

    fn resize(&mut self, groups: usize) {
        self.state.resize(groups);
    }

    fn add(&mut self, group: usize, row: InputRow<'_>, _: &Shared) -> Result<()> {
        let (InputRow::Sample(_, row) | InputRow::State(_, row)) = row;
        self.memory += row.values.len() * (size_of::<f64>() + 1);
        self.state.update(group, row.values, row.valid);
        Ok(())
    }

    fn rows(&self, group: usize, out: &mut RowsBuilder) -> Result<()> {
        let (values, valid) = self.state.rows(group);
        let steps = self.steps.max(1);
        for (values, valid) in values.chunks(steps).zip(valid.chunks(steps)) {
            let (into, set) = out.row(&[])?;
            into.copy_from_slice(values);
            set.copy_from_slice(valid);
        }
        Ok(())
    }

    fn finish(&self, group: usize, params: &Params<'_>, _: &Shared, out: Output<'_>) -> Result<()> {
        self.state.finish(group, params.0[0], out.0, out.1);
        Ok(())
    }

    fn drop_first(&mut self, groups: usize) {
        self.state.drop_first(groups);
    }

    fn bytes(&self) -> usize {
        self.memory
    }
}

/// `topk` and `bottomk`.
struct Top {
    order: Order,
    state: Option<TopK>,
    /// The labels of the series that were ever kept, by id.
    labels: Vec<Box<[u8]>>,
    bytes: usize,
    groups: usize,
}

impl Top {
    fn state(&self) -> Result<&TopK> {
        match &self.state {
            Some(state) => Ok(state),
            None => internal_err!("topk has no parameter yet"),
        }
    }
}

/// The limits of topk and its kin per step; a constant parameter is spread.
fn limits(params: &Params<'_>, steps: usize) -> Result<Vec<usize>> {
    select::limits(params.0[0], steps, usize::MAX).map_err(|error| QueryError::Execution(error.0).into())
}

impl RowState for Top {
    const GIVES_ROWS: bool = true;

    fn fresh(&self) -> Self {
        Self { order: self.order, state: None, labels: Vec::new(), bytes: 0, groups: 0 }
    }

    fn prepare(&mut self, params: &Params<'_>, steps: usize) -> Result<()> {
        self.state = Some(TopK::new(self.order, limits(params, steps)?));
        Ok(())
    }

    fn resize(&mut self, groups: usize) {
        self.groups = groups;
        if let Some(state) = &mut self.state {
            state.resize(groups);
        }
    }

    fn add(&mut self, group: usize, row: InputRow<'_>, _: &Shared) -> Result<()> {
        let (InputRow::Sample(key, row) | InputRow::State(key, row)) = row;
        let Some(state) = &mut self.state else { return internal_err!("topk has no parameter yet") };
        if state.update(group, self.labels.len() as u64, row.values, row.valid) {
            self.labels.push(key.into());
            self.bytes += key.len() + size_of::<Box<[u8]>>();
        }
        Ok(())
    }

    fn rows(&self, group: usize, out: &mut RowsBuilder) -> Result<()> {
        let state = self.state()?;
        if state.steps() == 1 {
            for entry in state.ranked(group, 0) {
                let (values, valid) = out.row(&self.labels[entry.series as usize])?;
                (values[0], valid[0]) = (entry.value, true);
            }
            return Ok(());
        }
        let mut kept: Vec<(u64, usize, f64)> = (0..state.steps())
            .flat_map(|step| {
                state.entries(group, step).iter().map(move |entry| (entry.series, step, entry.value))
            })
            .collect();
        kept.sort_unstable_by_key(|(series, step, _)| (*series, *step));
        for of_series in kept.chunk_by(|a, b| a.0 == b.0) {
            let (values, valid) = out.row(&self.labels[of_series[0].0 as usize])?;
            for (_, step, value) in of_series {
                (values[*step], valid[*step]) = (*value, true);
            }
        }
        Ok(())
    }

    fn finish(&self, _: usize, _: &Params<'_>, _: &Shared, _: Output<'_>) -> Result<()> {
        no_grid()
    }

    fn drop_first(&mut self, groups: usize) {
        // Emitted completely or not at all: these functions run in one stage, without spilling.
        if groups >= self.groups {
            self.state = None;
            self.labels.clear();
            self.bytes = 0;
        }
    }

    fn bytes(&self) -> usize {
        self.bytes + self.state.as_ref().map_or(0, TopK::memory_bytes)
    }
}

/// `limitk`.
struct First {
    state: Option<LimitK>,
    rows: Vec<Vec<KeptRow>>,
    bytes: usize,
}

struct KeptRow {
    key: Box<[u8]>,
    values: Box<[f64]>,
    valid: Box<[bool]>,
}

impl RowState for First {
    const GIVES_ROWS: bool = true;

    fn fresh(&self) -> Self {
        Self { state: None, rows: Vec::new(), bytes: 0 }
    }

    fn prepare(&mut self, params: &Params<'_>, steps: usize) -> Result<()> {
        self.state = Some(LimitK::new(limits(params, steps)?));
        Ok(())
    }

    fn resize(&mut self, groups: usize) {
        if groups > self.rows.len() {
            self.rows.resize_with(groups, Vec::new);
        }
    }

    fn add(&mut self, group: usize, row: InputRow<'_>, _: &Shared) -> Result<()> {
        let (InputRow::Sample(key, row) | InputRow::State(key, row)) = row;
        let Some(state) = &mut self.state else { return internal_err!("limitk has no parameter yet") };
        let mut valid = vec![false; row.values.len()];
        row.valid.expand(&mut valid);
        if state.keep(group, &mut valid) > 0 {
            self.bytes += key.len() + row.values.len() * (size_of::<f64>() + 1) + size_of::<KeptRow>();
            self.rows[group].push(KeptRow {
                key: key.into(),
                values: row.values.into(),
                valid: valid.into(),
            });
        }
        Ok(())
    }

    fn rows(&self, group: usize, out: &mut RowsBuilder) -> Result<()> {
        for row in &self.rows[group] {
            let (values, valid) = out.row(&row.key)?;
            values.copy_from_slice(&row.values);
            valid.copy_from_slice(&row.valid);
        }
        Ok(())
    }

    fn finish(&self, _: usize, _: &Params<'_>, _: &Shared, _: Output<'_>) -> Result<()> {
        no_grid()
    }

    fn drop_first(&mut self, groups: usize) {
        self.rows.drain(..groups);
        if self.rows.is_empty() {
            self.state = None;
            self.bytes = 0;
        }
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

/// `count_values`: the key of a row is the text of the value.
struct Counts {
    state: CountValues,
    steps: usize,
}

impl RowState for Counts {
    const GIVES_ROWS: bool = true;

    fn fresh(&self) -> Self {
        Self { state: CountValues::new(self.steps), steps: self.steps }
    }

    fn resize(&mut self, groups: usize) {
        self.state.resize(groups);
    }

    fn add(&mut self, group: usize, row: InputRow<'_>, _: &Shared) -> Result<()> {
        match row {
            InputRow::Sample(_, row) => self.state.update(group, row.values, row.valid),
            InputRow::State(key, row) => {
                let value = std::str::from_utf8(key).ok().and_then(go::parse_float).unwrap_or(f64::NAN);
                for (step, count) in row.iter() {
                    self.state.add(group, step, value, count);
                }
            }
        }
        Ok(())
    }

    fn rows(&self, group: usize, out: &mut RowsBuilder) -> Result<()> {
        for (value, counts) in self.state.finish(group) {
            let (values, valid) = out.row(value.as_bytes())?;
            for (step, count) in counts.iter().enumerate() {
                (values[step], valid[step]) = (*count, *count > 0.0);
            }
        }
        Ok(())
    }

    fn finish(&self, _: usize, _: &Params<'_>, _: &Shared, _: Output<'_>) -> Result<()> {
        no_grid()
    }

    fn drop_first(&mut self, groups: usize) {
        if groups >= self.state.groups() {
            self.state = CountValues::new(self.steps);
        }
    }

    fn bytes(&self) -> usize {
        self.state.memory_bytes()
    }
}

/// The buckets of classic histograms: the key of a state's row is the labels, `le` among them.
struct Buckets {
    arguments: BucketArguments,
    groups: Vec<BucketGroup>,
    bytes: usize,
}

#[derive(Default)]
struct BucketGroup {
    name: String,
    rows: Vec<BucketRow>,
}

struct BucketRow {
    key: Box<[u8]>,
    bound: f64,
    values: Box<[f64]>,
    valid: Box<[bool]>,
}

impl Buckets {
    fn bad_bucket(&self, labels: LabelsRef<'_>, shared: &Shared) {
        let name = if self.arguments.named { labels.metric_name() } else { "".into() };
        let annotation = Annotation::bad_bucket_label(&name, &labels.get("le").unwrap_or_default());
        shared.context.annotations().add(annotation, self.arguments.place);
    }
}

impl RowState for Buckets {
    const GIVES_ROWS: bool = false;

    fn fresh(&self) -> Self {
        Self { arguments: self.arguments.clone(), groups: Vec::new(), bytes: 0 }
    }

    fn resize(&mut self, groups: usize) {
        if groups > self.groups.len() {
            self.groups.resize_with(groups, BucketGroup::default);
        }
    }

    fn add(&mut self, group: usize, row: InputRow<'_>, shared: &Shared) -> Result<()> {
        let (InputRow::Sample(key, row) | InputRow::State(key, row)) = row;
        let labels = labels_of(key);
        let Some(bound) = upper_bound(labels) else {
            if row.has_any() {
                self.bad_bucket(labels, shared);
            }
            return Ok(());
        };
        let mut valid = vec![false; row.values.len()];
        row.valid.expand(&mut valid);
        self.bytes += key.len() + row.values.len() * (size_of::<f64>() + 1) + size_of::<BucketRow>();
        let group = &mut self.groups[group];
        if self.arguments.named && group.rows.is_empty() {
            group.name = labels.metric_name().into_owned();
        }
        let (key, values, valid) = (key.into(), row.values.into(), valid.into());
        group.rows.push(BucketRow { key, bound, values, valid });
        Ok(())
    }

    fn rows(&self, group: usize, out: &mut RowsBuilder) -> Result<()> {
        for row in &self.groups[group].rows {
            let (values, valid) = out.row(&row.key)?;
            values.copy_from_slice(&row.values);
            valid.copy_from_slice(&row.valid);
        }
        Ok(())
    }

    fn finish(&self, group: usize, params: &Params<'_>, shared: &Shared, out: Output<'_>) -> Result<()> {
        let group = &self.groups[group];
        let mut histogram = ClassicHistogram::new(shared.grid.steps);
        for row in &group.rows {
            histogram.add(row.bound, &row.values, Validity::Bools(&row.valid));
        }
        match self.arguments.function {
            BucketFunction::Quantile => {
                let mut forced = AnnotationSet::default();
                histogram.quantile(params.0[0], out.0, out.1, |step, buckets| {
                    let time = shared.grid.time(step);
                    let annotation = Annotation::forced_monotonicity(&group.name, time, buckets);
                    forced.add(annotation, self.arguments.place);
                });
                shared.context.annotations().merge(forced);
            }
            BucketFunction::Fraction => {
                histogram.fraction(params.0[0], params.0[1], out.0, out.1);
            }
        }
        Ok(())
    }

    fn drop_first(&mut self, groups: usize) {
        self.groups.drain(..groups);
        if self.groups.is_empty() {
            self.bytes = 0;
        }
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests;
