//! Aggregations with a state of fixed size per group and step: `sum` and those like it.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use promontory_promql::kernels::GridAccumulator;

use super::{GroupCall, Reads, as_state, emitted};
use crate::context::QueryContext;
use crate::table::{GridBuilder, Grids};

pub(super) struct GridGroups {
    pub(super) state: GridAccumulator,
    pub(super) context: Arc<QueryContext>,
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
        let grids = Grids::new(GroupCall::read(Reads::Values, values)?.values.as_ref())?;
        for (row, group) in group_indices.iter().enumerate() {
            let row = grids.row(row);
            if row.values.len() != self.state.steps() {
                return exec_err!(
                    "a row of {} steps in an aggregation over {}",
                    row.values.len(),
                    self.state.steps()
                );
            }
            self.state.update(*group, row);
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
