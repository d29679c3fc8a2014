//! Made-up crates with and without a circle.

use super::super::code;
use super::super::facts::SourceFile;
use super::*;

/// The circles among files `path: text` of one crate `x`.
fn found(files: &[(&str, &str)]) -> Vec<String> {
    let source = |(path, text): &(&str, &str)| SourceFile {
        path: format!("crates/x/src/{path}"),
        text: (*text).into(),
    };
    let sources: Vec<_> = files.iter().map(source).collect();
    circles(&code::files(&sources))
        .into_iter()
        .map(|offence| format!("{}: {}", offence.who, offence.what))
        .collect()
}

fn check(files: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(found(files), expected, "{files:?}");
}

#[test]
fn two_modules_that_use_each_other_are_a_circle() {
    check(&[("a.rs", "use crate::b::B;"), ("b.rs", "use crate::c::C;"), ("c.rs", "")], &[]);
    check(
        &[("a.rs", "use crate::b::B;"), ("b.rs", "use crate::{a::{A}, c};"), ("c.rs", "")],
        &["x: a -> b (crates/x/src/a.rs) -> a (crates/x/src/b.rs)"],
    );
    check(
        &[("a.rs", "fn f() { crate::b::g() }"), ("b.rs", "use super::c::C;"), ("c.rs", "use super::a;")],
        &["x: a -> b (crates/x/src/a.rs) -> c (crates/x/src/b.rs) -> a (crates/x/src/c.rs)"],
    );
}

#[test]
fn the_shortest_circle_is_told() {
    let long =
        [("a.rs", "use crate::b; use crate::c;"), ("b.rs", "use crate::c;"), ("c.rs", "use crate::a;")];
    check(&long, &["x: a -> c (crates/x/src/a.rs) -> a (crates/x/src/c.rs)"]);
}

#[test]
fn a_file_and_its_folder_are_one_module() {
    check(
        &[
            ("a.rs", "use self::b::B; mod b;"),
            ("a/b.rs", "use super::A; use crate::a::c;"),
            ("a/c.rs", "use super::b;"),
        ],
        &[],
    );
    check(
        &[("a.rs", "mod b;"), ("a/b.rs", "use super::super::c::C;"), ("c.rs", "use crate::a::A;")],
        &["x: a -> c (crates/x/src/a/b.rs) -> a (crates/x/src/c.rs)"],
    );
}

#[test]
fn a_name_that_the_head_exports_belongs_to_the_module_that_defines_it() {
    let circle = "x: a -> b (crates/x/src/a.rs) -> a (crates/x/src/b.rs)";
    for head in ["pub use b::B;", "pub use crate::b::{B, D};", "pub(crate) use b::C as B;", "pub use b::*;"] {
        check(&[("lib.rs", head), ("a.rs", "use crate::B;"), ("b.rs", "use crate::a; struct B;")], &[circle]);
        check(&[("lib.rs", head), ("a.rs", "use crate::B;"), ("b.rs", "struct B;")], &[]);
    }
    // Defined by the head itself, or by another crate.
    check(&[("lib.rs", "struct B;"), ("a.rs", "use crate::B;"), ("b.rs", "use crate::a;")], &[]);
    check(&[("lib.rs", ""), ("a.rs", "use b::B;"), ("b.rs", "use crate::a;")], &[]);
}

#[test]
fn names_that_export_each_other_end() {
    check(&[("lib.rs", "pub use a::B; mod a;"), ("a.rs", "pub use crate::B;")], &[]);
}

#[test]
fn neither_the_head_nor_tests_count() {
    check(&[("lib.rs", "mod a; use a::A; use crate::a;"), ("a.rs", "use crate::C;")], &[]);
    check(&[("a.rs", "use crate::b;"), ("b.rs", "#[cfg(test)] mod tests { use crate::a; }")], &[]);
    check(&[("a.rs", "use crate::b;"), ("b.rs", ""), ("b/tests.rs", "use crate::a;")], &[]);
}

#[test]
fn the_files_of_a_large_folder_are_modules_of_their_own() {
    let small = [
        ("w/a.rs", "use super::b;"),
        ("w/b.rs", "use crate::w::a;"),
        ("w/c.rs", ""),
        ("w/d.rs", ""),
        ("w/e.rs", ""),
    ];
    check(&small, &[]);
    let large = [&small[..], &[("w/f.rs", "")]].concat();
    check(&large, &["x::w: a -> b (crates/x/src/w/a.rs) -> a (crates/x/src/w/b.rs)"]);
    let through_head =
        [&large[2..], &[("w.rs", "pub use b::B;"), ("w/a.rs", "use super::B;"), ("w/b.rs", "use super::a;")]]
            .concat();
    check(&through_head, &["x::w: a -> b (crates/x/src/w/a.rs) -> a (crates/x/src/w/b.rs)"]);
}
