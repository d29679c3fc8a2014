//! Columns of grids, written and read: one row per series, one point per step.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, Float64Array, Int64Array, ListArray, RecordBatch,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{Float64Type, Int64Type};
use datafusion::common::{Result, exec_err, internal_err};
use promontory_model::FloatsView;
use promontory_promql::{GridRow, Validity};

use super::columns::{label_keys, list_of, wrong_type};

/// Rows of grids under construction; every row has `steps` points.
#[derive(Debug)]
pub struct GridBuilder {
    steps: usize,
    values: Vec<f64>,
    valid: Vec<bool>,
    offsets: Vec<i32>,
}

impl GridBuilder {
    /// Room for `rows` rows.
    pub fn new(steps: usize, rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        let room = steps.saturating_mul(rows);
        Self { steps, values: Vec::with_capacity(room), valid: Vec::with_capacity(room), offsets }
    }

    /// A new row, all points absent, to be written by the caller.
    ///
    /// # Errors
    /// If a column would hold more values than a list can address.
    pub fn row(&mut self) -> Result<(&mut [f64], &mut [bool])> {
        let from = self.values.len();
        let to = from + self.steps;
        let Ok(offset) = i32::try_from(to) else {
            return exec_err!("a column of {to} values does not fit a list array");
        };
        self.values.resize(to, 0.0);
        self.valid.resize(to, false);
        self.offsets.push(offset);
        Ok((&mut self.values[from..], &mut self.valid[from..]))
    }

    pub fn finish(self) -> ArrayRef {
        // Most grids are full, and to look for one that is absent is cheaper than to pack them all.
        let full = !self.valid.contains(&false);
        let nulls = (!full).then(|| NullBuffer::new(BooleanBuffer::from(self.valid.as_slice())));
        list_of(Float64Array::new(ScalarBuffer::from(self.values), nulls), self.offsets)
    }
}

/// Reads a column of grids.
#[derive(Clone, Debug)]
pub struct Grids {
    list: ListArray,
    values: Float64Array,
}

impl Grids {
    /// Reads a `List<Float64>` column.
    ///
    /// # Errors
    /// If it is of another type, which is a bug of the planner.
    pub fn new(array: &dyn Array) -> Result<Self> {
        let list = array.as_list_opt::<i32>().ok_or_else(|| wrong_type(array))?;
        let values = list.values();
        let values = values.as_primitive_opt::<Float64Type>().ok_or_else(|| wrong_type(values))?;
        Ok(Self { values: values.clone(), list: list.clone() })
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Points per row, by the first row.
    pub fn steps(&self) -> usize {
        if self.is_empty() { 0 } else { self.row(0).values.len() }
    }

    /// One row; a null row has no points.
    pub fn row(&self, row: usize) -> GridRow<'_> {
        let (from, to) = if self.list.is_null(row) {
            (0, 0)
        } else {
            let offsets = self.list.value_offsets();
            (offsets[row] as usize, offsets[row + 1] as usize)
        };
        let valid = match self.values.nulls() {
            None => Validity::All,
            Some(nulls) => Validity::Bits { bytes: nulls.validity(), offset: nulls.offset() + from },
        };
        GridRow { values: &self.values.values()[from..to], valid }
    }
}

/// Reads a column of timestamps of raw samples.
#[derive(Clone, Debug)]
pub struct Timestamps {
    list: ListArray,
    values: Int64Array,
}

impl Timestamps {
    /// Reads a `List<Int64>` column.
    ///
    /// # Errors
    /// If it is of another type, which is a bug of the planner.
    pub fn new(array: &dyn Array) -> Result<Self> {
        let list = array.as_list_opt::<i32>().ok_or_else(|| wrong_type(array))?;
        let values = list.values();
        let values = values.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong_type(values))?;
        Ok(Self { values: values.clone(), list: list.clone() })
    }

    /// The timestamps of one row.
    pub fn row(&self, row: usize) -> &[i64] {
        let offsets = self.list.value_offsets();
        &self.values.values()[offsets[row] as usize..offsets[row + 1] as usize]
    }
}

/// Reads the two columns of raw samples.
#[derive(Clone, Debug)]
pub struct FloatLists {
    ts: Timestamps,
    values: Grids,
}

impl FloatLists {
    /// Looks at a `List<Int64>` and a `List<Float64>` column.
    ///
    /// # Errors
    /// If they are of other types, which is a bug of the planner.
    pub fn new(ts: &dyn Array, values: &dyn Array) -> Result<Self> {
        Ok(Self { ts: Timestamps::new(ts)?, values: Grids::new(values)? })
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// The samples of one row.
    ///
    /// # Errors
    /// If it has more timestamps than values or the other way round, which is a bug of the planner.
    pub fn of(&self, row: usize) -> Result<FloatsView<'_>> {
        let (ts, values) = (self.ts.row(row), self.values.row(row).values);
        if ts.len() != values.len() {
            return internal_err!("{} timestamps and {} values in one row", ts.len(), values.len());
        }
        Ok(FloatsView::new(ts, values))
    }
}

/// The two columns of a vector.
///
/// # Errors
/// If the batch is not a vector, which is a bug of the planner.
pub fn vector_columns(batch: &RecordBatch) -> Result<(&BinaryViewArray, Grids)> {
    if batch.num_columns() < 2 {
        return internal_err!("a vector has two columns, not {}", batch.num_columns());
    }
    Ok((label_keys(batch.column(0))?, Grids::new(batch.column(1))?))
}
