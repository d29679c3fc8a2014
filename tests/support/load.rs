//! A load of remote writes in which every sample says whose it is, and the checker of what comes back.
//!
//! Words:
//! - a *steady* sender repeats a request until it is acknowledged and only then goes on; a *fickle*
//!   one never repeats, so of what was not acknowledged to it each sample may be there or not;
//! - a steady sender sends some requests *again* although they were acknowledged, as one whose
//!   acknowledgement was lost, so that the same samples lie in several segments and blocks;
//! - a request is *acknowledged* by a 2xx, *put off* by a 503 or 429, *unanswered* if nothing came
//!   back; of the last two it is unknown whether its samples are there;
//! - the *asker* asks while the load runs and everything else is being killed.
//!
//! Rules, counted in [`Findings`]:
//! - `lost` (P1, P2): a sample that was acknowledged, or that was there before, is not there.
//! - `duplicated` (P2): a timestamp is there twice in a series, or counts and sums by
//!   `count_over_time` or SQL are above those of the samples themselves.
//! - `altered` (P2): a value is not the one that was sent for its series and timestamp.
//! - `phantom` (P3): a series or timestamp that nobody sent.
//! - `disagreements`: `count_over_time`, `sum_over_time` or SQL tell something else than the samples.
//!
//! From series and timestamp alone [`value_of`] gives the value, so a sample that was mixed up,
//! shifted or invented shows in any answer. Values are so small that their sums are exact in a
//! double, in any order: sums can be compared bit by bit.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::answers;
use super::clock::{now_ms, pause, wait_for};
use super::http::{Answer, Client};
use super::write::{self, Request, encode_labels};

const STEADY_SENDERS: u64 = 10;
const FICKLE_SENDERS: u64 = 2;
/// Senders of one load.
pub const SENDERS: u64 = STEADY_SENDERS + FICKLE_SENDERS;
/// Series of one sender in one request.
const SERIES: u64 = 500;
/// Samples of each series in one request.
const SAMPLES: u64 = 10;
/// Samples of one request.
const REQUEST_SAMPLES: u64 = SERIES * SAMPLES;
/// Between two samples of a series: data is as old at the end of a load as at its beginning, because
/// a sender makes about one request a second.
const SPACING_MS: i64 = 100;
/// Of one request.
const REQUEST_MS: i64 = SAMPLES as i64 * SPACING_MS;
/// Requests after which a sender goes on with new series, so that kills also meet fresh labels.
const GENERATION: u64 = 7;
/// How far in the past the load begins; as long as a load may last.
const BEGIN_AGO_MS: i64 = 2 * 3_600_000;
/// Pause of a sender before it repeats a request, or goes on after one that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// A steady sender sends each so many-th request again.
const AGAIN: u64 = 8;
/// No request stays unacknowledged for longer once the load has ended.
const ACKNOWLEDGE_DEADLINE: Duration = Duration::from_secs(180);
/// Requests that the checker reads at once: a quarter of a million samples.
const CHUNK_REQUESTS: u64 = 7 * GENERATION;
/// How many violations are told of one check.
const TOLD_MAX: usize = 10;

/// What senders, asker and the test share.
pub struct Load {
    /// Timestamp of every series' first possible sample.
    base: i64,
    stop: AtomicBool,
    requests_acknowledged: AtomicU64,
    /// Of each steady sender: as many of its first requests are acknowledged.
    steady_acknowledged: Vec<AtomicU64>,
    put_off: AtomicU64,
    put_off_without_hint: AtomicU64,
    unanswered: AtomicU64,
    slowest_put_off_ms: AtomicU64,
    /// When the store was seen away last.
    store_away: Mutex<Option<Instant>>,
}

/// What became of the requests so far.
#[derive(Clone, Copy, Debug)]
pub struct Writes {
    /// Samples that were acknowledged.
    pub samples: u64,
    /// Requests answered with 503 or 429.
    pub put_off: u64,
    /// Those of them without a `Retry-After`.
    pub put_off_without_hint: u64,
    /// Requests without an answer.
    pub unanswered: u64,
    /// The longest time until a request was put off.
    pub slowest_put_off: Duration,
}

impl Load {
    /// A load that nobody sends yet.
    pub fn new() -> Self {
        Self {
            base: now_ms() - BEGIN_AGO_MS,
            stop: AtomicBool::new(false),
            requests_acknowledged: AtomicU64::new(0),
            steady_acknowledged: (0..STEADY_SENDERS).map(|_| AtomicU64::new(0)).collect(),
            put_off: AtomicU64::new(0),
            put_off_without_hint: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            slowest_put_off_ms: AtomicU64::new(0),
            store_away: Mutex::new(None),
        }
    }

    /// Says that the store does not answer now, so that readers may lag behind for a while.
    pub fn store_is_away(&self) {
        *self.store_away.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn store_was_away(&self) -> bool {
        let away = *self.store_away.lock().unwrap_or_else(PoisonError::into_inner);
        away.is_some_and(|at| at.elapsed() < LAG_AFTER_OUTAGE)
    }

    /// Sends to `writer` and asks `reader` while `body` runs; answers who sent and what was answered.
    ///
    /// # Panics
    /// If a write is refused for good.
    pub fn run(
        &self,
        writer: &Client,
        reader: &Client,
        questions: Questions,
        body: impl FnOnce(),
    ) -> (Vec<Sender>, Asked) {
        std::thread::scope(|scope| {
            // Also when an assertion of `body` fails, or the scope would wait for ever.
            let stop = StopOnDrop(self);
            let sending: Vec<_> =
                (0..SENDERS).map(|id| scope.spawn(move || Sender::new(id).run(writer, self))).collect();
            let asking = scope.spawn(|| ask(reader, self, questions));
            body();
            drop(stop);
            let senders = sending.into_iter().map(|thread| thread.join().expect("a sender ends"));
            (senders.collect(), asking.join().expect("the asker ends"))
        })
    }

    /// What became of the requests so far.
    pub fn writes(&self) -> Writes {
        Writes {
            samples: self.requests_acknowledged.load(Relaxed) * REQUEST_SAMPLES,
            put_off: self.put_off.load(Relaxed),
            put_off_without_hint: self.put_off_without_hint.load(Relaxed),
            unanswered: self.unanswered.load(Relaxed),
            slowest_put_off: Duration::from_millis(self.slowest_put_off_ms.load(Relaxed)),
        }
    }

    /// Waits until `n` more requests are acknowledged; answers how long that took.
    ///
    /// # Panics
    /// If it takes longer than `deadline`.
    pub fn wait_for_requests(&self, n: u64, deadline: Duration) -> Duration {
        let (started, before) = (Instant::now(), self.requests_acknowledged.load(Relaxed));
        wait_for("requests to be acknowledged", deadline, || {
            let since = self.requests_acknowledged.load(Relaxed) - before;
            if since >= n { Ok(()) } else { Err(format!("{since} of {n}")) }
        });
        started.elapsed()
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Relaxed)
    }

    /// Before the first sample of a request.
    fn begin_of(&self, request: u64) -> i64 {
        self.base + request as i64 * REQUEST_MS - 1
    }
}

/// Ends the load when dropped.
struct StopOnDrop<'a>(&'a Load);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Relaxed);
    }
}

// --- Senders ---

/// One sender, and what it knows about its requests.
pub struct Sender {
    id: u64,
    /// Requests made so far; the number of the next one.
    requests: u64,
    /// Requests of which it is not known whether they were taken, with the samples seen of them.
    unknown: BTreeMap<u64, u64>,
}

impl Sender {
    fn new(id: u64) -> Self {
        Self { id, requests: 0, unknown: BTreeMap::new() }
    }

    fn is_fickle(&self) -> bool {
        self.id >= STEADY_SENDERS
    }

    /// Sends until the load stops; a steady sender ends with everything acknowledged.
    fn run(mut self, client: &Client, load: &Load) -> Self {
        while load.goes_on() {
            let body = self.request(self.requests, load.base);
            if self.send(client, &body, load) {
                load.requests_acknowledged.fetch_add(1, Relaxed);
            } else {
                self.unknown.insert(self.requests, 0);
                pause(RETRY_PAUSE);
            }
            self.requests += 1;
            if let Some(counter) = load.steady_acknowledged.get(self.id as usize) {
                counter.store(self.requests, Relaxed);
            }
        }
        self
    }

    /// Sends as often as this sender does; true if it was acknowledged at last.
    fn send(&self, client: &Client, body: &[u8], load: &Load) -> bool {
        let mut acknowledged = try_once(client, body, load);
        if self.is_fickle() {
            return acknowledged;
        }
        if (self.requests + self.id).is_multiple_of(AGAIN) {
            acknowledged = try_once(client, body, load);
        }
        let mut stopped = None;
        while !acknowledged {
            if !load.goes_on() {
                let since = stopped.get_or_insert_with(Instant::now).elapsed();
                assert!(since < ACKNOWLEDGE_DEADLINE, "sender {} is not acknowledged", self.id);
            }
            pause(RETRY_PAUSE);
            acknowledged = try_once(client, body, load);
        }
        true
    }

    fn request(&self, number: u64, base: i64) -> Vec<u8> {
        let mut request = Request::default();
        let generation = (number / GENERATION).to_string();
        for series in 0..SERIES {
            let labels = encode_labels(&labels_of(self.id, &generation, &series.to_string()));
            let samples: Vec<(i64, f64)> = indices(number)
                .map(|index| (base + index as i64 * SPACING_MS, value_of(self.id, series, index)))
                .collect();
            request.encoded_series(&labels, &samples);
        }
        request.body()
    }
}

/// True if the request was acknowledged.
fn try_once(client: &Client, body: &[u8], load: &Load) -> bool {
    let started = Instant::now();
    match write::send(client, body.to_vec()) {
        Ok(answer) if answer.status / 100 == 2 => return true,
        Ok(answer) if answer.status == 503 || answer.status == 429 => {
            load.put_off.fetch_add(1, Relaxed);
            load.put_off_without_hint.fetch_add(u64::from(answer.retry_after.is_none()), Relaxed);
            load.slowest_put_off_ms.fetch_max(started.elapsed().as_millis() as u64, Relaxed);
        }
        Ok(answer) => panic!("status {}: {}", answer.status, answer.text()),
        Err(_) => {
            load.unanswered.fetch_add(1, Relaxed);
        }
    }
    false
}

/// Names and values of a series, in the order in which they are sent.
fn labels_of(sender: u64, generation: &str, series: &str) -> [(&'static str, String); 5] {
    [
        ("__name__", "load".to_owned()),
        ("generation", generation.to_owned()),
        ("job", "kill".to_owned()),
        ("sender", sender.to_string()),
        ("series", series.to_owned()),
    ]
}

/// The sample indices of one request.
fn indices(request: u64) -> Range<u64> {
    request * SAMPLES..(request + 1) * SAMPLES
}

/// Whose sample it is: 4 bits of the sender, 9 of the series, the last 15 of the index.
///
/// Below 2^28, so a sum of 2^25 of them is exact in a double.
fn value_of(sender: u64, series: u64, index: u64) -> f64 {
    ((sender << 24) | (series << 15) | (index & 0x7fff)) as f64
}

// --- The checker ---

/// What a check found; clean if nothing is wrong.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Samples that are there and right.
    pub samples: u64,
    /// Acknowledged, or seen before, and not there.
    pub lost: u64,
    /// There more than once.
    pub duplicated: u64,
    /// With another value than was sent.
    pub altered: u64,
    /// Sent by nobody.
    pub phantom: u64,
    /// Ways of reading that tell something else than the samples.
    pub disagreements: u64,
    /// The first violations in words.
    pub told: Vec<String>,
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, lost, duplicated, altered, phantom, disagreements, .. } = self;
        write!(
            f,
            "{samples} samples, {lost} lost, {duplicated} duplicated, {altered} altered, \
             {phantom} never sent, {disagreements} disagreements"
        )
    }
}

impl Findings {
    /// True if nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.altered + self.phantom + self.disagreements == 0
    }

    /// # Panics
    /// With what was found, if something is wrong.
    pub fn assert_clean(&self, suite: &str) {
        assert!(self.is_clean(), "{suite}: {self}:\n{}", self.told.join("\n"));
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.told.len() < TOLD_MAX {
            self.told.push(what());
        }
    }
}

/// Reads everything of all senders back, in three ways.
pub fn check(senders: &mut [Sender], client: &Client, load: &Load) -> Findings {
    let mut findings = Findings::default();
    for sender in senders {
        let (count, sum) = sender.check_samples(client, load, &mut findings);
        sender.check_promql(client, load, count, sum, &mut findings);
        sender.check_sql(client, load, count, sum, &mut findings);
    }
    findings
}

impl Sender {
    /// Compares every sample; answers how many there are, and their sum.
    fn check_samples(&mut self, client: &Client, load: &Load, findings: &mut Findings) -> (u64, f64) {
        let mut found = vec![0_u64; self.requests as usize];
        let mut sum = 0.0;
        let mut first = 0;
        loop {
            let end = first + CHUNK_REQUESTS;
            let is_last = end >= self.requests;
            // The first and the last chunk reach far beyond what was sent: nothing may be there.
            let from = load.begin_of(first) - if first == 0 { BEGIN_AGO_MS } else { 0 };
            let to = load.begin_of(end) + if is_last { BEGIN_AGO_MS } else { 0 };
            let selector = format!("load{{sender=\"{}\"}}[{}ms]", self.id, to - from);
            let matrix = answers::matrix(&instant(client, &selector, to));
            for (labels, samples) in &matrix {
                sum += self.check_series(labels, samples, load, &mut found, findings);
            }
            if is_last {
                break;
            }
            first = end;
        }
        self.check_requests(&found, findings);
        (found.iter().sum(), sum)
    }

    /// Counts the right samples by request; answers their sum.
    fn check_series(
        &self,
        labels: &str,
        samples: &[(i64, f64)],
        load: &Load,
        found: &mut [u64],
        findings: &mut Findings,
    ) -> f64 {
        let mut sum = 0.0;
        let Some((generation, series)) = self.parse(labels) else {
            findings.phantom += samples.len() as u64;
            findings.tell(|| format!("nobody sent {labels}"));
            return sum;
        };
        let mut before = i64::MIN;
        for (ts, value) in samples {
            let offset = ts - load.base;
            let index = (offset.rem_euclid(SPACING_MS) == 0).then_some(offset.div_euclid(SPACING_MS));
            let index = index.and_then(|index| u64::try_from(index).ok());
            let request = index.map(|index| index / SAMPLES);
            let sent =
                request.filter(|request| *request < self.requests && request / GENERATION == generation);
            match (sent, index) {
                _ if *ts <= before => {
                    findings.duplicated += 1;
                    findings.tell(|| format!("{ts} comes after {before} in {labels}"));
                }
                (Some(request), Some(index)) if *value == value_of(self.id, series, index) => {
                    found[request as usize] += 1;
                    findings.samples += 1;
                    sum += value;
                }
                (Some(_), _) => {
                    findings.altered += 1;
                    findings.tell(|| format!("{value} at {ts} in {labels} is not what was sent"));
                }
                (None, _) => {
                    findings.phantom += 1;
                    findings.tell(|| format!("{ts} was never sent in {labels}"));
                }
            }
            before = *ts;
        }
        sum
    }

    /// Generation and number of a series of this sender.
    fn parse(&self, labels: &str) -> Option<(u64, u64)> {
        let map: BTreeMap<String, String> = serde_json::from_str(labels).ok()?;
        let (generation, series) = (map.get("generation")?, map.get("series")?);
        let expected = labels_of(self.id, generation, series);
        let same = map.len() == expected.len()
            && expected.iter().all(|(name, value)| map.get(*name).is_some_and(|found| found == value));
        let series = series.parse().ok().filter(|series| same && *series < SERIES)?;
        Some((generation.parse().ok()?, series))
    }

    fn check_requests(&mut self, found: &[u64], findings: &mut Findings) {
        for (request, found) in (0_u64..).zip(found) {
            // Unacknowledged and partly there is allowed: the promise is about samples. But what was
            // seen once must stay.
            let expected = match self.unknown.get_mut(&request) {
                None => REQUEST_SAMPLES,
                Some(seen) => std::mem::replace(seen, (*seen).max(*found)),
            };
            if *found < expected {
                findings.lost += expected - found;
                findings.tell(|| format!("request {request} of sender {}: {found} of {expected}", self.id));
            }
        }
    }

    fn check_promql(&self, client: &Client, load: &Load, count: u64, sum: f64, findings: &mut Findings) {
        let (from, to) = (load.base - BEGIN_AGO_MS, load.begin_of(self.requests) + BEGIN_AGO_MS);
        let value = |function: &str| {
            let query = format!("sum({function}(load{{sender=\"{}\"}}[{}ms]))", self.id, to - from);
            answers::one_value(&instant(client, &query, to)).unwrap_or(0.0)
        };
        let told = (value("count_over_time"), value("sum_over_time"));
        self.compare("count_over_time and sum_over_time", told, (count as f64, sum), findings);
    }

    fn check_sql(&self, client: &Client, load: &Load, count: u64, sum: f64, findings: &mut Findings) {
        let told = count_and_sum_by_sql(client, self.id, load.base - BEGIN_AGO_MS);
        self.compare("SQL", told, (count as f64, sum), findings);
    }

    fn compare(&self, way: &str, told: (f64, f64), right: (f64, f64), findings: &mut Findings) {
        if told == right {
            return;
        }
        findings.disagreements += 1;
        if told.0 > right.0 {
            findings.duplicated += (told.0 - right.0) as u64;
        }
        findings
            .tell(|| format!("{way}: count and sum of sender {} are {told:?} instead of {right:?}", self.id));
    }
}

/// How many samples of a sender SQL finds since `from`, and their sum.
fn count_and_sum_by_sql(client: &Client, sender: u64, from: i64) -> (f64, f64) {
    let query = format!(
        "SELECT count(*) AS n, sum(value) AS total FROM samples WHERE name = 'load' \
         AND labels['sender'] = '{sender}' AND ts >= to_timestamp_millis({from})"
    );
    let answer = client.form("/api/v1/sql", &[("query", &query)]).expect("an answer to SQL");
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    let json = answer.json();
    let row = &json["data"]["rows"][0];
    let count = row[0].as_f64().unwrap_or_else(|| panic!("{query}: {}", answer.text()));
    // The sum of no rows is null.
    (count, row[1].as_f64().unwrap_or(0.0))
}

fn instant(client: &Client, query: &str, time_ms: i64) -> Answer {
    let time = seconds(time_ms);
    client.form("/api/v1/query", &[("query", query), ("time", &time)]).expect("an answer")
}

/// A timestamp as the API takes it.
fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1_000), ms.rem_euclid(1_000))
}

// --- The asker ---

/// Between two questions.
const ASK_INTERVAL: Duration = Duration::from_millis(500);
/// How long after an outage a reader may still lag behind.
const LAG_AFTER_OUTAGE: Duration = Duration::from_secs(15);
/// The newest requests of a sender that one question is about.
const ASKED_REQUESTS: u64 = 60;

/// What holds for every question.
#[derive(Clone, Copy, Debug)]
pub struct Questions {
    /// What was acknowledged so long ago is in every answer without a warning.
    pub seen_after: Duration,
    /// The same while, and shortly after, the store is away.
    pub seen_after_outage: Duration,
    /// No answer takes longer.
    pub answer_max: Duration,
}

/// What became of the questions that were asked while the load ran.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Answers without a warning; each held exactly what it had to.
    pub complete: u64,
    /// Answers with a warning; none held too much.
    pub warned: u64,
    /// Errors by their type.
    pub errors: BTreeMap<String, u64>,
    /// Questions without an answer.
    pub unanswered: u64,
    /// The longest time of one question.
    pub slowest: Duration,
    /// What was wrong.
    pub wrong: Vec<String>,
}

impl Asked {
    /// # Panics
    /// With what was wrong, if something was.
    pub fn assert_right(&self, suite: &str) {
        let told = &self.wrong[..self.wrong.len().min(TOLD_MAX)];
        assert!(told.is_empty(), "{suite}: {} answers are wrong:\n{}", self.wrong.len(), told.join("\n"));
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { complete, warned, errors, unanswered, slowest, wrong } = self;
        write!(
            f,
            "{complete} answered in full, {warned} with warnings, errors {errors:?}, \
             {unanswered} unanswered, {} wrong, {:.1} s at most",
            wrong.len(),
            slowest.as_secs_f64()
        )
    }
}

/// Asks how many samples of a sender there are until the load ends.
fn ask(client: &Client, load: &Load, questions: Questions) -> Asked {
    let mut asked = Asked::default();
    let mut history: VecDeque<(Instant, Vec<u64>)> = VecDeque::new();
    for sender in (0..STEADY_SENDERS).cycle() {
        if !load.goes_on() {
            break;
        }
        let known = load.steady_acknowledged.iter().map(|counter| counter.load(Relaxed)).collect();
        history.push_back((Instant::now(), known));
        while history.get(1).is_some_and(|(at, _)| at.elapsed() >= questions.seen_after_outage) {
            history.pop_front();
        }
        let seen_after =
            if load.store_was_away() { questions.seen_after_outage } else { questions.seen_after };
        let seen = history.iter().rev().find(|(at, _)| at.elapsed() >= seen_after);
        if let Some((_, known)) = seen {
            ask_once(client, load, sender, known[sender as usize], questions.answer_max, &mut asked);
        }
        pause(ASK_INTERVAL);
    }
    asked
}

/// The first `requests` requests of the sender are acknowledged.
fn ask_once(
    client: &Client,
    load: &Load,
    sender: u64,
    requests: u64,
    answer_max: Duration,
    asked: &mut Asked,
) {
    let first = requests.saturating_sub(ASKED_REQUESTS);
    let (from, to) = (load.begin_of(first), load.begin_of(requests));
    if requests == first {
        return;
    }
    let query = format!("sum(count_over_time(load{{sender=\"{sender}\"}}[{}ms]))", to - from);
    let started = Instant::now();
    let answer = client.form("/api/v1/query", &[("query", &query), ("time", &seconds(to))]);
    let took = started.elapsed();
    asked.slowest = asked.slowest.max(took);
    if took > answer_max {
        asked.wrong.push(format!("{query} at {to} took {took:?}"));
    }
    let Ok(answer) = answer else {
        asked.unanswered += 1;
        return;
    };
    let json = answer.json();
    if answer.status != 200 {
        let kind =
            json["errorType"].as_str().map_or_else(|| format!("status {}", answer.status), str::to_owned);
        *asked.errors.entry(kind).or_default() += 1;
        return;
    }
    let expected = ((requests - first) * REQUEST_SAMPLES) as f64;
    let count = answers::one_value(&answer).unwrap_or(0.0);
    let warned = !json["warnings"].is_null();
    if count > expected {
        asked.wrong.push(format!("{query} at {to}: {count} instead of {expected}, samples are there twice"));
    } else if count < expected && !warned {
        asked.wrong.push(format!("{query} at {to}: {count} instead of {expected}, and no warning"));
    } else if warned {
        asked.warned += 1;
    } else {
        asked.complete += 1;
    }
}
