"""Reading slots from buckets and events together: what a window holds of each is folded into one value."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from onefold.features import ir
from onefold.features.aggregates import AGGREGATES, Fold
from onefold.features.buckets import Buckets
from onefold.features.compile_python import ValueErrors
from onefold.features.layout import Layout, Slot
from onefold.features.parts import ORDERED, Candidate, Part, acc_of, count_of, fold_of, pick


class Timeline(Protocol):
    """Events of one key as of a time, of which a slot sees those of its window and filter."""

    def values(self, slot: Slot, takes_nulls: bool) -> Sequence[Any]: ...
    def candidates(self, slot: Slot) -> list[Candidate]: ...


@dataclass(frozen=True, slots=True)
class BucketSlot:
    """A slot and where its part stands among those of its layout."""

    slot: Slot
    part: Part
    at: int
    fold: Fold

    @classmethod
    def of(cls, layout: Layout, slot: Slot) -> BucketSlot:
        part = Part.of(slot)
        return cls(slot, part, layout.parts.index(part), fold_of(slot))

    def value(self, buckets: Buckets, start: int, end: int, events: Timeline, errors: ValueErrors) -> Any:
        """The slot's value over the buckets from `start` to `end`, and over events."""
        slot, part = self.slot, self.part
        if part.kind in ORDERED:
            best = pick(part.kind, buckets.candidates(self.at, start, end), events.candidates(slot))
            return None if best is None else best[2]
        spec, fold = AGGREGATES[slot.fn], self.fold
        more = fold.update(fold.init, events.values(slot, spec.takes_nulls))
        acc = fold.merge(acc_of(part, buckets.columns[self.at], start, end), more)
        found = fold.finish(acc)
        if found is None and spec.enough is not None and count_of(acc) >= spec.enough:
            errors.count += 1
        return found


def inside(buckets: Buckets | None, window: ir.Window, t: int) -> tuple[int, int]:
    """The first of the buckets in a window at t, and the one behind the last."""
    if buckets is None:
        return 0, 0
    first = window.first(t)
    start = 0 if first is None else bisect_left(buckets.starts, first)
    return start, max(start, bisect_left(buckets.starts, window.last(t) + 1))


def cuts(buckets: Buckets | None, window: ir.Window, t: int) -> bool:
    """Whether events that were folded may lie on both sides of the window's end."""
    return buckets is not None and not window.delayed and t < buckets.before - 1
