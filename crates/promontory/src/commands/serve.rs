//! `promontory serve`, which is also what no command means: serves until a signal comes.
//!
//! 1. Listen, and answer "not ready" while the store is opened.
//! 2. Start the roles, hand their doors to the faces, be ready.
//! 3. On SIGTERM or SIGINT: take no new requests, let those in flight finish, write the last segment,
//!    block and closed mark, exit 0. A store that does not take them is waited for until the shutdown timeout,
//!    and the exit status then is an error. A second signal ends the process at once.
//! 4. If a role or the server ends by itself: be "not ready" at once, give the other roles a moment to
//!    stop, exit with an error within [`FAILED_STOP_TIMEOUT`], so that a supervisor starts the process
//!    again. What was acknowledged is in the store before it is acknowledged, so nothing needs more time.
//!
//! Two runtimes: IO (HTTP, store, ingester) and query (DataFusion, decoding), so that a heavy query
//! cannot delay an acknowledgement.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::anyhow;
use promontory_api::{Readiness, ReadyState};
use promontory_store::{OutageLog, StoreUrl};
use tokio::runtime::{Builder, Handle};
use tokio::time::{Instant, sleep, timeout};

use crate::config::{Config, Role};
use crate::environment::{REVISION, VERSION};
use crate::faces::{self, Faces};
use crate::signals::StopAsked;
use crate::tasks::Tasks;
use crate::{roles, store};

/// How long the runtimes may take to end their last tasks after a graceful stop.
const RUNTIME_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the other roles may take to stop after one has ended.
const FAILED_STOP_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a process with an ended role at least answers that it is not ready: a probe that comes now
/// and then should see it, and clients go elsewhere before their connections break.
const FAILED_NOT_READY_MIN: Duration = Duration::from_millis(250);

/// Serves until a signal comes.
///
/// # Errors
/// If the address cannot be listened on, the store cannot be used, a role has ended by itself, or the
/// last samples could not be written (nothing acknowledged is lost in any case).
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
    // After a failure there is nothing to wait for, and what failed may never end.
    let patience = if outcome.is_ok() { RUNTIME_SHUTDOWN_TIMEOUT } else { Duration::ZERO };
    query.shutdown_timeout(patience);
    io.shutdown_timeout(patience);
    outcome
}

async fn serve(config: Config, query_runtime: Handle) -> anyhow::Result<()> {
    let begun = Instant::now();
    tracing::info!(version = VERSION, revision = REVISION, "starting Promontory");
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let mut stop_asked = StopAsked::listen()?;
    let (listener, address) = faces::listen(&config).await?;
    tracing::info!(%address, store = %config.store, role = %config.roles, "listening");
    let readiness = Readiness::default();
    let faces = Faces::new(&config, address, readiness.clone());
    let mut server = Tasks::default();
    faces.serve(listener, &mut server);

    let started = async {
        let opened = store::open(&config.store).await?;
        let outages = opened.context.bucket.outages.clone();
        let (doors, roles) = roles::start(&config, opened, query_runtime).await?;
        anyhow::Ok((doors, roles, outages))
    };
    let (doors, mut roles, outages) = tokio::select! {
        started = started => started?,
        asked = stop_asked.wait() => return asked.and(stop_server(&config, &mut server).await),
        failure = server.failure() => return Err(failure),
    };
    faces.open(doors);
    readiness.set(ReadyState::Ready);
    tracing::info!(milliseconds = begun.elapsed().as_millis() as u64, "ready to receive requests");
    greet(&config, address);

    let asked = tokio::select! {
        asked = stop_asked.wait() => asked,
        failure = roles.failure() => Err(failure),
        failure = server.failure() => Err(failure),
    };
    readiness.set(ReadyState::Stopping);
    let begun = Instant::now();
    let drained = match asked {
        Ok(()) => drain(&config, &mut server, &mut roles).await,
        failed => failed,
    };
    if let Err(failure) = drained {
        return Err(give_up(failure, &mut roles).await);
    }
    let rest = config.shutdown_timeout.saturating_sub(begun.elapsed());
    let Ok(stopped) = timeout(rest, roles.stop()).await else {
        return Err(unfinished(&config, &roles, &outages));
    };
    stopped?;
    tracing::info!("stopped; every acknowledged sample is in the store");
    Ok(())
}

/// Lets requests in flight finish, which needs every role.
async fn drain(config: &Config, server: &mut Tasks, roles: &mut Tasks) -> anyhow::Result<()> {
    tracing::info!(timeout = ?config.shutdown_timeout, "stopping");
    tokio::select! {
        drained = stop_server(config, server) => drained,
        failure = roles.failure() => Err(failure),
    }
}

/// Requests have most of the time: writes among them wait for the same store as the last samples do.
async fn stop_server(config: &Config, server: &mut Tasks) -> anyhow::Result<()> {
    match timeout(config.shutdown_timeout * 4 / 5, server.stop()).await {
        Ok(stopped) => stopped,
        Err(_) => {
            tracing::warn!("requests still in flight are cut off");
            Ok(())
        }
    }
}

/// Why a graceful stop was given up, with what is wrong with the store.
fn unfinished(config: &Config, roles: &Tasks, outages: &OutageLog) -> anyhow::Error {
    let (limit, running) = (config.shutdown_timeout, roles.running());
    anyhow!(outages.explained(format!(
        "{running} did not stop within --shutdown-timeout ({limit:?}); what was acknowledged is in the store, and a \
         compactor will close this process's writer"
    )))
}

/// Gives the other roles a moment to stop while the process answers that it is not ready.
async fn give_up(failure: anyhow::Error, roles: &mut Tasks) -> anyhow::Error {
    let error = format!("{failure:#}");
    tracing::error!(error, "this process cannot do its duty any more and ends; start it again");
    // How the others stop changes nothing: this process ends with an error, and `stop` logs theirs.
    let _ = tokio::join!(timeout(FAILED_STOP_TIMEOUT, roles.stop()), sleep(FAILED_NOT_READY_MIN));
    failure
}

/// For the person who started the program by hand; nobody else need be there to read it.
fn greet(config: &Config, address: SocketAddr) {
    let url = format!("http://{address}");
    let mut lines = vec![format!("Promontory is ready on {url}, over {}.", config.store)];
    let tenancy = config.tenant.multitenancy;
    if config.roles.contains(Role::Ingester) {
        lines.push("  Send it metrics, in prometheus.yml:".to_owned());
        lines.push("    remote_write:".to_owned());
        lines.push(format!("      - url: {url}/api/v1/write"));
        if tenancy {
            lines.push("        headers: {X-Scope-OrgID: TENANT}".to_owned());
        }
    }
    if config.roles.contains(Role::Querier) {
        let header = if tenancy { "-H 'X-Scope-OrgID: TENANT' " } else { "" };
        lines.push(format!("  Ask it:        curl {header}'{url}/api/v1/query?query=up'"));
        lines.push(format!("  In Grafana:    add a Prometheus data source with the URL {url}"));
        if tenancy {
            lines.push(
                "                 and the custom header X-Scope-OrgID with the tenant's name".to_owned(),
            );
        }
    }
    if config.roles.iter().all(|role| role == Role::Compactor) {
        lines.push("  This role merges and sweeps; it takes no samples and answers no queries.".to_owned());
    }
    if let StoreUrl::Local(path) = &config.store {
        lines.push(format!("  Your samples:  Parquet below {}, listed by", path.display()));
        lines.push(format!("                 promontory blocks ls --files --store {}", path.display()));
    }
    lines.push(format!("  Its health:    {url}/-/ready and {url}/metrics"));
    lines.push(
        "  Stop it:       Ctrl-C; nothing that was acknowledged is lost, not even by kill -9.".to_owned(),
    );
    let _ = writeln!(std::io::stdout(), "{}", lines.join("\n"));
}
