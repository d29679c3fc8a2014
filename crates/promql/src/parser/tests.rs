//! The parser against upstream's cases, its limits, and seeded noise.

use super::*;
use crate::ast::*;

#[path = "upstream_cases.rs"]
mod upstream_cases;

/// The options of upstream's parser test.
fn upstream_settings() -> ParserSettings {
    ParserSettings { fill_modifiers: false, ..ParserSettings::all() }
}

fn parse_all(text: &str) -> Result<Expr, ParseError> {
    parse(text, &ParserSettings::all())
}

fn refused(text: &str, why: &str) {
    match parse_all(text) {
        Ok(expr) => panic!("{text} was taken as {expr}"),
        Err(error) => assert_eq!(error.to_string(), why, "{text}"),
    }
}

#[test]
fn what_upstream_parses_is_parsed() {
    for text in upstream_cases::VALID {
        if let Err(error) = parse(text, &upstream_settings()) {
            panic!("{text}: {error}");
        }
    }
}

#[test]
fn what_upstream_refuses_is_refused_with_its_words_and_place() {
    let mut wrong = Vec::new();
    for (text, start, why) in upstream_cases::INVALID {
        let got = parse(text, &upstream_settings()).map(|expr| expr.to_string());
        let got = got.map_err(|error| (error.span.start, error.message));
        if got != Err((*start, (*why).to_owned())) {
            wrong.push(format!("{text}\n  want {start} {why}\n  got  {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn errors_name_line_and_column() {
    refused("", "unknown position: parse error: no expression found in input");
    refused("# nothing\n", "1:1: parse error: no expression found in input");
    refused("1+", "1:3: parse error: unexpected end of input");
    refused("sum(\n  rate(x[5m])\n  by", "3:3: parse error: unexpected <by> in aggregation");
    refused("sum(\n  rate(x[5m])\n", "3:1: parse error: unclosed left parenthesis");
    refused(
        "a +\n\n b{c}",
        "3:5: parse error: unexpected \"}\" in label matching, expected label matching operator",
    );
    refused("ü", "1:1: parse error: unexpected character: 'ü'");
    refused("{\"ü\"=\"ü\"} ?", "1:13: parse error: unexpected character: '?'");
}

#[test]
fn errors_inside_an_aggregation_are_blamed_on_it() {
    refused("sum(foo bar)", "1:9: parse error: unexpected identifier \"bar\" in aggregation");
    refused("sum by (a) foo", "1:12: parse error: unexpected identifier \"foo\" in aggregation");
    refused("sum(foo) bar", "1:10: parse error: unexpected identifier \"bar\"");
    refused("rate(foo bar)", "1:10: parse error: unexpected identifier \"bar\"");
    refused("sum(rate(foo bar))", "1:14: parse error: unexpected identifier \"bar\" in aggregation");
}

#[test]
fn options_gate_what_is_experimental() {
    let default = |text: &str, why: &str| {
        let error = parse(text, &ParserSettings::default()).unwrap_err();
        assert_eq!(error.to_string(), why);
        assert!(parse_all(text).is_ok(), "{text}");
    };
    default("mad_over_time(a[5m])", "1:1: parse error: function \"mad_over_time\" is not enabled");
    default("1 + step()", "1:5: parse error: function \"step\" is not enabled");
    default(
        "limitk(1, a)",
        "1:1: parse error: limitk() is experimental and must be enabled with --enable-feature=promql-experimental-functions",
    );
    default("a + fill(1) b", "1:1: parse error: binop fill modifiers are experimental and not enabled");
    let no_expressions = ParserSettings { duration_expressions: false, ..ParserSettings::all() };
    let error = parse("a[5m + 1m]", &no_expressions).unwrap_err();
    assert_eq!(error.to_string(), "1:3: parse error: experimental duration expression is not enabled");
    assert!(parse("a[5m] offset -1m", &no_expressions).is_ok());
}

#[test]
fn precedence_and_associativity_are_those_of_prometheus() {
    // What binds tighter is shown by parentheses that change nothing.
    let same = |text: &str, spelled: &str| {
        let strip = |text: &str| {
            let mut expr = parse_all(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            expr.walk_mut(&mut |expr| {
                while let ExprKind::Paren(inner) = &mut expr.kind {
                    *expr = (**inner).clone();
                }
            });
            expr
        };
        assert_eq!(strip(text), strip(spelled), "{text}");
    };
    same("a + b * c", "a + (b * c)");
    same("a - b - c", "(a - b) - c");
    same("a ^ b ^ c", "a ^ (b ^ c)");
    same("-a ^ b", "-(a ^ b)");
    same("-a * b", "(-a) * b");
    same("a ^ -b * c", "(a ^ (-b)) * c");
    same("a or b and c", "a or (b and c)");
    same("a unless b and c", "(a unless b) and c");
    same("a == b + c", "a == (b + c)");
    same("a * b atan2 c", "(a * b) atan2 c");
    same("a </ 1 + 2", "a </ (1 + 2)");
    same("a + b offset 5m", "a + (b offset 5m)");
    same("-a offset 5m", "-(a offset 5m)");
    same("a offset 5m * 2", "(a offset 5m) * 2");
    same("a and on (x) b == bool 2", "a and on (x) (b == bool 2)");
}

#[test]
fn durations_after_an_offset_end_where_upstream_ends_them() {
    let printed =
        |text: &str, wanted: &str| assert_eq!(parse_all(text).unwrap().to_string(), wanted, "{text}");
    printed("a offset 5m * 2", "a offset 5m * 2");
    printed("a offset (5m) * 2", "a offset ((5m) * 2)");
    printed("a offset (step()) * 2", "a offset ((step()) * 2)");
    printed("a offset (5m * 2) + 1", "a offset ((5m * 2) + 1)");
    printed("a offset -(5m)", "a offset -(5m)");
    printed("a offset +((5m))", "a offset (5m)");
    printed("a offset -step() * b", "a offset -step() * b");
    printed("a offset +-1m + 2m", "a offset (-1m + 2m)");
    printed("a[(-1m) ^ 2]", "a[(-1m) ^ 2]");
    printed("a[-1m ^ 2]", "a[-1m ^ 2]");
    printed("a[(5s)]", "a[(5s)]");
    printed("a[((step()))]", "a[(step())]");
    let is_one_selector = |text: &str| matches!(parse_all(text).unwrap().kind, ExprKind::Vector(_));
    assert!(!is_one_selector("a offset 5m * 2"));
    assert!(is_one_selector("a offset (5m) * 2"));
    assert!(is_one_selector("a offset (5m * 2) + 1"));
    refused("a offset 1 offset step()", "1:1: parse error: offset may not be set multiple times");
    refused("a offset -1e100", "1:10: parse error: duration out of range");
    refused("a offset (0) [5m]", "1:14: parse error: no offset modifiers allowed before range");
    refused(
        "a + on (b) group_left",
        "1:22: parse error: unexpected end of input in grouping opts, expected \"(\"",
    );
}

#[test]
fn signs_melt_into_numbers_only() {
    let number = |text: &str, value: f64| {
        let expr = parse_all(text).unwrap();
        match expr.kind {
            ExprKind::Number(number) => assert_eq!(number.value.to_bits(), value.to_bits(), "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    };
    number("-1", -1.0);
    number("- -1", 1.0);
    number("-0", -0.0);
    number("1_000.5", 1000.5);
    number("1_000", 1000.0);
    number("0x_1F", 31.0);
    number("0755", 493.0);
    number("08", 8.0);
    number("1h30m", 5400.0);
    number("-5ms", -0.005);
    number("+iNf", f64::INFINITY);
    number("9223372036854775808", 9_223_372_036_854_775_808.0);
    number("-NaN", f64::NAN);
    assert!(matches!(parse_all("-(1)").unwrap().kind, ExprKind::Unary(UnaryOp::Minus, _)));
    assert!(matches!(parse_all("-1 ^ 2").unwrap().kind, ExprKind::Unary(UnaryOp::Minus, _)));
}

#[test]
fn every_node_knows_its_text() {
    let text = "sum by (a) (rate(x{b=\"c\"}[5m] offset 1m)) + -y @ 5 > bool (3)";
    let expr = parse_all(text).unwrap();
    let mut spans = Vec::new();
    expr.walk(&mut |node| spans.push(&text[node.span.start..node.span.end]));
    assert_eq!(
        spans,
        [
            text,
            "sum by (a) (rate(x{b=\"c\"}[5m] offset 1m)) + -y @ 5",
            "sum by (a) (rate(x{b=\"c\"}[5m] offset 1m))",
            "rate(x{b=\"c\"}[5m] offset 1m)",
            "x{b=\"c\"}[5m] offset 1m",
            "-y @ 5",
            "y @ 5",
            "(3)",
            "3",
        ]
    );
}

#[test]
fn matching_stays_only_between_vectors() {
    let matching = |text: &str| match parse_all(text).unwrap().kind {
        ExprKind::Binary(binary) => binary.matching,
        other => panic!("{other:?}"),
    };
    assert!(matching("1 + 1").is_none());
    assert!(matching("a + 1").is_none());
    assert_eq!(matching("a + b").unwrap().cardinality, Cardinality::OneToOne);
    assert_eq!(matching("a and b").unwrap().cardinality, Cardinality::ManyToMany);
    assert_eq!(matching("a + on (x) group_left (y) b").unwrap().include, ["y"]);
}

#[test]
fn words_of_the_language_name_metrics_and_labels_where_upstream_allows_it() {
    for word in [
        "sum",
        "by",
        "without",
        "offset",
        "and",
        "or",
        "unless",
        "start",
        "end",
        "step",
        "range",
        "fill",
        "fill_left",
        "anchored",
        "smoothed",
        "max_of",
        "Topk",
        "limitk",
    ] {
        assert_eq!(parse_all(word).unwrap().to_string(), word);
        assert!(parse_all(&format!("rate({word}{{a=\"b\"}}[5m])")).is_ok(), "{word}");
    }
    for word in ["bool", "on", "ignoring", "group_left", "atan2"] {
        assert!(parse_all(word).is_err(), "{word}");
        assert!(parse_all(&format!("sum by ({word}) (x)")).is_ok(), "{word}");
    }
    assert!(parse_all("a{on=\"b\",sum=\"c\"}").is_ok());
    assert!(parse_all("fill + fill").is_ok());
}

#[test]
fn duration_expressions_resolve_with_the_times_of_the_query() {
    let times = crate::ast::QueryTimes { start: 10_000, end: 610_000, step: 15_000 };
    let range = |text: &str| {
        let mut expr = parse_all(text).unwrap();
        expr.resolve(times).map(|()| match expr.kind {
            ExprKind::Matrix(matrix) => matrix.range.fixed_ms().unwrap(),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(range("x[5m*2]"), Ok(600_000));
    assert_eq!(range("x[step()+1]"), Ok(16_000));
    assert_eq!(range("x[range()/2]"), Ok(300_000));
    assert_eq!(range("x[max_of(step(), 1m)]"), Ok(60_000));
    assert_eq!(range("x[min_of(step(), 1m) % 4]"), Ok(3_000));
    assert_eq!(range("x[2^3^1]"), Ok(8_000));
    assert_eq!(range("x[-(-5)]"), Ok(5_000));
    assert_eq!(range("x[1.0009]"), Ok(1_000));
    let fails = |text: &str, why: &str| assert_eq!(range(text).unwrap_err().to_string(), why);
    fails("x[step()-1m]", "2:11: duration must be greater than 0");
    fails("x[(step()-1m)]", "3:12: duration must be greater than 0");
    fails("x[-(step()*0)]", "2:12: duration must be greater than 0");
    fails("x[1/(step()-15)]", "2:14: division by zero");
    fails("x[1/(0)]", "2:6: division by zero");
    fails("x[(0)]", "2:4: duration must be greater than 0");
    fails("x[((0))]", "3:5: duration must be greater than 0");
    fails("x[+(0)]", "3:5: duration must be greater than 0");
    fails("x[-(5)]", "2:5: duration must be greater than 0");
    fails("x[(-5)]", "2:5: duration must be greater than 0");
    fails("x[10^(step()*1000)]", "2:17: duration is NaN or infinite");
    fails("x[10^step()]", "2:11: duration is out of range");
    let mut expr = parse_all("x offset (step() - 1m)").unwrap();
    expr.resolve(times).unwrap();
    assert_eq!(expr.to_string(), "x offset -45s");
}

#[test]
fn selectors_of_match_parameters_parse_alone() {
    let matchers = parse_metric_selector("up{job=~\"a|b\", x!=\"\"}").unwrap();
    assert_eq!(
        matchers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["job=~\"a|b\"", "x!=\"\"", "__name__=\"up\""]
    );
    assert_eq!(parse_metric_selector("{}").unwrap(), []);
    assert_eq!(parse_metric_selector("{\"a.b\"}").unwrap()[0].to_string(), "__name__=\"a.b\"");
    let refused = |text: &str, why: &str| {
        assert_eq!(parse_metric_selector(text).unwrap_err().to_string(), why);
    };
    refused("", "unknown position: parse error: unexpected end of input");
    refused("up[5m]", "1:3: parse error: unexpected \"[\"");
    refused("1", "1:1: parse error: unexpected number \"1\"");
    refused("up offset 5m", "1:4: parse error: unexpected <offset>");
    refused("{a=~\"(\"}", "1:2: parse error: error parsing regexp: missing closing ): `(`");
}

/// A small stack, as a thread of a server might have it.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap();
    thread.join().unwrap();
}

#[test]
fn deep_expressions_are_refused_before_the_stack_ends() {
    on_a_small_stack(|| {
        const N: usize = 100_000;
        let deep = [
            "(".repeat(N) + "1" + &")".repeat(N),
            "(".repeat(N),
            "-".repeat(N) + "a",
            "a".to_owned() + &"+a".repeat(N),
            "a".to_owned() + &"^a".repeat(N),
            "1".to_owned() + &" or 1".repeat(N),
            "abs(".repeat(N) + "a" + &")".repeat(N),
            "sum(".repeat(N) + "a" + &")".repeat(N),
            "a".to_owned() + &"[5m:]".repeat(N),
            format!("a[{}5m{}]", "(".repeat(N), ")".repeat(N)),
            format!("a[5m{}]", "+5m".repeat(N)),
            format!("a[5m{}]", "^5m".repeat(N)),
            format!("a[{}5m]", "-".repeat(N)),
            format!("a[{}1,1)]", "min_of(".repeat(N)),
        ];
        for text in deep {
            let error = parse(&text, &ParserSettings::all()).unwrap_err();
            let is_chain = text.starts_with("a+") || text.starts_with("1 or") || text.starts_with("a[5m:]");
            let expected = match is_chain {
                true => "expression has more than 1024 operators on one path, nested or in a row",
                false => "expression is nested deeper than 256 levels",
            };
            assert_eq!(error.message, expected, "{}", &text[..9]);
        }
    });
}

#[test]
fn expressions_of_the_allowed_depth_are_printed_cloned_and_dropped_on_a_small_stack() {
    let chain = || "a".to_owned() + &"+a".repeat(DEPTH_MAX as usize - 1);
    for stack_bytes in [1 << 20, 4 << 20] {
        let thread = std::thread::Builder::new().stack_size(stack_bytes);
        let allowed = if stack_bytes == 1 << 20 { nested() } else { vec![chain()] };
        let thread = thread.spawn(move || allowed.iter().for_each(|text| survives(text))).unwrap();
        thread.join().unwrap();
    }

    fn nested() -> Vec<String> {
        let n = NESTING_MAX as usize - 1;
        vec![
            "(".repeat(n - 1) + "1" + &")".repeat(n - 1),
            "-".repeat(n - 1) + "a",
            "a".to_owned() + &"+a".repeat(n),
            "a".to_owned() + &"^a".repeat(n),
            "abs(".repeat(n - 1) + "a" + &")".repeat(n - 1),
            "sum(".repeat(n - 1) + "a" + &")".repeat(n - 1),
            format!("a[{}5m{}]", "(".repeat(n - 10), ")".repeat(n - 10)),
            format!("a[5m{}]", "+5m".repeat(n - 10)),
        ]
    }

    fn survives(text: &str) {
        let expr = parse(text, &ParserSettings::all()).unwrap_or_else(|error| panic!("{error}"));
        let copy = expr.clone();
        assert_eq!(copy, expr);
        assert_eq!(parse(&expr.to_string(), &ParserSettings::all()).as_ref(), Ok(&copy));
        assert_eq!(parse(&expr.pretty(), &ParserSettings::all()).as_ref(), Ok(&copy));
        assert!(!format!("{expr:?}").is_empty());
    }
}

/// Small and repeatable; quality does not matter here.
struct Noise(u64);

impl Noise {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

const PIECES: &[&str] = &[
    "a",
    "b:c",
    "sum",
    "by",
    "without",
    "(",
    ")",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "=",
    "==",
    "=~",
    "!~",
    "!=",
    "<",
    "</",
    ">/",
    "@",
    "offset",
    "5m",
    "1",
    "0x",
    "1e",
    "1_0",
    "inf",
    "'x'",
    "\"y\"",
    "`z`",
    "\"",
    "\\",
    "on",
    "ignoring",
    "group_left",
    "bool",
    "fill",
    "fill_left",
    "start()",
    "step()",
    "min_of",
    "rate",
    "rate(x[5m])",
    "anchored",
    "smoothed",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "atan2",
    "and",
    "or",
    "unless",
    " ",
    "\n",
    "#",
    "é",
    "\u{FFFD}",
    "\0",
    "{a=\"b\"}",
    "[5m:1m]",
    "{{",
    "}}",
    ".",
];

#[test]
fn noise_is_parsed_or_refused_but_never_panics() {
    for seed in 0..4_000 {
        let mut noise = Noise(seed);
        let text: String = (0..noise.below(24)).map(|_| PIECES[noise.below(PIECES.len())]).collect();
        if let Ok(expr) = parse_all(&text) {
            let printed = expr.to_string();
            assert_eq!(parse_all(&printed).as_ref(), Ok(&expr), "seed {seed}: {text:?} -> {printed:?}");
            assert_eq!(parse_all(&expr.pretty()).as_ref(), Ok(&expr), "seed {seed}: {text:?}");
        }
        let _ = parse_metric_selector(&text);
        let _ = parse_metric_prefix(&text);
    }
}

#[test]
fn damaged_expressions_never_panic() {
    let mut noise = Noise(7);
    for text in upstream_cases::VALID {
        for _ in 0..20 {
            let mut chars: Vec<char> = text.chars().collect();
            for _ in 0..=noise.below(3) {
                let at = noise.below(chars.len() + 1);
                match noise.below(3) {
                    0 if at < chars.len() => drop(chars.remove(at)),
                    1 => chars.insert(at, PIECES[noise.below(PIECES.len())].chars().next().unwrap()),
                    _ => chars.truncate(at),
                }
            }
            let damaged: String = chars.into_iter().collect();
            if let Ok(expr) = parse_all(&damaged) {
                assert_eq!(parse_all(&expr.to_string()).as_ref(), Ok(&expr), "{damaged:?}");
            }
        }
    }
}

/// Without case every code point of a class is looked at: 38 KB of text took minutes, and so did what it blocked.
#[test]
fn no_text_takes_long_to_parse() {
    let selector = |regex: &str| format!("{{a=~\"{regex}\"}}");
    let many = |n: usize, one: &dyn Fn(usize) -> String| {
        let mut level: Vec<String> = (0..n).map(|i| selector(&one(i))).collect();
        while level.len() > 1 {
            level = level.chunks(2).map(|pair| format!("({})", pair.join(" or "))).collect();
        }
        level.remove(0)
    };
    const ALL: &str = "[\\\\x00-\\\\x{10ffff}]";
    for (text, why, over_limit) in [
        (selector(&"\\\\pL".repeat(13_000)), "expression too large", false),
        (selector(&format!("(?i){}", "\\\\pL".repeat(13_000))), "expression too large", false),
        (selector(&format!("(?i){}", ALL.repeat(2_000))), "expression too large", false),
        (many(400, &|i| format!("(?i){i}{ALL}")), "take too long to compile", true),
        (many(1_000, &|i| format!("{i}\\\\pL{{20}}")), "take more than 33554432 bytes", true),
        (many(1_000, &|i| format!("{i}.[a-z]{{500}}")), "take more than 33554432 bytes", true),
        (many(1_500, &|i| format!("{i}[a-p][a-p][a-p]")), "take more than 33554432 bytes", true),
    ] {
        let begun = std::time::Instant::now();
        let error = parse(&text, &ParserSettings::default()).unwrap_err();
        assert!(error.message.contains(why), "{}", error.message);
        assert_eq!(error.over_limit, over_limit, "{why}");
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}: {text:.60}", begun.elapsed());
    }
    let equal = many(2_000, &|_| "0.[a-z]{500}".to_owned());
    assert!(parse(&equal, &ParserSettings::default()).is_ok(), "an expression counts once");
}
