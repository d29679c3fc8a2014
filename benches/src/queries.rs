//! Thirteen queries over two counters `a` and `b`, beside the peers: warm, cold from MinIO, and the
//! time to plan them.
//!
//! Words: the *head* is a Promontory over a folder whose samples are in no block yet; the *store* is
//! one over MinIO whose samples are in L2 blocks; *cold* is the first query of a fresh process; *best*
//! and *median* are of the warm runs that follow.
//!
//! 1. Start everything, send the same samples to all.
//! 2. Ask every query of every program and compare with Prometheus' answers; nothing is timed before
//!    all are the same.
//! 3. Per query: start a fresh process over the store, ask once cold; then time it warm, and the other
//!    programs right after it.
//!
//! In reading order: this file, then [`page`].

mod page;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::bytes::wait_until_compacted;
use crate::options::Scale;
use crate::peers::{Peer, Running};
use crate::shapes::{CounterSeries, SPACING_MS, instance, send_counters};
use crate::support::answers::{self, Order};
use crate::support::clock::{now_ms, wait_for};
use crate::support::http::{Answer, Client};
use crate::support::say;
use crate::support::servers::{Minio, Promontory, Store};
use crate::support::tools::tool;
use crate::support::workdir::Workdir;
use crate::verdicts::Section;

/// Samples per series.
const N_SAMPLES: usize = 260;
/// Points of the range queries, one per spacing.
const N_STEPS: i64 = 241;
/// All samples lie in one window of this length.
const WINDOW_MS: i64 = 2 * 3_600_000;
/// VictoriaMetrics shows samples of the last half minute late.
const LATE_MS: i64 = 60_000;
/// Until a program shows all that was sent.
const VISIBLE_DEADLINE: Duration = Duration::from_secs(60);
/// Keeps all samples in the head while it is asked.
const HEAD_FLAGS: [&str; 1] = ["--ingester.block-interval=2h"];

/// Whether it is asked for one time or for many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Range,
    Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Floor {
    /// No floor of its own.
    None,
    /// No slower than VictoriaMetrics.
    VictoriaMetrics,
    /// No slower than VictoriaMetrics, ten times faster than Prometheus.
    Both,
    /// At most a millisecond.
    Millisecond,
}

#[derive(Clone, Debug)]
struct Question {
    query: String,
    kind: Kind,
    floor: Floor,
}

/// When all range queries begin, and they and the instant ones end; milliseconds.
#[derive(Clone, Copy, Debug)]
struct Times {
    first_ts: i64,
    start: i64,
    end: i64,
}

/// Milliseconds of the runs of one query at one program.
#[derive(Clone, Debug)]
struct Timing(Vec<f64>);

#[derive(Clone, Copy, Debug)]
struct Cold {
    ms: f64,
    block_gets: f64,
    block_bytes: f64,
    all_gets: f64,
    all_bytes: f64,
}

/// Everything measured of one query; planning in milliseconds.
struct Row {
    question: Question,
    n_series: usize,
    cold: Cold,
    store: Timing,
    head: Timing,
    prometheus: Timing,
    victoria_metrics: Timing,
    planning_store: Timing,
    planning_head: Timing,
}

struct Stage {
    store: Promontory,
    head: Running,
    prometheus: Running,
    victoria_metrics: Running,
    times: Times,
    /// Pairs of files over MinIO.
    store_blocks: usize,
    _minio: Minio,
    _workdir: Workdir,
}

impl Timing {
    fn best(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// Measures all programs.
///
/// # Errors
/// If a program does not do what it is asked, or answers differently.
pub fn measure(scale: &Scale) -> Result<Section> {
    let questions = questions(scale.query_series);
    let mut stage = Stage::start(scale)?;
    stage.verify(&questions)?;
    let rows = questions.iter().map(|question| stage.measure(question, scale.query_runs));
    let rows = rows.collect::<Result<Vec<Row>>>()?;
    let head_files = stage.head.product().map_or(0, |head| head.block_files().len());
    Ok(Section {
        text: page::page(&rows, scale, stage.store_blocks, head_files),
        criteria: page::criteria(&rows),
        comparisons: rows.iter().flat_map(page::comparisons).collect(),
        raw: Value::Array(rows.iter().map(page::raw).collect()),
    })
}

/// The table of the design, its `x` being `a`.
fn questions(n_series: usize) -> Vec<Question> {
    // The middle one of the groups of 250 instances, and 200 of its addresses: 1 % of 20,000.
    let group = n_series / 500;
    let few = format!("10[.]0[.]{group}[.]1?[0-9]?[0-9]:9100");
    let one = instance(n_series / 2);
    let range = |query: &str, floor| Question { query: query.to_owned(), kind: Kind::Range, floor };
    let instant = |query: &str, floor| Question { query: query.to_owned(), kind: Kind::Instant, floor };
    vec![
        range("sum by (job) (rate(a[5m]))", Floor::Both),
        range("sum by (job) (rate(a[5m]) / rate(b[5m]))", Floor::Both),
        instant("sum by (job) (rate(a[5m]))", Floor::VictoriaMetrics),
        range("topk(10, rate(a[5m]))", Floor::None),
        range("count(a)", Floor::None),
        range("sum by (cluster) (max_over_time(a[5m]))", Floor::None),
        range("rate(a{job=\"job-7\"}[5m])", Floor::None),
        range("quantile by (job) (0.99, rate(a[5m]))", Floor::None),
        range(&format!("rate(a{{instance=\"{one}\"}}[5m])"), Floor::Millisecond),
        range(&format!("sum(rate(a{{instance=~\"{few}\"}}[5m]))"), Floor::None),
        range(
            "sum by (d) (label_replace(a, \"d\", \"$1\", \"instance\", \"10[.]0[.]([0-9]+)[.].*\"))",
            Floor::None,
        ),
        instant("sum by (job) (max_over_time(rate(a[5m])[30m:1m]))", Floor::None),
        range("sum by (job) (rate(a[5m]) or rate(b[5m]))", Floor::None),
    ]
}

impl Question {
    fn title(&self) -> String {
        match self.kind {
            Kind::Range => format!("`{}`", self.query),
            Kind::Instant => format!("`{}`, instant", self.query),
        }
    }

    fn ask(&self, client: &Client, times: Times, extra: &[(&str, &str)]) -> Result<Answer> {
        let seconds = |ms: i64| (ms / 1_000).to_string();
        let (start, end, step) = (seconds(times.start), seconds(times.end), seconds(SPACING_MS));
        let mut parameters = vec![("query", self.query.as_str())];
        let path = match self.kind {
            Kind::Range => {
                parameters.extend([
                    ("start", start.as_str()),
                    ("end", end.as_str()),
                    ("step", step.as_str()),
                ]);
                "/api/v1/query_range"
            }
            Kind::Instant => {
                parameters.push(("time", end.as_str()));
                "/api/v1/query"
            }
        };
        parameters.extend(extra);
        let answer = client.get(path, &parameters).map_err(anyhow::Error::msg)?;
        ensure!(answer.status == 200, "{}: status {}: {}", self.query, answer.status, answer.text());
        Ok(answer)
    }

    /// One warm-up, then the runs.
    fn time(&self, client: &Client, times: Times, extra: &[(&str, &str)], n_runs: usize) -> Result<Timing> {
        self.ask(client, times, extra)?;
        let run = || {
            let started = Instant::now();
            self.ask(client, times, extra)?;
            Ok(started.elapsed().as_secs_f64() * 1e3)
        };
        Ok(Timing((0..n_runs).map(|_| run()).collect::<Result<_>>()?))
    }

    /// What the product says that planning took, as often as the query is timed.
    fn planning(&self, client: &Client, times: Times, n_runs: usize) -> Result<Timing> {
        let run = || {
            let json = self.ask(client, times, &[("stats", "all")])?.json();
            let seconds = json["data"]["stats"]["timings"]["queryPreparationTime"].as_f64();
            Ok(seconds.context("the answer has no queryPreparationTime")? * 1e3)
        };
        Ok(Timing((0..n_runs).map(|_| run()).collect::<Result<_>>()?))
    }

    /// Compares an answer of the product with Prometheus'.
    fn compare(&self, expected: &Answer, actual: &Answer, from: &str) -> Result<()> {
        match answers::difference(expected, actual, Order::Free) {
            None => Ok(()),
            Some(told) => bail!("{from} answers {} differently than Prometheus: {told}", self.title()),
        }
    }

    /// VictoriaMetrics does not extrapolate, so its values differ and with them the choice of `topk`.
    fn compare_counts(&self, expected: &Answer, actual: &Answer) -> Result<()> {
        let (expected, actual) = (n_series(expected), n_series(actual));
        let same = if self.query.starts_with("topk(10") { actual >= 10 } else { actual == expected };
        ensure!(
            same && expected > 0,
            "VictoriaMetrics answers {} with {actual} series and Prometheus with {expected}",
            self.title()
        );
        Ok(())
    }
}

fn n_series(answer: &Answer) -> usize {
    answer.json()["data"]["result"].as_array().map_or(0, Vec::len)
}

impl Times {
    /// The last whole window before now, so that all samples lie in one.
    fn before(now_ms: i64) -> Self {
        let end = (now_ms - LATE_MS).div_euclid(WINDOW_MS) * WINDOW_MS - SPACING_MS;
        let before = |n_spacings: i64| end - n_spacings * SPACING_MS;
        Self { first_ts: before(N_SAMPLES as i64 - 1), start: before(N_STEPS - 1), end }
    }
}

impl Stage {
    fn start(scale: &Scale) -> Result<Self> {
        let n_series = scale.query_series;
        let workdir = Workdir::new("bench-queries");
        let times = Times::before(now_ms());
        let counters = ["a", "b"].map(|name| CounterSeries::new(name, n_series));
        let fill = |client: &Client, name: &str| -> Result<()> {
            say(&format!("queries: {} samples into {name}", 2 * n_series * N_SAMPLES));
            send_counters(&counters, client, times.first_ts, N_SAMPLES).with_context(|| name.to_owned())?;
            wait_until_visible(client, times, n_series);
            Ok(())
        };
        let start = |peer: Peer, flags: &[&str]| -> Result<Running> {
            let running = peer.start(workdir.path(), flags)?;
            fill(&running.client, peer.name())?;
            Ok(running)
        };
        let prometheus = start(Peer::Prometheus, &[])?;
        let victoria_metrics = start(Peer::VictoriaMetrics, &[])?;
        let minio = Minio::start(&tool("minio").map_err(anyhow::Error::msg)?, workdir.path());
        let store = fill_store(&minio, &workdir, &scale.store_flags, &fill)?;
        let store_blocks = store.block_files().len() / 2;
        // Last, so that its samples are as fresh as they can be.
        let head = start(Peer::Promontory, &HEAD_FLAGS)?;
        let (_minio, _workdir) = (minio, workdir);
        Ok(Self { store, head, prometheus, victoria_metrics, times, store_blocks, _minio, _workdir })
    }

    fn verify(&mut self, questions: &[Question]) -> Result<()> {
        say("queries: comparing the answers of all programs");
        for question in questions {
            let ask = |client: &Client| question.ask(client, self.times, &[]);
            let expected = ask(&self.prometheus.client)?;
            question.compare(&expected, &ask(&self.head.client)?, "Promontory's head")?;
            question.compare(&expected, &ask(&self.store.client)?, "Promontory's store")?;
            question.compare_counts(&expected, &ask(&self.victoria_metrics.client)?)?;
        }
        Ok(())
    }

    fn measure(&mut self, question: &Question, n_runs: usize) -> Result<Row> {
        say(&format!("queries: {}", question.title()));
        let times = self.times;
        let expected = question.ask(&self.prometheus.client, times, &[])?;
        let cold = self.cold(question, &expected)?;
        let time = |client: &Client| question.time(client, times, &[], n_runs);
        let planning = |client: &Client| question.planning(client, times, n_runs);
        Ok(Row {
            question: question.clone(),
            n_series: n_series(&expected),
            cold,
            store: time(&self.store.client)?,
            victoria_metrics: question.time(
                &self.victoria_metrics.client,
                times,
                &[("nocache", "1")],
                n_runs,
            )?,
            head: time(&self.head.client)?,
            prometheus: time(&self.prometheus.client)?,
            planning_store: planning(&self.store.client)?,
            planning_head: planning(&self.head.client)?,
        })
    }

    /// The first query of a fresh process over the store.
    fn cold(&mut self, question: &Question, expected: &Answer) -> Result<Cold> {
        let status = self.store.terminate();
        ensure!(status.success(), "Promontory over MinIO ended with {status}");
        self.store.restart();
        let client = &self.store.client;
        let before = Reads::of(client)?;
        let started = Instant::now();
        let answer = question.ask(client, self.times, &[])?;
        let ms = started.elapsed().as_secs_f64() * 1e3;
        let after = Reads::of(client)?;
        question.compare(expected, &answer, "a fresh Promontory over MinIO")?;
        Ok(Cold {
            ms,
            block_gets: after.block_gets - before.block_gets,
            block_bytes: after.block_bytes - before.block_bytes,
            all_gets: after.all_gets - before.all_gets,
            all_bytes: after.all_bytes - before.all_bytes,
        })
    }
}

/// A Promontory over MinIO that holds the samples in L2 blocks.
fn fill_store(
    minio: &Minio,
    workdir: &Workdir,
    flags: &[&str],
    fill: &dyn Fn(&Client, &str) -> Result<()>,
) -> Result<Promontory> {
    let store = Store::minio(minio, "bench");
    let product = Promontory::start("promontory-store", workdir.path(), &store, flags);
    fill(&product.client, "Promontory over MinIO")?;
    wait_until_compacted(&product);
    Ok(product)
}

fn wait_until_visible(client: &Client, times: Times, expected: usize) {
    wait_for("all samples to be visible", VISIBLE_DEADLINE, || {
        let time = (times.end / 1_000).to_string();
        for name in ["a", "b"] {
            // Counts each series' samples, not only its last.
            let query = format!("sum(count_over_time({name}[2h]))");
            let parameters = [("query", query.as_str()), ("time", &time), ("nocache", "1")];
            let answer = client.get("/api/v1/query", &parameters)?;
            let count = answers::one_value(&answer).unwrap_or_default();
            if count != (expected * N_SAMPLES) as f64 {
                return Err(format!("{count} samples of {name}, status {}", answer.status));
            }
        }
        Ok(())
    });
}

/// Counters of reads, as `/metrics` of the product tells them.
struct Reads {
    block_gets: f64,
    block_bytes: f64,
    all_gets: f64,
    all_bytes: f64,
}

impl Reads {
    fn of(client: &Client) -> Result<Self> {
        let metric = |name: &str, labels: &str| {
            client.metric(name, labels).with_context(|| format!("{name} is not exported"))
        };
        let gets = "operation=\"get\"";
        Ok(Self {
            block_gets: metric("promontory_block_requests_total", "")?,
            block_bytes: metric("promontory_block_request_bytes_total", "")?,
            all_gets: metric("promontory_objstore_operations_total", gets)?,
            all_bytes: metric("promontory_objstore_operation_bytes_total", gets)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_samples_of_a_run_lie_in_one_window() {
        let hour = 3_600_000;
        for now in [500_000 * hour, 500_000 * hour + 59_999, 500_001 * hour + 7, 500_003 * hour - 1] {
            let times = Times::before(now);
            assert_eq!(times.first_ts.div_euclid(WINDOW_MS), times.end.div_euclid(WINDOW_MS));
            assert!(times.end <= now - LATE_MS && times.end % SPACING_MS == 0, "{times:?}");
            // Every window of five minutes is full.
            assert!(times.start - times.first_ts >= 19 * SPACING_MS, "{times:?}");
        }
    }

    #[test]
    fn there_are_thirteen_questions() {
        let questions = questions(20_000);
        assert_eq!(questions.len(), 13);
        assert_eq!(questions.iter().filter(|question| question.floor == Floor::Both).count(), 2);
    }
}
