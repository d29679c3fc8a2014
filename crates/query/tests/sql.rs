//! SQL over stored samples: the tables, the bounds of an answer, and what pruning saves in requests.

#![allow(clippy::unwrap_used)] // Helpers of tests fail by panicking, as tests do.

mod support;
#[path = "support/table.rs"]
mod table;

use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use promontory_model::samples::{SampleValue, stale_nan};
use promontory_model::{Labels, Matcher, TenantId, Tenants};
use promontory_promql::engine::{Engine, EngineError, InstantQuery, LabelPolicy, RequestContext, Value};
use promontory_query::{EngineSettings, QueryEngine, SqlAnswer, SqlQuery};
use promontory_testkit::stored::{Placement, StoredSeries, StoredWorld};
use tokio::runtime::Runtime;

use self::support::runtime;

const HOUR_MS: i64 = 3_600_000;

struct House {
    world: StoredWorld,
    engine: QueryEngine,
    runtime: Runtime,
}

impl House {
    fn new(placement: Placement) -> Self {
        Self::with(placement, EngineSettings::default())
    }

    fn with(placement: Placement, settings: EngineSettings) -> Self {
        let runtime = runtime();
        let world = runtime.block_on(StoredWorld::new(placement)).unwrap();
        let engine = QueryEngine::new(world.source() as _, settings, runtime.handle().clone()).unwrap();
        Self { world, engine, runtime }
    }

    fn load(&self, tenant: &str, series: &[StoredSeries], placement: Placement) {
        let tenant = TenantId::new(tenant).unwrap();
        self.runtime.block_on(self.world.load(&tenant, series, placement)).unwrap();
    }

    fn sql(&self, text: &str) -> Result<SqlAnswer, EngineError> {
        self.sql_of("a", text, 1_000)
    }

    fn sql_of(&self, tenant: &str, text: &str, rows_max: usize) -> Result<SqlAnswer, EngineError> {
        let query = SqlQuery { text: text.into(), rows_max };
        self.runtime.block_on(self.engine.sql(&context(tenant), &query))
    }

    /// The answer as a table without its frame.
    fn table(&self, text: &str) -> String {
        let answer = self.sql(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        table::rows(&answer.batches).join("\n")
    }

    fn number(&self, text: &str) -> i64 {
        let answer = self.sql(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        answer.batches[0].column(0).as_primitive::<Int64Type>().value(0)
    }

    fn refused(&self, text: &str) -> String {
        match self.sql(text) {
            Err(EngineError::Invalid(why)) => why,
            other => panic!("{text}: {other:?}"),
        }
    }

    /// Requests and bytes for blocks so far.
    fn requests(&self) -> (u64, u64) {
        let counters = self.world.blocks().counters();
        (counters.requests.load(Ordering::Relaxed), counters.request_bytes.load(Ordering::Relaxed))
    }
}

fn context(tenant: &str) -> RequestContext {
    RequestContext::new(TenantId::new(tenant).unwrap())
}

fn series(name: &str, labels: &[(&str, &str)], samples: &[(i64, f64)]) -> StoredSeries {
    let name = [("__name__", name)];
    let named = name.iter().filter(|(_, name)| !name.is_empty());
    (Labels::from_pairs(named.chain(labels).copied()), samples.to_vec())
}

fn small() -> Vec<StoredSeries> {
    vec![
        series("up", &[("job", "api"), ("instance", "1")], &[(0, 1.0), (15_000, 0.0), (30_000, 1.0)]),
        series(
            "up",
            &[("job", "db"), ("instance", "1")],
            &[(0, 1.0), (15_000, f64::NAN), (30_000, stale_nan())],
        ),
        series("load", &[("job", "api")], &[(-1, -0.5)]),
        series("", &[("job", "nameless")], &[(7, 7.0)]),
    ]
}

#[test]
fn samples_and_series_are_tables_wherever_they_lie() {
    for placement in Placement::ALL {
        let house = House::new(placement);
        house.load("a", &small(), placement);
        let rows = house.table("SELECT name, labels['job'], ts, value FROM samples ORDER BY 1, 2, 3");
        let expected = "load|api|1969-12-31T23:59:59.999Z|-0.5\n\
             up|api|1970-01-01T00:00:00Z|1.0\n\
             up|api|1970-01-01T00:00:15Z|0.0\n\
             up|api|1970-01-01T00:00:30Z|1.0\n\
             up|db|1970-01-01T00:00:00Z|1.0\n\
             up|db|1970-01-01T00:00:15Z|NaN\n\
             |nameless|1970-01-01T00:00:00.007Z|7.0";
        assert_eq!(rows, expected, "{placement:?}");
        let listed = house.table("SELECT name, labels FROM series ORDER BY name, labels['job']");
        let expected =
            "load|{job: api}\nup|{instance: 1, job: api}\nup|{instance: 1, job: db}\n|{job: nameless}";
        assert_eq!(listed, expected, "{placement:?}");
        assert_eq!(house.number("SELECT count(*) FROM samples"), 7, "{placement:?}");
    }
}

#[test]
fn filters_select_what_they_say() {
    let house = House::new(Placement::Mixed);
    house.load("a", &small(), Placement::Mixed);
    for (filter, rows) in [
        ("name = 'up'", 5),
        ("'up' = name", 5),
        ("name <> 'up'", 1),
        ("name IS NULL", 1),
        ("name IN ('up', 'load')", 6),
        ("name LIKE 'u%'", 5),
        ("labels['job'] = 'api'", 4),
        ("labels['job'] = ''", 0),
        ("labels['nothing'] IS NULL", 7),
        ("labels['job'] <> 'api'", 3),
        ("labels['instance'] <> '2'", 5),
        ("labels['job'] = 'api' OR labels['job'] = 'db'", 6),
        ("labels['job'] = 'api' OR name = 'up'", 6),
        ("NOT labels['job'] IN ('api', 'db')", 1),
        ("ts >= '1970-01-01T00:00:15Z'", 3),
        ("ts > '1970-01-01T00:00:15Z'", 1),
        ("ts < '1970-01-01T00:00:00Z'", 1),
        ("ts BETWEEN '1970-01-01T00:00:00Z' AND '1970-01-01T00:00:15Z'", 5),
        ("ts = '1970-01-01T00:00:00.007Z'", 1),
        ("ts >= to_timestamp_millis(15000)", 3),
        ("ts < now() - interval '1 hour'", 7),
        ("ts > now()", 0),
        ("value > 0.5 AND name = 'up'", 4),
        ("isnan(value)", 1),
        ("name = 'up' AND ts >= '1970-01-01T00:00:15Z' AND labels['job'] = 'api'", 2),
        ("1 = 0", 0),
    ] {
        assert_eq!(house.number(&format!("SELECT count(*) FROM samples WHERE {filter}")), rows, "{filter}");
    }
}

#[test]
fn usual_analysis_works() {
    let house = House::new(Placement::L2);
    house.load("a", &small(), Placement::L2);
    let text = "SELECT date_bin(interval '20 seconds', ts) AS t, count(*), avg(value) FROM samples \
                WHERE name = 'up' AND labels['job'] = 'api' GROUP BY t ORDER BY t";
    assert_eq!(house.table(text), "1970-01-01T00:00:00Z|2|0.5\n1970-01-01T00:00:20Z|1|1.0");
    let text = "SELECT a.labels['job'], a.value, b.value FROM samples a JOIN samples b \
                ON a.labels['job'] = b.labels['job'] AND b.name = 'load' WHERE a.name = 'up' AND a.value = 0";
    assert_eq!(house.table(text), "api|0.0|-0.5");
    let text = "SELECT value - lag(value) OVER (PARTITION BY labels ORDER BY ts) AS d FROM samples \
                WHERE name = 'up' AND labels['job'] = 'api' ORDER BY ts";
    assert_eq!(house.table(text), "\n-1.0\n1.0");
    assert!(house.table("EXPLAIN SELECT value FROM samples WHERE name = 'up'").contains("__name__=\"up\""));
    assert_eq!(
        house.number("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"),
        2
    );
}

#[test]
fn a_tenant_sees_its_own_rows_only() {
    let house = House::new(Placement::L1);
    house.load("a", &small(), Placement::L1);
    house.load("b", &[series("secret", &[], &[(1, 1.0)])], Placement::L1);
    assert_eq!(house.number("SELECT count(*) FROM series WHERE name = 'secret'"), 0);
    let answer = house.sql_of("b", "SELECT name FROM series", 10).unwrap();
    assert_eq!(answer.batches.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>(), 1);
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let house = House::new(Placement::Fresh);
    for (text, word) in [
        ("SELECT nothing FROM samples", "nothing"),
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT * FROM '/etc/passwd'", "passwd"),
        ("SELECT no_such_function(1)", "no_such_function"),
        ("SELECT 1 +", "EOF"),
        ("SELECT value FROM samples WHERE ts > 'soon'", "soon"),
        ("SELECT * FROM samples WHERE name = 5 + 'x'", "x"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("SELECT * INTO t FROM samples", ""),
        ("DELETE FROM samples", "only SELECT"),
        ("SELECT range(1, 10000000000)", "range"),
        ("SELECT arrow_cast(1, 'Int8')", "arrow_cast"),
        ("SELECT array_agg(value) OVER () FROM samples", "OVER"),
        ("SELECT name ~ name FROM samples", "must be a constant"),
    ] {
        let why = house.refused(text);
        assert!(why.contains(word) && !why.contains('\n'), "{text}: {why}");
    }
}

#[test]
fn rows_memory_and_time_are_bounded() {
    let house = House::new(Placement::Fresh);
    house.load("a", &small(), Placement::Fresh);
    let error = house.sql_of("a", "SELECT * FROM samples", 6).unwrap_err();
    assert!(matches!(&error, EngineError::Limited(why) if why.contains("more than 6 rows")), "{error:?}");
    assert!(house.sql_of("a", "SELECT * FROM samples", 7).is_ok());

    let tight = House::with(
        Placement::Fresh,
        EngineSettings { memory_bytes_max: 64 << 10, ..EngineSettings::default() },
    );
    let many = "SELECT count(*) FROM (SELECT DISTINCT value FROM generate_series(1, 1000000))";
    let error = tight.sql(many).unwrap_err();
    assert!(matches!(&error, EngineError::Limited(_)), "{error:?}");

    let settings = EngineSettings { timeout: Duration::from_millis(300), ..EngineSettings::default() };
    let hasty = House::with(Placement::Fresh, settings);
    for slow in [
        "SELECT count(*) FROM generate_series(1, 1000000) a CROSS JOIN generate_series(1, 1000000) b",
        "SELECT count(*) FROM generate_series(1, 1000000) a(x) JOIN generate_series(1, 1000000) b(y) ON x < y",
        "WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x FROM n) SELECT count(*) FROM n",
        "SELECT count(*) FROM generate_series(1, 100000000000)",
    ] {
        let begun = std::time::Instant::now();
        let error = hasty.sql(slow).unwrap_err();
        assert!(matches!(&error, EngineError::TimedOut(_)), "{slow}: {error:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{slow}: {:?}", begun.elapsed());
    }
}

/// 252 bytes of text made 3.9 GB under any limit.
#[test]
fn functions_that_grow_end_at_the_memory_of_the_statement() {
    let memory_bytes_max = 64 << 20;
    let settings = EngineSettings { memory_bytes_max, ..EngineSettings::default() };
    let house = House::with(Placement::Fresh, settings);
    house.load("a", &small(), Placement::Fresh);
    let nest = |times, inner: &str, call: &str| {
        (0..times).fold(inner.to_owned(), |inner, _| call.replace("{}", &inner))
    };
    let replace = "replace({}, 'a', 'aaaaaaaaaaaaaa')";
    for statement in [
        format!("SELECT {}", nest(9, "'a'", replace)),
        format!("SELECT count(*) FROM samples WHERE {} = ''", nest(9, "labels['job']", replace)),
        format!(
            "SELECT {} FROM samples",
            nest(9, "labels['job']", "regexp_replace({}, '[a-z]', 'aaaaaaaaaaaaa', 'g')")
        ),
        "SELECT repeat(name, 100000000) FROM samples".to_owned(),
        "SELECT lpad(name, 100000000) FROM samples".to_owned(),
        "SELECT array_repeat(value, 100000000) FROM samples".to_owned(),
        "SELECT string_agg(repeat(name, 1000000), repeat('-', 1000)) FROM samples, generate_series(1, 1000)"
            .to_owned(),
    ] {
        let begun = std::time::Instant::now();
        let error = house.sql(&statement).unwrap_err();
        assert!(matches!(error, EngineError::Limited(_)), "{statement}: {error:?}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{statement}: {:?}", begun.elapsed());
    }
    let counters = house.engine.counters();
    let held = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    // The tasks of a statement that was given up end on their own threads.
    let given_up = std::time::Instant::now();
    while held(&counters.memory_bytes) > 0 && given_up.elapsed() < Duration::from_secs(10) {
        std::thread::yield_now();
    }
    assert_eq!((held(&counters.refused_limit), held(&counters.memory_bytes)), (7, 0));
    assert!(
        held(&counters.memory_bytes_peak) <= 2 * memory_bytes_max as u64,
        "{}",
        held(&counters.memory_bytes_peak)
    );
    assert_eq!(
        house.table("SELECT lpad(replace(name, 'oa', 'e') || '.', 6, '-') FROM series WHERE name = 'load'"),
        "--led."
    );
}

#[test]
fn large_constants_are_copied_for_fewer_rows_at_a_time() {
    let house = House::new(Placement::Fresh);
    let many = "SELECT max(length(coalesce(nullif(repeat('x', 1000000), s), 'y'))) FROM \
                (SELECT i::text AS s FROM generate_series(1, 2000) AS t(i))";
    assert_eq!(house.table(many), "1000000");
    let peak = house.engine.counters().memory_bytes_peak.load(Ordering::Relaxed);
    assert!(peak < 200 << 20, "{peak}");
}

#[test]
fn long_chains_of_operators_do_not_overflow_the_stack() {
    let house = House::new(Placement::Fresh);
    assert!(
        house
            .refused(&format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000)))
            .contains("nests deeper than 64")
    );
    let many = vec!["'x'"; 10_000].join(", ");
    assert_eq!(house.number(&format!("SELECT count(*) FROM samples WHERE name IN ({many})")), 0);
    let chain = |n: usize| {
        [
            format!("SELECT 1{}", "+1".repeat(n)),
            format!("SELECT count(*) FROM samples WHERE name = 'x'{}", " OR value = 1".repeat(n / 2)),
            format!("SELECT count(*) FROM samples WHERE name = 'x'{}", " OR name = 'y'".repeat(n / 2)),
            format!("SELECT {}1 = 1", "NOT ".repeat(n)),
            format!("SELECT 1 {}", "UNION ALL SELECT 1 ".repeat(n / 3)),
            format!("SELECT 1{}", "::text::bigint".repeat(n / 4)),
        ]
    };
    for text in chain(20_000) {
        assert!(house.refused(&text).contains("at most 1000"), "{}", &text[..40]);
    }
    let twice = |i: usize| format!("t{i} AS (SELECT a.x FROM t{0} AS a, t{0} AS b)", i - 1);
    let twice: Vec<String> = (1..40).map(twice).collect();
    let text = format!("WITH t0 AS (SELECT 1 AS x), {} SELECT x FROM t39", twice.join(", "));
    assert!(house.refused(&text).contains("at most 1000"));
    let doubled = |i: usize| format!("t{i} AS (SELECT x + x AS x FROM t{})", i - 1);
    let doubled: Vec<String> = (1..40).map(doubled).collect();
    let text = format!(
        "WITH t0 AS (SELECT value AS x FROM samples), {} SELECT x FROM t39 WHERE x > 1",
        doubled.join(", ")
    );
    assert!(house.refused(&text).contains("at most 50000"));
    for text in chain(980) {
        // An answer or an error, and the process lives.
        let begun = std::time::Instant::now();
        let answer = house.sql(&text).map(|answer| answer.batches.len());
        println!("{}... {answer:?} in {:?}", &text[..20], begun.elapsed());
    }
}

#[test]
fn count_star_equals_count_over_time() {
    let house = House::new(Placement::Mixed);
    house.load("a", &small(), Placement::Mixed);
    let query = InstantQuery {
        expr: "sum(count_over_time({job=~\".+\"}[1d]))".into(),
        time: HOUR_MS,
        lookback_delta: None,
    };
    let answer = house.runtime.block_on(house.engine.instant(&context("a"), &query)).unwrap();
    let Value::Vector(vector) = answer.value else { panic!("a vector") };
    let counted = house.number("SELECT count(*) FROM samples") as f64;
    assert_eq!(vector[0].value, SampleValue::Float(counted));
}

#[test]
fn time_and_name_prune_files_before_anything_is_read() {
    let house = House::new(Placement::L2);
    // Eight blocks of two hours, of two metrics each.
    for window in 0..8 {
        let from = window * 2 * HOUR_MS;
        let samples: Vec<(i64, f64)> = (0..400).map(|i| (from + i * 15_000, i as f64)).collect();
        let metrics: Vec<StoredSeries> = (0..400)
            .map(|i| series(if i % 2 == 0 { "first" } else { "last" }, &[("i", &i.to_string())], &samples))
            .collect();
        house.load("a", &metrics, Placement::L2);
    }
    let cost = |text: &str| {
        let (requests, bytes) = house.requests();
        let rows = house.number(text);
        let (after, bytes_after) = house.requests();
        (rows, after - requests, bytes_after - bytes)
    };
    assert_eq!(cost("SELECT count(*) FROM samples WHERE name = 'between'").0, 0);
    let none = cost("SELECT count(*) FROM samples WHERE name = 'zzz'");
    assert_eq!((none.0, none.1), (0, 0), "no key of any block is as high");
    let none = cost("SELECT count(*) FROM samples WHERE ts >= '1980-01-01T00:00:00Z'");
    assert_eq!((none.0, none.1), (0, 0), "no block is as young");

    let one = cost("SELECT count(*) FROM samples WHERE name = 'first' AND ts < '1970-01-01T02:00:00Z'");
    assert_eq!(one.0, 200 * 400);
    assert!(one.1 <= 6, "one of eight blocks took {} requests", one.1);
    let all = cost("SELECT count(*) FROM samples");
    assert_eq!(all.0, 8 * 400 * 400);
    assert!(all.2 > 5 * one.2, "one block of eight and one metric of two: {} of {} bytes", one.2, all.2);
    let again = cost("SELECT count(*) FROM samples WHERE name = 'first'");
    assert_eq!((again.0, again.1), (8 * 200 * 400, 0), "everything is in the caches");
}

#[test]
fn several_tenants_and_a_policy_bound_the_tables_as_they_bound_queries() {
    let house = House::new(Placement::Mixed);
    for tenant in ["a", "b"] {
        house.load(tenant, &small(), Placement::Mixed);
    }
    let both = RequestContext::new(Tenants::parse("a|b").unwrap());
    let ask = |request: &RequestContext, text: &str| {
        let query = SqlQuery { text: text.into(), rows_max: 1_000 };
        let answer = house.runtime.block_on(house.engine.sql(request, &query)).unwrap();
        answer.batches.iter().map(|batch| batch.column(0).as_primitive::<Int64Type>().value(0)).sum::<i64>()
    };
    assert_eq!(ask(&both, "SELECT count(*) FROM samples"), 14);
    assert_eq!(ask(&both, "SELECT count(DISTINCT labels['__tenant_id__']) FROM series"), 2);
    assert_eq!(ask(&both, "SELECT count(*) FROM samples WHERE labels['__tenant_id__'] = 'b'"), 7);
    let policy = LabelPolicy { matchers: vec![Matcher::equal("job", "api")] };
    let api_only = both.with_label_policy(policy);
    assert_eq!(ask(&api_only, "SELECT count(*) FROM series"), 4);
    assert_eq!(ask(&api_only, "SELECT count(*) FROM series WHERE labels['job'] <> 'api' OR name <> ''"), 4);
    assert_eq!(ask(&api_only, "SELECT count(*) FROM samples WHERE labels['job'] = 'db'"), 0);
}
