//! `histogram_quantile` and `histogram_fraction` over the buckets of classic histograms.

use std::mem::size_of;

use datafusion::common::Result;
use promontory_model::LabelsRef;
use promontory_plan::labels_of;
use promontory_promql::kernels::{BucketFunction, ClassicHistogram, upper_bound};
use promontory_promql::{Annotation, AnnotationSet, GridRow, Validity};

use super::{InputRow, Output, Params, RowState, RowsBuilder, Shared};
use crate::aggregates::BucketArguments;

/// The buckets of classic histograms: the key of a state's row is the labels, `le` among them.
pub(in crate::aggregates) struct Buckets {
    arguments: BucketArguments,
    groups: Vec<BucketGroup>,
    bytes: usize,
}

#[derive(Default)]
struct BucketGroup {
    name: String,
    rows: Vec<BucketRow>,
}

struct BucketRow {
    key: Box<[u8]>,
    bound: f64,
    values: Box<[f64]>,
    valid: Box<[bool]>,
}

impl Buckets {
    pub(in crate::aggregates) fn new(arguments: BucketArguments) -> Self {
        Self { arguments, groups: Vec::new(), bytes: 0 }
    }

    fn bad_bucket(&self, labels: LabelsRef<'_>, shared: &Shared) {
        let name = if self.arguments.named { labels.metric_name() } else { "".into() };
        let annotation = Annotation::bad_bucket_label(&name, &labels.get("le").unwrap_or_default());
        shared.context.annotations().add(annotation, self.arguments.place);
    }
}

impl RowState for Buckets {
    const GIVES_ROWS: bool = false;

    fn fresh(&self) -> Self {
        Self::new(self.arguments.clone())
    }

    fn resize(&mut self, groups: usize) {
        if groups > self.groups.len() {
            self.groups.resize_with(groups, BucketGroup::default);
        }
    }

    fn add(&mut self, group: usize, row: InputRow<'_>, shared: &Shared) -> Result<()> {
        let (InputRow::Sample(key, row) | InputRow::State(key, row)) = row;
        let labels = labels_of(key);
        let Some(bound) = upper_bound(labels) else {
            if row.has_any() {
                self.bad_bucket(labels, shared);
            }
            return Ok(());
        };
        let mut valid = vec![false; row.values.len()];
        row.valid.expand(&mut valid);
        self.bytes += key.len() + row.values.len() * (size_of::<f64>() + 1) + size_of::<BucketRow>();
        let group = &mut self.groups[group];
        if self.arguments.named && group.rows.is_empty() {
            group.name = labels.metric_name().into_owned();
        }
        let (key, values, valid) = (key.into(), row.values.into(), valid.into());
        group.rows.push(BucketRow { key, bound, values, valid });
        Ok(())
    }

    fn rows(&self, group: usize, out: &mut RowsBuilder) -> Result<()> {
        for row in &self.groups[group].rows {
            let (values, valid) = out.row(&row.key)?;
            values.copy_from_slice(&row.values);
            valid.copy_from_slice(&row.valid);
        }
        Ok(())
    }

    fn finish(&self, group: usize, params: &Params<'_>, shared: &Shared, out: Output<'_>) -> Result<()> {
        let group = &self.groups[group];
        let mut histogram = ClassicHistogram::new(shared.grid.steps);
        for row in &group.rows {
            histogram.add(row.bound, GridRow { values: &row.values, valid: Validity::Bools(&row.valid) });
        }
        match self.arguments.function {
            BucketFunction::Quantile => {
                let mut forced = AnnotationSet::default();
                histogram.quantile(params.0[0], out.0, out.1, |step, buckets| {
                    let time = shared.grid.time(step);
                    let annotation = Annotation::forced_monotonicity(&group.name, time, buckets);
                    forced.add(annotation, self.arguments.place);
                });
                shared.context.annotations().merge(forced);
            }
            BucketFunction::Fraction => {
                histogram.fraction(params.0[0], params.0[1], out.0, out.1);
            }
        }
        Ok(())
    }

    fn drop_first(&mut self, groups: usize) {
        self.groups.drain(..groups);
        if self.groups.is_empty() {
            self.bytes = 0;
        }
    }

    fn bytes(&self) -> usize {
        self.bytes
    }
}
