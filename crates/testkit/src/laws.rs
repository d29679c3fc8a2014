//! The laws of the house, as functions from facts to violations.
//!
//! Facts come from `cargo metadata`, from the manifests and from the file tree; [`Workspace::load`]
//! gathers them and every law below is a pure function of them, so that each law is also run on
//! made-up input that breaks it (a law that cannot fail proves nothing).
//!
//! On manifests and files:
//! 1. [`crate_edges`]: which workspace crate may depend on which, and which foreign library lives
//!    in which room ([`ROOMS`]); on direct dependencies, development ones judged apart.
//! 2. [`longest_chain`]: at most six crates on any way down from the binary.
//! 3. [`release_builds`]: planted bugs and this crate stay out of what is shipped.
//! 4. [`module_headers`]: every Rust file says at its head what it is for.
//! 5. [`licences`]: every package can be used under a licence of [`LICENCES`].
//! 6. [`manifests`]: lints, versions and package fields come from the workspace table, and `unsafe`
//!    is forbidden there.
//! 7. [`top_level`]: the repository's first page stays short.
//!
//! On source text without tests, read by a small lexer:
//! 8. [`circles`]: modules of one crate use each other in one direction.
//! 9. [`narrow_doors`]: `query` shows at most twenty items.
//! 10. [`closed_crates`]: `lib.rs` exports by name and has no `pub mod`.
//! 11. [`unique_types`]: a name belongs to one public type.
//! 12. [`function_lines`], [`file_lines_p90`], [`long_files`]: most functions fit on a screen and most
//!     files in one sitting.
//!
//! Who breaks one of laws 8 to 12 today stands in `known.rs`, whose lists only shrink.

mod circles;
mod code;
mod doors;
mod facts;
mod known;
mod lexer;
mod licences;
mod manifests;
mod rooms;
mod sizes;

pub use circles::circles;
pub use code::{File, files};
pub use doors::{closed_crates, narrow_doors, unique_types};
pub use facts::{Edge, EdgeKind, Licensed, LoadError, Member, SourceFile, Workspace};
pub use known::Offence;
pub use licences::{LICENCES, licences};
pub use manifests::{TOP_LEVEL, manifests, module_headers, release_builds, top_level};
pub use rooms::{PLUMBING, ROOMS, Room, TEST_TOOLS, crate_edges, longest_chain};
pub use sizes::{file_lines_p90, function_lines, long_files};

/// Every law on `workspace`; empty if all hold.
#[must_use]
pub fn violations(workspace: &Workspace) -> Vec<String> {
    let mut found = crate_edges(&workspace.members);
    found.extend(longest_chain(&workspace.members));
    found.extend(release_builds(&workspace.members));
    found.extend(module_headers(&workspace.sources));
    found.extend(licences(&workspace.packages));
    found.extend(manifests(&workspace.root_manifest, &workspace.members));
    found.extend(top_level(&workspace.top_level));
    found.extend(text_violations(&files(&workspace.sources)));
    found
}

/// The laws on source text, known offenders left out.
fn text_violations(files: &[File<'_>]) -> Vec<String> {
    let mut found = known::judge("CIRCLES", &circles(files), known::CIRCLES);
    found.extend(known::judge("WIDE_DOORS", &narrow_doors(files), known::WIDE_DOORS));
    found.extend(known::judge("OPEN_CRATES", &closed_crates(files), known::OPEN_CRATES));
    found.extend(known::judge("SHARED_NAMES", &unique_types(files), known::SHARED_NAMES));
    found.extend(known::judge("LONG_FILES", &long_files(files), known::LONG_FILES));
    found.extend(function_lines(files));
    found.extend(file_lines_p90(files));
    found
}

#[cfg(test)]
mod tests;
