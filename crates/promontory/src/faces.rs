//! The HTTP faces of a process: one router over the doors of its roles, its own metrics, and the server
//! that carries them.
//!
//! The router is exchanged as roles start, while connections stay: before the roles have started it has
//! no doors and everything but `/-/healthy` is "not ready".

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::Request;
use promontory_api::{AllowedHosts, ApiSettings, ApiState, BuildInfo, FaceState, Readiness, RuntimeInfo};
use promontory_model::Clock;
use promontory_promql::Engine;
use promontory_sql::{SqlSettings, SqlState};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::config::Config;
use crate::environment::{REVISION, SystemClock};
use crate::metrics::{self, exports};
use crate::roles::Doors;
use crate::server::{self, Places};
use crate::tasks::Tasks;

/// What all routers of this process share.
pub struct Faces {
    config: ApiSettings,
    sql: SqlSettings,
    counters: Arc<promontory_api::Counters>,
    readiness: Readiness,
    places: Arc<Places>,
    current: watch::Sender<Router>,
}

impl Faces {
    /// Faces without doors, for a process that listens on `address`.
    #[must_use]
    pub fn new(config: &Config, address: SocketAddr, readiness: Readiness) -> Self {
        let (current, _) = watch::channel(Router::new());
        let (api, sql) = (api_config(config, address), config.sql);
        let places = Places::new(config.web.limits);
        let faces = Self { config: api, sql, counters: Arc::default(), readiness, places, current };
        faces.open(Doors::default());
        faces
    }

    /// Serves on `listener` until the tasks are told to stop, then lets requests in flight finish.
    pub fn serve(&self, listener: TcpListener, tasks: &mut Tasks) {
        let (router, places) = (swappable(self.current.subscribe()), Arc::clone(&self.places));
        let stopping = tasks.stopping();
        tasks.spawn("http server", async move {
            server::serve(listener, router, places, stopping).await;
            Ok::<(), anyhow::Error>(())
        });
    }

    /// From the next request on everything leads to these doors.
    pub fn open(&self, doors: Doors) {
        let _before = self.current.send_replace(self.router(doors));
    }

    fn router(&self, doors: Doors) -> Router {
        let Doors { append, engine, mut metrics } = doors;
        let (counters, places) = (self.counters.clone(), self.places.clone());
        metrics.add(exports::build_info);
        metrics.add(metrics::process);
        metrics.add(move || exports::http(&counters));
        metrics.add(move || exports::connections(&places));
        let face = Arc::new(FaceState {
            config: self.config.clone(),
            counters: self.counters.clone(),
            readiness: self.readiness.clone(),
        });
        let door = engine.clone().map(|engine| Arc::new(engine) as Arc<dyn Engine>);
        let api = ApiState {
            append,
            engine: door,
            clock: Arc::new(SystemClock),
            face: face.clone(),
            decoding: ApiState::decoding_places(),
        };
        let sql = SqlState { face: face.clone(), engine, config: self.sql };
        let faces = vec![
            promontory_api::routes(&api),
            promontory_sql::routes(&sql),
            metrics::routes(&Arc::new(metrics)),
        ];
        promontory_api::mount(&face, faces)
    }
}

/// Listens where the configuration says and writes the address to its file.
///
/// # Errors
/// If the address cannot be listened on or the file cannot be written.
pub async fn listen(config: &Config) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(&config.web.listen_addresses[..]).await.with_context(|| {
        let wanted: Vec<String> = config.web.listen_addresses.iter().map(ToString::to_string).collect();
        format!("cannot listen on {}; choose another with --web.listen-address", wanted.join(" or "))
    })?;
    let address = listener.local_addr()?;
    if let Some(file) = &config.web.address_file {
        std::fs::write(file, format!("{address}\n"))
            .with_context(|| format!("cannot write --web.address-file {}", file.display()))?;
    }
    Ok((listener, address))
}

fn api_config(config: &Config, address: SocketAddr) -> ApiSettings {
    let is_loopback = address.ip().to_canonical().is_loopback();
    let working_directory = std::env::current_dir().map(|dir| dir.display().to_string());
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    ApiSettings {
        multitenancy: config.tenant.multitenancy,
        default_tenant: config.tenant.default.clone(),
        federation: config.tenant.federation,
        federated_tenants_max: config.tenant.federated_max,
        limits: config.ingester.limits.clone(),
        write_bytes_in_flight_max: config.write_in_flight_max,
        body_read_timeout: config.web.limits.read_timeout,
        query_text_bytes_max: config.query.text_bytes_max,
        allowed_hosts: if is_loopback { config.web.loopback_hosts.clone() } else { AllowedHosts::Any },
        cors_origin: config.web.cors_origin.clone(),
        runtime_info: RuntimeInfo {
            start_ms: SystemClock.now_ms(),
            working_directory: working_directory.unwrap_or_default(),
            hostname: hostname.trim().to_owned(),
            storage_retention: String::new(),
        },
        flags: config.shown_flags.clone(),
        build_info: BuildInfo { revision: REVISION.to_owned(), ..BuildInfo::default() },
        ..ApiSettings::default()
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
