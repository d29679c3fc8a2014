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
//! v3.14 `promql/engine.go`.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, BinaryViewArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
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
use promontory_block::LabelHash;
use promontory_model::LabelsRef;
use promontory_plan::{LabelProjection, MatchOperation, MatchSpec, labels_of};
use promontory_promql::ast::Cardinality;
use promontory_promql::grid::Validity;
use promontory_promql::kernels::binary::{self, BinaryOp, Comparison};

use crate::context::QueryContext;
use crate::error::execution;
use crate::table::{GridBuilder, GridRow, Grids, labels_array, vector_columns, vector_schema};

/// One side, read completely.
#[derive(Default)]
struct Side {
    batches: Vec<(BinaryViewArray, Grids)>,
    rows: Vec<(u32, u32)>,
    ordinals: Vec<u32>,
}

impl Side {
    async fn read(
        mut stream: SendableRecordBatchStream,
        context: &QueryContext,
        reservation: &MemoryReservation,
        sorted: bool,
    ) -> Result<Self> {
        let mut side = Self::default();
        while let Some(batch) = stream.try_next().await? {
            context.check()?;
            reservation.try_grow(batch_bytes(&batch)?)?;
            let (labels, grids) = vector_columns(&batch)?;
            let index = side.batches.len() as u32;
            let rows = 0..grids.len();
            side.rows.extend(rows.filter(|row| grids.row(*row).has_any()).map(|row| (index, row as u32)));
            side.batches.push((labels.clone(), grids));
        }
        if !sorted {
            // Several partitions arrive in any order; errors and results must not depend on it.
            let mut rows = std::mem::take(&mut side.rows);
            rows.sort_by(|a, b| side.key_at(*a).cmp(side.key_at(*b)));
            side.rows = rows;
        }
        Ok(side)
    }

    fn key_at(&self, (batch, row): (u32, u32)) -> &[u8] {
        self.batches[batch as usize].0.value(row as usize)
    }

    fn key(&self, index: usize) -> &[u8] {
        self.key_at(self.rows[index])
    }

    fn labels(&self, index: usize) -> LabelsRef<'_> {
        labels_of(self.key(index))
    }

    fn row(&self, index: usize) -> GridRow<'_> {
        let (batch, row) = self.rows[index];
        self.batches[batch as usize].1.row(row as usize)
    }

    fn number(&mut self, projection: &LabelProjection, groups: &mut Ordinals) {
        let mut key = Vec::new();
        let mut ordinals = Vec::with_capacity(self.rows.len());
        for index in 0..self.rows.len() {
            key.clear();
            projection.apply(self.labels(index).key(), &mut key);
            let next = groups.len() as u32;
            ordinals.push(match groups.get(key.as_slice()) {
                Some(ordinal) => *ordinal,
                None => *groups.entry(key.clone()).or_insert(next),
            });
        }
        self.ordinals = ordinals;
    }

    /// The rows of each group, in row order.
    fn rows_by_group(&self, groups: usize) -> Vec<Vec<u32>> {
        let mut rows = vec![Vec::new(); groups];
        for (index, ordinal) in self.ordinals.iter().enumerate() {
            rows[*ordinal as usize].push(index as u32);
        }
        rows
    }

    /// The steps at which any row has a sample.
    fn steps_with_any(&self, steps: usize) -> Vec<bool> {
        let mut any = vec![false; steps];
        let mut missing = steps;
        for index in 0..self.rows.len() {
            if missing == 0 {
                break;
            }
            missing -= union_into(&mut any, self.row(index));
        }
        any
    }
}

fn union_into(any: &mut [bool], row: GridRow<'_>) -> usize {
    let mut added = 0;
    for (step, any) in any.iter_mut().enumerate() {
        if !*any && row.valid.get(step) {
            *any = true;
            added += 1;
        }
    }
    added
}

fn batch_bytes(batch: &RecordBatch) -> Result<usize> {
    // Slices share buffers: `get_array_memory_size` would charge the whole buffer for each.
    batch.columns().iter().map(|column| Ok(column.to_data().get_slice_memory_size()?)).sum()
}

/// Numbers of label sets.
type Ordinals = HashMap<Vec<u8>, u32, LabelHash>;

/// Result rows by their labels.
struct Results {
    by_labels: Ordinals,
    keys: Vec<Vec<u8>>,
    values: Vec<Box<[f64]>>,
    valid: Vec<Box<[bool]>>,
    steps: usize,
}

impl Results {
    fn new(steps: usize) -> Self {
        Self {
            by_labels: Ordinals::default(),
            keys: Vec::new(),
            values: Vec::new(),
            valid: Vec::new(),
            steps,
        }
    }

    /// The row of these labels, made if there is none yet.
    fn row(&mut self, key: &[u8]) -> usize {
        if let Some(row) = self.by_labels.get(key) {
            return *row as usize;
        }
        let row = self.keys.len();
        self.by_labels.insert(key.to_vec(), row as u32);
        self.keys.push(key.to_vec());
        self.values.push(vec![0.0; self.steps].into());
        self.valid.push(vec![false; self.steps].into());
        row
    }

    /// Writes points into a row and returns the first step at which there was one already.
    fn write(&mut self, row: usize, values: &[f64], valid: &[bool]) -> Option<usize> {
        let (out, set) = (&mut self.values[row], &mut self.valid[row]);
        let mut conflict = None;
        for step in 0..self.steps {
            if valid[step] {
                if set[step] && conflict.is_none() {
                    conflict = Some(step);
                }
                out[step] = values[step];
                set[step] = true;
            }
        }
        conflict
    }

    fn into_batches(self, rows_per_batch: usize) -> Result<Vec<RecordBatch>> {
        let filled: Vec<usize> =
            (0..self.keys.len()).filter(|row| self.valid[*row].iter().any(|valid| *valid)).collect();
        filled
            .chunks(rows_per_batch.max(1))
            .map(|rows| {
                let mut grids = GridBuilder::new(self.steps, rows.len());
                for row in rows {
                    let (values, valid) = grids.row()?;
                    values.copy_from_slice(&self.values[*row]);
                    valid.copy_from_slice(&self.valid[*row]);
                }
                let labels = labels_array(rows.iter().map(|row| self.keys[*row].as_slice()));
                Ok(RecordBatch::try_new(vector_schema(), vec![labels, grids.finish()])?)
            })
            .collect()
    }
}

/// The error of the earliest step; at one step, the one that Prometheus checks first.
#[derive(Default)]
struct FirstError(Option<(usize, u8, String)>);

impl FirstError {
    fn offer(&mut self, step: usize, rank: u8, text: impl FnOnce() -> String) {
        if self.0.as_ref().is_none_or(|(known, order, _)| (step, rank) < (*known, *order)) {
            self.0 = Some((step, rank, text()));
        }
    }

    fn step(&self) -> Option<usize> {
        self.0.as_ref().map(|(step, _, _)| *step)
    }

    fn raise(self) -> Result<()> {
        self.0.map_or(Ok(()), |(_, _, text)| execution(text))
    }
}

struct Matching<'a> {
    spec: &'a MatchSpec,
    steps: usize,
    left: Side,
    right: Side,
    groups: usize,
    context: &'a QueryContext,
}

impl<'a> Matching<'a> {
    fn new(
        spec: &'a MatchSpec,
        steps: usize,
        mut left: Side,
        mut right: Side,
        context: &'a QueryContext,
    ) -> Self {
        let mut groups = Ordinals::default();
        let projection = spec.group_labels();
        left.number(&projection, &mut groups);
        right.number(&projection, &mut groups);
        Self { spec, steps, left, right, groups: groups.len(), context }
    }

    fn run(self, rows_per_batch: usize) -> Result<Vec<RecordBatch>> {
        let results = match self.spec.operation {
            MatchOperation::Values(op, comparison) => self.values(op, comparison)?,
            MatchOperation::And => self.keep_left(true)?,
            MatchOperation::Unless => self.keep_left(false)?,
            MatchOperation::Or => self.union()?,
        };
        results.into_batches(rows_per_batch)
    }

    /// Per group, the steps at which `side` has an element of it; `None` where it never has.
    fn presence(&self, side: &Side) -> Vec<Option<Box<[bool]>>> {
        let mut presence: Vec<Option<Box<[bool]>>> = vec![None; self.groups];
        for (index, ordinal) in side.ordinals.iter().enumerate() {
            let present = presence[*ordinal as usize].get_or_insert_with(|| vec![false; self.steps].into());
            union_into(present, side.row(index));
        }
        presence
    }

    fn keep_left(&self, if_present: bool) -> Result<Results> {
        let presence = self.presence(&self.right);
        let mut results = Results::new(self.steps);
        let mut valid = vec![false; self.steps];
        for index in 0..self.left.rows.len() {
            self.check_at(index)?;
            let row = self.left.row(index);
            let present = presence[self.left.ordinals[index] as usize].as_deref();
            for (step, valid) in valid.iter_mut().enumerate() {
                *valid = row.valid.get(step) && present.is_some_and(|present| present[step]) == if_present;
            }
            let at = results.row(self.left.key(index));
            results.write(at, row.values, &valid);
        }
        Ok(results)
    }

    fn union(&self) -> Result<Results> {
        let presence = self.presence(&self.left);
        let mut results = Results::new(self.steps);
        let mut errors = FirstError::default();
        let mut valid = vec![false; self.steps];
        for index in 0..self.left.rows.len() {
            self.check_at(index)?;
            let row = self.left.row(index);
            row.valid.expand(&mut valid);
            let at = results.row(self.left.key(index));
            results.write(at, row.values, &valid);
        }
        for index in 0..self.right.rows.len() {
            self.check_at(index)?;
            let row = self.right.row(index);
            let present = presence[self.right.ordinals[index] as usize].as_deref();
            for (step, valid) in valid.iter_mut().enumerate() {
                *valid = row.valid.get(step) && !present.is_some_and(|present| present[step]);
            }
            let at = results.row(self.right.key(index));
            if let Some(step) = results.write(at, row.values, &valid) {
                errors.offer(step, LABELSET, same_labelset);
            }
        }
        errors.raise()?;
        Ok(results)
    }

    fn values(&self, op: BinaryOp, comparison: Comparison) -> Result<Results> {
        let swapped = self.spec.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (&self.right, &self.left) } else { (&self.left, &self.right) };
        let (fill_left, fill_right) = (self.spec.fill_left, self.spec.fill_right);
        let (fill_many, fill_one) = if swapped { (fill_right, fill_left) } else { (fill_left, fill_right) };
        let mut errors = FirstError::default();
        let one_rows = one.rows_by_group(self.groups);
        self.check_one_side(one, &one_rows, swapped, &mut errors);
        // With an error at one step only an earlier one can still matter. Duplicates of a large group would
        // otherwise be paired each with each before the query fails.
        let horizon = errors.step().unwrap_or(self.steps);
        let too_late = |row: GridRow<'_>| row.iter().next().is_none_or(|(step, _)| step >= horizon);

        let mut pairs = Pairs {
            matching: self,
            op,
            comparison,
            swapped,
            many_per_group: count_by_group(&many.ordinals, self.groups),
            track_all: fill_many.is_some(),
            matched: HashMap::new(),
            results: Results::new(self.steps),
            errors,
            left: vec![0.0; self.steps],
            valid: vec![false; self.steps],
            other: vec![false; self.steps],
            key: Vec::new(),
        };
        let projection = self.spec.group_labels();
        for index in 0..many.rows.len() {
            self.check_at(index)?;
            if horizon < self.steps && too_late(many.row(index)) {
                continue;
            }
            let ordinal = many.ordinals[index];
            let partners = &one_rows[ordinal as usize];
            for partner in partners {
                let partner = *partner as usize;
                pairs.combine(
                    ordinal,
                    many.labels(index),
                    one.labels(partner),
                    many.row(index),
                    one.row(partner),
                );
            }
            if let Some(fill) = fill_one {
                let lonely = self.without_partner(many.row(index), one, partners);
                let filled = vec![fill; self.steps];
                let mut labels = Vec::new();
                projection.apply(many.labels(index).key(), &mut labels);
                let other = GridRow { values: &filled, valid: Validity::Bools(&lonely) };
                pairs.combine(ordinal, many.labels(index), LabelsRef::new(&labels), many.row(index), other);
            }
        }
        if let Some(fill) = fill_many {
            for index in 0..one.rows.len() {
                self.check_at(index)?;
                let ordinal = one.ordinals[index];
                let row = one.row(index);
                let lonely: Vec<bool> = (0..self.steps)
                    .map(|step| row.valid.get(step) && !pairs.is_matched(ordinal, step))
                    .collect();
                let filled = vec![fill; self.steps];
                let mut labels = Vec::new();
                projection.apply(one.labels(index).key(), &mut labels);
                let other = GridRow { values: &filled, valid: Validity::Bools(&lonely) };
                pairs.combine(ordinal, LabelsRef::new(&labels), one.labels(index), other, row);
            }
        }
        pairs.errors.raise()?;
        Ok(pairs.results)
    }

    fn without_partner(&self, row: GridRow<'_>, one: &Side, partners: &[u32]) -> Vec<bool> {
        let mut lonely = vec![false; self.steps];
        row.valid.expand(&mut lonely);
        for partner in partners {
            let partner = one.row(*partner as usize);
            for (step, lonely) in lonely.iter_mut().enumerate() {
                *lonely &= !partner.valid.get(step);
            }
        }
        lonely
    }

    /// Two elements of one group on the one side, at a step where the operation takes place at all.
    fn check_one_side(&self, one: &Side, one_rows: &[Vec<u32>], swapped: bool, errors: &mut FirstError) {
        if one_rows.iter().all(|rows| rows.len() < 2) {
            return;
        }
        let left = self.left.steps_with_any(self.steps);
        let right = self.right.steps_with_any(self.steps);
        let fills = self.spec.fill_left.is_some() || self.spec.fill_right.is_some();
        let active = |step: usize| if fills { left[step] || right[step] } else { left[step] && right[step] };
        for rows in one_rows.iter().filter(|rows| rows.len() > 1) {
            let mut owner: Vec<Option<u32>> = vec![None; self.steps];
            for row in rows {
                for (step, _) in one.row(*row as usize).iter().filter(|(step, _)| active(*step)) {
                    match owner[step] {
                        None => owner[step] = Some(*row),
                        Some(first) => errors.offer(step, ONE_SIDE, || {
                            self.duplicate_text(
                                one.labels(first as usize),
                                one.labels(*row as usize),
                                swapped,
                            )
                        }),
                    }
                }
            }
        }
    }

    fn duplicate_text(&self, first: LabelsRef<'_>, second: LabelsRef<'_>, swapped: bool) -> String {
        let mut group = Vec::new();
        self.spec.group_labels().apply(second.key(), &mut group);
        let group = show_labels(LabelsRef::new(&group));
        let side = if swapped { "left" } else { "right" };
        let (mut first, mut second) = (show_labels(first), show_labels(second));
        if first > second {
            std::mem::swap(&mut first, &mut second);
        }
        format!(
            "found duplicate series for the match group {group} on the {side} hand-side of the operation: \
             [{first}, {second}];many-to-many matching not allowed: matching labels must be unique on one side"
        )
    }

    fn check_at(&self, index: usize) -> Result<()> {
        if index.is_multiple_of(ROWS_PER_CHECK) { self.context.check() } else { Ok(()) }
    }
}

/// Rows that are handled between two looks at the query's end.
const ROWS_PER_CHECK: usize = 256;

const ONE_SIDE: u8 = 0;
const MATCHES: u8 = 1;
const LABELSET: u8 = 2;

fn same_labelset() -> String {
    "vector cannot contain metrics with the same labelset".into()
}

fn count_by_group(ordinals: &[u32], groups: usize) -> Vec<u32> {
    let mut counts = vec![0; groups];
    for ordinal in ordinals {
        counts[*ordinal as usize] += 1;
    }
    counts
}

/// Combines pairs of rows and remembers what has matched.
struct Pairs<'a> {
    matching: &'a Matching<'a>,
    op: BinaryOp,
    comparison: Comparison,
    swapped: bool,
    many_per_group: Vec<u32>,
    /// Remember matches of every group, not only where two rows of the many side could meet.
    track_all: bool,
    /// Steps that have matched, by group and (for many-to-one) result row.
    matched: HashMap<(u32, u32), Box<[bool]>>,
    results: Results,
    errors: FirstError,
    left: Vec<f64>,
    valid: Vec<bool>,
    other: Vec<bool>,
    key: Vec<u8>,
}

impl Pairs<'_> {
    fn combine(
        &mut self,
        ordinal: u32,
        many: LabelsRef<'_>,
        one: LabelsRef<'_>,
        many_row: GridRow<'_>,
        one_row: GridRow<'_>,
    ) {
        let (left, right) = if self.swapped { (one_row, many_row) } else { (many_row, one_row) };
        left.valid.expand(&mut self.valid);
        right.valid.expand(&mut self.other);
        if !self.valid.iter().zip(&self.other).any(|(left, right)| *left && *right) {
            return;
        }
        let spec = self.matching.spec;
        self.key.clear();
        spec.result_labels(many, one, &mut self.key);
        let at = self.results.row(&self.key);
        if self.track_all || self.many_per_group[ordinal as usize] > 1 {
            self.track(ordinal, at as u32);
        }
        self.left.copy_from_slice(left.values);
        binary::vectors(self.op, self.comparison, &mut self.left, &mut self.valid, right.values, &self.other);
        if let Some(step) = self.results.write(at, &self.left, &self.valid) {
            self.errors.offer(step, LABELSET, same_labelset);
        }
    }

    /// Two elements of the many side that give the same result at one step.
    fn track(&mut self, ordinal: u32, result: u32) {
        let one_to_one = self.matching.spec.cardinality == Cardinality::OneToOne;
        let steps = self.matching.steps;
        let key = (ordinal, if one_to_one { 0 } else { result });
        let matched = self.matched.entry(key).or_insert_with(|| vec![false; steps].into());
        for step in 0..steps {
            if self.valid[step] && self.other[step] {
                if matched[step] {
                    self.errors.offer(step, MATCHES, || {
                        let what = if one_to_one {
                            "many-to-one matching must be explicit (group_left/group_right)"
                        } else {
                            "grouping labels must ensure unique matches"
                        };
                        format!("multiple matches for labels: {what}")
                    });
                }
                matched[step] = true;
            }
        }
    }

    fn is_matched(&self, ordinal: u32, step: usize) -> bool {
        if self.matching.spec.cardinality == Cardinality::OneToOne {
            return self.matched.get(&(ordinal, 0)).is_some_and(|matched| matched[step]);
        }
        self.matched.iter().any(|((group, _), matched)| *group == ordinal && matched[step])
    }
}

/// A label set as Go's `labels.Labels.String` writes it: `{__name__="a", b="c"}`.
pub fn show_labels(labels: LabelsRef<'_>) -> String {
    use promontory_model::labels::{is_legacy_label_name, quote};
    let pairs: Vec<String> = labels
        .sorted_pairs()
        .iter()
        .map(|(name, value)| {
            let name = if is_legacy_label_name(name) { name.to_string() } else { quote(name) };
            format!("{name}={}", quote(value))
        })
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

/// The node.
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
