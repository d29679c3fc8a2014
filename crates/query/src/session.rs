//! Running and stopping: a request has its place, its end and its memory on the query runtime.
//!
//! Dropping the future, or the end of the time, stops every operator at its next batch.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as PollContext, Poll, ready};
use std::time::{Duration, Instant};

use datafusion::common::config::ConfigOptions;
use datafusion::execution::TaskContext;
use datafusion::execution::config::SessionConfig;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use futures::Stream;
use promontory_promql::engine::{EngineError, RequestContext};
use promontory_store::{SampleSource, SnapshotWish};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};

use crate::admission::{Place, Places};
use crate::context::{QueryContext, QueryExtension};
use crate::counters::{EngineCounters, add_one};
use crate::error::{EVALUATION, QueryError, store_error, to_engine_error};
use crate::memory::{QueryMemory, TotalMemory};
use crate::settings::EngineSettings;
use crate::view::RequestView;

/// What the requests of one engine share.
#[derive(Debug)]
pub(crate) struct Sessions {
    source: Arc<dyn SampleSource>,
    pub(crate) settings: EngineSettings,
    runtime: Handle,
    places: Places,
    pub(crate) counters: Arc<EngineCounters>,
    memory: Arc<TotalMemory>,
    config: ConfigOptions,
    environment: RuntimeEnv,
}

/// A request that has its place among those that run, and keeps it until this is dropped, or until its answer
/// was read where the request says so.
pub(crate) struct Session {
    shared: Arc<Sessions>,
    /// Deadline and counters.
    pub(crate) context: Arc<QueryContext>,
    request: RequestContext,
    /// When the request came.
    pub(crate) entered: Instant,
    /// How long it waited for its place.
    pub(crate) queued: Duration,
    place: Arc<Place>,
}

impl Sessions {
    /// Sessions over `source` that run on `runtime`.
    ///
    /// # Errors
    /// If DataFusion's environment cannot be made.
    pub(crate) fn new(
        source: Arc<dyn SampleSource>,
        settings: EngineSettings,
        runtime: Handle,
    ) -> Result<Self, EngineError> {
        let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
        let environment = RuntimeEnvBuilder::new().with_disk_manager_builder(disk).build();
        let environment = environment.map_err(to_engine_error)?;
        let mut config = ConfigOptions::new();
        // Groups are grids: sending them on unaggregated never pays.
        config.execution.skip_partial_aggregation_probe_rows_threshold = usize::MAX;
        let counters = Arc::<EngineCounters>::default();
        let places = Places::new(settings.concurrency_max, settings.queue_max, Arc::clone(&counters));
        let memory = TotalMemory::new(settings.memory_total_bytes_max, Arc::clone(&counters));
        Ok(Self { source, settings, runtime, places, counters, memory, config, environment })
    }

    /// Runs `work` on the query runtime as soon as the request has its place, until its time ends;
    /// dropping the result stops it.
    pub(crate) async fn run<T, W, F>(
        self: &Arc<Self>,
        request: &RequestContext,
        work: W,
    ) -> Result<T, EngineError>
    where
        T: Send + 'static,
        W: FnOnce(Session) -> F + Send + 'static,
        F: Future<Output = Result<T, EngineError>> + Send + 'static,
    {
        let mut task = self.spawn(request, work);
        outcome((&mut task.task).await)
    }

    /// Runs `work` in the same way while what it sends is taken; dropping the stream stops it.
    ///
    /// # Errors
    /// Of `work`, if it ends before it says that it has opened.
    pub(crate) async fn stream<T, W, F>(
        self: &Arc<Self>,
        request: &RequestContext,
        work: W,
    ) -> Result<TaskStream<T>, EngineError>
    where
        T: Send + 'static,
        W: FnOnce(Session, Outlet<T>) -> F + Send + 'static,
        F: Future<Output = Result<(), EngineError>> + Send + 'static,
    {
        let (opened, opening) = oneshot::channel();
        let (items, received) = mpsc::channel(ITEMS_WAITING_MAX);
        let mut task = self.spawn(request, |session| work(session, Outlet { opened, items }));
        let ended = match opening.await {
            Ok(()) => false,
            Err(_) => outcome((&mut task.task).await).map(|()| true)?,
        };
        Ok(TaskStream { received, task, ended })
    }

    fn spawn<T, W, F>(
        self: &Arc<Self>,
        request: &RequestContext,
        work: W,
    ) -> StopOnDrop<Result<T, EngineError>>
    where
        T: Send + 'static,
        W: FnOnce(Session) -> F + Send + 'static,
        F: Future<Output = Result<T, EngineError>> + Send + 'static,
    {
        let context = Arc::new(self.context(request));
        let run = {
            let (shared, request, context) = (Arc::clone(self), request.clone(), Arc::clone(&context));
            async move {
                let (counters, until_read) = (Arc::clone(&shared.counters), request.until_read.clone());
                let session = Session::enter(shared, request, Arc::clone(&context)).await?;
                let place = Arc::clone(&session.place);
                let ended = within(&context, work(session)).await;
                if let Some(until_read) = until_read.filter(|_| ended.is_ok()) {
                    until_read.keep((place, context));
                }
                if matches!(ended, Err(EngineError::Limited(_))) {
                    add_one(&counters.refused_limit);
                }
                ended
            }
        };
        StopOnDrop { task: self.runtime.spawn(run), context }
    }

    /// Deadline and counters of a request that comes now.
    pub(crate) fn context(&self, request: &RequestContext) -> QueryContext {
        let timeout = request.timeout.map_or(self.settings.timeout, |wish| wish.min(self.settings.timeout));
        let samples_max = request.limits.samples_max.unwrap_or(u64::MAX).min(self.settings.samples_max);
        let memory = QueryMemory::new(self.settings.memory_bytes_max, &self.memory);
        QueryContext::new(Instant::now() + timeout, samples_max, memory)
    }

    /// The configuration that carries a query's context, and the task that owns its memory; batches hold
    /// rows of `steps` points.
    pub(crate) fn task(
        &self,
        context: &Arc<QueryContext>,
        steps: usize,
    ) -> (Arc<ConfigOptions>, Arc<TaskContext>) {
        let mut config = self.config.clone();
        config.extensions.insert(QueryExtension(Arc::clone(context)));
        let rows = (self.settings.batch_values / steps.max(1)).clamp(1, 8_192);
        let session = SessionConfig::from(config.clone()).with_batch_size(rows);
        let environment = Arc::new(self.environment(context));
        let task = TaskContext::default().with_session_config(session).with_runtime(environment);
        (Arc::new(config), Arc::new(task))
    }

    /// An environment whose memory is that of one query.
    pub(crate) fn environment(&self, context: &QueryContext) -> RuntimeEnv {
        RuntimeEnv { memory_pool: Arc::clone(context.memory()) as _, ..self.environment.clone() }
    }
}

impl Session {
    async fn enter(
        shared: Arc<Sessions>,
        request: RequestContext,
        context: Arc<QueryContext>,
    ) -> Result<Self, EngineError> {
        let entered = Instant::now();
        let place = shared.places.enter(context.deadline()).await?;
        Ok(Self { shared, context, request, entered, queued: entered.elapsed(), place: Arc::new(place) })
    }

    /// What it shares with others.
    pub(crate) fn shared(&self) -> &Sessions {
        &self.shared
    }

    /// Pins what the request reads.
    pub(crate) async fn view(&self) -> Result<Arc<RequestView>, EngineError> {
        let request = &self.request;
        let wish = SnapshotWish { must_contain: &request.must_contain, pinned: request.pinned.as_ref() };
        let pinned = self.shared.source.snapshot(&request.tenants, wish).await;
        let pinned = pinned.map_err(|error| store_error(&error))?;
        Ok(Arc::new(RequestView::new(request, pinned, Arc::clone(&self.context))))
    }
}

/// Items that are ready before anybody takes them: one, so that the next is made while one is used.
const ITEMS_WAITING_MAX: usize = 1;

/// Where the work of a stream says that it goes well, and then sends what it makes.
pub(crate) struct Outlet<T> {
    opened: oneshot::Sender<()>,
    items: mpsc::Sender<T>,
}

impl<T> Outlet<T> {
    /// From now on an error ends the stream instead of being the answer.
    pub(crate) fn open(self) -> mpsc::Sender<T> {
        // Nobody waits any more if the request went away; then sending fails, too.
        let _ = self.opened.send(());
        self.items
    }
}

/// What a task sends, then its error if it has one.
pub(crate) struct TaskStream<T> {
    received: mpsc::Receiver<T>,
    task: StopOnDrop<Result<(), EngineError>>,
    ended: bool,
}

impl<T> Stream for TaskStream<T> {
    type Item = Result<T, EngineError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut PollContext<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(item) = ready!(self.received.poll_recv(context)) {
            return Poll::Ready(Some(Ok(item)));
        }
        let joined = ready!(Pin::new(&mut self.task.task).poll(context));
        self.ended = true;
        Poll::Ready(outcome(joined).err().map(Err))
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

fn outcome<T>(joined: Result<Result<T, EngineError>, JoinError>) -> Result<T, EngineError> {
    match joined {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => {
            Err(EngineError::Cancelled(QueryError::Cancelled(EVALUATION).to_string()))
        }
        Err(error) => Err(EngineError::Bug(format!("bug: a query has panicked: {error}"))),
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
            Err(EngineError::TimedOut(QueryError::TimedOut(EVALUATION).to_string()))
        }
    }
}
