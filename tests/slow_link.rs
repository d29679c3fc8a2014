//! A link of 4 MB/s to the store, and a store that is away for a while behind it.
//!
//! Samples that do not compress are sent at a rate below the link's, by a sender who repeats what is put off,
//! as Prometheus does. MinIO is frozen until the intake holds tens of megabytes. Then:
//! - the backlog is put as slots of at most 8 MiB, and within a time that the link explains the sender is up to date;
//! - a querier behind the same link follows the tail and answers every acknowledged sample;
//! - the ingester is killed before any of it is in a block; a compactor behind the same link adopts it, and the
//!   answers are the same again.
//!
//! `PROMONTORY_LONG=1` freezes MinIO for 60 s and not for 20, with a sender of more shards.
//!
//! Values are whole numbers of 44 random bits, so that the sum of a series over one request is exact in a
//! double and different from that of any other request: sums and counts by request tell what is missing, twice
//! or altered, and some requests are read sample by sample.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::support::answers::{self, Matrix};
use crate::support::clock::{now_ms, pause, wait_for};
use crate::support::http::Client;
use crate::support::link::SlowLink;
use crate::support::servers::{Minio, Promontory, Store};
use crate::support::tools::tool;
use crate::support::workdir::Workdir;
use crate::support::write::{self, Request};
use crate::support::{noise, say, setting, skipped};

const SUITE: &str = "slow_link";
/// Of the link, in each direction.
const LINK_BYTES_PER_SECOND: u64 = 4_000_000;
/// What a slot may have.
const SLOT_BYTES_MAX: u64 = 8 << 20;
/// One slot at least is as large: the writer makes parts of 3 to 6 MiB of a cut that is too large.
const SLOT_BYTES_LARGE: u64 = 4 << 20;
const FLAGS: [&str; 5] = [
    "--head.max-memory=4GB",
    // Nothing comes into a block before the ingester is killed.
    "--ingester.block-interval=1h",
    "--ingester.idle-interval=1s",
    "--compactor.adopt-after=5s",
    "--query.timeout=60s",
];
/// Load before the store is away.
const LOAD_TIME: Duration = Duration::from_secs(4);
/// Beyond the outage itself, until the sender is up to date: the link is four times as fast as it.
const CATCH_UP_SLACK: Duration = Duration::from_secs(30);
/// For a querier to read what an outage has collected, over the link.
const FOLLOW_DEADLINE: Duration = Duration::from_secs(60);
/// The same for an adopter, who writes it again as a block.
const ADOPTION_DEADLINE: Duration = Duration::from_secs(150);

fn is_long() -> bool {
    setting("PROMONTORY_LONG", 0) > 0
}

#[test]
fn slow_link_takes_what_an_outage_has_collected() {
    match tool("minio") {
        Ok(binary) => Rig::start(&binary).run(),
        Err(reason) => skipped(SUITE, &reason),
    }
}

/// The programs, in the order in which they end.
struct Rig {
    ingester: Promontory,
    querier: Promontory,
    link: SlowLink,
    minio: Minio,
    workdir: Workdir,
}

impl Rig {
    fn start(minio: &std::path::Path) -> Self {
        let workdir = Workdir::new("slow-link");
        let minio = Minio::start(minio, workdir.path());
        let link = SlowLink::to(minio.port(), LINK_BYTES_PER_SECOND);
        let store = Store::minio_behind(link.port(), "slow");
        let start = |name: &str, roles: &str| {
            let role = format!("--role={roles}");
            let flags: Vec<&str> = FLAGS.into_iter().chain([role.as_str()]).collect();
            Promontory::start(name, workdir.path(), &store, &flags)
        };
        let ingester = start("ingester", "ingester,querier");
        let querier = start("querier", "querier");
        Self { ingester, querier, link, minio, workdir }
    }

    fn run(mut self) {
        let feed = Feed::new();
        let client = self.ingester.client.clone();
        feed.run(&client, || self.outage(&feed));
        let total = feed.allowed.load(SeqCst);
        check("the ingester", &self.ingester.client, &feed, total);
        self.follow(&feed, total);
        self.check_slots();
        self.adopt(&feed, total);
        assert!(self.querier.terminate().success());
        // Past the link: it reads every byte again.
        Store::minio(&self.minio, "slow").command(&["fsck"]);
    }

    /// The store is away, comes back, and the sender catches up.
    fn outage(&self, feed: &Feed) {
        let away = Duration::from_secs(if is_long() { 60 } else { 20 });
        pause(LOAD_TIME);
        self.minio.program().freeze();
        pause(away);
        let pending = self.metric("promontory_ingester_pending_bytes");
        let behind = feed.behind();
        self.minio.program().thaw();
        let back = Instant::now();
        wait_for("the sender to catch up", away + CATCH_UP_SLACK, || {
            let behind = feed.behind();
            if behind <= UP_TO_DATE { Ok(()) } else { Err(format!("{behind} requests behind")) }
        });
        say(&format!(
            "{SUITE}: away for {away:?}: {behind} requests of {REQUEST_SAMPLES} samples behind, {} MB pending, {} put \
             off; up to date {:.1} s after it came back",
            pending as u64 / 1_000_000,
            feed.put_off.load(SeqCst),
            back.elapsed().as_secs_f64()
        ));
        assert!(pending > 0.0, "the intake was not felt");
        assert!(behind > UP_TO_DATE, "the outage was not felt");
        assert_eq!(feed.put_off_without_hint.load(SeqCst), 0, "503 without Retry-After");
    }

    /// The other process has seen everything.
    fn follow(&self, feed: &Feed, total: u64) {
        let begun = Instant::now();
        wait_for("the querier to follow", FOLLOW_DEADLINE, || count(&self.querier.client, feed, total));
        say(&format!("{SUITE}: the querier has all of it {:.1} s later", begun.elapsed().as_secs_f64()));
        check("the querier", &self.querier.client, feed, total);
    }

    fn check_slots(&self) {
        let sizes = Store::minio(&self.minio, "slow").sizes("wal");
        let sizes: Vec<u64> = sizes.into_iter().map(|(_, size)| size).collect();
        let largest = sizes.iter().copied().max().unwrap_or_default();
        let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        say(&format!(
            "{SUITE}: {} slots of {:.1} MiB together, {} above 1 MiB, the largest has {:.2} MiB; cut were {}",
            sizes.len(),
            megabytes(sizes.iter().sum()),
            sizes.iter().filter(|size| **size > 1 << 20).count(),
            megabytes(largest),
            self.metric("promontory_store_segments_cut_total")
        ));
        assert!(largest <= SLOT_BYTES_MAX, "a slot of {largest} bytes");
        assert!(largest >= SLOT_BYTES_LARGE, "no slot is large, the largest has {largest} bytes");
    }

    /// The ingester dies with everything unflushed, and somebody else makes blocks of it.
    fn adopt(&mut self, feed: &Feed, total: u64) {
        let unflushed = self.metric("promontory_ingester_unflushed_bytes");
        assert!(unflushed > SLOT_BYTES_LARGE as f64, "{unflushed} bytes are in no block");
        self.ingester.kill();
        let before = self.link.bytes();
        let begun = Instant::now();
        let flags: Vec<&str> = FLAGS.into_iter().chain(["--role=compactor"]).collect();
        let store = Store::minio_behind(self.link.port(), "slow");
        let mut compactor = Promontory::start("compactor", self.workdir.path(), &store, &flags);
        wait_for("the compactor to adopt the dead writer", ADOPTION_DEADLINE, || {
            let adoptions = compactor.client.metric("promontory_store_adoptions_total", "");
            if adoptions == Some(1.0) { Ok(()) } else { Err(format!("{adoptions:?} adoptions")) }
        });
        let passed = self.link.bytes();
        say(&format!(
            "{SUITE}: {:.1} MB in no block are adopted within {:.1} s; {:.1} MB were read and {:.1} MB written meanwhile",
            unflushed / 1e6,
            begun.elapsed().as_secs_f64(),
            (passed[1] - before[1]) as f64 / 1e6,
            (passed[0] - before[0]) as f64 / 1e6
        ));
        check("the querier after the adoption", &self.querier.client, feed, total);
        assert!(compactor.terminate().success());
    }

    fn metric(&self, name: &str) -> f64 {
        self.ingester.client.metric(name, "").unwrap_or_else(|| panic!("{name} is exported"))
    }
}

// --- The sender ---

/// Series of one request.
const SERIES: u64 = 100;
/// Samples of each of them.
const SAMPLES: u64 = 500;
const REQUEST_SAMPLES: u64 = SERIES * SAMPLES;
/// Requests are due this often: 125,000 samples a second, which are 0.9 MB.
const REQUEST_INTERVAL: Duration = Duration::from_millis(400);
/// Requests go round so many groups of series, so that a series' time runs about as fast as the clock.
const GROUPS: u64 = 13;
const SPACING_MS: i64 = 10;
/// The sum of a series over a request is below 2^53.
const VALUE_BITS: u32 = 44;
/// What one request covers.
const REQUEST_MS: i64 = SAMPLES as i64 * SPACING_MS;
/// A sender that is up to date waits for one or two flushes.
const UP_TO_DATE: u64 = 12;
/// As the hint says.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Requests that become due one after the other, each repeated until it is acknowledged.
struct Feed {
    base: i64,
    /// Requests that may be sent.
    allowed: AtomicU64,
    stop: AtomicBool,
    /// `allowed` will not rise any more.
    finished: AtomicBool,
    next: AtomicU64,
    acknowledged: AtomicU64,
    put_off: AtomicU64,
    put_off_without_hint: AtomicU64,
}

impl Feed {
    fn new() -> Self {
        let counter = || AtomicU64::new(0);
        Self {
            // At the full second, for the windows of range queries.
            base: (now_ms() / 1_000 - 600) * 1_000,
            allowed: counter(),
            stop: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            next: counter(),
            acknowledged: counter(),
            put_off: counter(),
            put_off_without_hint: counter(),
        }
    }

    /// Sends while `body` runs, and until everything that was due is acknowledged.
    fn run(&self, client: &Client, body: impl FnOnce()) {
        // More requests wait at once than an outage of this suite brings.
        let shards = if is_long() { 200 } else { 64 };
        std::thread::scope(|scope| {
            let stop = StopOnDrop(self);
            scope.spawn(|| self.pace());
            for _ in 0..shards {
                scope.spawn(|| self.send(client));
            }
            body();
            drop(stop);
        });
    }

    fn pace(&self) {
        let begun = Instant::now();
        while !self.stop.load(SeqCst) {
            let due = begun.elapsed().as_millis() / REQUEST_INTERVAL.as_millis();
            self.allowed.store(due as u64, SeqCst);
            pause(Duration::from_millis(10));
        }
        self.finished.store(true, SeqCst);
    }

    fn send(&self, client: &Client) {
        loop {
            let number = self.next.fetch_add(1, SeqCst);
            if !self.wait_until_due(number) {
                return;
            }
            let body = self.request(number);
            while !self.try_once(client, &body) {
                pause(RETRY_PAUSE);
            }
            self.acknowledged.fetch_add(1, SeqCst);
        }
    }

    /// False if it never will be.
    fn wait_until_due(&self, number: u64) -> bool {
        loop {
            let finished = self.finished.load(SeqCst);
            if number < self.allowed.load(SeqCst) {
                return true;
            }
            if finished {
                return false;
            }
            pause(Duration::from_millis(10));
        }
    }

    fn try_once(&self, client: &Client, body: &[u8]) -> bool {
        let Ok(answer) = write::send(client, body.to_vec()) else { return false };
        match answer.status {
            204 => return true,
            503 | 429 => {
                self.put_off.fetch_add(1, SeqCst);
                self.put_off_without_hint.fetch_add(u64::from(answer.retry_after.is_none()), SeqCst);
            }
            status => panic!("status {status}: {}", answer.text()),
        }
        false
    }

    fn request(&self, number: u64) -> Vec<u8> {
        let (group, round) = (number % GROUPS, number / GROUPS);
        let mut request = Request::default();
        for series in 0..SERIES {
            let samples: Vec<(i64, f64)> = self.samples(group, series, round).collect();
            let labels =
                [("__name__", "slow"), ("group", &group.to_string()), ("series", &series.to_string())];
            request.series(&labels, &samples);
        }
        request.body()
    }

    /// What a series gets in a round, in `(base + round * REQUEST_MS, base + (round + 1) * REQUEST_MS]`.
    fn samples(&self, group: u64, series: u64, round: u64) -> impl Iterator<Item = (i64, f64)> {
        let first = self.end_of(round) - REQUEST_MS;
        (1..=SAMPLES).map(move |sample| {
            let number = ((group * SERIES + series) << 32) + round * SAMPLES + sample;
            (first + sample as i64 * SPACING_MS, noise(number, VALUE_BITS))
        })
    }

    fn end_of(&self, round: u64) -> i64 {
        self.base + (round as i64 + 1) * REQUEST_MS
    }

    /// Requests that are due and not acknowledged.
    fn behind(&self) -> u64 {
        self.allowed.load(SeqCst) - self.acknowledged.load(SeqCst)
    }
}

/// Ends the feed when dropped, also when an assertion fails.
struct StopOnDrop<'a>(&'a Feed);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, SeqCst);
    }
}

// --- The checker ---

/// Rounds of a group when so many requests were sent.
fn rounds(group: u64, total: u64) -> u64 {
    total / GROUPS + u64::from(group < total % GROUPS)
}

/// Whether as many samples are there as were sent.
fn count(client: &Client, feed: &Feed, total: u64) -> Result<(), String> {
    let end = feed.end_of(total / GROUPS);
    let query = format!("sum(count_over_time(slow[{}ms]))", end - feed.base);
    let answer = client.form("/api/v1/query", &[("query", &query), ("time", &(end / 1_000).to_string())])?;
    let (found, sent) = (answers::one_value(&answer).unwrap_or(0.0), (total * REQUEST_SAMPLES) as f64);
    let told = answer.text().chars().take(300).collect::<String>();
    if found == sent { Ok(()) } else { Err(format!("{found} of {sent} samples: {told}")) }
}

/// Every request is there, once, as it was sent.
fn check(who: &str, client: &Client, feed: &Feed, total: u64) {
    let begun = Instant::now();
    for group in 0..GROUPS {
        let windows = |function: &str| by_window(client, feed, group, rounds(group, total), function);
        let (counts, sums) = (windows("count_over_time"), windows("sum_over_time"));
        for series in 0..SERIES {
            let key = labels(group, series);
            let sent = (0..rounds(group, total)).map(|round| {
                let values = feed.samples(group, series, round).map(|(_, value)| value);
                (feed.end_of(round), values.sum::<f64>())
            });
            let sent: Vec<(i64, f64)> = sent.collect();
            assert_eq!(sums.get(&key), Some(&sent), "{who}: sums of {key}");
            let full = sent.iter().map(|(at, _)| (*at, SAMPLES as f64)).collect();
            assert_eq!(counts.get(&key), Some(&full), "{who}: counts of {key}");
        }
        assert_eq!((counts.len(), sums.len()), (SERIES as usize, SERIES as usize), "{who}: group {group}");
    }
    for (group, round) in [(0, 0), (GROUPS / 2, total / GROUPS / 2), (0, rounds(0, total) - 1)] {
        check_samples(who, client, feed, group, round);
    }
    say(&format!(
        "{SUITE}: {who} answers all {} samples ({:.1} s)",
        total * REQUEST_SAMPLES,
        begun.elapsed().as_secs_f64()
    ));
}

fn by_window(client: &Client, feed: &Feed, group: u64, rounds: u64, function: &str) -> Matrix {
    let query = format!("{function}(slow{{group=\"{group}\"}}[{REQUEST_MS}ms])");
    let seconds = |ms: i64| (ms / 1_000).to_string();
    let (start, end) = (seconds(feed.end_of(0)), seconds(feed.end_of(rounds - 1)));
    let step = seconds(REQUEST_MS);
    let fields = [("query", query.as_str()), ("start", &start), ("end", &end), ("step", &step)];
    let answer = client.form("/api/v1/query_range", &fields).expect("an answer");
    assert!(answer.json()["warnings"].is_null(), "{query}: {}", answer.json()["warnings"]);
    answers::matrix(&answer)
}

fn check_samples(who: &str, client: &Client, feed: &Feed, group: u64, round: u64) {
    let query = format!("slow{{group=\"{group}\"}}[{REQUEST_MS}ms]");
    let time = (feed.end_of(round) / 1_000).to_string();
    let answer = client.form("/api/v1/query", &[("query", query.as_str()), ("time", &time)]);
    let found = answers::matrix(&answer.expect("an answer"));
    let series = (0..SERIES).map(|series| (series, feed.samples(group, series, round).collect()));
    let sent: Matrix =
        series.map(|(series, samples): (u64, Vec<_>)| (full_labels(group, series), samples)).collect();
    assert!(found == sent, "{who}: round {round} of group {group} is not as it was sent");
}

/// Labels as an answer of a function shows them.
fn labels(group: u64, series: u64) -> String {
    json([("group", group.to_string()), ("series", series.to_string())])
}

/// The same with the name.
fn full_labels(group: u64, series: u64) -> String {
    json([("__name__", "slow".into()), ("group", group.to_string()), ("series", series.to_string())])
}

fn json<const N: usize>(labels: [(&str, String); N]) -> String {
    serde_json::to_string(&BTreeMap::from(labels)).expect("text")
}
