"""Definitions as people write them who come from elsewhere: each is refused where it stands, with what to write."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from onefold.features import habits
from onefold.features.aggregates import AGGREGATES
from onefold.features.definitions import Entity, EventSource, FeatureView
from onefold.features.errors import DefinitionError
from onefold.features.project import Project
from onefold.features.views import TypedView

Read = Callable[[str], TypedView]
D7 = "OVER (RANGE INTERVAL 7 DAYS PRECEDING)"


def item(expression: str, tail: str = "") -> str:
    return f"SELECT\n  {expression} AS f\nFROM orders{tail}"


# SQL, where the caret stands, what the message says to do
WRONG: dict[str, tuple[str, str, str]] = {
    "Postgres: string_agg": (item(f"string_agg(city, ',') {D7}"), "string_agg(c", "write array_agg(x)"),
    "Postgres: percentile_cont": (
        item(f"percentile_cont(0.5) WITHIN GROUP (ORDER BY n) {D7}"),
        "percentile_c",
        "write quantile_disc(x, 0.5)",
    ),
    "Postgres: DISTINCT ON": (
        "SELECT DISTINCT ON (user) sum(n) OVER (RANGE INTERVAL 7 DAYS PRECEDING) AS f FROM orders",
        "DISTINCT ON",
        "last_value(x) OVER d7 is the newest event's x",
    ),
    "Postgres: GROUP BY": (item("sum(n)", "\nGROUP BY user"), "GROUP BY use", "leave it out"),
    "Postgres: HAVING": (
        item(f"sum(n) {D7}", "\nHAVING sum(n) > 1"),
        "HAVING sum(n",
        "judge features in an on-demand view",
    ),
    "Postgres: ORDER BY": (item(f"sum(n) {D7}", "\nORDER BY at DESC"), "ORDER BY at", "leave it out"),
    "Postgres: LIMIT": (
        item(f"sum(n) {D7}", "\nLIMIT 10"),
        "LIMIT 10",
        "the newest 5 events are the window ROWS 5 PRECEDING",
    ),
    "Postgres: OFFSET": (
        item(f"sum(n) {D7}", "\nOFFSET 3"),
        "OFFSET 3",
        "ROWS BETWEEN 5 PRECEDING AND 2 PRECEDING leaves out the",
    ),
    "Postgres: JOIN": (
        item(f"sum(n) {D7}", "\nLEFT JOIN items ON true"),
        "LEFT JOIN it",
        "make a view of each source, and take the features of both in",
    ),
    "Postgres: a comma join": (
        item(f"sum(n) {D7}", ", items"),
        ", items",
        "make a view of each source, and take the features of both in",
    ),
    "Postgres: WITH": (
        "WITH a AS (SELECT * FROM orders) SELECT sum(n) OVER (RANGE INTERVAL 7 DAYS PRECEDING) AS f FROM a",
        "WITH a AS (S",
        "write the query where it is read: FROM (SELECT .. FROM",
    ),
    "Postgres: UNION ALL": (
        item(f"sum(n) {D7}", "\nUNION ALL SELECT 1 FROM returns"),
        "UNION ALL SE",
        "a source of several is EventSource(branches=(Branch(..), ..))",
    ),
    "Postgres: a scalar subquery": (
        item("(SELECT sum(n) FROM orders)"),
        "(SELECT sum(",
        "a value is made of the event's own columns, without a subquery",
    ),
    "Postgres: EXISTS": (
        item("EXISTS (SELECT 1)"),
        "EXISTS (SELE",
        "a value is made of the event's own columns, without a subquery",
    ),
    "Postgres: now()": (
        item(f"max(now() - at) {D7}"),
        "now() - at)",
        "time_since_last() OVER d7 reckons from t, and an on-demand",
    ),
    "Postgres: current_date": (
        item(f"max(current_date) {D7}"),
        "current_date",
        "time_since_last() OVER d7 reckons from t, and an on-demand",
    ),
    "Postgres: CURRENT_TIMESTAMP": (
        item(f"max(CURRENT_TIMESTAMP) {D7}"),
        "CURRENT_TIME",
        "time_since_last() OVER d7 reckons from t, and an on-demand",
    ),
    "Postgres: a time less an INTERVAL": (
        item(f"max(at - INTERVAL 1 MONTH) {D7}"),
        "at - INTERVA",
        "found MONTH",
    ),
    "Postgres: age": (
        item(f"max(age(at, at)) {D7}"),
        "age(at, at))",
        "write date_diff('day', b, a)",
    ),
    "Postgres: a pattern": (
        item(f"count(*) FILTER (WHERE city ~ 'a') {D7}"),
        "city ~ 'a')",
        "engines read patterns differently; write x LIKE 'a%'",
    ),
    "Postgres: SIMILAR TO": (
        item(f"count(*) FILTER (WHERE city SIMILAR TO 'a') {D7}"),
        "city SIMILAR",
        "write x LIKE 'a%'",
    ),
    "Postgres: FILTER behind OVER": (
        item(f"sum(n) {D7} FILTER (WHERE ok)"),
        "(WHERE ok) A",
        "FILTER (WHERE ..) stands before OVER",
    ),
    "Postgres: a text in double quotes": (
        item(f'count(*) FILTER (WHERE city = "paid") {D7}'),
        '"paid") OVER',
        "a text stands in single quotes, 'paid'",
    ),
    "Postgres: lead": (item("lead(n) OVER (ORDER BY at)"), "lead(n) OVER", "lag(x, 1) is the newest event's x"),
    "Postgres: lag with a frame": (item(f"lag(n) {D7}"), "lag(n) OVER", "leave the frame out, as lag(x, 1) OVER ()"),
    "Postgres: row_number": (
        item(f"row_number() {D7}"),
        "row_number()",
        "count(*) OVER d7 says how many events came before t",
    ),
    "Postgres: ntile": (item(f"ntile(4) {D7}"), "ntile(4) OVE", "count(*) OVER d7 says how many events came before t"),
    "Postgres: nth_value": (item(f"nth_value(n, 2) {D7}"), "nth_value(n,", "write lag(x, 2)"),
    "Postgres: GROUPS": (
        item("sum(n) OVER (GROUPS 7 PRECEDING)"),
        "7 PRECEDING)",
        "write RANGE INTERVAL 7 DAYS PRECEDING or ROWS 7 PRECEDING",
    ),
    "Postgres: a frame with FOLLOWING": (
        item("sum(n) OVER (ROWS BETWEEN 5 PRECEDING AND 5 FOLLOWING)"),
        "FOLLOWING) A",
        "write ROWS 5 PRECEDING for the newest 5 events",
    ),
    "Postgres: no frame": (
        item("sum(n) OVER (PARTITION BY user ORDER BY at)"),
        "(PARTITION B",
        "write RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT",
    ),
    "Postgres: another key": (
        item("sum(n) OVER (PARTITION BY city ORDER BY at RANGE INTERVAL 7 DAYS PRECEDING)"),
        "PARTITION BY",
        "leave it out",
    ),
    "Postgres: to_char": (
        item("to_char(at, 'YYYY')"),
        "to_char(at,",
        "write date_trunc('day', x), year(x), month(x), ..",
    ),
    "Postgres: generate_series": (item("generate_series(1, 3)"), "generate_ser", "give the source one event for each"),
    "Postgres: random": (item("random()"), "random() AS", "a value is the same whenever and wherever it is computed"),
    "Postgres: IS NULL as a call": (item(f"count(*) FILTER (WHERE isnull(n)) {D7}"), "isnull(n)) O", "write x IS NULL"),
    "Postgres: a parameter": (item(f"max($1) {D7}"), "max($1) OVER", "write the value"),
    "Postgres: a table of a schema": (
        item(f"sum(n) {D7}").replace("FROM orders", "FROM public.orders"),
        "public.order",
        "a source has one name, with neither a schema nor a sample nor",
    ),
    "Postgres: INTERVAL with two units": (
        item("sum(n) OVER (RANGE INTERVAL '1 day 2 hours' PRECEDING)"),
        "INTERVAL '1",
        "write it as '7 days', '90 minutes' or '1h' (no months)",
    ),
    "Postgres: = NULL": (
        item(f"count(*) FILTER (WHERE city = NULL) {D7}"),
        "city = NULL)",
        "write x IS NULL, in Python x.is_null()",
    ),
    "BigQuery: COUNTIF": (item(f"COUNTIF(ok) {D7}"), "COUNTIF(ok)", "write count(*) FILTER (WHERE condition)"),
    "BigQuery: APPROX_QUANTILES": (
        item(f"APPROX_QUANTILES(n, 2) {D7}"),
        "APPROX_QUANT",
        "write approx_quantile(x, 0.5)",
    ),
    "BigQuery: SAFE_DIVIDE": (
        item(f"SAFE_DIVIDE(sum(n) {D7}, 2)"),
        "SAFE_DIVIDE(",
        "write a / b, which is NULL where b is 0",
    ),
    "BigQuery: names in backticks": (
        item(f"sum(`n`) {D7}"),
        "n`) OVER (RA",
        'names that need quotes have them as "name"',
    ),
    "BigQuery: TIMESTAMP_SUB": (
        item(f"max(TIMESTAMP_SUB(at, INTERVAL 1 DAY)) {D7}"),
        "TIMESTAMP_SU",
        "write x + INTERVAL 1 HOUR or x - INTERVAL 30 DAYS; months",
    ),
    "BigQuery: TIMESTAMP_DIFF": (
        item(f"max(TIMESTAMP_DIFF(at, at, DAY)) {D7}"),
        "TIMESTAMP_DI",
        "write date_diff('day', b, a)",
    ),
    "BigQuery: DATE_DIFF": (
        item(f"max(DATE_DIFF(day, day, MONTH)) {D7}"),
        "DATE_DIFF(da",
        "date_diff() takes a unit first, as date_diff('day', ..)",
    ),
    "BigQuery: FARM_FINGERPRINT": (item(f"max(FARM_FINGERPRINT(city)) {D7}"), "FARM_FINGERP", "write hash64(x)"),
    "BigQuery: REGEXP_CONTAINS": (
        item(f"count(*) FILTER (WHERE REGEXP_CONTAINS(city, 'a')) {D7}"),
        "REGEXP_CONTA",
        "engines read patterns differently; write x LIKE 'a%'",
    ),
    "BigQuery: UNIX seconds as a frame": (
        item("sum(n) OVER (ORDER BY at RANGE BETWEEN 604800 PRECEDING AND CURRENT ROW)"),
        "RANGE BETWEE",
        "write RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW",
    ),
    "BigQuery: PARSE_DATE": (
        item(f"max(PARSE_DATE('%Y', city)) {D7}"),
        "PARSE_DATE('",
        "give the source's column the type DATE or TIMESTAMP, which is",
    ),
    "BigQuery: UNNEST": (item("UNNEST([1, 2])"), "UNNEST([1, 2", "give the source one event for each"),
    "Snowflake: MEDIAN": (item(f"MEDIAN(n) {D7}"), "MEDIAN(n) OV", "write quantile_disc(x, 0.5)"),
    "Snowflake: LISTAGG": (item(f"LISTAGG(city) {D7}"), "LISTAGG(city", "write array_agg(x)"),
    "Snowflake: IFF": (item(f"sum(IFF(ok, n, 0)) {D7}"), "IFF(ok, n, 0", "write CASE WHEN condition THEN a ELSE b END"),
    "Snowflake: ZEROIFNULL": (item(f"sum(ZEROIFNULL(n)) {D7}"), "ZEROIFNULL(n", "write coalesce(x, 0)"),
    "Snowflake: DIV0": (item(f"DIV0(sum(n) {D7}, 2)"), "DIV0(sum(n)", "write a / b, which is NULL where b is 0"),
    "Snowflake: QUALIFY": (
        item(f"sum(n) {D7}", "\nQUALIFY row_number() OVER (ORDER BY at) = 1"),
        "QUALIFY row_",
        "last_value(x) OVER d7 is the newest event's x, max_by(x, y)",
    ),
    "Snowflake: DATEADD": (
        item(f"max(DATEADD('day', 1, at)) {D7}"),
        "DATEADD('day",
        "write x + INTERVAL 1 HOUR or x - INTERVAL 30 DAYS; months",
    ),
    "Snowflake: DATEDIFF": (
        item(f"max(DATEDIFF('day', at, at)) {D7}"),
        "DATEDIFF('da",
        "write date_diff('day', b, a)",
    ),
    "Snowflake: MODE": (
        item(f"MODE(n) {D7}"),
        "MODE(n) OVER",
        "count(*) FILTER (WHERE x = 'a') OVER d7 counts one value",
    ),
    "Snowflake: ANY_VALUE": (item(f"ANY_VALUE(n) {D7}"), "ANY_VALUE(n)", "write last_value(x)"),
    "Snowflake: TOP": (
        "SELECT TOP 5 n FROM orders",
        "5 n FROM ord",
        "the newest 5 events are the window ROWS 5 PRECEDING",
    ),
    "Snowflake: a path": (item(f"max(city:a) {D7}"), ") OVER (RANG", "Invalid expression / Unexpected token at ')'"),
    "Snowflake: FLOAT": (item(f"sum(n::float) {D7}"), "sum(n::float", "write DOUBLE"),
    "Snowflake: UUID_STRING": (
        item("UUID()"),
        "UUID() AS f",
        "a value is the same whenever and wherever it is computed",
    ),
    "Snowflake: ILIKE ANY": (
        item(f"count(*) FILTER (WHERE city ILIKE ANY ('a', 'b')) {D7}"),
        "'a', 'b')) O",
        "write x IN ('a', 'b'), or one LIKE each, joined by OR",
    ),
    "Spark: collect_list": (item(f"collect_list(city) {D7}"), "collect_list", "write array_agg(x)"),
    "Spark: collect_set": (item(f"collect_set(city) {D7}"), "collect_set(", "write last_distinct(x, 10)"),
    "Spark: percentile_approx": (
        item(f"percentile_approx(n, 0.5) {D7}"),
        "percentile_a",
        "write approx_quantile(x, 0.5)",
    ),
    "Spark: mean": (item(f"mean(n) {D7}"), "mean(n) OVER", "write avg(x)"),
    "Spark: count_if": (item(f"count_if(ok) {D7}"), "count_if(ok)", "write count(*) FILTER (WHERE condition)"),
    "Spark: explode": (item("explode(city)"), "explode(city", "give the source one event for each"),
    "Spark: from_unixtime": (
        item(f"max(from_unixtime(n)) {D7}"),
        "from_unixtim",
        "give the source's column the type DATE or TIMESTAMP, which is",
    ),
    "Spark: rlike": (
        item(f"count(*) FILTER (WHERE rlike(city, 'a')) {D7}"),
        "rlike(city,",
        "engines read patterns differently; write x LIKE 'a%'",
    ),
    "Spark: get_json_object": (
        item(f"max(get_json_object(city, '$.a')) {D7}"),
        "get_json_obj",
        "name the field as a column of the source",
    ),
    "Spark: INT96": (item(f"max(CAST(n AS HUGEINT)) {D7}"), "CAST(n AS HU", "write BIGINT"),
    "Spark: xxhash64": (item(f"max(xxhash64(city)) {D7}"), "xxhash64(cit", "write hash64(x)"),
    "Spark: a window by its length": (
        item("sum(n, '7 days')"),
        ") AS f",
        "the window of an aggregate stands behind it, as sum(x) OVER",
    ),
    "pandas: rolling": (item("n.rolling('7d').mean()"), "n.rolling('7", "write avg(x) OVER d7, upper(x), .."),
    "pandas: rolling_mean": (
        item(f"rolling_mean(n) {D7}"),
        "rolling_mean",
        "write avg(x) OVER (RANGE INTERVAL 7 DAYS PRECEDING)",
    ),
    "pandas: nunique": (item(f"nunique(n) {D7}"), "nunique(n) O", "write count(DISTINCT x)"),
    "pandas: std": (item(f"std(n) {D7}"), "std(n) OVER", "write stddev(x)"),
    "pandas: fillna": (item(f"sum(fillna(n, 0)) {D7}"), "fillna(n, 0)", "write coalesce(x, 0)"),
    "pandas: a length as a window": (
        item("sum(n) OVER '7 days'"),
        "'7 days' AS",
        "write OVER (RANGE INTERVAL 7 DAYS PRECEDING)",
    ),
    "pandas: a window by name": (
        item("sum(n) OVER last7"),
        "last7 AS f",
        "write WINDOW last7 AS (RANGE INTERVAL 7 DAYS ..)",
    ),
    "pandas: + of texts": (item(f"max(city + 'a') {D7}"), "city + 'a')", "texts are joined with ||"),
    "pandas: a sum of a BOOLEAN": (item(f"sum(ok) {D7}"), "sum(ok) OVER", "CAST it"),
    "pandas: quantile": (item(f"quantile(n, 0.5) {D7}"), "quantile(n,", "write quantile_disc(x, 0.5)"),
    "pandas: times taken from one another": (
        item(f"max(at - at) {D7}"),
        "at - at) OVE",
        "it takes (BIGINT, BIGINT) or (DOUBLE, DOUBLE) or (DATE,",
    ),
    "dbt: a template": (item(f"max({{{{ x }}}}) {D7}"), "x }}) OVER (", "write the value"),
    "a WHERE in an aggregate": (
        item(f"count(* WHERE ok) {D7}"),
        "WHERE ok) OV",
        "a condition of an aggregate is FILTER (WHERE ..) behind it",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_it_is_refused_where_it_stands_with_what_to_write(what: str, read: Read) -> None:
    sql, there, message = WRONG[what]
    with pytest.raises(DefinitionError) as caught:
        read(sql)
    error = caught.value
    assert message in error.message and error.message.startswith("view 'v': ")
    assert error.line is not None and error.column is not None
    assert sql.splitlines()[error.line - 1][error.column - 1 :].startswith(there), str(error)
    assert str(error).splitlines()[-1].strip() == "^"


def test_lengths_of_time_are_judged_with_their_definition(orders: EventSource, user: Entity) -> None:
    sql = item(f"sum(n) {D7}")
    with pytest.raises(DefinitionError, match=r"^view 'v': freshness: '14 moons' is no length of time"):
        Project.of(FeatureView(name="v", source=orders, entity=user, sql=sql, freshness="14 moons"))
    late = EventSource(name="orders", schema=orders.schema, event_time="at", skew="soon")
    with pytest.raises(DefinitionError, match=r"^source 'orders': skew: 'soon' is no length of time"):
        Project.of(FeatureView(name="v", source=late, entity=user, sql=sql))


def test_what_is_advised_is_known_here(read: Read) -> None:
    """Each aggregate that is advised and is here is taken, written as it is advised."""
    for advised in sorted(a for a in {*habits._AGGREGATES.values()} if a.partition("(")[0] in {*AGGREGATES, "lag"}):
        written = re.sub(r"\bcondition\b", "ok", advised)
        column = "ok" if written.startswith("bool") else "n"
        over = "OVER ()" if written.startswith("lag") else D7
        asked = re.sub(r"\bx\b", column, written)
        read(item(f"{asked} {over}"))
