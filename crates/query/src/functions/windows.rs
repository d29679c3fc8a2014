//! Functions of windows: from raw samples to grids.

use arrow::array::ArrayRef;
use datafusion::common::Result;
use promontory_plan::labels_of;
use promontory_promql::annotations::{Annotation, looks_like_counter};
use promontory_promql::grid::Grid;
use promontory_promql::kernels::range::RangeParams;
use promontory_promql::kernels::{RangeFunction, RangeWindow, Scratch, eval_range, instant};

use super::Registry;
use super::arguments::{Arguments, kernel_error};
use crate::table::{
    GridBuilder, Grids, Timestamps, grid_type, label_keys, list_offsets, samples_column, timestamps_column,
    timestamps_type,
};

/// `lookup(ts, values, start, step, steps, lookback)`: the newest value.
pub const LOOKUP: &str = "lookup";
/// As [`LOOKUP`], the timestamp in seconds.
pub const LOOKUP_TIMESTAMP: &str = "lookup_timestamp";
/// `grid_ts(values, start, step)`: the times of a grid that have a value.
pub const GRID_TS: &str = "grid_ts";
/// `grid_samples(values)`: the values of a grid, without the gaps.
pub const GRID_SAMPLES: &str = "grid_samples";
/// `note_counter(labels, values, place)`: the values, with an info for names unlike a counter's.
pub const NOTE_COUNTER: &str = "note_counter";

/// `name(ts, values, ends start, step, steps, eval start, step, steps, range, first, second)`.
pub(super) fn add_windows(functions: &mut Registry) {
    for function in RangeFunction::all() {
        functions.add(function.name(), grid_type(), move |args| range(function, args));
    }
    functions.add(LOOKUP, grid_type(), |args| lookup(args, instant::lookup));
    functions.add(LOOKUP_TIMESTAMP, grid_type(), |args| lookup(args, instant::lookup_timestamp));
    functions.add(GRID_TS, timestamps_type(), grid_ts);
    functions.add(GRID_SAMPLES, grid_type(), grid_samples);
    functions.add(NOTE_COUNTER, grid_type(), note_counter);
}

fn range(function: RangeFunction, args: &Arguments<'_>) -> Result<ArrayRef> {
    let ts = Timestamps::new(args.array(0)?.as_ref())?;
    let samples = args.grids(1)?;
    let window = RangeWindow { ends: args.grid(2)?, eval: args.grid(5)?, range: args.int(8)? };
    let (first, second) = (args.param(9)?, args.param(10)?);
    let params = RangeParams { first: first.param(), second: second.param() };
    let context = args.context()?;
    context.check()?;
    let mut out = GridBuilder::new(window.ends.steps, samples.len());
    let mut scratch = Scratch::default();
    let (mut points, mut queryable) = (0, 0);
    for row in 0..samples.len() {
        let (values, valid) = out.row()?;
        let (ts, samples) = (ts.row(row), samples.row(row).values);
        if ts.is_empty() {
            continue;
        }
        let found = eval_range(function, &params, ts, samples, &window, &mut scratch, values, valid);
        points += found.map_err(kernel_error)?;
        queryable += scratch.samples_in_windows();
    }
    context.count_queryable(queryable);
    context.hold(points as u64)?;
    Ok(out.finish())
}

type Lookup = fn(&[i64], &[f64], &Grid, i64, &mut [f64], &mut [bool]) -> usize;

fn lookup(args: &Arguments<'_>, kernel: Lookup) -> Result<ArrayRef> {
    let ts = Timestamps::new(args.array(0)?.as_ref())?;
    let samples = args.grids(1)?;
    let (grid, lookback) = (args.grid(2)?, args.int(5)?);
    let context = args.context()?;
    context.check()?;
    let mut out = GridBuilder::new(grid.steps, samples.len());
    let mut points = 0;
    for row in 0..samples.len() {
        let (values, valid) = out.row()?;
        points += kernel(ts.row(row), samples.row(row).values, &grid, lookback, values, valid) as u64;
    }
    context.count_queryable(points);
    context.hold(points)?;
    Ok(out.finish())
}

fn grid_ts(args: &Arguments<'_>) -> Result<ArrayRef> {
    let grids = args.grids(0)?;
    let (start, step) = (args.int(1)?, args.int(2)?);
    let (mut offsets, mut ts) = (vec![0], Vec::new());
    for row in 0..grids.len() {
        ts.extend(grids.row(row).iter().map(|(index, _)| start + step * index as i64));
        offsets.push(ts.len());
    }
    timestamps_column(list_offsets(&offsets)?, ts)
}

fn grid_samples(args: &Arguments<'_>) -> Result<ArrayRef> {
    let grids = args.grids(0)?;
    let (mut offsets, mut values) = (vec![0], Vec::new());
    for row in 0..grids.len() {
        values.extend(grids.row(row).iter().map(|(_, value)| value));
        offsets.push(values.len());
    }
    samples_column(list_offsets(&offsets)?, values)
}

fn note_counter(args: &Arguments<'_>) -> Result<ArrayRef> {
    let labels = args.array(0)?;
    let keys = label_keys(labels.as_ref())?;
    let values = args.array(1)?;
    let grids = Grids::new(values.as_ref())?;
    let place = usize::try_from(args.int(2)?).unwrap_or(0);
    let context = args.context()?;
    let mut noted = String::new();
    for row in 0..grids.len() {
        let name = labels_of(keys.value(row)).metric_name();
        if name.is_empty() || name == noted || looks_like_counter(&name) || !grids.row(row).has_any() {
            continue;
        }
        context.annotations().add(Annotation::possible_non_counter(&name), place);
        noted = name.into_owned();
    }
    Ok(values)
}
