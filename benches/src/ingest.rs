//! Cost, memory and acknowledgements of remote write 1.0 beside the peers.
//!
//! Words: *resident growth* is the resident memory of a process less that of the same process while
//! idle, two seconds after it was ready; an *acknowledgement* lasts from the first byte of a request
//! to the end of its answer, repeated attempts included.
//!
//! Two phases, each over a fresh process and an empty folder:
//! 1. *Paced*: one scrape, then the others at a fixed pace: a time lapse of scrapes each 15 s, a block
//!    interval of 2 min and a compaction after 10 min. Memory is read after the first scrape, and each
//!    100 ms over the scrapes of one whole compaction cycle at the end.
//! 2. *Load*: scrapes as fast as they are acknowledged; processor time of the server until the last
//!    acknowledgement, and until the samples are in blocks.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::delivery::Delivered;
use crate::options::{IngestScale, SCRAPES_PER_COMPACTION};
use crate::peers::{Peer, Running};
use crate::shapes::{SPACING_MS, Scrapes};
use crate::support::clock::{now_ms, pause, wait_for};
use crate::support::say;
use crate::support::workdir::Workdir;
use crate::verdicts::{Bound, Criterion, PeerComparison, Section, number, table};

/// Until a process is idle.
const IDLE_AFTER: Duration = Duration::from_secs(2);
/// Between two readings of resident memory.
const READING_EVERY: Duration = Duration::from_millis(100);
/// Scrapes of one series under way in the load phase, for a program that acknowledges late.
const LANES: usize = 4;
/// Until the head is empty after a load.
const HEAD_DEADLINE: Duration = Duration::from_secs(300);
const KIB: f64 = 1024.0;

struct Figures {
    peer: Peer,
    paced: Paced,
    load: Load,
}

/// Bytes are resident growth per series.
struct Paced {
    idle_bytes: u64,
    first: f64,
    settled: f64,
    peak: f64,
    samples_per_cpu_second: f64,
    delivered: Delivered,
}

struct Load {
    senders: usize,
    wall: Duration,
    cpu_acknowledged: Duration,
    cpu_settled: Duration,
    n_samples: usize,
    delivered: Delivered,
}

impl Load {
    fn samples_per_cpu_second(&self, cpu: Duration) -> f64 {
        self.n_samples as f64 / cpu.as_secs_f64()
    }
}

/// Measures all programs with one scale.
///
/// # Errors
/// If a program does not do what it is asked.
pub fn measure(scale: &IngestScale) -> Result<Section> {
    let scrapes = Scrapes::new(scale.n_series, first_timestamp(scale));
    let measured = Peer::ALL.map(|peer| {
        say(&format!("ingest: {} series into {}", scale.n_series, peer.name()));
        let paced = paced(peer, &scrapes, scale)?;
        let load = load(peer, &scrapes, scale)?;
        Ok(Figures { peer, paced, load })
    });
    let figures: Vec<Figures> = measured.into_iter().collect::<Result<_>>().context("ingest")?;
    Ok(Section {
        text: page(&figures, scale),
        criteria: criteria(&figures[0], scale),
        comparisons: figures[1..].iter().flat_map(|peer| comparisons(&figures[0], peer, scale)).collect(),
        raw: Value::Array(figures.iter().map(raw).collect()),
    })
}

/// So that the last scrape is not in the future.
fn first_timestamp(scale: &IngestScale) -> i64 {
    let n_scrapes = scale.load_scrapes.max(scale.paced_scrapes) as i64;
    now_ms() - n_scrapes * SPACING_MS
}

fn paced(peer: Peer, scrapes: &Scrapes, scale: &IngestScale) -> Result<Paced> {
    let workdir = Workdir::new("bench-ingest");
    let mut running = start(peer, &workdir, &scale.paced_flags())?;
    let (idle_bytes, cpu) = (running.resident_bytes()?, running.cpu_time()?);
    let per_series = |bytes: f64| (bytes - idle_bytes as f64).max(0.0) / scale.n_series as f64;
    let started = Instant::now();
    let mut delivered = scrapes.send(&running.client, 0..1, 1)?;
    let first = per_series(running.resident_bytes()? as f64);
    let mut readings = Vec::new();
    for round in 1..scale.paced_scrapes {
        let settled = scale.paced_scrapes - round <= SCRAPES_PER_COMPACTION as usize;
        // At least one reading, also where the scrapes are late.
        loop {
            if settled {
                readings.push(running.resident_bytes()? as f64);
            }
            if started.elapsed() >= scale.pace * round as u32 {
                break;
            }
            pause(READING_EVERY);
        }
        delivered.extend(scrapes.send(&running.client, round..round + 1, 1)?);
    }
    let n_samples = scale.n_series * scale.paced_scrapes;
    let mean = readings.iter().sum::<f64>() / readings.len().max(1) as f64;
    Ok(Paced {
        idle_bytes,
        first,
        settled: per_series(mean),
        peak: per_series(running.resident_peak_bytes()? as f64),
        samples_per_cpu_second: n_samples as f64 / (running.cpu_time()? - cpu).as_secs_f64(),
        delivered,
    })
}

fn load(peer: Peer, scrapes: &Scrapes, scale: &IngestScale) -> Result<Load> {
    let workdir = Workdir::new("bench-ingest");
    let flag = format!("--ingester.block-interval={}s", scale.load_block_interval.as_secs());
    let mut running = start(peer, &workdir, &[flag])?;
    let (lanes, used) = (lanes(peer), running.cpu_time()?);
    let started = Instant::now();
    let delivered = scrapes.send(&running.client, 0..scale.load_scrapes, lanes)?;
    let wall = started.elapsed();
    let cpu_acknowledged = running.cpu_time()? - used;
    settle(&running, scale.load_block_interval);
    Ok(Load {
        senders: scrapes.senders(lanes),
        wall,
        cpu_acknowledged,
        cpu_settled: running.cpu_time()? - used,
        n_samples: scale.n_series * scale.load_scrapes,
        delivered,
    })
}

fn start(peer: Peer, workdir: &Workdir, flags: &[String]) -> Result<Running> {
    let flags = if peer == Peer::Promontory { flags } else { &[] };
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let running = peer.start(workdir.path(), &flags)?;
    pause(IDLE_AFTER);
    Ok(running)
}

/// Prometheus takes no samples out of order, and both peers acknowledge at once.
fn lanes(peer: Peer) -> usize {
    if peer == Peer::Promontory { LANES } else { 1 }
}

/// Waits until the product's samples are in blocks; gives the others a block interval to merge.
fn settle(running: &Running, block_interval: Duration) {
    let Some(product) = running.product() else { return pause(block_interval) };
    wait_for("all samples to be in blocks", HEAD_DEADLINE, || match product.unflushed_series() {
        0 => Ok(()),
        n_series => Err(format!("{n_series} series have samples outside")),
    });
}

fn page(figures: &[Figures], scale: &IngestScale) -> String {
    let ms = |wait: Duration| number(wait.as_secs_f64() * 1e3);
    let cost = figures.iter().map(|Figures { peer, load, .. }| {
        vec![
            peer.name().to_owned(),
            number(load.samples_per_cpu_second(load.cpu_settled)),
            number(load.samples_per_cpu_second(load.cpu_acknowledged)),
            number(load.n_samples as f64 / load.wall.as_secs_f64()),
            load.senders.to_string(),
            ms(load.delivered.quantile(0.5)),
            ms(load.delivered.quantile(0.99)),
            load.delivered.repeated.to_string(),
        ]
    });
    let paced = figures.iter().map(|Figures { peer, paced, .. }| {
        vec![
            peer.name().to_owned(),
            number(paced.first),
            number(paced.settled),
            number(paced.peak),
            format!("{:.1}", paced.idle_bytes as f64 / KIB / KIB),
            number(paced.samples_per_cpu_second),
            ms(paced.delivered.quantile(0.5)),
            ms(paced.delivered.quantile(0.99)),
        ]
    });
    let cost = table(
        &[
            "as fast as acknowledged",
            "samples per CPU-second, blocks included",
            "until the last acknowledgement",
            "samples per second",
            "senders",
            "ack p50, ms",
            "ack p99, ms",
            "repeated requests",
        ],
        &cost.collect::<Vec<_>>(),
    );
    let paced = table(
        &[
            "at a normal pace",
            "bytes per series, first scrape",
            "settled",
            "peak",
            "idle, MiB",
            "samples per CPU-second",
            "ack p50, ms",
            "ack p99, ms",
        ],
        &paced.collect::<Vec<_>>(),
    );
    format!(
        "## Remote write 1.0, {n_series} series with ten labels\n\n\
         {n_series} series with ten labels (the name included), 2,000 series with one sample each per request, \
         samples 15 s apart.\n\
         A sender has one request under way and owns its series, as a shard of Prometheus does; all senders of \
         a program are threads of this one, on the same machine, so samples per second is a lower bound.\n\
         Promontory acknowledges when the samples are in its store (flush interval 1 s, a folder, fsync), the \
         peers before.\n\n{cost}\n\
         {load_scrapes} scrapes. Processor time is user and system of the server's process, from the idle \
         process to the last acknowledgement, and on until Promontory's head is empty (block interval {block} \
         s); the peers get {block} s more to merge. A compaction to L2 is not due in this phase.\n\
         Promontory's senders have up to {LANES} scrapes of a series under way, so that the wait for the \
         flush does not idle it; Prometheus refuses samples out of order, so the peers' have one.\n\n{paced}\n\
         {paced_scrapes} scrapes, one each {pace} s: a time lapse of scrapes each 15 s with the default \
         intervals (`{flags}`).\n\
         Bytes per series are the growth of VmRSS over the idle process ({idle} s after it was ready, before \
         the first request), divided by the series: right after the first scrape was acknowledged; *settled* \
         is the mean of readings each {reading} ms between the last {settled} scrapes (a compaction to L2 comes \
         each {SCRAPES_PER_COMPACTION}); *peak* \
         is VmHWM of the whole run.\n\n",
        n_series = number(scale.n_series as f64),
        load_scrapes = scale.load_scrapes,
        block = scale.load_block_interval.as_secs(),
        paced_scrapes = scale.paced_scrapes,
        pace = scale.pace.as_secs_f64(),
        flags = scale.paced_flags().join(" "),
        settled = scale.paced_scrapes.min(SCRAPES_PER_COMPACTION as usize),
        idle = IDLE_AFTER.as_secs(),
        reading = READING_EVERY.as_millis(),
    )
}

fn criteria(ours: &Figures, scale: &IngestScale) -> Vec<Criterion> {
    let of = |what: &str| format!("{what}, {} series", number(scale.n_series as f64));
    let cost = ours.load.samples_per_cpu_second(ours.load.cpu_settled);
    let mut criteria = Vec::new();
    for (bound, samples, bytes) in [(Bound::Floor, 400_000.0, 1.5 * KIB), (Bound::Goal, 1_000_000.0, KIB)] {
        let what = of("durable samples per CPU-second, blocks included");
        criteria.push(Criterion::at_least(bound, &what, Some(cost), samples, ""));
        let memory = [("after the first scrape", ours.paced.first), ("settled", ours.paced.settled)];
        for (when, measured) in memory {
            let what = of(&format!("memory per active series, {when}"));
            criteria.push(Criterion::at_most(bound, &what, Some(measured), bytes, "bytes"));
        }
    }
    criteria
}

fn comparisons(ours: &Figures, theirs: &Figures, scale: &IngestScale) -> Vec<PeerComparison> {
    let cpu = |figures: &Figures| figures.load.cpu_settled.as_secs_f64();
    let p99 = |figures: &Figures| figures.paced.delivered.quantile(0.99).as_secs_f64();
    let rows = [
        ("processor time per sample", cpu(ours), cpu(theirs)),
        ("memory per series, first scrape", ours.paced.first, theirs.paced.first),
        ("memory per series, settled", ours.paced.settled, theirs.paced.settled),
        ("memory per series, peak", ours.paced.peak, theirs.paced.peak),
        ("p99 of the acknowledgement at a normal pace (the peers' are not durable)", p99(ours), p99(theirs)),
    ];
    let of = |(what, ours, figure): (&str, f64, f64)| PeerComparison {
        what: format!("{what}, {} series", number(scale.n_series as f64)),
        peer: theirs.peer.name(),
        ours,
        theirs: figure,
    };
    rows.map(of).into()
}

fn raw(figures: &Figures) -> Value {
    let Figures { peer, paced, load } = figures;
    let seconds =
        |delivered: &Delivered| [0.5, 0.9, 0.99, 1.0].map(|share| delivered.quantile(share).as_secs_f64());
    json!({
        "program": peer.name(),
        "samples": load.n_samples,
        "senders": load.senders,
        "wall_seconds": load.wall.as_secs_f64(),
        "cpu_seconds_until_acknowledged": load.cpu_acknowledged.as_secs_f64(),
        "cpu_seconds_until_settled": load.cpu_settled.as_secs_f64(),
        "acknowledgement_seconds_p50_p90_p99_max": seconds(&load.delivered),
        "repeated_requests": load.delivered.repeated,
        "paced": {
            "idle_bytes": paced.idle_bytes,
            "bytes_per_series_first": paced.first,
            "bytes_per_series_settled": paced.settled,
            "bytes_per_series_peak": paced.peak,
            "samples_per_cpu_second": paced.samples_per_cpu_second,
            "acknowledgement_seconds_p50_p90_p99_max": seconds(&paced.delivered),
            "repeated_requests": paced.delivered.repeated,
        },
    })
}
