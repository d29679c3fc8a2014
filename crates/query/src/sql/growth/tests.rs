//! Every function has a place in a list, and what grows makes no more than its bound says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use datafusion::execution::SessionStateBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::prelude::SessionContext;

use super::lists::{
    AGGREGATES, GROWING, GROWING_AGGREGATES, LEFT_OUT, LEFT_OUT_HIGHER_ORDER, PLAIN, TABLES, WINDOWS,
};
use super::sizes::bytes_of;
use super::*;
use crate::context::{QueryContext, QueryExtension};
use crate::counters::EngineCounters;
use crate::memory::{QueryMemory, TotalMemory};

#[track_caller]
fn check_lists<'a>(what: &str, found: impl Iterator<Item = &'a str>, lists: &[&[&'a str]]) {
    let found: BTreeSet<&str> = found.collect();
    let listed: Vec<&str> = lists.iter().flat_map(|list| list.iter().copied()).collect();
    let known: BTreeSet<&str> = listed.iter().copied().collect();
    assert_eq!(known.len(), listed.len(), "{what}: in two lists");
    let unlisted: Vec<_> = found.difference(&known).collect();
    assert!(unlisted.is_empty(), "{what} that are in no list, find out how they grow: {unlisted:?}");
    let gone: Vec<_> = known.difference(&found).collect();
    assert!(gone.is_empty(), "{what} that are no more: {gone:?}");
}

/// A new version of DataFusion brings functions; until somebody has looked at them they are left out.
#[test]
fn every_function_of_the_registry_is_in_one_list() {
    let state = SessionStateBuilder::new().with_default_features().build();
    let growing: Vec<&str> = GROWING.iter().map(|(name, _)| *name).collect();
    assert!(growing.is_sorted() && PLAIN.is_sorted(), "they are looked up by halving");
    let scalar = state.scalar_functions().values().map(|function| function.name());
    check_lists("functions", scalar, &[PLAIN, &growing, LEFT_OUT]);
    let higher = state.higher_order_functions().values().map(|function| function.name());
    check_lists("functions of functions", higher, &[LEFT_OUT_HIGHER_ORDER]);
    let aggregates = state.aggregate_functions().values().map(|function| function.name());
    check_lists("aggregations", aggregates, &[AGGREGATES, GROWING_AGGREGATES]);
    let windows = state.window_functions().values().map(|function| function.name());
    check_lists("window functions", windows, &[WINDOWS]);
    check_lists("table functions", state.table_functions().keys().map(String::as_str), &[TABLES]);
}

struct House {
    session: SessionContext,
    counters: Arc<EngineCounters>,
}

impl House {
    fn new(bytes_max: usize) -> Self {
        let counters = Arc::<EngineCounters>::default();
        let memory = QueryMemory::new(bytes_max, &TotalMemory::new(usize::MAX, Arc::clone(&counters)));
        let context = Arc::new(QueryContext::new(Instant::now() + Duration::from_secs(60), 1_000, memory));
        let mut builder =
            SessionStateBuilder::new().with_expr_planners(vec![Arc::new(NoStructs)]).with_default_features();
        builder = builder.with_analyzer_rule(Arc::new(Guard(Arc::clone(&context))));
        let mut state: SessionState = builder.build();
        state.config_mut().options_mut().extensions.insert(QueryExtension(Arc::clone(&context)));
        keep_known(&mut state, &context).unwrap();
        Self { session: SessionContext::new_with_state(state), counters }
    }

    /// Bytes of the answer.
    async fn run(&self, text: &str) -> Result<usize, String> {
        let frame = self.session.sql(text).await.map_err(|error| error.to_string())?;
        let batches = frame.collect().await.map_err(|error| error.to_string())?;
        Ok(batches.iter().map(|batch| bytes_of(batch.column(0))).sum())
    }
}

/// `s` a text, `u` another, `n` a number, `l` a list.
const ROWS: &str = "(VALUES ('aab', 'xyz', 1, ['a', 'b', 'a']), ('bcaabbababababab', '', 40, ['b', '']), \
    ('', 'a', 0, ['q']), (NULL, 'q', 7, NULL)) AS rows(s, u, n, l)";

/// Calls that make the most of their arguments.
const CALLS: &[(&str, &str)] = &[
    ("array_append", "array_append(l, s)"),
    ("array_concat", "array_concat(l, l, make_array(s))"),
    ("array_positions", "array_positions(l, u)"),
    ("array_prepend", "array_prepend(s, l)"),
    ("array_repeat", "array_repeat(s, n)"),
    ("array_replace", "array_replace(l, u, s)"),
    ("array_replace_all", "array_replace_all(l, u, s)"),
    ("array_replace_n", "array_replace_n(l, u, s, n)"),
    ("array_to_string", "array_to_string(l, '---', s)"),
    ("array_union", "array_union(l, make_array(s, u))"),
    ("arrays_zip", "arrays_zip(l, make_array(s))"),
    ("concat", "concat(s, u, s, 'literal')"),
    ("concat_ws", "concat_ws('between', s, u, s, u)"),
    ("encode", "encode(encode(s, 'hex'), 'hex')"),
    ("lpad", "lpad(s, n * 3, 'ö')"),
    ("make_array", "make_array(s, s, u)"),
    ("map", "map(make_array('k', 'l'), make_array(s, s))"),
    ("overlay", "overlay(s, s, length(s) + 1)"),
    ("regexp_count", "regexp_count(s, 'a*')"),
    ("regexp_instr", "regexp_instr(s, 'b')"),
    ("regexp_like", "regexp_like(s, '(a|b)+')"),
    ("regexp_match", "regexp_match(s, '((((.*))))')"),
    ("regexp_replace", "regexp_replace(s, '', 'wide\\1', 'g')"),
    ("regexp_replace", "regexp_replace(s, '(.*)', '\\1\\1\\1\\1')"),
    ("repeat", "repeat(s, n)"),
    ("replace", "replace(s, 'a', s)"),
    ("replace", "replace(s, '', u)"),
    ("rpad", "rpad(s, n * 2)"),
    ("string_to_array", "string_to_array(s, NULL)"),
    ("to_char", "to_char(to_timestamp_millis(n), '%c %c')"),
    ("||", "s || s || u || 'literal'"),
];

#[tokio::test]
async fn what_a_function_makes_is_within_its_bound() {
    let tested: BTreeSet<&str> = CALLS.iter().map(|(name, _)| *name).collect();
    for (name, _) in GROWING {
        assert!(tested.contains(name), "{name} has no call that makes the most of it");
    }
    let charged = async |column: &str| {
        let house = House::new(usize::MAX);
        let made = house.run(&format!("SELECT {column} FROM {ROWS}")).await;
        let made = made.unwrap_or_else(|error| panic!("{column}: {error}"));
        (made as u64, house.counters.memory_bytes_peak.load(Relaxed))
    };
    let (_, of_rows) = charged("n").await;
    for (name, call) in CALLS {
        let (made, charged) = charged(call).await;
        // What becomes an operator is no call any more.
        assert!(
            *name == "regexp_like" || made <= charged - of_rows,
            "{name}: {made} bytes of {charged} - {of_rows}"
        );
    }
}

async fn refused(text: &str, words: &[&str]) {
    let house = House::new(4 << 20);
    let begun = Instant::now();
    let error = house.run(text).await.unwrap_err();
    for word in words {
        assert!(error.contains(word), "{text}: {word}: {error}");
    }
    let peak = house.counters.memory_bytes_peak.load(Relaxed);
    assert!(peak <= 8 << 20, "{text}: {peak} bytes");
    assert!(begun.elapsed() < Duration::from_secs(5), "{text}: {:?}", begun.elapsed());
}

fn nested(times: usize, inner: &str, call: impl Fn(&str) -> String) -> String {
    (0..times).fold(inner.to_owned(), |inner, _| call(&inner))
}

#[tokio::test]
async fn nested_calls_end_at_the_limit_constants_too() {
    let replace = |inner: &str| format!("replace({inner}, 'a', 'aaaaaaaaaa')");
    refused(&format!("SELECT {}", nested(9, "'a'", replace)), &["replace()", "constant", "1048576"]).await;
    let column = format!("SELECT {} FROM (VALUES ('a'), ('aa')) AS t(s)", nested(9, "s", replace));
    refused(&column, &["what replace() makes", "--query.max-memory", "4194304"]).await;
    let replace = |inner: &str| format!("regexp_replace({inner}, 'a', 'aaaaaaaaaaaa', 'g')");
    refused(&format!("SELECT {}", nested(9, "'a'", replace)), &["regexp_replace()"]).await;
    for (start, double) in [
        ("column1", "concat(s, s)"),
        ("column1", "s || s"),
        ("column1", "concat_ws('', s, s)"),
        ("column1", "overlay(s, s, length(s) + 1)"),
        ("column1", "encode(s::bytea, 'hex')"),
        ("make_array(column1)", "array_concat(s, s)"),
        ("make_array(column1)", "s || s"),
    ] {
        let step = |i: usize| format!("t{i} AS (SELECT {double} AS s FROM t{})", i - 1);
        let steps: Vec<String> = (1..31).map(step).collect();
        let text = format!(
            "WITH t0 AS (SELECT {start} AS s FROM (VALUES ('abcdefgh'), ('b'))), {} SELECT s FROM t30",
            steps.join(", ")
        );
        refused(&text, &["--query.max-memory"]).await;
    }
}

#[tokio::test]
async fn statements_that_grow_while_they_are_planned_are_seen_before() {
    let check = async |text: &str, expected: bool| {
        let house = House::new(4 << 20);
        let plan = house.session.state().create_logical_plan(text).await.unwrap();
        let checked = check_inlined(&plan);
        assert_eq!(checked.is_ok(), expected, "{text}: {checked:?}");
    };
    let chain = |step: &str| {
        let steps =
            (1..40).map(|i| format!("t{i} AS ({})", step.replace("FROM t", &format!("FROM t{}", i - 1))));
        let steps: Vec<String> = steps.collect();
        format!("WITH t0 AS (SELECT 1 AS x), {} SELECT x FROM t39 WHERE x > 1", steps.join(", "))
    };
    check(&chain("SELECT x + x AS x FROM t"), false).await;
    check(&chain("SELECT x + 1 AS x FROM t"), true).await;
    check(&chain("SELECT max(x) AS x FROM t GROUP BY x"), true).await;
}

#[tokio::test]
async fn numbers_say_how_much_and_are_believed_before_it_is_made() {
    for text in
        ["SELECT repeat('x', 2000000000)", "SELECT lpad('x', 2000000000)", "SELECT rpad('x', 2000000000)"]
    {
        refused(text, &["constant"]).await;
        refused(
            &text.replace("'x'", "s").replace(')', ") FROM (VALUES ('x')) AS t(s)"),
            &["--query.max-memory"],
        )
        .await;
    }
    refused("SELECT array_repeat(1, 1000000000)", &["array_repeat()"]).await;
    refused("SELECT s ~ s FROM (VALUES ('x')) AS t(s)", &["must be a constant"]).await;
    refused("SELECT regexp_count(s, s) FROM (VALUES ('x')) AS t(s)", &["must be a constant"]).await;
    refused("SELECT arrow_cast(NULL, 'FixedSizeBinary(1000000000)')", &["arrow_cast"]).await;
    refused("SELECT CAST(NULL AS INT[1000000000])", &["allowed"]).await;
    refused("SELECT array_agg(s) OVER () FROM (VALUES (1)) AS t(s)", &["OVER"]).await;
    refused("SELECT range(1, 100)", &["range"]).await;
    refused("SELECT {'a': 1}", &["not offered"]).await;
    refused("SELECT struct(1, 2)", &["not offered"]).await;
    let zip = nested(12, "make_array(1)", |inner| format!("arrays_zip({inner}, {inner})"));
    refused(&format!("SELECT {zip}"), &["parts"]).await;
}
