//! `SeriesScan`: the leaf that turns selected series into batches of `labels`, `ts`, `values`.
//!
//! The selection is made before physical planning, so that the planner knows series, an upper bound
//! of samples, and which label sets stay different after a projection. The node then only reads:
//!
//! 1. The series are cut into partitions of consecutive series with about equal work; little work is
//!    one partition.
//! 2. Each partition is cut into batches so that rows x max(samples, steps) is near the wish.
//! 3. Before the first of about [`PREFETCH_SAMPLES`] samples is read, what they need is fetched ahead in
//!    few requests.
//! 4. Each batch is one [`Selection::read`], whose buffers become list columns without a copy.
//!
//! What is read is charged to the query until the next batch is asked for. Between two batches the query's end is checked and the thread is given up once, so that a
//! cancellation takes effect within one batch.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use promontory_plan::LabelProjection;
use promontory_store::Selection;

use crate::context::QueryContext;
use crate::error::QueryError;
use crate::memory::Held;
use crate::table::{labels_array, list_offsets, samples_column, samples_schema, timestamps_column};

/// Work that is worth another partition, in values.
const VALUES_PER_PARTITION_MIN: u64 = 512 << 10;

/// Samples whose stored bytes are fetched together: one to ten megabytes, which is what an object store
/// is good at.
const PREFETCH_SAMPLES: u64 = 2 << 20;

/// Bytes of a sample in a batch, its timestamp and its value.
const SAMPLE_BYTES: u64 = 16;

/// How a scan is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanShape {
    /// Most partitions.
    pub partitions_max: usize,
    /// Wish for rows x max(samples, steps) of a batch.
    pub batch_values: usize,
    /// Work below which another partition is not worth it, in values.
    pub partition_values_min: u64,
    /// Points that the operator above makes of each series.
    pub steps: usize,
}

impl ScanShape {
    /// A shape for `steps` points per series.
    pub fn new(partitions_max: usize, batch_values: usize, steps: usize) -> Self {
        // A tiny batch is a wish of a test; it wants to see several partitions, too.
        let partition_values_min = VALUES_PER_PARTITION_MIN.min(8 * batch_values as u64);
        Self {
            partitions_max: partitions_max.max(1),
            batch_values: batch_values.max(1),
            partition_values_min,
            steps,
        }
    }
}

/// The leaf of every plan that reads samples.
pub struct SeriesScan {
    selector: Arc<str>,
    selection: Arc<dyn Selection>,
    labels: LabelProjection,
    partitions: Vec<Range<usize>>,
    rows_per_batch: usize,
    context: Arc<QueryContext>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SeriesScan {
    /// A scan of all series of `selection`, shown as `selector`.
    pub fn new(
        selector: Arc<str>,
        selection: Arc<dyn Selection>,
        labels: LabelProjection,
        shape: ScanShape,
        context: Arc<QueryContext>,
    ) -> Self {
        let series = selection.series().len();
        let samples = selection.samples_max(0..series);
        let values_per_row = (samples / series.max(1) as u64).max(shape.steps as u64).max(1);
        let rows_per_batch = (shape.batch_values as u64 / values_per_row).clamp(1, 1 << 20) as usize;
        let partitions = cut(selection.as_ref(), shape, values_per_row * series as u64);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(samples_schema()),
            Partitioning::UnknownPartitioning(partitions.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Self {
            selector,
            selection,
            labels,
            partitions,
            rows_per_batch,
            context,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

/// Consecutive series with about equal work.
fn cut(selection: &dyn Selection, shape: ScanShape, work: u64) -> Vec<Range<usize>> {
    let series = selection.series().len();
    let wanted = (work / shape.partition_values_min.max(1)).clamp(1, shape.partitions_max as u64) as usize;
    let wanted = wanted.min(series.max(1));
    let mut from = 0;
    (1..=wanted)
        .map(|part| {
            let to = series * part / wanted;
            std::mem::replace(&mut from, to)..to
        })
        .collect()
}

/// Reads the next rows of one partition.
struct Reader {
    selection: Arc<dyn Selection>,
    labels: LabelProjection,
    rows: Range<usize>,
    /// Series below this have been prefetched.
    near: usize,
    rows_per_batch: usize,
    context: Arc<QueryContext>,
    /// The bytes of the batch that was given last.
    held: Held,
    baseline: BaselineMetrics,
}

impl Reader {
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        if self.rows.is_empty() {
            return Ok(None);
        }
        self.context.check()?;
        tokio::task::yield_now().await;
        let to = self.rows.end.min(self.rows.start + self.rows_per_batch);
        let of = std::mem::replace(&mut self.rows.start, to)..to;
        if of.end > self.near {
            self.prefetch(of.clone()).await?;
        }
        let bytes = self.selection.samples_max(of.clone()).saturating_mul(SAMPLE_BYTES);
        self.held.replace(bytes as usize, "samples on their way")?;
        let samples = self.selection.read(of.clone()).await.map_err(QueryError::from)?;
        let timer = self.baseline.elapsed_compute().timer();
        if samples.len() != of.len() {
            return internal_err!("samples of {} series, {} were asked for", samples.len(), of.len());
        }
        self.context.count_read(of.len() as u64, samples.samples() as u64);
        let labels = self.labels_of(of);
        let (offsets, floats) = samples.into_floats().into_parts();
        let (ts, values, _) = floats.into_columns();
        let offsets = list_offsets(&offsets)?;
        let ts = timestamps_column(offsets.clone(), ts)?;
        let values = samples_column(offsets, values)?;
        let batch = RecordBatch::try_new(samples_schema(), vec![labels, ts, values])?;
        self.baseline.record_output(batch.num_rows());
        drop(timer);
        Ok(Some((batch, self)))
    }

    /// Fetches ahead the samples of `of` and of as many series after it as fit.
    async fn prefetch(&mut self, of: Range<usize>) -> Result<()> {
        let end = self.rows.end;
        let mut to = of.end;
        while to < end && self.selection.samples_max(of.start..to) < PREFETCH_SAMPLES {
            to = end.min(to + self.rows_per_batch);
        }
        self.near = to;
        if to > of.end {
            self.selection.prefetch(of.start..to).await.map_err(QueryError::from)?;
        }
        Ok(())
    }

    fn labels_of(&self, of: Range<usize>) -> arrow::array::ArrayRef {
        let series = &self.selection.series()[of];
        if self.labels == LabelProjection::All {
            return labels_array(series.iter().map(|labels| labels.key()));
        }
        let mut bytes = Vec::new();
        let ends: Vec<usize> = series
            .iter()
            .map(|labels| {
                self.labels.apply(labels.key(), &mut bytes);
                bytes.len()
            })
            .collect();
        let mut from = 0;
        labels_array(ends.iter().map(|end| &bytes[std::mem::replace(&mut from, *end)..*end]))
    }
}

impl fmt::Debug for SeriesScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeriesScan")
            .field("selector", &self.selector)
            .field("series", &self.selection.series().len())
            .finish_non_exhaustive()
    }
}

impl DisplayAs for SeriesScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SeriesScan: {}, labels={}, series={}, partitions={}, batch_rows={}",
            self.selector,
            self.labels,
            self.selection.series().len(),
            self.partitions.len(),
            self.rows_per_batch
        )
    }
}

impl ExecutionPlan for SeriesScan {
    fn name(&self) -> &'static str {
        "SeriesScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(rows) = self.partitions.get(partition).cloned() else {
            return internal_err!("SeriesScan has no partition {partition}");
        };
        let reader = Reader {
            selection: Arc::clone(&self.selection),
            labels: self.labels.clone(),
            near: rows.start,
            rows,
            rows_per_batch: self.rows_per_batch,
            held: self.context.held(),
            context: Arc::clone(&self.context),
            baseline: BaselineMetrics::new(&self.metrics, partition),
        };
        let stream = futures::stream::try_unfold(reader, Reader::next);
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }

    fn schema(&self) -> SchemaRef {
        samples_schema()
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
