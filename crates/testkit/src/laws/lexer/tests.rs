//! What looks like code in a comment or a literal is none.

use super::*;

fn check(text: &str, expected: &[&str]) {
    let found: Vec<&str> = tokens(text).iter().map(|token| token.text).collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn comments_are_left_out() {
    check("a // fn b\nc", &["a", "c"]);
    check("a /* fn /* } */ { */ b", &["a", "b"]);
    check("/// fn\n//! fn\na", &["a"]);
    check("a /* never closed", &["a"]);
}

#[test]
fn literals_are_one_token() {
    check(r#"a "{ \" }" b"#, &["a", r#""{ \" }""#, "b"]);
    check(r##"r#"a " b"# c"##, &[r##"r#"a " b"#"##, "c"]);
    check(r#"b"x" br"\" c"y""#, &[r#"b"x""#, r#"br"\""#, r#"c"y""#]);
    check(r"'{' '\'' b'}' '\u{7f}' ' '", &["'{'", r"'\''", "b'}'", r"'\u{7f}'", "' '"]);
    check("\"never closed", &["\"never closed"]);
}

#[test]
fn lifetimes_and_raw_names_are_no_literals() {
    check("&'a str", &["&", "'a", "str"]);
    check("r#fn x", &["r#fn", "x"]);
    check("b br", &["b", "br"]);
    check("f(r, b)", &["f", "(", "r", ",", "b", ")"]);
}

#[test]
fn a_token_knows_the_line_on_which_it_begins() {
    let lines: Vec<usize> = tokens("a\n\"b\nb\" c\n/*\n*/ d").iter().map(|token| token.line).collect();
    assert_eq!(lines, [1, 2, 3, 5]);
}
