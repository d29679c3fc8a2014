"""Asks Promontory and DuckDB the same random statements over the same rows.

Arguments: the port of a Promontory that holds the rows of `DATA`, a seed, how many statements, and the page that
lists why a statement may be refused. Standard input: nothing. `data` as the only argument prints the rows as JSON
lines, for whoever writes them.

Each answer must be equal, or refused for a reason that the page lists. The first difference of each kind is printed
with its statement, and the exit status is 1.
"""

import datetime
import http.client
import json
import math
import random
import re
import struct
import sys
import time
import urllib.parse

BASE = 1_700_000_000_000
ODD_NAN = struct.unpack("<d", struct.pack("<Q", 0xFFF8_0000_0000_0123))[0]
VALUES = [
    1.0, 2.0, 2.5, 3.0, -1.0, 0.0, -0.0, 100.0, -7.25, 1e300, 1e-300, 0.5, 7.0, 12345678.0,
    float("inf"), float("-inf"), float("nan"), ODD_NAN,
]


def data():
    """Rows of samples: name, labels, milliseconds, value, the same for every seed."""
    pick = random.Random(7)
    series = [
        (name, {key: value for key, value in (("k", k), ("j", j)) if value})
        for name in ("m", "n")
        for k in ("a", "b", None)
        for j in ("x", "y", None)
    ]
    for name, labels in series:
        for step in range(14):
            if pick.random() < 0.75:
                yield name, labels, BASE + step * 7_000 + pick.choice([0, 0, 250]), pick.choice(VALUES)


class Generator:
    """Statements in the words that both know; `{/}` stands for the division of integers."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, *choices):
        choice = self.random.choice(choices)
        return choice() if callable(choice) else choice

    def one_in(self, n):
        return self.random.randrange(n) == 0

    # Expressions over the columns of samples, of which `of` is the name.

    def number(self, of, depth):
        if depth <= 0:
            return self.pick(
                f"{of}value", f"{of}value", f"{of}value", "1.0::DOUBLE", "0.0::DOUBLE", "'-0.0'::DOUBLE",
                "'NaN'::DOUBLE", "'inf'::DOUBLE", "'-inf'::DOUBLE", "2.5::DOUBLE", "NULL::DOUBLE", "(-3.5)::DOUBLE",
            )
        n = lambda: self.number(of, depth - 1)
        return self.pick(
            lambda: f"({n()} + {n()})", lambda: f"({n()} - {n()})", lambda: f"({n()} * {n()})",
            lambda: f"({n()} / {n()})", lambda: f"abs({n()})", lambda: f"(- {n()})",
            lambda: f"floor({n()})", lambda: f"ceil({n()})", lambda: f"round({n()})", lambda: f"trunc({n()})",
            lambda: f"greatest({n()}, {n()})", lambda: f"least({n()}, {n()}, {n()})",
            lambda: f"nullif({n()}, {n()})", lambda: f"coalesce({n()}, {n()})",
            lambda: f"CASE WHEN {self.truth(of, depth - 1)} THEN {n()} ELSE {n()} END",
            lambda: f"CASE {n()} WHEN {n()} THEN {n()} WHEN {n()} THEN {n()} END",
            lambda: f"sqrt(abs({n()}))", lambda: f"CAST({self.integer(of, depth - 1)} AS DOUBLE)",
            lambda: f"sqrt({n()})", lambda: f"ln(abs({n()}))", lambda: f"({n()} % 2.0::DOUBLE)",
            lambda: f"radians({n()})", lambda: f"power({n()}, 2.0::DOUBLE)", lambda: f"cbrt({n()})",
        )

    def integer(self, of, depth):
        if depth <= 0:
            return self.pick(
                "1::BIGINT", "2::BIGINT", "(-3)::BIGINT", "0::BIGINT", "7::BIGINT", "NULL::BIGINT",
                f"length({of}name)", f"extract(minute FROM {of}ts)", f"extract(second FROM {of}ts)",
                "9223372036854775807::BIGINT", f"length({of}labels['k'])",
            )
        n = lambda: self.integer(of, depth - 1)
        return self.pick(
            lambda: f"({n()} + {n()})", lambda: f"({n()} - {n()})", lambda: f"({n()} * {n()})",
            lambda: f"({n()} {{/}} {n()})", lambda: f"({n()} % {n()})", lambda: f"abs({n()})", lambda: f"(- {n()})",
            lambda: f"CAST({self.number(of, depth - 1)} AS BIGINT)",
            lambda: f"TRY_CAST({self.number(of, depth - 1)} AS BIGINT)",
            lambda: f"CAST({n()} AS INTEGER)", lambda: f"greatest({n()}, {n()})", lambda: f"least({n()}, {n()})",
            lambda: f"nullif({n()}, {n()})", lambda: f"coalesce({n()}, {n()})",
            lambda: f"CASE WHEN {self.truth(of, depth - 1)} THEN {n()} ELSE {n()} END",
            lambda: f"length({self.text(of, depth - 1)})", lambda: f"strpos({self.text(of, depth - 1)}, 'a')",
        )

    def text(self, of, depth):
        if depth <= 0:
            return self.pick(
                f"{of}labels['k']", f"{of}labels['j']", f"{of}name", f"{of}name", "'a'", "''", "'Ab c'", "NULL::VARCHAR",
                f"{of}labels['nothing']",
            )
        t = lambda: self.text(of, depth - 1)
        return self.pick(
            lambda: f"upper({t()})", lambda: f"lower({t()})", lambda: f"({t()} || {t()})",
            lambda: f"coalesce({t()}, {t()})", lambda: f"nullif({t()}, {t()})", lambda: f"replace({t()}, 'a', 'bb')",
            lambda: f"concat({t()}, {t()})", lambda: f"trim({t()})", lambda: f"left({t()}, 1)",
            lambda: f"right({t()}, 2)", lambda: f"substr({t()}, 2)", lambda: f"reverse({t()})",
            lambda: f"CASE WHEN {self.truth(of, depth - 1)} THEN {t()} ELSE {t()} END",
            lambda: f"greatest({t()}, {t()})", lambda: f"CAST({self.integer(of, depth - 1)} AS VARCHAR)",
            lambda: f"split_part({t()}, 'b', 1)", lambda: f"repeat({t()}, 2)", lambda: f"lpad({t()}, 3, '-')",
        )

    def time(self, of, depth):
        if depth <= 0:
            return self.pick(f"{of}ts", f"{of}ts", "TIMESTAMP '2023-11-14 22:13:55'", "TIMESTAMP '9999-12-31'")
        unit = self.pick("second", "minute", "hour", "day", "week", "month", "quarter", "year")
        return self.pick(
            lambda: f"date_trunc('{unit}', {self.time(of, depth - 1)})",
            lambda: f"({of}ts + INTERVAL '{self.random.randrange(90)} {self.pick('seconds', 'days')}')",
            lambda: f"({of}ts - INTERVAL '{self.random.randrange(9)} {self.pick('minutes', 'months')}')",
            lambda: f"greatest({self.time(of, depth - 1)}, {of}ts)",
        )

    def truth(self, of, depth):
        n = lambda: self.number(of, depth - 1)
        t = lambda: self.text(of, depth - 1)
        i = lambda: self.integer(of, depth - 1)
        s = lambda: self.time(of, depth - 1)
        b = lambda: self.truth(of, depth - 1)
        compare = lambda: self.pick("=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM")
        simple = [
            lambda: f"({n()} {compare()} {n()})", lambda: f"({n()} {compare()} {n()})",
            lambda: f"({t()} {compare()} {t()})", lambda: f"({i()} {compare()} {i()})",
            lambda: f"({s()} {compare()} {s()})",
            lambda: f"({of}name {self.pick('=', '<>')} {self.pick(chr(39) + 'm' + chr(39), 'NULL')})",
            lambda: f"({of}labels['k'] {self.pick('=', '<>')} 'a')", lambda: f"({of}labels['__name__'] = 'm')",
            lambda: f"({of}labels['k'] {self.pick('IN', 'NOT IN')} ('a', {self.pick('NULL', chr(39) * 2, chr(39) + 'c' + chr(39))}))",
            lambda: f"({of}labels['j'] IS {self.pick('', 'NOT ')}NULL)",
            lambda: f"({n()} BETWEEN {n()} AND {n()})", lambda: f"({n()} {self.pick('IN', 'NOT IN')} ({n()}, {n()}))",
            lambda: f"({n()} IS NULL)", lambda: f"isnan({n()})",
            lambda: f"({t()} {self.pick('LIKE', 'NOT LIKE', 'ILIKE')} '{self.pick('a%', '%b', '_', '%')}')",
            lambda: f"({of}ts {self.pick('<', '<=', '>', '>=', '=')} TIMESTAMP '2023-11-14 22:14:{self.random.randrange(60):02}')",
        ]
        if depth > 0 and self.one_in(6):
            return f"({self.bare(of)})"
        if depth <= 0 or not self.one_in(3):
            return self.pick(*simple)
        return self.pick(lambda: f"({b()} AND {b()})", lambda: f"({b()} OR {b()})", lambda: f"(NOT {b()})")

    def bare(self, of):
        """Without parentheses, so that it depends on what binds closer."""
        v, n = f"{of}value", lambda: self.pick(f"{of}value", "2.5::DOUBLE", "-1.0::DOUBLE", "length(" + of + "name)")
        sum_ = lambda: f"{n()} {self.pick('+', '-', '*')} {n()} {self.pick('+', '-', '*')} {n()}"
        one = lambda: self.pick(
            lambda: f"{sum_()} {self.pick('<', '=', '>=')} {sum_()}", lambda: f"{v} IS DISTINCT FROM {n()}",
            lambda: f"{v} IS NOT DISTINCT FROM {n()}", lambda: f"{v} BETWEEN {n()} AND {sum_()}",
            lambda: f"NOT {v} = {n()}", lambda: f"{v} IN ({n()}, {n()})", lambda: f"{v} NOT IN ({n()})",
            lambda: f"{of}name || {of}labels['k'] = 'ma'", lambda: f"- {v} < {n()}", lambda: f"{v} = {n()} IS NULL",
            lambda: f"{of}name LIKE 'm' || '%'", lambda: f"{v} IS NULL", lambda: f"NOT {v} > {n()} IS NULL",
            lambda: f"- length({of}name)::BIGINT % 2::BIGINT = -1", lambda: f"NOT NOT isnan({v})",
            lambda: f"{of}ts + INTERVAL '1 day' > TIMESTAMP '2023-11-15 22:14:00'",
        )
        return one() + "".join(f" {self.pick('AND', 'OR')} {self.pick('', '', 'NOT ')}{one()}" for _ in range(self.pick(1, 2, 3)))

    def any(self, of, depth):
        return self.pick(
            lambda: self.number(of, depth), lambda: self.number(of, depth), lambda: self.integer(of, depth),
            lambda: self.text(of, depth), lambda: self.time(of, depth), lambda: self.truth(of, depth),
        )

    def finite(self, number):
        """Where it is neither: variances of infinities differ, as the page says."""
        return f"CASE WHEN abs({number}) < 1e9 THEN {number} END"

    def key(self, of):
        return self.pick(
            f"{of}value", f"{of}value", f"{of}name", f"{of}labels['k']", f"{of}labels", lambda: self.number(of, 1),
            lambda: self.text(of, 1), lambda: self.time(of, 1), lambda: self.truth(of, 1),
        )

    def aggregate(self, of, depth=1):
        n = lambda: self.number(of, depth)
        finite = lambda: self.finite(n())
        call = self.pick(
            "count(*)", lambda: f"count({self.any(of, depth)})", lambda: f"count(DISTINCT {self.any(of, depth)})",
            lambda: f"sum({n()})", lambda: f"avg({n()})", lambda: f"min({n()})", lambda: f"max({n()})",
            lambda: f"min({self.text(of, depth)})", lambda: f"max({self.time(of, depth)})",
            lambda: f"sum({self.integer(of, depth)})", lambda: f"avg({self.integer(of, depth)})",
            lambda: f"max({self.integer(of, depth)})", lambda: f"stddev({finite()})", lambda: f"var_pop({finite()})",
            lambda: f"median({n()})", lambda: f"bool_and({self.truth(of, depth)})",
            lambda: f"bool_or({self.truth(of, depth)})", lambda: f"covar_pop({finite()}, {finite()})",
            lambda: f"sum(DISTINCT {n()})", lambda: f"min({of}value)", lambda: f"max({of}value)",
            lambda: f"sum(DISTINCT {self.integer(of, depth)})",
        )
        if self.one_in(5):
            call += f" FILTER (WHERE {self.truth(of, depth)})"
        return call

    def order(self, of):
        return f"{self.key(of)} {self.pick('ASC', 'DESC')} NULLS {self.pick('FIRST', 'LAST')}"

    def whole_order(self, of):
        """An order without ties: rows of one series differ in their time."""
        return ", ".join([self.order(of)] + [f"{of}{key} NULLS FIRST" for key in ("name", "labels['k']", "labels['j']", "ts")])

    def over(self, of, is_rank):
        partition = f"PARTITION BY {self.key(of)} " if self.one_in(2) else ""
        order = f"ORDER BY {self.whole_order(of)}"
        if is_rank:
            return f"({partition}ORDER BY {self.order(of)})"
        bound = lambda: self.pick("UNBOUNDED", "CURRENT", 1, 2, 5)
        frame = {"UNBOUNDED": "UNBOUNDED PRECEDING", "CURRENT": "CURRENT ROW"}
        begin, end = bound(), self.pick("UNBOUNDED", "CURRENT", 1, 2)
        begin = frame.get(begin, f"{begin} PRECEDING")
        end = {"UNBOUNDED": "UNBOUNDED FOLLOWING", "CURRENT": "CURRENT ROW"}.get(end, f"{end} FOLLOWING")
        if self.one_in(6):
            return f"({partition}ORDER BY {of}ts RANGE BETWEEN INTERVAL '14 seconds' PRECEDING AND CURRENT ROW)"
        return f"({partition}{order} ROWS BETWEEN {begin} AND {end})"

    def window(self, of):
        if self.one_in(3):
            rank = self.pick("rank()", "dense_rank()", "percent_rank()", "cume_dist()")
            return f"{rank} OVER {self.over(of, True)}"
        if self.one_in(3):
            call = self.pick(
                "row_number()", "ntile(3)", lambda: f"lag({self.number(of, 1)})", lambda: f"lead({of}value, 2)",
            )
            partition = f"PARTITION BY {self.key(of)} " if self.one_in(2) else ""
            return f"{call} OVER ({partition}ORDER BY {self.whole_order(of)})"
        n = lambda: self.number(of, self.pick(0, 1))
        call = self.pick(
            lambda: f"sum({n()})", lambda: f"avg({n()})", lambda: f"min({n()})", lambda: f"max({n()})", "count(*)",
            lambda: f"count({n()})", lambda: f"sum({self.integer(of, 0)})",
            lambda: f"stddev({self.finite(n())})", lambda: f"var_pop({self.finite(n())})", lambda: f"first_value({n()})", lambda: f"last_value({n()})",
            lambda: f"nth_value({n()}, 2)", lambda: f"max({self.text(of, 1)})", lambda: f"min({of}ts)",
            lambda: f"bool_or({self.truth(of, 1)})",
        )
        if call.startswith(("first", "last", "nth")):
            frame = self.over(of, False)
            while "RANGE" in frame:
                frame = self.over(of, False)
            return f"{call} OVER {frame}"
        return f"{call} OVER {self.over(of, False)}"

    # Statements.

    def where(self, of):
        return f" WHERE {self.truth(of, 2)}" if self.one_in(2) else ""

    def statement(self):
        columns = lambda of, n=3: ", ".join(self.any(of, 2) for _ in range(n))
        return self.pick(
            lambda: f"SELECT {columns('', 4)} FROM samples{self.where('')}",
            lambda: f"SELECT count(*) FROM samples WHERE {self.truth('', 3)}",
            lambda: f"SELECT {columns('', 2)} FROM samples{self.where('')} ORDER BY {self.whole_order('')} LIMIT {self.random.randrange(1, 9)}",
            lambda: f"SELECT DISTINCT {self.key('')}, {self.key('')} FROM samples{self.where('')}",
            self.grouped, self.grouped, self.grouped, self.windowed, self.windowed, self.joined, self.of_sets,
            self.nested, self.of_constants, self.sets_of_groups,
        )

    def grouped(self):
        keys = [self.key("") for _ in range(self.pick(0, 1, 1, 2))]
        aggregates = ", ".join(self.aggregate("") for _ in range(3))
        having = f" HAVING {self.aggregate('')} IS NOT NULL" if self.one_in(4) else ""
        if not keys:
            return f"SELECT {aggregates} FROM samples{self.where('')}{having}"
        group = ", ".join(str(place + 1) for place in range(len(keys)))
        return f"SELECT {', '.join(keys)}, {aggregates} FROM samples{self.where('')} GROUP BY {group}{having}"

    def sets_of_groups(self):
        kind = self.pick("ROLLUP (value, name)", "CUBE (name, value)", "GROUPING SETS ((value), (name, value), ())")
        return f"SELECT value, name, {self.aggregate('', 0)} FROM samples{self.where('')} GROUP BY {kind}"

    def windowed(self):
        qualify = f" QUALIFY {self.window('')} IS NOT NULL" if self.one_in(6) else ""
        return f"SELECT name, labels['k'], labels['j'], ts, {self.window('')} AS w FROM samples{self.where('')}{qualify}"

    def joined(self):
        kind = self.pick("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")
        on = self.pick(
            "a.value = b.value", "a.labels = b.labels AND a.ts = b.ts", "a.value IS NOT DISTINCT FROM b.value AND a.ts = b.ts",
            "a.labels['k'] = b.labels['k'] AND a.value = b.value", "a.ts = b.ts AND a.value < b.value",
            f"a.ts = b.ts AND {self.number('a.', 1)} = {self.number('b.', 1)}",
        )
        if self.one_in(3):
            inner = f"SELECT {self.pick('value', 'value + 0.0::DOUBLE', 'greatest(value, 2.5::DOUBLE)')} FROM samples{self.where('')}"
            test = self.pick(
                f"{self.number('a.', 1)} IN ({inner})", f"{self.number('a.', 1)} NOT IN ({inner} AND value IS NOT NULL)"
                if "WHERE" in inner else f"{self.number('a.', 1)} IN ({inner})",
                f"EXISTS (SELECT 1 FROM samples b WHERE {on})", f"NOT EXISTS (SELECT 1 FROM samples b WHERE {on})",
            )
            return f"SELECT a.name, a.ts, a.value FROM samples a WHERE {test}"
        return (
            f"SELECT a.name, a.value, b.name, b.value, a.ts FROM samples a {kind} samples b ON {on} "
            f"AND a.name = 'm' AND b.name = 'n'"
        )

    def of_sets(self):
        column = self.pick(lambda: self.number("", 1), lambda: self.key(""))
        op = self.pick("UNION", "UNION ALL", "INTERSECT", "EXCEPT")
        return f"SELECT {column} FROM samples{self.where('')} {op} SELECT {column} FROM samples WHERE {self.truth('', 1)}"

    def nested(self):
        return self.pick(
            lambda: f"SELECT x, count(*), max(y) FROM (SELECT {self.key('')} AS x, {self.number('', 1)} AS y FROM samples) GROUP BY x",
            lambda: f"WITH t AS (SELECT name, max(value) AS top FROM samples GROUP BY name) "
            f"SELECT s.name, s.value FROM samples s JOIN t ON s.name = t.name AND s.value = t.top",
            lambda: f"SELECT name, value FROM samples WHERE value {self.pick('=', '<', '>')} (SELECT {self.pick('min', 'max', 'avg')}(value) FROM samples WHERE value < 100)",
            lambda: f"SELECT count(*) FROM (SELECT DISTINCT {self.key('')}, name FROM samples)",
        )

    def of_constants(self):
        columns = [
            self.pick(
                lambda: self.constant(lambda: self.number("", 2)), lambda: self.constant(lambda: self.integer("", 3)),
                lambda: self.constant(lambda: self.text("", 2)),
            )
            for _ in range(2)
        ]
        return f"SELECT {', '.join(columns)}"

    def constant(self, make):
        text = make()
        replaced = re.sub(r"\blabels\['[a-z_]+'\]|\bname\b", "'aB'", text)
        replaced = re.sub(r"\bvalue\b", lambda _: self.pick("1.5::DOUBLE", "'NaN'::DOUBLE", "'-0.0'::DOUBLE"), replaced)
        return re.sub(r"\bts\b", "TIMESTAMP '2023-11-14 22:13:20'", replaced)


# Comparing.

def plain(value):
    """A value of DuckDB in the words of Promontory's JSON, times as milliseconds."""
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        if math.isinf(value):
            return "+Inf" if value > 0 else "-Inf"
        return value
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            value = value.replace(tzinfo=datetime.timezone.utc)
        return ("time", round((value - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) / datetime.timedelta(microseconds=1)))
    if isinstance(value, dict):
        return tuple(sorted(value.items()))
    if value is not None and not isinstance(value, (bool, int, str)):
        return float(value)
    return value


TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?$")


def ours(value):
    if isinstance(value, str) and TIME.match(value):
        return plain(datetime.datetime.fromisoformat(value.replace("Z", "+00:00")))
    if isinstance(value, dict):
        return tuple(sorted(value.items()))
    return value


def same(a, b):
    if isinstance(a, (int, float)) and isinstance(b, (int, float)) and not isinstance(a, bool) and not isinstance(b, bool):
        return a == b or abs(a - b) <= 1e-9 * max(abs(a), abs(b))
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def sort_key(row):
    # Numbers that differ in their last digits must not change places: they are rounded first.
    def one(value):
        if isinstance(value, bool):
            return ("b", str(value))
        if isinstance(value, (int, float)):
            return ("n", f"{float(value) + 0.0:.6e}")
        return (type(value).__name__, str(value))

    return [one(value) for value in row]


def differs(ours_rows, duck_rows, is_ordered):
    if len(ours_rows) != len(duck_rows):
        return f"{len(ours_rows)} rows, DuckDB has {len(duck_rows)}"
    if not is_ordered:
        ours_rows, duck_rows = sorted(ours_rows, key=sort_key), sorted(duck_rows, key=sort_key)
    for a, b in zip(ours_rows, duck_rows):
        if len(a) != len(b) or not all(same(x, y) for x, y in zip(a, b)):
            return f"row {a}, DuckDB has {b}"
    return None


class Promontory:
    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, statement):
        body = urllib.parse.urlencode({"query": statement})
        self.connection.request("POST", "/api/v1/sql", body, {"Content-Type": "application/x-www-form-urlencoded"})
        response = self.connection.getresponse()
        text = response.read().decode()
        answer = json.loads(text)
        if response.status == 200:
            return 200, [[ours(value) for value in row] for row in answer["data"]["rows"]]
        return response.status, answer["error"]


def duck():
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("CREATE TABLE samples (name VARCHAR, labels MAP(VARCHAR, VARCHAR), ts TIMESTAMP, value DOUBLE)")
    rows = [
        (name, labels, datetime.datetime.fromtimestamp(ms / 1_000, datetime.timezone.utc).replace(tzinfo=None), value)
        for name, labels, ms, value in data()
    ]
    for name, labels, at, value in rows:
        connection.execute(
            "INSERT INTO samples VALUES (?, map_from_entries(?::STRUCT(k VARCHAR, v VARCHAR)[]), ?, ?)",
            [name, [{"k": key, "v": text} for key, text in sorted(labels.items())], at, value],
        )
    return connection


def reasons(page):
    """Parts of a refusal that the page lists, between backticks in the table of refusals."""
    with open(page, encoding="utf-8") as file:
        text = file.read()
    section = text.split("## Refused, where DuckDB answers", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)


def main():
    if sys.argv[1:] == ["data"]:
        for name, labels, ms, value in data():
            bits = struct.unpack("<Q", struct.pack("<d", value))[0]
            print(json.dumps([name, labels, ms, str(bits)]))
        return
    port, seed, count, page = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    listed = reasons(page)
    promontory, connection = Promontory(port), duck()
    generator = Generator(seed)
    begun, problems = time.time(), {}
    counts = {"equal": 0, "both refuse": 0, "refused as listed": 0}
    for number in range(count):
        statement = generator.statement()
        status, answer = promontory.ask(statement.replace("{/}", "/"))
        try:
            rows = connection.execute(statement.replace("{/}", "//")).fetchall()
            rows, error = [[plain(value) for value in row] for row in rows], None
        except Exception as failure:  # DuckDB's errors have many types.
            rows, error = None, str(failure).split("\n")[0]
        problem = None
        if status == 200 and error is None:
            problem = differs(answer, rows, " LIMIT " in statement)
            counts["equal"] += problem is None
        elif status == 200:
            problem = f"DuckDB refuses: {error}"
        elif status >= 500:
            problem = f"{status}: {answer}"
        elif error is not None:
            counts["both refuse"] += 1
        elif any(reason in answer for reason in listed):
            counts["refused as listed"] += 1
        else:
            problem = f"{status}: {answer}"
        if problem:
            problems.setdefault(re.sub(r"[\d.e+-]+", "#", problem)[:60], (number, statement, problem))
    took = time.time() - begun
    print(f"seed {seed}: {count} statements in {took:.0f} s: {counts}, {len(problems)} kinds of differences")
    for number, statement, problem in problems.values():
        print(f"seed {seed}, statement {number}: {statement}\n    {problem}")
    sys.exit(1 if problems else 0)


main()
