"""DuckDB compiler, plans: the SQL that gives a group's features for each row of a spine. All are equal in value.

- `prefix_plan`: running totals; what a window holds is the difference of two (`duckdb_prefix`). What has none (min,
  max, first) runs over frames whose ends are such totals (`duckdb_frames`), and over frames of rows as in
  `sorted_plan`. The newest event's values come by ASOF joins (`duckdb_newest`).
- `sorted_plan`: events and spine in one table, each lane over its frame.
- `joined_plan`: rows meet their events in a join bucketed by time. For few events a row, and for rows that each know
  of other events, as served vectors do.

`duckdb_choice` says which is taken.

The spine comes as a relation with `_row` (BIGINT), `_t` (BIGINT, microseconds) and the keys `_k0`, `_k1`, ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onefold.features import edges, ir
from onefold.features.copies import copy_ranks, first
from onefold.features.duckdb_choice import Needs
from onefold.features.duckdb_frames import frame_lanes
from onefold.features.duckdb_group import GroupSql
from onefold.features.duckdb_lanes import Lane, Lanes
from onefold.features.duckdb_newest import newest_slots, newest_values
from onefold.features.duckdb_prefix import Numbered, Points, prefix_lanes, running_totals, totals_by_row
from onefold.features.duckdb_scalar import quote, scalar
from onefold.features.facts import UNKNOWN, Facts
from onefold.features.ir import Window
from onefold.features.plans import Group, ServicePlan
from onefold.features.types import TIMESTAMP_MIN


def sorted_plan(group: Group, *, events: str, spine: str, facts: Facts = UNKNOWN) -> str:
    """Features as of t for each spine row, by one sort of events and spine together."""
    sql = GroupSql(group, events, facts=facts)
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
    wanted = [*sql.columns(lane.running for _, lane in lanes), *map(first, sql.firsts()), *places.values()]
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
        frame = f"PARTITION BY {keys} ORDER BY {order} {_frame(lane.window, order)}"
        name = frames.setdefault(frame, f"w{len(frames)}")
        items.append(f"{sql.aggregate(lane.running)} OVER {name} AS a{i}")
    named = ", ".join(f"{name} AS ({frame})" for frame, name in frames.items())
    return f"SELECT _row, ts AS _t, {', '.join(items)} FROM ({both}) WINDOW {named} QUALIFY _row IS NOT NULL"


def _rank_orders(sql: GroupSql, lanes: Sequence[tuple[int, Lane]]) -> list[tuple[int, str, str]]:
    """(upper bound, condition, name) of the ranks that frames of rows are ordered by."""
    pairs = dict.fromkeys(
        (lane.window.upper, sql.passes(lane.running.slot_where)) for _, lane in lanes if lane.window.rows is not None
    )
    return [(upper, passes, f"r{i}") for i, (upper, passes) in enumerate(pairs)]


def _frame(window: Window, order: str = "ts") -> str:
    """The frame of a row of the spine; an event's own, which nobody asks for, is made as short as can be."""
    if window.rows is not None:
        skip, count = window.rows
        lower, upper = f"{order} + 1" if count is None else str(skip + count - 1), skip
    else:
        lower = f"ts - ({TIMESTAMP_MIN})" if window.lower is None else str(window.lower)
        upper = window.upper
        if window.resolution is not None and window.lower is not None:
            lower = f"ts - {edges.first(window, 'ts')}"
    end = f"{upper} PRECEDING" if upper else "CURRENT ROW"
    if window.delayed:
        end = f"(CASE WHEN _row IS NULL THEN {upper} ELSE ts - ({edges.last(window, 'ts')}) END)::BIGINT PRECEDING"
    return f"RANGE BETWEEN (CASE WHEN _row IS NULL THEN {upper} ELSE {lower} END)::BIGINT PRECEDING AND {end}"


def prefix_plan(group: Group, *, events: str, spine: str, facts: Facts = UNKNOWN) -> str:
    """Features as of t for each spine row: running totals where a lane has a difference, ASOF joins for the newest
    events, frames for the others."""
    newest = newest_slots(group)
    sql = GroupSql(group, events, facts=facts, newest=newest)
    totals, frames, of_rows = _by_kind(sql.lanes)
    points = Points(totals, frames)
    running = running_totals(sql, points, frames, spine) if points.backs else ""
    made = {}
    if frames:
        made = {"running": running, "ends": totals_by_row(points, "running WHERE _point IS NOT NULL")}
    parts = []
    if totals:
        parts.append(prefix_lanes(points, totals, "ends" if made else f"({totals_by_row(points, f'({running})')})"))
    if frames:
        parts.append(frame_lanes(sql, points, frames))
    if of_rows:
        parts.append(_sorted_lanes(sql, of_rows, spine))
    if newest:
        parts.append(newest_values(sql, newest, spine))
    return _with_events(_ranked_events(sql), made, sql.finish(_by_row(parts)))


def _with_events(events: str, made: Mapping[str, str], query: str) -> str:
    """The query over `events`, which are kept where it reads them twice, and over what is made of them, which is."""
    read = "".join([*made.values(), query])
    twice = read.count(" FROM events") + read.count(" JOIN events") > 1
    named = [f"events AS {'MATERIALIZED ' if twice else ''}({events})"]
    named += [f"{name} AS MATERIALIZED ({sql})" for name, sql in made.items()]
    return f"WITH {', '.join(named)}\n{query}"


def _by_kind(lanes: Lanes) -> tuple[list[Numbered], list[Numbered], list[Numbered]]:
    """Lanes with their numbers: those with a difference, those over a range of time, and those over rows."""
    numbered = list(enumerate(lanes.all))
    totals = [(i, lane) for i, lane in numbered if has_difference(lane)]
    frames = [(i, lane) for i, lane in numbered if lane.window.rows is None and not has_difference(lane)]
    return totals, frames, [(i, lane) for i, lane in numbered if lane.window.rows is not None]


def needs_of(group: Group) -> Needs:
    """What the lanes of a group ask of a plan."""
    newest = newest_slots(group)
    totals, frames, of_rows = _by_kind(GroupSql(group, "events", newest=newest).lanes)
    points = Points(totals, frames)
    only_newest = len(newest) == len(group.slots)
    return Needs(len(points.totals), len(frames) + len(of_rows), len(points.backs), newest=only_newest)


def _by_row(parts: Sequence[str]) -> str:
    """Parts that have `_row`, `_t` and columns of their own, side by side."""
    if len(parts) == 1:
        return parts[0]
    first_, *rest = (f"({part}) AS part{i}" for i, part in enumerate(parts))
    items = ["part0.*", *(f"part{i}.* EXCLUDE (_row, _t)" for i in range(1, len(parts)))]
    joins = [f"JOIN {part} ON part{i}._row = part0._row" for i, part in enumerate(rest, 1)]
    return f"SELECT {', '.join(items)} FROM {first_} {' '.join(joins)}"


def has_difference(lane: Lane) -> bool:
    """Whether the lane over its window is found from running values at its ends."""
    return lane.window.rows is None and lane.running.adds


def joined_plan(group: Group, *, events: str, spine: str, known: bool = False, facts: Facts = UNKNOWN) -> str:
    """Features for each spine row from the events that it is joined with, in buckets half as long as its reach.

    The group's views may include each row as an event of its own: the spine then has `_f*`, its `row_fields`.
    known: the spine has `_highest`, a list with the highest offset that the row knew of each sequence (by number);
    other events do not count, and `_late` says how many there were as of t.
    """
    sql = GroupSql(group, events, spine=spine, facts=facts)
    firsts, columns, reach = sql.firsts(), sql.columns(), group.reach
    rows, prepared = f"SELECT * FROM {spine}", sql.events()
    on = [*(f"s.{k} = e.{k}" for k in sql.keys), "e.ts <= s._t", *(["e._only IS NULL"] if sql.with_rows else [])]
    if reach is not None:
        size = reach // 2 + 1
        own = _bucket("_t", size)
        rows = f"SELECT *, unnest([{own}, {own} - 1, {own} - 2]) AS _bucket FROM {spine}"
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
    inside = [f"ts <= {edges.last(lane.window, '_t')}", *(["_known"] if known else [])]
    first_ = edges.first(lane.window, "_t")
    if first_ is not None:
        inside.append(f"ts >= {first_}")
    if lane.window.rows is not None:
        skip, count = lane.window.rows
        place = orders[lane.window.upper, sql.passes(lane.running.slot_where)]
        inside.append(f"{place} > {skip}" if count is None else f"{place} BETWEEN {skip + 1} AND {skip + count}")
    return sql.aggregate(lane.running, *inside)


def _bucket(time: str, size: int) -> str:
    return f"(({time} - ({TIMESTAMP_MIN})) // {size})"


def output_sql(plan: ServicePlan, *, spine: str, groups: Sequence[str], late: bool = False) -> str:
    """The service's features in the spine's order, from the group results and the spine.

    `spine` has `_row`, `_t` and the request columns; each of `groups` is a relation with `_row` and its refs. With
    `late`, a last column `_late` adds theirs up, once for each state.
    """
    columns = {f.ref: quote(f.ref) for g in plan.groups for f in g.features}
    own = {f"request.{f.name}": f"spine.{quote(f.name)}" for f in plan.request}
    own["event_timestamp"] = "make_timestamp(spine._t)"
    outputs = ", ".join(
        f"{scalar(e, columns | own)} AS {quote(f.name)}" for f, e in zip(plan.features, plan.outputs, strict=True)
    )
    if late:
        outputs += f", {' + '.join(f'g{i}._late' for i in plan.widest) or '0'} AS _late"
    named = [f"{g} AS g{i}" for i, g in enumerate(groups)]
    if not groups or any(c.name in own for e in plan.outputs for c in ir.columns(e)):
        named.append(f"{spine} AS spine")
    rows = f"{named[0].rsplit(' AS ', 1)[1]}._row"
    joins = " ".join(f"JOIN {n} ON {n.rsplit(' AS ', 1)[1]}._row = {rows}" for n in named[1:])
    return f"SELECT {outputs} FROM {named[0]} {joins} ORDER BY {rows}"
