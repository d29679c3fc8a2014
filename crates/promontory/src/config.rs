//! Configuration: what the user typed ([`Flags`], raw) becomes what the program runs on
//! ([`Config`], checked), by one function between them.
//!
//! Flags carry Prometheus' names where it has them. Every flag has an environment variable: the name
//! in capitals, `.` and `-` as `_`, after `PROMONTORY_`.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use promontory_api::CorsOrigin;
use promontory_compactor::CompactorConfig;
use promontory_ingester::IngesterConfig;
use promontory_model::{IngestLimits, TenantId};
use promontory_promql::duration::{format_duration, parse_duration};
use promontory_querier::QuerierConfig;
use promontory_query::EngineOptions;
use promontory_sql::SqlConfig;
use promontory_store::{BlockReaderConfig, StoreUrl};

use crate::environment::memory_bytes;

/// A Prometheus-compatible time-series database whose only stateful part is an object store.
///
/// Without arguments it runs all roles over the folder ./data and listens on 127.0.0.1:9090.
#[derive(Debug, Parser)]
#[command(name = "promontory", version, args_conflicts_with_subcommands = true, max_term_width = 100)]
pub struct CommandLine {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to serve.
    #[command(flatten)]
    pub flags: Flags,
}

/// What the program can do besides serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serves; the same as no command.
    Serve(Box<Flags>),
    /// Looks at the blocks of a store.
    Blocks {
        /// What to do with them.
        #[command(subcommand)]
        command: BlocksCommand,
    },
    /// Reads everything that counts and verifies that it is present and whole.
    Fsck {
        /// The store, as for serving.
        #[arg(long, env = "PROMONTORY_STORE", default_value = DEFAULT_STORE)]
        store: String,
    },
}

/// Commands on blocks.
#[derive(Debug, Subcommand)]
pub enum BlocksCommand {
    /// Lists the live blocks: what queries read, without what waits for deletion.
    Ls {
        /// The store, as for serving.
        #[arg(long, env = "PROMONTORY_STORE", default_value = DEFAULT_STORE)]
        store: String,
        /// Print the path of each object, one a line, for outside readers.
        #[arg(long)]
        files: bool,
        /// Only blocks that hold samples of this tenant.
        #[arg(long)]
        tenant: Option<String>,
    },
}

/// Every role in one process.
const ALL_ROLES: &str = "all";

const DEFAULT_STORE: &str = "./data";

/// The size of a cache that is a share of the memory.
const AUTO: &str = "auto";

/// A cache on a small machine.
const CACHE_BYTES_MIN: u64 = 16 << 20;

/// What the machine is taken to have where it does not say.
const MEMORY_BYTES_UNKNOWN: u64 = 4 << 30;

/// A duty of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// Takes samples.
    Ingester,
    /// Answers queries.
    Querier,
    /// Adopts dead writers, merges blocks and sweeps.
    Compactor,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// What the user typed.
#[derive(Clone, Debug, Args)]
pub struct Flags {
    /// Where the data lies: ./data, file:///path, s3://bucket/prefix?endpoint=..., gs://..., az://...,
    /// memory:///. Credentials come from the usual environment of each cloud.
    #[arg(long, env = "PROMONTORY_STORE", default_value = DEFAULT_STORE, value_name = "URL")]
    pub store: String,
    /// Which duties this process has; several are separated by commas.
    #[arg(
        long,
        env = "PROMONTORY_ROLE",
        default_value = ALL_ROLES,
        value_delimiter = ',',
        value_parser = PossibleValuesParser::new(role_names())
    )]
    pub role: Vec<String>,
    /// Address to listen on for the UI, API, and telemetry.
    #[arg(
        long = "web.listen-address",
        env = "PROMONTORY_WEB_LISTEN_ADDRESS",
        default_value = "127.0.0.1:9090",
        value_name = "ADDRESS"
    )]
    pub listen_address: String,
    /// Write the address that is listened on to this file once it is known, for port 0.
    #[arg(long = "web.address-file", env = "PROMONTORY_WEB_ADDRESS_FILE", value_name = "FILE")]
    pub address_file: Option<PathBuf>,
    /// Maximum number of simultaneous connections.
    #[arg(long = "web.max-connections", env = "PROMONTORY_WEB_MAX_CONNECTIONS", default_value_t = 512)]
    pub max_connections: usize,
    /// Maximum duration before timing out the reading of a request's head.
    #[arg(long = "web.read-timeout", env = "PROMONTORY_WEB_READ_TIMEOUT", default_value = "30s")]
    pub read_timeout: String,
    /// Regex for CORS origin; it is fully anchored.
    #[arg(long = "web.cors.origin", env = "PROMONTORY_WEB_CORS_ORIGIN", default_value = ".*")]
    pub cors_origin: String,
    /// Take the tenant of each request from the header X-Scope-OrgID, which is then required. Off: every
    /// request belongs to --tenant.default.
    #[arg(long = "auth.multitenancy-enabled", env = "PROMONTORY_AUTH_MULTITENANCY_ENABLED")]
    pub multitenancy: bool,
    /// The tenant of every request where multitenancy is off.
    #[arg(long = "tenant.default", env = "PROMONTORY_TENANT_DEFAULT", default_value = TenantId::ANONYMOUS)]
    pub default_tenant: String,

    /// The maximum lookback duration for retrieving metrics during expression evaluations.
    #[arg(long = "query.lookback-delta", env = "PROMONTORY_QUERY_LOOKBACK_DELTA", default_value = "5m")]
    pub lookback_delta: String,
    /// Maximum time a query may take before being aborted.
    #[arg(long = "query.timeout", env = "PROMONTORY_QUERY_TIMEOUT", default_value = "2m")]
    pub query_timeout: String,
    /// Maximum number of queries executed concurrently.
    #[arg(long = "query.max-concurrency", env = "PROMONTORY_QUERY_MAX_CONCURRENCY", default_value_t = 20)]
    pub query_concurrency: usize,
    /// Maximum number of queries that wait for their turn; one more is answered with 503.
    #[arg(long = "query.max-queue", env = "PROMONTORY_QUERY_MAX_QUEUE", default_value_t = 200)]
    pub query_queue: usize,
    /// Maximum number of samples a single query can load into memory.
    #[arg(long = "query.max-samples", env = "PROMONTORY_QUERY_MAX_SAMPLES", default_value_t = 50_000_000)]
    pub query_samples: u64,
    /// Maximum memory of a single query, in bytes.
    #[arg(long = "query.max-memory", env = "PROMONTORY_QUERY_MAX_MEMORY", default_value_t = 2 << 30)]
    pub query_memory: usize,
    /// Maximum length of a query text, in bytes.
    #[arg(long = "query.max-length", env = "PROMONTORY_QUERY_MAX_LENGTH", default_value_t = 64 << 10)]
    pub query_length: usize,
    /// Memory for footers of block files, such as 512MB; auto is 1/64 of the memory that this process may
    /// use.
    #[arg(long = "cache.footers", env = "PROMONTORY_CACHE_FOOTERS", default_value = AUTO, value_name = "SIZE")]
    pub cache_footers: String,
    /// Memory for decoded series tables; auto is 1/16.
    #[arg(long = "cache.series", env = "PROMONTORY_CACHE_SERIES", default_value = AUTO, value_name = "SIZE")]
    pub cache_series: String,
    /// Memory for ranges of block files as they are stored; auto is 1/16.
    #[arg(long = "cache.ranges", env = "PROMONTORY_CACHE_RANGES", default_value = AUTO, value_name = "SIZE")]
    pub cache_ranges: String,
    /// Memory for decoded samples; auto is 1/8.
    #[arg(long = "cache.samples", env = "PROMONTORY_CACHE_SAMPLES", default_value = AUTO, value_name = "SIZE")]
    pub cache_samples: String,
    /// Maximum number of rows of one answer in SQL; one more is an error.
    #[arg(long = "sql.max-rows", env = "PROMONTORY_SQL_MAX_ROWS", default_value_t = SqlConfig::default().rows_max)]
    pub sql_rows: usize,
    /// Features that are off by default, as in Prometheus: promql-experimental-functions,
    /// promql-binop-fill-modifiers, promql-delayed-name-removal.
    #[arg(long = "enable-feature", env = "PROMONTORY_ENABLE_FEATURE", value_delimiter = ',')]
    pub enable_feature: Vec<String>,

    /// Longest time that samples wait before they are written to the store; 200ms to 10s.
    #[arg(
        long = "ingester.flush-interval",
        env = "PROMONTORY_INGESTER_FLUSH_INTERVAL",
        default_value = "1s"
    )]
    pub flush_interval: String,
    /// Time between L1 blocks.
    #[arg(
        long = "ingester.block-interval",
        env = "PROMONTORY_INGESTER_BLOCK_INTERVAL",
        default_value = "2m"
    )]
    pub block_interval: String,
    /// How long a write waits for the store before its sender is asked to retry.
    #[arg(
        long = "ingester.append-timeout",
        env = "PROMONTORY_INGESTER_APPEND_TIMEOUT",
        default_value = "25s"
    )]
    pub append_timeout: String,
    /// A writer without a new segment for this long is taken over.
    #[arg(long = "compactor.adopt-after", env = "PROMONTORY_COMPACTOR_ADOPT_AFTER", default_value = "90s")]
    pub adopt_after: String,
    /// L1 blocks, which ingesters write, are merged into L2 blocks of one tenant and two hours each once
    /// they are this old.
    #[arg(long = "compactor.l2-after", env = "PROMONTORY_COMPACTOR_L2_AFTER", default_value = "10m")]
    pub l2_after: String,
    /// Time between sweeps of objects that nothing refers to any more.
    #[arg(
        long = "compactor.sweep-interval",
        env = "PROMONTORY_COMPACTOR_SWEEP_INTERVAL",
        default_value = "15m"
    )]
    pub sweep_interval: String,

    /// Labels per series, the metric name included.
    #[arg(
        long = "limits.labels-per-series",
        env = "PROMONTORY_LIMITS_LABELS_PER_SERIES",
        default_value_t = 60
    )]
    pub labels_per_series: usize,
    /// Bytes of a label name.
    #[arg(
        long = "limits.label-name-length",
        env = "PROMONTORY_LIMITS_LABEL_NAME_LENGTH",
        default_value_t = 1_024
    )]
    pub label_name_length: usize,
    /// Bytes of a label value.
    #[arg(
        long = "limits.label-value-length",
        env = "PROMONTORY_LIMITS_LABEL_VALUE_LENGTH",
        default_value_t = 4_096
    )]
    pub label_value_length: usize,
    /// Bytes of a write request as sent.
    #[arg(long = "limits.write-body", env = "PROMONTORY_LIMITS_WRITE_BODY", default_value_t = 16 << 20)]
    pub write_body: usize,
    /// Bytes of a write request after decompression.
    #[arg(long = "limits.write-decoded", env = "PROMONTORY_LIMITS_WRITE_DECODED", default_value_t = 32 << 20)]
    pub write_decoded: usize,
    /// Bytes of all write requests that are being worked on.
    #[arg(
        long = "limits.write-in-flight",
        env = "PROMONTORY_LIMITS_WRITE_IN_FLIGHT",
        default_value_t = 512 << 20
    )]
    pub write_in_flight: usize,
    /// Series per write request.
    #[arg(
        long = "limits.series-per-request",
        env = "PROMONTORY_LIMITS_SERIES_PER_REQUEST",
        default_value_t = 50_000
    )]
    pub series_per_request: usize,
    /// Samples per write request.
    #[arg(
        long = "limits.samples-per-request",
        env = "PROMONTORY_LIMITS_SAMPLES_PER_REQUEST",
        default_value_t = 500_000
    )]
    pub samples_per_request: usize,
    /// Series of one tenant that an ingester holds at a time; new ones above it are refused.
    #[arg(long = "limits.series-max", env = "PROMONTORY_LIMITS_SERIES_MAX", default_value_t = 2_000_000)]
    pub series_max: usize,
    /// How far in the future a sample may lie.
    #[arg(long = "limits.future-samples", env = "PROMONTORY_LIMITS_FUTURE_SAMPLES", default_value = "10m")]
    pub future_samples: String,

    /// Only log messages with the given severity or above: debug, info, warn, error; or a filter such as
    /// info,promontory_store=debug.
    #[arg(long = "log.level", env = "PROMONTORY_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// Output format of log messages.
    #[arg(long = "log.format", env = "PROMONTORY_LOG_FORMAT", value_enum, default_value = "logfmt")]
    pub log_format: LogFormat,
}

/// What the program runs on.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the data lies.
    pub store: StoreUrl,
    /// Which duties this process has.
    pub roles: Roles,
    /// Where to listen.
    pub listen_addresses: Vec<SocketAddr>,
    /// Where to write the address.
    pub address_file: Option<PathBuf>,
    /// Most connections.
    pub connections_max: usize,
    /// For a request's head.
    pub read_timeout: Duration,
    /// Which web pages may call the API.
    pub cors_origin: CorsOrigin,
    /// Is the tenant taken from the request?
    pub multitenancy: bool,
    /// The tenant where it is not.
    pub default_tenant: TenantId,
    /// For the query engine.
    pub engine: EngineOptions,
    /// For the querier.
    pub querier: QuerierConfig,
    /// For the SQL face.
    pub sql: SqlConfig,
    /// Most bytes of a query text.
    pub query_length_max: usize,
    /// For the ingester.
    pub ingester: IngesterConfig,
    /// Most bytes of write requests in flight.
    pub write_in_flight_max: usize,
    /// For the compactor.
    pub compactor: CompactorConfig,
    /// Each flag with its value, for `/api/v1/status/flags`; holds no secrets.
    pub shown_flags: Vec<(String, String)>,
}

/// The duties of one process; never none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles(BTreeSet<Role>);

impl Role {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

impl Roles {
    /// The roles in the order in which they start.
    pub fn iter(&self) -> impl Iterator<Item = Role> + '_ {
        self.0.iter().copied()
    }

    /// Is `role` among them?
    #[must_use]
    pub fn contains(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// From the values of `--role`.
    fn check(names: &[String]) -> anyhow::Result<Self> {
        let mut roles = BTreeSet::new();
        for name in names {
            match Role::from_str(name, false) {
                Ok(role) => drop(roles.insert(role)),
                Err(_) if name == ALL_ROLES => roles.extend(Role::value_variants()),
                Err(_) => bail!("--role: there is no role \"{name}\""),
            }
        }
        ensure!(!roles.is_empty(), "--role must name at least one role");
        Ok(Self(roles))
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() == Role::value_variants().len() {
            return f.write_str(ALL_ROLES);
        }
        let names: Vec<String> = self.iter().map(Role::name).collect();
        f.write_str(&names.join(","))
    }
}

impl Config {
    /// Checks what the user typed.
    ///
    /// # Errors
    /// Names the flag, the value and what would be right.
    pub fn check(flags: &Flags) -> anyhow::Result<Self> {
        let store: StoreUrl = flags.store.parse()?;
        let flush_interval = duration("ingester.flush-interval", &flags.flush_interval)?;
        ensure!(
            (Duration::from_millis(200)..=Duration::from_secs(10)).contains(&flush_interval),
            "--ingester.flush-interval must be between 200ms and 10s, not {}",
            flags.flush_interval
        );
        let limits = IngestLimits {
            labels_per_series_max: at_least_one("limits.labels-per-series", flags.labels_per_series)?,
            label_name_bytes_max: at_least_one("limits.label-name-length", flags.label_name_length)?,
            label_value_bytes_max: at_least_one("limits.label-value-length", flags.label_value_length)?,
            body_bytes_max: at_least_one("limits.write-body", flags.write_body)?,
            decoded_bytes_max: at_least_one("limits.write-decoded", flags.write_decoded)?,
            series_per_request_max: at_least_one("limits.series-per-request", flags.series_per_request)?,
            samples_per_request_max: at_least_one("limits.samples-per-request", flags.samples_per_request)?,
            series_max: at_least_one("limits.series-max", flags.series_max)?,
            future_ms_max: i64::try_from(
                duration("limits.future-samples", &flags.future_samples)?.as_millis(),
            )?,
        };
        let blocks = block_reader(flags, memory_bytes().unwrap_or(MEMORY_BYTES_UNKNOWN))?;
        let ingester = IngesterConfig {
            flush_interval,
            block_interval: duration("ingester.block-interval", &flags.block_interval)?,
            append_timeout: duration("ingester.append-timeout", &flags.append_timeout)?,
            limits,
        };
        ensure!(
            ingester.block_interval >= flush_interval,
            "--ingester.block-interval must not be below --ingester.flush-interval"
        );
        Ok(Self {
            roles: Roles::check(&flags.role)?,
            listen_addresses: resolve(&flags.listen_address)?,
            address_file: flags.address_file.clone(),
            connections_max: at_least_one("web.max-connections", flags.max_connections)?,
            read_timeout: duration("web.read-timeout", &flags.read_timeout)?,
            cors_origin: CorsOrigin::new(&flags.cors_origin)
                .map_err(|why| anyhow::anyhow!("--web.cors.origin: {why}"))?,
            multitenancy: flags.multitenancy,
            default_tenant: TenantId::new(&flags.default_tenant).context("--tenant.default")?,
            engine: engine_options(flags)?,
            sql: SqlConfig { rows_max: at_least_one("sql.max-rows", flags.sql_rows)? },
            query_length_max: at_least_one("query.max-length", flags.query_length)?,
            ingester,
            write_in_flight_max: write_in_flight(flags)?,
            compactor: CompactorConfig {
                adopt_after: duration("compactor.adopt-after", &flags.adopt_after)?,
                l2_after: duration("compactor.l2-after", &flags.l2_after)?,
                sweep_interval: duration("compactor.sweep-interval", &flags.sweep_interval)?,
            },
            shown_flags: shown_flags(flags, &store, &blocks),
            querier: QuerierConfig { blocks, ..QuerierConfig::default() },
            store,
        })
    }
}

fn engine_options(flags: &Flags) -> anyhow::Result<EngineOptions> {
    let mut options = EngineOptions {
        lookback_delta: duration("query.lookback-delta", &flags.lookback_delta)?,
        timeout: duration("query.timeout", &flags.query_timeout)?,
        samples_max: flags.query_samples,
        memory_bytes_max: at_least_one("query.max-memory", flags.query_memory)?,
        concurrency_max: at_least_one("query.max-concurrency", flags.query_concurrency)?,
        queue_max: flags.query_queue,
        ..EngineOptions::default()
    };
    for feature in flags.enable_feature.iter().filter(|feature| !feature.is_empty()) {
        match feature.as_str() {
            "promql-experimental-functions" => options.experimental_functions = true,
            "promql-binop-fill-modifiers" => options.fill_modifiers = true,
            "promql-delayed-name-removal" => options.delayed_name_removal = true,
            // What Prometheus has made permanent; the flag says nothing there either.
            "promql-extended-range-selectors" | "promql-duration-expr" => {}
            unknown => bail!("--enable-feature: unknown feature \"{unknown}\""),
        }
    }
    Ok(options)
}

/// The caches: as the flags say, or a share of the memory.
fn block_reader(flags: &Flags, memory: u64) -> anyhow::Result<BlockReaderConfig> {
    let cache = |flag: &str, text: &str, share: u64| {
        if text == AUTO { Ok((memory / share).max(CACHE_BYTES_MIN)) } else { bytes(flag, text) }
    };
    Ok(BlockReaderConfig {
        files_bytes_max: cache("cache.footers", &flags.cache_footers, 64)?,
        series_bytes_max: cache("cache.series", &flags.cache_series, 16)?,
        ranges_bytes_max: cache("cache.ranges", &flags.cache_ranges, 16)?,
        samples_bytes_max: cache("cache.samples", &flags.cache_samples, 8)?,
        ..BlockReaderConfig::default()
    })
}

/// A size as Prometheus writes it: a whole number, and a unit of powers of 1,024 or none for bytes.
fn bytes(flag: &str, text: &str) -> anyhow::Result<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => bail!("--{flag}: \"{text}\" is no size; an example is 512MB"),
    };
    let number: u64 =
        digits.parse().with_context(|| format!("--{flag}: \"{text}\" is no size; an example is 512MB"))?;
    number.checked_mul(1 << shift).with_context(|| format!("--{flag}: {text} is too large"))
}

fn duration(flag: &str, text: &str) -> anyhow::Result<Duration> {
    let ms = parse_duration(text).with_context(|| format!("--{flag}"))?;
    ensure!(ms > 0, "--{flag} must be positive, not {text}");
    Ok(Duration::from_millis(ms.unsigned_abs()))
}

fn at_least_one(flag: &str, value: usize) -> anyhow::Result<usize> {
    ensure!(value > 0, "--{flag} must be at least 1");
    Ok(value)
}

/// One request of the largest size must fit, or it would be asked to retry for ever.
fn write_in_flight(flags: &Flags) -> anyhow::Result<usize> {
    let largest = flags.write_body.saturating_add(flags.write_decoded);
    ensure!(
        flags.write_in_flight >= largest,
        "--limits.write-in-flight must hold one largest request, body and decoded: at least {largest} bytes"
    );
    Ok(flags.write_in_flight)
}

/// `:9090` means every interface, as in Prometheus.
fn resolve(address: &str) -> anyhow::Result<Vec<SocketAddr>> {
    use std::net::ToSocketAddrs;
    let full = if address.starts_with(':') { format!("0.0.0.0{address}") } else { address.to_owned() };
    let resolved = full.to_socket_addrs().with_context(|| {
        format!("--web.listen-address: cannot understand \"{address}\"; an example is 127.0.0.1:9090")
    })?;
    Ok(resolved.collect())
}

fn role_names() -> Vec<PossibleValue> {
    let all = PossibleValue::new(ALL_ROLES).help("Every role in one process");
    let each = Role::value_variants().iter().filter_map(Role::to_possible_value);
    std::iter::once(all).chain(each).collect()
}

fn shown_flags(flags: &Flags, store: &StoreUrl, blocks: &BlockReaderConfig) -> Vec<(String, String)> {
    let ms = |text: &str| parse_duration(text).map_or_else(|_| text.to_owned(), format_duration);
    let mut shown = vec![
        ("store", store.to_string()),
        ("role", flags.role.join(",")),
        ("web.listen-address", flags.listen_address.clone()),
        ("web.max-connections", flags.max_connections.to_string()),
        ("web.read-timeout", ms(&flags.read_timeout)),
        ("web.cors.origin", flags.cors_origin.clone()),
        ("auth.multitenancy-enabled", flags.multitenancy.to_string()),
        ("tenant.default", flags.default_tenant.clone()),
        ("query.lookback-delta", ms(&flags.lookback_delta)),
        ("query.timeout", ms(&flags.query_timeout)),
        ("query.max-concurrency", flags.query_concurrency.to_string()),
        ("query.max-queue", flags.query_queue.to_string()),
        ("query.max-samples", flags.query_samples.to_string()),
        ("query.max-memory", flags.query_memory.to_string()),
        ("query.max-length", flags.query_length.to_string()),
        ("cache.footers", blocks.files_bytes_max.to_string()),
        ("cache.series", blocks.series_bytes_max.to_string()),
        ("cache.ranges", blocks.ranges_bytes_max.to_string()),
        ("cache.samples", blocks.samples_bytes_max.to_string()),
        ("sql.max-rows", flags.sql_rows.to_string()),
        ("enable-feature", flags.enable_feature.join(",")),
        ("ingester.flush-interval", ms(&flags.flush_interval)),
        ("ingester.block-interval", ms(&flags.block_interval)),
        ("ingester.append-timeout", ms(&flags.append_timeout)),
        ("compactor.adopt-after", ms(&flags.adopt_after)),
        ("compactor.l2-after", ms(&flags.l2_after)),
        ("compactor.sweep-interval", ms(&flags.sweep_interval)),
        ("limits.labels-per-series", flags.labels_per_series.to_string()),
        ("limits.label-name-length", flags.label_name_length.to_string()),
        ("limits.label-value-length", flags.label_value_length.to_string()),
        ("limits.write-body", flags.write_body.to_string()),
        ("limits.write-decoded", flags.write_decoded.to_string()),
        ("limits.write-in-flight", flags.write_in_flight.to_string()),
        ("limits.series-per-request", flags.series_per_request.to_string()),
        ("limits.samples-per-request", flags.samples_per_request.to_string()),
        ("limits.series-max", flags.series_max.to_string()),
        ("limits.future-samples", ms(&flags.future_samples)),
        ("log.level", flags.log_level.clone()),
        ("log.format", format!("{:?}", flags.log_format).to_lowercase()),
    ];
    shown.sort_unstable();
    shown.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(args: &[&str]) -> anyhow::Result<Config> {
        let line = CommandLine::try_parse_from(["promontory"].iter().chain(args))?;
        Config::check(&line.flags)
    }

    #[test]
    fn no_argument_at_all_is_the_embedded_default() {
        let config = check(&[]).unwrap();
        assert_eq!(config.store, StoreUrl::Local("./data".into()));
        assert_eq!(config.listen_addresses, ["127.0.0.1:9090".parse().unwrap()]);
        assert_eq!(config.roles.to_string(), "all");
        assert_eq!(config.default_tenant.as_str(), "anonymous");
        assert_eq!(config.ingester, IngesterConfig::default());
        assert_eq!(config.compactor, CompactorConfig::default());
        assert_eq!(config.engine.lookback_delta, Duration::from_secs(300));
    }

    #[test]
    fn roles_are_a_set() {
        let roles = |text: &str| check(&[&format!("--role={text}")]).map(|config| config.roles);
        let some = roles("querier,ingester,querier").unwrap();
        assert_eq!(some.iter().collect::<Vec<_>>(), [Role::Ingester, Role::Querier]);
        assert!(some.contains(Role::Querier) && !some.contains(Role::Compactor));
        for (text, shown) in [
            ("all", "all"),
            ("compactor,all", "all"),
            ("compactor", "compactor"),
            ("querier,ingester", "ingester,querier"),
            ("ingester,querier,compactor", "all"),
        ] {
            assert_eq!(roles(text).unwrap().to_string(), shown);
        }
        for wrong in ["", "ingester,", "scraper", "Ingester"] {
            assert!(roles(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn caches_are_shares_of_the_memory_unless_a_flag_says_otherwise() {
        let line = ["promontory", "--cache.series=2MB", "--cache.ranges=7"];
        let flags = CommandLine::try_parse_from(line).unwrap().flags;
        let config = block_reader(&flags, 16 << 30).unwrap();
        let sizes = (
            config.files_bytes_max,
            config.series_bytes_max,
            config.ranges_bytes_max,
            config.samples_bytes_max,
        );
        assert_eq!(sizes, (256 << 20, 2 << 20, 7, 2 << 30));
        assert_eq!(block_reader(&flags, 1).unwrap().samples_bytes_max, CACHE_BYTES_MIN);
        for (text, expected) in [("3", 3), ("3B", 3), ("3KB", 3 << 10), ("3MiB", 3 << 20), ("1TB", 1 << 40)] {
            assert_eq!(bytes("x", text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn every_flag_is_shown() {
        use clap::CommandFactory;
        let config = check(&[]).unwrap();
        let command = CommandLine::command();
        for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
            let hidden = ["web.address-file", "help", "version"].contains(&flag);
            assert!(hidden || config.shown_flags.iter().any(|(name, _)| name == flag), "{flag}");
        }
    }

    #[test]
    fn limits_that_refusals_name_are_flags() {
        use clap::CommandFactory;
        let command = CommandLine::command();
        for (_, flag) in promontory_api::LIMIT_FLAGS {
            let known =
                command.get_arguments().any(|arg| arg.get_long() == Some(flag.trim_start_matches("--")));
            assert!(known, "{flag}");
        }
    }

    #[test]
    fn every_flag_has_its_environment_variable() {
        use clap::CommandFactory;
        for flag in CommandLine::command().get_arguments() {
            let Some(long) = flag.get_long().filter(|long| *long != "help" && *long != "version") else {
                continue;
            };
            let expected = format!("PROMONTORY_{}", long.to_uppercase().replace(['.', '-'], "_"));
            assert_eq!(flag.get_env().and_then(|env| env.to_str()), Some(expected.as_str()));
        }
    }

    #[test]
    fn wrong_values_name_their_flag() {
        for (args, expected) in [
            (&["--query.timeout=soon"][..], "query.timeout"),
            (&["--ingester.flush-interval=1ms"], "flush-interval"),
            (&["--store=ftp://x"], "scheme"),
            (&["--tenant.default=a/b"], "tenant.default"),
            (&["--enable-feature=warp"], "warp"),
            (&["--web.listen-address=nowhere"], "listen-address"),
            (&["--limits.write-body=0"], "limits.write-body"),
            (&["--limits.write-in-flight=1000"], "limits.write-in-flight"),
            (&["--web.cors.origin=("], "web.cors.origin"),
            (&["--cache.samples=lots"], "cache.samples"),
            (&["--cache.samples=5XB"], "cache.samples"),
            (&["--cache.samples=99999999999TB"], "cache.samples"),
            (&["--no-such-flag"], "no-such-flag"),
        ] {
            let error = format!("{:#}", check(args).unwrap_err());
            assert!(error.contains(expected), "{args:?}: {error}");
        }
    }
}
