//! The store goes away under load and comes back; an ingester stands still until it was adopted.
//!
//! - MinIO is stopped for half a minute, or frozen (SIGSTOP) for a minute. Meanwhile writes are put
//!   off with 503 and `Retry-After`, queries answer or fail with a typed error within their limit,
//!   memory stays bounded, also under senders that give up early and send again (a *flood*).
//!   Afterwards writes go on by themselves; nothing that was acknowledged is missing, nothing is
//!   there twice, nothing is altered.
//! - A real Prometheus whose remote was away like that has caught up: both hold the same samples of
//!   before, during and after the outage.
//! - An ingester is frozen until the compactor has adopted its writer, and wakes: it goes on under a
//!   new id, nothing is lost or doubled (P5).
//!
//! `PROMONTORY_OUTAGE_STOP_SECONDS` (30) and `PROMONTORY_OUTAGE_FREEZE_SECONDS` (60) are how long the
//! store is away.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::support::answers::{self, Matrix};
use crate::support::clock::{now_ms, pause, wait_for};
use crate::support::http::Client;
use crate::support::load::{Asked, Load, SENDERS, Writes, check};
use crate::support::servers::{Exporter, Minio, Prometheus};
use crate::support::site::{Backing, Layout, Site, VISIBLE_AFTER};
use crate::support::tools::tool;
use crate::support::workdir::Workdir;
use crate::support::write::{self, Request};
use crate::support::{say, setting, skipped};

const FLAGS: [&str; 5] = [
    "--ingester.block-interval=10s",
    "--ingester.idle-interval=1s",
    "--ingester.append-timeout=5s",
    "--compactor.adopt-after=5s",
    "--query.timeout=10s",
];
/// Writes wait for the frozen ingester: what it had taken is acknowledged under its new id, not sent
/// again.
const PATIENT_FLAGS: [&str; 4] = [
    "--ingester.block-interval=10s",
    "--ingester.idle-interval=1s",
    "--compactor.adopt-after=5s",
    "--query.timeout=10s",
];
/// The append timeout, and time for a loaded machine to say so.
const PUT_OFF_MAX: Duration = Duration::from_secs(5 + 5);
/// The query timeout, and time for a loaded machine to say so.
const ANSWER_MAX: Duration = Duration::from_secs(10 + 5);
/// Most resident memory of the process, whatever is sent to it while its store is away.
const RESIDENT_MAX: u64 = 1 << 30;
/// Load before the outage, so that it meets blocks, and after it.
const LOAD_TIME: Duration = Duration::from_secs(12);
/// Until writes are acknowledged again once the store answers.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(45);

/// How the store goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outage {
    /// Connections are refused.
    Stopped,
    /// Connections are taken and nothing is answered.
    Frozen,
}

impl Outage {
    fn time(self) -> Duration {
        Duration::from_secs(match self {
            Self::Stopped => setting("PROMONTORY_OUTAGE_STOP_SECONDS", 30),
            Self::Frozen => setting("PROMONTORY_OUTAGE_FREEZE_SECONDS", 60),
        })
    }

    fn begin(self, minio: &mut Minio) {
        match self {
            Self::Stopped => minio.terminate(),
            Self::Frozen => minio.program().freeze(),
        }
    }

    /// Answers once the store answers.
    fn end(self, minio: &mut Minio) {
        match self {
            Self::Stopped => minio.restart(),
            Self::Frozen => minio.program().thaw(),
        }
    }
}

#[test]
fn outage_of_a_stopped_store_loses_nothing() {
    survive("outage: MinIO stopped", Outage::Stopped);
}

#[test]
fn outage_of_a_frozen_store_loses_nothing() {
    survive("outage: MinIO frozen", Outage::Frozen);
}

fn survive(suite: &str, outage: Outage) {
    let binary = match tool("minio") {
        Ok(binary) => binary,
        Err(reason) => return skipped(suite, &reason),
    };
    let workdir = Workdir::new("outage");
    let mut site = Site::start(Layout::AllInOne, Backing::Minio(&binary), &workdir, &FLAGS);
    let load = Load::new();
    let flood = Flood::new();
    let (writer, reader, questions) = (site.writer(), site.reader(), site.questions(ANSWER_MAX));
    let (mut senders, asked) = load.run(&writer, &reader, questions, || {
        pause(LOAD_TIME);
        load.wait_for_requests(SENDERS, RECOVERY_DEADLINE);
        let before = load.writes();
        outage.begin(site.minio());
        flood.run(&writer, || pause(outage.time()));
        let during = load.writes();
        outage.end(site.minio());
        let recovered = load.wait_for_requests(SENDERS, RECOVERY_DEADLINE);
        say(&format!(
            "{suite}: after {:?} a request of each sender is acknowledged {recovered:?} later",
            outage.time()
        ));
        check_put_off(suite, before, during);
        pause(LOAD_TIME);
    });
    check_answers(suite, &asked);
    check_memory(suite, &mut site);
    let findings = check(&mut senders, &reader, &load);
    say(&format!("{suite}: after the outage: {findings}"));
    findings.assert_clean(suite);
    flood.check(suite, &reader);
    site.terminate();
    site.store.command(&["fsck"]);
}

fn check_put_off(suite: &str, before: Writes, during: Writes) {
    let put_off = during.put_off - before.put_off;
    say(&format!(
        "{suite}: {} samples acknowledged before; {put_off} requests put off during it, after {:.1} s at most",
        before.samples,
        during.slowest_put_off.as_secs_f64()
    ));
    assert!(put_off > 0, "{suite}: no write was put off");
    assert_eq!(during.put_off_without_hint, 0, "{suite}: 503 without Retry-After");
    assert_eq!(during.unanswered, 0, "{suite}: writes without an answer");
    assert!(during.slowest_put_off < PUT_OFF_MAX, "{suite}: put off after {:?}", during.slowest_put_off);
}

fn check_answers(suite: &str, asked: &Asked) {
    say(&format!("{suite}: queries: {asked}"));
    asked.assert_right(suite);
    assert_eq!(asked.unanswered, 0, "{suite}: questions without an answer");
    let untyped = asked.errors.keys().find(|kind| kind.starts_with("status"));
    assert_eq!(untyped, None, "{suite}: an error without a type");
}

fn check_memory(suite: &str, site: &mut Site) {
    let process = site.role("all").program();
    assert!(process.is_alive(), "{suite}: promontory has ended");
    let Some(peak) = process.resident_peak_bytes() else { return };
    say(&format!("{suite}: peak memory {} MiB, at most {} MiB", peak >> 20, RESIDENT_MAX >> 20));
    assert!(peak < RESIDENT_MAX, "{suite}: peak memory of {} MiB", peak >> 20);
}

/// Senders that do not wait for their answer and send the same samples again and again.
struct Flood {
    stop: AtomicBool,
    requests: AtomicU64,
    base: i64,
}

impl Flood {
    const SENDERS: usize = 8;
    const SERIES: u64 = 500;
    const SAMPLES: u64 = 100;
    const GIVES_UP_AFTER: Duration = Duration::from_millis(100);

    fn new() -> Self {
        Self { stop: AtomicBool::new(false), requests: AtomicU64::new(0), base: now_ms() - 3_600_000 }
    }

    /// Floods while `body` runs.
    fn run(&self, client: &Client, body: impl FnOnce()) {
        std::thread::scope(|scope| {
            for sender in 0..Self::SENDERS {
                scope.spawn(move || self.send(client, sender));
            }
            body();
            self.stop.store(true, Relaxed);
        });
    }

    fn send(&self, client: &Client, sender: usize) {
        let client = client.with_timeout(Self::GIVES_UP_AFTER);
        let body = self.request(sender);
        while !self.stop.load(Relaxed) {
            let answer = write::send(&client, body.clone());
            self.requests.fetch_add(1, Relaxed);
            if let Ok(answer) = answer {
                assert!(answer.status / 100 != 4, "status {}: {}", answer.status, answer.text());
                pause(Self::GIVES_UP_AFTER);
            }
        }
    }

    fn request(&self, sender: usize) -> Vec<u8> {
        let mut request = Request::default();
        for series in 0..Self::SERIES {
            let labels =
                [("__name__", "flood"), ("sender", &sender.to_string()), ("series", &series.to_string())];
            let samples: Vec<(i64, f64)> =
                (0..Self::SAMPLES).map(|k| (self.base + k as i64 * 1_000, k as f64)).collect();
            request.series(&labels, &samples);
        }
        request.body()
    }

    /// However often they were sent, they are there at most once.
    fn check(&self, suite: &str, client: &Client) {
        let time = (self.base / 1_000 + Self::SAMPLES as i64 + 1).to_string();
        let query = [("query", "sum(count_over_time(flood[1h]))"), ("time", time.as_str())];
        let count = answers::one_value(&client.form("/api/v1/query", &query).expect("an answer"));
        let sent = self.requests.load(Relaxed);
        let count = count.unwrap_or(0.0) as u64;
        say(&format!("{suite}: {count} samples of a flood of {sent} requests are there"));
        assert!(count <= Self::SENDERS as u64 * Self::SERIES * Self::SAMPLES, "{suite}: {count} samples");
    }
}

// --- A real Prometheus ---

#[test]
fn outage_is_caught_up_by_prometheus() {
    let suite = "outage: Prometheus catches up";
    let (minio, prometheus) = match (tool("minio"), tool("prometheus")) {
        (Ok(minio), Ok(prometheus)) => (minio, prometheus),
        (Err(reason), _) | (_, Err(reason)) => return skipped(suite, &reason),
    };
    catch_up(suite, &minio, &prometheus);
}

fn catch_up(suite: &str, minio: &Path, prometheus: &Path) {
    let workdir = Workdir::new("catch-up");
    let mut site = Site::start(Layout::AllInOne, Backing::Minio(minio), &workdir, &FLAGS);
    let remote = "promontory";
    let mut prometheus = Prometheus::start(prometheus, workdir.path(), &[(remote, site.ingester().port())]);
    let exporter = Exporter::start();
    prometheus.add_target("shape", exporter.port);
    prometheus.resume();
    pause(LOAD_TIME);
    let began = now_ms();
    Outage::Stopped.begin(site.minio());
    pause(Outage::Stopped.time());
    Outage::Stopped.end(site.minio());
    let ended = now_ms();
    let retried = prometheus.client.metric("prometheus_remote_storage_samples_retried_total", "");
    pause(LOAD_TIME);
    let draining = Instant::now();
    prometheus.pause();
    say(&format!(
        "{suite}: {} samples were sent again; everything is acknowledged {:.1} s after the last scrape",
        retried.unwrap_or(0.0),
        draining.elapsed().as_secs_f64()
    ));
    assert!(retried.unwrap_or(0.0) > 0.0, "{suite}: the outage was not felt");

    let expected = everything(&prometheus.client);
    let actual = everything(&site.reader());
    let phases = [i64::MIN..began, began..ended, ended..i64::MAX];
    let counts = phases.map(|phase| count(&expected, |ts| phase.contains(&ts)));
    say(&format!("{suite}: samples of before, during and after the outage: {counts:?}"));
    assert!(counts.iter().all(|n| *n > 1_000), "{suite}: too little was scraped: {counts:?}");
    assert_same(suite, &expected, &actual);
    site.terminate();
}

fn everything(client: &Client) -> Matrix {
    let query = [("query", "{__name__=~\".+\"}[1h]")];
    answers::matrix(&client.form("/api/v1/query", &query).expect("an answer"))
}

fn count(matrix: &Matrix, matches: impl Fn(i64) -> bool) -> usize {
    matrix.values().flatten().filter(|(ts, _)| matches(*ts)).count()
}

/// Bit by bit, but any NaN for any other, and either zero for the other: Prometheus does not send a
/// value that equals zero, so the sign does not travel.
fn assert_same(suite: &str, expected: &Matrix, actual: &Matrix) {
    let bits = |samples: &Vec<(i64, f64)>| -> Vec<(i64, u64)> {
        // Adding a positive zero makes both zeros positive.
        let value = |value: f64| if value.is_nan() { f64::NAN } else { value + 0.0 };
        samples.iter().map(|(ts, v)| (*ts, value(*v).to_bits())).collect()
    };
    let names: BTreeSet<&String> = expected.keys().chain(actual.keys()).collect();
    let bits_of = |matrix: &Matrix, name: &String| matrix.get(name).map(bits).unwrap_or_default();
    let odd: Vec<String> = names
        .into_iter()
        .filter(|name| bits_of(expected, name) != bits_of(actual, name))
        .map(|name| {
            let (expected, actual) = (bits_of(expected, name), bits_of(actual, name));
            let first = |these: &[(i64, u64)], those: &[(i64, u64)]| {
                these.iter().find(|sample| !those.contains(sample)).map(|(ts, _)| *ts)
            };
            format!(
                "{name}: {} samples expected and {} found; first missing or altered at {:?} ms, first unexpected \
                 at {:?} ms",
                expected.len(),
                actual.len(),
                first(&expected, &actual),
                first(&actual, &expected)
            )
        })
        .collect();
    assert!(odd.is_empty(), "{suite}: {} series differ, first {}", odd.len(), odd[0]);
}

// --- A frozen ingester ---

/// Freezes in one run.
const FREEZES: u64 = 2;
/// The compactor notices, adopts and commits.
const ADOPTION_DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn outage_of_an_ingester_that_was_adopted_loses_nothing() {
    let suite = "outage: ingester frozen";
    let binary = match tool("minio") {
        Ok(binary) => binary,
        Err(reason) => return skipped(suite, &reason),
    };
    let workdir = Workdir::new("frozen-ingester");
    let mut site = Site::start(Layout::Split, Backing::Minio(&binary), &workdir, &PATIENT_FLAGS);
    let load = Load::new();
    let (writer, reader, questions) = (site.writer(), site.reader(), site.questions(ANSWER_MAX));
    let (mut senders, asked) = load.run(&writer, &reader, questions, || {
        for freeze in 1..=FREEZES {
            pause(LOAD_TIME);
            freeze_until_adopted(suite, &mut site, freeze);
            let recovered = load.wait_for_requests(SENDERS, RECOVERY_DEADLINE);
            say(&format!("{suite}: a request of each sender is acknowledged {recovered:?} after it woke"));
            let closed = protocol_counter(&writer, "writers_closed_by_others");
            let births = protocol_counter(&writer, "writer_births");
            assert_eq!((closed, births), (freeze, freeze + 1), "{suite}: lives closed and begun");
        }
        pause(LOAD_TIME / 2);
    });
    check_answers(suite, &asked);
    let writes = load.writes();
    assert_eq!(writes.unanswered, 0, "{suite}: writes without an answer");
    pause(VISIBLE_AFTER);
    let findings = check(&mut senders, &reader, &load);
    say(&format!("{suite}: {} samples acknowledged: {findings}", writes.samples));
    findings.assert_clean(suite);
    site.terminate();
    site.store.command(&["fsck"]);
}

fn freeze_until_adopted(suite: &str, site: &mut Site, freeze: u64) {
    let compactor = site.role("compactor").client.clone();
    let frozen = Instant::now();
    site.role("ingester").program().freeze();
    wait_for("the compactor to adopt the frozen writer", ADOPTION_DEADLINE, || {
        let adoptions = protocol_counter(&compactor, "adoptions");
        if adoptions >= freeze { Ok(()) } else { Err(format!("{adoptions} adoptions")) }
    });
    site.role("ingester").program().thaw();
    say(&format!("{suite}: adopted after {:?}", frozen.elapsed()));
}

fn protocol_counter(client: &Client, name: &str) -> u64 {
    client.metric(&format!("promontory_store_{name}_total"), "").unwrap_or(0.0) as u64
}
