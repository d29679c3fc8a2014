//! Benchmarks beside the peers, on demand: `cargo run --release --locked -p promontory-benches -- report`.
//!
//! One command starts Promontory, Prometheus and VictoriaMetrics on loopback, gives all of them the
//! same data in the same run, and writes one page with every floor and goal marked as met or missed.
//! The peers come from `scripts/install-tools --benches`; without them there is no report.
//!
//! In reading order: [`options`] (what the user typed), [`product`] (the binary that is measured),
//! [`peers`] (the programs), [`shapes`] and [`host_metrics`] (the data), [`delivery`] (how it is
//! sent), the three parts [`ingest`], [`bytes`] and [`queries`], [`verdicts`] (floors, goals,
//! comparisons), [`report`] (the page).
//!
//! A program is stopped by its process id when its value is dropped, also after an error.
#![allow(clippy::print_stdout, clippy::print_stderr)] // A program of the command line.

mod bytes;
mod delivery;
mod host_metrics;
mod ingest;
mod options;
mod peers;
mod product;
mod queries;
mod report;
mod shapes;
#[allow(dead_code, clippy::unwrap_used)] // The suites use the rest of it.
#[path = "../../tests/support/mod.rs"]
mod support;
mod verdicts;

use std::process::ExitCode;

use anyhow::Result;

use crate::options::{Options, USAGE};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let options = match Options::parse(&arguments) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error:#}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options, &arguments) {
        Ok(page) => {
            println!("{page}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options, arguments: &[String]) -> Result<String> {
    if !product::is_named() {
        return Err(product::name_and_start_again(arguments));
    }
    report::write(options)
}
