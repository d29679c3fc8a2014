//! The laws of the house, on the house.

use std::path::Path;

use promontory_testkit::laws::{self, Workspace};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn the_house_keeps_its_laws() {
    let workspace = Workspace::load(root()).unwrap();
    assert!(workspace.members.len() >= 11, "cargo metadata named {} members", workspace.members.len());
    assert!(workspace.packages.len() > 100, "cargo metadata named {} packages", workspace.packages.len());
    assert!(workspace.sources.len() > 20, "found {} Rust files", workspace.sources.len());
    let found = laws::violations(&workspace);
    assert!(found.is_empty(), "{} broken:\n{}", found.len(), found.join("\n"));
}
