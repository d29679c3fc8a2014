//! Made-up files that are too long.

use super::super::code;
use super::super::facts::SourceFile;
use super::*;

fn functions(lines: usize, count: usize) -> String {
    format!("fn a() {{{}}}\n", "\n".repeat(lines - 1)).repeat(count)
}

fn source(text: String) -> SourceFile {
    SourceFile { path: "crates/x/src/a.rs".into(), text }
}

#[test]
fn nine_functions_of_ten_are_short() {
    let check = |long: usize, expected: usize| {
        let sources = [source(functions(24, long) + &functions(23, 10 - long))];
        assert_eq!(function_lines(&code::files(&sources)).len(), expected, "{long}");
    };
    check(1, 0);
    check(2, 1);
}

#[test]
fn few_functions_are_longer_than_a_screen() {
    let check = |lines: usize, long: usize, expected: usize| {
        let sources = [source(functions(lines, long) + &functions(2, 400 - long))];
        assert_eq!(function_lines(&code::files(&sources)).len(), expected, "{lines} {long}");
    };
    check(71, 1, 0);
    check(71, 2, 1);
    check(70, 2, 0);
}

#[test]
fn nine_files_of_ten_are_short_and_none_is_very_long() {
    let check = |lines: &[usize], share: usize, long: usize| {
        let sources: Vec<_> = lines.iter().map(|lines| source("\n".repeat(*lines))).collect();
        let files = code::files(&sources);
        assert_eq!(file_lines_p90(&files).len(), share, "{lines:?}");
        assert_eq!(long_files(&files).len(), long, "{lines:?}");
    };
    check(&[480, 480, 480, 480, 480, 480, 480, 480, 480, 900], 0, 0);
    check(&[480, 480, 480, 480, 480, 480, 480, 480, 481, 481], 1, 0);
    check(&[480, 480, 480, 480, 480, 480, 480, 480, 480, 901], 0, 1);
    check(&[], 0, 0);
}
