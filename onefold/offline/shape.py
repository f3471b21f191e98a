"""The shape of the work of one group: estimates from a sample, which choose its plan, and facts that shorten it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb

from onefold.features.duckdb_choice import Shape
from onefold.features.duckdb_group import Facts, prepared_events
from onefold.features.duckdb_lanes import ROOM
from onefold.features.duckdb_newest import newest_slots
from onefold.features.plans import Group
from onefold.features.types import DOUBLE

SAMPLED_ROWS, SAMPLED_EVENTS = 1_000, 100_000
SMALL = 20_000
"""Rows times events up to which every row is taken to meet every event, and nothing is looked at."""
_COUNTED = ("count", "sum", "avg", "var_pop", "var_samp", "stddev_pop", "stddev_samp", "bool_and", "bool_or")


@dataclass(frozen=True, slots=True)
class Look:
    """What a sample says: the shape, and the share of the events that the most frequent key has."""

    shape: Shape
    largest: float = 0.0


def look(db: duckdb.DuckDBPyConnection, group: Group, *, events: str, spine: str, rows: int) -> Look:
    """Estimates from one row in so many and one event in so many, chosen by a hash, so that a plan is chosen again."""
    total = _one(db, f"SELECT count(*) FROM {events}")[0]
    if rows * total <= SMALL:
        return Look(Shape(rows, total, float(total)))
    nth_row, nth_event = max(1, rows // SAMPLED_ROWS), max(1, total // SAMPLED_EVENTS)
    keys = [f"_k{i}" for i in range(len(group.layout.key_fields) or 1)]
    near = [f"s.{k} = e.{k}" for k in keys]
    if group.reach is not None:
        near.append(f"e.ts BETWEEN s._t - {group.reach * 5 // 4 + 1} AND s._t + {group.reach // 4 + 1}")
    mine = ", ".join([*keys, "ts"])
    largest = f"SELECT max(n) FROM (SELECT count(*) AS n FROM e GROUP BY {', '.join(keys)})"
    passing, asked, met, most = _one(
        db,
        f"WITH e AS MATERIALIZED (SELECT {mine} FROM ({prepared_events(group.layout, events)}) "
        f"WHERE hash(_sequence, _offset) % {nth_event} = 0), "
        f"s AS MATERIALIZED (SELECT * FROM {spine} WHERE hash(_row) % {nth_row} = 0) "
        f"SELECT (SELECT count(*) FROM e), (SELECT count(*) FROM s), "
        f"(SELECT count(*) FROM s JOIN e ON {' AND '.join(near)}), ({largest})",
    )
    shape = Shape(rows, passing * nth_event, met * nth_event / max(asked, 1))
    return Look(shape, (most or 0) / max(passing, 1))


def facts(db: duckdb.DuckDBPyConnection, group: Group, *, events: str, newest: bool) -> Facts:
    """One pass over the events for what makes lanes and sorts unneeded. newest: whether ASOF joins are next."""
    asked = sorted({s.args[0] for s in group.slots if s.fn in _COUNTED and s.args[0] >= 0})
    items = ["count(*)"]
    for arg in asked:
        greatest = f"max(abs(c{arg}))" if group.layout.columns[arg].type == DOUBLE else "0.0"
        items += [f"count(c{arg})", greatest]
    look_for_ties = newest and bool(newest_slots(group))
    if look_for_ties:
        keys = [f"_k{i}" for i in range(len(group.layout.key_fields) or 1)]
        items.append(f"count(DISTINCT hash({', '.join([*keys, 'ts'])}))")
    if len(items) == 1:
        return Facts()
    found = _one(db, f"SELECT {', '.join(items)} FROM ({prepared_events(group.layout, events)})")
    total = found[0]
    plain = {
        arg for i, arg in enumerate(asked) if found[2 * i + 1] == total and (found[2 * i + 2] or 0.0) * total < ROOM
    }
    return Facts(frozenset(plain), look_for_ties and found[-1] == total)


def _one(db: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    (found,) = db.execute(query).fetchall()
    return found
