//! The largest legal label sets: a few kilobytes in the store, gigabytes in memory. They are taken as far as
//! `--head.max-memory` goes, and what is refused is refused by name; known series are taken on; whoever adopts,
//! merges or queries them stays within the memory of the process.
//!
//! `PROMONTORY_LONG=1` sends as many as once ended an ingester for ever.

use std::time::Duration;

use crate::support::answers;
use crate::support::clock::{now_ms, pause, wait_for};
use crate::support::http::Client;
use crate::support::servers::{Promontory, Store};
use crate::support::workdir::Workdir;
use crate::support::write::{self, Request};
use crate::support::{say, setting};

/// All labels that a series may have, each as long as it may be.
const LABELS: usize = 59;
const VALUE_BYTES: usize = 4_096;
/// In one request: close to what it may have decoded.
const SERIES_PER_REQUEST: usize = 100;
const HEAD_MEMORY: u64 = 1 << 30;
/// Beside the head: a block that is being encoded, the answers, the program itself.
const RESIDENT_MAX: u64 = HEAD_MEMORY + (640 << 20);
const DEADLINE: Duration = Duration::from_secs(90);

fn body(first: usize, at: i64) -> Vec<u8> {
    let mut request = Request::default();
    for series in first..first + SERIES_PER_REQUEST {
        let mut labels = vec![("__name__".to_owned(), "wide".to_owned())];
        // All values but one are those of every other series.
        labels.push(("a".to_owned(), format!("{series:0>VALUE_BYTES$}")));
        labels.extend((1..LABELS).map(|n| (format!("b{n:02}"), "x".repeat(VALUE_BYTES))));
        request.series(&labels, &[(at, 1.0)]);
    }
    request.body()
}

fn send_small(client: &Client, at: i64) -> u16 {
    let mut request = Request::default();
    request.series(&[("__name__", "small")], &[(at, 1.0)]);
    write::send(client, request.body()).expect("an answer").status
}

fn count(client: &Client, at: i64) -> Result<f64, String> {
    let time = (at / 1_000 + 1).to_string();
    let answer = client.form("/api/v1/query", &[("query", "count(wide)"), ("time", &time)])?;
    answers::one_value(&answer).ok_or_else(|| answer.text())
}

#[test]
fn the_largest_legal_labels_end_nothing() {
    let requests =
        setting("PROMONTORY_LABEL_REQUESTS", if setting("PROMONTORY_LONG", 0) > 0 { 98 } else { 12 });
    let workdir = Workdir::new("label-bytes");
    let store = Store::folder(&workdir.join("data"));
    let memory = format!("--head.max-memory={HEAD_MEMORY}B");
    let first_life = [memory.as_str(), "--ingester.block-interval=1h"];
    let mut server = Promontory::start("promontory", workdir.path(), &store, &first_life);
    let base = now_ms() - 60_000;
    assert_eq!(send_small(&server.client, base), 204);
    let mut refusal = None;
    for request in 0..requests as usize {
        let answer =
            write::send(&server.client, body(request * SERIES_PER_REQUEST, base)).expect("an answer");
        match answer.status {
            204 => assert!(refusal.is_none(), "request {request} was taken after one was refused"),
            400 => refusal = Some(answer.text()),
            status => panic!("request {request}: {status}: {}", answer.text()),
        }
    }
    let refusal = refusal.expect("more than the memory holds was sent");
    assert!(refusal.contains("raise --head.max-memory"), "{refusal}");
    assert_eq!(send_small(&server.client, base + 1_000), 204, "a known series is taken");
    let metric =
        |server: &Promontory, name: &str| server.client.metric(name, "").expect("the metric is exported");
    let taken = metric(&server, "promontory_ingester_series") - 1.0;
    let index_bytes = metric(&server, "promontory_ingester_index_bytes");
    assert!(taken >= 300.0 && index_bytes <= HEAD_MEMORY as f64 / 4.0, "{taken} series, {index_bytes} bytes");
    let refused =
        server.client.metric("promontory_ingester_samples_refused_total", "reason=\"series_limit\"");
    assert_eq!(refused, Some(requests as f64 * SERIES_PER_REQUEST as f64 - taken));
    assert_eq!(count(&server.client, base), Ok(taken));
    let peaks = [server.program().resident_peak_bytes()];

    // Nothing of it is in a block: the next process adopts, and merges.
    server.kill();
    let flags = [
        memory.as_str(),
        "--ingester.block-interval=1s",
        "--ingester.idle-interval=1s",
        "--compactor.adopt-after=3s",
        "--compactor.l2-after=2s",
    ];
    let mut server = Promontory::start("successor", workdir.path(), &store, &flags);
    assert_eq!(count(&server.client, base), Ok(taken));
    wait_for("blocks of level 2", DEADLINE, || {
        let levels = store.blocks_by_level();
        let merged = levels.contains_key("L2") && !levels.contains_key("L1");
        merged.then_some(()).ok_or_else(|| format!("{levels:?}"))
    });
    assert_eq!(count(&server.client, base), Ok(taken));
    assert_eq!(send_small(&server.client, base + 2_000), 204);
    pause(Duration::from_secs(2));
    assert!(server.program().is_alive());
    let peaks: Vec<u64> =
        peaks.into_iter().chain([server.program().resident_peak_bytes()]).flatten().collect();
    let mib: Vec<u64> = peaks.iter().map(|peak| peak >> 20).collect();
    say(&format!("label_bytes: {taken} series of 240 kB taken; peaks of both processes {mib:?} MiB"));
    assert!(peaks.iter().all(|peak| *peak < RESIDENT_MAX), "{mib:?} MiB");
    let (clean, text) = server.fsck();
    assert!(clean, "{text}");
    assert!(server.terminate().success());
}
