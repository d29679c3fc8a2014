//! The program's own metrics: plain counters of every part, gathered at each scrape and written as
//! OpenMetrics or as Prometheus' text format.
//!
//! Parts keep plain atomics and know nothing of metrics; the binary hands this module closures that
//! read them.

pub mod exports;

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::on;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use promontory_api::{Face, HttpRoute, Methods};
use promontory_model::ObservedDurations;

/// All metrics of one name.
#[derive(Clone, Debug)]
pub struct Family {
    name: String,
    help: &'static str,
    kind: MetricType,
    samples: Vec<(Labels, Value)>,
}

type Labels = Vec<(&'static str, String)>;

#[derive(Clone, Debug)]
enum Value {
    Counter(f64),
    Gauge(f64),
    Histogram { sum: f64, buckets: Vec<(f64, u64)> },
}

impl Family {
    /// A counter; `_total` is added to its name when it is written.
    #[must_use]
    pub fn counter(name: impl Into<String>, help: &'static str) -> Self {
        Self { name: name.into(), help, kind: MetricType::Counter, samples: Vec::new() }
    }

    /// A counter with one value and no labels.
    #[must_use]
    pub fn count(name: impl Into<String>, help: &'static str, value: u64) -> Self {
        Self::counter(name, help).with(&[], value as f64)
    }

    #[must_use]
    pub fn gauge(name: impl Into<String>, help: &'static str) -> Self {
        Self { name: name.into(), help, kind: MetricType::Gauge, samples: Vec::new() }
    }

    #[must_use]
    pub fn histogram(name: impl Into<String>, help: &'static str) -> Self {
        Self { name: name.into(), help, kind: MetricType::Histogram, samples: Vec::new() }
    }

    /// Adds one value; the labels must differ from those of the values before.
    #[must_use]
    pub fn with(mut self, labels: &[(&'static str, &str)], value: f64) -> Self {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let value = match self.kind {
            MetricType::Counter => Value::Counter(value),
            _ => Value::Gauge(value),
        };
        self.samples.push((labels, value));
        self
    }

    /// As [`Self::with`], of a whole histogram of durations in seconds.
    #[must_use]
    pub fn with_durations(
        mut self,
        labels: &[(&'static str, &str)],
        ObservedDurations { bounds_seconds, buckets, sum_seconds }: &ObservedDurations,
    ) -> Self {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let bounds = bounds_seconds.iter().copied().chain([f64::INFINITY]);
        let buckets = bounds.zip(buckets.iter().copied()).collect();
        self.samples.push((labels, Value::Histogram { sum: *sum_seconds, buckets }));
        self
    }
}

/// Reads some counters.
pub type Source = Box<dyn Fn() -> Vec<Family> + Send + Sync>;

/// Everything that this process exports.
#[derive(Default)]
pub struct Metrics {
    sources: Vec<Source>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metrics({} sources)", self.sources.len())
    }
}

impl Metrics {
    pub fn add(&mut self, source: impl Fn() -> Vec<Family> + Send + Sync + 'static) {
        self.sources.push(Box::new(source));
    }

    fn gather(&self) -> Vec<Family> {
        self.sources.iter().flat_map(|source| source()).collect()
    }
}

const ROUTES: [HttpRoute<Arc<Metrics>>; 1] =
    [HttpRoute::new(Methods::Get, "/metrics", "metrics of this process", |methods| on(methods, page))
        .always()];

/// `/metrics` as a face, to be mounted.
#[must_use]
pub fn routes(metrics: &Arc<Metrics>) -> Face {
    Face::new(&ROUTES, metrics, &[])
}

async fn page(State(metrics): State<Arc<Metrics>>, headers: HeaderMap) -> Response {
    respond(&metrics, &headers)
}

/// Answers `GET /metrics`: OpenMetrics where `Accept` names it, the text format otherwise.
pub fn respond(metrics: &Arc<Metrics>, headers: &HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let open_metrics = accept.contains("application/openmetrics-text");
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Gathered(metrics.gather())));
    let mut text = String::new();
    if let Err(error) = encode(&mut text, &registry) {
        tracing::error!(%error, "cannot write metrics");
        return axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let content_type = if open_metrics {
        HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8")
    } else {
        text = as_text_format(&text);
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8")
    };
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

#[derive(Debug)]
struct Gathered(Vec<Family>);

impl Collector for Gathered {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in &self.0 {
            let help = family.help.trim_end_matches('.');
            let mut metric = encoder.encode_descriptor(&family.name, help, None, family.kind)?;
            if let [(labels, value)] = &family.samples[..]
                && labels.is_empty()
            {
                encode_value(value, metric)?;
                continue;
            }
            for (labels, value) in &family.samples {
                encode_value(value, metric.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}

fn encode_value(value: &Value, mut encoder: MetricEncoder<'_>) -> fmt::Result {
    match value {
        Value::Counter(value) => ConstCounter::new(*value).encode(encoder),
        Value::Gauge(value) => ConstGauge::new(*value).encode(encoder),
        Value::Histogram { sum, buckets } => {
            let count = buckets.iter().map(|(_, count)| count).sum();
            encoder.encode_histogram::<[(&str, String); 0]>(*sum, count, buckets, None)
        }
    }
}

/// The text format 0.0.4 differs in that a counter's HELP and TYPE carry its full name and nothing
/// marks the end.
fn as_text_format(open_metrics: &str) -> String {
    let mut counters: Vec<&str> = Vec::new();
    for line in open_metrics.lines() {
        if let Some(name) = line.strip_prefix("# TYPE ").and_then(|rest| rest.strip_suffix(" counter")) {
            counters.push(name);
        }
    }
    let mut text = String::with_capacity(open_metrics.len() + 64);
    for line in open_metrics.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what), Some(name), Some(rest)) if counters.contains(&name) => {
                text.push_str(&format!("# {what} {name}_total {rest}"));
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

/// Metrics of the process itself, under the names that every Prometheus client library gives them.
///
/// Read from `/proc/self`, so only on Linux; elsewhere the list is empty.
#[must_use]
pub fn process() -> Vec<Family> {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The command's name is in parentheses and may hold spaces; the third field follows it.
    let Some((_, rest)) = stat.rsplit_once(") ") else { return Vec::new() };
    let fields: Vec<f64> = rest.split(' ').map(|field| field.parse().unwrap_or(0.0)).collect();
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0.0);
    const TICKS_PER_SECOND: f64 = 100.0;
    const PAGE_BYTES: f64 = 4096.0;
    let open_fds = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    vec![
        Family::counter("process_cpu_seconds", "Total user and system CPU time spent in seconds.")
            .with(&[], (field(14) + field(15)) / TICKS_PER_SECOND),
        Family::gauge("process_resident_memory_bytes", "Resident memory size in bytes.")
            .with(&[], field(24) * PAGE_BYTES),
        Family::gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.").with(&[], field(23)),
        Family::gauge("process_threads", "Number of OS threads in the process.").with(&[], field(20)),
        Family::gauge("process_open_fds", "Number of open file descriptors.").with(&[], open_fds as f64),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(accept: &str) -> String {
        let mut metrics = Metrics::default();
        let (bounds_seconds, buckets, sum_seconds) = (&[0.1, 1.0][..], vec![1, 2, 3], 9.5);
        let times = ObservedDurations { bounds_seconds, buckets, sum_seconds };
        metrics.add(move || {
            vec![
                Family::counter("a_requests", "Requests.")
                    .with(&[("op", "put")], 3.0)
                    .with(&[("op", "get")], 4.0),
                Family::gauge("b", "A gauge.").with(&[], 1.5),
                Family::histogram("c_seconds", "Times.").with_durations(&[], &times),
            ]
        });
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(accept).unwrap())]);
        let response = respond(&Arc::new(metrics), &headers);
        let body = axum::body::to_bytes(response.into_body(), usize::MAX);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        String::from_utf8(runtime.block_on(body).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn open_metrics_and_text_differ_where_they_must() {
        let open = text("application/openmetrics-text; version=1.0.0");
        assert!(open.contains("# TYPE a_requests counter\n") && open.ends_with("# EOF\n"), "{open}");
        assert!(open.contains("a_requests_total{op=\"put\"} 3"), "{open}");
        let plain = text("*/*");
        assert!(plain.contains("# TYPE a_requests_total counter\n") && !plain.contains("EOF"), "{plain}");
        assert!(plain.contains("c_seconds_bucket{le=\"1.0\"} 3"), "{plain}");
        assert!(plain.contains("c_seconds_bucket{le=\"+Inf\"} 6"), "{plain}");
        assert!(plain.contains("\nb 1.5\n"), "{plain}");
    }
}
