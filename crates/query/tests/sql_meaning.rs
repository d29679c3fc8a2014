//! What SQL means where the library means something else: floats, integers, times, names, refusals.
//!
//! Each table of cases holds what was reported once and relatives of it.

#![allow(clippy::unwrap_used)] // Helpers of tests fail by panicking, as tests do.

mod support;
#[path = "support/table.rs"]
mod table;

use promontory_model::{Labels, TenantId};
use promontory_promql::engine::{EngineError, RequestContext};
use promontory_query::{EngineSettings, QueryEngine, SqlAnswer, SqlQuery, sql_type};
use promontory_testkit::stored::{Placement, StoredWorld};
use tokio::runtime::Runtime;

use self::support::runtime;

struct House {
    engine: QueryEngine,
    runtime: Runtime,
    _world: StoredWorld,
}

/// NaN of either sign and with a payload, both zeros, both infinities; times at all ends.
fn house() -> House {
    let runtime = runtime();
    let world = runtime.block_on(StoredWorld::new(Placement::Fresh)).unwrap();
    let engine =
        QueryEngine::new(world.source() as _, EngineSettings::default(), runtime.handle().clone()).unwrap();
    let series = |name: &str, k: &str, samples: &[(i64, f64)]| {
        (Labels::from_pairs([("__name__", name), ("k", k)]), samples.to_vec())
    };
    let payload = f64::from_bits(0x7ff8_0000_0000_0123);
    let (nan, inf) = (f64::NAN, f64::INFINITY);
    let all = [
        series("m", "a", &[(1_000, 1.0), (2_000, nan), (3_000, 2.0)]),
        series("m", "b", &[(1_000, -nan), (2_000, -0.0), (3_000, 0.0), (4_000, payload), (5_000, nan)]),
        series(
            "m",
            "c",
            &[(1_000, inf), (2_000, 1.0), (3_000, -inf), (4_000, 3.0), (5_000, 4.0), (6_000, 5.0)],
        ),
        series(
            "t",
            "t",
            &[
                (i64::MIN, 1.0),
                (-62_135_596_800_001, 5.0),
                (0, 3.0),
                (253_402_300_800_000, 4.0),
                (i64::MAX, 2.0),
            ],
        ),
    ];
    let tenant = TenantId::new("a").unwrap();
    runtime.block_on(world.load(&tenant, &all, Placement::Fresh)).unwrap();
    House { engine, runtime, _world: world }
}

impl House {
    fn sql(&self, text: &str) -> Result<SqlAnswer, EngineError> {
        let query = SqlQuery { text: text.into(), rows_max: 1_000 };
        let context = RequestContext::new(TenantId::new("a").unwrap());
        self.runtime.block_on(self.engine.sql(&context, &query))
    }

    /// Cells by `|`, rows by `;`.
    fn rows(&self, text: &str) -> String {
        let answer = self.sql(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        table::rows(&answer.batches).join(";")
    }

    fn columns(&self, text: &str) -> String {
        let answer = self.sql(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let shown = answer
            .schema
            .fields()
            .iter()
            .map(|field| format!("{} {}", field.name(), sql_type(field.data_type())));
        shown.collect::<Vec<_>>().join(", ")
    }

    fn check(&self, cases: &[(&str, &str)]) {
        let wrong: Vec<String> = cases
            .iter()
            .filter_map(|(text, expected)| {
                let rows = self.rows(text);
                (rows != *expected).then(|| format!("{text}\n  gives  {rows}\n  wanted {expected}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// Each is refused as a mistake of its writer, in one line with these words.
    fn check_refused(&self, cases: &[(&str, &str)]) {
        let wrong: Vec<String> = cases
            .iter()
            .filter_map(|(text, words)| match self.sql(text) {
                Err(EngineError::Invalid(why) | EngineError::Unanswerable(why))
                    if why.contains(words) && !why.contains('\n') =>
                {
                    None
                }
                other => Some(format!("{text}\n  gives  {other:?}\n  wanted {words}")),
            })
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[test]
fn floats_have_one_order_wherever_they_are_compared() {
    house().check(&[
        ("SELECT labels['k'] k, min(value), max(value) FROM samples WHERE name = 'm' GROUP BY k ORDER BY k", "a|1.0|NaN;b|0.0|NaN;c|-inf|inf"),
        ("SELECT min(value), max(value) FROM samples WHERE name = 'm'", "-inf|NaN"),
        ("SELECT min(value::real), max(value::real) FROM samples WHERE labels['k'] = 'a'", "1.0|NaN"),
        ("SELECT min(-value) FROM samples WHERE labels['k'] = 'a'", "-2.0"),
        ("SELECT max(value) FILTER (WHERE value < 2) FROM samples WHERE name = 'm'", "1.0"),
        ("SELECT value, count(*) FROM samples WHERE labels['k'] = 'b' GROUP BY value ORDER BY value", "0.0|2;NaN|3"),
        ("SELECT count(DISTINCT value), sum(DISTINCT value) FROM samples WHERE labels['k'] = 'b'", "2|NaN"),
        ("SELECT DISTINCT value FROM samples WHERE labels['k'] = 'b' ORDER BY value DESC", "NaN;0.0"),
        ("SELECT count(*) FROM samples WHERE value = 'NaN'::double", "4"),
        ("SELECT count(*) FROM samples WHERE value = -('NaN'::double)", "4"),
        ("SELECT count(*) FROM samples WHERE value > 'inf'::double", "4"),
        ("SELECT count(*) FROM samples WHERE value < '-inf'::double", "0"),
        ("SELECT count(*) FROM samples WHERE value >= 3", "11"),
        ("SELECT count(*) FROM samples WHERE value = 0 AND value = -0.0 AND value >= 0 AND value <= -0.0", "2"),
        ("SELECT count(*) FROM samples WHERE value BETWEEN -0.0 AND 0.0", "2"),
        ("SELECT count(*) FROM samples WHERE value BETWEEN 'inf'::double AND 'NaN'::double", "5"),
        ("SELECT count(*) FROM samples WHERE value IN ('NaN'::double, -0.0)", "6"),
        ("SELECT count(*) FROM samples WHERE value NOT IN ('NaN'::double, -0.0)", "13"),
        ("SELECT count(*) FROM samples WHERE 4 IN (CASE WHEN value = 5 THEN 4 END, -1.0)", "2"),
        ("SELECT count(*) FROM samples WHERE 4 NOT IN (CASE WHEN value = 5 THEN 3 END, -1.0)", "2"),
        ("SELECT count(*) FROM samples WHERE 1 IN (value, value - 1)", "5"),
        ("SELECT count(*) FROM samples WHERE NULL::double NOT IN (SELECT value FROM samples)", "0"),
        ("SELECT count(*) FROM samples WHERE NULL::double NOT IN (SELECT value FROM samples WHERE name = 'nothing')", "19"),
        ("SELECT count(*) FROM samples WHERE 7.0 NOT IN (SELECT value FROM samples)", "19"),
        ("SELECT count(*) FROM samples WHERE nullif(value, value) NOT IN (SELECT value FROM samples)", "0"),
        ("SELECT median(x) FROM (VALUES ('-inf'::double), (2.0)) t(x)", "-inf"),
        ("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY value DESC), quantile_cont(value, 0.25) FROM samples WHERE labels['k'] = 'a'", "2.0|1.5"),
        ("SELECT count(*) FROM (SELECT ts + interval '1 day' FROM samples UNION SELECT ts + interval '1 day' FROM samples)", "10"),
        ("SELECT count(*) FROM samples a WHERE EXISTS (SELECT 1 FROM samples b WHERE a.ts = b.ts AND CASE WHEN a.labels['k'] = 'a' THEN 1.0 ELSE 3.0 END = b.value)", "5"),
        ("SELECT count(*) FROM samples WHERE 'a' IN (labels['k'], name)", "3"),
        ("SELECT count(*) FROM samples WHERE name NOT IN (labels['k'], 'x', NULL)", "0"),
        ("SELECT count(*) FROM samples WHERE value IN (SELECT -('NaN'::double) UNION SELECT -0.0)", "6"),
        ("SELECT count(*) FROM samples WHERE value <> ALL (SELECT 'NaN'::double)", "15"),
        ("SELECT count(*) FROM samples WHERE value IS DISTINCT FROM 'NaN'::double", "15"),
        ("SELECT count(*) FROM samples a JOIN samples b ON a.value = b.value AND a.labels['k'] = 'b' AND b.labels['k'] = 'b'", "13"),
        ("SELECT count(*) FROM samples a JOIN samples b USING (value) WHERE a.labels['k'] = 'b' AND b.labels['k'] = 'b'", "13"),
        ("SELECT count(*) FROM samples a LEFT JOIN samples b ON a.value < b.value AND b.labels['k'] = 'a' WHERE a.labels['k'] = 'b'", "9"),
        ("SELECT value FROM samples WHERE labels['k'] = 'b' INTERSECT SELECT -0.0", "0.0"),
        ("SELECT count(*) FROM (SELECT value FROM samples WHERE name = 'm' EXCEPT SELECT 'NaN'::double)", "8"),
        ("SELECT value, rank() OVER (ORDER BY value DESC) FROM samples WHERE labels['k'] = 'a' ORDER BY 2", "NaN|1;2.0|2;1.0|3"),
        ("SELECT DISTINCT dense_rank() OVER (ORDER BY value) FROM samples WHERE labels['k'] = 'b' ORDER BY 1", "1;2"),
        ("SELECT DISTINCT count(*) OVER (PARTITION BY value) FROM samples WHERE labels['k'] = 'b' ORDER BY 1", "2;3"),
        ("SELECT first_value(value ORDER BY value DESC), last_value(value ORDER BY value DESC) FROM samples WHERE labels['k'] = 'a'", "NaN|1.0"),
        ("SELECT first_value(value) OVER (ORDER BY value DESC) FROM samples WHERE labels['k'] = 'a' LIMIT 1", "NaN"),
        ("SELECT array_agg(value ORDER BY value) FROM samples WHERE labels['k'] = 'a'", "[1.0, 2.0, NaN]"),
        ("SELECT greatest(1, -('NaN'::double)), least(1, -('NaN'::double)), greatest(NULL, 1.0), least(0.0, -0.0)", "NaN|1.0|1.0|-0.0"),
        ("SELECT nullif(-0.0, 0.0), nullif('NaN'::double, -('NaN'::double)), nullif(1.0, 2.0)", "||1.0"),
        ("SELECT CASE -('NaN'::double) WHEN 'NaN'::double THEN 'nan' ELSE 'other' END, CASE -0.0 WHEN 0.0 THEN 'zero' END", "nan|zero"),
        ("SELECT array_sort([-('NaN'::double), 1.0, 'inf'::double]), array_max([1.0, -('NaN'::double)]), array_min([2.0, -('NaN'::double)])", "[1.0, inf, NaN]|NaN|2.0"),
        ("SELECT array_has(['NaN'::double], -('NaN'::double)), array_position([1.0, -0.0], 0.0), array_distinct([0.0, -0.0])", "true|2|[0.0]"),
        ("SELECT [0.0, 'NaN'::double] = [-0.0, -('NaN'::double)]", "true"),
        ("SELECT median(value), median(1) FROM samples WHERE labels['k'] = 'a'", "2.0|1.0"),
        ("SELECT value, count(*) FROM samples WHERE labels['k'] = 'b' GROUP BY ROLLUP (value) ORDER BY value NULLS FIRST", "|5;0.0|2;NaN|3"),
        ("SELECT DISTINCT ON (value) value, ts FROM samples WHERE labels['k'] = 'b' ORDER BY value, ts DESC", "0.0|1970-01-01T00:00:03Z;NaN|1970-01-01T00:00:05Z"),
        ("WITH RECURSIVE r AS (SELECT 0.0 AS x UNION SELECT -x FROM r) SELECT count(*) FROM r", "1"),
        ("SELECT min(value) FROM samples WHERE value > 'inf'::double", "NaN"),
        ("SELECT max(value) FROM samples WHERE name = 'nothing'", ""),
    ]);
}

#[test]
fn windows_forget_what_has_left_them() {
    let house = house();
    let over = |call: &str| {
        let text = format!(
            "SELECT {call} OVER (ORDER BY ts ROWS 1 PRECEDING) FROM samples WHERE labels['k'] = 'c' ORDER BY ts"
        );
        house.rows(&text)
    };
    assert_eq!(over("sum(value)"), "inf;inf;-inf;-inf;7.0;9.0");
    assert_eq!(over("avg(value)"), "inf;inf;-inf;-inf;3.5;4.5");
    assert_eq!(over("min(value)"), "inf;1.0;-inf;-inf;3.0;4.0");
    assert_eq!(over("max(value)"), "inf;inf;1.0;3.0;4.0;5.0");
    assert_eq!(over("stddev(value)"), ";NaN;NaN;NaN;0.7071067811865476;0.7071067811865476");
    assert_eq!(over("bool_or(value > 100)"), "true;true;false;false;false;false");
    assert_eq!(over("regr_count(value, value)"), "1;2;2;2;2;2");
    house.check(&[
        ("SELECT sum(x) OVER (ORDER BY i ROWS 1 PRECEDING) FROM (VALUES (1, 1e300), (2, 1.0), (3, 1.0)) t(i, x) ORDER BY i", "1e300;1e300;2.0"),
        ("SELECT sum(x) OVER (ORDER BY i ROWS 1 PRECEDING) FROM (VALUES (1, 9223372036854775807), (2, -1), (3, 5)) t(i, x) ORDER BY i", "9223372036854775807;9223372036854775806;4"),
        ("SELECT sum(x) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM (VALUES (1, 'NaN'::double), (2, 1.0), (3, 2.0), (4, NULL)) t(i, x) ORDER BY i", "NaN;NaN;3.0;2.0"),
        ("SELECT count(x) OVER w, max(x) OVER w FROM (VALUES (1, 'NaN'::double), (2, 1.0), (3, 2.0)) t(i, x) WINDOW w AS (ORDER BY i ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING) ORDER BY i", "0|;1|NaN;2|NaN"),
    ]);
}

#[test]
fn integers_never_wrap() {
    let house = house();
    house.check_refused(&[
        ("SELECT 9223372036854775807 + 1", "9223372036854775807 + 1 is out of the range of BIGINT"),
        ("SELECT -9223372036854775807 - 2", "is out of the range of BIGINT"),
        ("SELECT 9223372036854775807 * 2", "is out of the range of BIGINT"),
        ("SELECT -(-9223372036854775807 - 1)", "verflow"),
        ("SELECT abs(-9223372036854775807 - 1)", "verflow"),
        ("SELECT (-9223372036854775807 - 1) / -1", "is out of the range of BIGINT"),
        ("SELECT 2147483647::int + 1::int", "is out of the range of INTEGER"),
        ("SELECT 127::tinyint * 2::tinyint", "is out of the range of TINYINT"),
        (
            "SELECT x + 9223372036854775807 FROM (VALUES (1), (2)) t(x)",
            "x + 9223372036854775807 is out of the range",
        ),
        ("SELECT count(*) FROM samples WHERE ts::bigint * 10 > 5", "ts * 10 is out of the range"),
        ("SELECT sum(x) FROM (VALUES (9223372036854775807), (1)) t(x)", "is out of the range of BIGINT"),
        (
            "SELECT x % 2, sum(x) FROM (VALUES (9223372036854775807), (1)) t(x) GROUP BY 1",
            "is out of the range of BIGINT",
        ),
        (
            "SELECT sum(x) OVER () FROM (VALUES (9223372036854775807), (1)) t(x)",
            "is out of the range of BIGINT",
        ),
        (
            "SELECT sum(DISTINCT x) FROM (VALUES (9223372036854775807), (1)) t(x)",
            "is out of the range of BIGINT",
        ),
        ("SELECT 300::tinyint", "300"),
        ("SELECT 1e30::bigint", "1e30"),
        ("SELECT 'NaN'::double::bigint", "NaN"),
        ("SELECT value::int FROM samples", "INTEGER"),
        ("SELECT factorial(30)", "30"),
        ("SELECT lcm(9223372036854775807, 2)", "verflow"),
    ]);
    house.check(&[
        ("SELECT sum(x) FROM (VALUES (9223372036854775807), (1), (-1)) t(x)", "9223372036854775807"),
        ("SELECT sum(x), avg(x) FROM (VALUES (1), (2)) t(x)", "3|1.5"),
        (
            "SELECT 9223372036854775806 + 1, -9223372036854775807 - 1, 7 / 2, -7 / 2, -7 % 3",
            "9223372036854775807|-9223372036854775808|3|-3|-1",
        ),
        (
            "SELECT 2.5::int, 3.5::int, (-2.5)::bigint, 2.7::double::int, 2.5::decimal(3, 1)::int",
            "2|4|-2|3|3",
        ),
        ("SELECT TRY_CAST('NaN'::double AS bigint), TRY_CAST(300 AS tinyint)", "|"),
    ]);
}

#[test]
fn mistakes_are_the_statements_and_say_where() {
    house().check_refused(&[
        ("SELECT 1/0", "division by zero in 1 / 0"),
        ("SELECT 1 % 0", "division by zero in 1 % 0"),
        ("SELECT ts::bigint / (ts::bigint - ts::bigint) FROM samples", "division by zero in ts / (ts - ts)"),
        ("SELECT 1::decimal / 0::decimal", "division by zero"),
        ("SELECT sqrt(-1)", "square root of a negative number"),
        ("SELECT sqrt(value - 10) FROM samples", "square root of a negative number"),
        ("SELECT power(0, -1)", "zero raised to a negative power"),
        ("SELECT 'x'::bigint", "'x'"),
        ("SELECT name::double FROM samples", "DOUBLE"),
        ("SELECT to_timestamp('soon')", "soon"),
        ("SELECT date '2024-02-30'", "2024-02-30"),
        ("SELECT interval '1 fortnight'", "fortnight"),
        ("SELECT make_date(2024, 13, 1)", "13"),
        ("SELECT 'a' ~ '('", "unclosed group"),
        ("SELECT regexp_like('a', '(')", "unclosed group"),
        ("SELECT decode('zz', 'hex')", "hex"),
        ("SELECT chr(-1)", "-1"),
        ("SELECT split_part('a', 'b', 0)", "zero"),
        ("SELECT (SELECT value FROM samples)", "more than one row"),
        ("SELECT ntile(0) OVER () FROM samples", "positive"),
        ("SELECT approx_percentile_cont(value, 2) FROM samples", "0.0 and 1.0"),
        ("SELECT date_bin(interval '0 days', ts) FROM samples", "longer than nothing"),
        ("SELECT date_trunc('fortnight', ts) FROM samples", "fortnight"),
        ("SELECT ts AT TIME ZONE 'Mars/Base' FROM samples", "Mars/Base"),
        ("SELECT lag(value, 1, 'x') OVER (ORDER BY ts) FROM samples", "'x'"),
        ("SELECT sum(name) FROM samples", "sum"),
        ("SELECT name + 1 FROM samples", "VARCHAR + BIGINT"),
        ("SELECT value > ts FROM samples", "DOUBLE > TIMESTAMP WITH TIME ZONE"),
        ("SELECT 1 LIMIT -1", "-1"),
        ("SELECT 1700000000::timestamp", "a number is no time"),
        ("SELECT job FROM samples", "write labels['job']"),
        ("SELECT s.instance FROM samples s", "write labels['instance']"),
        ("SELECT count(*) FROM series WHERE job = 'a'", "write labels['job']"),
        ("SELECT x FROM (SELECT 1 AS y)", "but there are y"),
        ("SELECT count(*) FROM samples TABLESAMPLE (10)", "TABLESAMPLE is not offered here"),
        ("SELECT rank() OVER (ORDER BY labels) FROM series", "a map has no order"),
    ]);
}

#[test]
fn one_odd_time_fails_no_scan() {
    let t = |columns: &str| format!("SELECT {columns} FROM samples WHERE name = 't' ORDER BY ts");
    let nothing = |middle: &str| format!(";{middle};");
    let house = house();
    for (columns, middle) in [
        ("date_part('year', ts)", "0;1970;10000"),
        ("extract(epoch FROM ts)::bigint", "-62135596800;0;253402300800"),
        ("to_char(ts, '%Y')", "0000;1970;+10000"),
        ("ts + interval '1 day'", "0001-01-01T23:59:59.999Z;1970-01-02T00:00:00Z;+10000-01-02T00:00:00Z"),
        ("ts::date", "0000-12-31;1970-01-01;+10000-01-01"),
        ("ts::timestamp", "0000-12-31T23:59:59.999;1970-01-01T00:00:00;+10000-01-01T00:00:00"),
        ("ts AT TIME ZONE 'Asia/Tokyo'", "0001-01-01T09:18:58.999;1970-01-01T09:00:00;+10000-01-01T09:00:00"),
    ] {
        assert_eq!(house.rows(&t(columns)), nothing(middle), "{columns}");
    }
    house.check(&[
        (&t("ts::text"), "-292275055-05-16T16:47:04.192Z;0000-12-31T23:59:59.999Z;1970-01-01T00:00:00Z;+10000-01-01T00:00:00Z;+292278994-08-17T07:12:55.807Z"),
        (&t("ts::bigint"), "-9223372036854775808;-62135596800001;0;253402300800000;9223372036854775807"),
        (&t("date_trunc('month', ts)::text"), ";0000-12-01T00:00:00Z;1970-01-01T00:00:00Z;+10000-01-01T00:00:00Z;+292278994-08-01T00:00:00Z"),
        (&t("date_bin(interval '1 hour', ts)::text"), ";0000-12-31T23:00:00Z;1970-01-01T00:00:00Z;+10000-01-01T00:00:00Z;+292278994-08-17T07:00:00Z"),
        ("SELECT max(ts)::text, min(ts)::text FROM samples", "+292278994-08-17T07:12:55.807Z|-292275055-05-16T16:47:04.192Z"),
        ("SELECT count(*) FROM samples WHERE name = 't' AND (ts > now() OR value > 100)", "2"),
        ("SELECT count(*) FROM samples WHERE name = 't' AND ts > '9999-12-31'", "2"),
        ("SELECT count(*) FROM samples WHERE name = 't' AND ts > timestamp '9999-12-31' + interval '0 days'", "2"),
        ("SELECT count(*) FROM samples WHERE name = 't' AND NOT (ts < '0001-01-01' OR value < 0)", "3"),
        ("SELECT count(*) FROM samples WHERE name = 't' AND ts BETWEEN '0001-01-01' AND '9999-12-31'", "1"),
        ("SELECT count(*) FROM samples a JOIN samples b ON a.ts = b.ts AND a.ts < now() WHERE a.name = 't' AND b.name = 't'", "3"),
        ("SELECT timestamp '9999-12-31', date '9999-12-31', to_timestamp('9999-12-31T23:59:59Z'), timestamp '0001-01-01'", "9999-12-31T00:00:00|9999-12-31|9999-12-31T23:59:59Z|0001-01-01T00:00:00"),
        ("SELECT to_timestamp(1.5), to_timestamp(0), to_timestamp_millis(5), to_timestamp(9223372036854775807)", "1970-01-01T00:00:01.500Z|1970-01-01T00:00:00Z|1970-01-01T00:00:00.005Z|"),
        ("SELECT now() > timestamp '2020-01-01', now() < '9999-12-31'", "true|true"),
        ("SELECT count(*), max(t) FROM generate_series(timestamp '2020-01-01', '2020-01-02'::timestamp, interval '12 hours') AS g(t)", "3|2020-01-02T00:00:00"),
        ("SELECT count(*) FROM generate_series(timestamp '1970-01-01', timestamp '1970-01-02', interval '1 second') AS g(t) JOIN samples ON samples.ts = g.t", "15"),
        ("SELECT date_trunc('week', timestamp '2024-01-03 12:00:00'), date_trunc('quarter', timestamp '2024-05-03'), date_trunc('century', timestamp '2024-05-03')", "2024-01-01T00:00:00|2024-04-01T00:00:00|2001-01-01T00:00:00"),
        ("SELECT date_bin(interval '15 minutes', timestamp '2024-01-01 00:20:00', timestamp '2024-01-01 00:05:00'), date_bin(interval '1 month', timestamp '2024-03-31 10:00:00'), date_bin('7 days', timestamp '1969-12-31')", "2024-01-01T00:20:00|2024-03-01T00:00:00|1969-12-25T00:00:00"),
    ]);
    house.check_refused(&[
        ("SELECT timestamp(9) '2020-01-01'", "six digits"),
        ("SELECT ts::timestamp(9) FROM samples", "six digits"),
        ("SELECT to_timestamp_nanos(1)", "to_timestamp_nanos"),
    ]);
}

#[test]
fn days_of_a_zone_are_its_own() {
    house().check(&[
        ("SELECT date_bin(interval '1 day', timestamp '2024-06-30 22:30:00' AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/Berlin')", "2024-07-01T00:00:00"),
        ("SELECT date_trunc('day', ts AT TIME ZONE 'Asia/Tokyo'), ts AT TIME ZONE 'Asia/Tokyo' FROM samples WHERE labels['k'] = 'a' LIMIT 1", "1970-01-01T00:00:00|1970-01-01T09:00:01"),
        ("SELECT date_bin(interval '1 day', ts AT TIME ZONE 'America/New_York') AT TIME ZONE 'America/New_York' FROM samples WHERE labels['k'] = 'a' LIMIT 1", "1969-12-31T05:00:00Z"),
        ("SELECT extract(hour FROM ts AT TIME ZONE '+02:00'), extract(day FROM ts AT TIME ZONE 'America/New_York') FROM samples WHERE labels['k'] = 'a' LIMIT 1", "2|31"),
        ("SELECT timestamp '2024-06-01 12:00:00' AT TIME ZONE 'Europe/Berlin', timestamp '2024-01-01 12:00:00' AT TIME ZONE 'Europe/Berlin'", "2024-06-01T10:00:00Z|2024-01-01T11:00:00Z"),
    ]);
}

#[test]
fn filters_mean_the_same_wherever_they_are_evaluated() {
    let house = house();
    for filter in [
        "labels['__name__'] = 'm'",
        "labels['__name__'] IN ('m', 't')",
        "'m' = labels['__name__']",
        "labels['__name__'] = 'm' OR labels['__name__'] = 't'",
        "name = 'm' AND labels['__name__'] = 'm'",
        "name = 'm'",
        "name <> 'm'",
        "NOT name = 'm'",
        "name IN ('m', NULL)",
        "name NOT IN ('x', NULL)",
        "name = NULL",
        "name = ''",
        "labels['k'] = ''",
        "labels['k'] IN ('', 'a')",
        "labels['k'] = 'a' OR labels['k'] = NULL",
        "labels['nothing'] = 'x'",
        "labels['nothing'] <> 'x'",
        "labels['k'] = name",
        "labels['k'] = 'a' OR name = 't'",
        "NOT (labels['k'] = 'a' AND name = 'm')",
        "(labels['k'] = 'a') IS NOT TRUE",
        "(name = 'm') = (labels['k'] = 'a')",
        "ts = '1970-01-01T00:00:01Z'",
        "ts > '1970-01-01T00:00:01.0005Z'",
        "ts >= timestamp '1970-01-01 00:00:01.000001'",
        "ts <> '1970-01-01T00:00:01Z'",
        "ts < NULL",
        "labels = MAP {'k': 'a'}",
    ] {
        let pushed = house.rows(&format!("SELECT count(*) FROM samples WHERE {filter}"));
        // An aggregate of which nobody knows the value stands before the scan.
        let above = house.rows(&format!(
            "SELECT count(*) FILTER (WHERE {filter}) FROM (SELECT * FROM samples ORDER BY ts LIMIT 1000) samples"
        ));
        assert_eq!(pushed, above, "{filter}");
    }
    house.check(&[("SELECT count(*) FROM samples WHERE labels['__name__'] = 'm'", "0")]);
}

#[test]
fn maps_are_equal_in_whatever_order_they_were_written() {
    house().check(&[
        ("SELECT MAP {'b': 'x', 'a': 'y'} = MAP {'a': 'y', 'b': 'x'}", "true"),
        ("SELECT MAP {'b': 'x', 'a': 'y'} = MAP {'a': 'x', 'b': 'y'}", "false"),
        ("SELECT count(*) FROM series WHERE labels = MAP {'k': 'a'}", "1"),
        ("SELECT x, count(*) FROM (VALUES (MAP {'b': 'x', 'a': 'y'}), (MAP {'a': 'y', 'b': 'x'})) t(x) GROUP BY x", "{a: y, b: x}|2"),
        ("SELECT count(*) FROM (SELECT DISTINCT x FROM (VALUES (MAP {'b': 1, 'a': 2}), (MAP {'a': 2, 'b': 1})) t(x))", "1"),
        ("SELECT MAP {'b': 'x', 'a': 'y'} IN (MAP {'a': 'y', 'b': 'x'})", "true"),
    ]);
}

#[test]
fn columns_are_called_as_they_were_written() {
    let house = house();
    for (text, expected) in [
        (
            "SELECT ts::text, count(*), labels['k'] FROM samples GROUP BY ts, labels",
            "ts::TEXT VARCHAR, count(*) BIGINT, labels['k'] VARCHAR",
        ),
        ("SELECT 1, 1, 2.5, 'x'", "1 BIGINT, 1 BIGINT, 2.5 DOUBLE, 'x' VARCHAR"),
        ("SELECT value, value, samples.value FROM samples", "value DOUBLE, value DOUBLE, value DOUBLE"),
        (
            "SELECT *, value FROM samples",
            "name VARCHAR, labels MAP(VARCHAR, VARCHAR), ts TIMESTAMP WITH TIME ZONE, value DOUBLE, value DOUBLE",
        ),
        (
            "SELECT max(value), max(value) AS top, max(value) FROM samples",
            "max(value) DOUBLE, top DOUBLE, max(value) DOUBLE",
        ),
        ("SELECT \"max(value)\" FROM (SELECT max(value) FROM samples)", "max(value) DOUBLE"),
        (
            "SELECT a.value, b.value FROM samples a JOIN samples b ON a.ts = b.ts",
            "value DOUBLE, value DOUBLE",
        ),
        ("SELECT 1 AS a, 2 AS a, 3 AS \"A\"", "a BIGINT, a BIGINT, A BIGINT"),
        (
            "SELECT [1], interval '1 day', date '2024-01-01', true, NULL",
            "[1] BIGINT[], INTERVAL '1 day' INTERVAL, DATE '2024-01-01' DATE, true BOOLEAN, NULL NULL",
        ),
    ] {
        assert_eq!(house.columns(text), expected, "{text}");
    }
    house.check(&[
        ("SELECT ts::text FROM samples WHERE name = 'm' AND labels['k'] = 'a' ORDER BY ts DESC", "1970-01-01T00:00:03Z;1970-01-01T00:00:02Z;1970-01-01T00:00:01Z"),
        ("SELECT ts::text, ts FROM samples WHERE labels['k'] = 'a' ORDER BY ts LIMIT 1", "1970-01-01T00:00:01Z|1970-01-01T00:00:01Z"),
        ("SELECT value::bigint, value FROM samples WHERE value BETWEEN 0.5 AND 1 AND name = 'm' ORDER BY value, 1", "1|1.0;1|1.0"),
        ("SELECT DISTINCT value + 1 FROM samples WHERE labels['k'] = 'a' ORDER BY value + 1", "2.0;3.0;NaN"),
        ("SELECT labels['k'], max(value) FROM samples WHERE name = 'm' GROUP BY labels['k'] HAVING max(value) < 'NaN'::double ORDER BY max(value)", "c|inf"),
        ("SELECT x FROM (SELECT value AS x, value AS x FROM samples LIMIT 0) t(x, y)", ""),
        ("SELECT sum(CASE value WHEN 1 THEN 10 ELSE 0 END) FROM samples WHERE name = 'm'", "20"),
        ("SELECT count(*) FROM samples WHERE value IS DISTINCT FROM 1 AND name = 'm' OR name = 'x'", "12"),
        ("SELECT max(value::real), max(value), max(value::real::double) FROM samples WHERE labels['k'] = 'a'", "NaN|NaN|NaN"),
        ("SELECT ts::date, ts, count(*) FROM samples WHERE labels['k'] = 'a' GROUP BY ts::date, ts ORDER BY ts LIMIT 1", "1970-01-01|1970-01-01T00:00:01Z|1"),
        ("SELECT max(value::real) OVER (), max(value) OVER () FROM samples WHERE labels['k'] = 'a' LIMIT 1", "NaN|NaN"),
        ("SELECT NOT 1 IS DISTINCT FROM 1 OR true, NOT 1 IS DISTINCT FROM 1 AND true OR true, true AND 1 IS DISTINCT FROM 1 OR true", "true|true|true"),
        ("SELECT avg(length(name) * length(name)) FILTER (WHERE name = 'nothing') FROM samples", ""),
        ("SELECT value FROM samples WHERE labels['k'] = 'a' AND value > 0 ORDER BY sqrt(value) DESC LIMIT 1", "NaN"),
        ("SELECT rank() OVER (PARTITION BY sqrt(value) ORDER BY length(name) > 3, ts) FROM samples WHERE labels['k'] = 'a'", "1;1;1"),
        ("SELECT false IS DISTINCT FROM true AND false, 1 IS NOT DISTINCT FROM 1 OR false", "false|true"),
    ]);
}

#[test]
fn tables_and_columns_are_listed() {
    let house = house();
    let samples =
        "name|VARCHAR|YES;labels|MAP(VARCHAR, VARCHAR)|NO;ts|TIMESTAMP WITH TIME ZONE|NO;value|DOUBLE|NO";
    house.check(&[
        ("SHOW TABLES", "samples;series"),
        ("show tables;", "samples;series"),
        ("DESCRIBE samples", samples),
        ("DESC samples", samples),
        ("SHOW COLUMNS FROM samples", samples),
        ("SHOW COLUMNS IN series", "name|VARCHAR|YES;labels|MAP(VARCHAR, VARCHAR)|NO"),
        ("DESCRIBE SELECT name, count(*) AS n FROM samples GROUP BY name", "name|VARCHAR|YES;n|BIGINT|NO"),
        ("SELECT table_name FROM information_schema.tables ORDER BY 1", "samples;series"),
        ("SELECT data_type FROM information_schema.columns WHERE column_name = 'value'", "DOUBLE"),
    ]);
    house.check_refused(&[
        ("DESCRIBE nothing", "there is no table nothing, but there are samples and series"),
        ("SHOW COLUMNS FROM nothing", "there is no table nothing"),
        ("SHOW ALL", "only SELECT"),
        ("SELECT * FROM information_schema.df_settings", "df_settings"),
    ]);
}

/// A function of the library that the page does not name cannot be called, and what it names can.
#[test]
fn the_page_prints_every_function() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/sql.md")).unwrap();
    let section = page.split("## Every function").nth(1).unwrap().split("\n## ").next().unwrap();
    let listed: Vec<&str> = section.split('`').skip(1).step_by(2).collect();
    assert_eq!(listed, promontory_query::sql_functions(), "docs/sql.md, Every function");
}
