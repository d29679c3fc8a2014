//! More load than two cores can take, and a tenant who has nothing to do with it.
//!
//! Many senders of several tenants send without a pause, and at once again what is refused, while a quiet tenant
//! writes once a second and asks a few times a second:
//! - memory stays below what the flags add up to, and is flat in the long form: the most of the second half is not
//!   above that of the first half by more than a fifth;
//! - every refusal is 429 or 503 with `Retry-After`, and every request is answered;
//! - everything that was acknowledged is read back;
//! - the quiet tenant's questions are answered, all of them, and so are its writes; their medians stay below a
//!   bound, and are told beside those of before the load.
//!
//! The senders step back for everything else on the machine: senders elsewhere would not take its processors.
//!
//! `PROMONTORY_LONG=1` loads for 30 minutes and not for 20 seconds; `PROMONTORY_OVERLOAD_SECONDS` says otherwise.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::support::answers::{self, Matrix};
use crate::support::clock::{now_ms, pause};
use crate::support::http::Client;
use crate::support::program::step_back;
use crate::support::servers::{Promontory, Store};
use crate::support::turns;
use crate::support::workdir::Workdir;
use crate::support::write::{self, Request, encode_labels};
use crate::support::{noise, say, setting};

const SUITE: &str = "overload";
const MIB: u64 = 1 << 20;
const FLAGS: [&str; 13] = [
    // All senders come from one address, and a kept connection that is closed for others may meet a next request.
    "--web.max-connections=2048",
    "--web.max-idle-connections-per-peer=1024",
    "--auth.multitenancy-enabled",
    "--head.max-memory=512MB",
    "--query.max-memory-total=256MB",
    "--limits.write-in-flight=134217728",
    "--cache.footers=16MB",
    "--cache.series=32MB",
    "--cache.ranges=64MB",
    "--cache.samples=64MB",
    "--ingester.block-interval=4s",
    "--compactor.l2-after=8s",
    "--query.timeout=60s",
];
/// What the flags add up to, and the program itself with what its allocator keeps and blocks that are encoded.
const RESIDENT_MAX: u64 = (512 + 256 + 128 + 16 + 32 + 64 + 64 + 256) * MIB;
/// The most of the second half over that of the first.
const GROWTH_MAX: f64 = 1.2;
/// Median of the quiet tenant's questions beside the load, of which each takes about 6 ms alone. It was a second
/// while large writes were decoded all at once.
const ANSWER_MAX: Duration = Duration::from_millis(250);
/// Where other suites run meanwhile, what they take alone counts: so many times of it.
const BUSY_MAX: u32 = 20;
/// Median of its writes, which take a flush interval alone. It was eight seconds while nothing was cut during the
/// encoding of a block.
const ACKNOWLEDGE_MAX: Duration = Duration::from_secs(4);
/// Before the load, for the quiet tenant alone.
const QUIET_TIME: Duration = Duration::from_secs(8);
/// Of the load: until blocks are written and merged, and caches are full.
const WARM_UP: Duration = Duration::from_secs(10);
/// Whatever is not acknowledged yet once the load has ended.
const DRAIN_DEADLINE: Duration = Duration::from_secs(60);

fn is_long() -> bool {
    setting("PROMONTORY_LONG", 0) > 0
}

fn load_time() -> Duration {
    Duration::from_secs(setting("PROMONTORY_OVERLOAD_SECONDS", if is_long() { 1_800 } else { 20 }))
}

#[test]
fn overload_is_refused_and_harms_nobody_else() {
    let _turn = turns::all_of_the_machine();
    let workdir = Workdir::new("overload");
    let store = Store::folder(&workdir.join("data"));
    let mut server = Promontory::start("promontory", workdir.path(), &store, &FLAGS);
    // Of its own: a client has one thread for all its requests.
    let (client, loud) = (server.client.clone(), Client::new(server.port()));
    let quiet = Quiet::new();
    let load = Load::new();
    quiet.fill(&client);
    let peaks = std::thread::scope(|scope| {
        // Also when an assertion fails, or the scope would wait for ever.
        let _stop = StopOnDrop(&[&load.stop, &quiet.stop]);
        scope.spawn(|| quiet.write(&client));
        scope.spawn(|| quiet.ask(&client));
        pause(QUIET_TIME);
        quiet.loaded.store(true, SeqCst);
        for sender in 0..SENDERS {
            let (load, loud) = (&load, loud.with_tenant(&tenant_of(sender)));
            scope.spawn(move || load.send(&loud, sender));
        }
        watch(&mut server, WARM_UP);
        [watch(&mut server, load_time() / 2), watch(&mut server, load_time() / 2)]
    });
    load.report();
    quiet.report();
    load.check_refusals();
    load.check_samples(&client);
    check_memory(peaks);
    quiet.check();
    assert!(server.terminate().success());
    store.command(&["fsck"]);
}

/// The most resident memory within a time; `None` where there is no `/proc`.
fn watch(server: &mut Promontory, time: Duration) -> Option<u64> {
    let (begun, mut peak) = (Instant::now(), None);
    while begun.elapsed() < time {
        assert!(server.program().is_alive(), "{SUITE}: promontory has ended");
        peak = peak.max(server.program().resident_bytes());
        pause(Duration::from_millis(200));
    }
    peak
}

fn check_memory(peaks: [Option<u64>; 2]) {
    let [Some(first), Some(second)] = peaks else { return };
    say(&format!(
        "{SUITE}: memory of the halves {} and {} MiB, at most {} MiB",
        first / MIB,
        second / MIB,
        RESIDENT_MAX / MIB
    ));
    assert!(first.max(second) < RESIDENT_MAX, "{SUITE}: {} MiB", first.max(second) / MIB);
    let growth = second as f64 / first as f64;
    assert!(
        !is_long() || growth <= GROWTH_MAX,
        "{SUITE}: the second half takes {growth:.2} times the memory of the first"
    );
}

/// Sets flags when dropped.
struct StopOnDrop<'a, const N: usize>(&'a [&'a AtomicBool; N]);

impl<const N: usize> Drop for StopOnDrop<'_, N> {
    fn drop(&mut self) {
        self.0.iter().for_each(|flag| flag.store(true, SeqCst));
    }
}

// --- The load ---

const TENANTS: usize = 4;
const SENDERS: usize = 256;
/// Of one request.
const SERIES: u64 = 50;
const SAMPLES: u64 = 1_000;
const REQUEST_SAMPLES: u64 = SERIES * SAMPLES;
const SPACING_MS: i64 = 10;
const REQUEST_MS: i64 = SAMPLES as i64 * SPACING_MS;
/// Of the answers that are compared.
const WINDOW_MS: i64 = 60_000;
const WINDOW_REQUESTS: u64 = (WINDOW_MS / REQUEST_MS) as u64;
/// Windows of one question, so that each touches a few million samples.
const WINDOWS_AT_ONCE: u64 = 10;
/// Value bits: a window of a sender has an exact sum.
const VALUE_BITS: u32 = 24;

fn tenant_of(sender: usize) -> String {
    format!("loud-{}", sender % TENANTS)
}

/// What the senders share.
struct Load {
    base: i64,
    begun: Instant,
    stop: AtomicBool,
    sent: AtomicU64,
    put_off: AtomicU64,
    put_off_without_hint: AtomicU64,
    unanswered: AtomicU64,
    /// Why the first request without an answer has none.
    first_unanswered: Mutex<Option<String>>,
    /// Acknowledged requests of each sender, which are all that it made.
    acknowledged: Vec<AtomicU64>,
    /// What was refused first, in words.
    first_refusal: Mutex<Option<String>>,
}

impl Load {
    fn new() -> Self {
        let counter = || AtomicU64::new(0);
        Self {
            // Samples may come faster than the clock runs.
            base: (now_ms() / WINDOW_MS - 12 * 60) * WINDOW_MS,
            begun: Instant::now(),
            stop: AtomicBool::new(false),
            sent: counter(),
            put_off: counter(),
            put_off_without_hint: counter(),
            unanswered: counter(),
            first_unanswered: Mutex::new(None),
            acknowledged: (0..SENDERS).map(|_| counter()).collect(),
            first_refusal: Mutex::new(None),
        }
    }

    /// Sends without a pause until the load stops and the last request is acknowledged.
    fn send(&self, client: &Client, sender: usize) {
        step_back();
        for number in 0.. {
            if self.stop.load(SeqCst) {
                return;
            }
            let body = self.request(sender, number);
            let mut stopped = None;
            while !self.try_once(client, &body) {
                if self.stop.load(SeqCst) {
                    let since = stopped.get_or_insert_with(Instant::now).elapsed();
                    assert!(since < DRAIN_DEADLINE, "{SUITE}: sender {sender} is not acknowledged");
                }
            }
            self.acknowledged[sender].fetch_add(1, SeqCst);
        }
    }

    fn try_once(&self, client: &Client, body: &[u8]) -> bool {
        self.sent.fetch_add(1, SeqCst);
        let answer = match write::send(client, body.to_vec()) {
            Ok(answer) => answer,
            Err(error) => {
                self.unanswered.fetch_add(1, SeqCst);
                self.first_unanswered.lock().expect("no panic").get_or_insert(error);
                return false;
            }
        };
        match answer.status {
            204 => return true,
            503 | 429 => {
                self.put_off.fetch_add(1, SeqCst);
                self.put_off_without_hint.fetch_add(u64::from(answer.retry_after.is_none()), SeqCst);
                self.first_refusal.lock().expect("no panic").get_or_insert_with(|| answer.text());
            }
            status => panic!("{SUITE}: status {status}: {}", answer.text()),
        }
        false
    }

    fn request(&self, sender: usize, number: u64) -> Vec<u8> {
        let mut request = Request::default();
        for series in 0..SERIES {
            let labels = [
                ("__name__", "loud".to_owned()),
                ("sender", sender.to_string()),
                ("series", series.to_string()),
            ];
            let samples = (0..SAMPLES).map(|sample| {
                let ts = self.base + number as i64 * REQUEST_MS + (sample as i64 + 1) * SPACING_MS;
                (ts, value_of(sender, series, number, sample))
            });
            request.encoded_series(&encode_labels(&labels), &samples.collect::<Vec<_>>());
        }
        request.body()
    }

    fn requests_acknowledged(&self) -> u64 {
        self.acknowledged.iter().map(|requests| requests.load(SeqCst)).sum()
    }

    fn report(&self) {
        let (sent, taken) = (self.sent.load(SeqCst), self.requests_acknowledged());
        say(&format!(
            "{SUITE}: {SENDERS} senders for {:.0} s: {sent} requests of {REQUEST_SAMPLES} samples, {taken} acknowledged \
             ({:.0} samples/s), {} put off ({}), {} unanswered",
            self.begun.elapsed().as_secs_f64(),
            (taken * REQUEST_SAMPLES) as f64 / (WARM_UP + load_time()).as_secs_f64(),
            self.put_off.load(SeqCst),
            self.first_refusal.lock().expect("no panic").as_deref().unwrap_or("nothing").trim(),
            self.unanswered.load(SeqCst)
        ));
    }

    fn check_refusals(&self) {
        assert_eq!(self.put_off_without_hint.load(SeqCst), 0, "{SUITE}: refused without Retry-After");
        let (sent, taken) = (self.sent.load(SeqCst), self.requests_acknowledged());
        let (unanswered, first) =
            (self.unanswered.load(SeqCst), self.first_unanswered.lock().expect("no panic"));
        // A request may be sent on a kept connection at the moment in which its server closes it; nobody can answer
        // that one. Refusals that are lost on the way were ten times as many.
        let lost = format!("{SUITE}: {unanswered} of {sent} requests without an answer, first: {first:?}");
        assert!(unanswered * 2_000 <= sent, "{lost}");
        assert!(sent >= 2 * taken, "{SUITE}: {sent} requests were sent and {taken} taken, no overload");
    }

    /// Counts and sums of each sender by the minute.
    fn check_samples(&self, client: &Client) {
        let begun = Instant::now();
        for (sender, acknowledged) in self.acknowledged.iter().enumerate() {
            let (client, requests) = (client.with_tenant(&tenant_of(sender)), acknowledged.load(SeqCst));
            assert!(requests > 0, "{SUITE}: nothing of sender {sender} was taken");
            let windows = requests.div_ceil(WINDOW_REQUESTS);
            for first in (0..windows).step_by(WINDOWS_AT_ONCE as usize) {
                let last = (first + WINDOWS_AT_ONCE).min(windows) - 1;
                self.check_windows(&client, sender, requests, first, last);
            }
        }
        say(&format!(
            "{SUITE}: all {} samples are there ({:.1} s)",
            self.requests_acknowledged() * REQUEST_SAMPLES,
            begun.elapsed().as_secs_f64()
        ));
    }

    fn check_windows(&self, client: &Client, sender: usize, requests: u64, first: u64, last: u64) {
        let ends = |window: u64| self.base + (window as i64 + 1) * WINDOW_MS;
        let (mut counts, mut sums) = (Vec::new(), Vec::new());
        for window in first..=last {
            let numbers = window * WINDOW_REQUESTS..((window + 1) * WINDOW_REQUESTS).min(requests);
            counts.push((ends(window), ((numbers.end - numbers.start) * REQUEST_SAMPLES) as f64));
            let sum = numbers.map(|number| sum_of(sender, number)).sum::<f64>();
            sums.push((ends(window), sum));
        }
        for (function, sent) in [("count_over_time", counts), ("sum_over_time", sums)] {
            let query = format!("sum({function}(loud{{sender=\"{sender}\"}}[{WINDOW_MS}ms]))");
            let found = by_step(client, &query, ends(first), ends(last), WINDOW_MS);
            let found = found.into_values().next().unwrap_or_default();
            assert!(found == sent, "{SUITE}: {query}: {found:?} instead of {sent:?}");
        }
    }
}

fn value_of(sender: usize, series: u64, number: u64, sample: u64) -> f64 {
    noise(((sender as u64 * SERIES + series) << 40) + number * SAMPLES + sample, VALUE_BITS)
}

fn sum_of(sender: usize, number: u64) -> f64 {
    let of_series = |series| (0..SAMPLES).map(|sample| value_of(sender, series, number, sample)).sum::<f64>();
    (0..SERIES).map(of_series).sum()
}

fn by_step(client: &Client, query: &str, start: i64, end: i64, step: i64) -> Matrix {
    let [start, end, step] = [start, end, step].map(|ms| (ms / 1_000).to_string());
    let fields = [("query", query), ("start", &start), ("end", &end), ("step", &step)];
    let answer = client.form("/api/v1/query_range", &fields).expect("an answer");
    assert!(answer.json()["warnings"].is_null(), "{query}: {}", answer.json()["warnings"]);
    answers::matrix(&answer)
}

// --- The quiet tenant ---

const QUIET_SERIES: usize = 20;
const QUIET_HISTORY: Duration = Duration::from_secs(300);
const WRITE_INTERVAL: Duration = Duration::from_secs(1);
const ASK_INTERVAL: Duration = Duration::from_millis(150);

/// A tenant who writes and asks steadily, before the load and beside it.
struct Quiet {
    loaded: AtomicBool,
    stop: AtomicBool,
    writes: [Mutex<Vec<Duration>>; 2],
    questions: [Mutex<Vec<Duration>>; 2],
    writes_put_off: AtomicU64,
    /// Questions that were not answered with what was asked.
    failures: Mutex<Vec<String>>,
}

impl Quiet {
    fn new() -> Self {
        let times = || [Mutex::default(), Mutex::default()];
        let flag = || AtomicBool::new(false);
        let (writes, questions, failures) = (times(), times(), Mutex::default());
        Self { loaded: flag(), stop: flag(), writes, questions, writes_put_off: AtomicU64::new(0), failures }
    }

    fn client(client: &Client) -> Client {
        client.with_tenant("quiet")
    }

    fn request(from: i64, to: i64) -> Vec<u8> {
        let mut request = Request::default();
        let samples: Vec<(i64, f64)> =
            (from / 1_000..=to / 1_000).map(|second| (second * 1_000, second as f64)).collect();
        for series in 0..QUIET_SERIES {
            request.series(&[("__name__", "quiet"), ("series", &series.to_string())], &samples);
        }
        request.body()
    }

    fn fill(&self, client: &Client) {
        let now = now_ms();
        let body = Self::request(now - QUIET_HISTORY.as_millis() as i64, now);
        assert_eq!(write::send(&Self::client(client), body).expect("an answer").status, 204);
    }

    fn phase(&self) -> usize {
        usize::from(self.loaded.load(SeqCst))
    }

    fn write(&self, client: &Client) {
        let client = Self::client(client);
        while !self.stop.load(SeqCst) {
            let (body, begun) = (Self::request(now_ms(), now_ms()), Instant::now());
            let phase = self.phase();
            while !self.stop.load(SeqCst) {
                let answer = write::send(&client, body.clone()).expect("an answer");
                if answer.status == 204 {
                    self.writes[phase].lock().expect("no panic").push(begun.elapsed());
                    break;
                }
                assert_eq!((answer.status, answer.retry_after.is_some()), (503, true), "{}", answer.text());
                self.writes_put_off.fetch_add(1, SeqCst);
                pause(Duration::from_millis(100));
            }
            pause(WRITE_INTERVAL.saturating_sub(begun.elapsed()));
        }
    }

    fn ask(&self, client: &Client) {
        let client = Self::client(client);
        while !self.stop.load(SeqCst) {
            let phase = self.phase();
            let (to, begun) = (now_ms() - 10_000, Instant::now());
            let from = to - QUIET_HISTORY.as_millis() as i64 / 2;
            let [start, end] = [from, to].map(|ms| (ms / 1_000).to_string());
            let query = "sum by (series) (rate(quiet[1m]))";
            let fields = [("query", query), ("start", &start), ("end", &end), ("step", "15")];
            let answer = client.form("/api/v1/query_range", &fields);
            let took = begun.elapsed();
            match answer {
                Ok(answer) if answer.status == 200 && answers::matrix(&answer).len() == QUIET_SERIES => {
                    self.questions[phase].lock().expect("no panic").push(took);
                }
                Ok(answer) => self.failed(answer.text()),
                Err(error) => self.failed(error),
            }
            pause(ASK_INTERVAL);
        }
    }

    fn failed(&self, why: String) {
        self.failures.lock().expect("no panic").push(why);
    }

    fn report(&self) {
        let [alone, beside] = self.questions.each_ref().map(Spread::of);
        let [write_alone, write_beside] = self.writes.each_ref().map(Spread::of);
        let failures = self.failures.lock().expect("no panic");
        say(&format!(
            "{SUITE}: questions of the quiet tenant alone {alone}, beside the load {beside}: {:.2} times the median; \
             {} failed",
            beside.median.as_secs_f64() / alone.median.as_secs_f64(),
            failures.len()
        ));
        say(&format!(
            "{SUITE}: its writes alone {write_alone}, beside the load {write_beside}; {} put off",
            self.writes_put_off.load(SeqCst)
        ));
    }

    fn check(&self) {
        let failures = self.failures.lock().expect("no panic");
        assert!(failures.is_empty(), "{SUITE}: {} questions failed, first {}", failures.len(), failures[0]);
        for (what, times, median_max) in
            [("questions", &self.questions, ANSWER_MAX), ("writes", &self.writes, ACKNOWLEDGE_MAX)]
        {
            let [alone, beside] = times.each_ref().map(Spread::of);
            let median_max = median_max.max(alone.median * BUSY_MAX);
            assert!(beside.n > 0 && beside.median <= median_max, "{SUITE}: {what} beside the load: {beside}");
        }
    }
}

/// How long something took, often.
struct Spread {
    n: usize,
    median: Duration,
    p90: Duration,
    max: Duration,
}

impl Spread {
    fn of(times: &Mutex<Vec<Duration>>) -> Self {
        let mut times = times.lock().expect("no panic").clone();
        times.sort_unstable();
        let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
        Self { n: times.len(), median: at(0.5), p90: at(0.9), max: times.last().copied().unwrap_or_default() }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [median, p90, max] = [self.median, self.p90, self.max].map(|time| time.as_secs_f64() * 1e3);
        write!(f, "{median:.0} ms ({} times, 90 of 100 within {p90:.0}, at most {max:.0})", self.n)
    }
}
