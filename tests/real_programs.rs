//! The suites that run real programs: the binary itself, Prometheus, MinIO, node-exporter, DuckDB.
//!
//! One test binary, so that suites overlap where one of them waits. What each shows is said at the
//! head of its file; `cargo test -p promontory --test real_programs <suite>` runs one of them.
#![allow(clippy::unwrap_used)] // Lint exemptions for tests do not reach helpers outside `#[test]`.

mod bad_input;
mod conformance_http;
mod doors;
mod end_to_end;
mod flips;
mod http_forms;
mod kill;
mod label_bytes;
mod outage;
mod overload;
mod role_ends;
mod slow_link;
mod sql_beside_duckdb;
mod store_words;
mod support;
mod tutorial;
mod vanish;
mod wrong_starts;
