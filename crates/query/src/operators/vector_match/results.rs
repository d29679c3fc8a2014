//! The rows that a match gives, and the first error that it meets.

use arrow::array::RecordBatch;
use datafusion::common::Result;

use super::side::Ordinals;
use crate::error::execution;
use crate::table::{GridBuilder, labels_array, vector_schema};

/// Result rows by their labels.
pub(super) struct Results {
    by_labels: Ordinals,
    keys: Vec<Vec<u8>>,
    values: Vec<Box<[f64]>>,
    valid: Vec<Box<[bool]>>,
    steps: usize,
}

impl Results {
    pub(super) fn new(steps: usize) -> Self {
        Self {
            by_labels: Ordinals::default(),
            keys: Vec::new(),
            values: Vec::new(),
            valid: Vec::new(),
            steps,
        }
    }

    /// The row of these labels, made if there is none yet.
    pub(super) fn row(&mut self, key: &[u8]) -> usize {
        if let Some(row) = self.by_labels.get(key) {
            return *row as usize;
        }
        let row = self.keys.len();
        self.by_labels.insert(key.to_vec(), row as u32);
        self.keys.push(key.to_vec());
        self.values.push(vec![0.0; self.steps].into());
        self.valid.push(vec![false; self.steps].into());
        row
    }

    /// Writes points into a row and returns the first step at which there was one already.
    pub(super) fn write(&mut self, row: usize, values: &[f64], valid: &[bool]) -> Option<usize> {
        let (out, set) = (&mut self.values[row], &mut self.valid[row]);
        let mut conflict = None;
        for step in 0..self.steps {
            if valid[step] {
                if set[step] && conflict.is_none() {
                    conflict = Some(step);
                }
                out[step] = values[step];
                set[step] = true;
            }
        }
        conflict
    }

    pub(super) fn into_batches(self, rows_per_batch: usize) -> Result<Vec<RecordBatch>> {
        let filled: Vec<usize> =
            (0..self.keys.len()).filter(|row| self.valid[*row].iter().any(|valid| *valid)).collect();
        filled
            .chunks(rows_per_batch.max(1))
            .map(|rows| {
                let mut grids = GridBuilder::new(self.steps, rows.len());
                for row in rows {
                    let (values, valid) = grids.row()?;
                    values.copy_from_slice(&self.values[*row]);
                    valid.copy_from_slice(&self.valid[*row]);
                }
                let labels = labels_array(rows.iter().map(|row| self.keys[*row].as_slice()));
                Ok(RecordBatch::try_new(vector_schema(), vec![labels, grids.finish()])?)
            })
            .collect()
    }
}

/// The error of the earliest step; at one step, the one that Prometheus checks first.
#[derive(Default)]
pub(super) struct FirstError(Option<(usize, u8, String)>);

impl FirstError {
    pub(super) fn offer(&mut self, step: usize, rank: u8, text: impl FnOnce() -> String) {
        if self.0.as_ref().is_none_or(|(known, order, _)| (step, rank) < (*known, *order)) {
            self.0 = Some((step, rank, text()));
        }
    }

    pub(super) fn step(&self) -> Option<usize> {
        self.0.as_ref().map(|(step, _, _)| *step)
    }

    pub(super) fn raise(self) -> Result<()> {
        self.0.map_or(Ok(()), |(_, _, text)| execution(text))
    }
}

pub(super) const ONE_SIDE: u8 = 0;
pub(super) const MATCHES: u8 = 1;
pub(super) const LABELSET: u8 = 2;

pub(super) fn same_labelset() -> String {
    "vector cannot contain metrics with the same labelset".into()
}
