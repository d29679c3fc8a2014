//! What this process is: health, readiness, build and flags.

use axum::extract::State;
use axum::response::Response;
use promontory_model::float::push_integer;
use promontory_promql::engine::Annotations;

use crate::config::BuildInfo;
use crate::face::{format_rfc3339, json, success};
use crate::state::ApiState;

/// What stands in the place of a secret.
const HIDDEN: &str = "<secret>";

/// Parts of flag names, and of names in a URL's query, whose values are hidden.
const SECRET_WORDS: [&str; 6] = ["secret", "password", "token", "credential", "access_key", "api_key"];

/// `GET /-/healthy`
pub(crate) async fn healthy() -> &'static str {
    "Promontory is Healthy.\n"
}

/// `GET /-/ready`
pub(crate) async fn ready() -> &'static str {
    "Promontory is Ready.\n"
}

/// `GET /api/v1/status/buildinfo`
pub(crate) async fn build_info(State(api): State<ApiState>) -> Response {
    success(&Annotations::default(), |out| write_build_info(out, &api.face.config.build_info))
}

/// `GET /version`
pub(crate) async fn version(
    State(api): State<ApiState>,
) -> ([(axum::http::HeaderName, &'static str); 1], Vec<u8>) {
    let mut out = Vec::new();
    write_build_info(&mut out, &api.face.config.build_info);
    ([(axum::http::header::CONTENT_TYPE, "application/json")], out)
}

/// `GET /api/v1/status/runtimeinfo`, as far as the fields have a meaning here: a task of the runtime is
/// what a goroutine is, and there is no garbage collector.
pub(crate) async fn runtime_info(State(api): State<ApiState>) -> Response {
    let info = &api.face.config.runtime_info;
    let start = format_rfc3339(info.start_ms);
    let now = format_rfc3339(api.clock.now_ms());
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64;
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    success(&Annotations::default(), |out| {
        let mut object = Object::new(out);
        object.string("startTime", &start);
        object.string("CWD", &info.working_directory);
        object.string("hostname", &info.hostname);
        object.string("serverTime", &now);
        object.raw("reloadConfigSuccess", b"true");
        object.string("lastConfigTime", &start);
        object.integer("corruptionCount", 0);
        object.integer("goroutineCount", tasks);
        object.integer("GOMAXPROCS", threads);
        object.integer("GOMEMLIMIT", i64::MAX as u64);
        object.string("GOGC", "");
        object.string("GODEBUG", "");
        object.string("storageRetention", &info.storage_retention);
        object.end();
    })
}

/// `GET /api/v1/status/flags`
pub(crate) async fn flags(State(api): State<ApiState>) -> Response {
    let flags = api.face.config.flags.iter().map(|(name, value)| (name, shown(name, value)));
    success(&Annotations::default(), |out| json::string_map(out, flags))
}

/// `GET /api/v1/status/config`
pub(crate) async fn config(State(api): State<ApiState>) -> Response {
    success(&Annotations::default(), |out| json::string_map(out, [("yaml", &api.face.config.config_yaml)]))
}

fn write_build_info(out: &mut Vec<u8>, info: &BuildInfo) {
    let pairs = [
        ("version", &info.version),
        ("revision", &info.revision),
        ("branch", &info.branch),
        ("buildUser", &info.build_user),
        ("buildDate", &info.build_date),
        ("goVersion", &info.go_version),
    ];
    json::string_map(out, pairs);
}

/// A flag's value without what should stay secret: all of it if the name says so, else the passwords
/// of URLs in it.
fn shown(name: &str, value: &str) -> String {
    if is_secret(name) && !value.is_empty() { HIDDEN.to_owned() } else { hide_in_url(value) }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace(['-', '.'], "_");
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// `scheme://user:pass@host/path?token=x` without `user:pass` and `x`.
fn hide_in_url(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let (address, query) =
        rest.split_once('?').map_or((rest, None), |(address, query)| (address, Some(query)));
    let (authority, path) =
        address.split_once('/').map_or((address, None), |(host, path)| (host, Some(path)));
    let mut shown = format!("{scheme}://");
    match authority.rsplit_once('@') {
        Some((_, host)) => shown.extend([HIDDEN, "@", host]),
        None => shown.push_str(authority),
    }
    if let Some(path) = path {
        shown.extend(["/", path]);
    }
    for (i, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if i == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) if is_secret(name) => shown.extend([name, "=", HIDDEN]),
            _ => shown.push_str(pair),
        }
    }
    shown
}

/// Writes one JSON object field by field.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    separator: u8,
}

impl<'a> Object<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, separator: b'{' }
    }

    fn raw(&mut self, name: &str, value: &[u8]) {
        self.out.push(self.separator);
        self.separator = b',';
        json::string(self.out, name);
        self.out.push(b':');
        self.out.extend_from_slice(value);
    }

    fn string(&mut self, name: &str, value: &str) {
        self.raw(name, b"");
        json::string(self.out, value);
    }

    fn integer(&mut self, name: &str, value: u64) {
        self.raw(name, b"");
        push_integer(self.out, value);
    }

    fn end(self) {
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_flags_are_not_shown() {
        for (name, value, expected) in [
            ("web.listen-address", "127.0.0.1:9090", "127.0.0.1:9090"),
            ("s3.secret-access-key", "abc", HIDDEN),
            ("auth.password", "abc", HIDDEN),
            ("auth.password", "", ""),
            ("store", "./data", "./data"),
            ("store", "s3://bucket/p?endpoint=http://h:9000", "s3://bucket/p?endpoint=http://h:9000"),
            (
                "store",
                "s3://k:s@b/p?region=x&secret_access_key=abc&a",
                "s3://<secret>@b/p?region=x&secret_access_key=<secret>&a",
            ),
            ("url", "https://u:p@ss@host", "https://<secret>@host"),
        ] {
            assert_eq!(shown(name, value), expected, "{name}={value}");
        }
    }
}
