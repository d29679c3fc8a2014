//! `quantile`: a group's rows are its state.

use std::mem::size_of;

use datafusion::common::Result;
use promontory_promql::kernels::QuantileAccumulator;

use super::{InputRow, Output, Params, RowState, RowsBuilder, Shared};

/// `quantile`.
pub(in crate::aggregates) struct Quantile {
    state: QuantileAccumulator,
    steps: usize,
    memory: usize,
}

impl Quantile {
    pub(in crate::aggregates) fn new(steps: usize) -> Self {
        Self { state: QuantileAccumulator::new(steps), steps, memory: 0 }
    }
}

impl RowState for Quantile {
    const GIVES_ROWS: bool = false;

    fn fresh(&self) -> Self {
        Self::new(self.steps)
    }

    fn resize(&mut self, groups: usize) {
        self.state.resize(groups);
    }

    fn add(&mut self, group: usize, row: InputRow<'_>, _: &Shared) -> Result<()> {
        let (InputRow::Sample(_, row) | InputRow::State(_, row)) = row;
        self.memory += row.values.len() * (size_of::<f64>() + 1);
        self.state.update(group, row);
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
