"""What people write who come from Postgres, BigQuery, Snowflake, Spark or pandas, and what says the same here.

Only what is refused anyway is looked up in these tables, so that what is supported later needs no change here.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

_QUANTILE = "approx_quantile(x, 0.5)"
_RANKS = "it ranks the rows of a result; count(*) OVER d7 says how many events came before t"
_AGGREGATES: Mapping[str, str] = {
    **dict.fromkeys(
        ("percentile_approx", "approx_percentile", "approx_quantiles", "approx_median"), _QUANTILE,
    ),
    **dict.fromkeys(
        ("median", "percentile", "percentile_cont", "quantile", "quantile_cont", "withingroup"), "quantile_disc(x, 0.5)"
    ),
    **dict.fromkeys(("string_agg", "group_concat", "listagg", "collect_list", "list", "array_list"), "array_agg(x)"),
    **dict.fromkeys(("collect_set", "array_unique_agg", "array_uniq_agg"), "last_distinct(x, 10)"),
    **dict.fromkeys(("count_if", "countif"), "count(*) FILTER (WHERE condition)"),
    **dict.fromkeys(("sum_if", "sumif"), "sum(x) FILTER (WHERE condition)"),
    **dict.fromkeys(("avg_if", "avgif"), "avg(x) FILTER (WHERE condition)"),
    **dict.fromkeys(("mean", "average"), "avg(x)"),
    **dict.fromkeys(("std", "stdev", "std_dev"), "stddev(x)"),
    "var": "variance(x)",
    **dict.fromkeys(("nunique", "n_unique", "uniq", "count_unique", "countdistinct"), "count(DISTINCT x)"),
    **dict.fromkeys(
        ("approx_distinct", "approxdistinct", "hll", "hll_count_distinct", "approx_unique"), "approx_count_distinct(x)"
    ),
    **dict.fromkeys(("any_value", "anyvalue", "arbitrary"), "last_value(x)"),
    **dict.fromkeys(("latest", "newest"), "last_value(x)"),
    **dict.fromkeys(("earliest", "oldest"), "first_value(x)"),
    **dict.fromkeys(("every", "all"), "bool_and(x)"),
    **dict.fromkeys(("some", "any"), "bool_or(x)"),
    "nth_value": "lag(x, 2)",
}  # fmt: skip
"""Name of an aggregate elsewhere to what to write."""
_AGGREGATE_REASONS: Mapping[str, str] = {
    **dict.fromkeys(("row_number", "rank", "dense_rank", "ntile", "percent_rank", "cume_dist"), _RANKS),
    "lead": "it looks past t and would leak; lag(x, 1) is the newest event's x",
    "mode": "the most frequent value is no sum of parts; count(*) FILTER (WHERE x = 'a') OVER d7 counts one value",
}
_ROW_TIME = (
    "a value does not depend on when it is computed; time_since_last() OVER d7 reckons from t, and an on-demand view "
    "has t as event_timestamp"
)
_SHIFT = "write x + INTERVAL 1 HOUR or x - INTERVAL 30 DAYS; months differ in length"
_SAME_EVERYWHERE = "a value is the same whenever and wherever it is computed"
_FUNCTIONS: Mapping[str, str] = {
    **dict.fromkeys(("if", "iff", "iif"), "write CASE WHEN condition THEN a ELSE b END"),
    **dict.fromkeys(("decode", "decode_case", "switch"), "write CASE x WHEN 1 THEN a ELSE b END"),
    "nvl2": "write CASE WHEN x IS NOT NULL THEN a ELSE b END",
    "zeroifnull": "write coalesce(x, 0)",
    **dict.fromkeys(("isnull", "is_null", "isna"), "write x IS NULL"),
    **dict.fromkeys(("fillna", "fill_null"), "write coalesce(x, 0)"),
    **dict.fromkeys(
        ("now", "current_timestamp", "current_date", "current_time", "getdate", "sysdate", "today", "localtimestamp",
         "systimestamp", "utc_timestamp", "current_datetime"),
        _ROW_TIME,
    ),
    **dict.fromkeys(
        ("date_add", "dateadd", "date_sub", "datesub", "timestamp_add", "timestampadd", "timestamp_sub", "add_months",
         "ts_or_ds_add", "datetime_add", "datetime_sub"),
        _SHIFT,
    ),
    **dict.fromkeys(
        ("datediff", "date_diff", "timestampdiff", "timestamp_diff", "age", "months_between", "datetime_diff"),
        "write date_diff('day', b, a)",
    ),
    **dict.fromkeys(
        ("regexp_like", "regexp_matches", "regexp_contains", "rlike", "regexp_extract", "regexp_replace"),
        "engines read patterns differently; write x LIKE 'a%'",
    ),
    **dict.fromkeys(
        ("to_date", "to_timestamp", "strptime", "parse_date", "parse_timestamp", "unix_to_time", "str_to_time",
         "from_unixtime", "to_datetime", "str_to_date", "ts_or_ds_to_date"),
        "give the source's column the type DATE or TIMESTAMP, which is read as ISO 8601",
    ),
    **dict.fromkeys(("to_char", "strftime", "date_format", "time_to_str", "format"),
                    "write date_trunc('day', x), year(x), month(x), .."),
    **dict.fromkeys(("safe_divide", "div0", "div0null", "divide"), "write a / b, which is NULL where b is 0"),
    **dict.fromkeys(("rand", "random", "uuid", "gen_random_uuid", "newid", "randn"), _SAME_EVERYWHERE),
    **dict.fromkeys(("hash", "farm_fingerprint", "murmur_hash", "xxhash64", "fnv_hash"), "write hash64(x)"),
    **dict.fromkeys(("unnest", "explode", "flatten", "generate_series", "range", "sequence"),
                    "an event stays one row; give the source one event for each"),
    **dict.fromkeys(("exists", "array"), "a value is made of the event's own columns, without a subquery"),
    **dict.fromkeys(("json_extract", "json_value", "get_path", "parse_json", "get_json_object", "json_extract_scalar"),
                    "name the field as a column of the source"),
    "struct": "a template such as {{ x }} is not filled in; write the value",
}  # fmt: skip
"""Name of a function elsewhere to what to do."""
_NODES: Mapping[type[exp.Expr], str] = {
    exp.SimilarTo: "write x LIKE 'a%'",
    exp.Any: "write x IN ('a', 'b'), or one LIKE each, joined by OR",
    exp.Subquery: "a value is made of the event's own columns, without a subquery",
    exp.Select: "a value is made of the event's own columns, without a subquery",
    exp.Placeholder: "a definition has no parameters; write the value",
    exp.Parameter: "a definition has no parameters; write the value",
    exp.Dot: "values have no methods; write avg(x) OVER d7, upper(x), ..",
    exp.WithinGroup: f"write {_QUANTILE}",
    exp.Order: "events are in the order of their time already; min_by(x, y) and max_by(x, y) order by another column",
    exp.Distinct: "count(DISTINCT x) and last_distinct(x, 10) tell values apart",
    exp.Table: "a source has one name, with neither a schema nor a sample nor new names for its columns",
    exp.AtTimeZone: "all times are UTC",
    exp.Lambda: "functions are not values here",
}
_TYPES: Mapping[str, str] = {
    **dict.fromkeys(("REAL", "FLOAT", "FLOAT4", "FLOAT8", "HALF"), "DOUBLE"),
    **dict.fromkeys(("SMALLINT", "TINYINT", "INT2", "INT4", "INT8", "UINTEGER", "UBIGINT", "USMALLINT", "UTINYINT"),
                    "BIGINT"),
    **dict.fromkeys(("HUGEINT", "INT128", "UHUGEINT", "UINT128"), "BIGINT"),
    **dict.fromkeys(("CHAR", "UUID", "JSON", "BLOB", "ENUM"), "VARCHAR"),
    **dict.fromkeys(("TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S", "DATETIME", "TIMESTAMP WITH TIME ZONE"),
                    "TIMESTAMP"),
    "TIME": "BIGINT",
}  # fmt: skip
_CLAUSES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "group": (("GROUP BY",), "windows are grouped by the entity's keys already; leave it out"),
    "having": (("HAVING",), "leave events out with WHERE or FILTER (WHERE ..); judge features in an on-demand view"),
    "order": (("ORDER BY",), "values come in the order of the rows that ask for them; leave it out"),
    "limit": (("LIMIT", "FETCH"), "the newest 5 events are the window ROWS 5 PRECEDING"),
    "offset": (("OFFSET",), "ROWS BETWEEN 5 PRECEDING AND 2 PRECEDING leaves out the newest event"),
    "distinct": (("DISTINCT",), "there is one row for a key and time; last_value(x) OVER d7 is the newest event's x"),
    "qualify": (
        ("QUALIFY",),
        "last_value(x) OVER d7 is the newest event's x, max_by(x, y) OVER d7 that of the largest y",
    ),
    "joins": (
        ("JOIN", "LEFT", "RIGHT", "FULL", "INNER", "CROSS", "NATURAL", "ASOF", "SEMI", "ANTI", "POSITIONAL", ","),
        "it reads one event source; make a view of each source, and take the features of both in a service",
    ),
    "with_": (("WITH",), "write the query where it is read: FROM (SELECT .. FROM orders) AS q"),
    "laterals": (("LATERAL",), "an event stays one row"),
    "into": (("INTO",), "values go where `onefold materialize` puts them"),
}
_NO_PLACE = "has no place in a feature view"


def aggregate(name: str) -> str:
    """What to say of an aggregate that is not one here; empty where nothing is known of it."""
    name = name.lower()
    if name in _AGGREGATES:
        return f"; write {_AGGREGATES[name]}"
    if name in _AGGREGATE_REASONS:
        return f"; {_AGGREGATE_REASONS[name]}"
    if name.startswith("rolling_"):
        inner = name.removeprefix("rolling_")
        return f"; write {_AGGREGATES.get(inner, f'{inner}(x)')} OVER (RANGE INTERVAL 7 DAYS PRECEDING)"
    return ""


def function(name: str) -> str:
    """What to say of a function that is not in the catalogue; empty where nothing is known of it."""
    name = name.lower()
    return f"; {_FUNCTIONS[name]}" if name in _FUNCTIONS else ""


def node(found: exp.Expr) -> str:
    """What to say of a form that is outside the subset."""
    return next((advice for kind, advice in _NODES.items() if isinstance(found, kind)), "see docs/sql.md")


def type_(name: str) -> str:
    """What to say of a type that is not known; empty where nothing is known of it."""
    word = name.upper().partition("(")[0].strip()
    return f"; write {_TYPES[word]}" if word in _TYPES else ""


def clause(argument: str) -> tuple[tuple[str, ...], str]:
    """(the words that a clause begins with, what to say of it), by the name that sqlglot gives it."""
    words, advice = _CLAUSES.get(argument, ((argument.rstrip("_").upper(),), "see docs/sql.md"))
    return words, f"{words[0]} {_NO_PLACE}: {advice}"


def parse_error(sql: str, offset: int, what: str) -> str:
    """What to add where SQL cannot be parsed: the habit that stands there, if it is a known one."""
    if what.startswith("The number of provided arguments"):
        return "; the window of an aggregate stands behind it, as sum(x) OVER (RANGE INTERVAL 7 DAYS PRECEDING)"
    rest, line_before = sql[max(0, offset - 1) :], sql[:offset].rpartition("\n")[2]
    words = rest.upper().split(maxsplit=2)
    if "`" in rest[:2]:
        return '; names that need quotes have them as "name"'
    if line_before.rstrip().upper().endswith("TOP"):
        return "; the newest 5 events are the window ROWS 5 PRECEDING"
    if "GROUPS" in line_before.upper().rpartition("(")[2].split():
        return "; write RANGE INTERVAL 7 DAYS PRECEDING or ROWS 7 PRECEDING"
    if line_before.upper().rstrip().endswith("FILTER") or (words and words[0] == "FILTER"):
        return "; FILTER (WHERE ..) stands before OVER"
    if words and words[0].startswith("WHERE"):
        return "; a condition of an aggregate is FILTER (WHERE ..) behind it"
    if line_before.upper().rstrip().endswith("OVER"):
        return "; write OVER (RANGE INTERVAL 7 DAYS PRECEDING)"
    return ""
