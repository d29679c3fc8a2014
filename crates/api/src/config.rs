//! What the binary decides about the faces: limits, tenancy, and the texts of the status pages.

use std::collections::BTreeMap;
use std::time::Duration;

use promontory_model::{IngestLimits, TenantId};

use crate::callers::{AllowedHosts, CorsOrigin};

/// The flags that raise limits, by the names of the limits' fields here and in [`IngestLimits`];
/// refusals name them, so the binary must have each.
pub const LIMIT_FLAGS: [(&str, &str); 8] = [
    ("body_read_timeout", "--web.read-timeout"),
    ("body_bytes_max", "--limits.write-body"),
    ("decoded_bytes_max", "--limits.write-decoded"),
    ("series_per_request_max", "--limits.series-per-request"),
    ("samples_per_request_max", "--limits.samples-per-request"),
    ("series_max", "--limits.series-max"),
    ("write_bytes_in_flight_max", "--limits.write-in-flight"),
    ("query_text_bytes_max", "--query.max-length"),
];

/// The flag that raises a limit; the limit's own name if it has none.
pub(crate) fn flag_of(limit: &'static str) -> &'static str {
    LIMIT_FLAGS.iter().find(|(name, _)| *name == limit).map_or(limit, |(_, flag)| flag)
}

/// Settings of the faces. Each limit has a flag in the binary.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// True: every request must name its tenant in `X-Scope-OrgID`. False: the header is not looked at
    /// and everything belongs to `default_tenant`.
    pub multitenancy: bool,
    /// The tenant of every request while `multitenancy` is off.
    pub default_tenant: TenantId,
    /// True: a question may name several tenants in the header, with `|` between them.
    pub federation: bool,
    /// Most tenants of one question; 0: any number.
    pub federated_tenants_max: usize,
    /// Limits of write requests; those on label sets and samples are kept behind `Append`.
    pub limits: IngestLimits,
    /// Bytes of all write requests that are being read, decoded or made durable, as sent and
    /// decompressed together.
    pub write_bytes_in_flight_max: usize,
    /// From a request's head to the end of its body, however large; a body that trickles has less.
    pub body_read_timeout: Duration,
    /// Bytes of a form in the body of a POST.
    pub form_bytes_max: usize,
    /// Bytes of one query, and of all `match[]` of one request together.
    pub query_text_bytes_max: usize,
    /// Steps of a range query, counted as Prometheus does: `(end - start) / step`.
    pub points_per_series_max: u64,
    /// By which names requests may call this process.
    pub allowed_hosts: AllowedHosts,
    /// Web pages of which other origins may call the API.
    pub cors_origin: CorsOrigin,
    /// What `/api/v1/status/buildinfo` says.
    pub build_info: BuildInfo,
    /// What `/api/v1/status/runtimeinfo` says beside what is read from the running process.
    pub runtime_info: RuntimeInfo,
    /// What `/api/v1/status/flags` says: each flag with its value. Values that may hold secrets are
    /// hidden when they are shown.
    pub flags: BTreeMap<String, String>,
    /// What `/api/v1/status/config` says; must not hold secrets.
    pub config_yaml: String,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            multitenancy: false,
            default_tenant: TenantId::anonymous(),
            federation: false,
            federated_tenants_max: 0,
            limits: IngestLimits::default(),
            write_bytes_in_flight_max: 512 << 20,
            body_read_timeout: Duration::from_secs(300),
            // As Go's server.
            form_bytes_max: 10 << 20,
            query_text_bytes_max: 1 << 20,
            points_per_series_max: 11_000,
            allowed_hosts: AllowedHosts::Any,
            cors_origin: CorsOrigin::None,
            build_info: BuildInfo::default(),
            runtime_info: RuntimeInfo::default(),
            flags: BTreeMap::new(),
            config_yaml: String::new(),
        }
    }
}

/// Which program this is, in the fields that Prometheus has.
///
/// Clients switch features on by `version`, so that is the version of Prometheus whose API this is;
/// our own stands in `branch`. The schema of the endpoint admits no further field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildInfo {
    /// The version of Prometheus whose API this is.
    pub version: String,
    /// The commit of the source that was built; empty if it is not known.
    pub revision: String,
    /// Our own name and version, with a dash between them.
    pub branch: String,
    /// User and host that built it; empty if they are not known.
    pub build_user: String,
    /// When it was built; empty if it is not known.
    pub build_date: String,
    /// The compiler that built it, in the field where Prometheus has Go's version.
    pub go_version: String,
}

impl BuildInfo {
    /// The version of Prometheus whose API this is.
    pub const PROMETHEUS_VERSION: &'static str = "3.16.0";
}

impl Default for BuildInfo {
    fn default() -> Self {
        Self {
            version: Self::PROMETHEUS_VERSION.to_owned(),
            revision: String::new(),
            branch: concat!("promontory-", env!("CARGO_PKG_VERSION")).to_owned(),
            build_user: String::new(),
            build_date: String::new(),
            go_version: String::new(),
        }
    }
}

/// Facts about this process that do not change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// When the process started, in milliseconds since the Unix epoch.
    pub start_ms: i64,
    /// The working directory at the start, as an absolute path.
    pub working_directory: String,
    /// The host's name, as the system says it.
    pub hostname: String,
    /// How long samples are kept, for people; empty: for ever.
    pub storage_retention: String,
}
