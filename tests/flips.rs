//! One bit of a stopped Promontory's folder is flipped, then a new process answers: the right values,
//! or an error (of a segment: a warning) that names the object and the bytes; never a wrong value, and
//! never a missing one without a word. `promontory fsck` names the same and fails.
//!
//! The suite in `crates/store` flips bits in every region of every kind of object; this one shows that
//! what is found there arrives at a user.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::support::answers::{self, Matrix};
use crate::support::clock::now_ms;
use crate::support::http::Answer;
use crate::support::say;
use crate::support::servers::{Promontory, Store};
use crate::support::workdir::Workdir;
use crate::support::write::{self, Request};

const SERIES: usize = 40;
const SAMPLES: usize = 50;
/// Places in a file of a block whose bits are flipped, in equal steps.
const PLACES: usize = 8;
/// How long a process may take to find out that it cannot start.
const REFUSE_DEADLINE: Duration = Duration::from_secs(30);

#[test]
fn a_flip_in_a_block_or_catalog_version_is_an_error_that_names_it() {
    let mut trial = Trial::start("flips-block");
    assert!(trial.server.terminate().success());
    let blocks = trial.files("blocks");
    for kind in ["samples.parquet", "series.parquet"] {
        let path = blocks.iter().find(|path| path.ends_with(kind)).expect("the last block was written");
        let size = std::fs::metadata(path).expect("a file").len() as usize;
        let bytes = (0..PLACES).map(|place| size * (2 * place + 1) / (2 * PLACES));
        let outcomes: Vec<Outcome> = bytes.map(|byte| trial.flip(path, byte)).collect();
        let errors = outcomes.iter().filter(|outcome| **outcome == Outcome::Error).count();
        say(&format!("flips: {kind}: {errors} of {PLACES} flips are errors, the others without effect"));
        assert!(errors > 0, "{kind}: no query noticed anything");
    }
    let versions = trial.files("catalog");
    for path in [&versions[0], &versions[versions.len() - 1]] {
        trial.flip_so_that_nothing_starts(path);
    }
    trial.expect_all_right();
}

#[test]
fn a_flip_in_a_segment_is_a_warning_that_names_it() {
    let mut trial = Trial::start("flips-segment");
    trial.server.kill();
    let segment = trial.files("wal").into_iter().max_by_key(|path| std::fs::metadata(path).unwrap().len());
    let segment = segment.expect("an acknowledged segment");
    let size = std::fs::metadata(&segment).expect("a file").len() as usize;
    for byte in [20, 90, size / 2, size - 1] {
        assert_eq!(trial.flip(&segment, byte), Outcome::Warning, "byte {byte}");
    }
    trial.expect_all_right();
}

/// What the answer to the query was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Right,
    Warning,
    Error,
}

/// A Promontory over a folder and what was sent to it.
struct Trial {
    server: Promontory,
    root: PathBuf,
    sent: Matrix,
    /// Seconds of a moment after all samples.
    time: String,
    _workdir: Workdir,
}

impl Trial {
    /// Starts it and sends samples that compress badly, so that their pages are most of the file.
    fn start(suite: &str) -> Self {
        let workdir = Workdir::new(suite);
        let root = workdir.join("data");
        let server = Promontory::start("promontory", workdir.path(), &Store::folder(&root), &[]);
        let (mut request, mut sent) = (Request::default(), Matrix::new());
        let base = now_ms() / 1_000 * 1_000 - 120_000;
        for series in 0..SERIES {
            let labels = [
                ("__name__", "flip".to_owned()),
                ("digest", format!("{:016x}", mix(series, SAMPLES).to_bits())),
                ("series", series.to_string()),
            ];
            let samples: Vec<(i64, f64)> =
                (0..SAMPLES).map(|k| (base + 1_000 * k as i64, mix(series, k))).collect();
            request.series(&labels, &samples);
            let labels: std::collections::BTreeMap<_, _> = labels.into_iter().collect();
            sent.insert(serde_json::to_string(&labels).expect("a map of strings"), samples);
        }
        let answer = write::send(&server.client, request.body()).expect("an answer");
        assert_eq!(answer.status / 100, 2, "{}", answer.text());
        let time = (base / 1_000 + SAMPLES as i64).to_string();
        Self { server, root, sent, time, _workdir: workdir }
    }

    /// The files below a folder of the bucket, in order.
    fn files(&self, folder: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![self.root.join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder of the bucket").flatten() {
                let path = entry.path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files
    }

    /// Flips a bit of the stopped server's file; checks the answers of a new process and the check of
    /// the bucket; flips it back.
    fn flip(&mut self, path: &Path, byte: usize) -> Outcome {
        let flipped = Flipped::new(path, byte);
        let named = Named { key: self.key(path), byte };
        let (clean, text) = self.server.fsck();
        assert!(!clean && named.is_in(&text), "fsck with {named:?}: {text}");
        self.server.restart();
        let outcome = self.judge(&self.ask(), &named);
        self.judge_sql(&self.ask_sql(), &named);
        assert!(self.server.terminate().success());
        drop(flipped);
        outcome
    }

    fn judge(&self, answer: &Answer, named: &Named) -> Outcome {
        if answer.status != 200 {
            named.assert_error(answer);
            return Outcome::Error;
        }
        let found = answers::matrix(answer);
        for (series, samples) in &found {
            let sent = self.sent.get(series).unwrap_or_else(|| panic!("{named:?}: invented {series}"));
            assert!(samples.iter().all(|sample| sent.contains(sample)), "{named:?}: altered {series}");
        }
        let told = named.is_in_warnings_of(answer);
        assert!(told || found == self.sent, "{named:?}: samples are missing without a warning");
        if told { Outcome::Warning } else { Outcome::Right }
    }

    /// The other way to the same samples.
    fn judge_sql(&self, answer: &Answer, named: &Named) {
        if answer.status != 200 {
            return named.assert_error(answer);
        }
        assert!(
            self.is_right_in_sql(answer) || named.is_in_warnings_of(answer),
            "{named:?}: SQL says {}",
            answer.text()
        );
    }

    fn is_right_in_sql(&self, answer: &Answer) -> bool {
        let row = &answer.json()["data"]["rows"][0];
        let greatest = self.sent.values().flatten().map(|sample| sample.1).fold(f64::NEG_INFINITY, f64::max);
        // The JSON reader of the test may be off by one unit in the last place.
        let close = row[1].as_f64().is_some_and(|found| (found / greatest - 1.0).abs() < 1e-12);
        row[0] == SERIES * SAMPLES && close
    }

    /// Without its catalog a server cannot know what counts.
    fn flip_so_that_nothing_starts(&mut self, path: &Path) {
        let size = std::fs::metadata(path).expect("a file").len() as usize;
        for byte in [0, 5, size / 2, size - 1] {
            let flipped = Flipped::new(path, byte);
            let named = Named { key: self.key(path), byte };
            let (clean, text) = self.server.fsck();
            assert!(!clean && named.is_in(&text), "fsck with {named:?}: {text}");
            let (status, log) = self.server.restart_in_vain(REFUSE_DEADLINE);
            assert!(!status.success() && named.is_in(&log), "a start with {named:?}: {status}: {log}");
            drop(flipped);
        }
    }

    /// With every bit in its place again nothing is missing.
    fn expect_all_right(&mut self) {
        let (clean, text) = self.server.fsck();
        assert!(clean, "{text}");
        self.server.restart();
        let answer = self.ask();
        assert_eq!(answers::matrix(&answer), self.sent);
        assert!(answer.json()["warnings"].is_null(), "{}", answer.text());
        let answer = self.ask_sql();
        assert!(self.is_right_in_sql(&answer), "{}", answer.text());
    }

    fn ask(&self) -> Answer {
        let query = [("query", "flip[10m]"), ("time", self.time.as_str())];
        self.server.client.form("/api/v1/query", &query).expect("an answer")
    }

    fn ask_sql(&self) -> Answer {
        let query = [("query", "SELECT count(*), max(value) FROM samples WHERE name = 'flip'")];
        self.server.client.form("/api/v1/sql", &query).expect("an answer")
    }

    fn key(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).expect("a file of the bucket").display().to_string()
    }
}

/// What a message must name: an object, and a range of bytes with this one in it.
#[derive(Debug)]
struct Named {
    key: String,
    byte: usize,
}

impl Named {
    fn assert_error(&self, answer: &Answer) {
        let (json, text) = (answer.json(), answer.text());
        assert!([500, 503].contains(&answer.status), "{self:?}: status {}: {text}", answer.status);
        assert!(json["errorType"].is_string(), "{self:?}: {text}");
        assert!(self.is_in(json["error"].as_str().unwrap_or_default()), "{self:?}: {text}");
    }

    fn is_in_warnings_of(&self, answer: &Answer) -> bool {
        let warnings = answer.json()["warnings"].as_array().cloned().unwrap_or_default();
        warnings.iter().filter_map(Value::as_str).any(|warning| self.is_in(warning))
    }

    fn is_in(&self, text: &str) -> bool {
        let range = |text: &str| -> Option<Range<usize>> {
            let (start, rest) = text.split_once("..")?;
            let end: String = rest.chars().take_while(char::is_ascii_digit).collect();
            Some(start.parse().ok()?..end.parse().ok()?)
        };
        let mut ranges = text.split("at bytes ").skip(1).filter_map(range);
        text.contains(&self.key) && ranges.any(|range| range.contains(&self.byte))
    }
}

/// A file with one flipped bit; dropping it restores the file.
struct Flipped {
    path: PathBuf,
    whole: Vec<u8>,
}

impl Flipped {
    fn new(path: &Path, byte: usize) -> Self {
        let whole = std::fs::read(path).expect("a file of the bucket");
        let mut flipped = whole.clone();
        flipped[byte] ^= 1 << (byte % 8);
        std::fs::write(path, flipped).expect("the file can be written");
        Self { path: path.to_owned(), whole }
    }
}

impl Drop for Flipped {
    fn drop(&mut self) {
        let _ = std::fs::write(&self.path, &self.whole);
    }
}

/// A finite value of which every bit counts.
fn mix(series: usize, sample: usize) -> f64 {
    let state = (series as u64 * 1_000 + sample as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (state ^ (state >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 11) as f64 / (1_u64 << 20) as f64
}
