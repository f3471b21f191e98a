"""The shape of the work of one group: estimates from a sample, which choose its plan, and facts that shorten it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb

from onefold.features.duckdb_choice import Shape
from onefold.features.duckdb_group import prepared_events
from onefold.features.duckdb_newest import newest_slots
from onefold.features.duckdb_sums import ROOM
from onefold.features.facts import UNKNOWN, Facts, plain_columns, plain_items
from onefold.features.plans import Group
from onefold.features.types import DOUBLE

SAMPLED_ROWS, SAMPLED_EVENTS = 1_000, 100_000
SMALL = 20_000
"""Rows times events up to which every row is taken to meet every event, and nothing is looked at."""


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
    items = plain_items(group, [DOUBLE])
    look_for_ties = newest and bool(newest_slots(group))
    if look_for_ties:
        keys = [f"_k{i}" for i in range(len(group.layout.key_fields) or 1)]
        items.append(f"count(DISTINCT hash({', '.join([*keys, 'ts'])}))")
    if len(items) == 1:
        return UNKNOWN
    found = _one(db, f"SELECT {', '.join(items)} FROM ({prepared_events(group.layout, events)})")
    return Facts(plain_columns(group, found, room=ROOM), look_for_ties and found[-1] == found[0])


def _one(db: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    (found,) = db.execute(query).fetchall()
    return found
