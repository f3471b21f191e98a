"""DuckDB compiler, lanes: the plain aggregates that slots become.

A lane is an aggregate over a column of the prepared events; a plan decides whether it runs over a frame or over joined
pairs. `duckdb_finish` says which lanes a slot needs, and makes its value of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from onefold.features import ir
from onefold.features.layout import TIME, Slot
from onefold.features.steps import Number, Program


@dataclass(frozen=True, slots=True)
class Running:
    """What a lane adds up, apart from its window: an aggregate, as `sum({})`, of a column, filter and WHERE."""

    aggregate: str
    column: str
    slot_filter: int | None
    slot_where: int | None

    @property
    def adds(self) -> bool:
        """Whether the value over a window is a difference of two running ones."""
        return self.aggregate.startswith(("sum", "count")) and "DISTINCT" not in self.aggregate

    @property
    def ranks(self) -> bool:
        """Whether it is the rank of the newest event, which a running one gives too."""
        return self.column == "ord" and self.aggregate.startswith("max")


@dataclass(frozen=True, slots=True)
class Lane:
    """A plain aggregate over prepared events, for one window."""

    running: Running
    window: ir.Window


class Lanes:
    """The lanes that a group of slots needs, each once; `names[i]` is the column of lane i.

    plain: columns without NULL and, if DOUBLE, with nothing off the grid and room for their sum in one integer.
    """

    def __init__(self, program: Program, plain: frozenset[int] = frozenset()) -> None:
        self.program, self.plain = program, plain
        self._known: dict[Lane, int] = {}
        self.sums: set[int] = set()
        self.squares: set[int] = set()
        self.ranked: set[tuple[int, str]] = set()

    @property
    def all(self) -> list[Lane]:
        return list(self._known)

    def add(self, slot: Slot, aggregate: str, column: str) -> Number:
        lane = Lane(Running(aggregate, column, slot.filter, slot.where), slot.window)
        return self.program.column(f"a{self._known.setdefault(lane, len(self._known))}")


def prepared(index: int) -> str:
    """The name of a prepared column, or of the event time, in a relation of events."""
    return "ct" if index == TIME else f"c{index}"


def column_of(slot: Slot) -> str:
    assert slot.arg is not None
    return prepared(slot.arg)


def count_star(lanes: Lanes, slot: Slot) -> Number:
    return lanes.add(slot, "count({})", "ev")


def count_values(lanes: Lanes, slot: Slot) -> Number:
    if slot.arg in lanes.plain:
        return count_star(lanes, slot)
    return lanes.add(slot, "count({})", column_of(slot))
