"""Copies of one event, and rows that are events themselves: the SQL in which both engines agree."""

from __future__ import annotations

from collections.abc import Sequence

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
