//! Aggregations that hold rows: a state is a list of (`key`, `values`), so that it can be shipped and
//! merged as any other.

mod quantile;
mod select;
mod count_values;
mod buckets;

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewBuilder, BooleanArray, ListArray, StructArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use promontory_promql::Grid;
use promontory_promql::kernels::Param;

pub(super) use self::buckets::Buckets;
pub(super) use self::count_values::Counts;
pub(super) use self::quantile::Quantile;
pub(super) use self::select::{First, Top};
use super::{GroupCall, KnownParam, Reads, as_state, emitted};
use crate::context::QueryContext;
use crate::table::{GridBuilder, Grids, grid_type, label_keys};
use promontory_promql::GridRow;

static ROW_FIELDS: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        Field::new("labels", DataType::BinaryView, false),
        Field::new("values", grid_type(), false),
    ])
});
static ROW_ITEM: LazyLock<FieldRef> =
    LazyLock::new(|| Arc::new(Field::new("item", DataType::Struct(ROW_FIELDS.clone()), true)));

/// `List<Struct{labels, values}>`: what aggregations give per group that choose or make rows.
pub fn rows_type() -> DataType {
    DataType::List(Arc::clone(&ROW_ITEM))
}

pub fn row_fields() -> Fields {
    ROW_FIELDS.clone()
}

/// Lists of rows under construction.
pub(super) struct RowsBuilder {
    keys: BinaryViewBuilder,
    grids: GridBuilder,
    rows: i32,
    offsets: Vec<i32>,
}

impl RowsBuilder {
    fn new(steps: usize) -> Self {
        Self { keys: BinaryViewBuilder::new(), grids: GridBuilder::new(steps, 0), rows: 0, offsets: vec![0] }
    }

    pub(super) fn row(&mut self, key: &[u8]) -> Result<(&mut [f64], &mut [bool])> {
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
pub(super) trait RowState: Send + 'static {
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
    fn drop_first(&mut self, groups: usize);
    fn bytes(&self) -> usize;
}

pub(super) enum InputRow<'a> {
    /// Of the input: its labels (empty if the function takes none).
    Sample(&'a [u8], GridRow<'a>),
    /// Of another state.
    State(&'a [u8], GridRow<'a>),
}

pub(super) type Output<'a> = (&'a mut [f64], &'a mut [bool]);

pub(super) struct Shared {
    pub(super) grid: Grid,
    pub(super) context: Arc<QueryContext>,
}

/// The scalar arguments of a group's result.
pub(super) struct Params<'a>(pub(super) [Param<'a>; 2]);

pub(super) struct RowGroups<S> {
    state: S,
    reads: Reads,
    params: Vec<KnownParam>,
    prepared: bool,
    groups: usize,
    shared: Shared,
}

impl<S: RowState> RowGroups<S> {
    pub(super) fn new(
        state: S,
        reads: Reads,
        params: Vec<KnownParam>,
        grid: Grid,
        context: Arc<QueryContext>,
    ) -> Self {
        Self { state, reads, params, prepared: false, groups: 0, shared: Shared { grid, context } }
    }

    /// Takes the parameters that planning did not know from their columns.
    fn learn(&mut self, unknown: &[&ArrayRef]) -> Result<()> {
        let mut columns = unknown.iter();
        for param in self.params.iter_mut().filter(|param| param.0.is_none()) {
            if let Some(column) = columns.next()
                && !column.is_empty()
            {
                *param = KnownParam(Some(Grids::new(column.as_ref())?.row(0).values.into()));
            }
        }
        Ok(())
    }

    fn params(params: &[KnownParam]) -> Params<'_> {
        Params([0, 1].map(|index| params.get(index).map_or(Param::Constant(f64::NAN), KnownParam::param)))
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
        let call = GroupCall::read(self.reads, values)?;
        if !group_indices.is_empty() {
            self.learn(&call.unknown)?;
        }
        self.resize(total_num_groups, !group_indices.is_empty())?;
        let keys = call.labels.map(|labels| label_keys(labels.as_ref())).transpose()?;
        let grids = Grids::new(call.values.as_ref())?;
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
        as_state(Self::new(self.state.fresh(), self.reads, params, self.shared.grid, context), values)
    }

    fn size(&self) -> usize {
        self.state.bytes()
    }
}

/// What a state says whose result is rows.
pub(super) fn no_grid() -> Result<()> {
    internal_err!("the result of this aggregation is rows")
}
