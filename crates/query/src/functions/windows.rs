//! Functions of windows: from raw samples to grids.

use arrow::array::ArrayRef;
use datafusion::common::Result;
use promontory_model::FloatsView;
use promontory_plan::labels_of;
use promontory_promql::kernels::{
    RangeFunction, RangeParams, Scratch, eval_range, lookup_timestamp, lookup_value,
};
use promontory_promql::{Annotation, FUNCTIONS, Grid, Kernel, looks_like_counter};

use super::arguments::{Called, LookupCall, NoteCall, RangeCall, Scope, TimesCall, ValuesCall, param_at};
use super::{Registry, kernel_error};
use crate::table::{
    FloatLists, GridBuilder, Grids, grid_type, label_keys, list_offsets, samples_column, timestamps_column,
    timestamps_type,
};

/// The newest value; a [`LookupCall`].
pub const LOOKUP: &str = "lookup";
/// As [`LOOKUP`], the timestamp in seconds.
pub const LOOKUP_TIMESTAMP: &str = "lookup_timestamp";
/// The times of a grid that have a value; a [`TimesCall`].
pub const GRID_TS: &str = "grid_ts";
/// The values of a grid, without the gaps; a [`ValuesCall`].
pub const GRID_SAMPLES: &str = "grid_samples";
/// The values, with an info for names unlike a counter's; a [`NoteCall`].
pub const NOTE_COUNTER: &str = "note_counter";

/// Functions of range vectors are registered under their own names; a [`RangeCall`].
pub(super) fn add_windows(functions: &mut Registry) {
    for function in FUNCTIONS {
        if let Kernel::Range(kernel) = function.kernel {
            functions.add(function.name, grid_type(), move |call, scope| range(kernel, &call, scope));
        }
    }
    functions.add(LOOKUP, grid_type(), |call, scope| lookup(&call, scope, lookup_value));
    functions.add(LOOKUP_TIMESTAMP, grid_type(), |call, scope| lookup(&call, scope, lookup_timestamp));
    functions.add(GRID_TS, timestamps_type(), |call, _| grid_ts(&call));
    functions.add(GRID_SAMPLES, grid_type(), |call, _| grid_samples(&call));
    functions.add(NOTE_COUNTER, grid_type(), note_counter);
}

fn range(function: RangeFunction, call: &RangeCall<Called>, scope: &Scope<'_>) -> Result<ArrayRef> {
    let samples = FloatLists::new(call.ts.as_ref(), call.samples.as_ref())?;
    let params = RangeParams { first: param_at(&call.params, 0), second: param_at(&call.params, 1) };
    let context = scope.context()?;
    context.check()?;
    let mut out = GridBuilder::new(call.window.ends.steps, samples.len());
    let mut scratch = Scratch::default();
    let (mut points, mut queryable) = (0, 0);
    for row in 0..samples.len() {
        let (values, valid) = out.row()?;
        let samples = samples.of(row)?;
        if samples.is_empty() {
            continue;
        }
        let found = eval_range(function, &params, samples, &call.window, &mut scratch, values, valid);
        points += found.map_err(kernel_error)?;
        queryable += scratch.samples_in_windows();
    }
    context.count_queryable(queryable);
    context.hold(points as u64)?;
    Ok(out.finish())
}

type Lookup = fn(FloatsView<'_>, &Grid, i64, &mut [f64], &mut [bool]) -> usize;

fn lookup(call: &LookupCall<Called>, scope: &Scope<'_>, kernel: Lookup) -> Result<ArrayRef> {
    let samples = FloatLists::new(call.ts.as_ref(), call.samples.as_ref())?;
    let context = scope.context()?;
    context.check()?;
    let mut out = GridBuilder::new(call.ends.steps, samples.len());
    let mut points = 0;
    for row in 0..samples.len() {
        let (values, valid) = out.row()?;
        points += kernel(samples.of(row)?, &call.ends, call.lookback, values, valid) as u64;
    }
    context.count_queryable(points);
    context.hold(points)?;
    Ok(out.finish())
}

fn grid_ts(call: &TimesCall<Called>) -> Result<ArrayRef> {
    let grids = Grids::new(call.values.as_ref())?;
    let (mut offsets, mut ts) = (vec![0], Vec::new());
    for row in 0..grids.len() {
        ts.extend(grids.row(row).iter().map(|(index, _)| call.grid.start + call.grid.step * index as i64));
        offsets.push(ts.len());
    }
    timestamps_column(list_offsets(&offsets)?, ts)
}

fn grid_samples(call: &ValuesCall<Called>) -> Result<ArrayRef> {
    let grids = Grids::new(call.values.as_ref())?;
    let (mut offsets, mut values) = (vec![0], Vec::new());
    for row in 0..grids.len() {
        values.extend(grids.row(row).iter().map(|(_, value)| value));
        offsets.push(values.len());
    }
    samples_column(list_offsets(&offsets)?, values)
}

fn note_counter(call: NoteCall<Called>, scope: &Scope<'_>) -> Result<ArrayRef> {
    let keys = label_keys(call.labels.as_ref())?;
    let grids = Grids::new(call.values.as_ref())?;
    let place = usize::try_from(call.place).unwrap_or(0);
    let context = scope.context()?;
    let mut noted = String::new();
    for row in 0..grids.len() {
        let name = labels_of(keys.value(row)).metric_name();
        if name.is_empty() || name == noted || looks_like_counter(&name) || !grids.row(row).has_any() {
            continue;
        }
        context.annotations().add(Annotation::possible_non_counter(&name), place);
        noted = name.into_owned();
    }
    Ok(call.values)
}
