"""What a definition may not say: each is refused where it stands, with what was found and what to write."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from onefold.features.definitions import Entity, EventSource, FeatureService, FeatureView, OnDemandView
from onefold.features.errors import DefinitionError, UnsupportedSQL
from onefold.features.project import Project
from onefold.features.views import TypedView

Read = Callable[[str], TypedView]
DAY = "OVER (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)"


def over(frame: str) -> str:
    return f"SELECT\n  sum(n) OVER ({frame}) AS total\nFROM orders"


def row(expression: str) -> str:
    return f"SELECT\n  max({expression}) {DAY} AS f\nFROM orders"


# SQL, where the caret stands, what the message says
WRONG: dict[str, tuple[str, str, str]] = {
    "an unknown column": (row("amout"), "amout", "column 'amout' is not known here; did you mean 'amount'?"),
    "an unknown qualified column": (row("orders.amout"), "orders", "did you mean 'orders.amount'?"),
    "a column of another table": (row("other.amount"), "other", "column 'other.amount' is not known"),
    "a sum of text": (
        f"SELECT sum(city) {DAY} AS f FROM orders",
        "sum",
        "takes BIGINT or DOUBLE or DECIMAL, found VARCHAR",
    ),
    "numbers and text compared": (row("n = city"), "n =", "'=' is not defined for (BIGINT, VARCHAR)"),
    "numbers and text added": (row("n + city"), "n +", "it takes (BIGINT, BIGINT) or (DOUBLE, DOUBLE)"),
    "branches of two types": (row("CASE WHEN ok THEN 1 ELSE 'a' END"), "CASE", "CASE mixes BIGINT and VARCHAR"),
    "a condition that is no BOOLEAN": (row("CASE WHEN n THEN 1 END"), "CASE", "WHEN needs a BOOLEAN, found BIGINT"),
    "a bare NULL": (row("NULL"), "max(NULL)", "a bare NULL has no type here; write CAST(NULL AS DOUBLE)"),
    "a filter that is no BOOLEAN": (
        f"SELECT sum(n) FILTER (WHERE n) {DAY} AS f FROM orders",
        "n)",
        "FILTER needs a BOOL",
    ),
    "a WHERE that is no BOOLEAN": (row("n") + " WHERE city", "city", "WHERE needs a BOOLEAN, found VARCHAR"),
    "a cast without a rule": (row("CAST(amount AS VARCHAR)"), "CAST(", "CAST from DOUBLE to VARCHAR is not defined"),
    "DECIMAL without its digits": (row("CAST(n AS DECIMAL)"), "CAST(n", "write them, as DECIMAL(18,2)"),
    "a DECIMAL of too many digits": (
        row("CAST(n AS DECIMAL(39, 2))"),
        "CAST(n",
        "has 39 digits, and a DECIMAL has from 1",
    ),
    "a list of lists": (row("CAST(n AS BIGINT[][])"), "CAST(n", "the items of a LIST are scalar"),
    "an unknown type": (row("CAST(n AS HUGEINT)"), "CAST(n", "type 'INT128' is not known"),
    "a number beyond BIGINT": (row("n + 9223372036854775808"), "9223", "outside BIGINT; write it as a DOUBLE"),
    "a number beyond DOUBLE": (row("amount + 1e999"), "1e999", "number 1e999 is outside DOUBLE"),
    "a date that is none": (row("day > DATE '2013-02-29'"), "DATE '2013", "'2013-02-29' is no DATE"),
    "a window without a frame": (
        over("PARTITION BY user ORDER BY at"),
        "(PARTITION",
        "the window has no bound; write RANGE",
    ),
    "an aggregate without a window": (
        "SELECT sum(n) AS f FROM orders",
        "sum(",
        "sum() has no window; write sum(..) OVER",
    ),
    "a filtered aggregate without a window": (
        "SELECT count(*) FILTER (WHERE ok) AS f FROM orders",
        "count(",
        "has no window",
    ),
    "an unknown window": (
        "SELECT sum(n) OVER weak AS f FROM orders WINDOW week AS (RANGE UNBOUNDED PRECEDING)",
        "weak",
        "window 'weak' is not defined; did you mean 'week'?",
    ),
    "a window of itself": (
        "SELECT sum(n) OVER a AS f FROM orders WINDOW a AS (b), b AS (a)",
        "sum(",
        "'a' is defined by it",
    ),
    "two windows of one name": (
        "SELECT sum(n) OVER w AS f FROM orders WINDOW w AS (RANGE UNBOUNDED PRECEDING), W AS (ORDER BY at)",
        "W AS (ORDER",
        "two windows are named 'W'",
    ),
    "two frames": (
        "SELECT sum(n) OVER (w RANGE UNBOUNDED PRECEDING) AS f FROM orders WINDOW w AS (RANGE UNBOUNDED PRECEDING)",
        "RANGE",
        "the window has two frames",
    ),
    "months": (
        over("RANGE BETWEEN INTERVAL 1 MONTH PRECEDING AND CURRENT ROW"),
        "MONTH",
        "months and years differ in length; write INTERVAL 30 DAYS",
    ),
    "half an hour in decimals": (
        over("RANGE BETWEEN INTERVAL 0.5 HOURS PRECEDING AND CURRENT ROW"),
        "INTERVAL",
        "no length of",
    ),
    "a bound that is no interval": (
        over("RANGE BETWEEN 5 PRECEDING AND CURRENT ROW"),
        "RANGE",
        "is an INTERVAL, found 5",
    ),
    "a bound beyond all time": (
        over("RANGE INTERVAL 99999999999 DAYS PRECEDING"),
        "RANGE",
        "write RANGE UNBOUNDED PRECEDING",
    ),
    "rows past t": (over("ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING"), "FOLLOWING)", "would leak"),
    "no rows": (over("ROWS 0 PRECEDING"), "ROWS", "from 1 to 10,000"),
    "rows by time": (over("ROWS INTERVAL 1 DAY PRECEDING"), "ROWS", "a bound of ROWS is a number"),
    "rows backwards": (over("ROWS BETWEEN 1 PRECEDING AND 2 PRECEDING"), "ROWS", "larger number of rows comes first"),
    "lag with a frame": (f"SELECT lag(n, 1) {DAY} AS f FROM orders", "lag(", "leave the frame out"),
    "lag by a column": ("SELECT lag(n, n) OVER () AS f FROM orders", "lag(", "a whole number that is written out"),
    "lag by nothing": ("SELECT lag(n, 0) OVER () AS f FROM orders", "lag(", "from 1 to 10,000"),
    "a window past t": (
        over("RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND INTERVAL 1 HOUR FOLLOWING"),
        "FOLLOWING)",
        "would leak",
    ),
    "a window without an end": (
        over("RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND UNBOUNDED FOLLOWING"),
        "FOLLOWING)",
        "would leak",
    ),
    "a window that starts at t": (
        over("RANGE BETWEEN CURRENT ROW AND CURRENT ROW"),
        "RANGE",
        "a window starts before t",
    ),
    "an empty window": (
        over("RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND INTERVAL 1 DAY PRECEDING"),
        "RANGE",
        "the window is empty",
    ),
    "another exclusion": (over("RANGE UNBOUNDED PRECEDING EXCLUDE TIES"), "EXCLUDE", "EXCLUDE TIES is not supported"),
    "other groups than the keys": (
        over("PARTITION BY city RANGE UNBOUNDED PRECEDING"),
        "PARTITION",
        "PARTITION BY city is not",
    ),
    "an expression of the key": (
        over("PARTITION BY upper(user) RANGE UNBOUNDED PRECEDING"),
        "PARTITION",
        "is not the entity's keys",
    ),
    "another order": (over("ORDER BY n RANGE UNBOUNDED PRECEDING"), "ORDER", "ORDER BY n is not the event time 'at'"),
    "an expression of the time": (
        over("ORDER BY date_trunc('day', at) RANGE UNBOUNDED PRECEDING"),
        "ORDER",
        "is not the event time 'at'",
    ),
    "the newest first": (over("ORDER BY at DESC RANGE UNBOUNDED PRECEDING"), "ORDER", "is not the event time 'at'"),
    "two features of one name": (
        f"SELECT min(n) {DAY} AS f, max(n) {DAY} AS f FROM orders",
        "f FROM",
        "two features are named 'f'",
    ),
    "two features of one name in SQL": (
        f"SELECT min(n) {DAY} AS f, max(n) {DAY} AS F FROM orders",
        "F FROM",
        "'f' and 'F', one name in SQL",
    ),
    "a feature without a name": (f"SELECT max(n) {DAY} FROM orders", "max(n)", "has no name; add AS name"),
    "a column of one event": (
        f"SELECT max(n) {DAY} - n AS f FROM orders",
        "n AS f",
        "'n' is a column of one event; say of",
    ),
    "a key under another name": (
        f"SELECT user AS u, max(n) {DAY} AS f FROM orders",
        "user AS",
        "is a column of one event",
    ),
    "a feature that is one for all": (f"SELECT max(n) {DAY} AS f, 1 AS one FROM orders", "1 AS", "this is a constant"),
    "no features": ("SELECT user, at FROM orders", "SELECT", "the SELECT has no features"),
    "all columns": (f"SELECT *, max(n) {DAY} AS f FROM orders", "*", "SELECT * has no place here; name each feature"),
    "an unknown aggregate": (
        f"SELECT maxx(n) {DAY} AS f FROM orders",
        "maxx",
        "maxx() is no aggregate; did you mean 'max'?",
    ),
    "distinct values": (
        f"SELECT sum(DISTINCT n) {DAY} AS f FROM orders",
        "sum(",
        "sum(DISTINCT ..) is not supported; count(DISTINCT x) is",
    ),
    "two arguments": (f"SELECT max(n, 3) {DAY} AS f FROM orders", "max(n,", "max() takes one argument, found 2"),
    "an aggregate in an aggregate": (row(f"max(n) {DAY}"), "max(n)", "an aggregate has no place here"),
    "an aggregate in WHERE": (row("n") + f" WHERE max(n) {DAY} > 1", "max(n)", "an aggregate has no place here"),
    "IGNORE NULLS": (
        f"SELECT last_value(n IGNORE NULLS) {DAY} AS f FROM orders",
        "last_value(",
        "FILTER (WHERE x IS NOT NULL)",
    ),
    "an order in an aggregate": (
        f"SELECT last_value(n ORDER BY n) {DAY} AS f FROM orders",
        "n ORDER",
        "portable subset",
    ),
    "an unknown function": (row("floo(amount)"), "floo", "floo() is not in the catalogue; did you mean 'floor'?"),
    "rounding": (row("round(amount, 2)"), "round(", "round(x, n) takes a DECIMAL, found DOUBLE"),
    "SIMILAR TO": (row("CASE WHEN city SIMILAR TO 'a' THEN 1 END"), "city", "is outside the portable subset"),
    "an escape before nothing": (
        row("CASE WHEN city LIKE 'a!b' ESCAPE '!' THEN 1 END"),
        "city",
        "'!' stands in the pattern before no %, _ or !; write it twice",
    ),
    "an escape in a pattern of a column": (
        row("CASE WHEN city LIKE city ESCAPE '!' THEN 1 END"),
        "city",
        "the pattern before it is a text that is written out",
    ),
    "a function of another name": (row("log(amount)"), "log(", "log() is not in the catalogue; "),
    "an operator's name as a function": (row("neg(n)"), "neg(", "neg() is not in the catalogue"),
    "too many arguments": (
        row("length(city, 1)"),
        "length(",
        "is not defined for (VARCHAR, BIGINT); it takes (VARCHAR)",
    ),
    "too few arguments of a form": (row("nullif(n)"), "nullif(", "nullif() takes 2 arguments, found 1"),
    "a unit that is no text": (row("date_trunc(at, at)"), "date_trunc(", "date_trunc() takes a unit first"),
    "a difference in months": (
        row("date_diff('month', at, at)"),
        "date_diff(",
        "date_diff('month', ..) is not supported",
    ),
    "a month added": (row("at + INTERVAL 1 MONTH"), "at + ", "INTERVAL takes units of one length"),
    "times subtracted": (row("epoch_us(at - at)"), "at - at", "'-' is not defined for (TIMESTAMP, TIMESTAMP)"),
    "a subquery as a value": (row("(SELECT 1)"), "(SELECT", "is outside the portable subset"),
    "IN over a subquery": (row("CASE WHEN n IN (SELECT 1) THEN 1 END"), "n IN", "outside the portable subset"),
    "BETWEEN SYMMETRIC": (row("CASE WHEN n BETWEEN SYMMETRIC 5 AND 1 THEN 1 END"), "n BETWEEN", "SYMMETRIC"),
    "truncation to decades": (row("date_trunc('decade', at)"), "date_trunc(", "'decade', ..) is not supported; known"),
    "a part that engines number apart": (row("extract(dow FROM at)"), "at)", "did you mean 'isodow'?"),
    "GROUP BY": (row("n") + "\nGROUP BY user", "GROUP", "GROUP BY has no place in a feature view"),
    "ORDER BY": (row("n") + "\nORDER BY f", "ORDER", "ORDER BY has no place in a feature view"),
    "LIMIT": (row("n") + "\nLIMIT 5", "LIMIT", "LIMIT has no place in a feature view"),
    "DISTINCT": (
        f"SELECT DISTINCT max(n) {DAY} AS f FROM orders",
        "DISTINCT",
        "DISTINCT has no place in a feature view",
    ),
    "a join": (row("n") + " JOIN items ON TRUE", "JOIN", "JOIN has no place in a feature view"),
    "a common table": (f"WITH q AS (SELECT 1) {row('n')}", "WITH", "WITH has no place in a feature view"),
    "a union": (row("n") + " UNION ALL " + row("n"), "UNION", "a view is one SELECT, found UNION"),
    "two statements": (row("n") + "; SELECT 2", "SELECT", "a view is one SELECT, found 2 statements"),
    "another statement": ("DROP TABLE orders", "DROP", "a view is one SELECT, found DROP"),
    "no FROM": (f"SELECT max(1) {DAY} AS f", "SELECT", "the SELECT has no FROM; name the event source"),
    "another source": (row("n").replace("orders", "items"), "items", "reads 'items', but its source is 'orders'"),
    "a table function": (row("n").replace("orders", "read_csv('x')"), "read_csv", "its source is 'orders'"),
    "values as a source": (row("n").replace("orders", "(VALUES (1)) AS v(n)"), "v(", "outside the portable subset"),
    "a sample": (row("n") + " TABLESAMPLE (10 PERCENT)", "orders", "SAMPLE in 'orders TABLESAMPLE"),
    "new names for columns": (row("n") + " AS o(a, b)", "o(a", "COLUMNS in 'o(a, b)'"),
    "a table of another schema": (row("n").replace("orders", "raw.orders"), "raw", "DB in 'raw.orders'"),
    "a subquery that groups": (
        row("n").replace("orders", "(SELECT n FROM orders GROUP BY n)"),
        "GROUP",
        "GROUP BY has no place",
    ),
    "a star with exceptions": (row("n").replace("orders", "(SELECT * EXCLUDE (city) FROM orders)"), "*", "EXCEPT in"),
    "a star with replacements": (
        row("n").replace("orders", "(SELECT * REPLACE (n + 1 AS n) FROM orders)"),
        "*",
        "REPLACE in",
    ),
    "a column derived twice": (
        row("n").replace("orders", "(SELECT *, n + 1 AS N FROM orders)"),
        "n + 1",
        "the subquery has two columns 'N'",
    ),
    "a derived key": (
        row("n").replace("orders", "(SELECT n, upper(user) AS user FROM orders)"),
        "upper(",
        "which a subquery cannot change",
    ),
    "a derived time": (
        row("n").replace("orders", "(SELECT n, date_trunc('day', at) AS at FROM orders)"),
        "date_trunc(",
        "the event time, which",
    ),
    "a difference of logarithms": (
        f"SELECT ln(sum(n) {DAY}) - ln(max(n) {DAY}) AS f FROM orders",
        "ln(",
        "'-' is fed by a function that is exact to 1 ulp only",
    ),
    "ln under an aggregate": (row("ln(amount)"), "max(ln(amount))", "exact to 1 ulp only, as ln and exp are"),
    "ln under a filter": (
        f"SELECT sum(n) FILTER (WHERE ln(amount) > 1) {DAY} AS f FROM orders",
        "ln(",
        "exact to 1 ulp only",
    ),
    "ln under WHERE": (
        row("n") + " WHERE exp(amount) > 1",
        "exp(",
        "WHERE is fed by a function that is exact to 1 ulp",
    ),
    "ln under a comparison": (f"SELECT ln(max(n) {DAY}) > 1 AS f FROM orders", "ln(", "'>' is fed by a function"),
    "ln under a cast": (
        f"SELECT CAST(ln(max(n) {DAY}) AS BIGINT) AS f FROM orders",
        "CAST(ln(max(n)",
        "CAST is fed by a function",
    ),
    "ln under a rounding": (
        f"SELECT floor(exp(max(n) {DAY})) AS f FROM orders",
        "floor(",
        "'floor' is fed by a function",
    ),
    "what cannot be parsed": ("SELECT max(n) FROM", "FROM", "SQL cannot be parsed: Expected table name"),
    "a quote that is open": ("SELECT 'a", "a", "a quote or a comment that is opened is not closed"),
    "too deep an expression": (row("+".join(["n"] * 300)), "n+n", "is nested more than 100 deep"),
}


@pytest.mark.parametrize("what", WRONG)
def test_it_is_refused_where_it_stands(what: str, read: Read) -> None:
    sql, there, message = WRONG[what]
    with pytest.raises(DefinitionError) as caught:
        read(sql)
    error = caught.value
    assert message in error.message and error.message.startswith("view 'v': ")
    assert error.line is not None and error.column is not None
    line = sql.splitlines()[error.line - 1]
    assert line[error.column - 1 :].startswith(there), f"{error}"
    shown, caret = str(error).splitlines()[-2:]
    assert shown[caret.index("^") :].startswith(line[error.column - 1 :][: len(shown) - caret.index("^")])


@pytest.mark.parametrize("sql", ["", "  ", "-- nothing", ";"])
def test_nothing_is_no_view(sql: str, read: Read) -> None:
    with pytest.raises(UnsupportedSQL, match="a view is one SELECT, found nothing"):
        read(sql)


def test_nothing_short_of_a_stack_overflow_escapes(read: Read) -> None:
    for deep in (
        "(" * 3000 + "n" + ")" * 3000,
        "abs(" * 3000 + "n" + ")" * 3000,
        "- " * 3000 + "n",
        "NOT " * 3000 + "ok",
    ):
        with pytest.raises(DefinitionError, match=r"nested more than|cannot be"):
            read(row(deep))


def test_a_long_list_is_no_deep_expression(read: Read) -> None:
    names = ", ".join(map(str, range(2000)))
    assert read(f"SELECT count(*) FILTER (WHERE n IN ({names})) {DAY} AS f FROM orders").features


@pytest.mark.parametrize(
    ("request_columns", "sql", "message"),
    [
        ({"r": "DOUBLE"}, "SELECT total + r AS f FROM orders", "has no FROM"),
        ({"r": "DOUBLE"}, "SELECT total + r AS f WHERE r > 1", "has no WHERE"),
        ({"r": "DOUBLE"}, f"SELECT sum(r) {DAY} AS f", "an aggregate has no place here"),
        ({"r": "DOUBLE"}, "SELECT sum(r) AS f", "sum() has no window"),
        ({"r": "DOUBLE"}, "SELECT totl AS f", "did you mean 'total'?"),
        ({"r": "DOUBLE"}, "SELECT request.q AS f", "column 'request.q' is not known here"),
        ({"r": "DOUBLE"}, "SELECT r + 1", "has no name; add AS name"),
        ({"r": "DOUBLE"}, "SELECT r AS f, total AS f", "two features are named 'f'"),
        ({"r": "DOUBLE"}, "SELECT CAST(ln(r) AS BIGINT) AS f", "exact to 1 ulp only"),
        ({"r": "DOUBLE"}, "SELECT logged + 1.0 AS f", "cannot feed 'f'"),
        ({"total": "DOUBLE"}, "SELECT total AS f", "column 'total' is request.total or v.total; write which"),
        ({"_r": "DOUBLE"}, "SELECT 1 AS f", "names with '_' first"),
        ({"event_timestamp": "TIMESTAMP"}, "SELECT 1 AS f", "it is always there"),
    ],
)  # fmt: skip
def test_an_on_demand_view_takes_features_request_columns_and_t(
    request_columns: dict[str, str], sql: str, message: str, orders: EventSource, user: Entity
) -> None:
    body = f"SELECT sum(n) {DAY} AS total, ln(sum(n) {DAY}) AS logged FROM orders"
    view = FeatureView(name="v", source=orders, entity=user, sql=body)
    with pytest.raises(DefinitionError) as caught:
        Project.of(OnDemandView(name="now", views=[view], request=request_columns, sql=sql))
    assert message in str(caught.value) and "on-demand view 'now'" in str(caught.value)


def test_definitions_are_told_apart_without_their_case(orders: EventSource, user: Entity) -> None:
    first = FeatureView(name="v", source=orders, entity=user, sql=f"SELECT max(n) {DAY} AS f FROM orders")
    other = FeatureView(name="V", source=orders, entity=user, sql=f"SELECT max(n) {DAY} AS F FROM orders")
    third = FeatureView(name="w", source=orders, entity=user, sql=other.sql)
    with pytest.raises(DefinitionError, match="definitions are named 'V'; rename one"):
        Project.of(first, other)
    with pytest.raises(DefinitionError, match=r"two features named 'F' \(v.f and w.F\)"):
        Project.of(FeatureService(name="s", features=[first, third]))
    with pytest.raises(DefinitionError, match="columns 'a' and 'A' have one name in SQL"):
        EventSource(name="s", schema={"a": "DOUBLE", "A": "DOUBLE", "at": "TIMESTAMP"}, event_time="at")


def test_a_source_is_refused_without_a_time_or_with_an_id_that_is_none() -> None:
    schema = {"at": "TIMESTAMP", "x": "DOUBLE"}
    for wrong, message in (
        ({"event_time": "x"}, "event_time 'x' must be TIMESTAMP, is DOUBLE"),
        ({"event_time": "then"}, "event_time 'then' must be TIMESTAMP, is no column of the schema"),
        ({"event_time": "at", "event_id": "x"}, "event_id 'x' is DOUBLE"),
        ({"event_time": "at", "event_id": "id"}, "event_id 'id' is no column of the schema"),
    ):
        with pytest.raises(DefinitionError, match=message):
            EventSource(name="s", schema=schema, event_time=wrong["event_time"], event_id=wrong.get("event_id"))


def test_a_key_is_a_column_of_the_source_with_its_type(orders: EventSource) -> None:
    sql = f"SELECT max(n) {DAY} AS f FROM orders"
    for keys, message in (({"usr": "VARCHAR"}, "did you mean 'user'"), ({"n": "VARCHAR"}, "give both one type")):
        with pytest.raises(DefinitionError, match=message):
            Project.of(FeatureView(name="v", source=orders, entity=Entity(name="e", keys=keys), sql=sql))
    with pytest.raises(DefinitionError, match="key 'amount' is DOUBLE"):
        Entity(name="e", keys={"amount": "DOUBLE"})
