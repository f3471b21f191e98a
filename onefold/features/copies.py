"""Which events count: copies, rows that are events themselves, WHERE and filters, in SQL that both engines read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from onefold.features.layout import Layout
from onefold.features.plans import Group

LAST_SEQUENCE = 2**31 - 1
"""A row that is an event of its own stands behind all others at its time."""


def first(where: int | None) -> str:
    return "first_all" if where is None else f"first_c{where}"


def copy_ranks(firsts: Sequence[int | None], partition: str) -> str:
    """Columns that say whether an event is the first of its copies, among those that pass a WHERE."""
    ranks = []
    for where in firsts:
        passes = "TRUE" if where is None else f"c{where}"
        rank = f"row_number() OVER (PARTITION BY {partition}, ts, _id, {passes} ORDER BY _sequence, _offset)"
        ranks.append(f", ({passes} AND {rank} = 1) AS {first(where)}")
    return "".join(ranks)


class Summed(Protocol):
    """What a lane adds up, apart from its window: an aggregate, as `sum({})`, of a column, filter and WHERE."""

    @property
    def aggregate(self) -> str: ...
    @property
    def column(self) -> str: ...
    @property
    def slot_filter(self) -> int | None: ...
    @property
    def slot_where(self) -> int | None: ...


class Counted:
    """Which events of a group its lanes count."""

    group: Group
    layout: Layout

    def firsts(self) -> list[int | None]:
        """The WHEREs that copies are judged after; empty where the source has no ids."""
        if not self.layout.has_ids:
            return []
        return sorted({s.where for s in self.group.slots}, key=lambda w: (w is not None, w))

    def passes(self, where: int | None) -> str:
        """The condition that an event passes a WHERE, and is the first of its copies that does."""
        if self.layout.has_ids:
            return first(where)
        return "TRUE" if where is None else f"c{where}"

    def aggregate(self, running: Summed, *also: str) -> str:
        """The aggregate of a lane with its filter, and with further conditions.

        A CASE in place of FILTER: DuckDB 2.0 takes 80 times as long for a running FILTER.
        """
        conditions = [f"c{running.slot_filter}"] if running.slot_filter is not None else []
        if self.layout.has_ids or running.slot_where is not None:
            conditions.append(self.passes(running.slot_where))
        conditions += also
        column = running.column if not conditions else f"CASE WHEN {' AND '.join(conditions)} THEN {running.column} END"
        return running.aggregate.replace("{}", column)
