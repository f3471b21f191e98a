"""The same work by hand: a bare ASOF join, and windows in the three shapes that give exact sums.

Who writes by hand knows that there are no NULLs, that amounts are positive with two decimals, and how large their sums
may become; so a sum is one integer of 2^-72 for each amount, rounded once at the end.
"""

from __future__ import annotations

from collections.abc import Callable

WINDOWS = {"h1": 1, "d1": 24, "d7": 168}
_HOUR = 3_600_000_000
_LONGEST = 168 * _HOUR
_BACKS = [0, *(hours * _HOUR + 1 for hours in WINDOWS.values())]

_GRID = "CAST(trunc(x0 * 4722366482869645213696.0::DOUBLE) AS HUGEINT)"
_EVENTS = f'SELECT k, epoch_us("at") AS ts, x0 AS x, {_GRID} AS t FROM {{events}}'
_SPINE = "SELECT k, epoch_us(event_timestamp) AS now, _row FROM spine_rows"
_ROUND = """CREATE MACRO bits(t) AS greatest(floor(log2(t::DOUBLE))::INTEGER - 60, 0);
CREATE MACRO rounded(t) AS CASE WHEN t > 0 THEN ((t >> bits(t)::HUGEINT)
  | (t & ((1::HUGEINT << bits(t)::HUGEINT) - 1) <> 0)::HUGEINT)::BIGINT::DOUBLE * pow(2.0, bits(t) - 72)
  WHEN t = 0 THEN 0 END;
"""


def _output(relation: str) -> str:
    """Features in the order of the service, from n (count), t (total), m and g (extremes) of each window."""
    items = [
        f"n_{w} AS count_{w}, s_{w} AS sum_{w}, s_{w} / nullif(n_{w}, 0) AS avg_{w}, m_{w} AS min_{w}, g_{w} AS max_{w}"
        for w in WINDOWS
    ]
    sums = ", ".join(f"CASE WHEN n_{w} > 0 THEN rounded(t_{w}) END AS s_{w}" for w in WINDOWS)
    return f"SELECT {', '.join(items)} FROM (SELECT *, {sums} FROM ({relation})) ORDER BY _row"


def _each(item: Callable[[str, int], str]) -> str:
    return ", ".join(item(w, hours * _HOUR) for w, hours in WINDOWS.items())


ASOF_SQL = (
    "SELECT " + ", ".join(f"e.x{n}" for n in range(10)) + " FROM spine_rows AS s ASOF LEFT JOIN {events} AS e "
    "ON s.k = e.k AND s.event_timestamp >= e.at ORDER BY s._row"
)

_SIZE = _LONGEST // 2 + 1
_LANES = _each(
    lambda w, size: ", ".join(
        f"{fn}(CASE WHEN ts >= now - {size} THEN {what} END) AS {name}_{w}"
        for fn, what, name in (("count", "1", "n"), ("sum", "t", "t"), ("min", "x", "m"), ("max", "x", "g"))
    )
)
RANGE_SQL = _ROUND + _output(
    f"SELECT s._row, {_each(lambda w, _: f'coalesce(n_{w}, 0) AS n_{w}, t_{w}, m_{w}, g_{w}')} "
    "FROM spine_rows AS s LEFT JOIN ("
    f"SELECT _row, {_LANES} FROM (SELECT s._row, s.now, e.ts, e.x, e.t FROM "
    f"(SELECT *, unnest([now // {_SIZE}, now // {_SIZE} - 1, now // {_SIZE} - 2]) AS b FROM ({_SPINE})) AS s "
    f"JOIN (SELECT *, ts // {_SIZE} AS b FROM ({_EVENTS})) AS e "
    f"ON s.k = e.k AND s.b = e.b AND e.ts <= s.now AND e.ts >= s.now - {_LONGEST}) GROUP BY _row) AS f USING (_row)"
)

_FRAME = "RANGE BETWEEN (CASE WHEN _row IS NULL THEN 0 ELSE {size} END)::BIGINT PRECEDING AND CURRENT ROW"
_EXTREMES = (
    "SELECT _row, " + _each(lambda w, _: f"min(x) OVER {w} AS m_{w}, max(x) OVER {w} AS g_{w}")
    + " FROM (SELECT k, ts, NULL::BIGINT AS _row, x FROM e UNION ALL SELECT k, now, _row, NULL FROM s) WINDOW "
    + _each(lambda w, size: f"{w} AS (PARTITION BY k ORDER BY ts {_FRAME.format(size=size)})")
    + " QUALIFY _row IS NOT NULL"
)  # fmt: skip
_WITH = f"WITH e AS MATERIALIZED ({_EVENTS}), s AS ({_SPINE})"
_ALL = f"{_each(lambda w, _: f'n_{w}, t_{w}, m_{w}, g_{w}')}"

_POINTS = ", ".join(f"({i}, {back})" for i, back in enumerate(_BACKS))
_RUNNING = (
    "SELECT _row, p, count(t) OVER r AS n, sum(t) OVER r AS t FROM (SELECT * FROM ("
    "SELECT k, 2 * ts AS at2, NULL::BIGINT AS _row, NULL::INTEGER AS p, t FROM e "
    f"UNION ALL SELECT k, 2 * (now - back) + 1, _row, p, NULL FROM s, (VALUES {_POINTS}) AS v(p, back)) "
    "ORDER BY k, at2) WINDOW r AS (ROWS UNBOUNDED PRECEDING) QUALIFY _row IS NOT NULL"
)
_PICKED = ", ".join(f"max(CASE WHEN p = {i} THEN {c} END) AS {c}{i}" for i in range(len(_BACKS)) for c in "nt")
_TOTALS = ", ".join(
    f"coalesce(n0, 0) - coalesce(n{i}, 0) AS n_{w}, coalesce(t0, 0) - coalesce(t{i}, 0) AS t_{w}"
    for i, w in enumerate(WINDOWS, 1)
)
STREAM_SQL = _ROUND + _output(
    f"{_WITH} SELECT _row, {_ALL} FROM (SELECT _row, {_TOTALS} FROM ("
    f"SELECT _row, {_PICKED} FROM ({_RUNNING}) GROUP BY _row)) "
    f"JOIN ({_EXTREMES}) USING (_row)"
)

_JOINS = " ".join(
    f"ASOF LEFT JOIN totals AS j{i} ON s.k = j{i}.k AND s.now - {back} >= j{i}.ts" for i, back in enumerate(_BACKS)
)
_AT = ", ".join(f"j{i}.{c} AS {c}{i}" for i in range(len(_BACKS)) for c in "nt")
PREFIX_SQL = _ROUND + _output(
    f"{_WITH}, totals AS MATERIALIZED (SELECT k, ts, count(*) OVER r AS n, sum(t) OVER r AS t FROM e "
    "WINDOW r AS (PARTITION BY k ORDER BY ts RANGE UNBOUNDED PRECEDING)) "
    f"SELECT _row, {_ALL} FROM (SELECT _row, {_TOTALS} FROM (SELECT s._row, {_AT} FROM s {_JOINS})) "
    f"JOIN ({_EXTREMES}) USING (_row)"
)
