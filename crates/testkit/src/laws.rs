//! The laws of the house, as functions from facts to violations.
//!
//! Facts come from `cargo metadata`, from the manifests and from the file tree; [`Workspace::load`]
//! gathers them and every law below is a pure function of them, so that each law is also run on
//! made-up input that breaks it (a law that cannot fail proves nothing).
//!
//! 1. [`crate_edges`]: which workspace crate may depend on which, and which foreign library lives
//!    in which room ([`ROOMS`]); on direct dependencies, development ones judged apart.
//! 2. [`release_builds`]: planted bugs and this crate stay out of what is shipped.
//! 3. [`module_headers`]: every Rust file says at its head what it is for.
//! 4. [`licences`]: every package can be used under a licence of [`LICENCES`].
//! 5. [`manifests`]: lints, versions and package fields come from the workspace table, and `unsafe`
//!    is forbidden there.
//! 6. [`top_level`]: the repository's first page stays short.
//!
//! A new dependency is added to [`ROOMS`] in the same commit; the row says what the crate keeps out
//! of everyone else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One crate of the workspace and what it may name in its manifest.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Package name without the prefix `promontory-`; the binary is `promontory`.
    pub name: &'static str,
    /// Workspace crates that it may use.
    pub uses: &'static [&'static str],
    /// Foreign libraries that it may use, beside [`PLUMBING`].
    pub guests: &'static [&'static str],
    /// Foreign libraries that its tests alone may use, beside [`TEST_TOOLS`].
    pub test_guests: &'static [&'static str],
}

/// What every crate may use.
pub const PLUMBING: &[&str] = &["bytes", "futures-core", "thiserror", "tracing"];

/// What the tests of every crate may use: nothing here decides where an idea lives.
pub const TEST_TOOLS: &[&str] = &["proptest", "rand", "tempfile", "tokio", "serde", "serde_json", "futures"];

/// The table of allowed edges. Dependencies point down: a row uses only rows above it.
pub const ROOMS: &[Room] = &[
    Room { name: "model", uses: &[], guests: &["regex", "regex-syntax", "zmij"], test_guests: &[] },
    Room { name: "wire", uses: &["model"], guests: &["prost", "snap", "zstd", "flate2"], test_guests: &[] },
    Room { name: "promql", uses: &["model"], guests: &[], test_guests: &["promql-parser"] },
    Room {
        name: "block",
        uses: &["model"],
        guests: &["arrow", "parquet", "crc32c", "xxhash-rust", "zstd"],
        test_guests: &[],
    },
    Room {
        name: "store",
        uses: &["model", "block"],
        guests: &[
            "object_store",
            "moka",
            "hashbrown",
            "tokio",
            "futures",
            "async-trait",
            "rand",
            "ulid",
            "url",
            "crc32c",
            "xxhash-rust",
        ],
        test_guests: &[],
    },
    Room {
        name: "query",
        uses: &["model", "promql", "block", "store"],
        guests: &["datafusion", "arrow", "futures", "async-trait", "tokio", "moka"],
        test_guests: &["object_store"],
    },
    Room {
        name: "ingester",
        uses: THINGS,
        guests: &["tokio", "async-trait", "hashbrown", "xxhash-rust"],
        test_guests: &["object_store"],
    },
    Room {
        name: "compactor",
        uses: THINGS,
        guests: &["tokio", "async-trait"],
        test_guests: &["object_store"],
    },
    Room {
        name: "api",
        uses: &["model", "wire", "promql"],
        guests: &["axum", "tower", "tower-http", "tokio", "serde", "serde_json"],
        test_guests: &["flate2", "snap", "prost"],
    },
    Room {
        name: "sql",
        uses: &["promql", "query", "api"],
        guests: &["arrow", "axum", "serde", "serde_json"],
        test_guests: &["tower"],
    },
    Room {
        name: "testkit",
        uses: &["model", "promql", "block", "store"],
        guests: &["object_store", "tokio", "futures", "async-trait", "rand", "cargo_metadata"],
        test_guests: &[],
    },
    Room {
        name: "promontory",
        uses: &["model", "wire", "promql", "block", "store", "query", "ingester", "compactor", "api", "sql"],
        guests: &[
            "anyhow",
            "clap",
            "tokio",
            "tokio-util",
            "axum",
            "tower",
            "tower-http",
            "hyper",
            "hyper-util",
            "prometheus-client",
            "tikv-jemallocator",
            "tracing-subscriber",
            "object_store",
            "async-trait",
            "futures",
            "url",
            "rand",
        ],
        test_guests: &["reqwest", "prost", "snap", "flate2", "object_store"],
    },
    Room {
        name: "benches",
        uses: &["model", "wire", "promql", "block", "store", "query", "ingester", "api", "promontory"],
        guests: &[
            "anyhow",
            "clap",
            "tokio",
            "rand",
            "serde",
            "serde_json",
            "reqwest",
            "snap",
            "prost",
            "object_store",
            "tempfile",
        ],
        test_guests: &[],
    },
];

/// What a role may use: the things, never another role.
const THINGS: &[&str] = &["model", "wire", "promql", "block", "store", "query"];

/// SPDX terms under which a dependency may be used: permissive ones, without a duty beyond notice.
pub const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

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

/// Why a dependency is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Compiled into the crate.
    Normal,
    /// For its tests only.
    Development,
    /// For its build script.
    Build,
}

/// One line of a manifest's dependency tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The package that is named.
    pub to: String,
    /// In which table.
    pub kind: Kind,
    /// Features switched on by it.
    pub features: Vec<String>,
}

/// A workspace member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Package name.
    pub name: String,
    /// Direct dependencies.
    pub edges: Vec<Edge>,
    /// The features that are on by default.
    pub default_features: Vec<String>,
    /// Is it built by a plain `cargo build`, which is how users build what they run?
    pub built_by_default: bool,
    /// The text of its manifest.
    pub manifest: String,
}

/// Any package of the lock file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Licensed {
    /// Package name.
    pub name: String,
    /// Its SPDX expression; `None` if the manifest has none.
    pub licence: Option<String>,
}

/// A Rust file of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Relative to the root.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// All facts that the laws judge.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    /// The packages of this repository.
    pub members: Vec<Member>,
    /// Every package that can be compiled in, own ones included.
    pub packages: Vec<Licensed>,
    /// The text of the root manifest.
    pub root_manifest: String,
    /// Every `.rs` file below `crates`, `benches` and `tests`.
    pub sources: Vec<Source>,
    /// Names at the top of the repository.
    pub top_level: Vec<String>,
}

/// The facts could not be gathered.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file or folder does not read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// `cargo metadata` failed.
    #[error("cannot run cargo metadata: {0}")]
    Metadata(#[from] cargo_metadata::Error),
}

impl Workspace {
    /// Gathers the facts of the workspace at `root`.
    ///
    /// Packages of all platforms are asked for; where that needs a network that is not there, those
    /// of this platform, which the running test was built from.
    ///
    /// # Errors
    /// If a file does not read or `cargo metadata` fails.
    pub fn load(root: &Path) -> Result<Self, LoadError> {
        let metadata = metadata(root, &["--locked"])
            .or_else(|_| metadata(root, &["--locked", "--offline", "--filter-platform", HOST]))?;
        let defaults: Vec<_> = metadata.workspace_default_packages().iter().map(|p| p.id.clone()).collect();
        let mut members = Vec::new();
        for package in metadata.workspace_packages() {
            let manifest = read(package.manifest_path.as_std_path())?;
            let edges = package.dependencies.iter().map(edge).collect();
            let default_features = package.features.get("default").cloned().unwrap_or_default();
            let built_by_default = defaults.contains(&package.id);
            let name = package.name.to_string();
            members.push(Member { name, edges, default_features, built_by_default, manifest });
        }
        let licensed =
            |p: &cargo_metadata::Package| Licensed { name: p.name.to_string(), licence: p.license.clone() };
        let mut sources = Vec::new();
        for folder in ["benches", "crates", "tests"] {
            gather_sources(root, &root.join(folder), &mut sources)?;
        }
        Ok(Self {
            members,
            packages: metadata.packages.iter().map(licensed).collect(),
            root_manifest: read(&root.join("Cargo.toml"))?,
            sources,
            top_level: names(root)?,
        })
    }
}

/// Every law on `workspace`; empty if all hold.
#[must_use]
pub fn violations(workspace: &Workspace) -> Vec<String> {
    let mut found = crate_edges(&workspace.members);
    found.extend(release_builds(&workspace.members));
    found.extend(module_headers(&workspace.sources));
    found.extend(licences(&workspace.packages));
    found.extend(manifests(&workspace.root_manifest, &workspace.members));
    found.extend(top_level(&workspace.top_level));
    found
}

/// Law 1: direct dependencies stay inside [`ROOMS`].
#[must_use]
pub fn crate_edges(members: &[Member]) -> Vec<String> {
    let own: BTreeSet<&str> = members.iter().map(|member| room_name(&member.name)).collect();
    let mut found = Vec::new();
    for member in members {
        let name = room_name(&member.name);
        let Some(room) = ROOMS.iter().find(|room| room.name == name) else {
            found.push(format!("{}: no row in the table of rooms", member.name));
            continue;
        };
        for edge in &member.edges {
            let to = room_name(&edge.to);
            let allowed = if own.contains(to) && edge.to.starts_with("promontory") {
                may_use(room, to, edge.kind)
            } else {
                may_host(room, &edge.to, edge.kind)
            };
            if !allowed {
                found.push(format!("{name}: may not use {} ({:?} dependency)", edge.to, edge.kind));
            }
        }
    }
    found
}

/// Law 2: no default feature and no shipped edge switches planted bugs on, nothing but tests depends on
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
        for edge in member.edges.iter().filter(|edge| edge.kind != Kind::Development) {
            if name != "testkit" && edge.features.iter().any(|feature| feature.contains(PLANTED_BUGS)) {
                found.push(format!("{name}: switches on the planted bugs of {}", edge.to));
            }
        }
    }
    found
}

/// Law 3: the first line of every file is a module header with words in it.
#[must_use]
pub fn module_headers(sources: &[Source]) -> Vec<String> {
    /// Fewer characters than this say nothing.
    const HEADER_CHARS_MIN: usize = 16;
    let headless = |source: &&Source| {
        let first = source.text.lines().next().unwrap_or_default();
        first.strip_prefix("//! ").is_none_or(|words| words.trim().chars().count() < HEADER_CHARS_MIN)
    };
    let say = |source: &Source| format!("{}: no `//!` header on its first line", source.path);
    sources.iter().filter(headless).map(say).collect()
}

/// Law 4: every package can be used under terms of [`LICENCES`].
#[must_use]
pub fn licences(packages: &[Licensed]) -> Vec<String> {
    let mut found = Vec::new();
    for package in packages {
        match &package.licence {
            None => found.push(format!("{}: no licence in its manifest", package.name)),
            Some(terms) if !is_usable(terms) => {
                found.push(format!("{}: licence {terms:?} is not in the allow list", package.name));
            }
            Some(_) => {}
        }
    }
    found
}

/// Law 5: what members share is said once, in the root manifest.
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

/// Law 6: nothing new at the top of the repository.
#[must_use]
pub fn top_level(names: &[String]) -> Vec<String> {
    let stray = names.iter().filter(|name| !TOP_LEVEL.contains(&name.as_str()));
    stray.map(|name| format!("{name}: does not belong at the top of the repository")).collect()
}

fn room_name(package: &str) -> &str {
    package.strip_prefix("promontory-").unwrap_or(package)
}

/// Tests may also use this crate, and what their crate's users could hand in.
fn may_use(room: &Room, to: &str, kind: Kind) -> bool {
    room.uses.contains(&to) || (kind == Kind::Development && (to == "testkit" || THINGS.contains(&to)))
}

fn may_host(room: &Room, guest: &str, kind: Kind) -> bool {
    let hosted = PLUMBING.contains(&guest) || room.guests.contains(&guest);
    hosted
        || (kind == Kind::Development && (TEST_TOOLS.contains(&guest) || room.test_guests.contains(&guest)))
}

/// True if a choice that the SPDX expression offers lies inside [`LICENCES`].
///
/// `AND` binds tighter than `OR`; the old `/` means `OR`. Source: SPDX 2.3, annex D.
fn is_usable(expression: &str) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().collect::<Vec<_>>();
    words.reverse();
    any_of(&mut words) && words.is_empty()
}

fn any_of(words: &mut Vec<&str>) -> bool {
    let mut usable = all_of(words);
    while words.last() == Some(&"OR") {
        words.pop();
        usable |= all_of(words);
    }
    usable
}

fn all_of(words: &mut Vec<&str>) -> bool {
    let mut usable = term(words);
    while words.last() == Some(&"AND") {
        words.pop();
        usable &= term(words);
    }
    usable
}

fn term(words: &mut Vec<&str>) -> bool {
    let Some(word) = words.pop() else { return false };
    if word == "(" {
        let usable = any_of(words);
        return words.pop() == Some(")") && usable;
    }
    if words.last() != Some(&"WITH") {
        return LICENCES.contains(&word);
    }
    words.pop();
    let exception = words.pop().unwrap_or_default();
    LICENCES.contains(&format!("{word} WITH {exception}").as_str())
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

/// The platform for which this test was built.
const HOST: &str = if cfg!(all(target_arch = "x86_64", target_os = "linux")) {
    "x86_64-unknown-linux-gnu"
} else if cfg!(all(target_arch = "aarch64", target_os = "linux")) {
    "aarch64-unknown-linux-gnu"
} else {
    "aarch64-apple-darwin"
};

fn metadata(root: &Path, options: &[&str]) -> Result<cargo_metadata::Metadata, cargo_metadata::Error> {
    let options = options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>();
    cargo_metadata::MetadataCommand::new().current_dir(root).other_options(options).exec()
}

fn edge(dependency: &cargo_metadata::Dependency) -> Edge {
    let kind = match dependency.kind {
        cargo_metadata::DependencyKind::Development => Kind::Development,
        cargo_metadata::DependencyKind::Build => Kind::Build,
        _ => Kind::Normal,
    };
    Edge { to: dependency.name.clone(), kind, features: dependency.features.clone() }
}

fn read(path: &Path) -> Result<String, LoadError> {
    std::fs::read_to_string(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })
}

fn names(folder: &Path) -> Result<Vec<String>, LoadError> {
    let fail = |source| LoadError::Read { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        names.push(entry.map_err(fail)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn gather_sources(root: &Path, folder: &Path, out: &mut Vec<Source>) -> Result<(), LoadError> {
    if !folder.is_dir() {
        return Ok(());
    }
    for name in names(folder)? {
        let path = folder.join(&name);
        if path.is_dir() {
            gather_sources(root, &path, out)?;
        } else if name.ends_with(".rs") {
            let shown = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            out.push(Source { path: shown, text: read(&path)? });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
