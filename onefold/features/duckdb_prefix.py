"""DuckDB compiler, running totals: one sort of events and points, and totals that run over both.

A point is a row at a time before t at which totals are read: an end of one of its windows. Events and points are
sorted together by key and time, and the totals run over all of them, from key to key: what a window holds is the
difference of two points of one key. Totals are integers, so the difference is exact.

The totals have no PARTITION BY and no ORDER BY of their own, which DuckDB runs as a stream over what the sort gives.
With a partition for each key it would build a tree for each.

One of the totals may be the number of events so far, which `duckdb_frames` goes by for what has no difference.
"""

from __future__ import annotations

from collections.abc import Sequence

from onefold.features import edges
from onefold.features.duckdb_group import GroupSql
from onefold.features.duckdb_lanes import Lane
from onefold.features.types import TIMESTAMP_MIN

PLACE = "n"
"""The number of events so far: of an event, its place in the sort."""
_BEFORE_ALL = 2 * TIMESTAMP_MIN - 1

Numbered = tuple[int, Lane]
Point = tuple[int | None, int | None]
"""(back, size): the time `t - back`, or, where size is given, the last one before the bucket that holds it.

Without `back` it is before all events."""


class Points:
    """The times before t at which running totals are read, each once; the first of them is `t - back`.

    lanes: have a difference. frames: go by the number of events so far, `n`.
    """

    def __init__(self, lanes: Sequence[Numbered], frames: Sequence[Numbered] = ()) -> None:
        self.totals = {r: f"p{i}" for i, r in enumerate(dict.fromkeys(lane.running for _, lane in lanes))}
        self.names = [*self.totals.values(), *([PLACE] if frames else [])]
        every = [lane for _, lane in (*lanes, *frames)]
        ends = dict.fromkeys(map(_end, every))
        exact: list[Point] = [point for point in ends if point[1] is None] or [(0, None)]
        points = [*exact, *ends, *map(_start, every)] if every else []
        self.backs: tuple[Point, ...] = tuple(dict.fromkeys(points))

    def ends(self, name: str, lane: Lane) -> tuple[str, str]:
        """The columns of a running total before a lane's window, and at its end."""
        before, end = (self.backs.index(point) for point in (_start(lane), _end(lane)))
        return f"{name}_{before}", f"{name}_{end}"

    def lane(self, lane: Lane) -> str:
        """The lane over its window: the running value at its end, less that before its start."""
        before, end = self.ends(self.totals[lane.running], lane)
        return f"{end} - {before}"

    @property
    def table(self) -> str:
        """A relation of the points: `_place`, `_back`, and `_size` where a window takes whole buckets."""
        width = 2 if self.rounded else 1
        rows = [", ".join([str(i), *map(_number, point[:width])]) for i, point in enumerate(self.backs)]
        names = ", ".join(["_place", "_back", "_size"][: 1 + width])
        return f"(VALUES {', '.join(f'({row})' for row in rows)}) AS places({names})"

    @property
    def rounded(self) -> bool:
        return any(size is not None for _, size in self.backs)

    @property
    def time(self) -> str:
        """The time of a point, NULL before all events, from the columns of `table`."""
        if not self.rounded:
            return "(_t - _back)"
        return f"(CASE WHEN _size IS NULL THEN _t - _back ELSE {edges.begin('(_t - _back)', '_size')} - 1 END)"


def _number(value: int | None) -> str:
    return f"{'NULL' if value is None else value}::BIGINT"


def _end(lane: Lane) -> Point:
    return lane.window.upper, lane.window.resolution if lane.window.delayed else None


def _start(lane: Lane) -> Point:
    window = lane.window
    if window.lower is None or window.resolution is not None:
        return window.lower, None if window.lower is None else window.resolution
    return window.lower + 1, None


def prefix_lanes(points: Points, lanes: Sequence[Numbered], ends: str) -> str:
    """`_row`, `_t` and lanes `a*` of all rows, from a relation as `totals_by_row` gives; each lane has a difference."""
    return f"SELECT _row, _t, {', '.join(f'{points.lane(lane)} AS a{i}' for i, lane in lanes)} FROM {ends}"


def running_totals(sql: GroupSql, points: Points, frames: Sequence[Numbered], spine: str) -> str:
    """`_point`, `_at` and the totals of all points, from a relation `events`. Where there are frames, `n` is one of
    them, and events come too, with the columns that frames are over; their `_point` is NULL."""
    keys, size = sql.keys, len(points.backs)
    framed = sql.carried(dict.fromkeys(lane.running for _, lane in frames))
    columns = dict.fromkeys([*sql.carried(points.totals), *framed])
    at = f"coalesce(2 * {points.time} + 1, {_BEFORE_ALL}) AS _at"
    point = f"_row * {size} + _place AS _point"
    both = (
        f"SELECT {', '.join([*keys, '2 * ts AS _at', 'NULL::BIGINT AS _point', *columns])} "
        f"FROM events UNION ALL BY NAME SELECT {', '.join([*keys, at, point])} "
        f"FROM {spine} CROSS JOIN {points.table}"
    )
    totals = [f"coalesce({sql.aggregate(r)} OVER so_far, 0) AS {name}" for r, name in points.totals.items()]
    if frames:
        totals += [f"count(ev) OVER so_far AS {PLACE}", *framed]
    return (
        f"SELECT _point, _at, {', '.join(totals)} FROM "
        f"(SELECT *, CASE WHEN _point IS NULL THEN 1 END AS ev FROM ({both}) ORDER BY {', '.join([*keys, '_at'])}) "
        f"WINDOW so_far AS (ROWS UNBOUNDED PRECEDING){'' if frames else ' QUALIFY _point IS NOT NULL'}"
    )


def totals_by_row(points: Points, running: str) -> str:
    """`_row`, `_t` and each total at each of the row's points, as `p0_1` at the second, from the points."""
    size = len(points.backs)
    picked = [
        f"max(CASE WHEN _point % {size} = {i} THEN {name} END) AS {name}_{i}"
        for i in range(size)
        for name in points.names
    ]
    now = f"max(CASE WHEN _point % {size} = 0 THEN (_at - 1) // 2 + {points.backs[0][0]} END) AS _t"
    return f"SELECT _point // {size} AS _row, {now}, {', '.join(picked)} FROM {running} GROUP BY ALL"
