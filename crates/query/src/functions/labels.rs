//! Functions of label sets.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::ColumnarValue;
use promontory_model::{LabelsBuilder, LabelsRef, METRIC_NAME};
use promontory_plan::{DROP_NAME_MARK, LabelProjection, split_mark};
use promontory_promql::kernels::labels::{LabelJoin, LabelReplace};

use super::Registry;
use super::arguments::{Arguments, kernel_error};
use crate::table::{label_keys, labels_array};

/// `labels_drop_name(labels)`
pub const DROP_NAME: &str = "labels_drop_name";
/// `labels_mark_name(labels)`
pub const MARK_NAME: &str = "labels_mark_name";
/// `labels_finish_name(labels)`: drops the names that are marked.
pub const FINISH_NAME: &str = "labels_finish_name";
/// `labels_by(labels, names)`
pub const LABELS_BY: &str = "labels_by";
/// `labels_without(labels, names)`
pub const LABELS_WITHOUT: &str = "labels_without";
/// `label_replace(labels, to, replacement, from, regex)`
pub const LABEL_REPLACE: &str = "label_replace";
/// `label_join(labels, to, separator, from)`
pub const LABEL_JOIN: &str = "label_join";
/// `label_set(labels, to, value)`; the value is a literal or a column of bytes.
pub const LABEL_SET: &str = "label_set";

pub(super) fn add_labels(functions: &mut Registry) {
    let labels = || DataType::BinaryView;
    functions.add(DROP_NAME, labels(), |args| project(args, &LabelProjection::DropName));
    functions.add(MARK_NAME, labels(), |args| project(args, &LabelProjection::MarkName));
    functions.add(FINISH_NAME, labels(), |args| {
        relabel(args, |key, out| match split_mark(key) {
            (true, labels) => LabelProjection::DropName.apply(labels.key(), out),
            (false, labels) => out.extend_from_slice(labels.key()),
        })
    });
    functions.add(LABELS_BY, labels(), |args| project(args, &LabelProjection::By(args.texts(1)?.into())));
    functions.add(LABELS_WITHOUT, labels(), |args| {
        project(args, &LabelProjection::Without(args.texts(1)?.into()))
    });
    functions.add(LABEL_REPLACE, labels(), |args| {
        let replace = LabelReplace::new(args.text(1)?, args.text(2)?, args.text(3)?, args.text(4)?);
        let replace = replace.map_err(kernel_error)?;
        relabel(args, |key, out| {
            let (marked, labels) = split_mark(key);
            match replace.apply(labels) {
                None => out.extend_from_slice(key),
                Some(changed) => push_marked(marked && !replace.sets_metric_name(), changed.as_ref(), out),
            }
        })
    });
    functions.add(LABEL_JOIN, labels(), |args| {
        let join = LabelJoin::new(args.text(1)?, args.text(2)?, &args.texts(3)?).map_err(kernel_error)?;
        relabel(args, |key, out| {
            let (marked, labels) = split_mark(key);
            push_marked(marked && !join.sets_metric_name(), join.apply(labels).as_ref(), out);
        })
    });
    functions.add(LABEL_SET, labels(), |args| {
        let to = args.text(1)?;
        let column = match args.get(2)? {
            ColumnarValue::Array(array) => Some(array),
            ColumnarValue::Scalar(_) => None,
        };
        let keys = column.map(|column| label_keys(column.as_ref())).transpose()?;
        let mut row = 0;
        let mut failed = None;
        let labels = relabel(args, |key, out| {
            let (marked, labels) = split_mark(key);
            let mut builder = LabelsBuilder::from(labels);
            match keys {
                Some(keys) => builder.set(to, &String::from_utf8_lossy(keys.value(row))),
                None => match args.text(2) {
                    Ok(value) => builder.set(to, value),
                    Err(error) => {
                        failed = Some(error);
                        &mut builder
                    }
                },
            };
            row += 1;
            push_marked(marked && to != METRIC_NAME, builder.build().as_ref(), out);
        });
        failed.map_or(labels, Err)
    });
}

fn push_marked(marked: bool, labels: LabelsRef<'_>, out: &mut Vec<u8>) {
    if marked {
        out.push(DROP_NAME_MARK);
    }
    out.extend_from_slice(labels.key());
}

fn project(args: &Arguments<'_>, projection: &LabelProjection) -> Result<ArrayRef> {
    relabel(args, |key, out| projection.apply(key, out))
}

fn relabel(args: &Arguments<'_>, mut change: impl FnMut(&[u8], &mut Vec<u8>)) -> Result<ArrayRef> {
    let labels = args.array(0)?;
    let keys = label_keys(labels.as_ref())?;
    let mut bytes = Vec::new();
    let mut ends = Vec::with_capacity(keys.len());
    for key in keys.iter() {
        change(key.unwrap_or_default(), &mut bytes);
        ends.push(bytes.len());
    }
    let mut from = 0;
    Ok(labels_array(ends.iter().map(|end| &bytes[std::mem::replace(&mut from, *end)..*end])))
}
