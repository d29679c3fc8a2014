//! What the program shows to those whom it does not know: the words of its store stay inside.

use std::path::{Path, PathBuf};

use crate::support::clock::now_ms;
use crate::support::http::Answer;
use crate::support::servers::{Promontory, Store};
use crate::support::workdir::Workdir;
use crate::support::write::{self, Request};

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
