//! One side of a match: its rows, read completely, and the groups that they belong to.

use std::collections::HashMap;

use arrow::array::{Array, BinaryViewArray, RecordBatch};
use datafusion::common::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::TryStreamExt;
use promontory_block::LabelHash;
use promontory_model::LabelsRef;
use promontory_plan::{LabelProjection, labels_of};

use crate::context::QueryContext;
use crate::table::{Grids, vector_columns};
use promontory_promql::GridRow;

/// One side, read completely.
#[derive(Default)]
pub(super) struct Side {
    batches: Vec<(BinaryViewArray, Grids)>,
    pub(super) rows: Vec<(u32, u32)>,
    pub(super) ordinals: Vec<u32>,
}

impl Side {
    pub(super) async fn read(
        mut stream: SendableRecordBatchStream,
        context: &QueryContext,
        reservation: &MemoryReservation,
        sorted: bool,
    ) -> Result<Self> {
        let mut side = Self::default();
        while let Some(batch) = stream.try_next().await? {
            context.check()?;
            reservation.try_grow(batch_bytes(&batch)?)?;
            let (labels, grids) = vector_columns(&batch)?;
            let index = side.batches.len() as u32;
            let rows = 0..grids.len();
            side.rows.extend(rows.filter(|row| grids.row(*row).has_any()).map(|row| (index, row as u32)));
            side.batches.push((labels.clone(), grids));
        }
        if !sorted {
            // Several partitions arrive in any order; errors and results must not depend on it.
            let mut rows = std::mem::take(&mut side.rows);
            rows.sort_by(|a, b| side.key_at(*a).cmp(side.key_at(*b)));
            side.rows = rows;
        }
        Ok(side)
    }

    fn key_at(&self, (batch, row): (u32, u32)) -> &[u8] {
        self.batches[batch as usize].0.value(row as usize)
    }

    pub(super) fn key(&self, index: usize) -> &[u8] {
        self.key_at(self.rows[index])
    }

    pub(super) fn labels(&self, index: usize) -> LabelsRef<'_> {
        labels_of(self.key(index))
    }

    pub(super) fn row(&self, index: usize) -> GridRow<'_> {
        let (batch, row) = self.rows[index];
        self.batches[batch as usize].1.row(row as usize)
    }

    pub(super) fn number(&mut self, projection: &LabelProjection, groups: &mut Ordinals) {
        let mut key = Vec::new();
        let mut ordinals = Vec::with_capacity(self.rows.len());
        for index in 0..self.rows.len() {
            key.clear();
            projection.apply(self.labels(index).key(), &mut key);
            let next = groups.len() as u32;
            ordinals.push(match groups.get(key.as_slice()) {
                Some(ordinal) => *ordinal,
                None => *groups.entry(key.clone()).or_insert(next),
            });
        }
        self.ordinals = ordinals;
    }

    /// The rows of each group, in row order.
    pub(super) fn rows_by_group(&self, groups: usize) -> Vec<Vec<u32>> {
        let mut rows = vec![Vec::new(); groups];
        for (index, ordinal) in self.ordinals.iter().enumerate() {
            rows[*ordinal as usize].push(index as u32);
        }
        rows
    }

    /// The steps at which any row has a sample.
    pub(super) fn steps_with_any(&self, steps: usize) -> Vec<bool> {
        let mut any = vec![false; steps];
        let mut missing = steps;
        for index in 0..self.rows.len() {
            if missing == 0 {
                break;
            }
            missing -= union_into(&mut any, self.row(index));
        }
        any
    }
}

/// Adds the points of a row; answers how many are new.
pub(super) fn union_into(any: &mut [bool], row: GridRow<'_>) -> usize {
    let mut added = 0;
    for (step, any) in any.iter_mut().enumerate() {
        if !*any && row.valid.get(step) {
            *any = true;
            added += 1;
        }
    }
    added
}

fn batch_bytes(batch: &RecordBatch) -> Result<usize> {
    // Slices share buffers: `get_array_memory_size` would charge the whole buffer for each.
    batch.columns().iter().map(|column| Ok(column.to_data().get_slice_memory_size()?)).sum()
}

/// Numbers of label sets.
pub(super) type Ordinals = HashMap<Vec<u8>, u32, LabelHash>;
