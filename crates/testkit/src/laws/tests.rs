//! Each law on made-up input that breaks it, and on the nearest input that does not.
//! Then all of them on the house.

use std::path::Path;

use super::licences::is_usable;
use super::*;

fn member(name: &str, edges: &[(&str, EdgeKind)]) -> Member {
    let edges = edges.iter().map(|(to, kind)| Edge { to: (*to).into(), kind: *kind, features: Vec::new() });
    Member {
        name: name.into(),
        edges: edges.collect(),
        default_features: Vec::new(),
        built_by_default: false,
        manifest: GOOD_MANIFEST.into(),
    }
}

const GOOD_ROOT: &str = "[workspace.lints.rust]\nunsafe_code = \"forbid\"\n";
const GOOD_MANIFEST: &str = "[package]\nname = \"x\"\nversion.workspace = true\nedition.workspace = true\n\
     rust-version.workspace = true\nlicense.workspace = true\nrepository.workspace = true\n\
     publish.workspace = true\n[lints]\nworkspace = true\n[dependencies]\nbytes.workspace = true\n\
     tokio = { workspace = true, features = [\"fs\"] }\n";

fn edge_between(from: &str, to: &str, kind: EdgeKind) -> Vec<String> {
    let names =
        ["promontory-model", "promontory-store", "promontory-api", "promontory-testkit", "promontory-query"];
    let mut members: Vec<Member> = names.iter().map(|name| member(name, &[])).collect();
    members.retain(|member| member.name != from);
    members.push(member(from, &[(to, kind)]));
    crate_edges(&members)
}

#[test]
fn a_crate_may_not_reach_up_or_sideways() {
    for (from, to) in [
        ("promontory-model", "promontory-store"),
        ("promontory-store", "promontory-query"),
        ("promontory-api", "promontory-store"),
        ("promontory-compactor", "promontory-api"),
        ("promontory-store", "promontory-testkit"),
    ] {
        assert_eq!(edge_between(from, to, EdgeKind::Normal).len(), 1, "{from} -> {to}");
    }
    assert!(edge_between("promontory-store", "promontory-model", EdgeKind::Normal).is_empty());
    assert!(edge_between("promontory-store", "promontory-testkit", EdgeKind::Development).is_empty());
}

#[test]
fn a_guest_library_stays_in_its_room() {
    for (from, guest) in [
        ("promontory-model", "tokio"),
        ("promontory-model", "serde"),
        ("promontory-store", "datafusion"),
        ("promontory-api", "object_store"),
        ("promontory-query", "axum"),
    ] {
        assert_eq!(edge_between(from, guest, EdgeKind::Normal).len(), 1, "{from} -> {guest}");
    }
    assert!(edge_between("promontory-query", "datafusion", EdgeKind::Normal).is_empty());
    assert!(edge_between("promontory-query", "bytes", EdgeKind::Normal).is_empty());
}

#[test]
fn tests_may_use_more_than_their_crate_but_no_engine_of_another_room() {
    assert!(edge_between("promontory-model", "proptest", EdgeKind::Development).is_empty());
    assert_eq!(edge_between("promontory-model", "proptest", EdgeKind::Normal).len(), 1);
    assert_eq!(edge_between("promontory-store", "datafusion", EdgeKind::Development).len(), 1);
    assert_eq!(edge_between("promontory-api", "promontory-ingester", EdgeKind::Development).len(), 1);
}

#[test]
fn a_crate_without_a_row_is_refused() {
    assert_eq!(crate_edges(&[member("promontory-attic", &[])]).len(), 1);
}

#[test]
fn rows_use_only_rows_above_them() {
    for (idx, room) in ROOMS.iter().enumerate() {
        for used in room.uses {
            assert!(ROOMS[..idx].iter().any(|above| above.name == *used), "{} -> {used}", room.name);
        }
    }
}

#[test]
fn a_chain_is_as_long_as_its_crates() {
    let chain = |names: &[&str], kind: EdgeKind| {
        let below = |idx: usize| names.get(idx + 1).map(|to| (*to, kind));
        let members = names.iter().enumerate().map(|(idx, name)| member(name, below(idx).as_slice()));
        longest_chain(&members.collect::<Vec<_>>()).len()
    };
    let six = ["promontory", "promontory-a", "promontory-b", "promontory-c", "promontory-d", "promontory-e"];
    let seven = [&six[..], &["promontory-f"]].concat();
    assert_eq!(chain(&six, EdgeKind::Normal), 0);
    assert_eq!(chain(&seven, EdgeKind::Normal), 1);
    assert_eq!(chain(&seven, EdgeKind::Development), 0);
    assert_eq!(chain(&seven[1..], EdgeKind::Normal), 0);
    assert_eq!(chain(&["promontory", "promontory"], EdgeKind::Normal), 0);
}

#[test]
fn an_entry_that_no_longer_offends_is_struck() {
    let offence = |who: &str| known::Offence { who: who.into(), what: "is late".into() };
    let offences = [offence("a"), offence("b")];
    assert!(known::judge("LATE", &offences, &["a", "b"]).is_empty());
    assert_eq!(known::judge("LATE", &offences, &["a"]), ["b: is late"]);
    let strike = "c: keeps the law now; strike it from LATE in laws/known.rs";
    assert_eq!(known::judge("LATE", &offences, &["a", "b", "c"]), [strike]);
}

#[test]
fn planted_bugs_may_not_reach_a_shipped_build() {
    let mut by_default = member("promontory-store", &[]);
    by_default.default_features.push("planted-bugs".into());
    let mut testkit = member("promontory-testkit", &[]);
    assert!(release_builds(std::slice::from_ref(&testkit)).is_empty());
    testkit.built_by_default = true;
    assert_eq!(release_builds(&[testkit]).len(), 1);
    assert_eq!(release_builds(&[by_default]).len(), 1);

    let mut by_edge = member("promontory", &[("promontory-store", EdgeKind::Normal)]);
    by_edge.edges[0].features.push("planted-bugs".into());
    assert_eq!(release_builds(std::slice::from_ref(&by_edge)).len(), 1);
    by_edge.edges[0].kind = EdgeKind::Development;
    assert!(release_builds(&[by_edge]).is_empty());
}

#[test]
fn a_file_without_words_at_its_head_is_refused() {
    let check = |text: &str, expected: usize| {
        let source = SourceFile { path: "crates/x/src/y.rs".into(), text: text.into() };
        assert_eq!(module_headers(&[source]).len(), expected, "{text:?}");
    };
    check("//! Where the tail is followed.\n\nuse x;\n", 0);
    check("", 1);
    check("//!\n", 1);
    check("//! x\n", 1);
    check("use x;\n//! Where the tail is followed.\n", 1);
    check("// Where the tail is followed.\n", 1);
}

#[test]
fn a_licence_is_usable_if_one_choice_is_wholly_allowed() {
    let check = |terms: &str, usable: bool| assert_eq!(is_usable(terms), usable, "{terms}");
    check("MIT", true);
    check("MIT/Apache-2.0", true);
    check("(MIT OR Apache-2.0) AND Unicode-3.0", true);
    check("MIT OR Apache-2.0 OR LGPL-2.1-or-later", true);
    check("GPL-3.0-only AND MIT OR Zlib", true);
    check("Apache-2.0 WITH LLVM-exception", true);
    check("GPL-3.0-only", false);
    check("MIT AND GPL-3.0-only", false);
    check("(MIT OR GPL-3.0-only) AND AGPL-3.0-only", false);
    check("Apache-2.0 WITH Unknown-exception", false);
    check("(MIT", false);
    check("MIT)", false);
    check("", false);
    let unnamed = Licensed { name: "x".into(), licence: None };
    assert_eq!(licences(&[unnamed]).len(), 1);
}

#[test]
fn manifests_inherit_lints_fields_and_versions() {
    let check = |root: &str, manifest: &str, expected: usize| {
        let mut one = member("x", &[]);
        one.manifest = manifest.into();
        let found = manifests(root, &[one]);
        assert_eq!(found.len(), expected, "{found:?}");
    };
    check(GOOD_ROOT, GOOD_MANIFEST, 0);
    check("[workspace.lints.rust]\nunsafe_code = \"warn\"\n", GOOD_MANIFEST, 1);
    check(GOOD_ROOT, &GOOD_MANIFEST.replace("[lints]\nworkspace = true\n", ""), 1);
    check(GOOD_ROOT, &GOOD_MANIFEST.replace("edition.workspace = true", "edition = \"2021\""), 1);
    check(GOOD_ROOT, &format!("{GOOD_MANIFEST}rand = \"0.9\"\n"), 1);
    check(GOOD_ROOT, &format!("{GOOD_MANIFEST}[dev-dependencies]\nrand = {{ version = \"0.9\" }}\n"), 1);
    check(GOOD_ROOT, &format!("{GOOD_MANIFEST}[dependencies.rand]\nversion = \"0.9\"\n"), 1);
}

#[test]
fn a_stray_file_at_the_top_is_refused() {
    let check =
        |name: &str, expected: usize| assert_eq!(top_level(&[name.to_owned()]).len(), expected, "{name}");
    check("README.md", 0);
    check("notes.txt", 1);
    check("src", 1);
}

#[test]
fn the_house_keeps_its_laws() {
    let workspace = Workspace::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))).unwrap();
    assert!(workspace.members.len() >= 11, "cargo metadata named {} members", workspace.members.len());
    assert!(workspace.packages.len() > 100, "cargo metadata named {} packages", workspace.packages.len());
    assert!(workspace.sources.len() > 20, "found {} Rust files", workspace.sources.len());
    let found = violations(&workspace);
    assert!(found.is_empty(), "{} broken:\n{}", found.len(), found.join("\n"));
}
