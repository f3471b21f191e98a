"""DuckDB compiler, plans: the SQL that gives a group's features for each row of a spine. All are equal in value.

- `prefix_plan`: running totals of the events; a window is the difference of two, found by ASOF joins. For many rows.
- `sorted_plan`: events and spine in one table, each lane over its frame. For what has no difference: min, max, first.
- `joined_plan`: rows meet their events in a join bucketed by time. For few rows, and for rows that each know of other
  events, as served vectors do.

The spine comes as a relation with `_row` (BIGINT), `_t` (BIGINT, microseconds) and the keys `_k0`, `_k1`, ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onefold.features.duckdb_group import GroupSql, copy_ranks, first
from onefold.features.duckdb_lanes import Lane, Running
from onefold.features.duckdb_scalar import quote, scalar
from onefold.features.ir import Window
from onefold.features.plans import Group, ServicePlan
from onefold.features.types import TIMESTAMP_MIN


def sorted_plan(group: Group, *, events: str, spine: str) -> str:
    """Features as of t for each spine row, by one sort of events and spine together."""
    sql = GroupSql(group, events)
    lanes = _sorted_lanes(sql, list(enumerate(sql.lanes.all)), spine)
    return f"WITH events AS MATERIALIZED ({_ranked_events(sql)})\n{sql.finish(lanes)}"


def _ranked_events(sql: GroupSql) -> str:
    """Events, with a mark for those that are the first of their copies, and ranks for frames of rows."""
    query = f"SELECT *{copy_ranks(sql.firsts(), ', '.join(sql.keys))} FROM ({sql.events()})"
    ranks = [
        f", CASE WHEN {passes} THEN row_number() OVER (PARTITION BY {', '.join([*sql.keys, passes])} "
        f"ORDER BY ts, _sequence, _offset) END AS {name}"
        for passes, name in _places(sql).items()
    ]
    return f"SELECT *{''.join(ranks)} FROM ({query})" if ranks else query


def _places(sql: GroupSql) -> dict[str, str]:
    """The conditions below which frames of rows count events, and the columns of their ranks."""
    counted = dict.fromkeys(sql.passes(n.running.slot_where) for n in sql.lanes.all if n.window.rows is not None)
    return {passes: f"n{i}" for i, passes in enumerate(counted)}


def _sorted_lanes(sql: GroupSql, lanes: Sequence[tuple[int, Lane]], spine: str) -> str:
    """Lanes `a*` by row, each over its frame; a frame of rows is a range of ranks."""
    keys, places = ", ".join(sql.keys), _places(sql)
    wanted = [*sql.columns(), *map(first, sql.firsts()), *places.values()]
    carried = ", ".join(dict.fromkeys(wanted))
    both = (
        f"SELECT {keys}, ts, NULL::BIGINT AS _row, {carried} FROM events UNION ALL BY NAME "
        f"SELECT {keys}, _t AS ts, _row FROM {spine}"
    )
    orders = {(w, p): name for w, p, name in _rank_orders(sql, lanes)}
    ranks = [
        f", CASE WHEN _row IS NULL THEN {places[passes]} ELSE count({places[passes]}) OVER "
        f"(PARTITION BY {keys} ORDER BY ts {_frame(Window(None, upper))}) END AS {name}"
        for (upper, passes), name in orders.items()
    ]
    if ranks:
        both = f"SELECT *{''.join(ranks)} FROM ({both})"
    frames: dict[str, str] = {}
    items = []
    for i, lane in lanes:
        order = "ts" if lane.window.rows is None else orders[lane.window.upper, sql.passes(lane.running.slot_where)]
        name = frames.setdefault(f"PARTITION BY {keys} ORDER BY {order} {_frame(lane.window)}", f"w{len(frames)}")
        items.append(f"{sql.aggregate(lane.running)} OVER {name} AS a{i}")
    named = ", ".join(f"{name} AS ({frame})" for frame, name in frames.items())
    return f"SELECT _row, ts AS _t, {', '.join(items)} FROM ({both}) WINDOW {named} QUALIFY _row IS NOT NULL"


def _rank_orders(sql: GroupSql, lanes: Sequence[tuple[int, Lane]]) -> list[tuple[int, str, str]]:
    """(upper bound, condition, name) of the ranks that frames of rows are ordered by."""
    pairs = dict.fromkeys(
        (lane.window.upper, sql.passes(lane.running.slot_where)) for _, lane in lanes if lane.window.rows is not None
    )
    return [(upper, passes, f"r{i}") for i, (upper, passes) in enumerate(pairs)]


def _frame(window: Window) -> str:
    if window.rows is not None:
        skip, count = window.rows
        lower = "UNBOUNDED" if count is None else str(skip + count - 1)
        return f"RANGE BETWEEN {lower} PRECEDING AND {skip} PRECEDING"
    lower = "UNBOUNDED PRECEDING" if window.lower is None else f"{window.lower} PRECEDING"
    upper = "CURRENT ROW" if window.upper == 0 else f"{window.upper} PRECEDING"
    return f"RANGE BETWEEN {lower} AND {upper}"


def prefix_plan(group: Group, *, events: str, spine: str) -> str:
    """Features as of t for each spine row, from running totals where a lane has them, else over frames."""
    sql = GroupSql(group, events)
    lanes = list(enumerate(sql.lanes.all))
    running = {r: f"p{i}" for i, r in enumerate(dict.fromkeys(n.running for _, n in lanes if _has_difference(n)))}
    others = [(i, lane) for i, lane in lanes if not _has_difference(lane)]
    if not running:
        return sorted_plan(group, events=events, spine=spine)
    points = _Points(running)
    items = [f"{points.lane(lane)} AS a{i}" for i, lane in lanes if _has_difference(lane)]
    keys = ", ".join(sql.keys)
    totals = [f"{sql.aggregate(r)} OVER so_far AS {name}" for r, name in running.items()]
    prefix = (
        f"SELECT {keys}, ts, {', '.join(totals)} FROM events "
        f"WINDOW so_far AS (PARTITION BY {keys} ORDER BY ts RANGE UNBOUNDED PRECEDING)"
    )
    joins = []
    for back, name in points.names.items():
        on = [*(f"s.{k} = {name}.{k}" for k in sql.keys), f"s._t - {back} >= {name}.ts"]
        joins.append(f"ASOF LEFT JOIN totals AS {name} ON {' AND '.join(on)}")
    query = f"SELECT s._row, s._t, {', '.join(items)} FROM {spine} AS s {' '.join(joins)}"
    if others:
        query = f"SELECT * FROM ({query}) JOIN ({_sorted_lanes(sql, others, spine)}) USING (_row, _t)"
    return (
        f"WITH events AS MATERIALIZED ({_ranked_events(sql)}),\ntotals AS MATERIALIZED ({prefix})\n{sql.finish(query)}"
    )


def _has_difference(lane: Lane) -> bool:
    """Whether the lane over its window is found from running values at its ends."""
    return lane.window.rows is None and (lane.running.adds or lane.running.ranks)


class _Points:
    """The times before t at which running totals are read: the ends of the windows, each once."""

    def __init__(self, running: dict[Running, str]) -> None:
        self._running = running
        self.names: dict[int, str] = {}

    def _at(self, back: int, running: Running) -> str:
        return f"{self.names.setdefault(back, f'j{len(self.names)}')}.{self._running[running]}"

    def lane(self, lane: Lane) -> str:
        """The lane over its window: the running value at its end, less that before its start."""
        end = self._at(lane.window.upper, lane.running)
        if lane.window.lower is None:
            return f"coalesce({end}, 0)" if lane.running.adds else end
        start = self._at(lane.window.lower + 1, lane.running)
        if lane.running.adds:
            return f"coalesce({end}, 0) - coalesce({start}, 0)"
        return f"CASE WHEN {end} IS DISTINCT FROM {start} THEN {end} END"


def joined_plan(group: Group, *, events: str, spine: str, known: bool = False) -> str:
    """Features for each spine row from events that it is joined with, within a bucket as long as the longest window.

    The group's views may include each row as an event of its own: the spine then has `_f*`, its `row_fields`.
    known: the spine has `_highest`, a list with the highest offset that the row knew of each sequence (by number);
    other events do not count, and `_late` says how many there were as of t.
    """
    sql = GroupSql(group, events, spine=spine)
    firsts, columns, reach = sql.firsts(), sql.columns(), group.reach
    rows, prepared = f"SELECT * FROM {spine}", sql.events()
    on = [*(f"s.{k} = e.{k}" for k in sql.keys), "e.ts <= s._t", *(["e._only IS NULL"] if sql.with_rows else [])]
    if reach is not None:
        size = max(reach, 1)
        rows = f"SELECT *, unnest([{_bucket('_t', size)}, {_bucket('_t', size)} - 1]) AS _bucket FROM {spine}"
        prepared = f"SELECT *, {_bucket('ts', size)} AS _bucket FROM ({prepared})"
        on += ["e._bucket = s._bucket", f"e.ts >= s._t - {reach}"]
    knew = "coalesce(e._offset <= s._highest[e._sequence + 1], FALSE)" if known else "TRUE"
    carried = ["ts", "_sequence", "_offset", "_id", *columns]
    pairs = (
        f"SELECT s._row, s._t, {knew} AS _known, {', '.join(f'e.{c}' for c in carried)} "
        f"FROM ({rows}) AS s JOIN events AS e ON {' AND '.join(on)}"
    )
    if sql.with_rows:
        own = (
            f"SELECT _only AS _row, ts AS _t, TRUE AS _known, {', '.join(carried)} FROM events WHERE _only IS NOT NULL"
        )
        pairs = f"{pairs} UNION ALL {own}"
    ranked = f"SELECT *{copy_ranks(firsts, '_row, _known')} FROM ({pairs})"
    orders = {(upper, passes): name for upper, passes, name in _rank_orders(sql, list(enumerate(sql.lanes.all)))}
    newest = [
        f", row_number() OVER (PARTITION BY _row, _known, {passes}, ts <= _t - {upper} "
        f"ORDER BY ts DESC, _sequence DESC, _offset DESC) AS {name}"
        for (upper, passes), name in orders.items()
    ]
    if newest:
        ranked = f"SELECT *{''.join(newest)} FROM ({ranked})"
    lanes = [f"{_joined_lane(sql, lane, orders, known=known)} AS a{i}" for i, lane in enumerate(sql.lanes.all)]
    counts = [f"a{i}" for i, lane in enumerate(sql.lanes.all) if lane.running.aggregate.startswith("count")]
    if known:
        lanes.append("count(*) FILTER (WHERE NOT _known) AS _late")
        counts.append("_late")
    folded = f"SELECT _row, {', '.join(lanes)} FROM ({ranked}) GROUP BY _row"
    zeros = f" REPLACE ({', '.join(f'coalesce({c}, 0) AS {c}' for c in counts)})" if counts else ""
    every = f"SELECT _row, _t, f.* EXCLUDE (_row){zeros} FROM {spine} LEFT JOIN ({folded}) AS f USING (_row)"
    return f"WITH events AS MATERIALIZED ({prepared})\n{sql.finish(every, extra=['_late'] if known else [])}"


def _joined_lane(sql: GroupSql, lane: Lane, orders: Mapping[tuple[int, str], str], *, known: bool) -> str:
    inside = [f"ts <= _t - {lane.window.upper}", *(["_known"] if known else [])]
    if lane.window.lower is not None:
        inside.append(f"ts >= _t - {lane.window.lower}")
    if lane.window.rows is not None:
        skip, count = lane.window.rows
        place = orders[lane.window.upper, sql.passes(lane.running.slot_where)]
        inside.append(f"{place} > {skip}" if count is None else f"{place} BETWEEN {skip + 1} AND {skip + count}")
    return sql.aggregate(lane.running, *inside)


def _bucket(time: str, size: int) -> str:
    return f"(({time} - ({TIMESTAMP_MIN})) // {size})"


def output_sql(plan: ServicePlan, *, spine: str, groups: Sequence[str], late: bool = False) -> str:
    """The service's features in the spine's order, from the group results and the spine.

    `spine` has `_row`, `_t` and the request columns; each of `groups` has `_row` and its refs. With `late`, a last
    column `_late` adds theirs up.
    """
    columns = {f.ref: quote(f.ref) for g in plan.groups for f in g.features}
    columns |= {f"request.{f.name}": f"spine.{quote(f.name)}" for f in plan.request}
    columns["event_timestamp"] = "make_timestamp(spine._t)"
    outputs = ", ".join(
        f"{scalar(e, columns)} AS {quote(f.name)}" for f, e in zip(plan.features, plan.outputs, strict=True)
    )
    if late:
        outputs += f", {' + '.join(f'g{i}._late' for i in range(len(groups))) or '0'} AS _late"
    joins = " ".join(f"JOIN {g} AS g{i} ON g{i}._row = spine._row" for i, g in enumerate(groups))
    return f"SELECT {outputs} FROM {spine} AS spine {joins} ORDER BY spine._row"
