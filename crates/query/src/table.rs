//! The table shape of every vector: columns of label sets and of grids, and bytes that sort as Prometheus
//! sorts.

mod columns;
mod grids;
mod sort_key;

pub(crate) use columns::{
    LABELS, TS, VALUES, grid_array, grid_type, label_keys, labels_array, labels_field, list_offsets,
    samples_column, samples_schema, timestamps_column, timestamps_type, values_field, vector_schema,
};
pub(crate) use grids::{FloatLists, GridBuilder, Grids, Timestamps, vector_columns};
pub(crate) use sort_key::{label_key, natural_key};
