//! Functions of label sets.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use promontory_model::{LabelsBuilder, LabelsRef, METRIC_NAME};
use promontory_plan::{DROP_NAME_MARK, LabelProjection, split_mark};
use promontory_promql::kernels::{LabelJoin, LabelReplace};
use promontory_promql::{FUNCTIONS, Kernel};

use super::arguments::{Called, JoinCall, LabelsCall, NamesCall, ReplaceCall, SetCall, SetFromCall};
use super::{Registry, kernel_error};
use crate::context::QueryContext;
use crate::memory::Held;
use crate::table::{label_keys, labels_array};

/// Without the metric name; a [`LabelsCall`].
pub const DROP_NAME: &str = "labels_drop_name";
/// With the mark that the name goes at the end; a [`LabelsCall`].
pub const MARK_NAME: &str = "labels_mark_name";
/// Without the names that are marked; a [`LabelsCall`].
pub const FINISH_NAME: &str = "labels_finish_name";
/// Only these; a [`NamesCall`].
pub const LABELS_BY: &str = "labels_by";
/// All but these; a [`NamesCall`].
pub const LABELS_WITHOUT: &str = "labels_without";
/// One label set to a text; a [`SetCall`].
pub const LABEL_SET: &str = "label_set";
/// One label set to the bytes of each row; a [`SetFromCall`].
pub const LABEL_SET_FROM: &str = "label_set_from";

pub(super) fn add_labels(functions: &mut Registry) {
    let labels = || DataType::BinaryView;
    functions.add(DROP_NAME, labels(), |call: LabelsCall<Called>, _| {
        project(&call.labels, &LabelProjection::DropName)
    });
    functions.add(MARK_NAME, labels(), |call: LabelsCall<Called>, _| {
        project(&call.labels, &LabelProjection::MarkName)
    });
    functions.add(FINISH_NAME, labels(), |call: LabelsCall<Called>, _| {
        relabel(&call.labels, |_, key, out| match split_mark(key) {
            (true, labels) => LabelProjection::DropName.apply(labels.key(), out),
            (false, labels) => out.extend_from_slice(labels.key()),
        })
    });
    functions.add(LABELS_BY, labels(), |call: NamesCall<Called>, _| {
        project(&call.labels, &LabelProjection::By(Arc::clone(&call.names)))
    });
    functions.add(LABELS_WITHOUT, labels(), |call: NamesCall<Called>, _| {
        project(&call.labels, &LabelProjection::Without(Arc::clone(&call.names)))
    });
    for function in FUNCTIONS {
        match function.kernel {
            Kernel::LabelReplace => {
                functions.add(function.name, labels(), |call, scope| replace(&call, scope.context()?))
            }
            Kernel::LabelJoin => {
                functions.add(function.name, labels(), |call, scope| join(&call, scope.context()?))
            }
            _ => {}
        }
    }
    functions.add(LABEL_SET, labels(), |call: SetCall<Called>, _| {
        relabel(&call.labels, |_, key, out| set(key, &call.to, &call.value, out))
    });
    functions.add(LABEL_SET_FROM, labels(), |call: SetFromCall<Called>, _| {
        let values = label_keys(call.values.as_ref())?;
        relabel(&call.labels, |row, key, out| {
            set(key, &call.to, &String::from_utf8_lossy(values.value(row)), out);
        })
    });
}

fn replace(call: &ReplaceCall<Called>, context: &QueryContext) -> Result<ArrayRef> {
    let replace = LabelReplace::new(&call.to, &call.replacement, &call.from, &call.regex);
    let replace = replace.map_err(kernel_error)?;
    // A group is named by at least two bytes, and holds at most what the labels hold.
    let (fixed, times) = (call.replacement.len(), 1 + call.replacement.len() / 2);
    grow(&call.labels, Growing { fixed, times, context }, |key, out| {
        let (marked, labels) = split_mark(key);
        match replace.apply(labels) {
            None => out.extend_from_slice(key),
            Some(changed) => push_marked(marked && !replace.sets_metric_name(), changed.as_ref(), out),
        }
    })
}

fn join(call: &JoinCall<Called>, context: &QueryContext) -> Result<ArrayRef> {
    let join = LabelJoin::new(&call.to, &call.separator, &call.from).map_err(kernel_error)?;
    let (fixed, times) = (call.separator.len() * call.from.len(), 1 + call.from.len());
    grow(&call.labels, Growing { fixed, times, context }, |key, out| {
        let (marked, labels) = split_mark(key);
        push_marked(marked && !join.sets_metric_name(), join.apply(labels).as_ref(), out);
    })
}

fn set(key: &[u8], to: &str, value: &str, out: &mut Vec<u8>) {
    let (marked, labels) = split_mark(key);
    let mut builder = LabelsBuilder::from(labels);
    builder.set(to, value);
    push_marked(marked && to != METRIC_NAME, builder.build().as_ref(), out);
}

fn push_marked(marked: bool, labels: LabelsRef<'_>, out: &mut Vec<u8>) {
    if marked {
        out.push(DROP_NAME_MARK);
    }
    out.extend_from_slice(labels.key());
}

fn project(labels: &ArrayRef, projection: &LabelProjection) -> Result<ArrayRef> {
    relabel(labels, |_, key, out| projection.apply(key, out))
}

/// How much longer a label set can become: so many bytes, and so many times itself.
struct Growing<'a> {
    fixed: usize,
    times: usize,
    context: &'a QueryContext,
}

/// Less than this is not worth to be counted for one series.
const GROWN_BYTES_MIN: usize = 64 << 10;

impl Growing<'_> {
    /// Charges what `key` can become, before it does: nested calls double a label each time.
    fn charge(&self, key: &[u8], held: &Held) -> Result<()> {
        let bytes = key.len().saturating_mul(self.times).saturating_add(self.fixed);
        if bytes < GROWN_BYTES_MIN {
            return Ok(());
        }
        self.context.check()?;
        Ok(held.grow(bytes, "the labels that it makes")?)
    }
}

/// The label sets that `change` writes, where each may become much longer.
fn grow(
    labels: &ArrayRef,
    growing: Growing<'_>,
    mut change: impl FnMut(&[u8], &mut Vec<u8>),
) -> Result<ArrayRef> {
    let (keys, held) = (label_keys(labels.as_ref())?, growing.context.held());
    let mut bytes = Vec::new();
    let mut ends = Vec::with_capacity(labels.len());
    for key in keys.iter().map(Option::unwrap_or_default) {
        growing.charge(key, &held)?;
        change(key, &mut bytes);
        ends.push(bytes.len());
    }
    Ok(cut(&bytes, &ends))
}

/// The label sets that `change` writes, from the number and the key of each row.
fn relabel(labels: &ArrayRef, mut change: impl FnMut(usize, &[u8], &mut Vec<u8>)) -> Result<ArrayRef> {
    let keys = label_keys(labels.as_ref())?;
    let mut bytes = Vec::new();
    let mut ends = Vec::with_capacity(labels.len());
    for (row, key) in keys.iter().enumerate() {
        change(row, key.unwrap_or_default(), &mut bytes);
        ends.push(bytes.len());
    }
    Ok(cut(&bytes, &ends))
}

fn cut(bytes: &[u8], ends: &[usize]) -> ArrayRef {
    let mut from = 0;
    labels_array(ends.iter().map(|end| &bytes[std::mem::replace(&mut from, *end)..*end]))
}
