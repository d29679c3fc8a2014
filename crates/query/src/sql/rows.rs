//! `SampleRows`: from one row per series to one row per sample.
//!
//! The one operator that SQL adds over `SeriesScan`. DataFusion's `UnnestExec` would do the same with
//! the labels repeated for every sample before anybody knows whether they are wanted, and cannot leave
//! stale markers out; here only the wanted columns are made, in batches of the session's size.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, Float64Array, RecordBatch, RecordBatchOptions, TimestampMillisecondArray,
    UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
    PlanProperties, ReplaceChildrenOptions,
};
use futures::{StreamExt as _, TryStreamExt as _};
use promontory_model::samples::is_stale;
use promontory_plan::labels_of;

use crate::sql::columns::{LABELS, NAME, TS, VALUE, label_maps, names, timestamp_type};
use crate::table::{Grids, Timestamps, label_keys};

/// Turns `labels`, `ts`, `values` of series into rows of the table `samples`.
#[derive(Debug)]
pub struct SampleRows {
    input: Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SampleRows {
    /// The columns `projection` of `table` over a scan of series.
    ///
    /// # Errors
    /// If the projection names no column of the table, which is a bug of the planner.
    pub fn try_new(
        input: Arc<dyn ExecutionPlan>,
        table: &SchemaRef,
        projection: Option<&Vec<usize>>,
    ) -> Result<Self> {
        let schema = match projection {
            Some(columns) => Arc::new(table.project(columns)?),
            None => Arc::clone(table),
        };
        Ok(Self::over(input, schema))
    }

    fn over(input: Arc<dyn ExecutionPlan>, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            input.output_partitioning().clone(),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { input, schema, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }
}

/// The samples of a batch of series, flat, before they are cut into batches of rows.
struct Flat {
    schema: SchemaRef,
    /// One row per series, where they are wanted.
    names: Option<ArrayRef>,
    labels: Option<ArrayRef>,
    /// For each sample, the row of its series in `names` and `labels`.
    series: Vec<u32>,
    ts: Vec<i64>,
    values: Vec<f64>,
}

impl Flat {
    fn new(series: &RecordBatch, schema: &SchemaRef) -> Result<Self> {
        if series.num_columns() != 3 {
            return internal_err!("samples have three columns, not {}", series.num_columns());
        }
        let keys = label_keys(series.column(0))?;
        let (timestamps, grids) = (Timestamps::new(series.column(1))?, Grids::new(series.column(2))?);
        let wanted = |column: &str| schema.column_with_name(column).is_some();
        let label_sets = || (0..keys.len()).map(|row| labels_of(keys.value(row)));
        let mut flat = Self {
            schema: Arc::clone(schema),
            names: wanted(NAME).then(|| names(label_sets())),
            labels: wanted(LABELS).then(|| label_maps(label_sets())).transpose()?,
            series: Vec::new(),
            ts: Vec::new(),
            values: Vec::new(),
        };
        for row in 0..series.num_rows() {
            for (ts, value) in timestamps.row(row).iter().zip(grids.row(row).values) {
                if !is_stale(*value) {
                    flat.series.push(row as u32);
                    flat.ts.push(*ts);
                    flat.values.push(*value);
                }
            }
        }
        Ok(flat)
    }

    /// Batches of at most `rows` rows.
    fn batches(self, rows: usize) -> Vec<Result<RecordBatch>> {
        let starts = (0..self.ts.len()).step_by(rows.max(1));
        starts.map(|from| self.batch(from, (from + rows).min(self.ts.len()))).collect()
    }

    fn batch(&self, from: usize, to: usize) -> Result<RecordBatch> {
        let series = UInt32Array::from(self.series[from..to].to_vec());
        let column = |name: &str| -> Result<ArrayRef> {
            match (name, &self.names, &self.labels) {
                (NAME, Some(names), _) => Ok(take(names, &series, None)?),
                (LABELS, _, Some(labels)) => Ok(take(labels, &series, None)?),
                (TS, ..) => {
                    let ts = TimestampMillisecondArray::from(self.ts[from..to].to_vec());
                    Ok(Arc::new(ts.with_data_type(timestamp_type())))
                }
                (VALUE, ..) => Ok(Arc::new(Float64Array::from(self.values[from..to].to_vec()))),
                (other, ..) => internal_err!("samples have no column {other}"),
            }
        };
        let columns = self.schema.fields().iter().map(|field| column(field.name()));
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        // `count(*)` wants no column, only rows.
        let options = RecordBatchOptions::new().with_row_count(Some(to - from));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

impl DisplayAs for SampleRows {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "SampleRows: columns=[{}]", columns.join(", "))
    }
}

impl ExecutionPlan for SampleRows {
    fn name(&self) -> &'static str {
        "SampleRows"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let [input] = &children[..] else {
            return internal_err!("SampleRows has one input, not {}", children.len());
        };
        Ok(Arc::new(Self::over(Arc::clone(input), Arc::clone(&self.schema))))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = task.session_config().batch_size();
        let schema = Arc::clone(&self.schema);
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let flatten = move |series: RecordBatch| -> Result<Vec<Result<RecordBatch>>> {
            let _timer = baseline.elapsed_compute().timer();
            let flat = Flat::new(&series, &schema)?;
            baseline.record_output(flat.ts.len());
            Ok(flat.batches(rows))
        };
        let input = self.input.execute(partition, task)?;
        let batches = input.map(move |series| flatten(series?));
        let batches = batches.map_ok(futures::stream::iter).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches)))
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
