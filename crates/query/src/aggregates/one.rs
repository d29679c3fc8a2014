//! At most one sample per group and step: the check for equal label sets, and `scalar`.

use std::mem::size_of;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use datafusion::common::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::{GroupCall, Reads, as_state, emitted};
use crate::context::QueryContext;
use crate::error::execution;
use crate::table::{GridBuilder, Grids};
use promontory_promql::GridRow;

#[derive(Clone, Copy, PartialEq)]
pub(super) enum OneRule {
    Merge,
    Only,
}

/// At most one sample per group and step.
pub(super) struct OneGroups {
    rule: OneRule,
    steps: usize,
    values: Vec<f64>,
    /// Samples per point, counted to two.
    counts: Vec<u8>,
    groups: usize,
    context: Arc<QueryContext>,
}

impl OneGroups {
    pub(super) fn new(rule: OneRule, steps: usize, context: Arc<QueryContext>) -> Self {
        Self { rule, steps, values: Vec::new(), counts: Vec::new(), groups: 0, context }
    }

    fn resize(&mut self, groups: usize) {
        if groups > self.groups {
            self.values.resize(groups * self.steps, 0.0);
            self.counts.resize(groups * self.steps, 0);
            self.groups = groups;
        }
    }

    fn add(&mut self, group: usize, row: GridRow<'_>, count: impl Fn(usize) -> u8) -> Result<()> {
        let from = group * self.steps;
        for (step, value) in row.iter() {
            let counted = &mut self.counts[from + step];
            *counted = counted.saturating_add(count(step)).min(2);
            if *counted > 1 && self.rule != OneRule::Only {
                return same_labelset();
            }
            self.values[from + step] = value;
        }
        Ok(())
    }

    fn drop_first(&mut self, groups: usize) {
        self.values.drain(..groups * self.steps);
        self.counts.drain(..groups * self.steps);
        self.groups -= groups;
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
        let grids = Grids::new(GroupCall::read(Reads::Values, values)?.values.as_ref())?;
        for (row, group) in group_indices.iter().enumerate() {
            self.add(*group, grids.row(row), |_| 1)?;
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = emitted(emit_to, self.groups);
        let mut out = GridBuilder::new(self.steps, groups);
        for group in 0..groups {
            let (values, valid) = out.row()?;
            for step in 0..self.steps {
                let at = group * self.steps + step;
                (values[step], valid[step]) = match (self.rule, self.counts[at]) {
                    (_, 1) => (self.values[at], true),
                    (OneRule::Only, _) => (f64::NAN, true),
                    (OneRule::Merge, _) => (0.0, false),
                };
            }
        }
        self.drop_first(groups);
        Ok(out.finish())
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = emitted(emit_to, self.groups);
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
        self.values.capacity() * size_of::<f64>() + self.counts.capacity()
    }
}
