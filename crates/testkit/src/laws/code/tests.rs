//! What is read from a file, and what of it is a test.

use super::*;

fn source(path: &str, text: &str) -> SourceFile {
    SourceFile { path: path.into(), text: text.into() }
}

fn words(text: &str) -> String {
    let sources = [source("crates/x/src/a.rs", text)];
    files(&sources)[0].tokens.iter().map(|token| token.text).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_path_says_crate_and_module() {
    let check = |path: &str, expected: Option<(&str, &[&str])>| {
        assert_eq!(place(path), expected.map(|(room, module)| (room, module.to_vec())), "{path}");
    };
    check("crates/store/src/lib.rs", Some(("store", &[])));
    check("benches/src/main.rs", Some(("benches", &[])));
    check("crates/store/src/catalog.rs", Some(("store", &["catalog"])));
    check("crates/store/src/catalog/mod.rs", Some(("store", &["catalog"])));
    check("crates/store/src/catalog/delta.rs", Some(("store", &["catalog", "delta"])));
    check("crates/store/src/catalog/tests.rs", None);
    check("crates/store/src/tests/lib.rs", None);
    check("crates/store/tests/laws.rs", None);
    check("tests/support/mod.rs", None);
}

#[test]
fn tests_are_left_out() {
    let check = |text: &str, expected: &str| assert_eq!(words(text), expected, "{text}");
    check("a; #[cfg(test)] mod tests { fn b() {} } c", "a ; c");
    check("#[cfg(test)] mod tests; c", "c");
    check("#[cfg(test)] #[allow(x)] pub fn a<A, B>(b: B) -> C { {} } c", "c");
    check("struct S { a: A, #[cfg(test)] b: Vec<(B, B)>, c: C }", "struct S { a : A , c : C }");
    check("struct S { #[cfg(test)] b: B }", "struct S { }");
    check("#[test] fn a() {} c", "c");
    check("#[cfg(all(test, unix))] use a::{b, c}; d", "; d");
    check(
        "#[cfg(not(test))] mod a; #[cfg(feature = \"x\")] mod b;",
        "# [ cfg ( not ( test ) ) ] mod a ; # [ cfg ( feature = \"x\" ) ] mod b ;",
    );
}

#[test]
fn a_module_that_is_declared_as_a_test_is_one_with_all_below() {
    let sources = [
        source("crates/x/src/fixtures.rs", "a"),
        source("crates/x/src/fixtures/deep.rs", "a"),
        source("crates/x/src/lib.rs", "#[cfg(test)] mod fixtures; mod kept;"),
        source("crates/x/src/kept.rs", "a"),
        source("crates/y/src/fixtures.rs", "a"),
    ];
    let kept: Vec<&str> = files(&sources).iter().map(|file| file.path).collect();
    assert_eq!(kept, ["crates/x/src/lib.rs", "crates/x/src/kept.rs", "crates/y/src/fixtures.rs"]);
}

#[test]
fn imports_are_unfolded() {
    let check = |text: &str, expected: &[(&str, &str, bool)]| {
        let sources = [source("crates/x/src/a.rs", text)];
        let imports = files(&sources)[0].imports();
        let found: Vec<_> = imports.iter().map(|i| (i.path.join("::"), i.name, i.is_public)).collect();
        let found: Vec<_> =
            found.iter().map(|(path, name, public)| (path.as_str(), *name, *public)).collect();
        assert_eq!(found, expected, "{text}");
    };
    check("use a::b;", &[("a::b", "b", false)]);
    check("pub use a::b as c;", &[("a::b", "c", true)]);
    check("pub(crate) use a;", &[("a", "a", false)]);
    check(
        "use a::{self, b::{c, d as e,}, f::*};",
        &[("a", "a", false), ("a::b::c", "c", false), ("a::b::d", "e", false), ("a::f::*", "*", false)],
    );
    check("use {a::b, c};", &[("a::b", "b", false), ("c", "c", false)]);
    check("fn f() -> impl T + use<'a> {}", &[]);
}

#[test]
fn inline_paths_are_found_by_their_head() {
    let check = |text: &str, expected: &[&str]| {
        let sources = [source("crates/x/src/a.rs", text)];
        let found: Vec<String> = files(&sources)[0].paths().iter().map(|path| path.join("::")).collect();
        assert_eq!(found, expected, "{text}");
    };
    check("let a = crate::b::c::<D>(super::super::e);", &["crate::b::c", "super::super::e"]);
    check("pub(crate) fn f(self) { self.g(); Self::h() }", &[]);
    check("a::crate_::b; // crate::c", &[]);
}

#[test]
fn public_items_stand_outside_of_braces() {
    let text = "pub struct A { pub b: B } pub(crate) fn c() {} pub const fn d() {} pub const E: F = 1; pub mod g; \
                impl A { pub fn h() {} pub const I: J = 1; } pub use k::l; pub async fn m() {} pub type N = O;";
    let sources = [source("crates/x/src/a.rs", text)];
    let items = files(&sources)[0].public_items();
    let found: Vec<String> = items.iter().map(|item| format!("{} {}", item.keyword, item.name)).collect();
    assert_eq!(found, ["struct A", "fn d", "const E", "mod g", "fn m", "type N"]);
}

#[test]
fn a_function_is_counted_from_its_word_to_its_brace() {
    let check = |text: &str, expected: &[(&str, usize, usize)]| {
        let sources = [source("crates/x/src/a.rs", text)];
        assert_eq!(files(&sources)[0].functions(), expected, "{text}");
    };
    check("/// Doc.\n#[x]\npub fn a(\n    b: [u8; 4],\n) {\n    \"}\";\n}\n", &[("a", 3, 5)]);
    check("trait T { fn a(&self); fn b(&self) {} }", &[("b", 1, 1)]);
    check("fn a() {\n    fn b() {\n    }\n}", &[("a", 1, 4), ("b", 2, 2)]);
    check("type F = fn(u8) -> u8; fn a() {", &[("a", 1, 1)]);
}
