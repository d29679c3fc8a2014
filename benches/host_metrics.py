"""Writes real samples as plain bytes for the benches, which know no Parquet.

Arguments: the files host-metrics.series.parquet and host-metrics.samples.parquet. Standard output, all
numbers little-endian:

    series  := n_labels(u32) ( length(u32) name length(u32) value )* n_samples(u32) ts(i64)* value(f64)*

one after another, samples by time. Bits of values are kept, those of NaN too.
"""

import array
import struct
import sys

import duckdb

QUERY = """
WITH samples AS (
  SELECT sid, list(ts_ms ORDER BY ts_ms) AS ts, list(value ORDER BY ts_ms) AS value
  FROM read_parquet($samples) GROUP BY sid
)
SELECT labels, ts, value FROM read_parquet($series) JOIN samples USING (sid) ORDER BY sid
"""


def text(value: str) -> bytes:
    encoded = value.encode()
    return struct.pack("<I", len(encoded)) + encoded


def pairs(labels: object) -> list[tuple[str, str]]:
    # DuckDB gives a map as a dict, or as its keys and values.
    entries = labels if isinstance(labels, dict) else {}
    if entries.keys() == {"key", "value"} and isinstance(entries["key"], list):
        entries = dict(zip(entries["key"], entries["value"]))
    return sorted(entries.items())


def main() -> None:
    cursor = duckdb.execute(QUERY, {"series": sys.argv[1], "samples": sys.argv[2]})
    out = sys.stdout.buffer
    while rows := cursor.fetchmany(100):
        for labels, timestamps, values in rows:
            named = pairs(labels)
            out.write(struct.pack("<I", len(named)))
            for name, value in named:
                out.write(text(name) + text(value))
            columns = [array.array("q", timestamps), array.array("d", values)]
            if sys.byteorder == "big":
                for column in columns:
                    column.byteswap()
            out.write(struct.pack("<I", len(timestamps)))
            out.write(columns[0].tobytes() + columns[1].tobytes())


main()
