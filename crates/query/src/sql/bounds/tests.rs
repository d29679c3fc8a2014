//! Each kind of filter and what becomes of it.

use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{ident, lit};
use datafusion::prelude::Expr;

use super::*;

fn ts_ms(ms: i64) -> Expr {
    Expr::Literal(ScalarValue::TimestampMillisecond(Some(ms), Some("UTC".into())), None)
}

fn ts_ns(ns: i64) -> Expr {
    Expr::Literal(ScalarValue::TimestampNanosecond(Some(ns), Some("+00:00".into())), None)
}

fn label(name: &str) -> Expr {
    get_field(ident("labels"), name)
}

/// The matchers as PromQL writes them, the range, and whether the filter was taken whole.
fn taken(filter: &Expr) -> (Vec<String>, TimeRange, bool) {
    let mut bounds = Bounds::default();
    let whole = bounds.add(filter);
    (bounds.matchers.iter().map(ToString::to_string).collect(), bounds.range, whole)
}

#[track_caller]
fn matches(filter: Expr, matcher: &str) {
    assert_eq!(taken(&filter), (vec![matcher.to_owned()], TimeRange::ALL, true), "{filter}");
}

#[track_caller]
fn ranges(filter: Expr, from: i64, to: i64) {
    assert_eq!(taken(&filter), (vec![], TimeRange::new(from, to), true), "{filter}");
}

#[track_caller]
fn ignored(filter: Expr) {
    assert_eq!(taken(&filter), (vec![], TimeRange::ALL, false), "{filter}");
}

#[test]
fn equality_of_name_and_labels_becomes_a_matcher() {
    matches(ident("name").eq(lit("up")), "__name__=\"up\"");
    matches(lit("up").eq(ident("name")), "__name__=\"up\"");
    matches(label("job").eq(lit("a")), "job=\"a\"");
}

#[test]
fn sets_become_one_matcher() {
    matches(ident("name").in_list(vec![lit("b"), lit("a.c")], false), "__name__=~\"a\\\\.c|b\"");
    matches(label("job").eq(lit("a")).or(label("job").eq(lit("b"))), "job=~\"a|b\"");
    matches(ident("name").in_list(vec![lit("a")], false), "__name__=\"a\"");
}

#[test]
fn what_sql_and_prometheus_mean_differently_is_not_taken() {
    ignored(label("job").eq(lit("")));
    ignored(label("__name__").eq(lit("up")));
    ignored(label("__name__").in_list(vec![lit("up"), lit("down")], false));
    ignored(label("job").in_list(vec![lit("a"), lit(ScalarValue::Utf8(None))], false));
    ignored(label("job").in_list(vec![lit(""), lit("a")], false));
    ignored(label("job").not_eq(lit("a")));
    ignored(label("job").in_list(vec![lit("a")], true));
    ignored(label("job").is_null());
    ignored(label("job").eq(lit("a")).or(label("host").eq(lit("b"))));
    ignored(ident("value").gt(lit(1.0)));
    ignored(label("job").eq(ident("name")));
}

#[test]
fn comparisons_of_ts_become_a_range_with_both_ends() {
    ranges(ident("ts").gt_eq(ts_ms(5)), 5, i64::MAX);
    ranges(ident("ts").gt(ts_ms(5)), 6, i64::MAX);
    ranges(ident("ts").lt_eq(ts_ms(5)), i64::MIN, 5);
    ranges(ident("ts").lt(ts_ms(5)), i64::MIN, 4);
    ranges(ident("ts").eq(ts_ms(5)), 5, 5);
    ranges(ts_ms(5).lt(ident("ts")), 6, i64::MAX);
    ranges(ident("ts").between(ts_ms(-5), ts_ms(5)), -5, 5);
    ranges(ident("ts").gt_eq(ts_ms(1)).and(ident("ts").lt(ts_ms(3))), 1, 2);
}

#[test]
fn finer_literals_are_rounded_to_the_inside() {
    ranges(ident("ts").gt_eq(ts_ns(5_000_001)), 6, i64::MAX);
    ranges(ident("ts").gt(ts_ns(5_000_001)), 6, i64::MAX);
    ranges(ident("ts").lt_eq(ts_ns(5_999_999)), i64::MIN, 5);
    ranges(ident("ts").lt(ts_ns(5_000_001)), i64::MIN, 5);
    ranges(ident("ts").gt_eq(ts_ns(-1)), 0, i64::MAX);
    ranges(ident("ts").lt(ts_ns(-1)), i64::MIN, -1);
    let nanos = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let cast = |expr| Expr::Cast(datafusion::logical_expr::Cast::new(Box::new(expr), nanos.clone()));
    ranges(cast(ident("ts")).gt(ts_ns(5_000_000)), 6, i64::MAX);
    assert_eq!(taken(&ident("ts").eq(ts_ns(1))), (vec![], TimeRange::EMPTY, true));
}

#[test]
fn casts_that_lose_are_not_taken() {
    let seconds = DataType::Timestamp(TimeUnit::Second, Some("UTC".into()));
    let cast = Expr::Cast(datafusion::logical_expr::Cast::new(Box::new(ident("ts")), seconds));
    ignored(cast.eq(Expr::Literal(ScalarValue::TimestampSecond(Some(1), None), None)));
}

#[test]
fn a_conjunction_is_taken_as_far_as_it_goes() {
    let filter = ident("name").eq(lit("up")).and(ident("value").gt(lit(1.0)));
    assert_eq!(taken(&filter), (vec!["__name__=\"up\"".to_owned()], TimeRange::ALL, false));
}
