//! The laws on what a crate shows to others.

use std::collections::{BTreeMap, BTreeSet};

use super::code::File;
use super::known::Offence;

/// Crates whose public items are counted, with the most that they may have.
pub const DOORS: &[(&str, usize)] = &[("query", 20)];

/// Modules that are public with reason: crate, module, reason. An entry whose module is no longer
/// public breaks law 10.
#[rustfmt::skip] // One entry per line.
pub const OPEN_MODULES: &[(&str, &str, &str)] = &[
    ("block", "parquet", "one codec and its selective reading: named by it, `parquet::Footer`"),
    ("model", "append", "the door for samples: what belongs to it alone is named by it, `append::Urgency`"),
    ("model", "float", "functions over texts of doubles: named by it, `float::push`"),
    ("model", "histogram", "the parts of a native histogram: named by it, `histogram::Buckets`"),
    ("model", "labels", "functions over canonical bytes: named by it, `labels::push_field`"),
    ("model", "re2", "regular expressions with RE2's meaning: named by it, `re2::escape`"),
    ("model", "samples", "the columns: lanes and lists are named by it, `samples::LaneView`"),
    ("model", "time", "functions over timestamps: named by it, `time::first_at_or_after`"),
    ("promql", "ast", "the syntax tree: its nodes are named by it, `ast::Call`"),
    ("promql", "engine", "the door for questions: its answers are named by it, `engine::Value`"),
    ("promql", "kernels", "the arithmetic: its functions are named by it, `kernels::round`"),
    ("promql", "testlang", "the language of upstream's test scripts: used whole, by suites only"),
    ("testkit", "conformance", "suites and tools of tests: each is used whole, under its name"),
    ("testkit", "laws", "suites and tools of tests: each is used whole, under its name"),
    ("testkit", "memory", "suites and tools of tests: each is used whole, under its name"),
    ("testkit", "sim", "suites and tools of tests: each is used whole, under its name"),
    ("testkit", "stored", "suites and tools of tests: each is used whole, under its name"),
    ("wire", "protobuf", "a format's functions are named by it: `protobuf::FieldWriter`"),
    ("wire", "remote_write_1", "a format's functions are named by it: `remote_write_1::decode`"),
    ("wire", "snappy", "a format's functions are named by it: `snappy::decompress`"),
];

/// Names that several public types may have, with the reason.
pub const COMMON_NAMES: &[(&str, &str)] =
    &[("Error", "each crate's own error, which only its path tells apart")];

/// Law 9: a crate of [`DOORS`] shows no more than it may: names that `lib.rs` exports, and the public items
/// of its public modules; methods are not counted.
#[must_use]
pub fn narrow_doors(files: &[File<'_>]) -> Vec<Offence> {
    let mut found = Vec::new();
    for (room, items_max) in DOORS {
        let names = shown(files, room);
        if names.len() > *items_max {
            let what = format!("shows {} public items, {items_max} are allowed: {names:?}", names.len());
            found.push(Offence { who: (*room).to_owned(), what });
        }
    }
    found
}

/// Law 10: a crate is closed: `lib.rs` exports what outsiders use by name, and has no `pub mod` but
/// those of [`OPEN_MODULES`].
#[must_use]
pub fn closed_crates(files: &[File<'_>]) -> Vec<Offence> {
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with("/src/lib.rs")) {
        let items = file.public_items();
        let public = items.iter().filter(|item| item.keyword == "mod").map(|item| item.name);
        let public: BTreeSet<&str> = public.collect();
        let with_reason = OPEN_MODULES.iter().filter(|open| open.0 == file.room).map(|open| open.1);
        let with_reason: BTreeSet<&str> = with_reason.collect();
        let open: Vec<&str> = public.difference(&with_reason).copied().collect();
        if !open.is_empty() {
            let what = format!("`pub mod` {}: export by name what outsiders use", open.join(", "));
            found.push(Offence { who: file.room.to_owned(), what });
        }
        let closed = with_reason.difference(&public);
        let strike = "is not public any more; strike it from OPEN_MODULES in laws/doors.rs".to_owned();
        found.extend(
            closed.map(|name| Offence { who: format!("{}::{name}", file.room), what: strike.clone() }),
        );
    }
    found
}

/// Law 11: a name belongs to one public type of the workspace, whether or not its module is public.
#[must_use]
pub fn unique_types(files: &[File<'_>]) -> Vec<Offence> {
    let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for file in files {
        let is_type = |keyword: &str| matches!(keyword, "struct" | "enum" | "union" | "trait" | "type");
        for item in file.public_items().iter().filter(|item| is_type(item.keyword)) {
            places.entry(item.name).or_default().push(file.path);
        }
    }
    let is_common = |name: &str| COMMON_NAMES.iter().any(|(common, _)| *common == name);
    places.retain(|name, paths| paths.len() > 1 && !is_common(name));
    let say = |(name, paths): (&str, Vec<&str>)| Offence {
        who: name.to_owned(),
        what: format!("names {} public types: {}", paths.len(), paths.join(", ")),
    };
    places.into_iter().map(say).collect()
}

/// The items of `room` that another crate can name.
fn shown<'a>(files: &[File<'a>], room: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut open: Vec<Vec<&'a str>> = vec![Vec::new()];
    let mut seen = BTreeSet::new();
    while let Some(module) = open.pop() {
        let Some(file) = files.iter().find(|file| file.room == room && file.module == module) else {
            continue;
        };
        if !seen.insert(module.clone()) {
            continue;
        }
        let inside = |name: &'a str| [module.as_slice(), &[name]].concat();
        for item in file.public_items() {
            match item.keyword {
                "mod" => open.push(inside(item.name)),
                _ => _ = names.insert(inside(item.name).join("::")),
            }
        }
        for import in file.imports().iter().filter(|import| import.is_public) {
            match import.path.split_last() {
                Some((&"*", target)) => open.push([module.as_slice(), target].concat()),
                _ => _ = names.insert(inside(import.name).join("::")),
            }
        }
    }
    names
}

#[cfg(test)]
mod tests;
