//! Scripts, series descriptions and comparison; upstream's scripts if they are at hand.

use std::path::PathBuf;

use promontory_model::is_stale;

use super::*;
use promontory_model::Floats;
use promontory_model::samples::SampleValue;

use crate::engine::{Annotations, Sample, Series, Value};

fn floats(text: &str) -> Vec<f64> {
    let (_, values) = parse_series(text).unwrap_or_else(|why| panic!("{text}: {why}"));
    values
        .into_iter()
        .map(|value| match value {
            SequenceValue::Float(value) => value,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn one_eval(text: &str) -> Eval {
    match parse_script(text).unwrap().as_slice() {
        [TestCommand::Eval(eval)] => (**eval).clone(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(text: &str, why: &str) {
    match parse_script(text) {
        Ok(commands) => panic!("{commands:?}"),
        Err(error) => assert!(error.to_string().contains(why), "{error}"),
    }
}

#[test]
fn values_expand() {
    assert_eq!(floats("a 1 2 -3"), [1.0, 2.0, -3.0]);
    assert_eq!(floats("a 1x2"), [1.0, 1.0, 1.0]);
    assert_eq!(floats("a 1+2x3"), [1.0, 3.0, 5.0, 7.0]);
    assert_eq!(floats("a -1-2x2 5"), [-1.0, -3.0, -5.0, 5.0]);
    assert_eq!(floats("a 0x2"), [0.0, 0.0, 0.0]);
    assert_eq!(floats("a 1e2-1e+1x1 .5"), [100.0, 90.0, 0.5]);
    assert_eq!(floats("a +Inf -inf"), [f64::INFINITY, f64::NEG_INFINITY]);
    assert!(floats("a NaN")[0].is_nan() && !is_stale(floats("a NaN")[0]));
    assert!(is_stale(floats("a{b=\"c\"} stale")[0]));
    assert_eq!(floats("a 0.1+0.1x3")[3].to_bits(), (0.1_f64 + 0.1 + 0.1 + 0.1).to_bits());
    assert_eq!(parse_series("a _ _x3 1").unwrap().1.len(), 5);
    assert_eq!(parse_series("a").unwrap().1, []);
}

#[test]
fn label_sets_of_series_are_read_as_in_expressions() {
    let labels = |text: &str| parse_series(text).unwrap().0.to_string();
    assert_eq!(labels("up{job=\"a b\", x='}'} 1"), r#"up{job="a b", x="}"}"#);
    assert_eq!(labels("{a=\"b\"} 1"), r#"{a="b"}"#);
    assert_eq!(labels("{\"a.b\", c=\"d\"} 1"), r#"{"a.b", c="d"}"#);
    assert_eq!(labels("{} 1"), "{}");
    assert_eq!(labels("sum 1"), "sum");
    assert_eq!(labels("a:b {{}}"), "a:b");
    for text in ["", "1 2", "a{b} 1", "a{b=\"c\" 1", "a{b=\"c\"}1", "a,b"] {
        assert!(parse_series(text).is_err(), "{text}");
    }
}

#[test]
fn expansion_is_bounded() {
    for text in ["a 1x1000000", "a _x1000001", "a 1x18446744073709551615", "a {{}}x1000000", "a 1x999998 1 1"]
    {
        assert_eq!(parse_series(text).unwrap_err(), "series has more than 1000000 values", "{text}");
    }
    assert_eq!(floats("a 1x999999").len(), SEQUENCE_VALUES_MAX);
    assert!(parse_start_timestamps("0sx1000000").is_err());
}

#[test]
fn histograms_are_kept_as_written() {
    let text = "h {{schema:1 sum:-3.1 count:22 z_bucket:7.1 z_bucket_w:0.05 buckets:[5.1 10 7] offset:-3 n_buckets:[4.1 5] n_offset:-5 counter_reset_hint:gauge}}";
    let (_, values) = parse_series(text).unwrap();
    let SequenceValue::Histogram(value) = &values[0] else { panic!("{values:?}") };
    assert_eq!(
        *value.base,
        TestHistogram {
            schema: 1,
            sum: -3.1,
            count: 22.0,
            zero_count: 7.1,
            zero_threshold: 0.05,
            custom_values: vec![],
            positive: TestBuckets { offset: -3, counts: vec![5.1, 10.0, 7.0] },
            negative: TestBuckets { offset: -5, counts: vec![4.1, 5.0] },
            reset_hint: Some(CounterResetHint::Gauge),
        }
    );
    let (_, values) =
        parse_series("h {{schema:-53 custom_values:[1 2] count:1}}-{{schema:-53 count:2 }}x2 _ 1").unwrap();
    assert_eq!(values.len(), 5);
    let SequenceValue::Histogram(value) = &values[2] else { panic!("{values:?}") };
    assert_eq!((value.times, value.step.as_ref().unwrap().subtract), (2, true));
    for text in [
        "h {{",
        "h {{sum:1 sum:2}}",
        "h {{sum}}",
        "h {{foo:1}}",
        "h {{buckets:[1 2}}",
        "h {{}}+{{}}",
        "h {{schema:1.5}}",
    ] {
        assert!(parse_series(text).is_err(), "{text}");
    }
}

#[test]
fn loads_place_values_on_their_steps() {
    let script = "load 30s\n  a 1 _ 3\n  b@st  _ -1m 0s-1mx0\n  b 1 2 3\n  a{x=\"y\"} stale\n";
    let commands = parse_script(script).unwrap();
    let [TestCommand::Load(load)] = commands.as_slice() else { panic!("{commands:?}") };
    assert_eq!((load.line, load.step, load.with_nhcb, load.series.len()), (1, 30_000, false, 3));
    let times = |index: usize| -> Vec<(i64, Option<i64>)> {
        load.series[index].samples(load.step).map(|sample| (sample.ts, sample.start_ts)).collect()
    };
    assert_eq!(times(0), [(0, None), (60_000, None)]);
    assert_eq!(times(1), [(0, None), (30_000, Some(-30_000)), (60_000, Some(60_000))]);
}

#[test]
fn start_timestamps_expand() {
    let ms = |text: &str| parse_start_timestamps(text).unwrap();
    assert_eq!(ms("_ _x2 1s"), [None, None, None, Some(1_000)]);
    assert_eq!(ms("-1mx1"), [Some(-60_000), Some(-60_000)]);
    assert_eq!(ms("-30s-1mx2"), [Some(-30_000), Some(-90_000), Some(-150_000)]);
    assert_eq!(ms("1ms+1sx1"), [Some(1), Some(1_001)]);
    for text in ["x", "1", "1s+1s", "1sx", "_y", "1s1m", "--1s", "1s*2"] {
        assert!(parse_start_timestamps(text).is_err(), "{text}");
    }
}

#[test]
fn evaluations_hold_their_expectations() {
    let eval = one_eval(
        "eval instant at 1m30s sum by (a) (b) # not a comment here\n expect warn msg: careful \n expect warn regex: ^x.+y\n expect no_info\n expect ordered\n # comment\n",
    );
    assert_eq!(eval.times, EvalTimes::Instant { at: 90_000 });
    assert_eq!(eval.expr, "sum by (a) (b) # not a comment here");
    assert!(eval.ordered && eval.fail.is_none());
    assert!(matches!(eval.infos, AnnotationsExpected::None));
    let AnnotationsExpected::Each(warnings) = &eval.warnings else { panic!("{eval:?}") };
    assert!(warnings[0].matches("careful") && !warnings[0].matches("careful "));
    assert!(warnings[1].matches("x--y--") && !warnings[1].matches("-x-y"));

    let eval = one_eval("eval range from 0 to 1m step 30s a\n {} 1 2 _\n a{b=\"c\"} 1x2");
    assert_eq!(eval.times, EvalTimes::Range { start: 0, end: 60_000, step: 30_000 });
    let Expected::Series { series, .. } = &eval.expected else { panic!("{eval:?}") };
    assert_eq!(series.len(), 2);

    assert_eq!(one_eval("eval instant at 0 1\n 0x10").expected, Expected::Scalar(16.0));
    assert_eq!(
        one_eval("eval instant at 0 'a'\n expect string `a\"`").expected,
        Expected::String("a\"".into())
    );
    let eval = one_eval("eval instant at 1m a[1m]\n expect range vector from 10s to 1m step 10s\n a 1 2 3");
    let Expected::Series { grid, .. } = &eval.expected else { panic!("{eval:?}") };
    assert_eq!(*grid, EvalTimes::Range { start: 10_000, end: 60_000, step: 10_000 });
}

#[test]
fn old_commands_are_understood() {
    let eval = one_eval("eval_fail instant at 1m a + b\n expected_fail_message no match");
    assert!(eval.check_failure("no match").is_ok() && eval.check_failure("other").is_err());
    let eval = one_eval("eval_fail instant at 1m a + b\n expected_fail_regexp n.\n");
    assert!(eval.check_failure("a no match").is_ok() && eval.check_failure("x").is_err());
    assert!(one_eval("eval_fail range from 0 to 1m step 1m a").check_failure("anything").is_ok());
    assert!(one_eval("eval_ordered instant at 1m sort(a)\n a 1").ordered);
    let eval = one_eval("eval_warn instant at 1m a");
    assert!(eval.check_annotations(&Annotations::default()).is_err());
    let eval = one_eval("eval_info instant at 1m a");
    assert!(eval.check_annotations(&Annotations { warnings: vec![], infos: vec!["x".into()] }).is_ok());
}

#[test]
fn broken_scripts_are_refused_with_their_line() {
    refused("clear\nfoo", "line 2: invalid command \"foo\"");
    refused("load\n a 1", "line 1: invalid step definition");
    refused("load 5m\n a b", "line 2: cannot read series value");
    refused("load 5m\n a@st _\n b 1", "line 3: @st metric does not match");
    refused("load 5m\n a@st _\n a 1 2", "line 3: @st line has 1 values but sample line has 2");
    refused("load 5m\n a@st _\n\n a 1", "@st line has no following sample line");
    refused("eval a", "line 1: invalid evaluation command");
    refused("eval instant a", "line 1: invalid evaluation command");
    refused("eval instant at x a", "line 1: invalid timestamp definition");
    refused("eval instant at 1m sum(", "line 1: 1:5: parse error: unclosed left parenthesis");
    refused("eval range from 1m to 0 step 1m a", "end timestamp is before start");
    refused("eval_ordered range from 0 to 1m step 1m a", "invalid evaluation command");
    refused("eval instant at 1m a\n expect nothing", "invalid expected error/annotation type nothing");
    refused("eval instant at 1m a\n expect warn foo", "invalid expect statement");
    refused(
        "eval instant at 1m a\n expect warn\n expect no_warn",
        "warn and no_warn cannot be used together",
    );
    refused("eval instant at 1m a\n expect fail\n expect fail", "multiple expect fail lines");
    refused("eval instant at 1m a\n expect fail regex: (", "invalid regex (");
    refused("eval instant at 1m a\n a 1 2", "expecting multiple values in instant evaluation not allowed");
    refused("eval instant at 1m a\n expect string a", "check that the string is correctly quoted");
}

#[test]
fn floats_are_compared_with_tolerance() {
    assert!(almost_equal(1.0, 1.0 + 1e-7));
    assert!(!almost_equal(1.0, 1.0 + 1e-5));
    assert!(almost_equal(f64::NAN, -f64::NAN));
    assert!(!almost_equal(f64::NAN, promontory_model::stale_nan()));
    assert!(almost_equal(promontory_model::stale_nan(), promontory_model::stale_nan()));
    assert!(almost_equal(f64::INFINITY, f64::INFINITY));
    assert!(!almost_equal(f64::INFINITY, f64::NEG_INFINITY));
    assert!(!almost_equal(f64::INFINITY, f64::MAX));
    assert!(almost_equal(0.0, -0.0));
    assert!(!almost_equal(0.0, 1e-300));
    assert!(almost_equal(0.0, 1e-320));
    assert!(!almost_equal(1.0, f64::NAN));
    assert!(almost_equal(f64::MAX, f64::MAX * (1.0 - 1e-9)));
}

fn sample(metric: &str, value: f64) -> Sample {
    Sample { labels: parse_series(metric).unwrap().0, ts: 0, value: SampleValue::Float(value) }
}

#[test]
fn vectors_are_compared_as_sets_unless_ordered() {
    let eval = one_eval("eval instant at 0 a\n a{x=\"1\"} 1\n a{x=\"2\"} 2");
    let (one, two) = (sample("a{x=\"1\"}", 1.0), sample("a{x=\"2\"}", 2.0));
    let check = |eval: &Eval, samples: &[&Sample]| {
        eval.check_value(&Value::Vector(samples.iter().map(|sample| (*sample).clone()).collect()))
    };
    assert_eq!(check(&eval, &[&one, &two]), Ok(()));
    assert_eq!(check(&eval, &[&two, &one]), Ok(()));
    assert!(check(&eval, &[&one]).is_err());
    assert!(check(&eval, &[&one, &sample("a{x=\"2\"}", 3.0)]).is_err());
    assert!(check(&eval, &[&one, &two, &sample("b", 1.0)]).is_err());
    assert!(eval.check_value(&Value::Scalar { ts: 0, value: 1.0 }).is_err());
    let ordered = one_eval("eval instant at 0 sort(a)\n expect ordered\n a{x=\"1\"} 1\n a{x=\"2\"} 2");
    assert_eq!(check(&ordered, &[&one, &two]), Ok(()));
    assert!(check(&ordered, &[&two, &one]).is_err());
    let histogram = one_eval("eval instant at 0 a\n a{x=\"1\"} {{count:1}}");
    assert!(matches!(check(&histogram, &[&one]), Err(Mismatch::Histogram(_))));
    assert_eq!(check(&one_eval("eval instant at 0 a"), &[]), Ok(()));
    assert!(check(&one_eval("eval instant at 0 a"), &[&one]).is_err());
}

#[test]
fn matrices_are_compared_point_by_point() {
    let eval = one_eval("eval range from 1m to 3m step 1m a\n a 1 _ 3");
    let check = |samples: &[(i64, f64)]| {
        let labels = parse_series("a").unwrap().0;
        let samples = samples.iter().copied().collect::<Floats>().into();
        eval.check_value(&Value::Matrix(vec![Series { labels, samples }]))
    };
    assert_eq!(check(&[(60_000, 1.0), (180_000, 3.0)]), Ok(()));
    assert!(check(&[(60_000, 1.0)]).is_err());
    assert!(check(&[(60_000, 1.0), (120_000, 2.0), (180_000, 3.0)]).is_err());
    assert!(check(&[(60_000, 1.0), (120_000, 3.0)]).is_err());
    assert!(check(&[(60_000, 1.0), (180_000, 4.0)]).is_err());
    assert!(eval.check_value(&Value::Matrix(vec![])).is_err());
}

#[test]
fn annotations_must_match_both_ways() {
    let eval = one_eval("eval instant at 0 a\n expect warn msg: x\n expect no_info");
    let check = |warnings: &[&str], infos: &[&str]| {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        eval.check_annotations(&Annotations { warnings: texts(warnings), infos: texts(infos) })
    };
    assert_eq!(check(&["x"], &[]), Ok(()));
    assert!(check(&[], &[]).is_err());
    assert!(check(&["x", "y"], &[]).is_err());
    assert!(check(&["x"], &["i"]).is_err());
    assert!(
        one_eval("eval instant at 0 a")
            .check_annotations(&Annotations { warnings: vec!["w".into()], infos: vec!["i".into()] })
            .is_ok()
    );
}

#[test]
fn at_modifiers_are_written_onto_every_selector() {
    let cases = |expr: &str, at: i64| {
        let eval = one_eval(&format!("eval instant at {at}ms {expr}"));
        eval.at_modifier_cases().unwrap()
    };
    let text = |expr: &str| cases(expr, 50_000).first().map(|(text, _)| text.clone()).unwrap_or_default();
    assert_eq!(text("a + rate(b[5m] offset 1m)"), "a @ 50.000 + rate(b[5m] @ 50.000 offset 1m)");
    assert_eq!(text("a @ 10 + b @ start()"), "a @ 10.000 + b @ 50.000");
    assert_eq!(text("sum_over_time(rate(a[1m])[5m:])"), "sum_over_time(rate(a[1m])[5m:] @ 50.000)");
    assert_eq!(text("1"), "1");
    assert_eq!(
        cases("a", 50_000).into_iter().map(|(_, time)| time).collect::<Vec<_>>(),
        [-500_000, 0, 10_000, 50_000, 500_000]
    );
    assert_eq!(cases("a", 0).into_iter().map(|(_, time)| time).collect::<Vec<_>>(), [-1_000, 0, 1_000]);
    for expr in
        ["time()", "timestamp(a)", "a + hour()", "sum_over_time(minute()[5m:])", "predict_linear(a[5m], 1)"]
    {
        assert!(cases(expr, 50_000).is_empty(), "{expr}");
    }
    assert!(one_eval("eval range from 0 to 1m step 1m a").at_modifier_cases().unwrap().is_empty());
}

#[test]
fn range_cases_surround_the_evaluation_time() {
    let eval = one_eval("eval instant at 5m a");
    assert_eq!(eval.range_case("a", 0), Some(EvalTimes::Range { start: -60_000, end: 60_000, step: 60_000 }));
    assert_eq!(eval.range_case("a @ start()", 0), None);
    assert_eq!(one_eval("eval instant at 5m sort(a)\n expect ordered").range_case("a", 0), None);
    assert_eq!(one_eval("eval instant at 5m 'a'\n expect string 'a'").range_case("a", 0), None);
}

/// Upstream's scripts; the environment says where they are, else they lie beside the checkout.
fn conformance() -> Option<PathBuf> {
    let path = std::env::var_os("PROMONTORY_CONFORMANCE").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance"),
        PathBuf::from,
    );
    Some(path.join("promqltest")).filter(|path| path.is_dir())
}

#[test]
fn upstream_scripts_are_read_and_their_expressions_print_and_parse() {
    let Some(folder) = conformance() else {
        let name = "upstream_scripts_are_read_and_their_expressions_print_and_parse";
        use std::io::Write;
        let _ =
            writeln!(std::io::stderr(), "skipped {name}: no conformance folder; set PROMONTORY_CONFORMANCE");
        return;
    };
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "test"));
    files.sort();
    assert_eq!(files.len(), 21);
    let (mut instant, mut range, mut loads, mut st_series) = (0, 0, 0, 0);
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let commands = parse_script(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for command in commands {
            match command {
                TestCommand::Clear => {}
                TestCommand::Load(load) => {
                    loads += 1;
                    st_series +=
                        load.series.iter().filter(|series| series.start_timestamps.is_some()).count();
                }
                TestCommand::Eval(eval) => {
                    match eval.times {
                        EvalTimes::Instant { .. } => instant += 1,
                        EvalTimes::Range { .. } => range += 1,
                    }
                    let place = format!("{}:{} {}", path.display(), eval.line, eval.expr);
                    let expr = parse(&eval.expr, &ParserSettings::all()).unwrap();
                    for printed in [expr.to_string(), expr.pretty()] {
                        assert_eq!(
                            parse(&printed, &ParserSettings::all()).as_ref(),
                            Ok(&expr),
                            "{place}\n{printed}"
                        );
                    }
                    for (text, _) in eval.at_modifier_cases().unwrap() {
                        parse(&text, &ParserSettings::all())
                            .unwrap_or_else(|error| panic!("{place}\n{text}: {error}"));
                    }
                }
            }
        }
    }
    assert_eq!((instant, range, loads, st_series), (1_885, 329, 310, 37));
}

#[test]
fn noise_is_read_or_refused_but_never_panics() {
    const PIECES: [&str; 36] = [
        "load 1m\n",
        "load_with_nhcb 1m\n",
        "eval instant at 1m ",
        "eval range from 0 to 1m step 1s ",
        "clear\n",
        "\n",
        "\n",
        "a",
        "{b=\"c\"}",
        "@st",
        " ",
        "1",
        "x",
        "3",
        "+",
        "-",
        "_",
        "stale",
        "{{",
        "}}",
        "sum:",
        "buckets:[",
        "]",
        "expect ",
        "warn ",
        "msg:",
        "regex:",
        "fail ",
        "string ",
        "range vector ",
        "\"",
        "é",
        "#",
        "0x",
        "1e",
        "counter_reset_hint:",
    ];
    let mut state = 3_u64;
    let mut below = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    for _ in 0..4_000 {
        let text: String = (0..below(30)).map(|_| PIECES[below(PIECES.len())]).collect();
        let _ = parse_script(&text);
        let _ = parse_series(&text);
        let _ = parse_start_timestamps(&text);
    }
}
