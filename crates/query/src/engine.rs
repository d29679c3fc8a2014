//! `QueryEngine`: the door [`Engine`] over a [`SampleSource`].
//!
//! A query goes through these steps, all on the query runtime, so that no heavy query delays what
//! runs on the caller's:
//!
//! 1. Parse and check (before any queue, so that a wrong query costs nothing).
//! 2. Wait for a place: at most `concurrency_max` queries run, at most `queue_max` wait.
//! 3. Pin a snapshot, lower the expression, select the series of all its selectors.
//! 4. Rewrite the plan, estimate its memory, build operators, run them.
//! 5. Collect the answer, sort it, add annotations.
//!
//! Dropping the future, or the end of the time, stops every operator at its next batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use datafusion::common::Result as DataFusionResult;
use datafusion::common::config::ConfigOptions;
use datafusion::execution::TaskContext;
use datafusion::execution::config::SessionConfig;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::physical_plan::{ExecutionPlan, displayable};
use futures::StreamExt;
use promontory_model::Labels;
use promontory_plan::{
    LabelProjection, Plan, QuerySettings, Root, ScalarArg, ScanFacts, admit, all_counters, estimate,
    for_each_vector, lower, name_fact, prune, prune_counter_notes, push_labels,
};
use promontory_promql::ast::{Expr, QueryTimes, ValueType};
use promontory_promql::engine::{
    Answer, BoxFuture, Engine, EngineError, InstantQuery, Listing, MetadataQuery, MetricMetadata, Point,
    RangeQuery, RequestContext, Statistics, Value,
};
use promontory_promql::grid::Grid;
use promontory_promql::parser::parse;
use promontory_store::{SampleSnapshot, SampleSource};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::answer;
use crate::context::{QueryContext, QueryExtension};
use crate::error::{EVALUATION, QUEUE, QueryError, plan_error, store_error, to_engine_error};
use crate::listing;
use crate::options::{EngineOptions, too_many_points};
use crate::physical::{PhysicalPlanner, PreparedScan, coalesce};

/// The stack that a thread of the query runtime needs: the deepest expression that parses is a chain of
/// 256 operators, each of which polls the next.
pub const THREAD_STACK_BYTES: usize = 16 << 20;

/// Answers PromQL over a source of samples.
#[derive(Clone, Debug)]
pub struct QueryEngine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    source: Arc<dyn SampleSource>,
    pub(crate) options: EngineOptions,
    runtime: Handle,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    config: ConfigOptions,
    pub(crate) environment: RuntimeEnv,
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
    root: Root,
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
        let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
        let environment = RuntimeEnvBuilder::new().with_disk_manager_builder(disk).build();
        let environment = environment.map_err(to_engine_error)?;
        let mut config = ConfigOptions::new();
        // Groups are grids: sending them on unaggregated never pays.
        config.execution.skip_partial_aggregation_probe_rows_threshold = usize::MAX;
        let places = Arc::new(Semaphore::new(options.concurrency_max.max(1)));
        let waiting = AtomicUsize::new(0);
        Ok(Self { inner: Arc::new(Inner { source, options, runtime, places, waiting, config, environment }) })
    }

    /// The settings.
    #[must_use]
    pub fn options(&self) -> &EngineOptions {
        &self.inner.options
    }

    /// The operators of a range query as text, as EXPLAIN shows them.
    ///
    /// # Errors
    /// As [`Engine::range`].
    pub async fn explain(&self, context: &RequestContext, query: &RangeQuery) -> Result<String, EngineError> {
        let query = self.inner.check_range(query)?;
        let shared = Arc::new(self.inner.context(context));
        let prepared = self.inner.prepare(&query, context, &shared, &mut Times::default()).await?;
        let plan = prepared.plan.map(|plan| displayable(plan.as_ref()).indent(false).to_string());
        Ok(plan.unwrap_or_else(|| format!("{:?}\n", prepared.root)))
    }

    /// Runs `work` on the query runtime as soon as the request has its place, until its time ends;
    /// dropping the result stops it.
    pub(crate) async fn run<T, W, F>(&self, request: &RequestContext, work: W) -> Result<T, EngineError>
    where
        T: Send + 'static,
        W: FnOnce(Running) -> F + Send + 'static,
        F: Future<Output = Result<T, EngineError>> + Send + 'static,
    {
        let context = Arc::new(self.inner.context(request));
        let run = {
            let (inner, request, context) = (Arc::clone(&self.inner), request.clone(), Arc::clone(&context));
            async move {
                let running = Running::enter(inner, request, Arc::clone(&context)).await?;
                within(&context, work(running)).await
            }
        };
        let mut task = StopOnDrop { task: self.inner.runtime.spawn(run), context };
        match (&mut task.task).await {
            Ok(result) => result,
            Err(error) if error.is_cancelled() => {
                Err(EngineError::Canceled(QueryError::Canceled(EVALUATION).to_string()))
            }
            Err(error) => Err(EngineError::Internal(format!("bug: a query has panicked: {error}"))),
        }
    }

    async fn evaluate(&self, request: &RequestContext, query: Query) -> Result<Answer, EngineError> {
        self.run(request, |running| async move { running.evaluate(&query).await }).await
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
        self.run(request, |running| async move { list(running.snapshot().await?).await }).await
    }
}

/// A request that has its place among those that run, and keeps it until this is dropped.
pub(crate) struct Running {
    pub(crate) inner: Arc<Inner>,
    /// Deadline and counters.
    pub(crate) context: Arc<QueryContext>,
    request: RequestContext,
    entered: Instant,
    queued: Duration,
    _place: OwnedSemaphorePermit,
}

impl Running {
    async fn enter(
        inner: Arc<Inner>,
        request: RequestContext,
        context: Arc<QueryContext>,
    ) -> Result<Self, EngineError> {
        let entered = Instant::now();
        let place = inner.place(&context).await?;
        Ok(Self { inner, context, request, entered, queued: entered.elapsed(), _place: place })
    }

    /// Pins what the request reads.
    pub(crate) async fn snapshot(&self) -> Result<Arc<dyn SampleSnapshot>, EngineError> {
        self.inner.snapshot(&self.request).await
    }

    async fn evaluate(&self, query: &Query) -> Result<Answer, EngineError> {
        let context = &self.context;
        let mut times = Times { queue: self.queued, ..Times::default() };
        let prepared = self.inner.prepare(query, &self.request, context, &mut times).await?;
        let value = run(query, &prepared, context, &mut times).await?;
        let mut annotations = context.annotations().render(&query.text);
        annotations.warnings.extend(prepared.snapshot.warnings());
        let statistics = statistics(context, times, self.entered.elapsed());
        Ok(Answer { value, annotations, statistics })
    }
}

/// Stops a task and its operators when nobody waits for them any more.
struct StopOnDrop<T> {
    task: JoinHandle<T>,
    context: Arc<QueryContext>,
}

impl<T> Drop for StopOnDrop<T> {
    fn drop(&mut self) {
        self.context.cancel();
        self.task.abort();
    }
}

async fn within<T>(
    context: &QueryContext,
    work: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout_at(context.deadline().into(), work).await {
        Ok(result) => result,
        Err(_) => {
            context.cancel();
            Err(EngineError::Timeout(QueryError::Timeout(EVALUATION).to_string()))
        }
    }
}

impl Inner {
    fn context(&self, request: &RequestContext) -> QueryContext {
        let timeout = request.timeout.map_or(self.options.timeout, |wish| wish.min(self.options.timeout));
        QueryContext::new(Instant::now() + timeout, self.options.samples_max)
    }

    fn parse(&self, text: &str, times: QueryTimes) -> Result<Expr, EngineError> {
        let mut expr =
            parse(text, &self.options.parser()).map_err(|error| EngineError::BadData(error.to_string()))?;
        expr.resolve(times).map_err(|error| EngineError::BadData(error.to_string()))?;
        Ok(expr)
    }

    fn settings(&self, times: QueryTimes, lookback: Option<Duration>) -> QuerySettings {
        let lookback = lookback.filter(|wish| !wish.is_zero()).unwrap_or(self.options.lookback_delta);
        QuerySettings {
            start: times.start,
            end: times.end,
            step: times.step,
            lookback: millis(lookback),
            subquery_step: millis(self.options.subquery_step).max(1),
            samples_max: self.options.samples_max,
            delayed_name_removal: self.options.delayed_name_removal,
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
        if grid.steps > self.options.points_max.saturating_add(1) {
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

    /// A place among the running queries.
    async fn place(&self, context: &QueryContext) -> Result<OwnedSemaphorePermit, EngineError> {
        if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(permit);
        }
        let _waiting = Waiting::enter(&self.waiting, self.options.queue_max)?;
        let wait = Arc::clone(&self.places).acquire_owned();
        match tokio::time::timeout_at(context.deadline().into(), wait).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(EngineError::Unavailable("the query engine is closed".into())),
            Err(_) => Err(EngineError::Timeout(QueryError::Timeout(QUEUE).to_string())),
        }
    }

    async fn snapshot(&self, request: &RequestContext) -> Result<Arc<dyn SampleSnapshot>, EngineError> {
        let snapshot = self.source.snapshot(&request.tenant, &request.must_contain).await;
        snapshot.map_err(|error| store_error(&error))
    }

    /// From the expression to operators.
    async fn prepare(
        &self,
        query: &Query,
        request: &RequestContext,
        context: &Arc<QueryContext>,
        times: &mut Times,
    ) -> Result<Prepared, EngineError> {
        let entered = Instant::now();
        let snapshot = self.snapshot(request).await?;
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
        let counters: Vec<bool> =
            selections.iter().map(|selection| all_counters(selection.series())).collect();
        for_each_vector(&mut root, &mut |node| {
            prune(node, &facts);
            prune_counter_notes(node, &counters);
            push_labels(node);
        });
        let series: Vec<u64> = selections.iter().map(|selection| selection.series().len() as u64).collect();
        admit(estimate(&root, &series), self.options.memory_bytes_max).map_err(plan_error)?;

        let prepared: Vec<PreparedScan> = scans
            .iter()
            .zip(selections)
            .map(|(scan, selection)| {
                let matchers: Vec<String> = scan.matchers.iter().map(ToString::to_string).collect();
                PreparedScan { selector: format!("{{{}}}", matchers.join(",")).into(), selection }
            })
            .collect();
        let (config, task) = self.session(context, query.grid.steps)?;
        let planner = PhysicalPlanner {
            context: Arc::clone(context),
            config,
            scans: &prepared,
            partitions_max: self.options.partitions_max,
            batch_values: self.options.batch_values,
            named_annotations: self.options.delayed_name_removal,
        };
        let plan = match &root {
            Root::Vector(node) | Root::Subquery(node) => Some(planner.vector(node)),
            Root::Scalar(ScalarArg::Node(node)) => Some(planner.vector(node)),
            Root::Samples { scan, .. } => Some(planner.samples(*scan, LabelProjection::All, 1)),
            Root::Scalar(_) | Root::String(_) => None,
        };
        let plan = plan.transpose().map_err(to_engine_error)?.map(coalesce);
        times.evaluation += looked_up;
        times.preparation = entered.elapsed().saturating_sub(looked_up);
        Ok(Prepared { plan, root, task, snapshot })
    }

    /// The configuration that carries the query's context, and the task that owns its memory.
    fn session(
        &self,
        context: &Arc<QueryContext>,
        steps: usize,
    ) -> Result<(Arc<ConfigOptions>, Arc<TaskContext>), EngineError> {
        let mut config = self.config.clone();
        config.extensions.insert(QueryExtension(Arc::clone(context)));
        let rows = (self.options.batch_values / steps.max(1)).clamp(1, 8_192);
        let session = SessionConfig::from(config.clone()).with_batch_size(rows);
        let pool = Arc::new(GreedyMemoryPool::new(self.options.memory_bytes_max));
        let environment = RuntimeEnv { memory_pool: pool, ..self.environment.clone() };
        let task = TaskContext::default().with_session_config(session).with_runtime(Arc::new(environment));
        Ok((Arc::new(config), Arc::new(task)))
    }
}

/// Counts a waiting query as long as it waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(waiting: &'a AtomicUsize, most: usize) -> Result<Self, EngineError> {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let entered = Self(waiting);
        if before >= most {
            return Err(EngineError::Unavailable(format!(
                "too many queries: {before} wait for a place already"
            )));
        }
        Ok(entered)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
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
    root: &Root,
    batches: &[RecordBatch],
    context: &QueryContext,
) -> DataFusionResult<Value> {
    let time = query.grid.start;
    match root {
        Root::String(text) => Ok(Value::String { ts: time, text: text.clone() }),
        Root::Scalar(values) => {
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
        Root::Vector(node) => match query.kind {
            QueryKind::Instant => answer::vector(batches, time, node.ordered),
            QueryKind::Range => answer::matrix(batches, query.grid),
        },
        Root::Samples { range, .. } => answer::samples(batches, *range, context),
        Root::Subquery(node) => answer::matrix(batches, node.grid),
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
        Box::pin(async move { self.evaluate(context, self.inner.check_instant(query)?).await })
    }

    fn range<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a RangeQuery,
    ) -> BoxFuture<'a, Result<Answer, EngineError>> {
        Box::pin(async move { self.evaluate(context, self.inner.check_range(query)?).await })
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
