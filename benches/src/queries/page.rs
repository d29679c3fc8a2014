//! What is said about the thirteen queries: tables, floors and goals, comparisons, raw numbers.

use serde_json::{Value, json};

use super::{Floor, Kind, N_SAMPLES, N_STEPS, Row, Timing};
use crate::options::Scale;
use crate::peers::Peer;
use crate::shapes::JOBS;
use crate::verdicts::{Bound, Criterion, PeerComparison, number, table};

/// Longest time that planning may take.
const PLANNING_MS: f64 = 1.0;

pub fn page(rows: &[Row], scale: &Scale, store_blocks: usize, head_files: usize) -> String {
    let n_series = number(scale.query_series as f64);
    let fresh = match head_files {
        0 => "in its head alone".to_owned(),
        n => format!("in its head and, because it grew large, in {n} files"),
    };
    format!(
        "## Thirteen queries, {n_series} series x {N_SAMPLES} samples\n\n\
         Two counters `a` and `b` (the `x` of the design's table is `a`), {n_series} series each in {JOBS} jobs \
         and 5 clusters, {N_SAMPLES} samples at 15 s, about two resets per series; range queries have \
         {N_STEPS} steps of 15 s.\n\
         All over HTTP on loopback, from the request to the last byte of the answer.\n\
         All programs ran at the same time and were asked one after another; before the first timing every \
         answer of Promontory was the same as Prometheus' (relative 1e-9), and VictoriaMetrics answered with \
         as many series (with `topk` it chooses others, since its `rate` does not extrapolate).\n\
         VictoriaMetrics runs with `-search.disableCache` and `nocache=1`; Promontory has no result cache.\n\n\
         ### Warm, best of {runs} (median), milliseconds\n\n{warm}\n\
         *Store*: a Promontory over MinIO with all samples in L2 blocks ({store_blocks} of them, from `{flags}`), asked once before. *Head*: one \
         over a folder with all samples {fresh}. The peers keep what they keep: Prometheus its head, \
         VictoriaMetrics its parts.\n\n\
         ### How many times faster than the peers, by best\n\n{ratios}\n\
         Above 1 Promontory is faster.\n\n\
         ### Cold from MinIO\n\n{cold}\n\
         The first query of a fresh process over MinIO on the same machine, whose files the kernel may still \
         hold in memory; compared with Prometheus' answer too.\n\
         Block GETs and bytes are `promontory_block_requests_total` and `promontory_block_request_bytes_total`, \
         all GETs those of `promontory_objstore_operations_total`, catalog and tail included; the starting \
         process's own before the query are not in.\n\n\
         ### Planning, best of {runs} (median), milliseconds\n\n{planning}\n\
         `queryPreparationTime` of `stats=all`, of warm queries.\n\n",
        runs = scale.query_runs,
        flags = scale.store_flags.join(" "),
        warm = warm_table(rows),
        ratios = ratio_table(rows),
        cold = cold_table(rows),
        planning = planning_table(rows),
    )
}

fn timing(timing: &Timing) -> String {
    format!("{} ({})", number(timing.best()), number(timing.median()))
}

fn warm_table(rows: &[Row]) -> String {
    let rows = rows.iter().map(|row| {
        let timings = [&row.store, &row.head, &row.victoria_metrics, &row.prometheus].map(timing);
        [vec![row.question.title(), row.n_series.to_string()], timings.to_vec()].concat()
    });
    let header = [
        "query",
        "series out",
        "Promontory, store",
        "Promontory, head",
        Peer::VictoriaMetrics.name(),
        Peer::Prometheus.name(),
    ];
    table(&header, &rows.collect::<Vec<_>>())
}

fn ratio_table(rows: &[Row]) -> String {
    let rows = rows.iter().map(|row| {
        let (vm, prometheus) = (row.victoria_metrics.best(), row.prometheus.best());
        let ours = [&row.store, &row.head].map(Timing::best);
        let ratios = [vm / ours[0], prometheus / ours[0], vm / ours[1], prometheus / ours[1]];
        [vec![row.question.title()], ratios.map(number).to_vec()].concat()
    });
    let header = [
        "query",
        "store, than VictoriaMetrics",
        "store, than Prometheus",
        "head, than VictoriaMetrics",
        "head, than Prometheus",
    ];
    table(&header, &rows.collect::<Vec<_>>())
}

fn cold_table(rows: &[Row]) -> String {
    let kib = |bytes: f64| number(bytes / 1024.0);
    let rows = rows.iter().map(|Row { question, cold, .. }| {
        vec![
            question.title(),
            number(cold.ms),
            format!("{:.0}", cold.block_gets),
            kib(cold.block_bytes),
            format!("{:.0}", cold.all_gets),
            kib(cold.all_bytes),
        ]
    });
    let header = ["query", "ms", "block GETs", "block KiB", "all GETs", "all KiB"];
    table(&header, &rows.collect::<Vec<_>>())
}

fn planning_table(rows: &[Row]) -> String {
    let rows = rows
        .iter()
        .map(|row| vec![row.question.title(), timing(&row.planning_store), timing(&row.planning_head)]);
    table(&["query", "store", "head"], &rows.collect::<Vec<_>>())
}

/// Floors and goals, decided by the store's best and by the slowest planning.
pub fn criteria(rows: &[Row]) -> Vec<Criterion> {
    let mut criteria = Vec::new();
    for row in rows {
        let (title, ours) = (row.question.title(), row.store.best());
        let over_victoria_metrics = Some(row.victoria_metrics.best() / ours);
        let faster = |peer: &str| format!("{title}: faster than {peer}");
        if matches!(row.question.floor, Floor::VictoriaMetrics | Floor::Both) {
            let what = faster("VictoriaMetrics");
            criteria.push(Criterion::at_least(Bound::Floor, &what, over_victoria_metrics, 1.0, "times"));
        }
        if row.question.floor == Floor::Both {
            let over = Some(row.prometheus.best() / ours);
            criteria.push(Criterion::at_least(Bound::Floor, &faster("Prometheus"), over, 10.0, "times"));
        }
        if row.question.floor == Floor::Millisecond {
            let what = format!("{title}: one series");
            criteria.push(Criterion::at_most(Bound::Floor, &what, Some(ours), 1.0, "ms"));
        }
        let what = faster("VictoriaMetrics");
        criteria.push(Criterion::at_least(Bound::Goal, &what, over_victoria_metrics, 2.0, "times"));
    }
    let slowest = rows.iter().map(|row| row.planning_store.median().max(row.planning_head.median()));
    let slowest = slowest.fold(0.0, f64::max);
    let what = "planning, the slowest median of all queries";
    criteria.push(Criterion::at_most(Bound::Floor, what, Some(slowest), PLANNING_MS, "ms"));
    criteria
}

/// The row beside both peers, from the store and from the head.
pub fn comparisons(row: &Row) -> Vec<PeerComparison> {
    let mut comparisons = Vec::new();
    for (from, ours) in [("store", &row.store), ("head", &row.head)] {
        let peers = [(Peer::VictoriaMetrics, &row.victoria_metrics), (Peer::Prometheus, &row.prometheus)];
        comparisons.extend(peers.map(|(peer, theirs)| PeerComparison {
            what: format!("time of {}, {from}", row.question.title()),
            peer: peer.name(),
            ours: ours.best(),
            theirs: theirs.best(),
        }));
    }
    comparisons
}

/// Every timing of a row.
pub fn raw(row: &Row) -> Value {
    json!({
        "query": row.question.query,
        "instant": row.question.kind == Kind::Instant,
        "series": row.n_series,
        "cold": {
            "ms": row.cold.ms,
            "block_gets": row.cold.block_gets,
            "block_bytes": row.cold.block_bytes,
            "all_gets": row.cold.all_gets,
            "all_bytes": row.cold.all_bytes,
        },
        "warm_ms": {
            "store": row.store.0,
            "head": row.head.0,
            "victoria_metrics": row.victoria_metrics.0,
            "prometheus": row.prometheus.0,
        },
        "planning_ms": { "store": row.planning_store.0, "head": row.planning_head.0 },
    })
}
