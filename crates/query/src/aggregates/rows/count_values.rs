//! `count_values`: how often each value occurs.

use datafusion::common::Result;
use promontory_promql::kernels::CountValues;
use promontory_promql::parse_float;

use super::{InputRow, Output, Params, RowState, RowsBuilder, Shared, no_grid};

/// `count_values`: the key of a row is the text of the value.
pub(in crate::aggregates) struct Counts {
    state: CountValues,
    steps: usize,
}

impl Counts {
    pub(in crate::aggregates) fn new(steps: usize) -> Self {
        Self { state: CountValues::new(steps), steps }
    }
}

impl RowState for Counts {
    const GIVES_ROWS: bool = true;

    fn fresh(&self) -> Self {
        Self::new(self.steps)
    }

    fn resize(&mut self, groups: usize) {
        self.state.resize(groups);
    }

    fn add(&mut self, group: usize, row: InputRow<'_>, _: &Shared) -> Result<()> {
        match row {
            InputRow::Sample(_, row) => self.state.update(group, row),
            InputRow::State(key, row) => {
                let value = std::str::from_utf8(key).ok().and_then(parse_float).unwrap_or(f64::NAN);
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
