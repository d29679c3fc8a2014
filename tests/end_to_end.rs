//! A real Prometheus scrapes itself, node-exporter and an exporter of shapes each second and
//! remote-writes at once to a Promontory over a folder and to one over a real MinIO; then all three
//! are asked the same questions, and DuckDB counts what lies in the files.
//!
//! Words: a *question* is one HTTP request to the query API; a *state* is where the answers come
//! from: *live* (while writes go on), *fresh* (the newest samples are not in a block yet), *flushed*
//! (everything is), *restarted* (another process reads what the first one left).
//!
//! 1. Start everything, scrape for a while; pause the scrapes until every shard of both senders has
//!    had its last sample acknowledged; resume. The pause also leaves a gap and stale markers.
//! 2. Live: ask about the time up to that pause while writes go on.
//! 3. Scrape on until two blocks have been committed, pause again, remember Prometheus' answers.
//! 4. Compare fresh, then flushed; SIGTERM; compare DuckDB's count; start again; compare restarted.
//!
//! No question reaches beyond the last sample before a pause, which is acknowledged by every shard.
//!
//! `PROMONTORY_E2E_SECONDS` (default 150) is how long is scraped in all.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::answers::{self, Order};
use crate::support::clock::{pause, wait_for};
use crate::support::http::{Answer, Client};
use crate::support::program::Program;
use crate::support::servers::{Exporter, Minio, Prometheus, Promontory, Store, start_node_exporter};
use crate::support::tools::{repository, tool};
use crate::support::workdir::Workdir;
use crate::support::{say, setting, skipped};

const SUITE: &str = "end_to_end";
const EXPRESSIONS: &str = include_str!("end_to_end.promql");
/// Short, so that blocks of both levels and fresh samples exist within the suite's time.
const FLAGS: [&str; 3] =
    ["--ingester.block-interval=30s", "--ingester.flush-interval=1s", "--compactor.l2-after=60s"];
/// Longer than a block interval with its spread.
const BLOCK_DEADLINE: Duration = Duration::from_secs(120);
/// How many differences are printed of one comparison.
const DIFFERENCES_TOLD: usize = 60;

#[test]
fn prometheus_gets_its_own_answers_back() {
    let (prometheus, node_exporter) = match (tool("prometheus"), tool("node-exporter")) {
        (Ok(prometheus), Ok(node_exporter)) => (prometheus, node_exporter),
        (Err(reason), _) | (_, Err(reason)) => return skipped(SUITE, &reason),
    };
    let minio = tool("minio").map_err(|reason| skipped("end_to_end over MinIO", &reason)).ok();
    let workdir = Workdir::new(SUITE);
    let mut trip = Trip::start(&workdir, &prometheus, &node_exporter, minio.as_deref());
    trip.record();
    trip.compare_fresh_and_flushed();
    trip.stop_and_count(&workdir);
    trip.compare_restarted();
    assert_eq!(trip.n_different, 0, "answers that differ from Prometheus'");
}

/// The running programs and what was learnt from Prometheus.
struct Trip {
    prometheus: Prometheus,
    servers: Vec<Promontory>,
    stores: Vec<Store>,
    /// Samples found in the whole recording, stale markers left out.
    n_samples: usize,
    /// Timestamp of the last sample before the first pause.
    mid: i64,
    /// Timestamp of the last sample before the second pause.
    end: i64,
    questions: Vec<Question>,
    expected: Vec<Answer>,
    /// Answers that were not Prometheus', in all states so far.
    n_different: usize,
    _minio: Option<Minio>,
    _node_exporter: Program,
    _exporter: Exporter,
}

impl Trip {
    fn start(workdir: &Workdir, prometheus: &Path, node_exporter: &Path, minio: Option<&Path>) -> Self {
        let folder = workdir.path();
        let minio = minio.map(|binary| Minio::start(binary, folder));
        let mut stores = vec![Store::folder(&workdir.join("local"))];
        stores.extend(minio.as_ref().map(|minio| Store::minio(minio, "end-to-end")));
        let names = ["local", "minio"];
        let servers: Vec<Promontory> = stores
            .iter()
            .zip(names)
            .map(|(store, name)| Promontory::start(name, folder, store, &FLAGS))
            .collect();
        let (node_exporter, node_port) = start_node_exporter(node_exporter, folder);
        let exporter = Exporter::start();
        let remotes: Vec<(&'static str, u16)> =
            names.into_iter().zip(servers.iter().map(Promontory::port)).collect();
        let mut prometheus = Prometheus::start(prometheus, folder, &remotes);
        prometheus.add_target("node", node_port);
        prometheus.add_target("shape", exporter.port);
        Self {
            prometheus,
            servers,
            stores,
            n_samples: 0,
            mid: 0,
            end: 0,
            questions: Vec::new(),
            expected: Vec::new(),
            n_different: 0,
            _minio: minio,
            _node_exporter: node_exporter,
            _exporter: exporter,
        }
    }

    /// Steps 1 to 3.
    fn record(&mut self) {
        let seconds = setting("PROMONTORY_E2E_SECONDS", 150);
        let started = Instant::now();
        self.prometheus.resume();
        pause(Duration::from_secs(seconds / 2));
        self.prometheus.pause();
        self.mid = self.newest_sample();
        self.prometheus.resume();
        self.compare_live();
        pause(Duration::from_secs(seconds).saturating_sub(started.elapsed()));
        // Right after a commit there is the most time until the next one takes the fresh samples.
        self.wait_for_commit();
        pause(Duration::from_secs(6));
        self.prometheus.pause();
        self.end = self.newest_sample();
        self.questions = questions(self.mid, self.end);
        self.expected = ask_all(&self.prometheus.client, &self.questions);
        self.check_that_the_questions_are_varied();
    }

    fn newest_sample(&self) -> i64 {
        let answer = self.prometheus.client.get("/api/v1/query", &[("query", "up{job=\"node\"}[1h]")]);
        let series = answers::matrix(&answer.expect("Prometheus answers"));
        let newest = series.values().flatten().map(|sample| sample.0).max();
        newest.expect("Prometheus has scraped node-exporter")
    }

    fn wait_for_commit(&self) {
        let before: Vec<_> = self.servers.iter().map(Promontory::block_files).collect();
        wait_for("a block of every Promontory to be committed", BLOCK_DEADLINE, || {
            pause(Duration::from_millis(300));
            let after: Vec<_> = self.servers.iter().map(Promontory::block_files).collect();
            let all = before.iter().zip(&after).all(|(before, after)| before != after);
            if all { Ok(()) } else { Err("the live set is the same".to_owned()) }
        });
    }

    /// Waits until blocks contain every sample. On a slow machine the last block may have been
    /// committed before anybody looked, so it is not a new block that is waited for.
    fn wait_for_flush(&self) {
        wait_for("the head of every Promontory to be empty", BLOCK_DEADLINE, || {
            pause(Duration::from_millis(300));
            let left: u64 = self.servers.iter().map(Promontory::unflushed_series).sum();
            if left == 0 { Ok(()) } else { Err(format!("{left} series are in no block")) }
        });
    }

    /// Step 2, with a part of the questions, about the time before the first pause.
    fn compare_live(&mut self) {
        let questions: Vec<Question> = questions(self.mid, self.mid).into_iter().step_by(7).collect();
        let expected = ask_all(&self.prometheus.client, &questions);
        self.compare("live", &questions, &expected);
    }

    fn check_that_the_questions_are_varied(&mut self) {
        let count = |status: u16| self.expected.iter().filter(|answer| answer.status == status).count();
        let filled = self.expected.iter().filter(|answer| answer.text().contains("\"value")).count();
        say(&format!(
            "{SUITE}: {} questions; Prometheus answers {filled} with samples, {} with 400, {} with 422",
            self.questions.len(),
            count(400),
            count(422),
        ));
        assert!(filled >= 400 && count(400) >= 40 && count(422) >= 10, "the questions have become too tame");
        let whole = answers::matrix(&self.everything(&self.prometheus.client));
        self.n_samples = whole.values().map(Vec::len).sum();
        say(&format!("{SUITE}: {} series with {} samples", whole.len(), self.n_samples));
        assert!(whole.len() > 500 && self.n_samples > 20_000, "too little was scraped");
    }

    /// Every sample up to the end, stale markers left out.
    fn everything(&self, client: &Client) -> Answer {
        let time = seconds(self.end);
        let query = [("query", "{__name__=~\".+\"}[2h]"), ("time", time.as_str())];
        client.form("/api/v1/query", &query).expect("an answer")
    }

    /// Step 4, the first half.
    fn compare_fresh_and_flushed(&mut self) {
        let before: Vec<_> = self.servers.iter().map(Promontory::unflushed_series).collect();
        self.compare_all("fresh");
        for (server, before) in self.servers.iter().zip(before) {
            let after = server.unflushed_series();
            let name = server.name();
            say(&format!("{SUITE}: {name}: {before} series were in no block before that, {after} after it"));
        }
        self.wait_for_flush();
        self.compare_all("flushed");
        self.compare_everything("flushed");
    }

    fn compare_everything(&self, state: &str) {
        let expected = self.everything(&self.prometheus.client);
        for server in &self.servers {
            let actual = self.everything(&server.client);
            let told = answers::difference(&expected, &actual, Order::Free);
            assert_eq!(told, None, "{state}: every sample of {}", server.name());
        }
    }

    /// Step 4: SIGTERM, and what an outside reader finds.
    fn stop_and_count(&mut self, workdir: &Workdir) {
        let counted: Vec<u64> = self.servers.iter().map(|server| self.count_over_time(server)).collect();
        for (server, counted) in self.servers.iter_mut().zip(&counted) {
            assert_eq!(*counted, self.n_samples as u64, "count_over_time of {}", server.name());
            let status = server.terminate();
            assert!(status.success(), "{} after SIGTERM: {status}", server.name());
        }
        let python = match tool("duckdb-python") {
            Ok(python) => python,
            Err(reason) => return skipped("end_to_end with DuckDB", &reason),
        };
        for ((server, store), counted) in self.servers.iter().zip(&self.stores).zip(counted) {
            let copies = workdir.folder(&format!("copies-of-{}", server.name()));
            let names = server.block_files();
            assert!(names.iter().any(|name| name.contains("/level=2/")), "no L2 block: {names:?}");
            let files = store.local_copies(&names, &copies);
            let (distinct, rows) = count_with_duckdb(&python, &files, self.end);
            say(&format!("{SUITE}: {}: DuckDB finds {distinct} samples in {rows} rows", server.name()));
            assert_eq!(distinct, counted, "distinct (series, ts) in the files of {}", server.name());
        }
    }

    /// The samples of all series by `count_over_time`, metric by metric: over all metrics at once it
    /// would be an error, because it drops the name.
    fn count_over_time(&self, server: &Promontory) -> u64 {
        let names = server.client.get("/api/v1/label/__name__/values", &[]).expect("an answer").json();
        let names: Vec<String> = serde_json::from_value(names["data"].clone()).expect("a list of names");
        let time = seconds(self.end);
        let count = |name: &String| {
            let query = format!("sum(count_over_time({{__name__=\"{name}\"}}[2h]))");
            let answer = server.client.get("/api/v1/query", &[("query", &query), ("time", &time)]);
            answers::one_value(&answer.expect("an answer")).unwrap_or(0.0) as u64
        };
        names.iter().map(count).sum()
    }

    /// Step 4: a new process over what the old one left.
    fn compare_restarted(&mut self) {
        for server in &mut self.servers {
            server.restart();
        }
        self.compare_all("restarted");
        self.compare_everything("restarted");
        for server in &mut self.servers {
            let status = server.terminate();
            assert!(status.success(), "{} after the second SIGTERM: {status}", server.name());
        }
    }

    fn compare_all(&mut self, state: &str) {
        let (questions, expected) = (std::mem::take(&mut self.questions), std::mem::take(&mut self.expected));
        self.compare(state, &questions, &expected);
        (self.questions, self.expected) = (questions, expected);
    }

    /// Counts what differs, so that a failure shows all states.
    fn compare(&mut self, state: &str, questions: &[Question], expected: &[Answer]) {
        let answers: Vec<(Vec<Answer>, Duration)> = std::thread::scope(|scope| {
            let asked: Vec<_> = self
                .servers
                .iter()
                .map(|server| {
                    scope.spawn(|| {
                        let started = Instant::now();
                        (ask_all(&server.client, questions), started.elapsed())
                    })
                })
                .collect();
            asked.into_iter().map(|thread| thread.join().expect("the questions are asked")).collect()
        });
        let mut told = Vec::new();
        for (server, (answers, took)) in self.servers.iter().zip(answers) {
            let before = told.len();
            for ((question, expected), answer) in questions.iter().zip(expected).zip(&answers) {
                if let Some(difference) = question.difference(expected, answer) {
                    told.push(format!("{state}, {}: {question}\n    {difference}", server.name()));
                }
            }
            say(&format!(
                "{SUITE}: {state}, {}: {} of {} answers are the same, {:.1} s",
                server.name(),
                questions.len() - (told.len() - before),
                questions.len(),
                took.as_secs_f64(),
            ));
        }
        for difference in told.iter().take(DIFFERENCES_TOLD) {
            say(difference);
        }
        self.n_different += told.len();
    }
}

/// One request to the query API.
struct Question {
    path: String,
    parameters: Vec<(&'static str, String)>,
    order: Order,
    method: Method,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Get,
    Post,
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.path)?;
        self.parameters.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

impl Question {
    fn new(path: &str, parameters: &[(&'static str, &str)]) -> Self {
        let parameters = parameters.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { path: path.to_owned(), parameters, order: Order::Free, method: Method::Get }
    }

    fn ask(&self, client: &Client) -> Answer {
        let parameters: Vec<(&str, &str)> = self.parameters.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let answer = match self.method {
            Method::Get => client.get(&self.path, &parameters),
            Method::Post => client.form(&self.path, &parameters),
        };
        answer.unwrap_or_else(|error| panic!("no answer to {self}: {error}"))
    }

    fn difference(&self, expected: &Answer, actual: &Answer) -> Option<String> {
        if self.path.ends_with("/series") {
            return answers::difference(&sorted(expected), &sorted(actual), self.order);
        }
        answers::difference(expected, actual, self.order)
    }
}

/// `/series` promises no order.
fn sorted(answer: &Answer) -> Answer {
    let mut json = answer.json();
    if let Some(entries) = json["data"].as_array_mut() {
        entries.sort_by_cached_key(ToString::to_string);
    }
    Answer { body: json.to_string().into_bytes(), ..answer.clone() }
}

fn ask_all(client: &Client, questions: &[Question]) -> Vec<Answer> {
    questions.iter().map(|question| question.ask(client)).collect()
}

/// All questions about the time up to `end`.
fn questions(mid: i64, end: i64) -> Vec<Question> {
    let mut all = Vec::new();
    for line in EXPRESSIONS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        expression_questions(line, mid, end, &mut all);
    }
    edge_questions(end, &mut all);
    parameter_questions(mid, end, &mut all);
    catalogue_questions(end, &mut all);
    for (k, question) in all.iter_mut().enumerate() {
        let postable = question.path.ends_with("/query") || question.path.ends_with("/query_range");
        question.method = if k % 3 == 0 && postable { Method::Post } else { Method::Get };
    }
    all
}

/// One expression at the newest sample, at one before it that is no sample's time, with a step that
/// puts both window edges on samples, and with one that does not, across the gap.
fn expression_questions(line: &str, mid: i64, end: i64, all: &mut Vec<Question>) {
    let (order, line) = match line.strip_prefix("sorted ") {
        Some(line) => (Order::Matters, line),
        None => (Order::Free, line),
    };
    let query = line.replace("$end", &seconds(end)).replace("$mid", &seconds(mid));
    for time in [end, mid - 7_437] {
        let parameters = [("query", query.as_str()), ("time", &seconds(time))];
        all.push(Question { order, ..Question::new("/api/v1/query", &parameters) });
    }
    for (start, step) in [(end - 60_000, "1"), (mid - 45_211, "6.7s")] {
        let (start, end) = (seconds(start), seconds(end));
        let parameters = [("query", query.as_str()), ("start", &start), ("end", &end), ("step", step)];
        all.push(Question::new("/api/v1/query_range", &parameters));
    }
    all.push(Question::new("/api/v1/format_query", &[("query", &query)]));
}

/// Windows and lookbacks whose edges lie on a sample, and one millisecond to each side.
fn edge_questions(end: i64, all: &mut Vec<Question>) {
    for shift in [-1, 0, 1] {
        for query in ["count_over_time(up[5s])", "rate(shape_steady_total[5s])", "sum_over_time(up[1s])"] {
            let time = seconds(end - 12_000 + shift);
            all.push(Question::new("/api/v1/query", &[("query", query), ("time", &time)]));
        }
        for query in ["up", "shape_wave", "timestamp(up)", "count_over_time(up[3s:1s])"] {
            let time = seconds(end - 12_000 + 500 + shift);
            let parameters = [("query", query), ("time", time.as_str()), ("lookback_delta", "500ms")];
            all.push(Question::new("/api/v1/query", &parameters));
        }
    }
}

/// Parameters in all their forms, good and bad.
fn parameter_questions(mid: i64, end: i64, all: &mut Vec<Question>) {
    let (from, to) = (seconds(end - 60_000), seconds(end));
    let instant: [&[(&'static str, &str)]; 12] = [
        &[],
        &[("query", "")],
        &[("query", "up"), ("time", "yesterday")],
        &[("query", "up"), ("time", "2026-13-01T00:00:00Z")],
        &[("query", "up"), ("time", "1e400")],
        &[("query", "1"), ("time", "2026-01-01T00:00:00.123Z")],
        &[("query", "vector(time())"), ("time", "2026-01-01T00:00:00+02:00")],
        &[("query", "vector(1)"), ("time", "-100.5")],
        &[("query", "up"), ("time", &to), ("timeout", "soon")],
        &[("query", "up"), ("time", &to), ("timeout", "30s")],
        &[("query", "up"), ("time", &to), ("limit", "-1")],
        &[("query", "up"), ("time", &to), ("lookback_delta", "x")],
    ];
    all.extend(instant.map(|parameters| Question::new("/api/v1/query", parameters)));
    let up = ("query", "up");
    let range: [&[(&'static str, &str)]; 14] = [
        &[up],
        &[up, ("start", &from)],
        &[up, ("start", &from), ("end", &to)],
        &[up, ("start", &to), ("end", &from), ("step", "1")],
        &[up, ("start", &from), ("end", &to), ("step", "0")],
        &[up, ("start", &from), ("end", &to), ("step", "-1")],
        &[up, ("start", &from), ("end", &to), ("step", "often")],
        &[up, ("start", &from), ("end", &to), ("step", "0.001")],
        &[up, ("start", &from), ("end", &to), ("step", "1m30s")],
        &[up, ("start", &to), ("end", &to), ("step", "1")],
        &[("query", "up[5m]"), ("start", &from), ("end", &to), ("step", "1")],
        &[("query", "\"text\""), ("start", &from), ("end", &to), ("step", "1")],
        &[("query", "3"), ("start", &from), ("end", &to), ("step", "20")],
        &[("query", "shape_wave"), ("start", &from), ("end", &to), ("step", "9"), ("limit", "2")],
    ];
    all.extend(range.map(|parameters| Question::new("/api/v1/query_range", parameters)));
    let window = seconds(mid);
    let raw =
        ["shape_wave[10s]", "shape_odd[7s] offset 3s", "shape_blink[1m]", "shape_wave[10s:3s]", "nosuch[1m]"];
    all.extend(raw.map(|query| Question::new("/api/v1/query", &[("query", query), ("time", &window)])));
    all.push(Question::new("/api/v1/format_query", &[]));
}

/// Which series, label names and label values there are.
fn catalogue_questions(end: i64, all: &mut Vec<Question>) {
    let (from, to) = (seconds(end - 3_600_000), seconds(end));
    let window = [("start", from.as_str()), ("end", to.as_str())];
    let with = |more: &[(&'static str, &'static str)]| [&window, more].concat();
    let matches: [&[(&'static str, &'static str)]; 9] = [
        &[],
        &[("match[]", "up")],
        &[("match[]", "{job=\"shape\"}"), ("match[]", "up")],
        &[("match[]", "{__name__=~\"node_.*\",job!=\"shape\"}")],
        &[("match[]", "{zone!=\"\"}")],
        &[("match[]", "nosuch")],
        &[("match[]", "{}")],
        &[("match[]", "up{")],
        &[("match[]", "rate(up[1m])")],
    ];
    for more in matches {
        let parameters = with(more);
        for path in ["series", "labels", "label/job/values", "label/__name__/values", "label/zone/values"] {
            all.push(Question::new(&format!("/api/v1/{path}"), &parameters));
        }
    }
    for path in ["label/nosuch/values", "label/pod/values", "label/text/values", "label/le/values"] {
        all.push(Question::new(&format!("/api/v1/{path}"), &window));
    }
    all.push(Question::new("/api/v1/series", &[("match[]", "up"), ("start", "x")]));
    all.push(Question::new("/api/v1/labels", &[("start", &to), ("end", &from)]));
}

/// A timestamp as the API takes it.
fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1_000), ms.rem_euclid(1_000))
}

/// Distinct (labels, timestamp) pairs up to `end`, and the rows they lie in.
fn count_with_duckdb(python: &Path, files: &[PathBuf], end: i64) -> (u64, u64) {
    use std::io::Write as _;
    let mut child = Command::new(python)
        .arg(repository().join("tests/count_with_duckdb.py"))
        .args([i64::MIN.to_string(), end.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let list: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    let mut input = child.stdin.take().expect("standard input is a pipe");
    input.write_all(list.join("\n").as_bytes()).expect("python reads its input");
    drop(input);
    let output = child.wait_with_output().expect("python ends");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.split_whitespace().map(|word| word.parse().expect("a number"));
    assert!(output.status.success(), "count_with_duckdb.py: {}", output.status);
    (numbers.next().expect("a first number"), numbers.next().expect("a second number"))
}
