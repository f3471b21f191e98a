"""Spark compiler, lanes: the plain aggregates that slots are made of, each once, and the columns that they read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from string import Formatter

from onefold.features import ir
from onefold.features.layout import Slot
from onefold.features.spark_scalar import double
from onefold.features.steps import Number, Program


class Kind(Enum):
    """How the value of a lane over a window is found."""

    ADDS = "the difference of two growing frames"
    NEWEST = "a growing frame; the newest event's time says whether it lies in the window"
    WITHIN = "the window itself"


@dataclass(frozen=True, slots=True)
class Running:
    """What a lane adds up, apart from its window: an aggregate, as `sum({})`, of a column, filter and WHERE."""

    aggregate: str
    column: str
    kind: Kind
    slot_filter: int | None
    slot_where: int | None


@dataclass(frozen=True, slots=True)
class Lane:
    """A plain aggregate over prepared events, for one window."""

    running: Running
    window: ir.Window


class Lanes:
    """The lanes that a group of slots needs, each once; lane i is column `a{i}`.

    program: the steps that finish them. events: the steps that make the columns that they read, `columns`, of events.
    plain: columns without NULL whose magnitudes add up to less than `ROOM`.
    """

    def __init__(self, plain: frozenset[int] = frozenset()) -> None:
        self.plain = plain
        self.program, self.events = Program(double), Program(double)
        self._known: dict[Lane, int] = {}
        self.columns: dict[str, str] = {}

    @property
    def all(self) -> list[Lane]:
        return list(self._known)

    def add(self, slot: Slot, aggregate: str, column: str, kind: Kind = Kind.ADDS) -> Number:
        lane = Lane(Running(aggregate, column, kind, slot.filter, slot.where), slot.window)
        return self.program.column(f"a{self._known.setdefault(lane, len(self._known))}")

    def need(self, slot: Slot, lanes: Mapping[str, str], steps: Mapping[str, str]) -> None:
        """Have the columns of these lanes made of the slot's argument, by steps."""
        column = column_of(slot)
        made = {"c": self.events.column(column)}
        for name, sql in steps.items():
            made[name] = self._step(sql, made)
        self.columns |= {f"{column}_{name}": self._step(sql, made).sql for name, sql in lanes.items()}

    def _step(self, sql: str, made: Mapping[str, Number]) -> Number:
        used = list(dict.fromkeys(name for _, name, _, _ in Formatter().parse(sql) if name))
        return self.events.let(sql.format(**{n: f"{{{i}}}" for i, n in enumerate(used)}), *(made[n] for n in used))


def prepared(index: int) -> str:
    """The name of a prepared column, or of the event time, in a relation of events."""
    return "ct" if index < 0 else f"c{index}"


def column_of(slot: Slot) -> str:
    assert slot.arg is not None
    return prepared(slot.arg)


def count_star(lanes: Lanes, slot: Slot) -> Number:
    return lanes.add(slot, "count({})", "ev")


def count_values(lanes: Lanes, slot: Slot) -> Number:
    if slot.arg in lanes.plain:
        return count_star(lanes, slot)
    return lanes.add(slot, "count({})", column_of(slot))
