//! Who breaks a law today: lists that only shrink.
//!
//! Whoever mends an offender strikes its entry in the same commit: an entry that no longer offends
//! breaks the law too, so that what is mended stays mended. Nothing is added here.

/// One thing that breaks a law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offence {
    /// The offender, as the lists of this file name it.
    pub who: String,
    /// What it does, for whoever mends it.
    pub what: String,
}

/// Violations: offences of those that are not `known`, and entries of `known` that do not offend.
#[must_use]
pub fn judge(list: &str, offences: &[Offence], known: &[&str]) -> Vec<String> {
    let is_new = |offence: &&Offence| !known.contains(&offence.who.as_str());
    let new = offences.iter().filter(is_new).map(|offence| format!("{}: {}", offence.who, offence.what));
    let offends = |who: &str| offences.iter().any(|offence| offence.who == who);
    let mended = known.iter().filter(|who| !offends(who));
    let strike = |who: &&str| format!("{who}: keeps the law now; strike it from {list} in laws/known.rs");
    new.chain(mended.map(strike)).collect()
}

/// Crates, or folders of them, whose modules form a circle.
#[rustfmt::skip] // One entry per line: several people strike theirs at once.
pub const CIRCLES: &[&str] = &[];

/// Crates with more public items than allowed.
#[rustfmt::skip] // One entry per line: several people strike theirs at once.
pub const WIDE_DOORS: &[&str] = &[];

/// Crates with a `pub mod` that no reason is given for.
#[rustfmt::skip] // One entry per line: several people strike theirs at once.
pub const OPEN_CRATES: &[&str] = &[];

/// Names of more than one public type.
#[rustfmt::skip] // One entry per line: several people strike theirs at once.
pub const SHARED_NAMES: &[&str] = &[
];

/// Files that are too long.
#[rustfmt::skip] // One entry per line: several people strike theirs at once.
pub const LONG_FILES: &[&str] = &[];
