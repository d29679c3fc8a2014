//! Which counter of which part appears under which name in `/metrics`.
//!
//! Names that Prometheus has for the same thing are Prometheus'; the rest begins with `promontory_`.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use promontory_ingester::{Ingester, IngesterCounters};
use promontory_model::DurationHistogram;
use promontory_model::append::RefusalReason;
use promontory_query::EngineCounters;
use promontory_store::{BlockReader, Component, Operation, RequestCounters, Writer, WriterStatus};

use super::Family;
use crate::server::Places;

/// Build and version, as every Prometheus program shows them.
#[must_use]
pub fn build_info() -> Vec<Family> {
    let version = env!("CARGO_PKG_VERSION");
    let help = "A metric with a constant '1' value labeled by version.";
    vec![Family::gauge("promontory_build_info", help).with(&[("version", version)], 1.0)]
}

/// Requests of the HTTP faces and what the write face refused.
#[must_use]
pub fn http(counters: &promontory_api::Counters) -> Vec<Family> {
    let mut requests = Family::counter("promontory_http_requests", "Counter of HTTP requests.");
    for (handler, code, count) in counters.requests() {
        requests = requests.with(&[("handler", handler), ("code", &code.to_string())], count as f64);
    }
    let help = "Histogram of latencies for HTTP requests, by handler.";
    let mut durations = Family::histogram("promontory_http_request_duration_seconds", help);
    for (handler, d) in counters.durations() {
        durations = durations.with_durations(&[("handler", handler)], &d);
    }
    let help = "Write requests refused as a whole, by reason.";
    let mut refused = Family::counter("promontory_write_requests_refused", help);
    for (reason, count) in counters.write_refusals() {
        refused = refused.with(&[("reason", reason.as_str())], count as f64);
    }
    let help = "Input of write requests that was not stored, by what it was.";
    let dropped = Family::counter("promontory_write_input_refused", help)
        .with(&[("kind", "sample")], counters.write_samples_refused.load(Relaxed) as f64)
        .with(&[("kind", "series")], counters.write_series_refused.load(Relaxed) as f64)
        .with(&[("kind", "series_empty")], counters.write_series_empty.load(Relaxed) as f64)
        .with(&[("kind", "histogram")], counters.write_histograms_refused.load(Relaxed) as f64)
        .with(&[("kind", "exemplar")], counters.write_exemplars_refused.load(Relaxed) as f64)
        .with(&[("kind", "metadata")], counters.write_metadata_refused.load(Relaxed) as f64);
    let help = "Requests refused at the gate: a foreign name in Host, a foreign web page that would change something.";
    let strangers = Family::counter("promontory_http_requests_refused", help)
        .with(&[("reason", "host")], counters.foreign_hosts_refused.load(Relaxed) as f64)
        .with(&[("reason", "origin")], counters.foreign_origins_refused.load(Relaxed) as f64);
    vec![
        requests,
        durations,
        strangers,
        refused,
        dropped,
        Family::count(
            "promontory_write_body_bytes",
            "Bytes of write requests as sent.",
            counters.write_body_bytes.load(Relaxed),
        ),
        Family::count(
            "promontory_write_decoded_bytes",
            "Bytes of write requests after decompression.",
            counters.write_decoded_bytes.load(Relaxed),
        ),
        Family::count(
            "promontory_write_series",
            "Series in write requests, repeated ones counted again.",
            counters.write_series.load(Relaxed),
        ),
        Family::count(
            "promontory_write_samples",
            "Samples acknowledged to writers.",
            counters.write_samples.load(Relaxed),
        ),
        Family::gauge(
            "promontory_write_bytes_in_flight",
            "Bytes of write requests that are being worked on.",
        )
        .with(&[], counters.write_bytes_in_flight.load(Relaxed) as f64),
    ]
}

#[must_use]
pub fn connections(places: &Places) -> Vec<Family> {
    let (connected, counters) = (places.connected(), places.counters());
    let help = "Connections now, by whether a request of theirs is in flight.";
    let open = Family::gauge("promontory_http_connections", help)
        .with(&[("state", "in_flight")], connected.in_flight as f64)
        .with(&[("state", "waiting")], connected.waiting as f64);
    let help = "Connections that the server closed or did not take, by reason.";
    let mut closed = Family::counter("promontory_http_connections_closed", help);
    for (closing, count) in counters.closed() {
        closed = closed.with(&[("reason", closing.as_str())], count as f64);
    }
    let accepted = counters.accepted.load(Relaxed);
    let stalled = counters.answers_stalled.load(Relaxed);
    vec![
        open,
        closed,
        Family::count("promontory_http_connections_accepted", "Connections that were taken.", accepted),
        Family::count("promontory_http_answers_stalled", "Answers that nobody read to their end.", stalled),
    ]
}

#[must_use]
pub fn object_store(counters: &RequestCounters) -> Vec<Family> {
    let mut requests =
        Family::counter("promontory_objstore_operations", "Requests to the object store, begun.");
    let mut errors = Family::counter("promontory_objstore_operation_failures", "Requests that failed.");
    let mut bytes =
        Family::counter("promontory_objstore_operation_bytes", "Bytes of bodies, sent or received.");
    let mut seconds =
        Family::counter("promontory_objstore_operation_seconds", "Time until the answers' heads, summed.");
    for component in Component::ALL {
        for operation in Operation::ALL {
            let counter = counters.of(component, operation);
            let labels = [("component", component.as_str()), ("operation", operation.as_str())];
            requests = requests.with(&labels, counter.requests.load(Relaxed) as f64);
            errors = errors.with(&labels, counter.errors.load(Relaxed) as f64);
            bytes = bytes.with(&labels, counter.bytes.load(Relaxed) as f64);
            seconds = seconds.with(&labels, counter.micros.load(Relaxed) as f64 / 1e6);
        }
    }
    vec![requests, errors, bytes, seconds]
}

/// The protocol's own counters, each as `promontory_store_<name>`.
#[must_use]
pub fn protocol(counters: &promontory_store::Counters) -> Vec<Family> {
    let values = counters.values().into_iter();
    values.map(|(name, value)| protocol_family(name, value)).collect()
}

fn protocol_family(name: &'static str, value: u64) -> Family {
    Family::count(format!("promontory_store_{name}"), "What the storage protocol did, by name.", value)
}

#[must_use]
pub fn ingester(ingester: &Arc<Ingester>, writer: &Writer) -> Vec<Family> {
    let counters: Arc<IngesterCounters> = ingester.counters();
    let intake = ingester.intake_size();
    let WriterStatus { life, waiting_bytes, .. } = writer.status();
    let (head_series, head_bytes) = {
        let head = life.head.read();
        (head.series(), head.bytes())
    };
    let gauge = |name: &str, help, value: f64| Family::gauge(name, help).with(&[], value);
    let durations = |name: &str, help, durations: &DurationHistogram| {
        Family::histogram(name, help).with_durations(&[], &durations.observed())
    };
    let help = "Input refused, by reason: samples, or the exemplars, metadata entries or start timestamps that the reason names.";
    let mut refused = Family::counter("promontory_ingester_samples_refused", help);
    for (reason, count) in RefusalReason::ALL.iter().zip(&counters.refused) {
        refused = refused.with(&[("reason", reason.as_str())], count.load(Relaxed) as f64);
    }
    vec![
        refused,
        Family::count("promontory_ingester_appends", "Batches.", counters.appends.load(Relaxed)),
        Family::count(
            "promontory_ingester_append_failures",
            "Batches answered with an error.",
            counters.append_errors.load(Relaxed),
        ),
        Family::count("promontory_ingester_samples", "Samples made durable.", counters.samples.load(Relaxed)),
        Family::count("promontory_ingester_segments", "Segments made durable.", counters.cuts.load(Relaxed)),
        Family::count(
            "promontory_ingester_segment_failures",
            "Segments that could not be made durable.",
            counters.cut_errors.load(Relaxed),
        ),
        Family::count(
            "promontory_ingester_block_failures",
            "L1 blocks that could not be written; each is tried again.",
            counters.block_errors.load(Relaxed),
        ),
        durations(
            "promontory_ingester_append_duration_seconds",
            "Time from a batch's arrival to its acknowledgement.",
            &counters.durations.append,
        ),
        durations(
            "promontory_ingester_flush_duration_seconds",
            "Time from a cut to its durability.",
            &counters.durations.flush,
        ),
        gauge("promontory_ingester_series", "Series in the index of the intake.", intake.series as f64),
        gauge(
            "promontory_ingester_index_bytes",
            "Bytes of the index of the intake, labels included.",
            intake.index_bytes as f64,
        ),
        gauge(
            "promontory_ingester_pending_bytes",
            "Bytes of samples that no segment holds yet.",
            intake.pending_bytes as f64,
        ),
        gauge(
            "promontory_ingester_waiting_bytes",
            "Bytes of samples and labels on their way into segments.",
            waiting_bytes as f64,
        ),
        gauge("promontory_ingester_head_series", "Series since the last L1 block.", head_series as f64),
        gauge(
            "promontory_ingester_head_bytes",
            "Bytes of samples and labels since the last L1 block.",
            head_bytes as f64,
        ),
        gauge(
            "promontory_ingester_unflushed_segments",
            "Segments that no L1 block contains.",
            life.segments as f64,
        ),
        gauge("promontory_ingester_unflushed_bytes", "Their encoded bytes.", life.bytes as f64),
    ]
}

/// The query engine: its queue, its refusals, its times. The slices are those of Prometheus'
/// `prometheus_engine_query_duration_seconds`.
#[must_use]
pub fn engine(counters: &EngineCounters, running_max: usize) -> Vec<Family> {
    let gauge = |name: &str, help, value: f64| Family::gauge(name, help).with(&[], value);
    let (waiting, running) = (counters.waiting.load(Relaxed) as f64, counters.running.load(Relaxed) as f64);
    let help = "Queries, statements and listings that were refused or ended at a limit, by reason.";
    let refused = Family::counter("promontory_engine_queries_refused", help)
        .with(&[("reason", "queue_full")], counters.refused_queue_full.load(Relaxed) as f64)
        .with(&[("reason", "queue_timeout")], counters.refused_queue_timeout.load(Relaxed) as f64)
        .with(&[("reason", "limit")], counters.refused_limit.load(Relaxed) as f64)
        .with(&[("reason", "memory_total")], counters.refused_memory_total.load(Relaxed) as f64);
    let help = "Query timings, by slice; all but queue_time of answered PromQL queries only.";
    let durations = Family::histogram("promontory_engine_query_duration_seconds", help)
        .with_durations(&[("slice", "queue_time")], &counters.durations.queue.observed())
        .with_durations(&[("slice", "prepare_time")], &counters.durations.prepare.observed())
        .with_durations(&[("slice", "inner_eval")], &counters.durations.eval.observed())
        .with_durations(&[("slice", "result_sort")], &counters.durations.sort.observed());
    let help = "The current number of queries being executed or waiting.";
    vec![
        gauge("promontory_engine_queries", help, waiting + running),
        gauge(
            "promontory_engine_memory_bytes",
            "Memory that queries, statements and listings hold, answers that are being read included.",
            counters.memory_bytes.load(Relaxed) as f64,
        ),
        gauge(
            "promontory_engine_memory_peak_bytes",
            "The most of it that was held at a time.",
            counters.memory_bytes_peak.load(Relaxed) as f64,
        ),
        gauge("promontory_engine_queries_waiting", "Queries that wait for a place.", waiting),
        gauge("promontory_engine_queries_running", "Queries that have a place.", running),
        gauge(
            "promontory_engine_queries_concurrent_max",
            "The max number of concurrent queries.",
            running_max as f64,
        ),
        refused,
        durations,
        Family::count(
            "promontory_engine_query_samples",
            "The total number of samples loaded by all queries.",
            counters.samples.load(Relaxed),
        ),
    ]
}

/// Selective reads of blocks and their caches.
#[must_use]
pub fn blocks(reader: &BlockReader) -> Vec<Family> {
    let mut hits = Family::counter("promontory_cache_hits", "Look-ups answered by a cache.");
    let mut misses = Family::counter("promontory_cache_misses", "Look-ups that had to read the store.");
    let mut ratio = Family::gauge("promontory_cache_hit_ratio", "Hits of all look-ups since the start.");
    let mut bytes = Family::gauge("promontory_cache_bytes", "Weight of what a cache holds.");
    for (cache, counters, weight) in reader.caches() {
        hits = hits.with(&[("cache", cache)], counters.hits.load(Relaxed) as f64);
        misses = misses.with(&[("cache", cache)], counters.misses.load(Relaxed) as f64);
        bytes = bytes.with(&[("cache", cache)], weight as f64);
        let (hit, missed) = (counters.hits.load(Relaxed) as f64, counters.misses.load(Relaxed) as f64);
        if hit + missed > 0.0 {
            ratio = ratio.with(&[("cache", cache)], hit / (hit + missed));
        }
    }
    let counters = reader.counters();
    vec![
        hits,
        misses,
        ratio,
        bytes,
        Family::count(
            "promontory_block_requests",
            "Range requests for blocks by queries.",
            counters.requests.load(Relaxed),
        ),
        Family::count(
            "promontory_block_request_bytes",
            "Bytes of their answers.",
            counters.request_bytes.load(Relaxed),
        ),
        Family::count(
            "promontory_block_damaged_reads",
            "Reads whose checksum differed.",
            counters.damaged_reads.load(Relaxed),
        ),
    ]
}
