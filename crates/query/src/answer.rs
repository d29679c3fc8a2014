//! From batches to the door's values.

use arrow::array::RecordBatch;
use datafusion::common::Result;
use promontory_model::samples::SampleValue;
use promontory_model::{Floats, Labels, TimeRange, is_stale};
use promontory_plan::{ScalarArg, labels_of};
use promontory_promql::Grid;
use promontory_promql::engine::{Sample, Series, Value};

use crate::context::QueryContext;
use crate::table::{FloatLists, label_key, label_keys, vector_columns};

/// The only row of a scalar, as values over the grid.
///
/// # Errors
/// If the batches are not a vector, which is a bug of the planner.
pub fn scalar_values(batches: &[RecordBatch]) -> Result<ScalarArg> {
    for batch in batches {
        let (_, grids) = vector_columns(batch)?;
        if !grids.is_empty() {
            return Ok(ScalarArg::Steps(grids.row(0).values.into()));
        }
    }
    Ok(ScalarArg::Constant(f64::NAN))
}

/// An instant vector; `ordered` keeps the order of rows, otherwise samples are sorted by labels.
///
/// # Errors
/// If the batches are not a vector, which is a bug of the planner.
pub fn vector(batches: &[RecordBatch], time: i64, ordered: bool) -> Result<Value> {
    let mut samples = Vec::new();
    for batch in batches {
        let (keys, grids) = vector_columns(batch)?;
        for row in 0..grids.len() {
            if let Some((_, value)) = grids.row(row).iter().next() {
                let value = SampleValue::Float(value);
                samples.push(Sample { labels: owned(keys.value(row)), ts: time, value });
            }
        }
    }
    if !ordered {
        samples.sort_by_cached_key(|sample| sort_key(&sample.labels));
    }
    Ok(Value::Vector(samples))
}

/// A matrix over a grid, sorted by labels.
///
/// # Errors
/// If the batches are not a vector, which is a bug of the planner.
pub fn matrix(batches: &[RecordBatch], grid: Grid) -> Result<Value> {
    let mut series = Vec::new();
    for batch in batches {
        let (keys, grids) = vector_columns(batch)?;
        for row in 0..grids.len() {
            let floats: Floats =
                grids.row(row).iter().map(|(step, value)| (grid.time(step), value)).collect();
            series.extend(one_series(keys.value(row), floats));
        }
    }
    Ok(sorted_matrix(series))
}

/// The raw samples of a window, sorted by labels, without stale markers.
///
/// # Errors
/// If there are more samples than a query may hold, or the batches are not raw samples, which is a bug
/// of the planner.
pub fn samples(batches: &[RecordBatch], range: TimeRange, context: &QueryContext) -> Result<Value> {
    let mut series = Vec::new();
    for batch in batches {
        let keys = label_keys(batch.column(0).as_ref())?;
        let lists = FloatLists::new(batch.column(1).as_ref(), batch.column(2).as_ref())?;
        for row in 0..lists.len() {
            let floats: Floats =
                lists.of(row)?.clip(range).iter().filter(|(_, value)| !is_stale(*value)).collect();
            context.hold(floats.len() as u64)?;
            series.extend(one_series(keys.value(row), floats));
        }
    }
    Ok(sorted_matrix(series))
}

/// A scalar over a grid, as a range query answers it: one series without labels.
pub fn scalar_matrix(values: &ScalarArg, grid: Grid) -> Value {
    let value = |step| values.known_at(step).unwrap_or(f64::NAN);
    let floats: Floats = grid.times().enumerate().map(|(step, ts)| (ts, value(step))).collect();
    Value::Matrix(vec![Series { labels: Labels::empty(), samples: floats.into() }])
}

/// `None` without samples.
fn one_series(key: &[u8], floats: Floats) -> Option<Series> {
    (!floats.is_empty()).then(|| Series { labels: owned(key), samples: floats.into() })
}

fn owned(key: &[u8]) -> Labels {
    labels_of(key).to_labels()
}

fn sort_key(labels: &Labels) -> Vec<u8> {
    let mut key = Vec::new();
    label_key(labels.as_ref(), &mut key);
    key
}

fn sorted_matrix(mut series: Vec<Series>) -> Value {
    series.sort_by_cached_key(|series| sort_key(&series.labels));
    Value::Matrix(series)
}
