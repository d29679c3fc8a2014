"""Counts samples in Promontory's Parquet files as an outside reader would: joined on (block, sid).

Standard input: the paths of the live set, one per line. Arguments: first and last timestamp in
milliseconds, both inside. Prints the number of distinct (labels, timestamp) pairs, stale markers left
out, and the number of rows that were read.
"""

import sys

import duckdb

STALE_MARKER = "0" + "1" * 11 + "0" * 50 + "10"

QUERY = f"""
WITH
  series AS (
    SELECT block, sid, labels
    FROM read_parquet($series, hive_partitioning = true, hive_types_autocast = false, union_by_name = true)
  ),
  samples AS (
    SELECT block, sid, ts
    FROM read_parquet($samples, hive_partitioning = true, hive_types_autocast = false)
    WHERE ts BETWEEN $first AND $last AND CAST(value AS BIT) <> CAST('{STALE_MARKER}' AS BIT)
  ),
  rows AS (SELECT labels, ts FROM samples JOIN series USING (block, sid))
SELECT (SELECT count(*) FROM (SELECT DISTINCT labels, ts FROM rows)), (SELECT count(*) FROM rows)
"""


def main() -> None:
    files = sys.stdin.read().split("\n")
    parameters = {
        "series": [path for path in files if path.endswith("/series.parquet")],
        "samples": [path for path in files if path.endswith("/samples.parquet")],
        "first": int(sys.argv[1]),
        "last": int(sys.argv[2]),
    }
    distinct, rows = duckdb.execute(QUERY, parameters).fetchone()
    print(distinct, rows)


main()
