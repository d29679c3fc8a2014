//! `QueryEngine`: the door [`Engine`] over a [`SampleSource`].
//!
//! A query goes through these steps, all on the query runtime, so that no heavy query delays what
//! runs on the caller's:
//!
//! 1. Wait for a place ([`crate::admission`]), and run until the end ([`crate::session`]).
//! 2. Parse and check: `question`.
//! 3. Pin a snapshot ([`crate::view`]), lower the expression, select the series of all its selectors, rewrite
//!    the plan, estimate its memory, build operators: `prepare`.
//! 4. Run them, collect the answer, sort it, add annotations and what it depends on.

mod explain;
mod prepare;
mod question;
mod raw;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use datafusion::common::Result as DataFusionResult;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use futures::StreamExt;
use promontory_model::Labels;
use promontory_plan::{PlanRoot, ScalarArg};
use promontory_promql::engine::{
    Answer, BoxFuture, Engine, EngineError, ExemplarAnswer, ExemplarQuery, Explanation, InstantQuery,
    Listing, ListingQuery, MetadataByMetric, Price, Question, RangeQuery, RequestContext, SampleStream,
    SamplesQuery, Statistics, Value,
};
use promontory_store::SampleSource;
use tokio::runtime::Handle;

use self::prepare::{Operators, Planned};
use self::question::{Query, QueryKind};
use crate::answer::{AnswerBuilder, AnswerKind, scalar_matrix};
use crate::context::QueryContext;
use crate::counters::EngineCounters;
use crate::error::{store_error, to_engine_error};
use crate::listing;
use crate::session::{Session, Sessions};
use crate::settings::EngineSettings;
use crate::view::RequestView;

/// The stack that a thread of the query runtime needs: the deepest expression that parses is a chain of
/// 1,024 operators, each of which polls the next. What no query has touched takes no memory.
pub const THREAD_STACK_BYTES: usize = 64 << 20;

/// Answers PromQL over a source of samples.
#[derive(Clone, Debug)]
pub struct QueryEngine {
    pub(crate) sessions: Arc<Sessions>,
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

impl Times {
    fn count(&self, counters: &EngineCounters) {
        counters.durations.prepare.observe(self.preparation);
        counters.durations.eval.observe(self.evaluation);
        counters.durations.sort.observe(self.sort);
    }
}

/// A query that is ready to run.
struct Prepared {
    planned: Planned,
    operators: Operators,
}

impl QueryEngine {
    /// An engine over `source` that runs queries on `runtime`, whose threads must have
    /// [`THREAD_STACK_BYTES`] of stack.
    ///
    /// # Errors
    /// If DataFusion's environment cannot be made.
    pub fn new(
        source: Arc<dyn SampleSource>,
        settings: EngineSettings,
        runtime: Handle,
    ) -> Result<Self, EngineError> {
        Ok(Self { sessions: Arc::new(Sessions::new(source, settings, runtime)?) })
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &EngineSettings {
        &self.sessions.settings
    }

    /// What became of its requests.
    #[must_use]
    pub fn counters(&self) -> Arc<EngineCounters> {
        Arc::clone(&self.sessions.counters)
    }

    async fn evaluate(&self, request: &RequestContext, question: Question) -> Result<Answer, EngineError> {
        let answer = |session: Session| async move { evaluate(&session, &session.check(&question)?).await };
        self.sessions.run(request, answer).await
    }

    /// Runs a listing under the same limits as a query.
    async fn list<T: Send + 'static, F>(
        &self,
        request: &RequestContext,
        query: ListingQuery,
        list: impl FnOnce(Arc<RequestView>, ListingQuery) -> F + Send + 'static,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, EngineError>> + Send + 'static,
    {
        let run = |session: Session| async move {
            let query = listing::parsed(query, &session.context)?;
            list(session.view().await?, query).await
        };
        self.sessions.run(request, run).await
    }
}

impl Session {
    fn check(&self, question: &Question) -> Result<Query, EngineError> {
        self.shared().settings.check(question, &self.context)
    }
}

/// From a checked query to its answer.
async fn evaluate(session: &Session, query: &Query) -> Result<Answer, EngineError> {
    let context = &session.context;
    let mut times = Times { queue: session.queued, ..Times::default() };
    let prepared = prepare(session, query, &mut times).await?;
    let value = run(query, &prepared, context, &mut times).await?;
    let mut annotations = context.annotations().render(&query.text);
    annotations.warnings.extend(prepared.planned.view.warnings());
    times.count(&session.shared().counters);
    let statistics = statistics(context, times, session.entered.elapsed());
    session.shared().counters.samples.fetch_add(statistics.total_queryable_samples, Relaxed);
    Ok(Answer { value, annotations, statistics, dependencies: prepared.planned.dependencies() })
}

/// From a checked query to operators.
async fn prepare(session: &Session, query: &Query, times: &mut Times) -> Result<Prepared, EngineError> {
    let entered = Instant::now();
    let planned = prepare::plan(session, query).await?;
    let operators = planned.operators(session, query.grid.steps)?;
    times.evaluation += planned.looked_up;
    times.preparation = entered.elapsed().saturating_sub(planned.looked_up);
    Ok(Prepared { planned, operators })
}

/// Runs the operators; the answer grows while they run, so that it is charged before there is more of it.
async fn run(
    query: &Query,
    prepared: &Prepared,
    context: &QueryContext,
    times: &mut Times,
) -> Result<Value, EngineError> {
    let started = Instant::now();
    let Operators { plan, task } = &prepared.operators;
    let root = &prepared.planned.root;
    let mut answer = AnswerBuilder::new(answer_kind(query, root), context);
    if let Some(plan) = plan {
        collect(plan, task, context, &mut answer).await.map_err(to_engine_error)?;
    }
    times.evaluation += started.elapsed();
    let started = Instant::now();
    let value = value_of(query, root, answer);
    times.sort = started.elapsed();
    Ok(value)
}

async fn collect(
    plan: &Arc<dyn ExecutionPlan>,
    task: &Arc<TaskContext>,
    context: &QueryContext,
    answer: &mut AnswerBuilder<'_>,
) -> DataFusionResult<()> {
    let mut stream = plan.execute(0, Arc::clone(task))?;
    while let Some(batch) = stream.next().await {
        context.check()?;
        answer.add(&batch?)?;
    }
    Ok(())
}

fn answer_kind(query: &Query, root: &PlanRoot) -> AnswerKind {
    match root {
        PlanRoot::Scalar(_) | PlanRoot::String(_) => AnswerKind::Scalar,
        PlanRoot::Samples { range, .. } => AnswerKind::Samples(*range),
        PlanRoot::Subquery(node) => AnswerKind::Matrix(node.grid),
        PlanRoot::Vector(node) => match query.kind {
            QueryKind::Instant => AnswerKind::Vector { time: query.grid.start, ordered: node.ordered },
            QueryKind::Range => AnswerKind::Matrix(query.grid),
        },
    }
}

fn value_of(query: &Query, root: &PlanRoot, answer: AnswerBuilder<'_>) -> Value {
    let time = query.grid.start;
    match root {
        PlanRoot::String(text) => Value::String { ts: time, text: text.clone() },
        PlanRoot::Scalar(values) => {
            let found = match values {
                ScalarArg::Node(_) => answer.into_scalar(),
                known => known.clone(),
            };
            match query.kind {
                QueryKind::Instant => {
                    Value::Scalar { ts: time, value: found.known_at(0).unwrap_or(f64::NAN) }
                }
                QueryKind::Range => scalar_matrix(&found, query.grid),
            }
        }
        _ => answer.into_value(),
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

impl Engine for QueryEngine {
    fn instant<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a InstantQuery,
    ) -> BoxFuture<'a, Result<Answer, EngineError>> {
        Box::pin(self.evaluate(context, Question::Instant(query.clone())))
    }

    fn range<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a RangeQuery,
    ) -> BoxFuture<'a, Result<Answer, EngineError>> {
        Box::pin(self.evaluate(context, Question::Range(query.clone())))
    }

    fn series<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a ListingQuery,
    ) -> BoxFuture<'a, Result<Listing<Labels>, EngineError>> {
        let query = query.clone();
        Box::pin(self.list(context, query, |view, query| async move { listing::series(&view, &query).await }))
    }

    fn label_names<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a ListingQuery,
    ) -> BoxFuture<'a, Result<Listing<String>, EngineError>> {
        let query = query.clone();
        Box::pin(self.list(
            context,
            query,
            |view, query| async move { listing::label_names(&view, &query).await },
        ))
    }

    fn label_values<'a>(
        &'a self,
        context: &'a RequestContext,
        name: &'a str,
        query: &'a ListingQuery,
    ) -> BoxFuture<'a, Result<Listing<String>, EngineError>> {
        let (name, query) = (name.to_owned(), query.clone());
        let list = |view: Arc<RequestView>, query: ListingQuery| async move {
            listing::label_values(&view, &name, &query).await
        };
        Box::pin(self.list(context, query, list))
    }

    fn metadata<'a>(
        &'a self,
        context: &'a RequestContext,
        metric: Option<&'a str>,
    ) -> BoxFuture<'a, Result<MetadataByMetric, EngineError>> {
        let metric = metric.map(str::to_owned);
        let find = |session: Session| async move {
            let view = session.view().await?;
            view.metadata(metric.as_deref()).await.map_err(|error| store_error(&error))
        };
        Box::pin(self.sessions.run(context, find))
    }

    fn exemplars<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a ExemplarQuery,
    ) -> BoxFuture<'a, Result<ExemplarAnswer, EngineError>> {
        Box::pin(async move {
            let ExemplarQuery { expr, range } = query.clone();
            let find = move |session: Session| async move {
                let selectors = session.shared().settings.selectors(&expr, &session.context)?;
                if selectors.is_empty() {
                    return Ok(ExemplarAnswer::default());
                }
                let view = session.view().await?;
                let series = listing::exemplars(&view, &selectors, range).await?;
                Ok(ExemplarAnswer { selects: true, series })
            };
            self.sessions.run(context, find).await
        })
    }

    fn samples<'a>(
        &'a self,
        context: &'a RequestContext,
        query: &'a SamplesQuery,
    ) -> BoxFuture<'a, Result<SampleStream, EngineError>> {
        let query = query.clone();
        Box::pin(async move {
            let stream = self.sessions.stream(context, |session, outlet| raw::send(session, query, outlet));
            Ok(Box::pin(stream.await?) as SampleStream)
        })
    }

    fn format<'a>(
        &'a self,
        context: &'a RequestContext,
        expr: &'a str,
    ) -> BoxFuture<'a, Result<String, EngineError>> {
        let expr = expr.to_owned();
        let format = |session: Session| async move {
            Ok(session.shared().settings.parse(&expr, &session.context)?.pretty())
        };
        Box::pin(self.sessions.run(context, format))
    }

    fn explain<'a>(
        &'a self,
        context: &'a RequestContext,
        question: &'a Question,
    ) -> BoxFuture<'a, Result<Explanation, EngineError>> {
        Box::pin(async move {
            let question = question.clone();
            let explain = |session: Session| async move {
                explain::explain(&session, &session.check(&question)?).await
            };
            self.sessions.run(context, explain).await
        })
    }

    fn price<'a>(
        &'a self,
        context: &'a RequestContext,
        question: &'a Question,
    ) -> BoxFuture<'a, Result<Price, EngineError>> {
        Box::pin(async move {
            let question = question.clone();
            let price =
                |session: Session| async move { explain::price(&session, &session.check(&question)?).await };
            self.sessions.run(context, price).await
        })
    }
}
