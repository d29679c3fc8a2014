//! `kill -9` of the only process under load, five times, over a folder and over a real MinIO: it is
//! ready again in less than three seconds (P9), nothing that was acknowledged is missing, nothing is
//! there twice, nothing is altered (P1, P2).
//!
//! Words: a *steady* sender repeats a request until it is acknowledged and only then goes on; a
//! *fickle* one never repeats, so of what was not acknowledged to it each request may be there or not.
//!
//! Every value says whose it is: from series and timestamp alone [`value_of`] gives what must lie
//! there, so a sample that was mixed up, shifted or invented shows in any answer.
//!
//! `PROMONTORY_KILL_SEED` replays the times of the kills.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::support::answers;
use crate::support::clock::{now_ms, pause, wait_for};
use crate::support::http::Client;
use crate::support::servers::{Minio, Promontory, Store};
use crate::support::tools::tool;
use crate::support::workdir::Workdir;
use crate::support::write::{self, Request, encode_labels};
use crate::support::{say, setting, skipped};

const KILLS: u64 = 5;
/// P9.
const READY_MAX: Duration = Duration::from_secs(3);
const STEADY_SENDERS: u64 = 6;
const FICKLE_SENDERS: u64 = 2;
/// Series of one sender in one request.
const SERIES: u64 = 500;
/// Samples of each series in one request.
const SAMPLES: u64 = 10;
/// Between two samples of a series.
const SPACING_MS: i64 = 100;
/// Requests after which a sender goes on with new series, so that kills also meet fresh labels.
const GENERATION: u64 = 7;
/// Acknowledgements that must have come since the last start before the next kill.
const ACKNOWLEDGED_BEFORE_KILL: u64 = 2 * (STEADY_SENDERS + FICKLE_SENDERS);
const LOAD_DEADLINE: Duration = Duration::from_secs(60);
/// Short, so that kills also meet the commit of a block.
const FLAGS: [&str; 1] = ["--ingester.block-interval=4s"];

#[test]
fn kill_over_a_folder_loses_nothing_and_doubles_nothing() {
    let workdir = Workdir::new("kill-folder");
    let store = Store::folder(&workdir.join("data"));
    survive_kills("kill over a folder", &workdir, &store);
}

#[test]
fn kill_over_minio_loses_nothing_and_doubles_nothing() {
    let suite = "kill over MinIO";
    let binary = match tool("minio") {
        Ok(binary) => binary,
        Err(reason) => return skipped(suite, &reason),
    };
    let workdir = Workdir::new("kill-minio");
    let minio = Minio::start(&binary, workdir.path());
    survive_kills(suite, &workdir, &Store::minio(&minio, "kill"));
}

fn survive_kills(suite: &str, workdir: &Workdir, store: &Store) {
    let seed = setting("PROMONTORY_KILL_SEED", now_ms().unsigned_abs());
    say(&format!("{suite}: PROMONTORY_KILL_SEED={seed}"));
    let mut server = Promontory::start("promontory", workdir.path(), store, &FLAGS);
    let load = &Load::new(now_ms() - 3_600_000);
    let client = &server.client.clone();
    let started = Instant::now();
    let mut senders: Vec<Sender> = std::thread::scope(|scope| {
        // Also when an assertion below fails, or the scope would wait for its senders for ever.
        let stop = StopOnDrop(load);
        let sending: Vec<_> = (0..STEADY_SENDERS + FICKLE_SENDERS)
            .map(|id| scope.spawn(move || Sender::new(id).run(client, load)))
            .collect();
        kill_repeatedly(suite, &mut server, load, seed);
        drop(stop);
        sending.into_iter().map(|thread| thread.join().expect("a sender ends")).collect()
    });
    let rate = load.samples_acknowledged.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    say(&format!("{suite}: {rate:.0} samples acknowledged per second, kills included"));

    for sender in &mut senders {
        sender.check(client, load);
    }
    server.kill();
    server.restart();
    for sender in &mut senders {
        sender.check(client, load);
    }
    let status = server.terminate();
    assert!(status.success(), "after SIGTERM: {status}");
    server.restart();
    let n_samples: usize = senders.iter_mut().map(|sender| sender.check(client, load)).sum();
    say(&format!("{suite}: all {n_samples} samples are there, three times over"));
}

fn kill_repeatedly(suite: &str, server: &mut Promontory, load: &Load, seed: u64) {
    let mut random = seed;
    let mut slowest = Duration::ZERO;
    for kill in 0..KILLS {
        let before = load.requests_acknowledged.load(Ordering::Relaxed);
        wait_for("requests to be acknowledged", LOAD_DEADLINE, || {
            assert!(server.program().is_alive(), "promontory has ended by itself");
            let since = load.requests_acknowledged.load(Ordering::Relaxed) - before;
            if since >= ACKNOWLEDGED_BEFORE_KILL { Ok(()) } else { Err(format!("only {since}")) }
        });
        random = splitmix(random);
        pause(Duration::from_millis(random % 3_000));
        server.kill();
        server.restart();
        slowest = slowest.max(server.ready_after);
        assert!(server.ready_after < READY_MAX, "kill {kill}: ready after {:?}", server.ready_after);
    }
    say(&format!("{suite}: {KILLS} kills, ready after {slowest:?} at most"));
}

/// What the senders share.
struct Load {
    /// Timestamp of every series' first possible sample.
    base: i64,
    stop: AtomicBool,
    requests_acknowledged: AtomicU64,
    samples_acknowledged: AtomicU64,
}

impl Load {
    fn new(base: i64) -> Self {
        Self {
            base,
            stop: AtomicBool::new(false),
            requests_acknowledged: AtomicU64::new(0),
            samples_acknowledged: AtomicU64::new(0),
        }
    }
}

/// Ends the load when dropped.
struct StopOnDrop<'a>(&'a Load);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

struct Sender {
    id: u64,
    /// Requests made so far; the number of the next one.
    requests: u64,
    /// Requests of which it is not known whether they were taken.
    unknown: BTreeSet<u64>,
}

impl Sender {
    fn new(id: u64) -> Self {
        Self { id, requests: 0, unknown: BTreeSet::new() }
    }

    fn is_fickle(&self) -> bool {
        self.id >= STEADY_SENDERS
    }

    /// Sends until the load stops; a steady sender ends with everything acknowledged.
    fn run(mut self, client: &Client, load: &Load) -> Self {
        while !load.stop.load(Ordering::Relaxed) {
            let body = self.request(self.requests, load.base);
            loop {
                match write::send(client, body.clone()) {
                    Ok(answer) if answer.status / 100 == 2 => {
                        load.requests_acknowledged.fetch_add(1, Ordering::Relaxed);
                        load.samples_acknowledged.fetch_add(SERIES * SAMPLES, Ordering::Relaxed);
                        break;
                    }
                    Ok(answer) if answer.status >= 500 || answer.status == 429 => {}
                    Ok(answer) => panic!("status {}: {}", answer.status, answer.text()),
                    Err(_) => {}
                }
                pause(Duration::from_millis(20));
                if self.is_fickle() {
                    self.unknown.insert(self.requests);
                    break;
                }
            }
            self.requests += 1;
        }
        self
    }

    fn request(&self, number: u64, base: i64) -> Vec<u8> {
        let mut request = Request::default();
        let generation = (number / GENERATION).to_string();
        for series in 0..SERIES {
            let labels = encode_labels(&[
                ("__name__", "load"),
                ("generation", &generation),
                ("job", "kill"),
                ("sender", &self.id.to_string()),
                ("series", &series.to_string()),
            ]);
            let samples: Vec<(i64, f64)> = indices(number)
                .map(|index| (base + index as i64 * SPACING_MS, value_of(self.id, series, index)))
                .collect();
            request.encoded_series(&labels, &samples);
        }
        request.body()
    }

    /// Reads everything of this sender back; answers how many samples there are.
    fn check(&mut self, client: &Client, load: &Load) -> usize {
        let time = (load.base + indices(self.requests).end as i64 * SPACING_MS) / 1_000 + 1;
        let time = time.to_string();
        let selector = format!("load{{sender=\"{}\"}}[2h]", self.id);
        let answer = client.form("/api/v1/query", &[("query", &selector), ("time", &time)]);
        let matrix = answers::matrix(&answer.expect("an answer"));
        let mut found = vec![0_u64; self.requests as usize];
        for (labels, samples) in &matrix {
            let labels: serde_json::Value = serde_json::from_str(labels).expect("labels are JSON");
            let number = |name: &str| labels[name].as_str().and_then(|text| text.parse::<u64>().ok());
            let (series, generation) =
                (number("series").expect("series"), number("generation").expect("one"));
            assert!(samples.windows(2).all(|pair| pair[0].0 < pair[1].0), "a timestamp twice in {labels}");
            for (ts, value) in samples {
                let index =
                    u64::try_from((ts - load.base) / SPACING_MS).expect("not before the first sample");
                assert_eq!((ts - load.base) % SPACING_MS, 0, "{ts} was never sent in {labels}");
                assert_eq!(*value, value_of(self.id, series, index), "altered in {labels} at {ts}");
                let request = index / SAMPLES;
                assert_eq!(request / GENERATION, generation, "{ts} was never sent in {labels}");
                assert!(request < self.requests, "{ts} was never sent in {labels}");
                found[request as usize] += 1;
            }
        }
        for (request, found) in (0_u64..).zip(&found) {
            let whole = *found == SERIES * SAMPLES;
            // Unacknowledged and partly there is allowed: the promise is about samples.
            let unknown = self.unknown.contains(&request);
            assert!(whole || unknown, "request {request} of sender {} has {found} samples", self.id);
            // What was seen once must stay.
            if whole {
                self.unknown.remove(&request);
            }
        }
        let found = found.iter().sum::<u64>() as usize;
        self.check_count(client, &time, found);
        found
    }

    fn check_count(&self, client: &Client, time: &str, found: usize) {
        let query = format!("sum(count_over_time(load{{sender=\"{}\"}}[2h]))", self.id);
        let answer = client.form("/api/v1/query", &[("query", &query), ("time", time)]);
        let counted = answers::one_value(&answer.expect("an answer")).unwrap_or(0.0);
        assert_eq!(counted, found as f64, "count_over_time of sender {}", self.id);
    }
}

/// The sample indices of one request.
fn indices(request: u64) -> Range<u64> {
    request * SAMPLES..(request + 1) * SAMPLES
}

/// Exact in a double: below 2^53.
fn value_of(sender: u64, series: u64, index: u64) -> f64 {
    ((sender << 40) + (series << 24) + index) as f64
}

fn splitmix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
