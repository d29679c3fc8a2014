//! `topk`, `bottomk` and `limitk`: the rows of a group that are kept.

use std::mem::size_of;

use datafusion::common::{Result, internal_err};
use promontory_promql::kernels::{LimitK, Order, TopK, limits_per_step};

use super::{InputRow, Output, Params, RowState, RowsBuilder, Shared, no_grid};
use crate::error::QueryError;

/// `topk` and `bottomk`.
pub(in crate::aggregates) struct Top {
    order: Order,
    state: Option<TopK>,
    /// The labels of the series that were ever kept, by id.
    labels: Vec<Box<[u8]>>,
    bytes: usize,
    groups: usize,
}

impl Top {
    pub(in crate::aggregates) fn new(order: Order) -> Self {
        Self { order, state: None, labels: Vec::new(), bytes: 0, groups: 0 }
    }

    fn state(&self) -> Result<&TopK> {
        match &self.state {
            Some(state) => Ok(state),
            None => internal_err!("topk has no parameter yet"),
        }
    }
}

/// How many series topk, bottomk and limitk keep at each step; a constant parameter is spread.
fn limits(params: &Params<'_>, steps: usize) -> Result<Vec<usize>> {
    limits_per_step(params.0[0], steps, usize::MAX).map_err(|error| QueryError::Execution(error.0).into())
}

impl RowState for Top {
    const GIVES_ROWS: bool = true;

    fn fresh(&self) -> Self {
        Self::new(self.order)
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
        if state.update(group, self.labels.len() as u64, row) {
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
#[derive(Default)]
pub(in crate::aggregates) struct First {
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
        Self::default()
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
