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

mod facts;
mod licences;
mod manifests;
mod rooms;

pub use facts::{Edge, EdgeKind, Licensed, LoadError, Member, SourceFile, Workspace};
pub use licences::{LICENCES, licences};
pub use manifests::{TOP_LEVEL, manifests, module_headers, release_builds, top_level};
pub use rooms::{PLUMBING, ROOMS, Room, TEST_TOOLS, crate_edges};

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

#[cfg(test)]
mod tests;
