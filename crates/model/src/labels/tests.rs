//! What canonical label bytes promise: order, escapes, projection, and no trust in foreign bytes.

use super::*;

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied())
}

#[test]
fn pairs_come_back_metric_name_first() {
    let set = labels(&[("b", "2"), ("__name__", "up"), ("A", "1"), ("empty", "")]);
    let pairs: Vec<_> = set.iter().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(pairs, ["__name__=up", "A=1", "b=2"]);
    assert_eq!(set.as_ref().sorted_pairs()[0].0, "A");
}

#[test]
fn zero_bytes_survive_and_keep_the_order() {
    let a = labels(&[("x", "a\0")]);
    let b = labels(&[("x", "a")]);
    let c = labels(&[("x", "a\u{1}")]);
    assert_eq!(a.get("x").as_deref(), Some("a\0"));
    assert!(b < a && a < c, "{b:?} {a:?} {c:?}");
    assert_eq!(Labels::from_key(a.key()), Some(a));
}

#[test]
fn damaged_keys_are_refused() {
    let good = labels(&[("__name__", "m"), ("a", "1"), ("b", "2")]);
    for cut in 1..good.key().len() {
        let truncated = Labels::from_key(&good.key()[..cut]);
        assert!(truncated.is_none_or(|t| t != good), "cut at {cut}");
    }
    assert_eq!(Labels::from_key(b"\x00\x01b\x00\x011\x00\x01a\x00\x011\x00\x01"), None);
    assert_eq!(Labels::from_key(b"\x00\x02\x00\x01"), None);
    assert_eq!(Labels::from_key(b"\xff\x00\x01"), None);
}

#[test]
fn projection_stays_canonical() {
    let set = labels(&[("__name__", "m"), ("a", "1"), ("b", "2")]);
    assert_eq!(set.as_ref().without_metric_name(), labels(&[("a", "1"), ("b", "2")]));
    assert_eq!(set.as_ref().project(|n| n == b"b"), labels(&[("b", "2")]));
    assert_eq!(set.as_ref().project(|_| false), Labels::empty());
}

#[test]
fn metric_key_range_holds_just_that_metric() {
    let (first, after) = metric_key_range("up");
    for (set, inside) in [
        (labels(&[("__name__", "up")]), true),
        (labels(&[("__name__", "up"), ("~", "\u{10FFFF}")]), true),
        (labels(&[("__name__", "up\0")]), false),
        (labels(&[("__name__", "up_")]), false),
        (labels(&[("__name__", "uo")]), false),
    ] {
        assert_eq!(first.as_slice() <= set.key() && set.key() < after.as_slice(), inside, "{set}");
    }
}

#[test]
fn display_is_prometheus_notation() {
    for (set, expected) in [
        (labels(&[("__name__", "up"), ("job", "a\"b")]), r#"up{job="a\"b"}"#),
        (labels(&[("__name__", "up")]), "up"),
        (labels(&[("job", "x")]), r#"{job="x"}"#),
        (labels(&[]), "{}"),
        (labels(&[("__name__", "a.b"), ("l.x", "y")]), r#"{"a.b", "l.x"="y"}"#),
    ] {
        assert_eq!(set.to_string(), expected);
    }
}

#[test]
fn duplicates_are_found() {
    let mut builder = LabelsBuilder::default();
    builder.push("a", "1").push("b", "2").push("a", "3");
    assert_eq!(builder.duplicate(), Some("a"));
}
