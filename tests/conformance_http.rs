//! Prometheus' own PromQL scripts the whole way: each script's samples by remote write into a started
//! Promontory over a folder, each evaluation over HTTP, against a ratchet of what passes.
//!
//! The runner and the ratchet are those of the in-process suite; only the route differs. Each block of
//! data has a tenant of its own, so nothing has to be deleted between blocks.
//!
//! `PROMONTORY_BLESS=1` writes the ratchet anew, `PROMONTORY_SHOW_FAILURES=1` prints what does not
//! pass, `PROMONTORY_CONFORMANCE` says where the scripts lie.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;

use promontory_model::Floats;
use promontory_model::Labels;
use promontory_model::samples::SampleValue;
use promontory_promql::engine::{Annotations, Sample, Series, Value};
use promontory_testkit::conformance::{
    BLESS_VARIABLE, EvalOutcome, FloatSeries, Ratchet, Route, folder, run_script, scripts,
};
use serde_json::Value as Json;

use crate::support::http::{Answer, Client};
use crate::support::servers::{Promontory, Store};
use crate::support::tools::repository;
use crate::support::workdir::Workdir;
use crate::support::write::{self, Request};
use crate::support::{say, skipped};

const SUITE: &str = "conformance_http";
/// As upstream's test engine.
const FLAGS: [&str; 4] = [
    "--auth.multitenancy-enabled",
    "--query.max-samples=10000",
    "--ingester.flush-interval=200ms",
    "--enable-feature=promql-experimental-functions,promql-binop-fill-modifiers,promql-delayed-name-removal",
];
/// Scripts that run at once: while one waits for an acknowledgement, others evaluate.
const SCRIPTS_AT_ONCE: usize = 4;
/// The issue that built the first trip asks for so many at least.
const PASSING_MIN: usize = 500;

#[test]
fn what_passes_of_prometheus_scripts_over_http_only_grows() {
    let scripts = match folder("promqltest") {
        Ok(folder) => scripts(&folder).expect("scripts can be read"),
        Err(reason) => return skipped(SUITE, &reason),
    };
    let workdir = Workdir::new(SUITE);
    let store = Store::folder(&workdir.join("data"));
    let mut server = Promontory::start("promontory", workdir.path(), &store, &FLAGS);
    let outcomes = run_all(&server.client, scripts);
    assert!(server.program().is_alive(), "promontory has ended");
    let status = server.terminate();
    assert!(status.success(), "after SIGTERM: {status}");

    let mut now = Ratchet::default();
    for (file, outcomes) in &outcomes {
        let passing: Vec<_> = outcomes.iter().filter(|outcome| outcome.result.is_ok()).collect();
        passing.iter().for_each(|outcome| now.note(file, outcome.line));
        say(&format!("{SUITE}: {file}: {} of {}", passing.len(), outcomes.len()));
        if std::env::var_os("PROMONTORY_SHOW_FAILURES").is_some() {
            show_failures(file, outcomes);
        }
    }
    let path = repository().join("tests/ratchets/promqltest_http.txt");
    let turn = Ratchet::read(&path).expect("the ratchet can be read").turn(&now);
    say(&format!("{SUITE}: {} pass, {} more than in the ratchet", now.len(), turn.gained.len()));
    if std::env::var_os(BLESS_VARIABLE).is_some() {
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).expect("a folder for the ratchet");
        now.write(&path).expect("the ratchet can be written");
    } else {
        assert!(turn.lost.is_empty(), "passed before and do not pass now: {:?}", turn.lost);
    }
    assert!(now.len() >= PASSING_MIN, "{} of at least {PASSING_MIN} pass", now.len());
}

fn show_failures(file: &str, outcomes: &[EvalOutcome]) {
    for outcome in outcomes {
        if let Err(reason) = &outcome.result {
            say(&format!("  {file}:{}: {reason}", outcome.line));
        }
    }
}

/// A few scripts at a time, the longest first.
fn run_all(client: &Client, scripts: BTreeMap<String, String>) -> BTreeMap<String, Vec<EvalOutcome>> {
    let mut queue: Vec<(String, String)> = scripts.into_iter().collect();
    queue.sort_by_key(|(_, text)| text.len());
    let (queue, done) = (Mutex::new(queue), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..SCRIPTS_AT_ONCE {
            scope.spawn(|| {
                while let Some((file, text)) = next(&queue) {
                    let mut route = Http::new(client, &file);
                    let outcomes =
                        run_script(&text, &mut route).unwrap_or_else(|why| panic!("{file}: {why}"));
                    done.lock().expect("no thread panics with it").insert(file, outcomes);
                }
            });
        }
    });
    done.into_inner().expect("all threads have ended")
}

fn next(queue: &Mutex<Vec<(String, String)>>) -> Option<(String, String)> {
    queue.lock().expect("no thread panics with it").pop()
}

/// A server, as a tenant that nobody else uses.
struct Http {
    server: Client,
    client: Client,
    script: String,
    blocks: usize,
}

impl Http {
    fn new(server: &Client, file: &str) -> Self {
        let script = file.trim_end_matches(".test").to_owned();
        Self { server: server.clone(), client: server.clone(), script, blocks: 0 }
    }

    fn ask(&self, path: &str, fields: &[(&str, &str)]) -> Result<(Value, Annotations), String> {
        read(&self.client.form(path, fields)?)
    }
}

impl Route for Http {
    fn clear(&mut self) -> Result<(), String> {
        self.blocks += 1;
        self.client = self.server.with_tenant(&format!("{}-{}", self.script, self.blocks));
        Ok(())
    }

    fn load(&mut self, series: &[FloatSeries]) -> Result<(), String> {
        let mut request = Request::default();
        for (labels, samples) in series {
            let labels: Vec<(String, String)> = labels
                .as_ref()
                .sorted_pairs()
                .into_iter()
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect();
            request.series(&labels, samples);
        }
        let answer = write::send(&self.client, request.body())?;
        if answer.status / 100 == 2 { Ok(()) } else { Err(answer.text()) }
    }

    fn instant(&mut self, expr: &str, time: i64) -> Result<(Value, Annotations), String> {
        self.ask("/api/v1/query", &[("query", expr), ("time", &seconds(time))])
    }

    fn range(&mut self, expr: &str, start: i64, end: i64, step: i64) -> Result<(Value, Annotations), String> {
        let (start, end, step) = (seconds(start), seconds(end), seconds(step));
        let fields = [("query", expr), ("start", &start), ("end", &end), ("step", &step)];
        self.ask("/api/v1/query_range", &fields)
    }
}

/// A timestamp as the API takes it.
fn seconds(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    format!("{sign}{}.{:03}", ms / 1_000, ms % 1_000)
}

/// An answer in the engine's own types; an error is its text.
fn read(answer: &Answer) -> Result<(Value, Annotations), String> {
    let json = answer.json();
    if json["status"] != "success" {
        return Err(json["error"].as_str().map_or_else(|| answer.text(), str::to_owned));
    }
    let annotations = Annotations { warnings: texts(&json["warnings"]), infos: texts(&json["infos"]) };
    let value = value(&json["data"]).ok_or_else(|| format!("unreadable answer: {}", answer.text()))?;
    Ok((value, annotations))
}

fn texts(list: &Json) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

fn value(data: &Json) -> Option<Value> {
    let result = &data["result"];
    let entries = || result.as_array().into_iter().flatten();
    match data["resultType"].as_str()? {
        "matrix" => entries().map(series).collect::<Option<_>>().map(Value::Matrix),
        "vector" => entries().map(sample).collect::<Option<_>>().map(Value::Vector),
        "scalar" => point(result).map(|(ts, value)| Value::Scalar { ts, value }),
        "string" => {
            Some(Value::String { ts: milliseconds(&result[0])?, text: result[1].as_str()?.to_owned() })
        }
        _ => None,
    }
}

fn series(entry: &Json) -> Option<Series> {
    let floats = entry["values"].as_array()?.iter().map(point).collect::<Option<Floats>>()?;
    Some(Series { labels: labels(&entry["metric"])?, samples: floats.into() })
}

fn sample(entry: &Json) -> Option<Sample> {
    let (ts, value) = point(&entry["value"])?;
    Some(Sample { labels: labels(&entry["metric"])?, ts, value: SampleValue::Float(value) })
}

fn labels(metric: &Json) -> Option<Labels> {
    let pairs = metric.as_object()?.iter().map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    Some(Labels::from_pairs(pairs.collect::<Option<Vec<_>>>()?))
}

fn point(pair: &Json) -> Option<(i64, f64)> {
    Some((milliseconds(&pair[0])?, pair[1].as_str()?.parse().ok()?))
}

/// Seconds with up to three decimals: rounding gives back the milliseconds.
fn milliseconds(seconds: &Json) -> Option<i64> {
    Some((seconds.as_f64()? * 1_000.0).round() as i64)
}
