"""The oracle: a plain evaluator that judges every engine. For each row it looks at every event; nothing is clever.

Sums and variances go through fractions and integers; what a value means otherwise is written in `functions`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from onefold.features import exact, ir
from onefold.features.aggregates import MILLION, SKETCH
from onefold.features.compile_python import compile_expr
from onefold.features.layout import TIME, Layout, Slot
from onefold.features.plans import Group, ServicePlan
from onefold.features.types import BIGINT, BIGINT_MAX, BIGINT_MIN, DOUBLE

Event = tuple[tuple[int, int], Sequence[Any]]
"""((sequence, offset), values in the source's schema order)."""


def evaluate(
    plan: ServicePlan, events: Mapping[str, Sequence[Event]], rows: Sequence[Mapping[str, Any]], times: Sequence[int]
) -> list[tuple[Any, ...]]:
    """The service's values for each row (join keys and request columns to values) at each time (microseconds)."""
    output = plan.outputter()
    found = []
    for row, t in zip(rows, times, strict=True):
        values: list[Any] = []
        for group in plan.groups:
            values += _group(group, events.get(group.source, ()), row, t)
        values += [row[f.name] for f in plan.request]
        found.append(output([*values, t]))
    return found


def _group(group: Group, events: Sequence[Event], row: Mapping[str, Any], t: int) -> list[Any]:
    layout = group.layout
    names = [f.name for f in layout.source.fields]
    time_at = names.index(layout.source.event_time)
    mine = [e for e in events if _same_key(layout, names, e, row) and e[1][time_at] <= t]
    mine.sort(key=lambda e: (e[1][time_at], e[0]))
    if group.request_row and all(row[k] is not None for k in layout.entity.key_names):
        given = {f.name for f in (*group.row_fields, *layout.key_fields)}
        mine.append(((0, 0), [t if i == time_at else row[n] if n in given else None for i, n in enumerate(names)]))
    slots = [_slot(layout, slot, names, mine, t) for slot in group.slots]
    return list(group.finisher()(slots, t))


def _same_key(layout: Layout, names: Sequence[str], event: Event, row: Mapping[str, Any]) -> bool:
    keys = layout.entity.key_names
    return all(row[k] is not None and event[1][names.index(k)] == row[k] for k in keys)


def _slot(layout: Layout, slot: Slot, names: Sequence[str], events: Sequence[Event], t: int) -> Any:
    positions = {name: i for i, name in enumerate(names)}
    time_at = positions[layout.source.event_time]

    def value(index: int, event: Event) -> Any:
        if index == TIME:
            return event[1][time_at]
        return compile_expr(layout.columns[index], positions)(event[1])

    passed = [e for e in events if slot.where is None or value(slot.where, e) is True]
    if layout.source.event_id is not None:
        passed = _without_copies(passed, time_at, positions[layout.source.event_id])
    inside = [e for e in passed if _in_window(slot.window, e[1][time_at], t)]
    if slot.window.rows is not None:
        skip, count = slot.window.rows
        newest_first = inside[::-1][skip:]
        inside = newest_first[:count][::-1]
    kept = [e for e in inside if slot.filter is None or value(slot.filter, e) is True]
    if len(slot.args) > 1:
        return of_pairs(slot, [tuple(value(a, e) for a in slot.args) for e in kept])
    xs = [value(slot.args[0], e) if slot.args else 1 for e in kept]
    return aggregate(slot, xs)


def _without_copies(events: Sequence[Event], time_at: int, id_at: int) -> list[Event]:
    """Of the events with one (ts, id), the one of least position; they come in order of (ts, position)."""
    kept: list[Event] = []
    seen = set()
    for event in events:
        copy = (event[1][time_at], event[1][id_at])
        if copy not in seen:
            seen.add(copy)
            kept.append(event)
    return kept


def _in_window(window: ir.Window, ts: int, t: int) -> bool:
    if window.resolution is not None:
        return _in_buckets(window, ts, t, window.resolution)
    return ts <= t - window.upper and (window.lower is None or ts >= t - window.lower)


def _in_buckets(window: ir.Window, ts: int, t: int, size: int) -> bool:
    """Buckets by number: from that of t - lower on, and up to t, or before that of t - upper."""
    bucket = ts // size
    if window.lower is not None and bucket < (t - window.lower) // size:
        return False
    return bucket < (t - window.upper) // size if window.upper else ts <= t


def aggregate(slot: Slot, xs: Sequence[Any]) -> Any:
    """The value of an aggregate over all values that its window and filter let through, in order."""
    present = [x for x in xs if x is not None]
    match slot.fn:
        case "count_star":
            return len(xs)
        case "count":
            return len(present)
        case "count_distinct":
            return len({None if x != x else x for x in present})
        case "array_agg":
            return tuple(xs)
        case "last_n":
            return tuple(xs[-slot.params[0] :])
        case "last_distinct":
            last_places = {("nan" if x != x else x): i for i, x in enumerate(xs) if x is not None}
            return tuple(xs[i] for i in sorted(last_places.values())[-slot.params[0] :])
        case "distinct_sketch":
            return tuple(sorted(set(present))[:SKETCH])
        case "approx_count_distinct":
            return _estimate(set(present))
        case "quantile_sketch":
            return tuple(n for b in sorted(set(present)) for n in (b, present.count(b)))
        case "first_value":
            return xs[0] if xs else None
        case "last_value":
            return xs[-1] if xs else None
    if not present:
        return None
    match slot.fn:
        case "quantile_disc":
            rank = math.ceil(Fraction(slot.params[0], MILLION) * len(present))
            return sorted(present, key=_nan_last)[max(rank, 1) - 1]
        case "bool_and":
            return all(present)
        case "bool_or":
            return any(present)
        case "min" | "max":
            ordered = sorted(present, key=_nan_last)
            return ordered[0] if slot.fn == "min" else ordered[-1]
        case "sum" if slot.type.is_decimal:
            return sum(present) if abs(sum(present)) < 10**38 else None
        case "avg" if slot.arg_type is not None and slot.arg_type.is_decimal:
            return float(Fraction(sum(present), 10**slot.arg_type.scale)) / len(present)
        case "sum" if slot.arg_type == BIGINT:
            return sum(present) if BIGINT_MIN <= sum(present) <= BIGINT_MAX else None
        case "avg" if slot.arg_type == BIGINT:
            return float(Fraction(sum(present))) / len(present)
    assert slot.arg_type == DOUBLE
    if slot.fn in ("sum", "avg"):
        total = _sum(present)
        return total if total is None or slot.fn == "sum" else total / len(present) + 0.0
    return _spread(slot.fn, present)


def of_pairs(slot: Slot, pairs: Sequence[tuple[Any, Any]]) -> Any:
    """min_by and max_by: the first of the pairs, in order of events, with the least or the greatest y."""
    present = [p for p in pairs if p[1] is not None]
    if not present:
        return None
    order = sorted((y for _, y in present), key=_nan_last)
    best = order[0] if slot.fn == "min_by" else order[-1]
    return next(x for x, y in present if _nan_last(y) == _nan_last(best))


def _nan_last(x: Any) -> tuple[bool, Any]:
    return (x != x, 0.0 if x != x else x)


def _estimate(hashes: set[int]) -> int:
    """From the 2048th least hash: how many would lie as densely over all 2^64."""
    if len(hashes) < SKETCH:
        return len(hashes)
    place = sorted(hashes)[SKETCH - 1] + 2**63 + 1
    return math.floor(Fraction((SKETCH - 1) * 2**64, place) + Fraction(1, 2))


def _sum(xs: Sequence[float]) -> float | None:
    """Each value cut toward zero to a multiple of 2^-72, added exactly, rounded once."""
    if any(math.isfinite(x) and abs(x) >= 2.0**53 for x in xs):
        return None
    special = [x for x in xs if not math.isfinite(x)]
    if special:
        return sum(special)
    return float(sum((_grid(Fraction(x)) for x in xs), Fraction(0)))


def _grid(x: Fraction) -> Fraction:
    return Fraction(math.trunc(x * 2**72), 2**72)


def _spread(fn: str, xs: Sequence[float]) -> float | None:
    """Variance by the documented steps, from exact sums that are taken here with fractions."""
    sample = fn.endswith("_samp")
    if len(xs) < (2 if sample else 1) or any(math.isfinite(x) and abs(x) >= 2.0**53 for x in xs):
        return None
    if not all(map(math.isfinite, xs)):
        return math.nan
    if len(xs) == 1:
        return 0.0
    squares = Fraction(0)
    for x in xs:
        product = Fraction(x * x)
        squares += _grid(product) + _grid(Fraction(x) * Fraction(x) - product)
    total = sum((_grid(Fraction(x)) for x in xs), Fraction(0))
    s = [float(d) for d in exact.digits(int(total * 2**72), exact.SUM_DIGITS)]
    q = [float(d) for d in exact.digits(int(squares * 2**72), exact.SQUARE_DIGITS)]
    variance = exact.variance(float(len(xs)), s, q, sample=sample, where=lambda c, a, b: a if c else b)
    return math.sqrt(variance) if fn.startswith("stddev") else float(variance)
