//! Which commit is built, for the first line of the log and for `buildinfo`: what `PROMONTORY_REVISION` says, or else
//! what git says of the checkout, or nothing.

use std::path::Path;
use std::process::Command;

const VARIABLE: &str = "PROMONTORY_REVISION";

fn main() {
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let said = std::env::var(VARIABLE).ok().filter(|said| !said.is_empty());
    if let Some(revision) = said.or_else(|| git(&["rev-parse", "HEAD"])) {
        println!("cargo::rustc-env={VARIABLE}={revision}");
    }
    // Changes with each commit and checkout.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        println!("cargo::rerun-if-changed={log}");
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
