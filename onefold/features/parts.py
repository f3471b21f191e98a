"""Parts: what a state keeps of the events of a bucket, in place of them (see `resolution`).

A part is the fold of some prepared columns below a filter. Aggregates over one column often share one: `sum` and `avg`
need the same total, and no part has a window. In memory an entry of a part is a row of the values of its columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from operator import or_
from typing import TYPE_CHECKING, Any

from onefold.features import exact
from onefold.features.aggregates import AGGREGATES, MILLION, Acc, Fold
from onefold.features.functions import less
from onefold.features.types import BIGINT, DOUBLE, DataType, list_of

if TYPE_CHECKING:
    from onefold.features.layout import Slot

COUNT, SUM, SQUARES, DISTINCT, TALLY = "count", "sum", "squares", "distinct", "tally"
KINDS = {
    "count_star": COUNT, "count": COUNT, "sum": SUM, "avg": SUM, "approx_count_distinct": DISTINCT,
    "distinct_sketch": DISTINCT, "quantile_sketch": TALLY, "quantile_disc": TALLY,
    **dict.fromkeys(("var_pop", "var_samp", "stddev_pop", "stddev_samp"), SQUARES),
    **{fn: fn for fn in ("bool_and", "bool_or", "min", "max", "min_by", "max_by", "first_value", "last_value")},
}  # fmt: skip
"""Aggregates that have a part, and its kind; `quantile_disc` of buckets of values only."""
_FOLDS = {COUNT: "count", SUM: "sum", SQUARES: "var_pop", DISTINCT: "distinct_sketch", TALLY: "quantile_sketch"}
ORDERED = ("first_value", "last_value", "min_by", "max_by")
"""Kinds of which an entry is one event's values, with its time and sequence before them."""

Candidate = tuple[Any, ...]
"""(ts, sequence, x) or (ts, sequence, x, y)."""


@dataclass(frozen=True, slots=True)
class Part:
    """A fold of prepared columns, by their index, of the events that a filter lets through."""

    kind: str
    args: tuple[int, ...]
    filter: int | None
    types: tuple[DataType, ...]

    @classmethod
    def of(cls, slot: Slot) -> Part:
        return cls(KINDS[slot.fn], slot.args, slot.filter, slot.arg_types)

    @property
    def plain(self) -> list[Any]:
        """What it says, for fingerprints and for an order of parts."""
        return [self.kind, list(self.args), -1 if self.filter is None else self.filter]

    @property
    def columns(self) -> tuple[DataType | None, ...]:
        """The types of its columns; None is a whole number of any size."""
        match self.kind:
            case "count":
                return (BIGINT,)
            case "sum":
                return (None, BIGINT, BIGINT) if self.types[0] == DOUBLE else (None, BIGINT)
            case "squares":
                return (None, BIGINT, BIGINT, None)
            case "distinct" | "tally":
                return (list_of(BIGINT),)
        return (BIGINT, BIGINT, *self.types) if self.kind in ORDERED else self.types

    @property
    def flags(self) -> int | None:
        """The column of the flags of a sum of DOUBLEs."""
        return 2 if self.columns[:3] == (None, BIGINT, BIGINT) else None

    @property
    def may_be_null(self) -> bool:
        """Whether an entry may lack a value: the least of none, or what an event has."""
        return self.kind not in _FOLDS

    @property
    def fold(self) -> Fold:
        """The fold of an entry, of kinds that are not ordered."""
        return AGGREGATES[_FOLDS.get(self.kind, self.kind)].fold(self.types[0] if self.types else None)


def row_of(part: Part, acc: Acc) -> tuple[Any, ...]:
    """An accumulator of the part's fold as an entry."""
    match part.kind:
        case "sum":
            return (acc.total, acc.n, acc.flags) if isinstance(acc, exact.Sum) else tuple(acc)
        case "squares":
            return acc.sum.total, acc.sum.n, acc.sum.flags, acc.squares
        case "distinct":
            return (tuple(sorted(acc)),)
        case "tally":
            return (tuple(n for pair in sorted(acc.items()) for n in pair),)
    return (acc,)


def acc_of(part: Part, columns: Sequence[Sequence[Any]], start: int, end: int) -> Acc:
    """The accumulator of entries `start` to `end`, together; of kinds that are not ordered."""
    cut = [column[start:end] for column in columns]
    match part.kind:
        case "count":
            return sum(cut[0])
        case "sum":
            return (sum(cut[0]), sum(cut[1])) if part.flags is None else _sum(*cut)
        case "squares":
            return exact.Moments(_sum(*cut[:3]), sum(cut[3]))
        case "distinct":
            return part.fold.update(part.fold.init, list(chain.from_iterable(cut[0])))
        case "tally":
            found: Counter[int] = Counter()
            for pairs in cut[0]:
                for value, count in zip(pairs[::2], pairs[1::2], strict=True):
                    found[value] += count
            return found
    return part.fold.update(part.fold.init, [x for x in cut[0] if x is not None])


def _sum(totals: Sequence[int], counts: Sequence[int], flags: Sequence[int]) -> exact.Sum:
    return exact.Sum(sum(totals), sum(counts), reduce(or_, flags, 0))


def count_of(acc: Acc) -> int:
    """How many values a total is of."""
    if isinstance(acc, exact.Moments):
        return acc.sum.n
    return acc.n if isinstance(acc, exact.Sum) else int(acc[1])


def fold_of(slot: Slot) -> Fold:
    """The fold of a slot, whose accumulators are those of its part."""
    if slot.fn != "quantile_disc":
        return AGGREGATES[slot.fn].fold(slot.arg_type, *slot.params)
    tally, share = AGGREGATES["quantile_sketch"].fold(BIGINT), slot.params[0]
    return Fold(tally.init, tally.update, tally.merge, lambda acc: _ranked(acc, share))


def _ranked(tally: Counter[int], share: int) -> int | None:
    """The value at rank ceil(share * n), at least 1; `share` in millionths."""
    rank = max(-(-share * sum(tally.values()) // MILLION), 1)
    for value in sorted(tally):
        rank -= tally[value]
        if rank <= 0:
            return value
    return None


def _least(candidates: Sequence[Candidate]) -> Candidate:
    return reduce(lambda a, b: b if less(b[3], a[3]) else a, candidates)


def _greatest(candidates: Sequence[Candidate]) -> Candidate:
    return reduce(lambda a, b: b if less(a[3], b[3]) else a, candidates)


_PICKS: dict[str, Callable[[Sequence[Candidate]], Candidate]] = {
    "first_value": lambda found: found[0], "last_value": lambda found: found[-1], "min_by": _least, "max_by": _greatest,
}  # fmt: skip


def pick(kind: str, entries: Sequence[Candidate], events: Sequence[Candidate]) -> Candidate | None:
    """The one that the aggregate takes its value from; both come in order, and entries stand before events that tie."""
    found = [*entries, *events]
    if entries and events and entries[-1][:2] > events[0][:2]:
        found.sort(key=lambda c: c[:2])
    if kind in ("min_by", "max_by"):
        found = [c for c in found if c[3] is not None]
    return _PICKS[kind](found) if found else None
