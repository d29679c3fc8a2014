//! The binary that is measured: built from this checkout with the profile of this program, or what
//! `PROMONTORY_BINARY` names.
//!
//! The shared support reads that variable, and a process cannot safely change its own environment, so
//! this program builds the binary and then replaces itself by itself with the variable set. The
//! process id stays.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Error, Result, ensure};

use crate::support::tools::{promontory_binary, repository};

const VARIABLE: &str = "PROMONTORY_BINARY";
/// Set beside it, so that the report knows which profile it names.
const PROFILE: &str = "PROMONTORY_BENCHES_PROFILE";

/// True if the environment names a binary, so that none has to be built.
pub fn is_named() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Builds the binary and becomes this program again with its name; returns only if that fails.
pub fn name_and_start_again(arguments: &[String]) -> Error {
    let again = || -> Result<std::io::Error> {
        let binary = build()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).env(VARIABLE, binary).env(PROFILE, profile());
        Ok(command.exec())
    };
    match again() {
        Ok(error) => Error::new(error).context("cannot start this program again"),
        Err(error) => error,
    }
}

fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // Together with this program: cargo unites the features of what it builds, and with others than those
    // that this program was built with every dependency would be compiled again.
    let packages = ["-p", "promontory", "-p", "promontory-benches"];
    command.args(["build", "--locked", "--quiet", "--bin", "promontory"]).args(packages);
    command.current_dir(repository());
    if profile() == "release" {
        command.arg("--release");
    }
    let status = command.status().context("cannot run cargo")?;
    ensure!(status.success(), "cargo build: {status}");
    let binary = std::env::current_exe()?.with_file_name("promontory");
    ensure!(binary.exists(), "{} is not there; run this through cargo run", binary.display());
    Ok(binary)
}

fn profile() -> &'static str {
    if cfg!(debug_assertions) { "dev" } else { "release" }
}

/// Version, commit and profile, in words.
pub fn description() -> String {
    let version = first_line(Command::new(promontory_binary()).arg("--version"));
    let mut git = Command::new("git");
    let commit = first_line(git.args(["describe", "--always", "--dirty"]).current_dir(repository()));
    match std::env::var(PROFILE) {
        Ok(profile) => format!("{version}, commit {commit}, {profile} profile"),
        Err(_) => {
            // The folder tells the profile; the rest of the path is this machine's affair.
            let binary = promontory_binary();
            let folder = binary.parent().and_then(Path::file_name).unwrap_or_default().display();
            format!(
                "{version}, the binary that {VARIABLE} names, from a folder `{folder}`; checkout at {commit}"
            )
        }
    }
}

fn first_line(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or("unknown").trim().to_owned()
}
