//! The forbidden corpus: what is refused, and by which name.

use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::*;

fn checked(text: &str) -> Result<(), String> {
    let statements =
        Parser::parse_sql(&GenericDialect {}, text).unwrap_or_else(|error| panic!("{text}: {error}"));
    match &statements[..] {
        [Statement::Query(query)] => check_clauses(query),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn clauses_that_nobody_carries_out_are_refused_by_name() {
    for (text, name) in [
        ("SELECT * FROM t TABLESAMPLE (10)", "TABLESAMPLE"),
        ("SELECT * FROM t TABLESAMPLE BERNOULLI (10 PERCENT) REPEATABLE (1)", "TABLESAMPLE"),
        ("SELECT * FROM (SELECT * FROM t) TABLESAMPLE SYSTEM (1)", "TABLESAMPLE"),
        ("SELECT * FROM t SAMPLE 0.1", "TABLESAMPLE"),
        ("WITH a AS (SELECT * FROM t TABLESAMPLE (1)) SELECT * FROM a", "TABLESAMPLE"),
        ("SELECT (SELECT max(x) FROM t TABLESAMPLE (1))", "TABLESAMPLE"),
        ("SELECT 1 WHERE EXISTS (SELECT 1 FROM t TABLESAMPLE (1))", "TABLESAMPLE"),
        ("SELECT 1 UNION ALL SELECT x FROM t TABLESAMPLE (1)", "TABLESAMPLE"),
        ("SELECT * FROM t FOR UPDATE", "FOR UPDATE"),
        ("SELECT * FROM t FOR SHARE NOWAIT", "FOR UPDATE"),
        ("SELECT * FROM (SELECT * FROM t FOR UPDATE)", "FOR UPDATE"),
        ("SELECT * FROM t FETCH FIRST 1 ROWS WITH TIES", "FETCH"),
        ("SELECT * FROM t FETCH FIRST 10 PERCENT ROWS ONLY", "FETCH"),
        ("SELECT TOP 1 * FROM t", "TOP"),
        ("SELECT TOP 10 PERCENT * FROM t", "TOP"),
        ("SELECT * FROM t LIMIT 1 BY x", "LIMIT BY"),
        ("SELECT * FROM t LIMIT 1, 2", "LIMIT with a comma"),
        ("SELECT * FROM t ORDER BY x WITH FILL", "WITH FILL"),
        ("SELECT * FROM t ORDER BY x WITH FILL FROM 1 TO 2 INTERPOLATE (x AS x + 1)", "INTERPOLATE"),
        ("SELECT * FROM t SETTINGS max_threads = 1", "SETTINGS"),
        ("SELECT * FROM t FORMAT CSV", "FORMAT"),
        ("SELECT * FROM t PREWHERE x > 1", "PREWHERE"),
        ("SELECT * INTO u FROM t", "INTO"),
        ("SELECT x FROM t GROUP BY x WITH ROLLUP", "WITH ROLLUP"),
        ("SELECT x FROM t GROUP BY x WITH TOTALS", "WITH TOTALS"),
        ("SELECT x FROM t SORT BY x", "SORT BY"),
        ("SELECT x FROM t CLUSTER BY x", "CLUSTER BY"),
        ("SELECT x FROM t DISTRIBUTE BY x", "DISTRIBUTE BY"),
        ("SELECT x FROM t LATERAL VIEW explode(x) u", "LATERAL VIEW"),
        ("SELECT * FROM t, LATERAL (SELECT 1)", "LATERAL"),
        ("SELECT * FROM t, LATERAL generate_series(1, 2)", "LATERAL"),
        ("FROM t SELECT x", "FROM before SELECT"),
        ("FROM t", "FROM before SELECT"),
        ("SELECT * FROM t WITH (NOLOCK)", "WITH behind a table"),
        ("SELECT * FROM t PARTITION (p)", "PARTITION"),
        ("SELECT * FROM t WITH ORDINALITY", "WITH ORDINALITY"),
        ("SELECT * FROM unnest([1, 2]) WITH OFFSET", "WITH OFFSET"),
        ("SELECT * FROM t GLOBAL JOIN u ON t.x = u.x", "GLOBAL JOIN"),
        ("SELECT * FROM t CROSS APPLY u", "APPLY"),
        ("SELECT * FROM t ASOF JOIN u MATCH_CONDITION (t.x >= u.x) ON t.y = u.y", "ASOF JOIN"),
        ("SELECT * FROM t PIVOT (sum(x) FOR y IN (1, 2))", "PIVOT"),
        ("SELECT 1 UNION BY NAME SELECT 2", "BY NAME"),
        ("SELECT * ILIKE '%x%' FROM t", "* ILIKE"),
        ("SELECT * RENAME (x AS y) FROM t", "* RENAME"),
        ("SELECT sqrt(x) FILTER (WHERE x > 1) FROM t", "FILTER behind sqrt"),
        ("SELECT row_number() FILTER (WHERE x > 1) OVER () FROM t", "FILTER behind row_number"),
        ("SELECT sqrt(DISTINCT x) FROM t", "DISTINCT or ALL in sqrt"),
        ("SELECT sum(DISTINCT x) OVER () FROM t", "DISTINCT in sum with OVER"),
        ("SELECT abs(x) OVER () FROM t", "OVER behind abs"),
        ("SELECT sum(x) IGNORE NULLS FROM t", "NULLS behind sum"),
        ("SELECT sum(x) WITHIN GROUP (ORDER BY x) FROM t", "WITHIN GROUP behind sum"),
        ("SELECT max(x ORDER BY y) FROM t", "ORDER in max"),
        ("SELECT lag(x ORDER BY y) OVER (ORDER BY y) FROM t", "ORDER in lag"),
        ("SELECT array_agg(x LIMIT 2) FROM t", "LIMIT in array_agg"),
        ("SELECT string_agg(x, ',' ON OVERFLOW ERROR) FROM t", "ON in string_agg"),
        ("SELECT sum(x => 1) FROM t", "named argument of sum"),
        ("SELECT sum(*) FROM t", "* in sum"),
        ("SELECT array(SELECT 1)", "a query as the argument"),
        ("SELECT quantile(0.5)(x) FROM t", "second list of arguments"),
        ("SELECT x COLLATE \"de\" FROM t", "COLLATE"),
        ("SELECT CAST(x AS VARCHAR FORMAT 'YYYY') FROM t", "FORMAT in CAST"),
        ("SELECT SAFE_CAST(x AS INT) FROM t", "SAFE_CAST"),
        ("SELECT CEIL(x TO DAY) FROM t", "CEIL"),
        ("SELECT x LIKE ANY ('a', 'b') FROM t", "LIKE ANY"),
        ("SELECT INTERVAL '1-2' YEAR TO MONTH", "INTERVAL"),
        ("SELECT x RLIKE 'a' FROM t", "RLIKE"),
        ("SELECT $1", "the parameter $1"),
        ("SELECT x -> y + 1 FROM t WHERE N'a' = x", "text"),
        ("SELECT STRUCT(1)", "structs"),
        ("SELECT * FROM t AS u(x INT)", "a type behind"),
        ("SELECT /*+ hint */ 1", "hint"),
    ] {
        let why = checked(text);
        let Err(why) = why else { panic!("{text} passes") };
        assert!(why.contains(name) && why.ends_with(" is not offered here"), "{text}: {why}");
    }
}

#[test]
fn what_is_carried_out_passes() {
    for text in [
        "SELECT DISTINCT ON (x) x, y FROM t AS u(x, y) ORDER BY x, y DESC NULLS LAST LIMIT 1 OFFSET 2",
        "WITH RECURSIVE a(x) AS (SELECT 1 UNION SELECT x + 1 FROM a WHERE x < 5) SELECT * FROM a",
        "SELECT * EXCLUDE (x) FROM t LEFT JOIN u USING (y) CROSS JOIN v FULL JOIN w ON v.x = w.x",
        "SELECT sum(x) FILTER (WHERE x > 1), count(DISTINCT x), array_agg(x ORDER BY y) FROM t GROUP BY ROLLUP (x)",
        "SELECT lag(x) IGNORE NULLS OVER w, sum(x) OVER (w ROWS 1 PRECEDING) FROM t WINDOW w AS (PARTITION BY y)",
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY x) FROM t HAVING max(x) > 1",
        "SELECT x FROM t QUALIFY row_number() OVER (ORDER BY x) = 1",
        "SELECT extract(year FROM x), x AT TIME ZONE 'UTC', CASE x WHEN 1 THEN 2 END, x::INT, TRY_CAST(x AS INT) FROM t",
        "SELECT substring(x FROM 1 FOR 2), trim(BOTH 'a' FROM x), position('a' IN x), x LIKE 'a!%' ESCAPE '!' FROM t",
        "SELECT MAP {'a': 1}, [1, 2][1], t.x['a'], INTERVAL '1' DAY, DATE '2024-01-01', E'a\\n', X'00' FROM t",
        "SELECT x FROM t WHERE x IN (SELECT 1) AND EXISTS (SELECT 1) AND x = ANY (SELECT 1) AND x BETWEEN 1 AND 2",
        "SELECT * FROM unnest([1, 2]) AS u(x), generate_series(1, 2) AS g(y), (VALUES (1)) AS v(z)",
        "(SELECT 1) INTERSECT (SELECT 1) EXCEPT ALL (SELECT 2)",
    ] {
        assert_eq!(checked(text), Ok(()), "{text}");
    }
}
