//! What the program shows to those whom it does not know, and what they may do: the words of its store stay
//! inside, web pages of strangers neither read nor write, whoever is silent keeps nobody out, and whoever
//! does not read holds no more than his places.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::support::clock::{now_ms, wait_for};
use crate::support::http::{Answer, Client};
use crate::support::say;
use crate::support::servers::{Promontory, Store};
use crate::support::turns;
use crate::support::workdir::Workdir;
use crate::support::write::{self, HEADERS, Request};

/// Until something happens that needs a few seconds.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long a probe may take beside silent connections on a loaded machine; it took 29 s.
const PROBE_MAX: Duration = Duration::from_secs(2);

#[test]
fn a_failing_store_is_told_by_class_and_incident_and_its_words_are_in_the_log() {
    let workdir = Workdir::new("doors-store");
    let root = workdir.join("data");
    let mut server = Promontory::start("promontory", workdir.path(), &Store::folder(&root), &[]);
    let mut request = Request::default();
    request.series(&[("__name__", "door")], &[(now_ms() - 60_000, 1.0)]);
    assert_eq!(write::send(&server.client, request.body()).expect("an answer").status, 204);
    assert!(server.terminate().success());

    // A folder that is a file can be neither read nor written, whoever runs the suite.
    let blocks = Blocked::new(root.join("blocks"));
    server.restart();
    let promql = server.client.form("/api/v1/query", &[("query", "door[1h]")]).expect("an answer");
    let sql = server.client.form("/api/v1/sql", &[("query", "SELECT * FROM samples")]).expect("an answer");
    let log = std::fs::read_to_string(workdir.join("promontory.log")).expect("a log");
    for answer in [&promql, &sql] {
        check_told(answer, &log, workdir.path());
    }
    drop(blocks);
    let healed = server.client.form("/api/v1/query", &[("query", "door[1h]")]).expect("an answer");
    assert_eq!(healed.status, 200, "{}", healed.text());
}

#[test]
fn web_pages_of_strangers_neither_read_nor_write() {
    let workdir = Workdir::new("doors-strangers");
    let flags = ["--web.allowed-hosts=prom.example"];
    let store = Store::folder(&workdir.join("data"));
    let server = Promontory::start("promontory", workdir.path(), &store, &flags);
    let mut request = Request::default();
    request.series(&[("__name__", "door")], &[(now_ms() - 60_000, 1.0)]);
    let own = format!("http://127.0.0.1:{}", server.port());
    let write = |name: &'static str, value: &str| {
        let headers: Vec<_> = HEADERS.into_iter().chain([(name, value)]).collect();
        server.client.post("/api/v1/write", &headers, request.body()).expect("an answer")
    };
    for (name, value, flag) in [
        ("Origin", "https://evil.example", "--web.cors.origin"),
        ("Sec-Fetch-Site", "cross-site", "--web.cors.origin"),
        ("Host", "evil.example", "--web.allowed-hosts"),
    ] {
        let answer = write(name, value);
        assert_eq!(answer.status, 403, "{name}: {}", answer.text());
        assert!(answer.text().contains(flag), "{name}: {}", answer.text());
    }
    assert_eq!(write("Origin", &own).status, 204);
    assert_eq!(write("Host", "prom.example").status, 204);
    let read = |host: &str| {
        let form = ("Content-Type", "application/x-www-form-urlencoded");
        server
            .client
            .post("/api/v1/query", &[form, ("Host", host)], b"query=door".to_vec())
            .expect("an answer")
    };
    assert_eq!((read("evil.example").status, read("localhost:1").status), (403, 200));
    let refused = |reason| server.client.metric("promontory_http_requests_refused_total", reason);
    assert_eq!((refused("reason=\"host\""), refused("reason=\"origin\"")), (Some(2.0), Some(2.0)));
}

#[test]
fn six_hundred_silent_connections_do_not_delay_a_probe() {
    let _turn = turns::by_the_clock();
    let workdir = Workdir::new("doors-silent");
    let store = Store::folder(&workdir.join("data"));
    let server = Promontory::start("promontory", workdir.path(), &store, &[]);
    let connect = |_| TcpStream::connect(("127.0.0.1", server.port())).expect("a connection");
    let silent: Vec<TcpStream> = (0..600).map(connect).collect();
    let started = Instant::now();
    let answer = Client::new(server.port()).get("/-/healthy", &[]).expect("an answer");
    assert_eq!(answer.status, 200);
    let took = started.elapsed();
    say(&format!("doors: beside {} silent connections a probe is answered in {took:?}", silent.len()));
    assert!(took < PROBE_MAX, "answered after {took:?}");
    // All are of one peer.
    let closed = server.client.metric("promontory_http_connections_closed_total", "reason=\"peer_limit\"");
    assert!(closed >= Some(600.0 - 256.0), "{closed:?}");
    let waiting = server.client.metric("promontory_http_connections", "state=\"waiting\"");
    assert!(waiting <= Some(256.0), "{waiting:?}");
    drop(silent);
}

#[test]
fn unread_answers_hold_their_places_until_they_are_given_up() {
    let workdir = Workdir::new("doors-unread");
    let store = Store::folder(&workdir.join("data"));
    let flags = ["--query.max-concurrency=2", "--query.max-queue=0", "--web.write-stall-timeout=4s"];
    let server = Promontory::start("promontory", workdir.path(), &store, &flags);
    let base = now_ms() / 1_000 - 3_600;
    let mut request = Request::default();
    for series in 0..1_000 {
        request.series(&[("__name__", "door"), ("series", &series.to_string())], &[(base * 1_000, 1.5)]);
    }
    assert_eq!(write::send(&server.client, request.body()).expect("an answer").status, 204);
    // Some 50 MB, far above what sockets buffer.
    let (start, end) = (base.to_string(), (base + 2_000).to_string());
    let path =
        format!("/api/v1/query_range?query=last_over_time(door%5B1h%5D)&start={start}&end={end}&step=1");
    let ask = |_| {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port())).expect("a connection");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("a request");
        stream
    };
    let deaf: Vec<TcpStream> = (0..2).map(ask).collect();
    let metric = |name: &str, labels: &str| server.client.metric(name, labels).unwrap_or_default();
    let evaluated = || metric("promontory_engine_query_duration_seconds_count", "slice=\"inner_eval\"");
    let running = || metric("promontory_engine_queries_running", "");
    let small = || server.client.get("/api/v1/query", &[("query", "vector(1)")]).expect("an answer");
    wait_for(
        "both answers",
        DEADLINE,
        || if evaluated() == 2.0 { Ok(()) } else { Err(running().to_string()) },
    );
    assert_eq!((running(), small().status), (2.0, 503), "their places are taken");

    wait_for("the end of their patience", DEADLINE, || {
        if running() == 0.0 { Ok(()) } else { Err(running().to_string()) }
    });
    assert_eq!(metric("promontory_http_answers_stalled_total", ""), 2.0);
    assert_eq!(metric("promontory_http_connections_closed_total", "reason=\"stalled\""), 2.0);
    assert_eq!(small().status, 200);
    drop(deaf);
}

/// The answer has an incident and nothing of the machine; the line of the incident has both.
fn check_told(answer: &Answer, log: &str, folder: &Path) {
    let text = answer.text();
    assert_eq!((answer.status, answer.json()["errorType"].as_str()), (503, Some("unavailable")), "{text}");
    let (told, incident) = text.split_once("the log names it as incident ").expect("an incident");
    let folder = folder.display().to_string();
    assert!(told.contains("blocks/") && !text.contains(&folder), "{text}");
    let incident = format!("incident={}", &incident[..8]);
    let line = log.lines().find(|line| line.contains(&incident)).expect("the incident is in the log");
    assert!(line.contains(&folder), "{line}");
}

/// A folder in whose place a file lies until this is dropped.
struct Blocked {
    path: PathBuf,
    aside: PathBuf,
}

impl Blocked {
    fn new(path: PathBuf) -> Self {
        let aside = path.with_extension("aside");
        std::fs::rename(&path, &aside).expect("a folder that can be renamed");
        std::fs::write(&path, b"").expect("a file in its place");
        Self { path, aside }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::rename(&self.aside, &self.path);
    }
}
