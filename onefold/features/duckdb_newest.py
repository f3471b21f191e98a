"""DuckDB compiler, newest events: `last_value` by one ASOF join that carries all columns."""

from __future__ import annotations

from collections.abc import Sequence

from onefold.features import edges
from onefold.features.duckdb_group import GroupSql
from onefold.features.duckdb_lanes import prepared
from onefold.features.layout import Slot
from onefold.features.plans import Group


def newest_slots(group: Group) -> tuple[int, ...]:
    """The slots that take a value of the newest event in a range of time."""
    return tuple(i for i, s in enumerate(group.slots) if s.fn == "last_value" and s.window.rows is None)


def newest_values(sql: GroupSql, slots: Sequence[int], spine: str) -> str:
    """`_row`, `_t` and the values `v*` of these slots, from a relation `events`: an ASOF join for each set of events
    (those that a WHERE and a filter let through) and end of a window."""
    joins: dict[tuple[int | None, int | None, str], list[int]] = {}
    for i in slots:
        slot = sql.group.slots[i]
        joins.setdefault((slot.where, slot.filter, edges.last(slot.window, "s._t")), []).append(i)
    items, sides = [], []
    for n, ((where, filter_, last), members) in enumerate(joins.items()):
        passing = _passing(sql, where, filter_, [sql.group.slots[i] for i in members])
        on = [*(f"s.{k} = e{n}.{k}" for k in sql.keys), f"{last} >= e{n}.ts"]
        sides.append(f"ASOF LEFT JOIN ({passing}) AS e{n} ON {' AND '.join(on)}")
        items += [f"{_value(sql.group.slots[i], f'e{n}')} AS v{i}" for i in members]
    return f"SELECT s._row, s._t, {', '.join(items)} FROM {spine} AS s {' '.join(sides)}"


def _passing(sql: GroupSql, where: int | None, filter_: int | None, slots: Sequence[Slot]) -> str:
    """The events that a WHERE and a filter let through; of one key and time the last only."""
    conditions = [f"c{filter_}"] if filter_ is not None else []
    if sql.layout.has_ids or where is not None:
        conditions.append(sql.passes(where))
    columns = dict.fromkeys([*sql.keys, "ts", *(prepared(s.args[0]) for s in slots)])
    query = f"SELECT {', '.join(columns)} FROM events"
    if conditions:
        query += f" WHERE {' AND '.join(conditions)}"
    if not sql.facts.unique:
        last = f"PARTITION BY {', '.join([*sql.keys, 'ts'])} ORDER BY _sequence DESC, _offset DESC"
        query += f" QUALIFY row_number() OVER ({last}) = 1"
    return query


def _value(slot: Slot, event: str) -> str:
    column = f"{event}.{prepared(slot.args[0])}"
    first = edges.first(slot.window, "s._t")
    return column if first is None else f"CASE WHEN {event}.ts >= {first} THEN {column} END"
