"""Faults of states and of the folds over them."""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_left, bisect_right
from typing import Any

from onefold.features import aggregates, buckets, columns, definitions, exact, fold, ir, records, state
from onefold.features.records import Events
from onefold.streaming import decode
from tests.parity.planting import buckets as in_buckets
from tests.parity.planting import crowded, delayed_buckets, entry, folded, folds, lacking, own_rows, swap

_VALUES, _READ = fold._View.values, columns._read_values


def _late_bounds(self: Any, window: Any) -> tuple[int, int]:
    low = 0 if window.lower is None else self.timeline.index(self._t - window.lower)
    return low, max(low, self.timeline.index(self._t - window.upper))


def _open_bounds(self: Any, window: Any) -> tuple[int, int]:
    low = 0 if window.lower is None else self.timeline.index(self._t - window.lower + 1)
    return low, max(low, self.timeline.index(self._t - window.upper + 1))


def _zeros(self: Any, slot: Any, takes_nulls: bool) -> Any:
    return [0 if x is None else x for x in _VALUES(self, slot, True)]


def _last_copies(self: Any, timeline: Any, t: int) -> Any:
    events = timeline._events
    backward = Events(events.ts[::-1], events.sequences[::-1], events.ids[::-1], [c[::-1] for c in events.columns])
    views: Any = _COPIES(self, fold._Listed(backward), t)
    return {w: fold._View(fold._Listed(v.timeline._events.take(range(len(v.timeline._events.ts))[::-1])), t)
            for w, v in views.items()}  # fmt: skip


_COPIES = fold.StateFold._passing
swap("state", "an event at t does not count", fold._View, "bounds", _late_bounds)
swap("state", "a window is open at the lower end", fold._View, "bounds", _open_bounds)
swap("state", "NULL is 0", fold._View, "values", _zeros)
swap("state", "the last copy wins", fold.StateFold, "_passing", _last_copies)
swap(
    "state",
    "copies are left in",
    fold.StateFold,
    "_passing",
    lambda self, timeline, t: {s.where: fold._View(timeline, t) for s in self._slots},
)
swap("state", "records written again count", records, "_fresh", lambda sequences, at, offsets: None)
swap(
    "state",
    "late events are not put in order",
    fold,
    "merge_tail",
    lambda head, tail: Events(
        head.ts + tail.events.ts,
        head.sequences + tail.events.sequences,
        head.ids + tail.events.ids,
        [a + b for a, b in zip(head.columns, tail.events.columns, strict=True)],
    ),
)
swap(
    "state",
    "compaction drops what lies on the floor",
    state,
    "bisect_left",
    lambda xs, x: bisect_right(xs, x) if x in xs else bisect_left(xs, x),
)
swap(
    "state",
    "hundredths are multiplied",
    columns,
    "_read_values",
    lambda payload, code, n, start: (
        [v * 0.01 for v in payload.cast("i")[start:n].tolist()]
        if code == columns._CENTS
        else _READ(payload, code, n, start)
    ),
)
swap(
    "state",
    "every finite column is coarse",
    fold._View,
    "is_coarse",
    lambda self, i: all(x is None or abs(x) < math.inf for x in self.column(i)),
)
swap(
    "state",
    "sums are cut down, not toward zero",
    exact,
    "grid_total",
    lambda xs: sum(math.floor(x * exact.GRID) for x in xs),
)
swap("state", "a NaN is small", aggregates, "_nan_last", lambda x: (x == x, x if x == x else 0.0))
swap("state", "a BIGINT sum may be too large", aggregates, "BIGINT_MAX", 2**80)


KNOWN = aggregates.AGGREGATES


def _but(fn: str, **wrong: Any) -> Any:
    return dataclasses.replace(KNOWN[fn], **wrong)


def _rows_off_by_one(self: Any, window: Any) -> tuple[int, int]:
    low, high = _BOUNDS(self, window)
    return (low + 1, max(high, low + 1)) if window.rows is not None and low < high else (low, high)


_BOUNDS = fold._View.bounds
swap("state", "a frame of rows leaves out its oldest", fold._View, "bounds", _rows_off_by_one)
entry("state", "quick sums are plain", KNOWN, "sum", _but("sum", quick=sum))
entry("state", "distinct values are those met", KNOWN, "count_distinct", _but("count_distinct", fold=aggregates._count))
entry("state", "a list leaves NULLs out", KNOWN, "array_agg", _but("array_agg", takes_nulls=False))
entry("state", "the last value passes over NULL", KNOWN, "last_value", _but("last_value", takes_nulls=False))
entry(
    "state", "the first value is the last", KNOWN, "first_value", _but("first_value", fold=aggregates._end(last=True))
)
entry("state", "bool_or is bool_and", KNOWN, "bool_or", _but("bool_or", fold=aggregates._quantifier(all)))
swap("state", "shares are of more than a million", aggregates, "MILLION", 1_900_000, folds("quantile_disc"))


def _before(timeline: Any, event: Any) -> Any:
    """The timeline with the event before those at its time."""
    events, at = timeline._events, timeline.index(event.ts)
    one = Events([event.ts], [0], [event.id_hash], [[v] for v in event.values])
    return fold._Listed(events.before(at).then(one).then(events.behind(at)))


swap("state", "the row's own event stands first", fold, "_with", _before, own_rows)
swap("state", "a sketch holds one hash too few", aggregates, "SKETCH", 2047, crowded)
swap("state", "a branch has NULL for what it lacks", decode, "parse_json", lambda value, kind: None, lacking)
swap(
    "state",
    "a branch's own names are not looked at",
    definitions.Branch,
    "theirs",
    lambda self, column: column,
    lambda case: any(b.columns for e in case.events.values() if e.source is not None for b in e.source.branches),
)


def _exact_first(self: Any, t: int) -> int | None:
    return None if self.lower is None else t - self.lower


_FOLDED, _SECTION = buckets.folded, state.StateCodec._folded
swap("state", "a window begins within a bucket", ir.Window, "first", _exact_first, in_buckets)
swap(
    "state", "a delayed window ends within a bucket", ir.Window, "last", lambda self, t: t - self.upper, delayed_buckets
)
swap("state", "folded events do not count", fold, "inside", lambda held, window, t: (0, 0), folded)
swap(
    "state",
    "an event of a folded bucket takes its place",
    buckets,
    "folded",
    lambda part, begin, events, old: _FOLDED(part, begin, events, None),
    folded,
)
swap(
    "state",
    "folded events stay as they are, too",
    state.StateCodec,
    "_folded",
    staticmethod(lambda codec, events, *more: (events, _SECTION(codec, events, *more)[1])),
    folded,
)
