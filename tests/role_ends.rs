//! A role that ends by a panic takes the process with it: `/-/ready` fails first, the exit status is
//! an error within a second, and after the restart every acknowledged sample is whole.
//!
//! The panic is planted by `promontory_store::panic_when_asked`, which only the binary of the
//! suites has: `testkit`, a dependency of tests alone, switches it on.
//!
//! 1. Start all roles in one process over a folder; a sender writes all the time, one series a request.
//! 2. Plant a panic in one task; watch `/-/ready` and the process.
//! 3. Start again, read everything back, stop, `fsck`.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::clock::{now_ms, pause, wait_for};
use crate::support::http::Client;
use crate::support::say;
use crate::support::servers::{Promontory, Store};
use crate::support::turns;
use crate::support::workdir::Workdir;
use crate::support::write::{self, Request};

/// Every task that the process cannot do without, by the name under which it is started.
const TASKS: [&str; 7] =
    ["ingester", "ingester slots", "ingester flush", "querier", "query runtime", "compactor", HTTP_SERVER];
const HTTP_SERVER: &str = "http server";
/// Names the file that names the task, as `promontory_store::panic_when_asked` says.
const PANIC_VARIABLE: &str = "PROMONTORY_PLANTED_PANIC";
const EXIT_MAX: Duration = Duration::from_secs(1);
/// Also a loaded machine plants and notices by then.
const DEADLINE: Duration = Duration::from_secs(20);
/// Requests that must be acknowledged before the panic.
const REQUESTS_BEFORE: usize = 3;
const SAMPLES: i64 = 5;
/// Short, so that the process is not missed while it is going.
const LOOK_TIMEOUT: Duration = Duration::from_millis(200);

#[test]
fn a_panic_in_any_role_ends_the_process_and_loses_nothing() {
    let _turn = turns::by_the_clock();
    for task in TASKS {
        let workdir = Workdir::new("role-ends");
        let file = workdir.join("panic");
        let store =
            Store::folder(&workdir.join("data")).with_variable(PANIC_VARIABLE, file.display().to_string());
        let mut process =
            Promontory::start("all", workdir.path(), &store, &["--ingester.flush-interval=200ms"]);
        let client = process.client.clone();
        let stop = AtomicBool::new(false);
        let (acknowledged, ended) = std::thread::scope(|scope| {
            let sender = scope.spawn(|| send(&client, &stop));
            wait_for_acknowledgements(&client);
            std::fs::write(&file, task).expect("a file that plants a panic");
            let ended = watch(task, &mut process);
            stop.store(true, Relaxed);
            (sender.join().expect("the sender does not panic"), ended)
        });
        say(&format!("role_ends: {task}: {ended:?}, {} requests acknowledged", acknowledged.len()));
        ended.check(task);

        std::fs::remove_file(&file).expect("the file that planted the panic");
        process.restart();
        check_whole(task, &process.client, &acknowledged);
        assert!(process.terminate().success(), "{task}: a graceful stop after the restart");
        store.command(&["fsck"]);
    }
}

/// How a process ended.
#[derive(Debug)]
struct Ended {
    /// While the process still ran `/-/ready` was answered with 503, or not at all if that is all that a
    /// process without its server can do.
    was_not_ready: bool,
    exit_code: Option<i32>,
    /// From the planting.
    after: Duration,
}

impl Ended {
    fn check(&self, task: &str) {
        assert!(self.was_not_ready, "{task}: the process ended before it was not ready");
        assert_eq!(self.exit_code, Some(1), "{task}: exit status");
        assert!(self.after <= EXIT_MAX, "{task}: the process ended only after {:?}", self.after);
    }
}

/// Looks at readiness and process until the process has ended.
fn watch(task: &str, process: &mut Promontory) -> Ended {
    let started = Instant::now();
    let client = process.client.with_timeout(LOOK_TIMEOUT);
    let mut was_not_ready = false;
    wait_for(
        &format!("a panic in {task} to end the process (is it built with planted bugs?)"),
        DEADLINE,
        || {
            let answer = client.get("/-/ready", &[]);
            if !process.program().is_alive() {
                return Ok(());
            }
            was_not_ready |= answer.map_or(task == HTTP_SERVER, |answer| answer.status == 503);
            Err("still runs".to_owned())
        },
    );
    let after = started.elapsed();
    let exit_code = process.program().wait(DEADLINE).code();
    Ended { was_not_ready, exit_code, after }
}

/// Sends requests one after the other; answers which were acknowledged.
fn send(client: &Client, stop: &AtomicBool) -> Vec<usize> {
    let first_ms = now_ms() - 60_000;
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if stop.load(Relaxed) {
            break;
        }
        let mut request = Request::default();
        let labels = [("__name__", "role_ends".to_owned()), ("request", number.to_string())];
        let samples: Vec<_> = (0..SAMPLES).map(|nth| (first_ms + nth, value(number, nth))).collect();
        request.series(&labels, &samples);
        match write::send(client, request.body()) {
            Ok(answer) if answer.status == 204 => acknowledged.push(number),
            _ => pause(Duration::from_millis(10)),
        }
    }
    acknowledged
}

fn value(request: usize, nth: i64) -> f64 {
    (request as i64 * SAMPLES + nth) as f64
}

fn wait_for_acknowledgements(client: &Client) {
    wait_for("requests to be acknowledged", DEADLINE, || {
        let appends = client.metric("promontory_ingester_samples_total", "").unwrap_or_default();
        let wanted = (REQUESTS_BEFORE as i64 * SAMPLES) as f64;
        if appends >= wanted { Ok(()) } else { Err(format!("{appends} samples are durable")) }
    });
}

fn check_whole(task: &str, client: &Client, acknowledged: &[usize]) {
    assert!(acknowledged.len() >= REQUESTS_BEFORE, "{task}: only {} requests", acknowledged.len());
    let answer = client.form("/api/v1/query", &[("query", "role_ends[1h]")]).expect("an answer");
    assert_eq!(answer.status, 200, "{task}: {}", answer.text());
    let answer = answer.json();
    let found = answer["data"]["result"].as_array().expect("a matrix");
    for number in acknowledged {
        let name = number.to_string();
        let series = found.iter().find(|series| series["metric"]["request"].as_str() == Some(&name));
        let values = series.and_then(|series| series["values"].as_array());
        let values: Vec<f64> = values.into_iter().flatten().filter_map(sample_value).collect();
        let sent: Vec<f64> = (0..SAMPLES).map(|nth| value(*number, nth)).collect();
        assert_eq!(values, sent, "{task}: request {number}");
    }
}

fn sample_value(pair: &Value) -> Option<f64> {
    pair[1].as_str()?.parse().ok()
}
