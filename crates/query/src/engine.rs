//! `QueryEngine`: the door [`Engine`] over a [`SampleSource`].
//!
//! A query goes through these steps, all on the query runtime, so that no heavy query delays what
//! runs on the caller's:
//!
//! 1. Parse and check (before any queue, so that a wrong query costs nothing).
//! 2. Wait for a place ([`crate::admission`]), and run until the end ([`crate::session`]).
//! 3. Pin a snapshot, lower the expression, select the series of all its selectors.
//! 4. Rewrite the plan, estimate its memory, build operators, run them.
//! 5. Collect the answer, sort it, add annotations.
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use datafusion::common::Result as DataFusionResult;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use futures::StreamExt;
use promontory_model::{Labels, MetricMetadata};
use promontory_plan::{
    LabelProjection, Plan, PlanRoot, QuerySettings, ScalarArg, ScanFacts, admit, all_counters, estimate,
    for_each_vector, lower, name_fact, prune, prune_counter_notes, push_labels,
};
use promontory_promql::ast::{Expr, QueryTimes};
use promontory_promql::engine::{
    Answer, BoxFuture, Engine, EngineError, InstantQuery, Listing, MetadataQuery, Point, RangeQuery,
    RequestContext, Statistics, Value,
};
use promontory_promql::{Grid, ValueType, parse};
use promontory_store::{SampleSnapshot, SampleSource};
use tokio::runtime::Handle;

use crate::answer;
use crate::context::QueryContext;
use crate::error::{plan_error, store_error, to_engine_error};
use crate::listing;
use crate::options::{EngineOptions, too_many_points};
use crate::physical::{PhysicalPlanner, PreparedScan, coalesce};
use crate::session::{Session, Sessions};

/// The stack that a thread of the query runtime needs: the deepest expression that parses is a chain of
/// 256 operators, each of which polls the next.
pub const THREAD_STACK_BYTES: usize = 16 << 20;

/// Answers PromQL over a source of samples.
#[derive(Clone, Debug)]
pub struct QueryEngine {
    pub(crate) sessions: Arc<Sessions>,
}

/// A checked query.
#[derive(Clone, Debug)]
struct Query {
    text: String,
    expr: Expr,
    grid: Grid,
    kind: QueryKind,
    settings: QuerySettings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QueryKind {
    Instant,
    Range,
}

/// How long the parts of a query took.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    queue: Duration,
    /// From the expression to operators, without the snapshot and the look-up of series: what Prometheus
    /// calls preparation does not look series up either.
    preparation: Duration,
    evaluation: Duration,
    sort: Duration,
}

/// Operators that are ready to run.
struct Prepared {
    plan: Option<Arc<dyn ExecutionPlan>>,
    root: PlanRoot,
    task: Arc<TaskContext>,
    snapshot: Arc<dyn SampleSnapshot>,
}

impl QueryEngine {
    /// An engine over `source` that runs queries on `runtime`, whose threads must have
    /// [`THREAD_STACK_BYTES`] of stack.
    ///
    /// # Errors
    /// If DataFusion's environment cannot be made.
    pub fn new(
        source: Arc<dyn SampleSource>,
        options: EngineOptions,
        runtime: Handle,
    ) -> Result<Self, EngineError> {
        Ok(Self { sessions: Arc::new(Sessions::new(source, options, runtime)?) })
    }

    /// The settings.
    #[must_use]
    pub fn options(&self) -> &EngineOptions {
        &self.sessions.options
    }

    /// The operators of a range query as text, as EXPLAIN shows them.
    ///
    /// # Errors
    /// As [`Engine::range`].
    pub async fn explain(&self, context: &RequestContext, query: &RangeQuery) -> Result<String, EngineError> {
        let query = self.options().check_range(query)?;
        let shared = Arc::new(self.sessions.context(context));
        let prepared = prepare(&self.sessions, &query, context, &shared, &mut Times::default()).await?;
        let plan = prepared.plan.map(|plan| displayable(plan.as_ref()).indent(false).to_string());
        Ok(plan.unwrap_or_else(|| format!("{:?}\n", prepared.root)))
    }

    async fn evaluate(&self, request: &RequestContext, query: Query) -> Result<Answer, EngineError> {
        self.sessions.run(request, |session| async move { evaluate(&session, &query).await }).await
    }

    /// Runs a metadata request under the same limits as a query.
    async fn list<T: Send + 'static, F>(
        &self,
        request: &RequestContext,
        list: impl FnOnce(Arc<dyn SampleSnapshot>) -> F + Send + 'static,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, EngineError>> + Send + 'static,
    {
        self.sessions.run(request, |session| async move { list(session.snapshot().await?).await }).await
    }
}

/// From a checked query to its answer.
async fn evaluate(session: &Session, query: &Query) -> Result<Answer, EngineError> {
    let context = &session.context;
    let mut times = Times { queue: session.queued, ..Times::default() };
    let prepared = prepare(session.shared(), query, session.request(), context, &mut times).await?;
    let value = run(query, &prepared, context, &mut times).await?;
    let mut annotations = context.annotations().render(&query.text);
    annotations.warnings.extend(prepared.snapshot.warnings());
    let statistics = statistics(context, times, session.entered.elapsed());
    Ok(Answer { value, annotations, statistics })
}

impl EngineOptions {
    fn parse(&self, text: &str, times: QueryTimes) -> Result<Expr, EngineError> {
        let mut expr =
            parse(text, &self.parser()).map_err(|error| EngineError::BadData(error.to_string()))?;
        expr.resolve(times).map_err(|error| EngineError::BadData(error.to_string()))?;
        Ok(expr)
    }

    fn settings(&self, times: QueryTimes, lookback: Option<Duration>) -> QuerySettings {
        let lookback = lookback.filter(|wish| !wish.is_zero()).unwrap_or(self.lookback_delta);
        QuerySettings {
            start: times.start,
            end: times.end,
            step: times.step,
            lookback: millis(lookback),
            subquery_step: millis(self.subquery_step).max(1),
            samples_max: self.samples_max,
            delayed_name_removal: self.delayed_name_removal,
        }
    }

    fn check_instant(&self, query: &InstantQuery) -> Result<Query, EngineError> {
        let times = QueryTimes { start: query.time, end: query.time, step: 0 };
        Ok(Query {
            text: query.expr.clone(),
            expr: self.parse(&query.expr, times)?,
            grid: Grid::instant(query.time),
            kind: QueryKind::Instant,
            settings: self.settings(times, query.lookback_delta),
        })
    }

    fn check_range(&self, query: &RangeQuery) -> Result<Query, EngineError> {
        let bad = |text: &str| Err(EngineError::BadData(text.into()));
        if query.step <= 0 {
            return bad(
                "zero or negative query resolution step widths are not accepted. Try a positive integer",
            );
        }
        if query.end < query.start {
            return bad("end timestamp must not be before start time");
        }
        let grid = Grid::new(query.start, query.end, query.step);
        if grid.steps > self.points_max.saturating_add(1) {
            return Err(too_many_points());
        }
        let times = QueryTimes { start: query.start, end: query.end, step: query.step };
        let expr = self.parse(&query.expr, times)?;
        if !matches!(expr.value_type(), ValueType::Scalar | ValueType::Vector) {
            let kind = expr.value_type().documented();
            return bad(&format!(
                "invalid expression type \"{kind}\" for range query, must be Scalar or instant Vector"
            ));
        }
        let settings = self.settings(times, query.lookback_delta);
        Ok(Query { text: query.expr.clone(), expr, grid, kind: QueryKind::Range, settings })
    }
}

/// From the expression to operators.
async fn prepare(
    sessions: &Sessions,
    query: &Query,
    request: &RequestContext,
    context: &Arc<QueryContext>,
    times: &mut Times,
) -> Result<Prepared, EngineError> {
    let entered = Instant::now();
    let snapshot = sessions.snapshot(request).await?;
    let pinned = entered.elapsed();
    let Plan { mut root, scans } =
        lower(&query.expr, query.grid, query.settings, context.annotations()).map_err(plan_error)?;
    let selecting = Instant::now();
    let selects = scans.iter().map(|scan| snapshot.select(&scan.matchers, scan.range));
    let selections = futures::future::try_join_all(selects).await.map_err(|error| store_error(&error))?;
    let looked_up = pinned + selecting.elapsed();

    let facts: Vec<ScanFacts> = selections
        .iter()
        .map(|selection| ScanFacts {
            name: name_fact(selection.series()),
            empty: selection.series().is_empty(),
        })
        .collect();
    let counters: Vec<bool> = selections.iter().map(|selection| all_counters(selection.series())).collect();
    for_each_vector(&mut root, &mut |node| {
        prune(node, &facts);
        prune_counter_notes(node, &counters);
        push_labels(node);
    });
    let series: Vec<u64> = selections.iter().map(|selection| selection.series().len() as u64).collect();
    admit(estimate(&root, &series), sessions.options.memory_bytes_max).map_err(plan_error)?;

    let prepared: Vec<PreparedScan> = scans
        .iter()
        .zip(selections)
        .map(|(scan, selection)| {
            let matchers: Vec<String> = scan.matchers.iter().map(ToString::to_string).collect();
            PreparedScan { selector: format!("{{{}}}", matchers.join(",")).into(), selection }
        })
        .collect();
    let (config, task) = sessions.task(context, query.grid.steps);
    let planner = PhysicalPlanner {
        context: Arc::clone(context),
        config,
        scans: &prepared,
        partitions_max: sessions.options.partitions_max,
        batch_values: sessions.options.batch_values,
        named_annotations: sessions.options.delayed_name_removal,
    };
    let plan = match &root {
        PlanRoot::Vector(node) | PlanRoot::Subquery(node) => Some(planner.vector(node)),
        PlanRoot::Scalar(ScalarArg::Node(node)) => Some(planner.vector(node)),
        PlanRoot::Samples { scan, .. } => Some(planner.samples(*scan, LabelProjection::All, 1)),
        PlanRoot::Scalar(_) | PlanRoot::String(_) => None,
    };
    let plan = plan.transpose().map_err(to_engine_error)?.map(coalesce);
    times.evaluation += looked_up;
    times.preparation = entered.elapsed().saturating_sub(looked_up);
    Ok(Prepared { plan, root, task, snapshot })
}

/// Runs the operators and makes the answer's value.
async fn run(
    query: &Query,
    prepared: &Prepared,
    context: &QueryContext,
    times: &mut Times,
) -> Result<Value, EngineError> {
    let started = Instant::now();
    let batches = match &prepared.plan {
        Some(plan) => collect(plan, &prepared.task, context).await.map_err(to_engine_error)?,
        None => Vec::new(),
    };
    times.evaluation += started.elapsed();
    let started = Instant::now();
    let value = value_of(query, &prepared.root, &batches, context).map_err(to_engine_error)?;
    times.sort = started.elapsed();
    Ok(value)
}

async fn collect(
    plan: &Arc<dyn ExecutionPlan>,
    task: &Arc<TaskContext>,
    context: &QueryContext,
) -> DataFusionResult<Vec<RecordBatch>> {
    let mut stream = plan.execute(0, Arc::clone(task))?;
    let mut batches = Vec::new();
    while let Some(batch) = stream.next().await {
        context.check()?;
        batches.push(batch?);
    }
    Ok(batches)
}

fn value_of(
    query: &Query,
    root: &PlanRoot,
    batches: &[RecordBatch],
    context: &QueryContext,
) -> DataFusionResult<Value> {
    let time = query.grid.start;
    match root {
        PlanRoot::String(text) => Ok(Value::String { ts: time, text: text.clone() }),
        PlanRoot::Scalar(values) => {
            let found = match values {
                ScalarArg::Node(_) => answer::scalar_values(batches)?,
                known => known.clone(),
            };
            Ok(match query.kind {
                QueryKind::Instant => {
                    Value::Scalar(Point { ts: time, value: found.known_at(0).unwrap_or(f64::NAN) })
                }
                QueryKind::Range => answer::scalar_matrix(&found, query.grid),
            })
        }
        PlanRoot::Vector(node) => match query.kind {
            QueryKind::Instant => answer::vector(batches, time, node.ordered),
            QueryKind::Range => answer::matrix(batches, query.grid),
        },
        PlanRoot::Samples { range, .. } => answer::samples(batches, *range, context),
        PlanRoot::Subquery(node) => answer::matrix(batches, node.grid),
    }
}

fn statistics(context: &QueryContext, times: Times, total: Duration) -> Statistics {
    let (samples_read, total_queryable_samples, peak_samples) = context.samples();
    Statistics {
        total_queryable_samples,
        peak_samples,
        samples_read,
        series_touched: context.series_touched(),
        exec_queue_seconds: times.queue.as_secs_f64(),
        query_preparation_seconds: times.preparation.as_secs_f64(),
        inner_eval_seconds: times.evaluation.as_secs_f64(),
        result_sort_seconds: times.sort.as_secs_f64(),
        exec_total_seconds: total.as_secs_f64(),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Engine for QueryEngine {
    fn instant<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a InstantQuery,
    ) -> BoxFuture<'a, Result<Answer, EngineError>> {
        Box::pin(async move { self.evaluate(context, self.options().check_instant(query)?).await })
    }

    fn range<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a RangeQuery,
    ) -> BoxFuture<'a, Result<Answer, EngineError>> {
        Box::pin(async move { self.evaluate(context, self.options().check_range(query)?).await })
    }

    fn series<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a MetadataQuery,
    ) -> BoxFuture<'a, Result<Listing<Labels>, EngineError>> {
        let query = query.clone();
        Box::pin(self.list(context, |snapshot| async move { listing::series(&*snapshot, &query).await }))
    }

    fn label_names<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a MetadataQuery,
    ) -> BoxFuture<'a, Result<Listing<String>, EngineError>> {
        let query = query.clone();
        Box::pin(self.list(context, |snapshot| async move { listing::label_names(&*snapshot, &query).await }))
    }

    fn label_values<'a>(
        &'a self,
        context: &'a RequestContext,
        name: &'a str,
        query: &'a MetadataQuery,
    ) -> BoxFuture<'a, Result<Listing<String>, EngineError>> {
        let (name, query) = (name.to_owned(), query.clone());
        Box::pin(
            self.list(
                context,
                |snapshot| async move { listing::label_values(&*snapshot, &name, &query).await },
            ),
        )
    }

    fn metadata<'a>(
        &'a self,
        _: &'a RequestContext,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<(String, Vec<MetricMetadata>)>, EngineError>> {
        // Remote write 1.0 metadata is not stored; Prometheus answers with an empty object then, too.
        Box::pin(async { Ok(Vec::new()) })
    }
}
