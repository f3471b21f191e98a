"""Folding with the native kernel: a group of slots as the numbers that it takes; Python folds the slots that it lacks.

The kernel reads everything but LISTs and sketches; for what it reads see `supports`.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from onefold.features import ir
from onefold.features.errors import StateError
from onefold.features.parts import Part
from onefold.features.types import BOOLEAN, DOUBLE, VARCHAR, DataType

if TYPE_CHECKING:
    from onefold.features.compile_python import ValueErrors
    from onefold.features.fold import StateFold
    from onefold.features.layout import Layout, Slot

Columns = tuple[
    list[Sequence[Any]], list[list[bool]], list[dict[int, int]], list[int | None], list[int], dict[int, StateError]
]
_FUNCTIONS = {
    "count_star": 1, "count": 1, "sum": 2, "avg": 3, "var_pop": 4, "var_samp": 5, "stddev_pop": 6, "stddev_samp": 7,
    "bool_and": 8, "bool_or": 9, "min": 10, "max": 11, "count_distinct": 12, "min_by": 13, "max_by": 14,
    "first_value": 15, "last_value": 16,
}  # fmt: skip
_ALIKE = {3: 2, 5: 4, 6: 4, 7: 4}
"""Functions that are another end of one fold."""
_PARTS = {
    "count": 0,
    "squares": 3,
    "distinct": 4,
    "tally": 4,
    "min_by": 7,
    "max_by": 7,
    "first_value": 6,
    "last_value": 6,
}
_SUM, _SUM_OF_DOUBLES, _PLAIN = 1, 2, 5
_BOOL, _INT, _DOUBLE, _TEXT, _WIDE, _LIST = range(6)
_LONGEST_I64 = 18
_NO_TYPE = (0, 0, 0, 0, 0)
_SEED = hash("onefold") & (2**64 - 1)
"""Another one in each process, as Python's own."""


def supports(slot: Slot) -> bool:
    """Whether the kernel folds a slot; else Python does."""
    return slot.fn in _FUNCTIONS and (slot.fn == "count" or not any(t.is_list for t in slot.arg_types))


def _kind(kind: DataType) -> int:
    if kind.is_list:
        return _LIST
    return {BOOLEAN: _BOOL, DOUBLE: _DOUBLE, VARCHAR: _TEXT}.get(kind, _WIDE if kind.precision > _LONGEST_I64 else _INT)


def _type(kind: DataType) -> tuple[int, ...]:
    item = kind.item
    items = 0 if item is None else _WIDE if item.is_decimal else _kind(item)
    return _kind(kind), int(kind.is_decimal), kind.scale, items, int(item is not None and item.is_decimal)


def _part(part: Part) -> tuple[Any, ...]:
    kind = _PARTS.get(part.kind, _PLAIN)
    if part.kind == "sum":
        kind = _SUM_OF_DOUBLES if part.types[0] == DOUBLE else _SUM
    return (kind, *[*map(_type, part.types), _NO_TYPE, _NO_TYPE][:2])


def _window(window: ir.Window) -> tuple[int, ...]:
    skip, count = (-1, -1) if window.rows is None else window.rows
    return (
        int(window.lower is None), window.lower or 0, window.upper, window.resolution or 0, skip,
        -1 if count is None else count,
    )  # fmt: skip


class _Numbers:
    """Things by number, in order of first use."""

    def __init__(self) -> None:
        self._found: dict[Any, int] = {}

    def of(self, thing: Any) -> int:
        return self._found.setdefault(thing, len(self._found))

    def all(self) -> list[Any]:
        return list(self._found)


class _Specification:
    """What the kernel is told of a group."""

    def __init__(self, layout: Layout, slots: Sequence[Slot]) -> None:
        self._parts = layout.parts if layout.resolution is not None else ()
        self.windows, self.views, self.lanes = _Numbers(), _Numbers(), _Numbers()
        self.slots = [self._slot(s) for s in slots]
        self.jobs: list[int] = []
        latest: dict[Any, int] = {}
        for i, slot in enumerate(self.slots):
            function, _, view, _, *lanes = slot
            if not function:
                continue
            job = (_ALIKE.get(function, function), view, *lanes[:3])
            if job in latest:
                self.slots[latest[job]][-1] = i
            else:
                self.jobs.append(i)
            latest[job] = i

    def _slot(self, slot: Slot) -> list[Any]:
        view = self.views.of(-1 if slot.where is None else slot.where)
        window = self.windows.of(_window(slot.window))
        if not supports(slot):
            return [0, _NO_TYPE, view, window, -1, -1, -1, -1, -1]
        arg, other = (*(self.lanes.of((view, i)) for i in slot.args), -1, -1)[:2]
        filter_ = -1 if slot.filter is None else self.lanes.of((view, slot.filter))
        kind = _NO_TYPE if slot.arg_type is None else _type(slot.arg_type)
        part = self._parts.index(Part.of(slot)) if self._parts else -1
        return [_FUNCTIONS[slot.fn], kind, view, window, arg, other, filter_, part, -1]


class NativeFold:
    """Many states of a group at once. rest: a Python fold of the slots that the kernel lacks, None where it has all."""

    def __init__(self, plan: Any, slots: Sequence[Slot], rest: StateFold | None, errors: ValueErrors) -> None:
        self._read, self._rest, self._errors = plan.read, rest, errors
        self._places = [i for i, slot in enumerate(slots) if not supports(slot)]

    @classmethod
    def of(
        cls, kernel: ModuleType, layout: Layout, slots: Sequence[Slot], *, empty: list[Any], whole: list[bool],
        rest: StateFold | None, errors: ValueErrors,
    ) -> NativeFold:  # fmt: skip
        """empty: the values of no events. whole: the `partial` of none."""
        told = _Specification(layout, slots)
        listed = layout.has_ids or any(s.where is not None for s in slots)
        plan = kernel.Plan((
            [_type(t) for t in layout.types], layout.has_ids, told.windows.all(), told.views.all(), told.lanes.all(),
            [tuple(s) for s in told.slots], told.jobs, layout.resolution or 0, [_part(p) for p in layout.parts], listed,
            _SEED, tuple(empty), whole, StateError,
        ))  # fmt: skip
        return cls(plan, slots, rest, errors)

    def __call__(self, states: Sequence[bytes | None], times: Sequence[int]) -> Columns:
        """The parts of a Reading for each state at its time: values, partial, offsets, newest, events; and errors."""
        values, partial, offsets, newest, events, errors, value_errors = self._read(states, times)
        self._errors.count += value_errors
        if self._rest is not None:
            more = self._rest.apart(states, times)
            values = [self._joined(*pair) for pair in zip(values, more.values, strict=True)]
            errors = {**more.errors, **errors}
        return values, partial, offsets, newest, events, errors

    def _joined(self, values: Sequence[Any], more: Sequence[Any]) -> Sequence[Any]:
        found = list(values)
        for place, value in zip(self._places, more, strict=True):
            found[place] = value
        return found
