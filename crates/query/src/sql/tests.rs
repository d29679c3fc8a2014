//! The gate lets reading through and nothing else.

use super::*;

fn refused(text: &str) -> String {
    match gate(text) {
        Err(EngineError::Invalid(why)) => why,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn statements_that_read_pass() {
    for text in [
        "SELECT 1",
        "select * from samples;",
        "WITH a AS (SELECT 1 AS x) SELECT x FROM a",
        "VALUES (1), (2)",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "EXPLAIN SELECT 1",
        "EXPLAIN ANALYZE SELECT 1",
        "EXPLAIN VERBOSE SELECT 1",
        "SHOW TABLES",
        "DESCRIBE samples",
        "DESC public.series",
        "SHOW COLUMNS FROM samples",
        "DESCRIBE SELECT 1",
    ] {
        assert!(gate(text).is_ok(), "{text}: {:?}", gate(text));
    }
}

#[test]
fn statements_that_write_or_set_are_refused() {
    for text in [
        "CREATE TABLE t (a INT)",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE VIEW v AS SELECT 1",
        "DROP TABLE samples",
        "INSERT INTO samples VALUES (1)",
        "UPDATE samples SET value = 1",
        "DELETE FROM samples",
        "TRUNCATE TABLE samples",
        "COPY (SELECT 1) TO '/tmp/x.csv'",
        "COPY samples TO '/tmp/x.json'",
        "SET datafusion.execution.batch_size = 1",
        "RESET datafusion.execution.batch_size",
        "SHOW ALL",
        "SHOW FUNCTIONS",
        "SHOW datafusion.execution.batch_size",
        "DESCRIBE nothing",
        "SHOW COLUMNS FROM nothing",
        "DESCRIBE INSERT INTO samples VALUES (1)",
        "EXPLAIN SELECT * FROM samples TABLESAMPLE (1)",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "BEGIN",
        "COMMIT",
        "EXPLAIN INSERT INTO samples VALUES (1)",
        "EXPLAIN CREATE TABLE t (a INT)",
        "EXPLAIN EXPLAIN DROP TABLE samples",
        "EXPLAIN COPY samples TO '/tmp/x.json'",
    ] {
        let why = refused(text);
        assert!(!why.is_empty() && !why.contains('\n'), "{text}: {why}");
    }
}

#[test]
fn only_one_statement_at_a_time() {
    assert_eq!(refused("SELECT 1; SELECT 2"), "one statement at a time, not 2");
    assert_eq!(refused("SELECT 1; DROP TABLE samples"), "one statement at a time, not 2");
    assert_eq!(refused(""), "there is no statement");
    assert_eq!(refused(" ; "), "there is no statement");
}

#[test]
fn what_does_not_parse_says_where() {
    assert!(refused("SELEC 1").contains("SELEC"), "{}", refused("SELEC 1"));
    assert!(refused("SELECT * FROM").contains("EOF"), "{}", refused("SELECT * FROM"));
}

#[test]
fn deep_nesting_is_refused_and_does_not_overflow() {
    let deep = format!("SELECT {}1{}", "(".repeat(50_000), ")".repeat(50_000));
    assert!(refused(&deep).contains("nests deeper than 64"), "{}", refused(&deep));
}
