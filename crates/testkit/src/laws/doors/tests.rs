//! Made-up crates whose doors are open.

use super::super::code;
use super::super::facts::SourceFile;
use super::*;

fn judged(files: &[(&str, &str)], law: fn(&[File<'_>]) -> Vec<Offence>) -> Vec<String> {
    let source =
        |(path, text): &(&str, &str)| SourceFile { path: format!("crates/{path}"), text: (*text).into() };
    let sources: Vec<_> = files.iter().map(source).collect();
    law(&code::files(&sources)).into_iter().map(|offence| offence.who).collect()
}

#[test]
fn a_door_counts_what_others_can_name() {
    let head = "pub use a::{B, C}; mod a; pub mod d; pub fn e() {} pub(crate) fn f() {} pub use d::*;";
    let files = [
        ("query/src/lib.rs", head),
        ("query/src/a.rs", "pub fn g() {}"),
        ("query/src/d.rs", "pub fn h() {} fn i() {}"),
    ];
    let sources: Vec<_> = files
        .iter()
        .map(|(path, text)| SourceFile { path: format!("crates/{path}"), text: (*text).into() })
        .collect();
    let names = shown(&code::files(&sources), "query");
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["B", "C", "d::h", "e"]);
}

#[test]
fn a_wide_door_is_refused() {
    let head = |items: usize| (0..items).map(|idx| format!("pub fn f{idx}() {{}} ")).collect::<String>();
    assert!(judged(&[("query/src/lib.rs", &head(20))], narrow_doors).is_empty());
    assert_eq!(judged(&[("query/src/lib.rs", &head(21))], narrow_doors), ["query"]);
    assert!(judged(&[("promql/src/lib.rs", &head(21))], narrow_doors).is_empty());
}

#[test]
fn an_open_crate_is_refused() {
    assert_eq!(judged(&[("x/src/lib.rs", "mod a; pub mod b;")], closed_crates), ["x"]);
    assert!(judged(&[("x/src/lib.rs", "mod a; pub use a::A; pub(crate) mod b;")], closed_crates).is_empty());
    assert!(judged(&[("x/src/a.rs", "pub mod b;")], closed_crates).is_empty());
    // With reasons, and only as long as they are needed.
    let wire = "pub mod protobuf; pub mod remote_write_1; pub mod snappy;";
    assert!(judged(&[("wire/src/lib.rs", wire)], closed_crates).is_empty());
    let closed = wire.replace("pub mod snappy", "mod snappy");
    assert_eq!(judged(&[("wire/src/lib.rs", &closed)], closed_crates), ["wire::snappy"]);
}

#[test]
fn a_name_of_two_public_types_is_refused() {
    let one = ("x/src/a.rs", "pub struct Reader; pub enum Error {}");
    let check = |other: &str, expected: &[&str]| {
        assert_eq!(judged(&[one, ("y/src/a.rs", other)], unique_types), expected, "{other}")
    };
    check("pub trait Reader {}", &["Reader"]);
    check("pub type Reader = A;", &["Reader"]);
    check("pub(crate) struct Reader; struct Reader; pub fn Reader() {} pub use z::Reader;", &[]);
    check("pub enum Error {}", &[]);
}
