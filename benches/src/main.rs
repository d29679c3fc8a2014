//! Benchmarks beside the peers, on demand: `cargo run --release -p promontory-benches -- <name>`.
//!
//! Each starts the real programs, gives all of them the same data in the same run, and writes a page
//! to `benches/results`. The peers come from `scripts/install-tools --benches`; one that cannot be
//! had is left out by name.
#![allow(clippy::print_stdout, clippy::print_stderr)] // A program of the command line.

mod figures;
mod peers;
mod shapes;
#[allow(dead_code, clippy::unwrap_used)] // The suites use the rest of it.
#[path = "../../tests/support/mod.rs"]
mod support;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo run --release -p promontory-benches -- first-figures";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["first-figures"] => figures::first_figures(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
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
