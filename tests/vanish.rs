//! Objects that vanish, in a real process over a folder: it does not start over a hole, `repair` shows what it
//! would do and changes nothing, `repair --apply` opens the store again, and what is no store of Promontory
//! is left alone.
//!
//! Every kind of object, alone and with all older ones, is the matter of `store::flips::vanish`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::answers;
use crate::support::clock::now_ms;
use crate::support::servers::{Promontory, Store};
use crate::support::workdir::Workdir;
use crate::support::write::{self, Request};

const END_MAX: Duration = Duration::from_secs(20);
const SERIES: usize = 100;

fn fill(server: &Promontory, base: i64) {
    let mut request = Request::default();
    for series in 0..SERIES {
        request.series(&[("__name__", "kept"), ("series", &series.to_string())], &[(base, 1.0)]);
    }
    let answer = write::send(&server.client, request.body()).expect("an answer");
    assert_eq!(answer.status / 100, 2, "{}", answer.text());
}

fn count(server: &Promontory, base: i64) -> Result<f64, String> {
    let time = (base / 1_000 + 1).to_string();
    let answer = server.client.form("/api/v1/query", &[("query", "count(kept)"), ("time", &time)]);
    let answer = answer.expect("an answer");
    answers::one_value(&answer).ok_or_else(|| answer.text())
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn a_store_with_a_hole_is_refused_and_repaired() {
    let workdir = Workdir::new("vanish");
    let data = workdir.join("data");
    let store = Store::folder(&data);
    let mut server = Promontory::start("promontory", workdir.path(), &store, &[]);
    let base = now_ms() - 60_000;
    fill(&server, base);
    assert!(server.terminate().success());

    std::fs::remove_file(data.join("catalog/00000000000000000002")).expect("the version of the birth");
    let (status, log) = server.restart_in_vain(END_MAX);
    assert!(!status.success() && log.contains("catalog/00000000000000000002: is missing"), "{status}: {log}");
    let refusal = store.refusal(&["fsck"]);
    assert!(refusal.contains("catalog/00000000000000000002: is missing"), "{refusal}");

    let before = files(&data);
    let shown = store.command(&["repair"]);
    assert!(shown.contains("replace catalog/00000000000000000002") && shown.contains("nothing was changed"));
    assert_eq!(files(&data), before);
    let done = store.command(&["repair", "--apply"]);
    assert!(done.contains("done; verify with"), "{done}");
    assert!(store.command(&["fsck"]).contains("no problems"));
    assert!(store.command(&["repair"]).contains("nothing to repair"));
    server.restart();
    assert_eq!(count(&server, base), Ok(SERIES as f64));

    // A block that is gone fails the queries that need it, and is given up by name.
    let block = server.block_files().remove(0);
    assert!(server.terminate().success());
    std::fs::remove_file(&block).expect("a file of a block");
    server.restart();
    let error = count(&server, base).expect_err("the block is gone");
    assert!(error.contains("is missing") && error.contains("unavailable"), "{error}");
    let shown = store.command(&["repair"]);
    assert!(shown.contains(&format!("it held {SERIES} samples of anonymous")), "{shown}");
    let id = shown.split("give up block ").nth(1).and_then(|rest| rest.split(':').next()).expect("a block");
    store.command(&["forget-block", id]);
    assert!(server.terminate().success());
    server.restart();
    assert!(count(&server, base).is_err_and(|answer| answer.contains("success")), "an empty answer");
    assert!(server.terminate().success());
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let workdir = Workdir::new("foreign");
    let data = workdir.join("prometheus");
    std::fs::create_dir_all(data.join("wal")).expect("a folder");
    std::fs::write(data.join("wal/00000000"), "a segment of Prometheus").expect("a file");
    let store = Store::folder(&data);
    let before = files(&data);
    for arguments in [&["serve", "--web.listen-address=127.0.0.1:0"][..], &["fsck"], &["repair"]] {
        let refusal = store.refusal(arguments);
        assert!(refusal.contains("wal/00000000"), "{arguments:?}: {refusal}");
    }
    assert_eq!(files(&data), before);
}
