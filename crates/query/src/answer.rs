//! From batches to the door's values, batch by batch, each charged before the next is made.

use arrow::array::RecordBatch;
use datafusion::common::Result;
use promontory_model::samples::SampleValue;
use promontory_model::{Floats, Labels, TimeRange, is_stale};
use promontory_plan::{ScalarArg, labels_of};
use promontory_promql::engine::{Sample, Series, Value};
use promontory_promql::{Grid, GridRow, Validity};

use crate::context::QueryContext;
use crate::memory::ANSWER;
use crate::table::{FloatLists, Grids, label_key, label_keys, vector_columns};

/// Bytes of a sample in a series.
const POINT_BYTES: usize = size_of::<i64>() + size_of::<f64>();

/// What an answer becomes.
#[derive(Clone, Copy, Debug)]
pub enum AnswerKind {
    /// The only row of a scalar, as values over the grid.
    Scalar,
    /// An instant vector; `ordered` keeps the order of rows, otherwise samples are sorted by labels.
    Vector { time: i64, ordered: bool },
    /// A matrix over a grid, sorted by labels.
    Matrix(Grid),
    /// The raw samples of a window, sorted by labels, without stale markers.
    Samples(TimeRange),
}

/// An answer under construction. Its bytes are held by the query's context, which lives as long as the answer.
pub struct AnswerBuilder<'a> {
    kind: AnswerKind,
    context: &'a QueryContext,
    scalar: Option<ScalarArg>,
    samples: Vec<Sample>,
    series: Vec<Series>,
}

impl<'a> AnswerBuilder<'a> {
    pub fn new(kind: AnswerKind, context: &'a QueryContext) -> Self {
        Self { kind, context, scalar: None, samples: Vec::new(), series: Vec::new() }
    }

    /// Takes the rows of a batch over.
    ///
    /// # Errors
    /// If the answer would hold more than the query may, or the batch is not of the answer's kind, which is a
    /// bug of the planner.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        match self.kind {
            AnswerKind::Scalar => self.add_scalar(batch),
            AnswerKind::Vector { time, .. } => self.add_samples(batch, time),
            AnswerKind::Matrix(grid) => self.add_rows(batch, grid),
            AnswerKind::Samples(range) => self.add_raw(batch, range),
        }
    }

    fn add_scalar(&mut self, batch: &RecordBatch) -> Result<()> {
        let (_, grids) = vector_columns(batch)?;
        if self.scalar.is_none() && !grids.is_empty() {
            self.scalar = Some(ScalarArg::Steps(grids.row(0).values.into()));
        }
        Ok(())
    }

    fn add_samples(&mut self, batch: &RecordBatch, time: i64) -> Result<()> {
        let (keys, grids) = vector_columns(batch)?;
        let key_bytes = (0..grids.len()).map(|row| held_key::<Sample>(keys.value(row))).sum();
        self.context.kept().grow(key_bytes, ANSWER)?;
        for row in 0..grids.len() {
            if let Some((_, value)) = grids.row(row).iter().next() {
                let value = SampleValue::Float(value);
                self.samples.push(Sample { labels: owned(keys.value(row)), ts: time, value });
            }
        }
        Ok(())
    }

    fn add_rows(&mut self, batch: &RecordBatch, grid: Grid) -> Result<()> {
        let (keys, grids) = vector_columns(batch)?;
        for row in 0..grids.len() {
            let points = points(&grids, row);
            if points > 0 {
                let mut floats = self.one_series(keys.value(row), points)?;
                grids.row(row).iter().for_each(|(step, value)| floats.push(grid.time(step), value));
                self.push(keys.value(row), floats);
            }
        }
        Ok(())
    }

    fn add_raw(&mut self, batch: &RecordBatch, range: TimeRange) -> Result<()> {
        let keys = label_keys(batch.column(0).as_ref())?;
        let lists = FloatLists::new(batch.column(1).as_ref(), batch.column(2).as_ref())?;
        for row in 0..lists.len() {
            let inside = lists.of(row)?.clip(range);
            let fresh = || inside.iter().filter(|(_, value)| !is_stale(*value));
            let points = fresh().count();
            self.context.hold(points as u64)?;
            if points > 0 {
                let mut floats = self.one_series(keys.value(row), points)?;
                fresh().for_each(|(ts, value)| floats.push(ts, value));
                self.push(keys.value(row), floats);
            }
        }
        Ok(())
    }

    /// Room for the samples of one more series, charged.
    fn one_series(&self, key: &[u8], points: usize) -> Result<Floats> {
        self.context.check()?;
        let bytes = held_key::<Series>(key) + points * POINT_BYTES;
        self.context.kept().grow(bytes, ANSWER)?;
        Ok(Floats::with_capacity(points))
    }

    fn push(&mut self, key: &[u8], floats: Floats) {
        self.series.push(Series { labels: owned(key), samples: floats.into() });
    }

    /// The values of the scalar.
    pub fn into_scalar(self) -> ScalarArg {
        self.scalar.unwrap_or(ScalarArg::Constant(f64::NAN))
    }

    /// The vector or matrix.
    pub fn into_value(mut self) -> Value {
        match self.kind {
            AnswerKind::Vector { ordered, .. } => {
                if !ordered {
                    self.samples.sort_by_cached_key(|sample| sort_key(&sample.labels));
                }
                Value::Vector(self.samples)
            }
            _ => {
                self.series.sort_by_cached_key(|series| sort_key(&series.labels));
                Value::Matrix(self.series)
            }
        }
    }
}

/// What one element of a list takes: itself, its labels, and its key while the list is sorted.
fn held_key<T>(key: &[u8]) -> usize {
    size_of::<T>() + size_of::<(Vec<u8>, usize)>() + 2 * key.len()
}

fn points(grids: &Grids, row: usize) -> usize {
    let GridRow { values, valid } = grids.row(row);
    match valid {
        Validity::All => values.len(),
        _ => grids.row(row).iter().count(),
    }
}

/// A scalar over a grid, as a range query answers it: one series without labels.
pub fn scalar_matrix(values: &ScalarArg, grid: Grid) -> Value {
    let value = |step| values.known_at(step).unwrap_or(f64::NAN);
    let floats: Floats = grid.times().enumerate().map(|(step, ts)| (ts, value(step))).collect();
    Value::Matrix(vec![Series { labels: Labels::empty(), samples: floats.into() }])
}

fn owned(key: &[u8]) -> Labels {
    labels_of(key).to_labels()
}

fn sort_key(labels: &Labels) -> Vec<u8> {
    let mut key = Vec::new();
    label_key(labels.as_ref(), &mut key);
    key
}
