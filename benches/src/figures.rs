//! The first figures: cost of remote write, memory per series, and the time of one query, all of them
//! beside the peers on the same data.
//!
//! 1. *Ingest*: 100,000 series with ten labels, one request per 2,000 series, all requests of a scrape
//!    at once; samples per processor-second of the server's process, blocks that it writes included.
//!    Resident memory over that of the idle process, per series.
//! 2. *Query*: `sum by (job) (rate(x[5m]))` over 20,000 series of 260 samples at 15 s, 241 steps,
//!    over HTTP, the best of five after a first one that warms up.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::peers::{Peer, Running};
use crate::shapes::{JOBS, Shape};
use crate::support::answers::{self, Order};
use crate::support::clock::{now_ms, pause, wait_for};
use crate::support::http::Answer;
use crate::support::tools::{repository, tool};
use crate::support::workdir::Workdir;

const INGEST_SERIES: usize = 100_000;
const INGEST_SCRAPES: usize = 60;
const QUERY_SERIES: usize = 20_000;
const QUERY_SAMPLES: i64 = 260;
const SPACING_MS: i64 = 15_000;
const RUNS: usize = 5;
/// Shorter than the default of two minutes, so that the run pays for blocks too.
const BLOCK_INTERVAL: &str = "--ingester.block-interval=30s";
/// Until the queried samples are in a block.
const SETTLE: Duration = Duration::from_secs(45);

/// What one program did with the load.
struct Ingest {
    samples_per_cpu_second: f64,
    bytes_per_series_first: f64,
    bytes_per_series_last: f64,
    wall: Duration,
}

/// What one program took for the query, milliseconds.
struct Query {
    fresh_ms: f64,
    settled_ms: f64,
    answer: Answer,
}

/// Measures and writes the page; answers its text.
///
/// # Errors
/// If a program does not do what it is asked.
pub fn first_figures() -> Result<String> {
    let mut page = String::from(
        "# First figures\n\nWritten by `cargo run --release -p promontory-benches -- first-figures`; what is \
         measured is said at the head of `benches/src/figures.rs`.\n\n",
    );
    let _ = writeln!(page, "Machine: {}.\n", machine());
    page.push_str("## Remote write 1.0, 100,000 series with ten labels\n\n");
    page.push_str(
        "| | samples per CPU-second | bytes per series, first scrape | after 60 scrapes | seconds |\n",
    );
    page.push_str("|---|---|---|---|---|\n");
    let shape = Shape::ten_labels(INGEST_SERIES);
    for peer in peers() {
        let figures = ingest(peer, &shape).with_context(|| peer.name())?;
        let _ = writeln!(
            page,
            "| {} | {:.0} | {:.0} | {:.0} | {:.1} |",
            peer.name(),
            figures.samples_per_cpu_second,
            figures.bytes_per_series_first,
            figures.bytes_per_series_last,
            figures.wall.as_secs_f64(),
        );
    }
    page.push_str("\nPromontory acknowledges when the samples are in its store, the peers before.\n");
    page.push_str("\n## `sum by (job) (rate(x[5m]))`, 20,000 series, 241 steps, milliseconds\n\n");
    page.push_str("| | right after the writes | 45 s later |\n|---|---|---|\n");
    let shape = Shape::counters(QUERY_SERIES);
    let mut first: Option<Answer> = None;
    for peer in peers() {
        let figures = query(peer, &shape).with_context(|| peer.name())?;
        let _ = writeln!(page, "| {} | {:.1} | {:.1} |", peer.name(), figures.fresh_ms, figures.settled_ms);
        // VictoriaMetrics' rate is another function by design.
        if peer != Peer::VictoriaMetrics {
            let expected = first.get_or_insert_with(|| figures.answer.clone());
            let told = answers::difference(expected, &figures.answer, Order::Free);
            ensure!(told.is_none(), "{} answers differently: {told:?}", peer.name());
        }
    }
    let folder = repository().join("benches/results");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    std::fs::write(folder.join("first-figures.md"), &page).context("first-figures.md")?;
    Ok(page)
}

/// The product and those of the others that can be had.
fn peers() -> Vec<Peer> {
    let there = |peer: &Peer| match peer {
        Peer::Promontory => true,
        Peer::Prometheus => has("prometheus"),
        Peer::VictoriaMetrics => has("victoria-metrics"),
    };
    Peer::ALL.into_iter().filter(there).collect()
}

fn has(name: &str) -> bool {
    tool(name).map_err(|reason| eprintln!("left out: {reason}")).is_ok()
}

fn ingest(peer: Peer, shape: &Shape) -> Result<Ingest> {
    let workdir = Workdir::new("bench-ingest");
    let running = peer.start(workdir.path(), flags(peer))?;
    pause(Duration::from_secs(2));
    let (idle, used) = (resident(&running)?, cpu(&running)?);
    let newest = now_ms();
    let timestamps: Vec<i64> =
        (0..INGEST_SCRAPES as i64).map(|k| newest - (INGEST_SCRAPES as i64 - k) * SPACING_MS).collect();
    let started = Instant::now();
    shape.send_scrapes(&running.client, &timestamps[..1])?;
    let first = resident(&running)?;
    shape.send_scrapes(&running.client, &timestamps[1..])?;
    let wall = started.elapsed();
    let cpu_seconds = (cpu(&running)? - used).as_secs_f64();
    let last = resident(&running)?;
    let per_series = |bytes: u64| bytes.saturating_sub(idle) as f64 / shape.len() as f64;
    Ok(Ingest {
        samples_per_cpu_second: (shape.len() * INGEST_SCRAPES) as f64 / cpu_seconds,
        bytes_per_series_first: per_series(first),
        bytes_per_series_last: per_series(last),
        wall,
    })
}

fn query(peer: Peer, shape: &Shape) -> Result<Query> {
    let workdir = Workdir::new("bench-query");
    let running = peer.start(workdir.path(), flags(peer))?;
    // The same multiple of the step for all programs of one run within the hour.
    let end = now_ms() / 3_600_000 * 3_600_000 - SPACING_MS;
    let first = end - (QUERY_SAMPLES - 1) * SPACING_MS;
    let timestamps: Vec<i64> = (0..QUERY_SAMPLES).map(|k| first + k * SPACING_MS).collect();
    shape.send_history(&running.client, &timestamps)?;
    let (fresh_ms, _) = best_of(&running, end)?;
    pause(SETTLE);
    let (settled_ms, answer) = best_of(&running, end)?;
    Ok(Query { fresh_ms, settled_ms, answer })
}

fn best_of(running: &Running, end: i64) -> Result<(f64, Answer)> {
    const STEPS: i64 = 241;
    let (start, end) = ((end - (STEPS - 1) * SPACING_MS) / 1_000, end / 1_000);
    let (start, end) = (start.to_string(), end.to_string());
    let parameters = [
        ("query", "sum by (job) (rate(x[5m]))"),
        ("start", start.as_str()),
        ("end", end.as_str()),
        ("step", "15"),
    ];
    // Warms up, and waits for a program that shows its data late.
    wait_for("all jobs to be there", SETTLE, || {
        let answer = running.client.get("/api/v1/query_range", &parameters)?;
        let jobs = answer.json()["data"]["result"].as_array().map_or(0, Vec::len);
        if jobs == JOBS { Ok(()) } else { Err(format!("{jobs} jobs, status {}", answer.status)) }
    });
    let mut best: Option<(f64, Answer)> = None;
    for _ in 0..RUNS {
        let started = Instant::now();
        let answer = running.client.get("/api/v1/query_range", &parameters).map_err(anyhow::Error::msg)?;
        let ms = started.elapsed().as_secs_f64() * 1_000.0;
        ensure!(answer.status == 200, "status {}: {}", answer.status, answer.text());
        ensure!(answers::matrix(&answer).len() == JOBS, "not {JOBS} jobs");
        if best.as_ref().is_none_or(|(least, _)| ms < *least) {
            best = Some((ms, answer));
        }
    }
    best.context("no run")
}

fn flags(peer: Peer) -> &'static [&'static str] {
    match peer {
        Peer::Promontory => &[BLOCK_INTERVAL],
        // Takes samples of the last hour into an empty head without a special setting.
        Peer::Prometheus | Peer::VictoriaMetrics => &[],
    }
}

fn resident(running: &Running) -> Result<u64> {
    running.program.resident_bytes().context("no /proc on this machine")
}

fn cpu(running: &Running) -> Result<Duration> {
    running.program.cpu_time().context("no /proc on this machine")
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} cores, {}", model.trim_start_matches([' ', '\t', ':']))
}
