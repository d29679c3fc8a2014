//! Opens the store, starts the roles of this process, serves HTTP, stops gracefully.
//!
//! 1. Listen, and answer "not ready" while the store is opened; a store that does not answer is tried
//!    again until it does, a store that cannot be used ends the process.
//! 2. Start the roles, hand their doors to the faces, be ready.
//! 3. On SIGTERM or SIGINT: take no new requests, let those in flight finish, write the last segment,
//!    block and closed mark, exit 0. A second signal ends the process at once.
//!
//! Two runtimes: IO (HTTP, store, ingester) and query (DataFusion, decoding), so that a heavy query
//! cannot delay an acknowledgement.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::routing::get;
use promontory_api::{ApiConfig, ApiState, Readiness, ReadyState, RuntimeInfo};
use promontory_block::ParquetCodec;
use promontory_compactor::Compactor;
use promontory_ingester::Ingester;
use promontory_model::{Append, Clock};
use promontory_promql::Engine;
use promontory_query::QueryEngine;
use promontory_sql::{SqlConfig, SqlState};
use promontory_store::{
    BlockReader, Bucket, Chain, Context, Error as StoreError, Format, LocalLives, Planted, Reader,
    ReaderSettings, RequestCounters, StoreUrl, StoredSource, Writer, WriterSettings, self_test,
};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower::ServiceExt;

use crate::config::Config;
use crate::environment::{OsRandom, SystemClock};
use crate::exports;
use crate::metrics::{self, Metrics};
use crate::server::{ServerLimits, serve as serve_http};

/// Pause between two tries to open a store that does not answer.
const OPEN_RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// How long the query runtime may take to end its last tasks.
const QUERY_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves until a signal comes.
///
/// # Errors
/// If the address cannot be listened on, the store cannot be used, or the last samples could not be
/// written (nothing acknowledged is lost then either).
pub fn run(config: Config) -> anyhow::Result<()> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let io =
        Builder::new_multi_thread().worker_threads(threads.max(2)).thread_name("io").enable_all().build()?;
    let query = Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("query")
        .thread_stack_size(promontory_query::THREAD_STACK_BYTES)
        .enable_all()
        .build()?;
    let outcome = io.block_on(serve(config, query.handle().clone()));
    query.shutdown_timeout(QUERY_SHUTDOWN_TIMEOUT);
    outcome
}

async fn serve(config: Config, query_runtime: Handle) -> anyhow::Result<()> {
    let begun = Instant::now();
    let signal = signals()?;
    let listener = TcpListener::bind(&config.listen_addresses[..]).await.with_context(|| {
        let wanted: Vec<String> = config.listen_addresses.iter().map(ToString::to_string).collect();
        format!("cannot listen on {}; choose another with --web.listen-address", wanted.join(" or "))
    })?;
    let address = listener.local_addr()?;
    if let Some(file) = &config.address_file {
        std::fs::write(file, format!("{address}\n"))
            .with_context(|| format!("cannot write --web.address-file {}", file.display()))?;
    }
    tracing::info!(%address, store = %config.store, role = config.role.as_str(), "listening");

    let readiness = Readiness::default();
    let faces = Faces::new(&config, readiness.clone());
    let (router, current) = watch::channel(faces.router(None, None, Metrics::default()));
    let limits = ServerLimits { connections_max: config.connections_max, read_timeout: config.read_timeout };
    let http = tokio::spawn(serve_http(listener, swappable(current), limits, raised(signal.clone())));

    let opened = tokio::select! {
        opened = open(&config) => Some(opened?),
        () = raised(signal.clone()) => None,
    };
    let Some(opened) = opened else {
        http.await?;
        return Ok(());
    };
    let roles = Roles::start(&config, opened, query_runtime).await?;
    let _starting =
        router.send_replace(faces.router(roles.append.clone(), roles.engine.clone(), roles.metrics()));
    readiness.set(ReadyState::Ready);
    tracing::info!(milliseconds = begun.elapsed().as_millis() as u64, "ready to receive requests");
    greet(&config, address);

    raised(signal.clone()).await;
    tracing::info!("stopping");
    readiness.set(ReadyState::Stopping);
    http.await?;
    roles.stop().await?;
    tracing::info!("stopped; every acknowledged sample is in the store");
    Ok(())
}

// --- Store ---

/// An opened store.
pub struct Opened {
    /// What the protocol needs.
    pub context: Arc<Context>,
    /// The catalog.
    pub chain: Arc<Chain>,
    /// Requests to the store.
    pub requests: Arc<RequestCounters>,
}

/// Opens the store; tries again while it does not answer.
async fn open(config: &Config) -> anyhow::Result<Opened> {
    loop {
        match open_once(&config.store).await {
            Ok(opened) => return Ok(opened),
            Err(error @ (StoreError::Unavailable { .. } | StoreError::Busy(_))) => {
                tracing::warn!(%error, store = %config.store, "cannot open the object store yet; trying again");
                tokio::time::sleep(OPEN_RETRY_INTERVAL).await;
            }
            Err(error) => return Err(error).with_context(|| format!("cannot use store {}", config.store)),
        }
    }
}

async fn open_once(url: &StoreUrl) -> Result<Opened, StoreError> {
    let requests = Arc::new(RequestCounters::default());
    let bucket = Bucket::open(url, &requests)?;
    let tested = self_test(&bucket, &OsRandom, env!("CARGO_PKG_VERSION")).await?;
    tracing::debug!(?tested, "store self-test passed");
    let format = Format::load_or_create(&bucket, Format::default()).await?;
    open_catalog(bucket, format, requests).await
}

/// Opens the catalog of a bucket.
///
/// # Errors
/// By kind: `Unavailable` is worth another try.
pub async fn open_catalog(
    bucket: Bucket,
    format: Format,
    requests: Arc<RequestCounters>,
) -> Result<Opened, StoreError> {
    let context = Arc::new(Context {
        bucket,
        format,
        codec: Arc::new(ParquetCodec),
        clock: Arc::new(SystemClock),
        random: Arc::new(OsRandom),
        timing: promontory_store::Timing::default(),
        counters: Arc::default(),
        planted: Planted::NONE,
    });
    let chain = Chain::open(context.clone()).await?;
    Ok(Opened { context, chain, requests })
}

// --- Roles ---

/// The running roles of this process and their doors.
struct Roles {
    append: Option<Arc<dyn Append>>,
    engine: Option<QueryEngine>,
    exported: Exported,
    stop: watch::Sender<bool>,
    tasks: Vec<(&'static str, JoinHandle<Result<(), StoreError>>)>,
}

/// What the metrics of the running roles are read from.
#[derive(Clone)]
struct Exported {
    context: Arc<Context>,
    requests: Arc<RequestCounters>,
    ingester: Option<(Arc<Ingester>, Arc<Writer>)>,
    blocks: Option<Arc<BlockReader>>,
}

impl Roles {
    async fn start(config: &Config, opened: Opened, query_runtime: Handle) -> anyhow::Result<Self> {
        let Opened { context, chain, requests } = opened;
        let locals = Arc::new(LocalLives::default());
        let exported = Exported { context: context.clone(), requests, ingester: None, blocks: None };
        let (stop, _) = watch::channel(false);
        let mut roles = Self { append: None, engine: None, exported, stop, tasks: Vec::new() };
        if config.role.ingests() {
            // A cut that is given up on still lies in the writer, and the next one would join it: senders
            // give up after the ingester's append timeout, cuts only hold their places.
            let settings = WriterSettings { acknowledge_timeout: Duration::MAX, ..WriterSettings::default() };
            let writer = Writer::open(chain.clone(), locals.clone(), settings).await?;
            let clock: Arc<dyn Clock> = Arc::new(SystemClock);
            let ingester = Ingester::new(config.ingester.clone(), clock, &OsRandom, writer.clone());
            let run = ingester.clone().run(raised(roles.stop.subscribe()));
            roles.tasks.push(("ingester", tokio::spawn(run)));
            roles.append = Some(ingester.clone());
            roles.exported.ingester = Some((ingester, writer));
        }
        if config.role.queries() {
            let reader = Reader::new(chain.clone(), locals, ReaderSettings::default());
            let blocks = BlockReader::new(context.bucket.clone(), config.blocks);
            let stop = raised(roles.stop.subscribe());
            roles.tasks.push(("reader", tokio::spawn(follow(reader.clone(), stop))));
            let source = Arc::new(StoredSource::new(reader, blocks.clone()));
            let engine = QueryEngine::new(source, config.engine.clone(), query_runtime)?;
            roles.engine = Some(engine);
            roles.exported.blocks = Some(blocks);
        }
        if config.role.compacts() {
            let compactor = Compactor::new(chain.clone(), config.compactor);
            let run = compactor.run(raised(roles.stop.subscribe()));
            roles.tasks.push(("compactor", tokio::spawn(run)));
        }
        Ok(roles)
    }

    fn metrics(&self) -> Metrics {
        let Exported { context, requests, ingester, blocks } = self.exported.clone();
        let mut metrics = Metrics::default();
        metrics.add(move || exports::object_store(&requests));
        metrics.add(move || exports::protocol(&context.counters));
        if let Some((ingester, writer)) = ingester {
            metrics.add(move || exports::ingester(&ingester, &writer));
        }
        if let Some(blocks) = blocks {
            metrics.add(move || exports::blocks(&blocks));
        }
        metrics
    }

    /// Stops every role; answers the first error after all have ended.
    async fn stop(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        let mut first = Ok(());
        for (role, task) in self.tasks {
            let ended = task.await.with_context(|| format!("{role} panicked"));
            let ended = ended.and_then(|ended| ended.with_context(|| format!("{role} did not stop cleanly")));
            if let Err(error) = ended {
                tracing::error!(error = format!("{error:#}"), "a role did not stop cleanly");
                first = first.and(Err(error));
            }
        }
        first
    }
}

/// Keeps the reader's view fresh, so that a query seldom waits for a probe.
async fn follow(reader: Arc<Reader>, shutdown: impl Future<Output = ()>) -> Result<(), StoreError> {
    let look = async {
        loop {
            if let Err(error) = reader.refresh().await {
                tracing::warn!(%error, "cannot look for new samples; answers carry a warning if it lasts");
            }
            tokio::time::sleep(ReaderSettings::default().probe_interval).await;
        }
    };
    tokio::select! {
        biased;
        () = shutdown => Ok(()),
        () = look => Ok(()),
    }
}

// --- HTTP ---

/// What all routers of this process share.
struct Faces {
    config: ApiConfig,
    sql: SqlConfig,
    counters: Arc<promontory_api::Counters>,
    readiness: Readiness,
}

impl Faces {
    fn new(config: &Config, readiness: Readiness) -> Self {
        let working_directory = std::env::current_dir().map(|dir| dir.display().to_string());
        let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let api = ApiConfig {
            multitenancy: config.multitenancy,
            default_tenant: config.default_tenant.clone(),
            limits: config.ingester.limits.clone(),
            write_bytes_in_flight_max: config.write_in_flight_max,
            query_text_bytes_max: config.query_length_max,
            parser: config.engine.parser(),
            cors_origin: config.cors_origin.clone(),
            runtime_info: RuntimeInfo {
                start_ms: SystemClock.now_ms(),
                working_directory: working_directory.unwrap_or_default(),
                hostname: hostname.trim().to_owned(),
                storage_retention: String::new(),
            },
            flags: config.shown_flags.iter().cloned().collect(),
            ..ApiConfig::default()
        };
        Self { config: api, sql: config.sql, counters: Arc::default(), readiness }
    }

    fn router(
        &self,
        append: Option<Arc<dyn Append>>,
        engine: Option<QueryEngine>,
        mut metrics: Metrics,
    ) -> Router {
        let counters = self.counters.clone();
        metrics.add(exports::build_info);
        metrics.add(metrics::process);
        metrics.add(move || exports::http(&counters));
        let metrics = Arc::new(metrics);
        let door = engine.clone().map(|engine| Arc::new(engine) as Arc<dyn Engine>);
        let state = Arc::new(ApiState {
            append,
            engine: door,
            config: self.config.clone(),
            counters: self.counters.clone(),
            readiness: self.readiness.clone(),
            clock: Arc::new(SystemClock),
        });
        let sql = promontory_sql::routes(SqlState { api: state.clone(), engine, config: self.sql });
        let page = get(move |headers: HeaderMap| async move { metrics::respond(&metrics, &headers) });
        promontory_api::router(state, sql).route("/metrics", page)
    }
}

/// A router that asks for the current one at each request, so that kept connections see the roles
/// that started after them.
fn swappable(current: watch::Receiver<Router>) -> Router {
    Router::new().fallback(move |request: Request| {
        let router = current.borrow().clone();
        async move { router.oneshot(request).await }
    })
}

// --- Signals ---

/// Becomes true at the first SIGTERM or SIGINT; the second ends the process.
fn signals() -> anyhow::Result<watch::Receiver<bool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        for impatient in [false, true] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if impatient {
                tracing::warn!("second signal: ending at once; what was acknowledged is in the store");
                std::process::exit(1);
            }
            sender.send_replace(true);
        }
    });
    Ok(receiver)
}

/// Resolves once the flag is up or can never be.
async fn raised(mut flag: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a reason to stop as well.
    let _ = flag.wait_for(|up| *up).await;
}

#[expect(clippy::print_stdout, reason = "for the person who started the program by hand")]
fn greet(config: &Config, address: SocketAddr) {
    let url = format!("http://{address}");
    println!("Promontory is ready on {url}, over {}.", config.store);
    if config.role.ingests() {
        println!("  Send it metrics, in prometheus.yml:");
        println!("    remote_write:");
        println!("      - url: {url}/api/v1/write");
    }
    if config.role.queries() {
        println!("  Ask it:        curl '{url}/api/v1/query?query=up'");
        println!("  In Grafana:    add a Prometheus data source with the URL {url}");
    }
    if let StoreUrl::Local(path) = &config.store {
        println!("  Your samples:  Parquet below {}, listed by", path.display());
        println!("                 promontory blocks ls --files --store {}", path.display());
    }
    println!("  Its health:    {url}/-/ready and {url}/metrics");
    println!("  Stop it:       Ctrl-C; nothing that was acknowledged is lost, not even by kill -9.");
}
