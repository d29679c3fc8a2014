//! Facts that the laws judge, and how they are gathered.
//!
//! The types are plain and public, so that a law can be run on made-up facts; only
//! [`Workspace::load`] knows `cargo metadata` and the file tree.

use std::path::{Path, PathBuf};

/// The table of a manifest that names a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeKind {
    /// `[dependencies]`: compiled into the crate.
    Normal,
    /// `[dev-dependencies]`: for its tests only.
    Development,
    /// `[build-dependencies]`: for its build script.
    Build,
}

/// One line of a manifest's dependency tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The name of the package that is depended on.
    pub to: String,
    /// The table in which the line stands.
    pub kind: EdgeKind,
    /// Features that the line switches on, beside the default ones.
    pub features: Vec<String>,
}

/// A workspace member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The package's name, with the prefix `promontory-` where it has one.
    pub name: String,
    /// Its direct dependencies of every kind.
    pub edges: Vec<Edge>,
    /// The features that are on by default.
    pub default_features: Vec<String>,
    /// Is it built by a plain `cargo build`, which is how users build what they run?
    pub built_by_default: bool,
    /// The text of its `Cargo.toml`.
    pub manifest: String,
}

/// Any package of the lock file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Licensed {
    /// The package's name, with the prefix `promontory-` where it has one.
    pub name: String,
    /// Its SPDX expression; `None` if the manifest has none.
    pub licence: Option<String>,
}

/// A Rust file of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path, relative to the root of the repository.
    pub path: String,
    /// Its whole text.
    pub text: String,
}

/// All facts that the laws judge.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    /// The members of the workspace.
    pub members: Vec<Member>,
    /// Every package that can be compiled in, own ones included.
    pub packages: Vec<Licensed>,
    /// The text of the `Cargo.toml` at the root.
    pub root_manifest: String,
    /// Every `.rs` file below `crates`, `benches` and `tests`.
    pub sources: Vec<SourceFile>,
    /// Names at the top of the repository.
    pub top_level: Vec<String>,
}

/// Why the facts could not be gathered.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file or folder does not read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file or folder that was to be read.
        path: PathBuf,
        /// What the system answered.
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

/// Package name without the prefix `promontory-`.
pub(super) fn room_name(package: &str) -> &str {
    package.strip_prefix("promontory-").unwrap_or(package)
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
        cargo_metadata::DependencyKind::Development => EdgeKind::Development,
        cargo_metadata::DependencyKind::Build => EdgeKind::Build,
        _ => EdgeKind::Normal,
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

fn gather_sources(root: &Path, folder: &Path, out: &mut Vec<SourceFile>) -> Result<(), LoadError> {
    if !folder.is_dir() {
        return Ok(());
    }
    for name in names(folder)? {
        let path = folder.join(&name);
        if path.is_dir() {
            gather_sources(root, &path, out)?;
        } else if name.ends_with(".rs") {
            let shown = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            out.push(SourceFile { path: shown, text: read(&path)? });
        }
    }
    Ok(())
}
