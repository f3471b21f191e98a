"""What random cases reach: the classes of events, windows and values that a case has, counted by world."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from onefold.features import ir, oracle
from onefold.features.aggregates import SKETCH
from onefold.features.layout import Slot
from onefold.features.plans import Group
from onefold.features.types import TIMESTAMP_MAX, TIMESTAMP_MIN
from tests.parity.engines import Case
from tests.parity.strategies import WORLD
from tests.parity.values import PALETTES

_HOUR, _DAY = 3_600_000_000, 86_400_000_000
Placed = tuple[tuple[int, int], tuple[Any, ...]]
DISTINCT = ("approx_count_distinct", "distinct_sketch")
SPREADS = ("var_pop", "var_samp", "stddev_pop", "stddev_samp")


def reached(case: Case) -> Counter[str]:
    """How many worlds of the case have each class."""
    found: Counter[str] = Counter()
    names = [f.name for f in case.events["events"].fields]
    for world in range(case.count):
        events = [e for e in case.events["events"].rows if WORLD not in names or e[1][names.index(WORLD)] == world]
        rows = [(r, t) for r, t in zip(case.rows, case.times, strict=True) if r.get(WORLD, world) == world]
        classes = {*_of_definition(case), *_of_events(case, names, events), *_of_rows(case, names, events, rows)}
        found.update(classes)
    return found


def _of_definition(case: Case) -> Iterator[str]:
    """Classes that all worlds of a definition share."""
    for group in case.plan.groups:
        for slot in group.slots:
            yield f"aggregate {slot.fn}"
            yield from _of_slot(slot)
        for expr in (*group.layout.columns, *(f.expr for f in group.features)):
            yield from (f"function {n.op}" for n in ir.walk(expr) if isinstance(n, ir.Call))
    if len(case.plan.groups) > 1:
        yield "two groups"
    if any(f.inexact for f in case.plan.features):
        yield "inexact feature"
    if any(f.view == "made" for f in case.plan.features):
        yield "on-demand view"
    yield from (f"feature {f.type}" for f in case.plan.features)
    source = case.events["events"].source
    if source is not None:
        yield "branches"
        if any(b.values for b in source.branches):
            yield "branch that lacks a column"


def _of_slot(slot: Slot) -> Iterator[str]:
    window = slot.window
    if slot.filter is not None:
        yield "filter"
    if slot.where is not None:
        yield "where apart"
    if window.rows is not None:
        yield "frame of rows"
    elif window.lower is None:
        yield "lifetime"
    if window.resolution is not None:
        yield "whole buckets"
    if window.upper == 1:
        yield "exclude group"
    elif window.upper > 1:
        yield "delayed window"


def _of_events(case: Case, names: list[str], events: list[Placed]) -> Iterator[str]:
    """Classes of the events alone."""
    at, ident = names.index("at"), names.index("id")
    times = [values[at] for _, values in events]
    if not events:
        yield "no events"
    if times != sorted(times):
        yield "late event"
    if len({sequence for (sequence, _), _ in events}) > 1:
        yield "two sequences"
    keyed = Counter((values[0], values[1], values[at]) for _, values in events)
    if max(keyed.values(), default=0) > 1:
        yield "tie in time"
    copies = Counter((values[0], values[1], values[at], values[ident]) for _, values in events)
    if max(copies.values(), default=0) > 1 and case.plan.groups[0].layout.has_ids:
        yield "copy of an event"
    if times and all(t % _HOUR == 0 for t in times):
        yield "truncated times"
    if any(t in (TIMESTAMP_MIN, TIMESTAMP_MAX) for t in times):
        yield "end of time"
    if any(t < 0 for t in times):
        yield "before 1970"
    if any(None in values[:2] for _, values in events):
        yield "event with a NULL key"
    for i, field in enumerate(case.events["events"].fields):
        column = [values[i] for _, values in events]
        if len(column) > 1 and field.type in PALETTES and all(v is None for v in column):
            yield "all-NULL column"
        if any(isinstance(v, str) and not v.isascii() for v in column):
            yield "Unicode"
        if any(isinstance(v, float) and v and not 1e-15 < abs(v) < 1e15 for v in column):
            yield "tiny or huge DOUBLE"


def _of_rows(case: Case, names: list[str], events: list[Placed], rows: list[tuple[Any, int]]) -> Iterator[str]:
    """Classes of rows beside events, and of the values that come of it."""
    asked = set()
    for group in case.plan.groups:
        keys = group.layout.entity.key_names
        for row, t in rows:
            asked.add(tuple(row[k] for k in keys))
            own = group.row_event()(row, t) if group.request_row else None
            if None in (row[k] for k in keys):
                yield "row with a NULL key"
            mine = [e for e in events if all(row[k] == e[1][names.index(k)] is not None for k in keys)]
            if own is not None:
                yield "row of its own"
                if any((v[names.index("at")], v[names.index("id")]) == (t, row["id"]) for _, v in mine):
                    yield "row of its own that is there"
            yield from _of_row(group, names, mine, t)
        met = {tuple(values[names.index(k)] for k in keys) for _, values in events}
        if asked - met:
            yield "key of rows alone"
        if met - asked:
            yield "key of events alone"
        asked.clear()


def _of_row(group: Group, names: list[str], mine: list[Placed], t: int) -> Iterator[str]:
    at = names.index("at")
    mine = sorted((e for e in mine if e[1][at] <= t), key=lambda e: (e[1][at], e[0]))
    for slot in group.slots:
        first, last = slot.window.first(t), slot.window.last(t)
        times = [e[1][at] for e in mine]
        if first is not None and first in times:
            yield "event on a lower edge"
        if first is not None and first - 1 in times:
            yield "event before a lower edge"
        if last in times:
            yield "event on an upper edge"
        if first is not None and any(first <= ts < t - (slot.window.lower or 0) for ts in times):
            yield "event of a bucket that is taken whole"
        if times and not any(ts <= last and (first is None or ts >= first) for ts in times):
            yield "empty window of a key"
        value = oracle._slot(group.layout, slot, names, mine, t)
        if slot.fn in DISTINCT:
            yield from _of_distinct(value)
        if slot.fn in ("sum", "avg", *SPREADS):
            yield from _of_number("spread" if slot.fn in SPREADS else slot.fn, value, len(times))


def _of_distinct(value: Any) -> Iterator[str]:
    count = len(value) if isinstance(value, tuple) else value
    if count in (SKETCH - 1, SKETCH):
        yield "as many values as a sketch holds"
    if not isinstance(value, tuple) and count > SKETCH:
        yield "more values than a sketch holds"


def _of_number(what: str, value: Any, n: int) -> Iterator[str]:
    if value is None and n:
        yield f"{what} is NULL of events"
    elif isinstance(value, float):
        yield f"{what} is {'a number' if math.isfinite(value) and value else 'zero' if not value else 'not finite'}"
