//! Requests in the forms in which people send them, to a real Prometheus and to the program: the same status, the same
//! kind of error, the same text and data.
//!
//! Each request goes out as bytes on a connection of its own, so that no library tidies it. Where the two differ on
//! purpose, [`KNOWN`] says why; `docs/http.md` lists the same.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::clock::{now_ms, wait_for};
use crate::support::http::Client;
use crate::support::program::{Program, free_port};
use crate::support::servers::{Promontory, Store};
use crate::support::tools::tool;
use crate::support::workdir::Workdir;
use crate::support::write::{self, Request};
use crate::support::{say, skipped};

const SUITE: &str = "http_forms";
const CASES_MIN: usize = 500;
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// Where answers differ, by a part of the request, and why.
const KNOWN: [(&str, &str); 40] = [
    ("time=9223372036854775", "a time that nanoseconds cannot hold is that time, and not what is left of it"),
    ("time=-9223372036854775", "as above"),
    ("time=253402300799", "as above"),
    ("time=1.7976931348623157e308", "as above"),
    ("time=-292273086", "as above"),
    ("time=292277025", "as above"),
    ("time=9999-", "as above"),
    ("time=0000-", "as above"),
    ("time= ", "the time of the answer"),
    ("%FF", "the text about what is no UTF-8"),
    ("query=up{job=\"\\xff\"}", "strings that are not UTF-8 are not kept as bytes"),
    ("x=turned", "Prometheus' head lists all that it has where a range ends before it begins"),
    ("POST /api/v1/series Content-Type: multipart/form-data", "Prometheus reads such forms for queries only"),
    ("%2D/ready", "the text names the program"),
    ("query=long%20", "as `long`"),
    ("/api/v1/query/", "Prometheus' redirect loses /api/v1"),
    ("/api/v1/labels/", "as above"),
    ("/api/v1/label/job/values/", "as above"),
    ("/api/v1/targets/ ", "as above"),
    ("GET /api/v1 ", "Prometheus redirects to /api/v1/, which is not there"),
    ("%2F", "a label's name may have a slash"),
    ("/label/%ff/", "the text about what is no UTF-8"),
    ("/-/healthy?", "the text names the program"),
    ("parse_query", "not there yet"),
    ("/federate", "not there yet"),
    ("/api/v1/read", "not there yet"),
    ("/admin/", "not there yet"),
    ("relabel_steps", "not there yet"),
    ("GET /graph", "a page of Prometheus"),
    ("GET /query ", "a page of Prometheus"),
    ("GET /alerts", "a page of Prometheus"),
    ("GET /targets", "a page of Prometheus"),
    ("GET /tsdb-status", "a page of Prometheus"),
    ("/debug/pprof", "a page of Go"),
    ("status/runtimeinfo", "facts of the process"),
    ("status/config", "the configuration"),
    ("/features", "what there is"),
    ("status/tsdb ", "Prometheus counts chunks, and its head's times"),
    ("POST /api/v1/write ", "the text about snappy"),
    ("long ", "Go's server takes 1 MiB of head, ours 65,000 bytes of request line and 128 KiB of head"),
];

#[test]
fn requests_in_odd_forms_are_answered_as_by_prometheus() {
    let prometheus = match tool("prometheus") {
        Ok(binary) => binary,
        Err(reason) => return skipped(SUITE, &reason),
    };
    let workdir = Workdir::new(SUITE);
    let (_prometheus, theirs) = start_prometheus(&prometheus, workdir.path());
    let server = Promontory::start("promontory", workdir.path(), &Store::folder(&workdir.join("data")), &[]);
    let begin = now_ms() / 60_000 * 60 - 600;
    for client in [&Client::new(theirs), &server.client] {
        let answer = write::send(client, samples(begin).body()).expect("an answer");
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
    let cases = cases(begin);
    assert!(cases.len() >= CASES_MIN, "{} cases", cases.len());
    let mut differ = Vec::new();
    let mut n_known = 0;
    for Case { name, bytes } in &cases {
        let (theirs, ours) = (exchange(theirs, bytes), exchange(server.port(), bytes));
        if !is_same(&theirs, &ours) {
            match KNOWN.iter().any(|(part, _)| format!("{name} ").contains(part)) {
                true => n_known += 1,
                false => {
                    differ.push(format!("{name}\n    Prometheus: {theirs:.300}\n    Promontory: {ours:.300}"))
                }
            }
        }
        // Whatever is refused, is refused with a word.
        let is_refused = ours.status >= 400 && !name.starts_with("HEAD");
        assert!(!is_refused || !ours.body.is_empty(), "{name}: {ours}");
    }
    say(&format!("{SUITE}: {} requests, {n_known} differ as docs/http.md says", cases.len()));
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
}

fn start_prometheus(binary: &Path, folder: &Path) -> (Program, u16) {
    let (config, port) = (folder.join("prometheus.yml"), free_port());
    std::fs::write(&config, "global: {}\n").expect("a configuration");
    let mut command = Command::new(binary);
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.join("prometheus-data").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}")).arg("--web.enable-remote-write-receiver");
    let program = Program::start("prometheus", command, folder);
    wait_for("Prometheus to be ready", Duration::from_secs(60), || {
        let answer = Client::new(port).get("/-/ready", &[])?;
        if answer.status == 200 { Ok(()) } else { Err(format!("status {}", answer.status)) }
    });
    (program, port)
}

fn samples(begin: i64) -> Request {
    let mut request = Request::default();
    let series: [&[(&str, &str)]; 5] = [
        &[("__name__", "up"), ("instance", "a:1"), ("job", "api")],
        &[("__name__", "up"), ("instance", "b:1"), ("job", "db")],
        &[("__name__", "http_requests_total"), ("code", "200"), ("job", "api"), ("path", "/a b")],
        &[("__name__", "m"), ("température", "é")],
        &[("__name__", "m2"), ("a.b", "x")],
    ];
    for labels in series {
        let samples: Vec<_> = (0..5).map(|at| ((begin + at * 15) * 1_000, (at % 3) as f64)).collect();
        request.series(labels, &samples);
    }
    request
}

struct Case {
    name: String,
    bytes: Vec<u8>,
}

struct Reply {
    status: u16,
    location: String,
    body: Vec<u8>,
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{} {} {}", self.status, self.location, String::from_utf8_lossy(&self.body));
        f.pad(text.trim_end())
    }
}

/// Sends bytes as they are and reads to the end.
fn exchange(port: u16, bytes: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.set_read_timeout(Some(READ_TIMEOUT)).expect("a timeout");
    // Whoever refuses early may close early.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    assert!(read.is_ok() || !answer.is_empty(), "{port}: {read:?}");
    let at = answer.windows(4).position(|end| end == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    let head = String::from_utf8_lossy(&answer[..at]).into_owned();
    let field = |name: &str| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
        line.map(|line| line[name.len()..].trim().to_owned()).unwrap_or_default()
    };
    let is_chunked = field("transfer-encoding:").eq_ignore_ascii_case("chunked");
    let body = if is_chunked { unchunked(&answer[at..]) } else { answer[at..].to_vec() };
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Reply { status, location: field("location:"), body }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|end| end == b"\r\n") {
        let n = usize::from_str_radix(&String::from_utf8_lossy(&rest[..end]), 16).unwrap_or(0);
        body.extend_from_slice(&rest[end + 2..][..n]);
        rest = rest.get(end + 4 + n..).unwrap_or_default();
    }
    body
}

fn is_same(theirs: &Reply, ours: &Reply) -> bool {
    let is_redirect = (300..400).contains(&theirs.status);
    (theirs.status, &theirs.location) == (ours.status, &ours.location)
        && (is_redirect || content(theirs) == content(ours))
}

/// What a body says: JSON without order, and without the words of what is no part of the API.
fn content(reply: &Reply) -> Value {
    let mut json: Value = match serde_json::from_slice(&reply.body) {
        Ok(json) => json,
        // Go's server and hyper have words of their own for what is no request.
        Err(_) if reply.status == 400 => return Value::Null,
        Err(_) => return String::from_utf8_lossy(&reply.body).into_owned().into(),
    };
    for list in ["/data", "/data/result"] {
        if let Some(Value::Array(items)) = json.pointer_mut(list) {
            items.sort_by_key(ToString::to_string);
        }
    }
    json
}

/// Collects requests.
struct Cases(Vec<Case>);

impl Cases {
    fn get(&mut self, target: &str) {
        self.send("GET", target, "", "");
    }

    fn send(&mut self, method: &str, target: &str, fields: &str, body: &str) {
        let name = format!("{method} {target} {} {body}", fields.replace("\r\n", " "));
        let length = if body.is_empty() && method != "POST" && method != "PUT" {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}{length}\r\n"
        );
        self.raw(name, &format!("{head}{body}"));
    }

    fn raw(&mut self, name: impl Into<String>, text: &str) {
        let mut name: String = name.into();
        name = name.chars().take(200).collect();
        self.0.push(Case { name, bytes: text.as_bytes().to_vec() });
    }
}

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

fn cases(begin: i64) -> Vec<Case> {
    let mut cases = Cases(Vec::new());
    let end = begin + 60;
    queries(&mut cases, end);
    times(&mut cases, begin, end);
    methods(&mut cases, end);
    paths(&mut cases, end);
    bodies(&mut cases, end);
    selectors(&mut cases);
    statuses(&mut cases);
    broken(&mut cases, end);
    cases.0
}

/// Characters in URLs, encodings, repeated and empty parameters.
fn queries(cases: &mut Cases, end: i64) {
    for query in [
        "up",
        "up{job=\"api\"}",
        "up{job=~\"a.*|d<b>\"}",
        "up{job=~\"a|b\"}",
        "`x`",
        "up^2",
        "up\\",
        "up{job=\"é\"}",
        "up[1m]",
        "up#frag",
        "1%2B1",
        "1+1",
        "",
        "%zz",
        "up%",
        "up%2",
        "\"x\"",
        "'x'",
        "up>0",
        "up<bool>1",
        "{\"up\"}",
        "m{\"température\"=\"é\"}",
        "m%7B%22temp%C3%A9rature%22%3D%22%C3%A9%22%7D",
        "m2{\"a.b\"=\"x\"}",
        "sum%20(up)",
        "sum\t(up)",
        "%FF",
        "up%00",
        "up%0A%2B%0A1",
        "count(up)&query=nope",
        "up&&&",
        "up&=x",
        "up&x",
        "up;x=1",
        "up&a;b=1",
    ] {
        cases.get(&format!("/api/v1/query?query={query}&time={end}"));
        cases.get(&format!("/api/v1/query?time={end}&query={query}"));
    }
    for target in [
        "",
        "?",
        "?query",
        "?query=",
        "?&",
        "?query=up&query=m&time=5",
        "?time=5&&query=up",
        "?QUERY=up",
        "?query[]=up",
        "?query=up&time=5&time=6",
        "?query=up&time=&time=6",
        "?%71uery=1&time=5",
        "?query=1&tim%65=5",
    ] {
        cases.get(&format!("/api/v1/query{target}{}", if target.is_empty() { "" } else { "&x=" }));
    }
}

/// Times, durations and numbers in every notation.
fn times(cases: &mut Cases, begin: i64, end: i64) {
    for time in [
        "1_000",
        "1e3",
        "1.5",
        "-1",
        "+5",
        "%2B5",
        "0x10",
        "0x1p4",
        "1e400",
        "NaN",
        "nan",
        "Inf",
        "-Inf",
        "%2BInf",
        "inf",
        "infinity",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.123456789Z",
        "2026-01-01T00:00:00+01:00",
        "2026-01-01T00:00:00%2B01:00",
        "2026-01-01t00:00:00z",
        "2026-01-01",
        "2026-01-01T00:00Z",
        "2026-13-01T00:00:00Z",
        "0",
        "-0",
        "%20",
        "1%20",
        "%201",
        "1e3000",
        "9223372036854775807",
        "-9223372036854775",
        "253402300799",
        "1.7976931348623157e308",
        "1.",
        ".5",
        ".",
        "1..2",
        "0b11",
        "0o17",
        "1p5",
        "१",
        "1,5",
        "_1",
        "1_",
        "1__0",
        "1_0.5_0",
        "9999-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:60Z",
        "2026-1-1T00:00:00Z",
        "2026-01-01T00:00:00,5Z",
        "2026-01-01T00:00:00.Z",
        "1795395723.456",
        "now",
    ] {
        cases.get(&format!("/api/v1/query?query=1&time={time}"));
    }
    for step in [
        "15",
        "15s",
        "1m",
        "0",
        "-1",
        "1e3",
        "",
        "abc",
        "1h30m",
        "1.5",
        "1.5s",
        "0s",
        "15ms",
        "1d",
        "1y",
        "1w",
        "NaN",
        "Inf",
        "1_0",
        "0x10",
        "0x1p4",
        "30m1h",
        "1h1h",
        "9e9",
        "9223372036",
        "9223372037",
        "1e-3",
        "1e-4",
        "%2B15",
        "15%20",
        "106751d",
        "106752d",
        "300y",
    ] {
        cases.get(&format!("/api/v1/query_range?query=up&start={begin}&end={end}&step={step}"));
    }
    let (from, to) = (begin.to_string(), end.to_string());
    for (start, stop) in [
        (to.as_str(), from.as_str()),
        (&from, ""),
        ("", &to),
        ("x", &to),
        (&from, "x"),
        (&from, &from),
        (&from, "NaN"),
        ("NaN", &to),
        (&from, "Inf"),
        ("-Inf", &to),
        ("1_0", &to),
    ] {
        cases.get(&format!("/api/v1/query_range?query=up&start={start}&end={stop}&step=15"));
        let turned = if start == to && stop == from { "&x=turned" } else { "" };
        cases.get(&format!("/api/v1/labels?start={start}&end={stop}{turned}"));
        cases.get(&format!("/api/v1/series?match[]=up&start={start}&end={stop}{turned}"));
    }
    for query in ["up[5m]", "", "\"x\"", "1", "up offset"] {
        cases.get(
            &format!("/api/v1/query_range?query={query}&start={begin}&end={end}&step=15").replace(' ', "%20"),
        );
    }
    for timeout in ["1s", "abc", "1e3", "5m", "NaN", "Inf", "1_0"] {
        cases.get(&format!("/api/v1/query?query=up&time={end}&timeout={timeout}"));
    }
    for limit in ["0", "1", "-1", "x", "1.5", "99999999999999999999", "1_0", "+1", "%2B1", "0x1", "1e2"] {
        cases.get(&format!("/api/v1/query?query=up&time={end}&limit={limit}"));
        cases.get(&format!("/api/v1/query_range?query=up&start={begin}&end={end}&step=15&limit={limit}"));
        for listing in ["labels?", "series?match[]=up&", "label/job/values?"] {
            cases.get(&format!("/api/v1/{listing}limit={limit}"));
        }
    }
    for delta in ["5m", "0", "-1", "x", "1e3", "1h", "300", "NaN", "0.5", "1_0"] {
        cases.get(&format!("/api/v1/query?query=up&time={end}&lookback_delta={delta}"));
    }
}

fn methods(cases: &mut Cases, end: i64) {
    let query = format!("/api/v1/query?query=up&time={end}");
    for method in ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "FOO", "get"] {
        for target in [
            query.as_str(),
            "/-/healthy",
            "/-/ready",
            "/api/v1/labels",
            "/nope",
            "/api/v1/nope",
            "/metrics",
            "/",
            "/api/v1/label/job/values",
            "/api/v1/series?match[]=up",
            "/api/v1/write",
            "/version",
            "/api/v1/status/buildinfo",
            "/api/v1/metadata",
            "/api/v1/rules",
            "/api/v1/targets",
        ] {
            cases.send(method, target, "", "");
        }
    }
    cases.send("OPTIONS", "*", "", "");
}

/// Slashes, dots, case, escapes, names of labels.
fn paths(cases: &mut Cases, end: i64) {
    let query = format!("query=up&time={end}");
    for path in [
        format!("//api/v1/query?{query}"),
        format!("/api//v1/query?{query}"),
        format!("/api/v1/query/?{query}"),
        format!("/api/v1/./query?{query}"),
        format!("/api/v1/x/../query?{query}"),
        format!("http://localhost/api/v1/query?{query}"),
    ] {
        cases.get(&path);
        cases.send("POST", &path, FORM, &query);
    }
    for path in [
        "/-/healthy/",
        "/-//healthy",
        "/-/ready/",
        "/api/v1/../v1/labels",
        "/./-/healthy",
        "/api/v1/labels/",
        "/api/v1",
        "/api",
        "/api/",
        "/api/v1/",
        "/api/v1/label/job",
        "/api/v1/label//values",
        "/api/v1/label/job/values/",
        "/metrics/",
        "/%2D/ready",
        "/-/Healthy",
        "/-/READY",
        "/api/v1/query%3Fquery=up",
        "/-/healthy%20",
        "/-/healthy#x",
        "/api/v1/label/job%2Finstance/values",
        "/api/v1/label/%6Aob/values",
        "/api/v1/label/a.b/values",
        "/api/v1/label/U__a_2e_b/values",
        "/api/v1/label/temp%C3%A9rature/values",
        "/api/v1/label/température/values",
        "/api/v1/label/U__temp_e9_rature/values",
        "/api/v1/label/__name__/values",
        "/api/v1/label/1x/values",
        "/api/v1/label/%ff/values",
        "/api/v1/label/a-b/values",
        "/api/v1/label/%20/values",
        "/version/",
        "/api/v1/status/",
        "/api/v1/status",
        "/api/v1/status/nope",
        "/graph",
        "/query",
        "/alerts",
        "/targets",
        "/tsdb-status",
        "/api/v1/targets/",
        "/debug/pprof",
        "/api/v1/query/query",
        "/nope/",
        "//",
        "/..",
    ] {
        cases.get(path);
    }
}

/// Forms in bodies, beside parameters in the URL.
fn bodies(cases: &mut Cases, end: i64) {
    let query = "/api/v1/query";
    let at = format!("time={end}");
    for (target, fields, body) in [
        (query.to_owned(), FORM, format!("query=up&{at}")),
        (format!("{query}?query=m"), FORM, format!("query=up&{at}")),
        (format!("{query}?{at}"), FORM, "query=up".into()),
        (format!("{query}?query=up&{at}"), FORM, "query=".into()),
        (format!("{query}?query=up&{at}"), FORM, String::new()),
        (query.into(), "", format!("query=up&{at}")),
        (query.into(), "Content-Type: text/plain\r\n", format!("query=up&{at}")),
        (query.into(), "Content-Type: application/json\r\n", "{\"query\":\"up\"}".into()),
        (
            query.into(),
            "Content-Type: application/x-www-form-urlencoded; charset=utf-8\r\n",
            format!("query=up&{at}"),
        ),
        (query.into(), "Content-Type: APPLICATION/X-WWW-FORM-URLENCODED\r\n", format!("query=up&{at}")),
        (query.into(), "Content-Type: application/x-www-form-urlencoded;\r\n", format!("query=up&{at}")),
        (query.into(), "Content-Type: ;\r\n", format!("query=up&{at}")),
        (query.into(), FORM, format!("query=up{{job=\"api\"}}&{at}")),
        (query.into(), FORM, format!("query=up;{at}")),
        (query.into(), FORM, "query=%zz&time=1".into()),
        (query.into(), FORM, format!("query=1+1&{at}")),
        (query.into(), FORM, format!("query=1%2B1&{at}")),
        ("/api/v1/series".into(), FORM, "match[]=up".into()),
        ("/api/v1/series".into(), FORM, "match%5B%5D=up&match[]=m".into()),
        ("/api/v1/series?match[]=m2".into(), FORM, "match[]=up".into()),
        ("/api/v1/labels?match[]=m".into(), FORM, "match[]=up".into()),
        ("/api/v1/format_query".into(), FORM, "query=sum(up)by(job)".into()),
    ] {
        cases.send("POST", &target, fields, &body);
    }
    let boundary = "Content-Type: multipart/form-data; boundary=----b\r\n";
    let part = |name: &str, value: &str| {
        format!("------b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let whole = |parts: &[(&str, &str)]| {
        parts.iter().map(|(name, value)| part(name, value)).collect::<String>() + "------b--\r\n"
    };
    let sum = whole(&[("query", "1+1"), ("time", "5")]);
    for (target, fields, body) in [
        (query, boundary, sum.clone()),
        ("/api/v1/query?query=3", boundary, sum.clone()),
        ("/api/v1/query?time=7", boundary, sum.clone()),
        (query, "Content-Type: multipart/form-data\r\n", sum.clone()),
        (query, boundary, "garbage".into()),
        (query, boundary, sum[..sum.len() - 12].to_owned()),
        ("/api/v1/series", boundary, whole(&[("match[]", "up"), ("match[]", "m")])),
        (query, "Content-Type: multipart/mixed; boundary=----b\r\n", sum.clone()),
        (query, "Content-Type: multipart/form-data; boundary=\"----b\"\r\n", sum.clone()),
    ] {
        cases.send("POST", target, fields, &body);
    }
}

fn selectors(cases: &mut Cases) {
    for selector in [
        "up",
        "up{",
        "{}",
        "",
        "{__name__=\"up\"}",
        "up{job=~\".+\"}",
        "1",
        "up[5m]",
        "sum(up)",
        "{job=\"\"}",
        "{job=~\".*\"}",
        "{\"up\"}",
        "{\"a.b\"=\"x\"}",
        "up offset 5m",
        "up{job=\"api\"} or m",
        "up{job=~\"(\"}",
        "up{job=\"\\xff\"}",
        "up @ 0",
    ] {
        let encoded =
            selector.replace('%', "%25").replace('+', "%2B").replace(' ', "%20").replace('&', "%26");
        for target in [
            "series?match[]=",
            "labels?match[]=",
            "label/job/values?match[]=",
            "query_exemplars?query=",
            "format_query?query=",
        ] {
            cases.get(&format!("/api/v1/{target}{encoded}"));
        }
    }
    for target in [
        "series",
        "series?match=up",
        "label/job/values?start=x",
        "labels?end=2026-01-01T00:00:00Z",
        "query_exemplars",
        "query_exemplars?query=up&start=5&end=1",
        "format_query",
        "metadata?limit=x",
        "metadata?metric=up",
        "metadata?limit_per_metric=x",
    ] {
        cases.get(&format!("/api/v1/{target}"));
    }
}

fn statuses(cases: &mut Cases) {
    for path in [
        "rules",
        "rules?type=alert",
        "rules?type=x",
        "rules?exclude_alerts=x",
        "rules?group_limit=x",
        "rules?group_next_token=x",
        "alerts",
        "targets",
        "targets?state=active",
        "targets?state=x",
        "targets/metadata",
        "targets/metadata?limit=x",
        "alertmanagers",
        "scrape_pools",
        "notifications",
        "status/tsdb?limit=x",
        "status/tsdb?limit=-1",
        "status/tsdb?limit=10001",
        "status/tsdb",
        "status/walreplay",
        "status/runtimeinfo",
        "status/config",
        "features",
        "parse_query?query=up",
        "targets/relabel_steps",
        "admin/tsdb/snapshot",
        "read",
    ] {
        cases.get(&format!("/api/v1/{path}"));
    }
}

/// What is no request, or nearly none.
fn broken(cases: &mut Cases, end: i64) {
    let query = format!("/api/v1/query?query=up&time={end}");
    cases.raw("HTTP/1.0", &format!("GET {query} HTTP/1.0\r\n\r\n"));
    cases.raw("lines without CR", &format!("GET {query} HTTP/1.1\nHost: localhost\nConnection: close\n\n"));
    for (name, text) in [
        ("no host", "GET /-/ready HTTP/1.1\r\nConnection: close\r\n\r\n"),
        (
            "two hosts",
            "GET /-/ready HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        ),
        ("a line of one word", "GET\r\n\r\n"),
        ("a line of two words", "GET /-/ready\r\n\r\n"),
        ("a field without a colon", "GET /-/ready HTTP/1.1\r\nHost localhost\r\n\r\n"),
        ("a blank in a path", "GET /api/v1/query?query=sum (up) HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (
            "a length that is none",
            "POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
        ),
        ("a control character", "GET /-/he\u{1}althy HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ] {
        cases.raw(name, text);
    }
    let long = "a".repeat(200_000);
    cases.send(
        "GET",
        &format!("/api/v1/query?time={end}&query=long {long}").replace(' ', "%20"),
        "X: long \r\n",
        "",
    );
    cases.send("GET", &query, &format!("X-Long: long {long}\r\n"), "");
}
