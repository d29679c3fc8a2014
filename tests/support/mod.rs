//! What the suites share: real programs by process id, HTTP, remote write, and the comparison of
//! answers.
//!
//! Rules that every suite may count on:
//! - A program is stopped (by its own id) when its value is dropped, also when a test panics; then
//!   the ends of the logs are printed and the folder of the test stays for a look.
//! - Every wait has a deadline and a name.
//! - What a suite needs from outside comes from `scripts/install-tools`; where a tool cannot be had,
//!   the suite prints `skipped: <suite>: <reason>` and ends green.
//!
//! In reading order: [`tools`], [`workdir`], [`program`], [`servers`], [`link`], [`http`], [`write`],
//! [`answers`], [`load`], [`site`], [`clock`], [`turns`].

pub mod answers;
pub mod clock;
pub mod http;
pub mod link;
pub mod load;
pub mod program;
pub mod servers;
pub mod site;
pub mod tools;
pub mod turns;
pub mod workdir;
pub mod write;

use std::io::Write as _;

/// Prints a line past the capture of the test runner, so that it is seen when the test passes.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Says by name which suite does not run, and why.
pub fn skipped(suite: &str, reason: &str) {
    say(&format!("skipped: {suite}: {reason}"));
}

/// A setting of a suite from the environment, or its default.
pub fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is not a number")),
        Err(_) => default,
    }
}

/// A whole number of so many bits that follows from `number` and looks like none other (splitmix64): values
/// that do not compress, and by whose sums a mix-up shows.
pub fn noise(number: u64, bits: u32) -> f64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> (64 - bits)) as f64
}
