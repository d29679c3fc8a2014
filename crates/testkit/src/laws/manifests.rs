//! The laws on manifests and on what lies where: shipped features, the workspace table, file
//! headers, the top of the repository.

use super::facts::{EdgeKind, Member, SourceFile, room_name};

/// What may lie at the top of the repository. Entries that git ignores are listed too, because the
/// law reads the folder and not the index.
pub const TOP_LEVEL: &[&str] = &[
    ".cargo",
    ".ci",
    ".clippy.toml",
    ".config",
    ".git",
    ".github",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "crates",
    "data",
    "deploy",
    "docs",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "scripts",
    "target",
    "tests",
];

/// The feature that switches planted bugs on.
const PLANTED_BUGS: &str = "planted-bugs";

/// Fields that a member takes from the workspace table.
const INHERITED_FIELDS: &[&str] = &["version", "edition", "rust-version", "license", "repository", "publish"];

/// Law 3: no default feature and no shipped edge switches planted bugs on, nothing but tests depends on
/// this crate, and a plain `cargo build` does not build it: cargo unites the features of all that it
/// builds, so the binary would have the bugs too.
#[must_use]
pub fn release_builds(members: &[Member]) -> Vec<String> {
    let mut found = Vec::new();
    for member in members {
        let name = room_name(&member.name);
        if member.default_features.iter().any(|feature| feature.contains(PLANTED_BUGS)) {
            found.push(format!("{name}: planted bugs are on by default"));
        }
        if name == "testkit" && member.built_by_default {
            found.push(format!(
                "{name}: is among the default members, which switches planted bugs on in the binary"
            ));
        }
        for edge in member.edges.iter().filter(|edge| edge.kind != EdgeKind::Development) {
            if name != "testkit" && edge.features.iter().any(|feature| feature.contains(PLANTED_BUGS)) {
                found.push(format!("{name}: switches on the planted bugs of {}", edge.to));
            }
        }
    }
    found
}

/// Law 4: the first line of every file is a module header with words in it.
#[must_use]
pub fn module_headers(sources: &[SourceFile]) -> Vec<String> {
    /// Fewer characters than this say nothing.
    const HEADER_CHARS_MIN: usize = 16;
    let headless = |source: &&SourceFile| {
        let first = source.text.lines().next().unwrap_or_default();
        first.strip_prefix("//! ").is_none_or(|words| words.trim().chars().count() < HEADER_CHARS_MIN)
    };
    let say = |source: &SourceFile| format!("{}: no `//!` header on its first line", source.path);
    sources.iter().filter(headless).map(say).collect()
}

/// Law 6: what members share is said once, in the root manifest.
#[must_use]
pub fn manifests(root: &str, members: &[Member]) -> Vec<String> {
    let mut found = Vec::new();
    let lints: Vec<&str> = section(root, |name| name == "workspace.lints.rust").collect();
    if !lints.iter().any(|line| squeeze(line) == "unsafe_code=\"forbid\"") {
        found.push("root: `unsafe_code = \"forbid\"` is missing from [workspace.lints.rust]".to_owned());
    }
    for member in members {
        let name = &member.name;
        if !section(&member.manifest, |s| s == "lints").any(|line| squeeze(line) == "workspace=true") {
            found.push(format!("{name}: does not inherit the workspace's lints"));
        }
        for field in INHERITED_FIELDS {
            let wanted = format!("{field}.workspace=true");
            if !section(&member.manifest, |s| s == "package").any(|line| squeeze(line) == wanted) {
                found.push(format!("{name}: `{field}` is not taken from the workspace"));
            }
        }
        for line in section(&member.manifest, |s| s.ends_with("dependencies")) {
            if !squeeze(line).contains("workspace=true") {
                found.push(format!("{name}: a version outside the workspace table: `{line}`"));
            }
        }
        // `[dependencies.x]` would hide a version from the rule above.
        if let Some(header) = headers(&member.manifest).find(|header| header.contains("dependencies.")) {
            found.push(format!("{name}: write [{header}] as one line of its table"));
        }
    }
    found
}

/// Law 7: nothing new at the top of the repository.
#[must_use]
pub fn top_level(names: &[String]) -> Vec<String> {
    let stray = names.iter().filter(|name| !TOP_LEVEL.contains(&name.as_str()));
    stray.map(|name| format!("{name}: does not belong at the top of the repository")).collect()
}

/// The lines of every section whose name passes, without comments and blanks.
fn section(manifest: &str, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = &str> {
    let mut inside = false;
    manifest.lines().map(str::trim).filter(move |line| {
        if let Some(header) = header(line) {
            inside = wanted(header);
            return false;
        }
        inside && !line.is_empty() && !line.starts_with('#')
    })
}

fn headers(manifest: &str) -> impl Iterator<Item = &str> {
    manifest.lines().map(str::trim).filter_map(header)
}

fn header(line: &str) -> Option<&str> {
    line.strip_prefix('[')?.strip_suffix(']')
}

fn squeeze(line: &str) -> String {
    line.chars().filter(|c| !c.is_whitespace()).collect()
}
