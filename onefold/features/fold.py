"""Reading a state: decode, cut at t, fold, finish. This is the plain reference; the native kernel may take its place.

The seam is `StateFold`: it is built once for a group of slots and called with states and times.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, NamedTuple

from onefold.features import exact, ir
from onefold.features.aggregates import AGGREGATES, Fold
from onefold.features.bucket_reading import BucketSlot, cuts, inside
from onefold.features.buckets import BucketCodec, Buckets
from onefold.features.codec import Head, generation_of, read_head
from onefold.features.compile_python import ValueErrors
from onefold.features.errors import StateError
from onefold.features.layout import TIME, Layout, PreparedEvent, Slot
from onefold.features.native import kernel
from onefold.features.native_fold import NativeFold, supports
from onefold.features.parts import Candidate
from onefold.features.records import Events, RecordCodec, Tail
from onefold.features.state import merge_tail
from onefold.features.types import DOUBLE, DataType


class Reading(NamedTuple):
    """What a state says at t: a value per slot (None where `partial`), and what it was read from.

    offsets: the highest offset that the state holds of each sequence; newest: the time of its newest event at t.
    """

    values: Sequence[Any]
    partial: list[bool]
    offsets: dict[int, int]
    newest: int | None
    events: int


class Readings(NamedTuple):
    """Many Readings, part by part. errors: of states that are corrupt, by number; their parts are those of no events.

    Not to be changed.
    """

    values: list[Sequence[Any]]
    partial: list[list[bool]]
    offsets: list[dict[int, int]]
    newest: list[int | None]
    events: list[int]
    errors: dict[int, StateError]


class _Packed:
    """A head and the tail behind it, in order: times are searched and columns unpacked only as asked."""

    def __init__(self, head: Head, start: int, tail: Events) -> None:
        self._head, self._start, self._tail = head, start, tail
        self._count = head.n - start

    def index(self, ts: int) -> int:
        at = self._head.index(ts) - self._start
        if at < self._count:
            return max(at, 0)
        return self._count + bisect_left(self._tail.ts, ts)

    def column(self, i: int) -> list[Any]:
        if i == TIME:
            return [self._head.time(at) for at in range(self._start, self._head.n)] + self._tail.ts
        return self._head.column(i)[self._start :] + self._tail.columns[i]

    def sequences(self) -> list[int]:
        held = self._head.sequences
        before = [held] * self._count if isinstance(held, int) else list(held[self._start :])
        return before + self._tail.sequences

    def is_coarse(self, i: int) -> bool:
        return self._head.is_coarse(i) and exact.are_coarse(self._tail.columns[i])

    def newest(self, t: int) -> int | None:
        """The time of the newest event at t, those before `start` among them; None where there is none."""
        at = self.index(t + 1)
        if at > self._count:
            return self._tail.ts[at - self._count - 1]
        at += self._start
        return self._head.time(at - 1) if at else None


class _Listed:
    """Events as lists, where head and tail had to be merged or copies left out."""

    def __init__(self, events: Events) -> None:
        self._events = events

    def index(self, ts: int) -> int:
        return bisect_left(self._events.ts, ts)

    def column(self, i: int) -> list[Any]:
        return self._events.ts if i == TIME else self._events.columns[i]

    def sequences(self) -> list[int]:
        return self._events.sequences

    def is_coarse(self, i: int) -> bool:
        return exact.are_coarse(self._events.columns[i])

    def newest(self, t: int) -> int | None:
        at = self.index(t + 1)
        return self._events.ts[at - 1] if at else None


def _with(timeline: _Packed | _Listed, event: PreparedEvent) -> _Listed:
    """The timeline of a source with event ids, with one more event behind those at its time."""
    assert isinstance(timeline, _Listed)
    events, at = timeline._events, timeline.index(event.ts + 1)
    one = Events([event.ts], [0], [event.id_hash], [[v] for v in event.values])
    return _Listed(events.before(at).then(one).then(events.behind(at)))


class _View:
    """One timeline with its columns and window bounds, each worked out once a call."""

    def __init__(self, timeline: _Packed | _Listed, t: int) -> None:
        self.timeline, self._t = timeline, t
        self._columns: dict[int, list[Any]] = {}
        self._nulls: dict[int, bool] = {}
        self._coarse: dict[int, bool] = {}
        self._bounds: dict[ir.Window, tuple[int, int]] = {}

    def bounds(self, window: ir.Window) -> tuple[int, int]:
        found = self._bounds.get(window)
        if found is None:
            first = window.first(self._t)
            low = 0 if first is None else self.timeline.index(first)
            high = max(low, self.timeline.index(window.last(self._t) + 1))
            if window.rows is not None:
                skip, count = window.rows
                high = max(high - skip, 0)
                low = 0 if count is None else max(high - count, 0)
            found = self._bounds[window] = low, high
        return found

    def column(self, i: int) -> list[Any]:
        found = self._columns.get(i)
        if found is None:
            found = self._columns[i] = self.timeline.column(i)
            self._nulls[i] = None in found
        return found

    def is_coarse(self, i: int) -> bool:
        found = self._coarse.get(i)
        if found is None:
            found = self._coarse[i] = self.timeline.is_coarse(i)
        return found

    def values(self, slot: Slot, takes_nulls: bool) -> Sequence[Any]:
        """What the slot's fold sees, in order: pairs where it has two arguments."""
        low, high = self.bounds(slot.window)
        if low == high:
            return ()
        mask = None if slot.filter is None else self.column(slot.filter)[low:high]
        if slot.arg is None:
            return range(high - low if mask is None else mask.count(True))
        xs: Sequence[Any] = self.column(slot.arg)[low:high]
        if len(slot.args) > 1:
            xs = list(zip(xs, *(self.column(i)[low:high] for i in slot.args[1:]), strict=True))
        if mask is not None:
            xs = list(compress(xs, mask))
        if not takes_nulls and self._nulls[slot.arg]:
            return [x for x in xs if x is not None]
        return xs

    def candidates(self, slot: Slot) -> list[Candidate]:
        """The events that the slot sees, with their times and sequences, in order."""
        low, high = self.bounds(slot.window)
        columns = [self.column(TIME), self.timeline.sequences(), *map(self.column, slot.args)]
        rows: list[Candidate] = list(zip(*(column[low:high] for column in columns), strict=True))
        return rows if slot.filter is None else list(compress(rows, self.column(slot.filter)[low:high]))


@dataclass(frozen=True, slots=True)
class _SlotFold:
    """A slot with its fold, and the quicker equal of it for coarse values where there is one."""

    slot: Slot
    takes_nulls: bool
    fold: Fold
    quick: Callable[[Sequence[Any]], Any] | None
    enough: int | None

    @classmethod
    def of(cls, slot: Slot) -> _SlotFold:
        spec = AGGREGATES[slot.fn]
        quick = spec.quick if slot.arg_type == DOUBLE else None
        return cls(slot, spec.takes_nulls, spec.fold(slot.arg_type, *slot.params), quick, spec.enough)

    def over(self, xs: Sequence[Any]) -> Any:
        return self.fold.finish(self.fold.update(self.fold.init, xs))

    def value(self, view: _View, errors: ValueErrors) -> Any:
        xs = view.values(self.slot, self.takes_nulls)
        if self.quick is not None and xs and self.slot.arg is not None and view.is_coarse(self.slot.arg):
            return self.quick(xs)
        found = self.over(xs)
        if found is None and self.enough is not None and len(xs) >= self.enough:
            errors.count += 1
        return found


class HeadCache:
    """Heads that were read lately, found by their generation and compared in full. `limit` counts their events."""

    def __init__(self, types: Sequence[DataType], *, limit: int = 100_000) -> None:
        self._types, self._limit, self._held = tuple(types), limit, 0
        self._heads: dict[bytes, tuple[bytes, Head]] = {}

    def read(self, state: bytes) -> Head:
        """The head of a state; StateError if it is corrupt."""
        generation = generation_of(state)
        packed, head = self._heads.pop(generation, (b"", None))
        if head is None or not state.startswith(packed):
            self._held -= 0 if head is None else head.size
            head = read_head(state, self._types)
            if not generation:
                return head
            packed = state[: head.length]
            self._held += head.size
        self._heads[generation] = packed, head
        while self._held > self._limit and len(self._heads) > 1:
            oldest = next(iter(self._heads))
            self._held -= self._heads.pop(oldest)[1].size
        return head


class StateFold:
    """Folds the states of one layout into the values of some slots. Raises StateError on corrupt bytes.

    native: with the native kernel where it was built and `ONEFOLD_KERNEL` lets it; it gives the same bits.
    """

    def __init__(
        self, layout: Layout, slots: Sequence[Slot], *, errors: ValueErrors | None = None, native: bool = True
    ) -> None:
        self._slots = tuple(slots)
        self._records = RecordCodec(layout.types)
        self._has_ids, self._width = layout.has_ids, len(layout.columns)
        self._listed = layout.has_ids or any(s.where is not None for s in slots)
        lowers = [s.window.reach for s in slots]
        self._reach = None if None in lowers else max((low for low in lowers if low is not None), default=0)
        self._folds = [_SlotFold.of(s) for s in slots]
        self._buckets = None if layout.resolution is None else BucketCodec(layout.parts, layout.resolution)
        self._of_buckets = [] if self._buckets is None else [BucketSlot.of(layout, s) for s in slots]
        self._empty = [f.over(()) for f in self._folds]
        self._errors = errors or ValueErrors()
        self._heads = HeadCache(layout.types)
        self.whole = [False] * len(self._slots)
        """The `partial` of every Reading that has no partial slot."""
        self._native = self._with_kernel(layout) if native else None

    def _with_kernel(self, layout: Layout) -> NativeFold | None:
        module = kernel()
        if module is None or not self._slots:
            return None
        lacking = [s for s in self._slots if not supports(s)]
        rest = StateFold(layout, lacking, errors=self._errors, native=False) if lacking else None
        return NativeFold.of(
            module, layout, self._slots, empty=self._empty, whole=self.whole, rest=rest, errors=self._errors
        )

    def __call__(self, state: bytes | None, t: int, also: PreparedEvent | None = None) -> Reading:
        """The slots' values as of t (microseconds): events with ts <= t that the state holds.

        also: one more event at t behind all others, as a request's own row.
        """
        if also is None and self._native is not None:
            (found,) = self.many((state,), (t,))
            if isinstance(found, StateError):
                raise found
            return found
        if not state:
            return Reading(self.of_events(Events.none(self._width), t, also), self.whole, {}, None, 0)
        head = self._heads.read(state)
        offsets = dict(head.offsets)
        tail = self._records.read(state, head.length, offsets).in_order()
        timeline, buckets = self._timeline(head, tail, t), head.buckets(self._buckets)
        values = self._values(timeline if also is None else _with(timeline, also), t, buckets)
        partial = [self._is_partial(s.window, head.floor, t) or cuts(buckets, s.window, t) for s in self._slots]
        if any(partial):
            values = [None if p else v for v, p in zip(values, partial, strict=True)]
        else:
            partial = self.whole
        newest = timeline.newest(t)
        if buckets is not None:
            newest = max((at for at in (newest, buckets.newest_at(t)) if at is not None), default=None)
        return Reading(values, partial, offsets, newest, head.n + len(tail.offsets))

    def many(self, states: Sequence[bytes | None], times: Sequence[int]) -> list[Reading | StateError]:
        """A Reading for each state at its time; the error in place of one that is corrupt."""
        parts = self.apart(states, times)
        found: list[Reading | StateError] = [Reading(*one) for one in zip(*parts[:5], strict=True)]
        for i, error in parts.errors.items():
            found[i] = error
        return found

    def apart(self, states: Sequence[bytes | None], times: Sequence[int]) -> Readings:
        """As `many`, part by part."""
        if self._native is not None:
            return Readings(*self._native(states, times))
        found = [self.or_error(state, t) for state, t in zip(states, times, strict=True)]
        return self.joined(found)

    def joined(self, found: Sequence[Reading | StateError]) -> Readings:
        """Readings, some of them errors, part by part."""
        errors = {i: one for i, one in enumerate(found) if isinstance(one, StateError)}
        nothing = Reading(self._empty, self.whole, {}, None, 0)
        rows = [nothing if isinstance(one, StateError) else one for one in found]
        values, partial, offsets, newest, events = map(list, zip(*rows, strict=True)) if rows else ([] for _ in nothing)
        return Readings(values, partial, offsets, newest, events, errors)

    def or_error(self, state: bytes | None, t: int, also: PreparedEvent | None = None) -> Reading | StateError:
        """A call whose error is its result."""
        try:
            return self(state, t, also)
        except StateError as error:
            return error

    def of_events(self, events: Events, t: int, also: PreparedEvent | None = None) -> list[Any]:
        """The slots' values over events in order of (ts, position), as of t: what a state of them would give."""
        if also is None and not events.ts:
            return list(self._empty)
        listed = _Listed(events)
        return self._values(listed if also is None else _with(listed, also), t)

    def _values(self, timeline: _Packed | _Listed, t: int, buckets: Buckets | None = None) -> list[Any]:
        views: Mapping[int | None, _View] = {None: _View(timeline, t)}
        if self._listed:
            views = self._passing(timeline, t)
        if buckets is not None and buckets.starts:
            return [self._of_both(i, views[f.slot.where], t, buckets) for i, f in enumerate(self._folds)]
        return [f.value(views[f.slot.where], self._errors) for f in self._folds]

    def _of_both(self, i: int, view: _View, t: int, buckets: Buckets) -> Any:
        """A slot's value of buckets and events together."""
        start, end = inside(buckets, self._slots[i].window, t)
        if start == end:
            return self._folds[i].value(view, self._errors)
        return self._of_buckets[i].value(buckets, start, end, view, self._errors)

    def _timeline(self, head: Head, tail: Tail, t: int) -> _Packed | _Listed:
        new = tail.events
        overlaps = new.ts and head.n and (new.ts[0], new.sequences[0]) < (head.time(head.n - 1), head.last_sequence)
        if self._listed or overlaps:
            return _Listed(merge_tail(head.events(), tail))
        start = 0 if self._reach is None else head.index(t - self._reach)
        return _Packed(head, start, new)

    def _passing(self, timeline: _Packed | _Listed, t: int) -> Mapping[int | None, _View]:
        """A timeline per WHERE of the events that pass it: of those with one event id and ts, the least position."""
        assert isinstance(timeline, _Listed)
        events = timeline._events
        found: dict[int | None, _View] = {}
        for where in {s.where for s in self._slots}:
            seen: set[tuple[int, int]] = set()
            order = []
            for i, copy in enumerate(zip(events.ts, events.ids, strict=True)):
                if (where is None or events.columns[where][i]) and copy not in seen:
                    order.append(i)
                    if self._has_ids:
                        seen.add(copy)
            found[where] = _View(_Listed(events.take(order)), t)
        return found

    @staticmethod
    def _is_partial(window: ir.Window, floor: int | None, t: int) -> bool:
        first = window.first(t)
        return floor is not None and (first is None or first < floor)
