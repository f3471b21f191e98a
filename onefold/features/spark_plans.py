"""Spark compiler, plans: the SQL that gives a group's features for each row of a spine. Both are equal in value.

- `framed_plan`: events and rows meet in one relation, which is shuffled once by the keys and a bucket of time, and
  sorted once by time. What adds up runs over growing frames, whose difference a window is: an event is added once
  for each end of a window, however long it is. What does not add up (min, max, first) runs over the window itself.
- `joined_plan`: rows meet their events in a join, within a bucket. For rows that each know of other events, as those
  of served vectors do.

Rows come as a relation with `_row`, `_t` (BIGINT, microseconds), the keys `_k0`, `_k1`, .. and a struct `_s` of what is
carried along; plans give the fields of `_s` and the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onefold.features import edges
from onefold.features.copies import copy_ranks
from onefold.features.facts import UNKNOWN, Facts, plain_items
from onefold.features.ir import Window
from onefold.features.plans import Group, ServicePlan
from onefold.features.spark_choice import Needs
from onefold.features.spark_group import GroupSql, prepared_events
from onefold.features.spark_lanes import Kind, Lane, Running
from onefold.features.spark_scalar import quote, scalar
from onefold.features.types import BIGINT, DOUBLE, TIMESTAMP_MIN
from onefold.features.windows import LONGEST

BUCKETS = 4
"""How many times the longest window a bucket is long: an event in so many is in two of them."""
SHORTEST = 86_400_000_000
"""No bucket is shorter than a day."""


def bucket_size(group: Group) -> int | None:
    """The length of the buckets of a group in microseconds; None where a lifetime needs all of a key in one place."""
    reach = group.reach
    return None if reach is None or reach * BUCKETS > LONGEST else max(BUCKETS * reach, SHORTEST)


def framed_plan(
    group: Group, *, events: str, rows: str, size: int | None, dense: bool = False, facts: Facts = UNKNOWN
) -> str:
    """Features as of t for each row, by one shuffle and one sort of events and rows together.

    dense: windows hold many events of a key; min and max then take a second sort, and no longer for longer windows.
    """
    sql = GroupSql(group, events, size=size, facts=facts)
    place, columns = ", ".join(sql.place), sql.columns()
    of_events = f"SELECT {place}, {', '.join(columns)}, NULL AS _row, NULL AS _t, NULL AS _s FROM ({sql.events()})"
    nothing = ", ".join("_t AS ts" if c == "ts" else "NULL" for c in columns)
    of_rows = (
        f"SELECT {', '.join(sql.keys)}{', ' if sql.keys else ''}{sql.row_bucket()}, {nothing}, _row, _t, _s FROM {rows}"
    )
    both = f"SELECT * FROM ({of_events} UNION ALL {of_rows}) DISTRIBUTE BY {place}"
    ranked = _placed(sql, f"SELECT *{copy_ranks(sql.firsts(), place)} FROM ({both})")
    frames = _Frames(sql, dense=dense)
    lanes = [f"{frames.lane(lane)} AS a{i}" for i, lane in enumerate(sql.lanes.all)]
    orders = f"{', -ts AS back' if dense else ''}{frames.orders()}"
    ordered = f"SELECT *{orders} FROM ({ranked})" if orders else ranked
    found = f"SELECT _row, _t, _s, {', '.join(frames.items())} FROM ({ordered}) WINDOW {frames.windows()}"
    return sql.finish(f"SELECT _t, _s, {', '.join(lanes)} FROM ({found}) WHERE _row IS NOT NULL")


def _placed(sql: GroupSql, both: str) -> str:
    """Events with their places among those that frames of rows count, and rows with that of the newest one they see."""
    place, orders = ", ".join(sql.place), rank_orders(sql)
    if not orders:
        return both
    counted = {passes: f"n{i}" for i, passes in enumerate(dict.fromkeys(passes for _, passes in orders))}
    numbers = [
        f", CASE WHEN ev IS NOT NULL AND {passes} THEN row_number() OVER "
        f"(PARTITION BY {place}, ev IS NOT NULL AND {passes} ORDER BY ts, _sequence, _offset) END AS {name}"
        for passes, name in counted.items()
    ]
    ranks = [
        f", CASE WHEN _row IS NULL THEN {counted[passes]} ELSE count({counted[passes]}) OVER "
        f"(PARTITION BY {place} ORDER BY ts {_frame(None, upper)}) END AS {name}"
        for (upper, passes), name in orders.items()
    ]
    return f"SELECT *{''.join(ranks)} FROM (SELECT *{''.join(numbers)} FROM ({both}))"


def rank_orders(sql: GroupSql) -> dict[tuple[int, str], str]:
    """The columns of the places that frames of rows go by: per upper bound and condition."""
    lanes = [lane for lane in sql.lanes.all if lane.window.rows is not None]
    pairs = dict.fromkeys((lane.window.upper, sql.passes(lane.running.slot_where)) for lane in lanes)
    return {pair: f"k{i}" for i, pair in enumerate(pairs)}


def fits_frames(group: Group) -> bool:
    """Whether `framed_plan` can take it: a frame has fixed ends, and whole buckets from t have not."""
    lanes = GroupSql(group, "", size=None).lanes.all
    return not any(lane.window.resolution is not None and lane.running.kind == Kind.WITHIN for lane in lanes)


_EXTREMES = {"min({})": ("least", True), "max({})": ("greatest", False)}


class _Frames:
    """The frames of a group's lanes, and the lanes over them: each end of a window and each window once."""

    def __init__(self, sql: GroupSql, *, dense: bool) -> None:
        self._sql, self._orders, self._dense = sql, rank_orders(sql), dense
        self._names: dict[str, str] = {}
        self._items: dict[str, str] = {}
        self._orders_by_bucket: dict[str, str] = {}

    def lane(self, lane: Lane) -> str:
        """The value of a lane over its window, from columns that `items` gives."""
        running, window = lane.running, lane.window
        lower, upper, order = window.lower, window.upper, "ts"
        if window.rows is not None:
            upper, count = window.rows
            lower = None if count is None else upper + count - 1
            order = self._orders[window.upper, self._sql.passes(running.slot_where)]
        if self._dense and lower is not None and order == "ts" and running.aggregate in _EXTREMES:
            return self._extreme(running, lower, upper)
        if running.kind == Kind.WITHIN or (running.kind == Kind.NEWEST and window.rows is not None):
            return self._over(running, order, lower, upper)
        end = self._before_bucket(running, window, upper) if window.delayed else self._over(running, order, None, upper)
        if running.kind == Kind.NEWEST:
            return end if lower is None else f"CASE WHEN {end}.t >= {edges.first(window, '_t', 'L')} THEN {end} END"
        if lower is None:
            return f"coalesce({end}, 0L)"
        whole = window.resolution is not None
        start = self._before_bucket(running, window, lower) if whole else self._over(running, order, None, lower + 1)
        return f"(coalesce({end}, 0L) - coalesce({start}, 0L))"

    def _before_bucket(self, running: Running, window: Window, back: int) -> str:
        """The lane over all before the bucket that holds t - back: over an order in which rows stand where a bucket
        begins, so many whole buckets later."""
        size = window.resolution
        assert size is not None
        part = back % size
        name = self._orders_by_bucket.setdefault(
            f"CASE WHEN _row IS NULL THEN ts ELSE {edges.begin(f'(ts - {part}L)', f'{size}L')} END",
            f"b{len(self._orders_by_bucket)}",
        )
        return self._over(running, name, None, back - part + 1)

    def orders(self) -> str:
        """Further columns that frames are ordered by."""
        return "".join(f", {sql} AS {name}" for sql, name in self._orders_by_bucket.items())

    def _extreme(self, running: Running, lower: int, upper: int) -> str:
        """min or max over blocks as long as the window: it is the end of one block and the beginning of the next.

        The newest block so far comes first in one order, forward in time, and the oldest in the other, backward.
        """
        block = f"({{}} - ({TIMESTAMP_MIN - LONGEST}L)) DIV {lower - upper + 1}L"
        pick, least = _EXTREMES[running.aggregate]
        older, newer = ("-", "") if least else ("", "-")
        begins = self._block(running, f"{older}({block.format('ts')})")
        ends = self._block(running, f"{newer}({block.format('ts')})")
        head = self._in(begins, f"ORDER BY ts {_frame(None, upper)}")
        tail = self._in(ends, f"ORDER BY back RANGE BETWEEN UNBOUNDED PRECEDING AND {lower}L FOLLOWING")
        at_head = f"{head}.b = {older}({block.format(f'(_t - {upper}L)')})"
        at_tail = f"{tail}.b = {newer}({block.format(f'(_t - {lower}L)')})"
        return f"{pick}(CASE WHEN {at_head} THEN {head}.x END, CASE WHEN {at_tail} THEN {tail}.x END)"

    def _block(self, running: Running, block: str) -> str:
        pair = f"CASE WHEN {running.column} IS NOT NULL THEN struct({block} AS b, {running.column} AS x) END"
        return self._sql.aggregate(replace(running, column=pair))

    def _over(self, running: Running, order: str, lower: int | None, upper: int) -> str:
        return self._in(self._sql.aggregate(running), f"ORDER BY {order} {_frame(lower, upper)}")

    def _in(self, aggregate: str, frame: str) -> str:
        name = self._names.setdefault(frame, f"w{len(self._names)}")
        return self._items.setdefault(f"{aggregate} OVER {name}", f"r{len(self._items)}")

    def items(self) -> list[str]:
        return [f"{sql} AS {name}" for sql, name in self._items.items()]

    def windows(self) -> str:
        place = ", ".join(self._sql.place)
        return ", ".join(f"{name} AS (PARTITION BY {place} {frame})" for frame, name in self._names.items())


def _frame(lower: int | None, upper: int) -> str:
    start = "UNBOUNDED PRECEDING" if lower is None else "CURRENT ROW" if lower == 0 else f"{lower}L PRECEDING"
    return f"RANGE BETWEEN {start} AND {'CURRENT ROW' if upper == 0 else f'{upper}L PRECEDING'}"


def needs_of(group: Group) -> Needs:
    """What the lanes of a group ask of the plan that `choose` picks."""
    lanes = GroupSql(group, "", size=None).lanes.all
    growing, extremes, others = set(), set(), set()
    for lane in lanes:
        running, window = lane.running, lane.window
        if running.kind != Kind.WITHIN and window.rows is None:
            growing |= {(running, window.upper), (running, window.lower)}
        elif running.aggregate in _EXTREMES and window.rows is None and window.lower is not None:
            extremes.add(lane)
        else:
            others.add(lane)
    return Needs(len(growing), len(extremes), len(others))


def facts_sql(group: Group, events: str, rows: str) -> str:
    """How many rows there are, and what `facts.plain_columns` reads, from one pass over the events."""
    prepared = prepared_events(group.layout, events)
    items = ", ".join(plain_items(group, [DOUBLE, BIGINT]))
    return f"SELECT (SELECT count(*) FROM {rows}), {items} FROM ({prepared})"


def sample_sql(group: Group, events: str, rows: str, *, nth_event: int, nth_row: int) -> str:
    """Of one event and one row in so many, by a hash: the rows, their pairs with these events within reach; the events
    of the most frequent key, and the most that one key has in as long as the reach."""
    keys = ", ".join(f"_k{i}" for i in range(len(group.layout.key_fields))) or "0L AS _k0"
    names = keys.replace("0L AS ", "")
    block = "0L" if group.reach is None else f"ts DIV {group.reach + 1}L"
    near = "t >= ts" if group.reach is None else f"t >= ts AND t - {group.reach}L <= ts"
    return (
        f"WITH e AS (SELECT {keys}, ts FROM ({prepared_events(group.layout, events)}) "
        f"WHERE pmod(xxhash64(_sequence, _offset), {nth_event}L) = 0), "
        f"s AS (SELECT {keys}, collect_list(_t) AS times FROM {rows} "
        f"WHERE pmod(xxhash64(_row), {nth_row}L) = 0 GROUP BY ALL), "
        f"b AS (SELECT {names}, {block} AS b, count(*) AS n FROM e GROUP BY ALL), "
        f"k AS (SELECT {names}, sum(n) AS n, max(n) AS densest FROM b GROUP BY ALL) "
        "SELECT (SELECT sum(size(times)) FROM s), "
        f"(SELECT sum(size(filter(times, t -> {near}))) FROM s JOIN e USING ({names})), max(n), max(densest) FROM k"
    )


def joined_plan(
    group: Group,
    *,
    events: str,
    rows: str,
    size: int | None,
    known: tuple[str, str] | None = None,
    facts: Facts = UNKNOWN,
) -> str:
    """Features for each row from the events that it is joined with.

    known: two names: of the column of rows that holds an array with the highest offset that the row knew of each
    sequence (by number); and of the column that is to say how many other events there were as of t, within reach. They
    do not count.
    """
    sql = GroupSql(group, events, size=size, rows=rows, facts=facts)
    columns, reach = sql.columns(), group.reach
    on = [f"r.{k} = e.{k}" for k in sql.place] + ["e.ts <= r._t"]
    if reach is not None:
        on.append(f"e.ts >= r._t - {reach}L")
    if sql.with_rows:
        on.append("(e._only IS NULL OR e._only = r._row)")
    own = "e._only IS NOT NULL OR " if sql.with_rows else ""
    knew = f"({own}coalesce(e._offset <= try_element_at(r._s.{known[0]}, e._sequence + 1), FALSE))" if known else "TRUE"
    placed = f"SELECT *, {sql.row_bucket()} AS _bucket FROM {rows}"
    mine = ", ".join(f"r.{c} AS {c}" for c in [*sql.place, "_row", "_t", "_s"])
    pairs = (
        f"SELECT {mine}, {knew} AS _known, {', '.join(f'e.{c} AS {c}' for c in columns)} "
        f"FROM ({placed}) AS r LEFT JOIN ({sql.events()}) AS e ON {' AND '.join(on)}"
    )
    group_by = ", ".join([*sql.place, "_row"])
    ranked = f"SELECT *{copy_ranks(sql.firsts(), f'{group_by}, _known')} FROM ({pairs})"
    newest = [
        f", row_number() OVER (PARTITION BY {group_by}, _known, {passes}, ts <= _t - {upper}L "
        f"ORDER BY ts DESC, _sequence DESC, _offset DESC) AS {name}"
        for (upper, passes), name in rank_orders(sql).items()
    ]
    if newest:
        ranked = f"SELECT *{''.join(newest)} FROM ({ranked})"
    lanes = [f"{_joined_lane(sql, lane, known=known is not None)} AS a{i}" for i, lane in enumerate(sql.lanes.all)]
    if known is not None:
        lanes.append(f"count(CASE WHEN NOT _known THEN ev END) AS {known[1]}")
    folded = f"SELECT any_value(_t) AS _t, any_value(_s) AS _s, {', '.join(lanes)} FROM ({ranked}) GROUP BY {group_by}"
    return sql.finish(folded, extra=[known[1]] if known is not None else [])


def _joined_lane(sql: GroupSql, lane: Lane, *, known: bool) -> str:
    inside = [f"ts <= {edges.last(lane.window, '_t', 'L')}", *(["_known"] if known else [])]
    first = edges.first(lane.window, "_t", "L")
    if first is not None:
        inside.append(f"ts >= {first}")
    if lane.window.rows is not None:
        skip, count = lane.window.rows
        place = rank_orders(sql)[lane.window.upper, sql.passes(lane.running.slot_where)]
        inside.append(f"{place} > {skip}" if count is None else f"{place} BETWEEN {skip + 1} AND {skip + count}")
    found = sql.aggregate(lane.running, *inside)
    return f"coalesce({found}, 0L)" if lane.running.kind == Kind.ADDS else found


def rows_sql(group: Group, relation: str) -> str:
    """The rows of a group, from a relation of `_row`, `_t`, spine columns and what earlier groups have found."""
    keys = "".join(f", {quote(f.name)} AS _k{i}" for i, f in enumerate(group.layout.key_fields))
    return f"SELECT _row, _t{keys}, struct(*) AS _s FROM {relation}"


def output_sql(plan: ServicePlan, relation: str, *, late: Sequence[str] | None = None) -> str:
    """`_row` and the service's features, from the relation that the last group gave.

    late: the columns that count what a row did not know; a last column `_late` adds them up.
    """
    columns = {f.ref: quote(f.ref) for g in plan.groups for f in g.features}
    columns |= {f"request.{f.name}": quote(f.name) for f in plan.request}
    columns["event_timestamp"] = "timestamp_micros(_t)"
    outputs = [f"{scalar(e, columns)} AS {quote(f.name)}" for f, e in zip(plan.features, plan.outputs, strict=True)]
    if late is not None:
        outputs.append(f"{' + '.join(late) or '0L'} AS _late")
    return f"SELECT _row, {', '.join(outputs)} FROM {relation}"
