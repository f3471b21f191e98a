"""DuckDB compiler, running totals: one sort of events and points, and totals that run over both.

A point is a row at a time before t at which totals are read: an end of one of its windows. Events and points are
sorted together by key and time, and the totals run over all of them, from key to key: what a window holds is the
difference of two points of one key. Totals are integers, so the difference is exact.

The totals have no PARTITION BY and no ORDER BY of their own, which DuckDB runs as a stream over what the sort gives.
With a partition for each key it would build a tree for each.
"""

from __future__ import annotations

from collections.abc import Sequence

from onefold.features.duckdb_group import GroupSql
from onefold.features.duckdb_lanes import Lane, Running
from onefold.features.types import TIMESTAMP_MIN

_BEFORE_ALL = 2 * TIMESTAMP_MIN - 1


class Points:
    """The times before t at which running totals are read, each once: `t - back`; None is before all events."""

    def __init__(self, lanes: Sequence[tuple[int, Lane]]) -> None:
        self.totals = {r: f"p{i}" for i, r in enumerate(dict.fromkeys(lane.running for _, lane in lanes))}
        ends: dict[int | None, None] = dict.fromkeys(lane.window.upper for _, lane in lanes)
        ends |= dict.fromkeys(_start(lane) for _, lane in lanes)
        self.backs: tuple[int | None, ...] = tuple(ends)

    def at(self, back: int | None, running: Running) -> str:
        return f"{self.totals[running]}_{self.backs.index(back)}"

    def lane(self, lane: Lane) -> str:
        """The lane over its window: the running value at its end, less that before its start."""
        return f"{self.at(lane.window.upper, lane.running)} - {self.at(_start(lane), lane.running)}"


def _start(lane: Lane) -> int | None:
    return None if lane.window.lower is None else lane.window.lower + 1


def prefix_lanes(sql: GroupSql, lanes: Sequence[tuple[int, Lane]], spine: str) -> str:
    """`_row`, `_t` and lanes `a*` of all rows, from a relation `events`; each lane has a difference."""
    points = Points(lanes)
    keys, size = sql.keys, len(points.backs)
    places = ", ".join(f"({i}, {'NULL' if b is None else b}::BIGINT)" for i, b in enumerate(points.backs))
    at = f"coalesce(2 * (_t - _back) + 1, {_BEFORE_ALL}) AS _at"
    point = f"_row * {size} + _place AS _point"
    both = (
        f"SELECT {', '.join([*keys, '2 * ts AS _at', 'NULL::BIGINT AS _point', *sql.carried(points.totals)])} "
        f"FROM events UNION ALL BY NAME SELECT {', '.join([*keys, at, point])} "
        f"FROM {spine} CROSS JOIN (VALUES {places}) AS places(_place, _back)"
    )
    totals = [f"coalesce({sql.aggregate(r)} OVER so_far, 0) AS {name}" for r, name in points.totals.items()]
    running = (
        f"SELECT _point, _at, {', '.join(totals)} FROM "
        f"(SELECT *, CASE WHEN _point IS NULL THEN 1 END AS ev FROM ({both}) ORDER BY {', '.join([*keys, '_at'])}) "
        "WINDOW so_far AS (ROWS UNBOUNDED PRECEDING) QUALIFY _point IS NOT NULL"
    )
    picked = [
        f"max(CASE WHEN _point % {size} = {i} THEN {name} END) AS {name}_{i}"
        for i in range(size)
        for name in points.totals.values()
    ]
    now = f"max(CASE WHEN _point % {size} = 0 THEN (_at - 1) // 2 + {points.backs[0]} END) AS _t"
    spread = f"SELECT _point // {size} AS _row, {now}, {', '.join(picked)} FROM ({running}) GROUP BY ALL"
    return f"SELECT _row, _t, {', '.join(f'{points.lane(lane)} AS a{i}' for i, lane in lanes)} FROM ({spread})"
