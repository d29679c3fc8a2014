//! The columns of the two tables: names, types, and values of series.

use std::sync::Arc;

use arrow::array::{ArrayRef, MapBuilder, MapFieldNames, StringBuilder, StringViewBuilder};
use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::Result;
use promontory_model::{LabelsRef, METRIC_NAME};

pub const NAME: &str = "name";
pub const LABELS: &str = "labels";
pub const TS: &str = "ts";
pub const VALUE: &str = "value";

pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

pub fn labels_type() -> DataType {
    let entry = vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)];
    let entries = Field::new("entries", DataType::Struct(entry.into()), false);
    DataType::Map(Arc::new(entries), false)
}

/// The column `name` of series.
pub fn names<'a>(series: impl ExactSizeIterator<Item = LabelsRef<'a>>) -> ArrayRef {
    let mut builder = StringViewBuilder::with_capacity(series.len());
    for labels in series {
        let name = labels.metric_name();
        builder.append_option((!name.is_empty()).then_some(name));
    }
    Arc::new(builder.finish())
}

/// The column `labels` of series.
///
/// # Errors
/// If the columns do not fit Arrow's offsets.
pub fn label_maps<'a>(series: impl Iterator<Item = LabelsRef<'a>>) -> Result<ArrayRef> {
    let field_names = MapFieldNames { entry: "entries".into(), key: "key".into(), value: "value".into() };
    let mut builder = MapBuilder::new(Some(field_names), StringBuilder::new(), StringBuilder::new());
    for labels in series {
        for (name, value) in labels.sorted_pairs().iter().filter(|(name, _)| name != METRIC_NAME) {
            builder.keys().append_value(name);
            builder.values().append_value(value);
        }
        builder.append(true)?;
    }
    Ok(Arc::new(builder.finish()))
}
