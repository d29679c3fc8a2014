//! The program: reads the command line, runs one command, says what went wrong.

use std::io::Write as _;
use std::process::ExitCode;

use promontory::CommandLine;

/// Blocks are made of large buffers on many threads, which the system's allocator keeps when they are
/// freed: 11 KiB per active series instead of 2.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let command = match CommandLine::read(std::env::args_os()) {
        Ok(command) => command,
        Err(wrong) if wrong.use_stderr() => {
            let _ = writeln!(std::io::stderr(), "{}", in_few_lines(&wrong.to_string()));
            return ExitCode::from(2);
        }
        Err(asked) => asked.exit(),
    };
    match promontory::run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            ExitCode::FAILURE
        }
    }
}

/// What is wrong with an argument and where to read more, without the whole usage.
fn in_few_lines(error: &str) -> String {
    let lines = error.lines().map(str::trim_end);
    lines.filter(|line| !line.is_empty() && !line.starts_with("Usage:")).collect::<Vec<_>>().join("\n")
}

/// The last word of a command, if there is somebody to read it.
fn print_error(error: &anyhow::Error) {
    let _ = writeln!(std::io::stderr(), "promontory: {}", with_causes(error));
}

/// An error and its causes, without those that it names itself.
fn with_causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(|cause| cause.to_string()) {
        let cause = cause.trim_end();
        if text.is_empty() {
            text.push_str(cause);
        } else if !text.contains(cause) {
            text.push_str(": ");
            text.push_str(cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_wrong_argument_is_told_in_few_lines() {
        let error = "error: unexpected argument\n\n  tip: another\n\nUsage: promontory [OPTIONS]\n\nFor more, try '--help'.\n";
        assert_eq!(
            in_few_lines(error),
            "error: unexpected argument\n  tip: another\nFor more, try '--help'."
        );
    }

    #[test]
    fn a_cause_that_was_named_is_not_named_again() {
        let error = anyhow!("disk is full\n").context("cannot write x: disk is full").context("cannot stop");
        assert_eq!(with_causes(&error), "cannot stop: cannot write x: disk is full");
        let error = anyhow!("disk is full").context("cannot write x");
        assert_eq!(with_causes(&error), "cannot write x: disk is full");
    }
}
