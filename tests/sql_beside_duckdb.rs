//! SQL beside DuckDB: random statements over the same rows, each answered equally or refused for a reason that
//! `docs/sql.md` lists.
//!
//! `sql_beside_duckdb.py` makes the statements, asks both and compares; it prints its seed and every kind of
//! difference with its statement. `PROMONTORY_SQL_SEED` replays one, `PROMONTORY_SQL_STATEMENTS` says how many;
//! `PROMONTORY_LONG=1` asks twenty thousand.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::servers::{Promontory, Store};
use crate::support::tools::{repository, tool};
use crate::support::workdir::Workdir;
use crate::support::write::{self, Request};
use crate::support::{say, setting, skipped};

const SUITE: &str = "sql_beside_duckdb";

#[test]
fn random_statements_are_answered_as_duckdb_does() {
    let python = match tool("duckdb-python") {
        Ok(python) => python,
        Err(reason) => return skipped(SUITE, &reason),
    };
    let workdir = Workdir::new(SUITE);
    let store = Store::folder(&workdir.join("data"));
    let server = Promontory::start("promontory", workdir.path(), &store, &[]);
    let request = rows(&python);
    let answer = write::send(&server.client, request.body()).expect("an answer");
    assert_eq!(answer.status, 204, "{}", answer.text());
    let long = setting("PROMONTORY_LONG", 0) > 0;
    let statements = setting("PROMONTORY_SQL_STATEMENTS", if long { 20_000 } else { 2_000 });
    let seed = setting("PROMONTORY_SQL_SEED", 1);
    let output = script(&python)
        .args([server.port().to_string(), seed.to_string(), statements.to_string()])
        .arg(repository().join("docs/sql.md"))
        .output()
        .expect("the script runs");
    let shown = String::from_utf8_lossy(&output.stdout);
    say(&format!("{SUITE}: {}", shown.lines().next().unwrap_or_default()));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{shown}{errors}");
}

fn script(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.arg(repository().join("tests/sql_beside_duckdb.py"));
    command
}

/// The rows that the script also gives to DuckDB.
fn rows(python: &Path) -> Request {
    let output = script(python).arg("data").output().expect("the script runs");
    let mut series = BTreeMap::<String, (Vec<(String, String)>, Vec<(i64, f64)>)>::new();
    for line in String::from_utf8(output.stdout).expect("text").lines() {
        let row: Value = serde_json::from_str(line).expect("JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let labels =
            row[1].as_object().expect("labels").iter().map(|(name, value)| (name.clone(), text(value)));
        let all: Vec<_> = std::iter::once(("__name__".to_owned(), text(&row[0]))).chain(labels).collect();
        let bits: u64 = text(&row[3]).parse().expect("bits");
        let sample = (row[2].as_i64().expect("a time"), f64::from_bits(bits));
        series.entry(format!("{all:?}")).or_insert_with(|| (all, Vec::new())).1.push(sample);
    }
    let mut request = Request::default();
    for (labels, samples) in series.values() {
        request.series(labels, samples);
    }
    request
}
