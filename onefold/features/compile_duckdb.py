"""DuckDB compiler, plans: the SQL that gives a group's features for each row of a spine.

Two plans, equal in value:

- `sorted_plan`: events and spine are put into one table and each lane runs over its frame. For as-of-t values.
- `joined_plan`: spine rows meet their events in a join bucketed by time. For rows that each know of other events
  (`known` holds per row and sequence the highest offset), as a served vector did.

Events come as a relation with the source's columns, `_sequence` and `_offset`; times in it are TIMESTAMP (UTC).
The spine comes as a relation with `_row` (BIGINT), `_t` (BIGINT, microseconds) and the keys `_k0`, `_k1`, ...
"""

from __future__ import annotations

from collections.abc import Sequence

from onefold.features.duckdb_lanes import FLAGS, ORDERED, SQUARE_COLUMNS, SUM_COLUMNS, Lane, Lanes
from onefold.features.duckdb_scalar import quote, scalar
from onefold.features.ir import Window
from onefold.features.layout import Layout
from onefold.features.plans import Group, ServicePlan
from onefold.features.steps import Program
from onefold.features.types import TIMESTAMP_MIN



def prepared_events(layout: Layout, events: str, *, floor: int | None = None) -> str:
    """The prepared events of a layout: keys `_k*`, `ts` (microseconds), `_sequence`, `_offset`, `_id`, columns `c*`."""
    source = layout.source
    columns = {f.name: quote(f.name) for f in source.fields}
    items = [f"{columns[f.name]} AS _k{i}" for i, f in enumerate(layout.key_fields)]
    items += [f"epoch_us({columns[source.event_time]}) AS ts", "_sequence", "_offset"]
    items.append(f"{columns[source.event_id]} AS _id" if source.event_id else "NULL AS _id")
    items += [f"{scalar(c, columns)} AS c{i}" for i, c in enumerate(layout.columns)]
    conditions = [f"{columns[f.name]} IS NOT NULL" for f in layout.key_fields]
    if layout.keep is not None:
        conditions.append(scalar(layout.keep, columns))
    if floor is not None:
        conditions.append(f"epoch_us({columns[source.event_time]}) >= {floor}")
    return f"SELECT {', '.join(items)} FROM {events} WHERE {' AND '.join(conditions)}"


class _GroupSql:
    """What both plans of a group share: its lanes, the events with lane columns, and the finish."""

    def __init__(self, group: Group, events: str) -> None:
        self.group, self.layout = group, group.layout
        self.program = Program()
        self.lanes = Lanes(self.program)
        self.slots = [self.lanes.finish(s) for s in group.slots]
        self.ordered = [i for i, s in enumerate(group.slots) if s.fn in ORDERED]
        self.keys = [f"_k{i}" for i in range(len(self.layout.key_fields))]
        self._events = events

    def events(self) -> str:
        """Prepared events with `ev` (1), `ord` where an order is asked for, and the lane columns of DOUBLEs."""
        query = prepared_events(self.layout, self._events)
        order = ", row_number() OVER (ORDER BY ts, _sequence, _offset) AS ord" if self.ordered else ""
        query = f"SELECT *, 1 AS ev{order} FROM ({query})"
        for arg in sorted(self.lanes.sums):
            query = _lane_columns(query, arg, squares=arg in self.lanes.squares)
        return query

    def columns(self) -> list[str]:
        """The columns of `events` that lanes and filters use."""
        used = [lane.column for lane in self.lanes.all]
        filters = [f"c{i}" for lane in self.lanes.all for i in (lane.slot_filter, lane.slot_where) if i is not None]
        return list(dict.fromkeys([*used, *filters]))

    def firsts(self) -> list[int | None]:
        """The WHEREs that copies are judged after; empty where the source has no ids."""
        return sorted({s.where for s in self.group.slots}, key=lambda w: (w is not None, w)) if self.layout.has_ids else []

    def condition(self, lane: Lane) -> list[str]:
        """What an event must meet to be in a lane, apart from its window."""
        found = [f"c{lane.slot_filter}"] if lane.slot_filter is not None else []
        return [*found, _first(lane.slot_where)] if self.layout.has_ids else found

    def finish(self, lanes: str) -> str:
        """The features, as columns named by their refs, from a query of `_row` and lanes `a*`."""
        base, values = lanes, {f"s{i}": n.sql for i, n in enumerate(self.slots)}
        if self.ordered:
            joins, picked = [], []
            for i in self.ordered:
                slot = self.group.slots[i]
                joins.append(f"LEFT JOIN events AS o{i} ON o{i}.ord = lanes.{self.slots[i].sql}")
                picked.append(f"o{i}.c{slot.arg} AS v{i}")
                values[f"s{i}"] = f"v{i}"
            base = f"SELECT lanes.*, {', '.join(picked)} FROM ({lanes}) AS lanes {' '.join(joins)}"
        outputs = [f"{scalar(f.expr, values)} AS {quote(f.ref)}" for f in self.group.features]
        return self.program.render(base, ["_row", *outputs])


def _lane_columns(query: str, arg: int, *, squares: bool) -> str:
    """The query with the integer lanes of column c{arg} added."""
    column = f"c{arg}"
    steps = [(name, sql) for name, sql in SUM_COLUMNS.items()]
    if squares:
        steps += list(SQUARE_COLUMNS.items())
    names = {"c": column} | {name: f"_{column}_{name}" for name, _ in steps}
    for name, sql in steps:
        query = f"SELECT *, {sql.format(**names)} AS {names[name]} FROM ({query})"
    lanes = [f"CAST(CASE WHEN {column} IS NULL THEN NULL ELSE {names[n]} END AS BIGINT) AS {column}_{n}" for n in ("h", "l")]
    if squares:
        sums = {"qt": names["qt"], "qh": f"{names['qh']}::BIGINT::HUGEINT + {names['eh']}::BIGINT",
                "ql": f"{names['ql']}::BIGINT::HUGEINT + {names['el']}::BIGINT"}  # fmt: skip
        lanes += [f"CAST(CASE WHEN {column} IS NULL THEN NULL ELSE {s} END AS HUGEINT) AS {column}_{n}" for n, s in sums.items()]
    drop = ", ".join(names[n] for n, _ in steps)
    return f"SELECT * EXCLUDE ({drop}), {', '.join(lanes)}, {FLAGS.format(c=column)} AS {column}_f FROM ({query})"


def _first(where: int | None) -> str:
    return "first_all" if where is None else f"first_c{where}"


def _copy_ranks(firsts: Sequence[int | None], partition: str) -> str:
    """Columns that say whether an event is the first of its copies, among those that pass a WHERE."""
    ranks = []
    for where in firsts:
        passes = "TRUE" if where is None else f"c{where}"
        rank = f"row_number() OVER (PARTITION BY {partition}, ts, _id, {passes} ORDER BY _sequence, _offset)"
        ranks.append(f", ({passes} AND {rank} = 1) AS {_first(where)}")
    return "".join(ranks)


def sorted_plan(group: Group, *, events: str, spine: str) -> str:
    """Features as of t for each spine row, by one sort of events and spine together."""
    sql = _GroupSql(group, events)
    firsts, columns = sql.firsts(), sql.columns()
    ranked = f"SELECT *{_copy_ranks(firsts, ', '.join(sql.keys))} FROM ({sql.events()})"
    carried = [*columns, *map(_first, firsts)]
    keys = ", ".join(sql.keys)
    both = (
        f"SELECT {keys}, ts, NULL::BIGINT AS _row, {', '.join(carried)} FROM events UNION ALL BY NAME "
        f"SELECT {keys}, _t AS ts, _row FROM {spine}"
    )
    windows = {w: f"w{i}" for i, w in enumerate(dict.fromkeys(lane.window for lane in sql.lanes.all))}
    lanes = []
    for i, lane in enumerate(sql.lanes.all):
        condition = sql.condition(lane)
        filtered = f" FILTER (WHERE {' AND '.join(condition)})" if condition else ""
        lanes.append(f"{lane.aggregate.format(lane.column)}{filtered} OVER {windows[lane.window]} AS a{i}")
    frames = ", ".join(f"{name} AS (PARTITION BY {keys} ORDER BY ts {_frame(w)})" for w, name in windows.items())
    query = f"SELECT _row, {', '.join(lanes)} FROM ({both}) WINDOW {frames} QUALIFY _row IS NOT NULL"
    return f"WITH events AS MATERIALIZED ({ranked})\n{sql.finish(query)}"


def _frame(window: Window) -> str:
    lower = "UNBOUNDED PRECEDING" if window.lower is None else f"{window.lower} PRECEDING"
    upper = "CURRENT ROW" if window.upper == 0 else f"{window.upper} PRECEDING"
    return f"RANGE BETWEEN {lower} AND {upper}"


def joined_plan(group: Group, *, events: str, spine: str, known: str | None = None) -> str:
    """Features for each spine row from the events that it knew: `known` has `_row`, `_sequence`, `_highest`.

    Without `known`, all events count. Rows and events meet within a bucket of time as long as the longest window.
    """
    sql = _GroupSql(group, events)
    firsts, columns = sql.firsts(), sql.columns()
    keys = [f"s.{k} = e.{k}" for k in sql.keys]
    rows, on = f"SELECT *, NULL AS _sequence FROM {spine}", keys
    if known is not None:
        rows = f"SELECT s.*, _sequence, _highest FROM {spine} AS s JOIN {known} USING (_row)"
        on = [*on, "e._sequence = s._sequence", "e._offset <= s._highest"]
    reach = group.reach
    bucketed = sql.events()
    if reach is not None:
        size = max(reach, 1)
        rows = f"SELECT *, unnest([{_bucket('_t', size)}, {_bucket('_t', size)} - 1]) AS _bucket FROM ({rows})"
        bucketed = f"SELECT *, {_bucket('ts', size)} AS _bucket FROM ({bucketed})"
        on = [*on, "e._bucket = s._bucket", f"e.ts >= s._t - {reach}"]
    on.append("e.ts <= s._t")
    carried = ["e.ts", "e._sequence", "e._offset", "e._id", *(f"e.{c}" for c in columns)]
    pairs = f"SELECT s._row, s._t, {', '.join(dict.fromkeys(carried))} FROM ({rows}) AS s JOIN events AS e ON {' AND '.join(on)}"
    ranked = f"SELECT *{_copy_ranks(firsts, '_row')} FROM ({pairs})"
    lanes = []
    for i, lane in enumerate(sql.lanes.all):
        inside = [*sql.condition(lane), f"ts <= _t - {lane.window.upper}"]
        if lane.window.lower is not None:
            inside.append(f"ts >= _t - {lane.window.lower}")
        lanes.append(f"{lane.aggregate.format(lane.column)} FILTER (WHERE {' AND '.join(inside)}) AS a{i}")
    folded = f"SELECT _row, {', '.join(lanes)} FROM ({ranked}) GROUP BY _row"
    counts = [i for i, lane in enumerate(sql.lanes.all) if lane.aggregate.startswith("count")]
    zeros = ", ".join(f"coalesce(a{i}, 0) AS a{i}" for i in counts)
    every = f"SELECT _row, f.* EXCLUDE (_row){f' REPLACE ({zeros})' if zeros else ''} FROM {spine} LEFT JOIN ({folded}) AS f USING (_row)"
    return f"WITH events AS MATERIALIZED ({bucketed})\n{sql.finish(every)}"


def _bucket(time: str, size: int) -> str:
    return f"(({time} - ({TIMESTAMP_MIN})) // {size})"


def output_sql(plan: ServicePlan, *, spine: str, groups: Sequence[str]) -> str:
    """The service's features in the spine's order, from the group results and the spine.

    `spine` has `_row`, `event_timestamp` and the request columns; each of `groups` has `_row` and its refs.
    """
    columns = {f.ref: quote(f.ref) for g in plan.groups for f in g.features}
    columns |= {f"request.{f.name}": f"spine.{quote(f.name)}" for f in plan.request}
    columns["event_timestamp"] = "make_timestamp(spine._t)"
    outputs = ", ".join(f"{scalar(e, columns)} AS {quote(f.name)}" for f, e in zip(plan.features, plan.outputs, strict=True))
    joins = " ".join(f"JOIN {g} AS g{i} ON g{i}._row = spine._row" for i, g in enumerate(groups))
    return f"SELECT {outputs} FROM {spine} AS spine {joins} ORDER BY spine._row"
