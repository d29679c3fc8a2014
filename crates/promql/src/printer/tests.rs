//! The printer against upstream's cases, and print-parse-print over generated expressions.

use super::*;
use crate::parser::{ParserSettings, parse};

#[path = "upstream_cases.rs"]
mod upstream_cases;

fn parse_all(text: &str) -> Expr {
    parse(text, &ParserSettings::all()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn expressions_print_as_upstream_prints_them() {
    for (text, printed) in upstream_cases::PRINTED {
        let expr = parse_all(text);
        assert_eq!(expr.to_string(), *printed);
        assert_eq!(parse_all(printed), expr, "{printed}");
    }
}

#[test]
fn long_expressions_split_as_upstream_splits_them() {
    for (text, split) in upstream_cases::SPLIT {
        let expr = parse_all(text);
        assert_eq!(expr.pretty_within(10), *split);
        assert_eq!(parse_all(split), expr, "{split}");
    }
}

#[test]
fn an_infinite_base_keeps_its_meaning() {
    let expr = parse_all("+inf ^ a");
    assert_eq!(expr.to_string(), "+Inf ^ a");
    assert_eq!(parse_all(&expr.to_string()), expr);
    assert_eq!(parse_all("(+inf) ^ a + -inf").to_string(), "(+Inf) ^ a + -Inf");
}

#[test]
fn fill_values_print_as_go_prints_floats() {
    for (value, printed) in
        [("1000000", "1e+06"), ("123456", "123456"), ("0.00001", "1e-05"), ("Inf", "+Inf")]
    {
        let text = format!("a + fill ({printed}) b");
        assert_eq!(parse_all(&format!("a + fill({value}) b")).to_string(), text);
    }
}

#[test]
fn short_expressions_stay_on_one_line() {
    assert_eq!(parse_all("sum  by(a)(rate(x[5m]))").pretty(), "sum by (a) (rate(x[5m]))");
}

#[test]
fn lines_of_more_than_100_bytes_are_split() {
    let name = "a".repeat(94);
    assert_eq!(parse_all(&format!("sum({name} )")).pretty(), format!("sum({name})"));
    let name = "a".repeat(96);
    assert_eq!(parse_all(&format!("sum({name} )")).pretty(), format!("sum(\n  {name}\n)"));
}
