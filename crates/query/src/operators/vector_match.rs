//! `VectorMatch`: binary operations between two vectors, with Prometheus' matching.
//!
//! Words: an *ordinal* numbers a match group (the labels of `on`, or all but those of `ignoring`);
//! the *one* side must have at most one element per group and step, the *many* side may have more
//! (`group_left`: left is many). Both sides are whole label grids, so groups are found once per
//! query and only samples are handled per step.
//!
//! Why not a join: the checks are per step. "found duplicate series" counts only at steps where both
//! sides have any element in any group; results of many-to-one must be unique per step; one series
//! of the many side may feed several results as its partner changes.
//!
//! 1. Read both sides, number the groups.
//! 2. For set operators keep or drop left points by the presence of their group on the right.
//! 3. Otherwise combine every pair (many row, one row) of a group; points where one of them is absent
//!    stay absent. Fill values stand in for partners that are missing at a step.
//! 4. Rows with equal result labels become one row.
//!
//! Errors are found per step and the one of the earliest step is raised, as a step-by-step evaluation
//! would. Source: `VectorBinop`, `VectorAnd`, `VectorOr`, `VectorUnless`, `resultMetric`, prometheus
//! v3.16 `promql/engine.go`.

mod side;
mod matching;
mod pairs;
mod results;

use std::fmt;
use std::mem::size_of;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{Distribution, EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::distribution_requirements::InputDistributionRequirements;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use futures::{StreamExt, TryStreamExt};
use promontory_plan::MatchSpec;

use self::matching::Matching;
use self::side::Side;
use crate::context::QueryContext;
use crate::table::vector_schema;

#[derive(Debug)]
pub struct VectorMatch {
    spec: Arc<MatchSpec>,
    steps: usize,
    rows_per_batch: usize,
    left: Arc<dyn ExecutionPlan>,
    right: Arc<dyn ExecutionPlan>,
    /// Whether each side arrives in a fixed order.
    in_order: [bool; 2],
    context: Arc<QueryContext>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl VectorMatch {
    /// Matches two vectors over a grid of `steps` points; each side must have one partition.
    /// `in_order` says for each side whether its rows come in the same order every time.
    pub fn new(
        spec: Arc<MatchSpec>,
        steps: usize,
        rows_per_batch: usize,
        sides: [Arc<dyn ExecutionPlan>; 2],
        in_order: [bool; 2],
        context: Arc<QueryContext>,
    ) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(vector_schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        let [left, right] = sides;
        let metrics = ExecutionPlanMetricsSet::new();
        let properties = Arc::new(properties);
        Self { spec, steps, rows_per_batch, left, right, in_order, context, properties, metrics }
    }

    fn over(&self, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let Ok(sides) = <[_; 2]>::try_from(children) else {
            return internal_err!("VectorMatch has two children");
        };
        let (spec, context) = (Arc::clone(&self.spec), Arc::clone(&self.context));
        Ok(Arc::new(Self::new(spec, self.steps, self.rows_per_batch, sides, self.in_order, context)))
    }
}

impl DisplayAs for VectorMatch {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VectorMatch: {}", self.spec)
    }
}

impl ExecutionPlan for VectorMatch {
    fn name(&self) -> &'static str {
        "VectorMatch"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition, Distribution::SinglePartition])
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.left, &self.right]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.over(children)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.over(children)
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("VectorMatch has no partition {partition}");
        }
        let left = self.left.execute(0, Arc::clone(&task))?;
        let right = self.right.execute(0, Arc::clone(&task))?;
        let reservation = MemoryConsumer::new("VectorMatch").register(task.memory_pool());
        let (spec, context) = (Arc::clone(&self.spec), Arc::clone(&self.context));
        let (steps, rows_per_batch, in_order) = (self.steps, self.rows_per_batch, self.in_order);
        let baseline = BaselineMetrics::new(&self.metrics, partition);
        let work = async move {
            let left = Side::read(left, &context, &reservation, in_order[0]).await?;
            let right = Side::read(right, &context, &reservation, in_order[1]).await?;
            let _timer = baseline.elapsed_compute().timer();
            // Results are at most as large as the larger side again, or the sum for `or`.
            let rows = left.rows.len() + right.rows.len();
            reservation.try_grow(rows * steps * (size_of::<f64>() + size_of::<bool>()))?;
            let batches = Matching::new(&spec, steps, left, right, &context).run(rows_per_batch)?;
            for batch in &batches {
                baseline.record_output(batch.num_rows());
            }
            Ok::<_, DataFusionError>(futures::stream::iter(batches.into_iter().map(move |batch| {
                // The reservation lives as long as the batches that it stands for.
                let _held = &reservation;
                Ok(batch)
            })))
        };
        let stream = futures::stream::once(work).try_flatten().boxed();
        Ok(Box::pin(RecordBatchStreamAdapter::new(vector_schema(), stream)))
    }

    fn schema(&self) -> SchemaRef {
        vector_schema()
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
