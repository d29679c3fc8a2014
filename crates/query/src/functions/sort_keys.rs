//! Keys that DataFusion's sort orders rows by.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, Float64Builder};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use promontory_model::LabelsRef;
use promontory_plan::labels_of;

use super::Registry;
use super::arguments::{Called, LabelsCall, NamesCall, ValuesCall};
use crate::table::{Grids, label_key, label_keys, natural_key};

/// The first point; null for NaN and for no point, so that both sort last; a [`ValuesCall`].
pub const VALUE_KEY: &str = "value_key";
/// Bytes that sort as Prometheus sorts label sets; a [`LabelsCall`].
pub const LABEL_KEY: &str = "label_key";
/// Bytes that sort as `sort_by_label` does; a [`NamesCall`].
pub const NATURAL_KEY: &str = "natural_key";

pub(super) fn add_sort_keys(functions: &mut Registry) {
    functions.add(VALUE_KEY, DataType::Float64, |call: ValuesCall<Called>, _| {
        let grids = Grids::new(call.values.as_ref())?;
        let mut keys = Float64Builder::with_capacity(grids.len());
        for row in 0..grids.len() {
            let first = grids.row(row).iter().find(|(index, _)| *index == 0);
            keys.append_option(first.map(|(_, value)| value).filter(|value| !value.is_nan()));
        }
        Ok(Arc::new(keys.finish()))
    });
    functions
        .add(LABEL_KEY, DataType::Binary, |call: LabelsCall<Called>, _| sort_keys(&call.labels, label_key));
    functions.add(NATURAL_KEY, DataType::Binary, |call: NamesCall<Called>, _| {
        sort_keys(&call.labels, |labels, out| natural_key(labels, &call.names, out))
    });
}

fn sort_keys(labels: &ArrayRef, key: impl Fn(LabelsRef<'_>, &mut Vec<u8>)) -> Result<ArrayRef> {
    let mut builder = BinaryBuilder::new();
    let mut bytes = Vec::new();
    for row in label_keys(labels.as_ref())?.iter() {
        bytes.clear();
        key(labels_of(row.unwrap_or_default()), &mut bytes);
        builder.append_value(&bytes);
    }
    Ok(Arc::new(builder.finish()))
}
