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
    ListArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::{DataFusionError, Result, exec_err};

pub const LABELS: &str = "labels";
/// Column of timestamps, of raw samples only.
pub const TS: &str = "ts";
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

pub fn grid_type() -> DataType {
    DataType::List(Arc::clone(&VALUE_ITEM))
}

pub fn timestamps_type() -> DataType {
    DataType::List(Arc::clone(&TS_ITEM))
}

pub fn values_field() -> FieldRef {
    Arc::new(Field::new(VALUES, grid_type(), false))
}

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

pub fn list_of(values: Float64Array, offsets: Vec<i32>) -> ArrayRef {
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

pub fn labels_array<'a>(keys: impl ExactSizeIterator<Item = &'a [u8]>) -> ArrayRef {
    let mut builder = BinaryViewBuilder::with_capacity(keys.len());
    for key in keys {
        builder.append_value(key);
    }
    Arc::new(builder.finish())
}

/// Reads a column of label sets.
///
/// # Errors
/// If it is of another type, which is a bug of the planner.
pub fn label_keys(array: &dyn Array) -> Result<&BinaryViewArray> {
    array.as_binary_view_opt().ok_or_else(|| wrong_type(array))
}

/// The error for a column of another type, which is a bug of the planner.
pub fn wrong_type(array: &dyn Array) -> DataFusionError {
    DataFusionError::Internal(format!("unexpected column type {}", array.data_type()))
}
