//! The one representation of every PromQL vector as Arrow columns.
//!
//! ```text
//! labels: BinaryView      values: List<Float64>, one element per step
//! {job="a"}               [1.5, null, NaN ]     null = no sample at this step; NaN is a value
//! {job="b"}               [2.0, 2.0,  null]
//! ```
//!
//! `labels` holds exactly the canonical key of [`promontory_model::Labels`]; a scalar is one row with
//! the empty label set. A key whose metric name is to go at the end of the query carries a mark before
//! it ([`promontory_plan::DROP_NAME_MARK`]). The schema is the same for every node and every query.
//!
//! Raw samples, which only functions of windows read, are `labels`, `ts: List<Int64>`,
//! `values: List<Float64>` without nulls.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BinaryViewBuilder, Float64Array, GenericListArray, Int64Array,
    ListArray, RecordBatch,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type, Schema, SchemaRef};
use datafusion::common::{DataFusionError, Result, exec_err, internal_err};
use promontory_promql::grid::Validity;

/// Column of label sets.
pub const LABELS: &str = "labels";
/// Column of timestamps, of raw samples only.
pub const TS: &str = "ts";
/// Column of values.
pub const VALUES: &str = "values";

static VALUE_ITEM: LazyLock<FieldRef> =
    LazyLock::new(|| Arc::new(Field::new("item", DataType::Float64, true)));
static TS_ITEM: LazyLock<FieldRef> = LazyLock::new(|| Arc::new(Field::new("item", DataType::Int64, true)));
static VECTOR_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new(LABELS, DataType::BinaryView, false),
        Field::new(VALUES, grid_type(), false),
    ]))
});
static SAMPLES_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new(LABELS, DataType::BinaryView, false),
        Field::new(TS, DataType::List(Arc::clone(&TS_ITEM)), false),
        Field::new(VALUES, grid_type(), false),
    ]))
});

/// The type of `values`.
pub fn grid_type() -> DataType {
    DataType::List(Arc::clone(&VALUE_ITEM))
}

/// The type of `ts`.
pub fn timestamps_type() -> DataType {
    DataType::List(Arc::clone(&TS_ITEM))
}

/// The field of `values`.
pub fn values_field() -> FieldRef {
    Arc::new(Field::new(VALUES, grid_type(), false))
}

/// The field of `labels`.
pub fn labels_field() -> FieldRef {
    Arc::new(Field::new(LABELS, DataType::BinaryView, false))
}

/// `labels`, `values`.
pub fn vector_schema() -> SchemaRef {
    Arc::clone(&VECTOR_SCHEMA)
}

/// `labels`, `ts`, `values`.
pub fn samples_schema() -> SchemaRef {
    Arc::clone(&SAMPLES_SCHEMA)
}

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

    /// The column.
    pub fn finish(self) -> ArrayRef {
        // Most grids are full, and to look for one that is absent is cheaper than to pack them all.
        let full = !self.valid.contains(&false);
        let nulls = (!full).then(|| NullBuffer::new(BooleanBuffer::from(self.valid.as_slice())));
        list_of(Float64Array::new(ScalarBuffer::from(self.values), nulls), self.offsets)
    }
}

fn list_of(values: Float64Array, offsets: Vec<i32>) -> ArrayRef {
    Arc::new(ListArray::new(
        Arc::clone(&VALUE_ITEM),
        OffsetBuffer::new(ScalarBuffer::from(offsets)),
        Arc::new(values),
        None,
    ))
}

/// One grid as a list value, for literals.
pub fn grid_array(values: &[f64]) -> Arc<ListArray> {
    let offsets = OffsetBuffer::from_lengths([values.len()]);
    let child = Float64Array::from(values.to_vec());
    Arc::new(GenericListArray::new(Arc::clone(&VALUE_ITEM), offsets, Arc::new(child), None))
}

/// Offsets of list columns; the buffers of decoded samples become their children without a copy.
///
/// # Errors
/// If the samples do not fit 32-bit list offsets.
pub fn list_offsets(offsets: &[usize]) -> Result<OffsetBuffer<i32>> {
    let samples = offsets.last().copied().unwrap_or(0);
    if i32::try_from(samples).is_err() {
        return exec_err!("a batch of {samples} samples does not fit a list array");
    }
    let offsets: Vec<i32> = offsets.iter().map(|offset| *offset as i32).collect();
    Ok(OffsetBuffer::new(ScalarBuffer::from(offsets)))
}

/// A column of timestamps of raw samples.
///
/// # Errors
/// If there are fewer timestamps than the offsets say.
pub fn timestamps_column(offsets: OffsetBuffer<i32>, ts: Vec<i64>) -> Result<ArrayRef> {
    let ts = Arc::new(Int64Array::new(ScalarBuffer::from(ts), None));
    Ok(Arc::new(ListArray::try_new(Arc::clone(&TS_ITEM), offsets, ts, None)?))
}

/// A column of values of raw samples.
///
/// # Errors
/// If there are fewer values than the offsets say.
pub fn samples_column(offsets: OffsetBuffer<i32>, values: Vec<f64>) -> Result<ArrayRef> {
    let values = Arc::new(Float64Array::new(ScalarBuffer::from(values), None));
    Ok(Arc::new(ListArray::try_new(Arc::clone(&VALUE_ITEM), offsets, values, None)?))
}

/// A column of label sets.
pub fn labels_array<'a>(keys: impl ExactSizeIterator<Item = &'a [u8]>) -> ArrayRef {
    let mut builder = BinaryViewBuilder::with_capacity(keys.len());
    for key in keys {
        builder.append_value(key);
    }
    Arc::new(builder.finish())
}

/// Reads a column of grids.
#[derive(Clone, Debug)]
pub struct Grids {
    list: ListArray,
    values: Float64Array,
}

/// One row of a column of grids.
#[derive(Clone, Copy, Debug)]
pub struct GridRow<'a> {
    /// One value per step; what is not valid is arbitrary.
    pub values: &'a [f64],
    /// Which steps carry a sample.
    pub valid: Validity<'a>,
}

impl Grids {
    /// Looks at a `List<Float64>` column.
    ///
    /// # Errors
    /// If it is of another type, which is a bug of the planner.
    pub fn new(array: &dyn Array) -> Result<Self> {
        let list = array.as_list_opt::<i32>().ok_or_else(|| wrong_type(array))?;
        let values = list.values();
        let values = values.as_primitive_opt::<Float64Type>().ok_or_else(|| wrong_type(values))?;
        Ok(Self { values: values.clone(), list: list.clone() })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True if there is no row.
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

impl<'a> GridRow<'a> {
    /// The points that carry a sample: index and value.
    pub fn iter(self) -> impl Iterator<Item = (usize, f64)> + 'a {
        let valid = self.valid;
        self.values.iter().enumerate().filter(move |(index, _)| valid.get(*index)).map(|(i, v)| (i, *v))
    }

    /// True if any point carries a sample.
    pub fn has_any(self) -> bool {
        match self.valid {
            Validity::All => !self.values.is_empty(),
            valid => (0..self.values.len()).any(|index| valid.get(index)),
        }
    }
}

/// Reads a column of timestamps of raw samples.
#[derive(Clone, Debug)]
pub struct Timestamps {
    list: ListArray,
    values: Int64Array,
}

impl Timestamps {
    /// Looks at a `List<Int64>` column.
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

/// Looks at a column of label sets.
///
/// # Errors
/// If it is of another type, which is a bug of the planner.
pub fn label_keys(array: &dyn Array) -> Result<&BinaryViewArray> {
    array.as_binary_view_opt().ok_or_else(|| wrong_type(array))
}

fn wrong_type(array: &dyn Array) -> DataFusionError {
    DataFusionError::Internal(format!("unexpected column type {}", array.data_type()))
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
