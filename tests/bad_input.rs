//! Bad input: each is answered with a typed error of the right status, the process stays alive, its
//! memory stays bounded, and afterwards it takes and gives good data as before.
//!
//! Also sent: what is odd but legal, which must not be refused.

use std::time::{Duration, Instant};

use crate::support::answers;
use crate::support::clock::now_ms;
use crate::support::http::{Answer, Client};
use crate::support::say;
use crate::support::servers::{Promontory, Store};
use crate::support::workdir::Workdir;
use crate::support::write::{self, HEADERS, Request, field, snappy, varint};

/// Most resident memory of the process in the whole suite: the data below, the bytes that admission
/// lets in at once, and what a query over the sample limit may take before it is stopped.
const RESIDENT_MAX: u64 = 1 << 30;
/// No bad request may keep the server busy for longer.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Requests that are sent at once where memory is the target.
const AT_ONCE: usize = 12;
const SERIES: usize = 10_000;
const SAMPLES: usize = 30;
/// Below what the data above holds.
const FLAGS: [&str; 1] = ["--query.max-samples=100000"];

#[test]
fn bad_input_gets_a_typed_error_and_harms_nobody() {
    let workdir = Workdir::new("bad-input");
    let store = Store::folder(&workdir.join("data"));
    let mut server = Promontory::start("promontory", workdir.path(), &store, &FLAGS);
    let client = server.client.clone();
    let base = now_ms() - 600_000;
    fill(&client, base);
    let filled = server.program().resident_peak_bytes();

    refuse_bodies(&client);
    refuse_series(&client, base);
    refuse_headers(&client);
    take_what_is_odd_but_legal(&client, base);
    refuse_expressions(&client, base);
    refuse_parameters(&client);

    assert!(server.program().is_alive(), "promontory has ended");
    if let (Some(filled), Some(peak)) = (filled, server.program().resident_peak_bytes()) {
        say(&format!("bad_input: peak memory {} MiB, {} MiB before", peak >> 20, filled >> 20));
        assert!(peak < RESIDENT_MAX, "peak memory of {peak} bytes");
    }
    read_back(&client, base);
    let status = server.terminate();
    assert!(status.success(), "after SIGTERM: {status}");
}

#[test]
fn commands_over_no_store_say_so_and_make_none() {
    let workdir = Workdir::new("no-store");
    let missing = Store::folder(&workdir.join("missing"));
    for arguments in [&["fsck"][..], &["blocks", "ls"]] {
        let text = missing.refusal(arguments);
        assert!(text.contains("there is no such folder"), "{arguments:?}: {text}");
    }
    std::fs::create_dir(workdir.join("empty")).expect("a folder");
    let empty = Store::folder(&workdir.join("empty"));
    for arguments in [&["fsck"][..], &["blocks", "ls"]] {
        let text = empty.refusal(arguments);
        assert!(text.contains("nothing was written there yet"), "{arguments:?}: {text}");
    }
    let made: Vec<_> = std::fs::read_dir(workdir.join("empty")).expect("a folder").collect();
    assert!(made.is_empty(), "{made:?}");
}

fn fill(client: &Client, base: i64) {
    for part in 0..10 {
        let mut request = Request::default();
        for series in (part..SERIES).step_by(10) {
            let labels = [("__name__", "good"), ("job", "fill"), ("series", &series.to_string())];
            let samples: Vec<_> =
                (0..SAMPLES).map(|k| (base + k as i64 * 1_000, (series + k) as f64)).collect();
            request.series(&labels, &samples);
        }
        let answer = write::send(client, request.body()).expect("an answer");
        assert_eq!(answer.status / 100, 2, "good data: {}", answer.text());
    }
}

/// The data from before is whole, and new data is taken.
fn read_back(client: &Client, base: i64) {
    let mut request = Request::default();
    request.series(&[("__name__", "after")], &[(base, 42.0)]);
    let answer = write::send(client, request.body()).expect("an answer");
    assert_eq!(answer.status / 100, 2, "good data after bad: {}", answer.text());
    let time = (base / 1_000 + 60).to_string();
    let value = |query: &str| {
        let answer = client.form("/api/v1/query", &[("query", query), ("time", &time)]).expect("an answer");
        answers::one_value(&answer).unwrap_or_else(|| panic!("{query}: {}", answer.text()))
    };
    assert_eq!(value("after"), 42.0);
    assert_eq!(value("count(good)"), SERIES as f64);
    assert_eq!(value("sum(count_over_time(good{series=~\"1..\"}[2m]))"), 100.0 * SAMPLES as f64);
}

/// One way in which a request is bad.
struct Case<'a> {
    name: &'a str,
    body: Vec<u8>,
    /// Statuses that are right.
    expected: &'a [u16],
}

fn refuse_bodies(client: &Client) {
    let malformed: &[u16] = &[400];
    let too_large: &[u16] = &[400, 413, 429];
    let mut good = Request::default();
    good.series(&[("__name__", "never"), ("job", "bad")], &[(now_ms(), 1.0)]);
    let whole = good.body();
    let half = whole[..whole.len() / 2].to_vec();
    let mut declares_4_gib = Vec::new();
    varint(&mut declares_4_gib, u64::from(u32::MAX));
    declares_4_gib.extend_from_slice(&[0; 64]);
    let mut declares_too_much = Vec::new();
    varint(&mut declares_too_much, 1 << 40);
    let mut copies_from_before_the_start = vec![8];
    copies_from_before_the_start.extend_from_slice(&[0b0000_0001, 200, 0, 0]);
    let cases = [
        Case { name: "an empty body", body: Vec::new(), expected: malformed },
        Case { name: "a truncated snappy block", body: half, expected: malformed },
        Case { name: "a snappy block that declares 4 GiB", body: declares_4_gib, expected: too_large },
        Case { name: "a snappy block that declares 1 TiB", body: declares_too_much, expected: too_large },
        Case { name: "a snappy copy from nowhere", body: copies_from_before_the_start, expected: malformed },
        Case { name: "no snappy at all", body: b"GET / HTTP/1.1".to_vec(), expected: malformed },
        Case { name: "plain protobuf", body: good.protobuf().to_vec(), expected: malformed },
        Case { name: "a body above the limit", body: vec![0xaa; 40 << 20], expected: &[413] },
        Case { name: "a body that decompresses far", body: snappy(&vec![0; 200 << 20]), expected: too_large },
        Case { name: "a cut protobuf message", body: cut_message(good.protobuf()), expected: malformed },
        Case { name: "a field longer than the message", body: endless_field(), expected: malformed },
        Case { name: "a varint of eleven bytes", body: snappy(&[0xff; 11]), expected: malformed },
        Case { name: "a million nested groups", body: snappy(&vec![0x0b; 1 << 20]), expected: malformed },
        Case { name: "field number zero", body: snappy(&[0x02, 0x00]), expected: malformed },
    ];
    for case in &cases {
        refuse(client, case);
    }
    for (name, body) in bombs() {
        let case = Case { name, body, expected: too_large };
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| refuse(client, &case));
            }
        });
    }
    let mut random = 1_u64;
    for _ in 0..200 {
        let mut message = good.protobuf().to_vec();
        for _ in 0..3 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (random >> 33) as usize % message.len();
            message[at] = (random >> 24) as u8;
        }
        let answer = write::send(client, snappy(&message)).expect("an answer to flipped bytes");
        assert!(answer.status < 500, "flipped bytes: {} {}", answer.status, answer.text());
    }
}

/// Small requests that want to become large: each below the limits of bytes, above one of counts.
fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let repeated = |pattern: &[u8], times: usize| pattern.repeat(times);
    let one_series = |content: &[u8]| {
        let mut message = Vec::new();
        field(&mut message, 1, content);
        snappy(&message)
    };
    let mut labels_and_a_sample = repeated(&[0x0a, 0x00], 6_000_000);
    field(&mut labels_and_a_sample, 2, &[]);
    vec![
        ("12 million empty series", snappy(&repeated(&[0x0a, 0x00], 12_000_000))),
        ("6 million empty labels", one_series(&labels_and_a_sample)),
        ("12 million empty samples", one_series(&repeated(&[0x12, 0x00], 12_000_000))),
        ("3 million series with an empty sample", snappy(&repeated(&[0x0a, 0x02, 0x12, 0x00], 3_000_000))),
    ]
}

fn cut_message(message: &[u8]) -> Vec<u8> {
    snappy(&message[..message.len() - 3])
}

fn endless_field() -> Vec<u8> {
    let mut message = vec![0x0a];
    varint(&mut message, u64::MAX >> 1);
    message.extend_from_slice(&[0; 16]);
    snappy(&message)
}

fn refuse(client: &Client, case: &Case<'_>) {
    let started = Instant::now();
    let answer = match write::send(client, case.body.clone()) {
        Ok(answer) => answer,
        // A server may answer and close before it has read a body that is too large; the client then
        // sees a broken connection.
        Err(_) if case.expected.contains(&413) && case.body.len() > 16 << 20 => return,
        Err(error) => panic!("no answer to {}: {error}", case.name),
    };
    check_refusal(case.name, &answer, case.expected, started.elapsed());
}

fn check_refusal(name: &str, answer: &Answer, expected: &[u16], took: Duration) {
    let text = answer.text();
    let start: String = text.chars().take(300).collect();
    assert!(
        expected.contains(&answer.status),
        "{name}: status {} not in {expected:?}: {start}",
        answer.status
    );
    assert!(!text.trim().is_empty(), "{name}: no reason is given");
    assert!(text.len() < 20_000, "{name}: the reason has {} bytes", text.len());
    assert!(took < ANSWER_MAX, "{name}: answered after {took:?}");
}

/// Requests that decode, with a series that cannot be taken.
fn refuse_series(client: &Client, base: i64) {
    let long = "x".repeat(100_000);
    let many: Vec<(String, String)> = std::iter::once(("__name__".to_owned(), "many".to_owned()))
        .chain((0..5_000).map(|k| (format!("l{k:05}"), "v".to_owned())))
        .collect();
    let check = |name: &str, labels: &[(&[u8], &[u8])], ts: i64| {
        let mut request = Request::default();
        request.series(labels, &[(ts, 1.0)]);
        refuse(client, &Case { name, body: request.body(), expected: &[400] });
    };
    let metric: (&[u8], &[u8]) = (b"__name__", b"refused");
    check("invalid UTF-8 in a value", &[metric, (b"a", b"\xff\xfe")], base);
    check("an overlong UTF-8 form", &[metric, (b"a", b"\xc0\x80")], base);
    check("a lone surrogate", &[metric, (b"a", b"\xed\xa0\x80")], base);
    check("invalid UTF-8 in a name", &[metric, (b"a\xff", b"x")], base);
    check("invalid UTF-8 in the metric name", &[(b"__name__", b"\xf0\x28\x8c\x28")], base);
    check("an empty label name", &[metric, (b"", b"x")], base);
    check("no metric name", &[(b"job", b"x")], base);
    check("no labels", &[], base);
    check("a label twice", &[metric, (b"a", b"1"), (b"a", b"2")], base);
    check("the metric name twice", &[metric, (b"__name__", b"other")], base);
    check("a value of 100,000 bytes", &[metric, (b"a", long.as_bytes())], base);
    check("a name of 100,000 bytes", &[metric, (long.as_bytes(), b"a")], base);
    check("an hour in the future", &[metric], now_ms() + 3_600_000);
    check("the end of time", &[metric], i64::MAX);
    let many: Vec<(&[u8], &[u8])> = many.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
    check("5,000 labels", &many, base);
}

fn refuse_headers(client: &Client) {
    let mut request = Request::default();
    request.series(&[("__name__", "never")], &[(now_ms(), 1.0)]);
    let version_2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    let cases: [(&str, [(&str, &str); 2]); 4] = [
        ("JSON", [("Content-Type", "application/json"), HEADERS[1]]),
        ("an unknown message", [("Content-Type", "application/x-protobuf;proto=x.Y"), HEADERS[1]]),
        ("a message that is not supported yet", [("Content-Type", version_2), HEADERS[1]]),
        ("gzip", [HEADERS[0], ("Content-Encoding", "gzip")]),
    ];
    for (name, headers) in cases {
        let answer = client.post("/api/v1/write", &headers, request.body()).expect("an answer");
        check_refusal(name, &answer, &[415], Duration::ZERO);
    }
    let answer = client.get("/api/v1/write", &[]).expect("an answer");
    assert_eq!(answer.status, 405, "GET of the write path");
    let answer = client.get("/api/v1/nosuch", &[]).expect("an answer");
    assert_eq!(answer.status, 404, "an unknown path");
    let address = format!("/{}", "x".repeat(1 << 20));
    if let Ok(answer) = client.get(&address, &[]) {
        assert!((400..500).contains(&answer.status), "an address of 1 MiB: {}", answer.status);
    }
}

fn take_what_is_odd_but_legal(client: &Client, base: i64) {
    let check = |name: &str, request: &Request| {
        let answer = write::send(client, request.body()).expect("an answer");
        assert_eq!(answer.status / 100, 2, "{name}: {}", answer.text());
    };
    let mut request = Request::default();
    request.series(&[("__name__", "odd.name with spaces"), ("étiquette.1", "🗻\0\n")], &[(base, 1.0)]);
    check("names in UTF-8", &request);
    let mut request = Request::default();
    request.series(&[("zzz", "unsorted"), ("__name__", "odd"), ("a", "")], &[(base, f64::NAN)]);
    check("labels out of order, one of them empty", &request);
    let mut request = Request::default();
    request.series(&[("__name__", "odd_past")], &[(-1, 1.0), (0, 2.0), (1, 3.0)]);
    check("times around 1970", &request);
    check("no series", &Request::default());
    let query = [("query", "{\"odd.name with spaces\"}"), ("time", &(base / 1_000 + 1).to_string())];
    let answer = client.get("/api/v1/query", &query).expect("an answer");
    assert_eq!(answer.json()["data"]["result"][0]["metric"]["étiquette.1"], "🗻\0\n", "{}", answer.text());
    let answer =
        client.get("/api/v1/query", &[("query", "odd_past"), ("time", "-0.001")]).expect("an answer");
    assert_eq!(answer.json()["data"]["result"][0]["value"][1], "1", "{}", answer.text());
}

/// The error types of the query API with their statuses, as Prometheus has them.
const BAD_DATA: (u16, &str) = (400, "bad_data");
/// Where even the form that carries the query is too large.
const TOO_LONG: (u16, &str) = (413, "bad_data");
const EXECUTION: (u16, &str) = (422, "execution");
const TIMEOUT: (u16, &str) = (503, "timeout");

fn refuse_expressions(client: &Client, base: i64) {
    let time = (base / 1_000 + 30).to_string();
    let deep = 100_000;
    let nested = |open: &str, inner: &str, close: &str| open.repeat(deep) + inner + &close.repeat(deep);
    let check = |name: &str, query: &str, expected: &[(u16, &str)]| {
        let started = Instant::now();
        let answer = client.form("/api/v1/query", &[("query", query), ("time", &time), ("timeout", "10s")]);
        let answer = answer.unwrap_or_else(|error| panic!("no answer to {name}: {error}"));
        check_query_error(name, &answer, expected, started.elapsed());
    };
    check("100,000 parentheses", &nested("(", "1", ")"), &[BAD_DATA, TOO_LONG]);
    check("100,000 open parentheses", &"(".repeat(deep), &[BAD_DATA, TOO_LONG]);
    check("100,000 calls", &nested("abs(", "up", ")"), &[BAD_DATA, TOO_LONG]);
    check("100,000 aggregations", &nested("sum(", "up", ")"), &[BAD_DATA, TOO_LONG]);
    check("100,000 signs", &("-".repeat(deep) + "up"), &[BAD_DATA, TOO_LONG]);
    check("100,000 powers", &("2^".repeat(deep) + "2"), &[BAD_DATA, TOO_LONG]);
    check("100,000 subqueries", &("up".to_owned() + &"[1m:1s]".repeat(deep)), &[BAD_DATA, TOO_LONG]);
    // Short enough to reach the parser: its depth is what must be bounded.
    let deep = 10_000;
    let nested = |open: &str, inner: &str, close: &str| open.repeat(deep) + inner + &close.repeat(deep);
    check("10,000 parentheses", &nested("(", "1", ")"), &[BAD_DATA]);
    check("10,000 calls", &nested("abs(", "up", ")"), &[BAD_DATA]);
    check("10,000 aggregations", &nested("sum(", "up", ")"), &[BAD_DATA]);
    check("10,000 powers", &("2^".repeat(deep) + "2"), &[BAD_DATA]);
    check("a matcher that also matches nothing", "{__name__=~\".*\"}", &[BAD_DATA]);
    check("an open brace", "up{", &[BAD_DATA]);
    check("a regular expression that explodes", "up{a=~\"((a{1000}){1000}){1000}\"}", &[BAD_DATA]);
    check("a broken regular expression", "up{a=~\"(\"}", &[BAD_DATA]);
    check("a timestamp beyond time", "up @ 1e300", &[BAD_DATA]);
    check("a duration beyond time", "up[999999999999y]", &[BAD_DATA]);
    check("bytes that are no text", "up{a=\"\\xff\" \u{0}}", &[BAD_DATA]);
    check("everything over the sample limit", "{__name__=~\".+\"}[1h]", &[EXECUTION]);
    check("a subquery over the sample limit", "sum(sum_over_time(good[30s:1s]))", &[EXECUTION]);
    check("a subquery of 31 billion steps", "count_over_time(vector(1)[1y:1ms])", &[EXECUTION, TIMEOUT]);
    check(
        "subqueries in subqueries",
        "sum_over_time(sum_over_time(good[1d:1s])[1d:1s])",
        &[EXECUTION, TIMEOUT],
    );
    check("duplicates on both sides", "good * on (job) good", &[EXECUTION]);
    check("many values of one label", "label_replace(good, \"series\", \"x\", \"\", \"\")", &[EXECUTION]);

    // May be answered or refused; must not crash, hang or eat memory.
    let survive = |name: &str, query: &str| {
        let started = Instant::now();
        let answer = client.form("/api/v1/query", &[("query", query), ("time", &time), ("timeout", "10s")]);
        let answer = answer.unwrap_or_else(|error| panic!("no answer to {name}: {error}"));
        assert!([200, 400, 413, 422, 503].contains(&answer.status), "{name}: status {}", answer.status);
        assert!(started.elapsed() < ANSWER_MAX, "{name}: answered after {:?}", started.elapsed());
    };
    survive("100,000 sums in a row", &("1".to_owned() + &"+1".repeat(deep)));
    survive("100,000 matchers", &format!("up{{{}}}", "a!=\"b\",".repeat(deep)));
    survive("a label value of 1 MiB", &format!("up{{a=\"{}\"}}", "x".repeat(1 << 20)));
    survive("an alternation of 10,000 words", &format!("up{{a=~\"{}\"}}", "word|".repeat(10_000)));
    survive("topk of a huge number", "topk(1e300, good{series=~\"1..\"})");
    survive("topk of not a number", "topk(NaN, good{series=~\"1..\"})");
    survive("an offset of centuries", "good offset 200y");
    survive("a negative offset of centuries", "good offset -200y");
}

fn check_query_error(name: &str, answer: &Answer, expected: &[(u16, &str)], took: Duration) {
    let json = answer.json();
    let error_type = json["errorType"].as_str().unwrap_or("(none)");
    let statuses: Vec<u16> = expected.iter().map(|(status, _)| *status).collect();
    check_refusal(name, answer, &statuses, took);
    assert_eq!(json["status"], "error", "{name}");
    assert!(expected.contains(&(answer.status, error_type)), "{name}: {} {error_type}", answer.status);
    assert!(json["error"].as_str().is_some_and(|text| !text.is_empty()), "{name}: no reason is given");
}

fn refuse_parameters(client: &Client) {
    let year = [("start", "1700000000"), ("end", "1731536000")];
    let range = |name: &str, more: &[(&str, &str)], expected: (u16, &str)| {
        let started = Instant::now();
        let answer = client.form("/api/v1/query_range", more).expect("an answer");
        check_query_error(name, &answer, &[expected], started.elapsed());
    };
    range("steps of 1 ms over a year", &[("query", "good"), year[0], year[1], ("step", "0.001")], BAD_DATA);
    range("no step", &[("query", "good"), year[0], year[1]], BAD_DATA);
    range("a step of zero", &[("query", "good"), year[0], year[1], ("step", "0")], BAD_DATA);
    range("a step below zero", &[("query", "good"), year[0], year[1], ("step", "-5")], BAD_DATA);
    range("a step that is no number", &[("query", "good"), year[0], year[1], ("step", "NaN")], BAD_DATA);
    range(
        "an end before its start",
        &[("query", "good"), ("start", "5"), ("end", "4"), ("step", "1")],
        BAD_DATA,
    );
    range(
        "a time beyond time",
        &[("query", "good"), ("start", "0"), ("end", "1e300"), ("step", "1")],
        BAD_DATA,
    );
    let at_100_000_points = [("query", "good"), ("start", "0"), ("end", "100000"), ("step", "1")];
    range("more than 11,000 points", &at_100_000_points, BAD_DATA);
    let get = |path: &str, query: &[(&str, &str)]| {
        let answer = client.get(path, query).expect("an answer");
        check_query_error(path, &answer, &[BAD_DATA], Duration::ZERO);
    };
    get("/api/v1/query", &[]);
    get("/api/v1/query", &[("query", "up"), ("time", "now")]);
    get("/api/v1/series", &[]);
    get("/api/v1/series", &[("match[]", "{__name__=~\".*\"}")]);
    get("/api/v1/labels", &[("match[]", "up{")]);
    get("/api/v1/labels", &[("start", "x")]);
    get("/api/v1/query?query=%ff%fe", &[]);
}
