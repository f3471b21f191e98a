"""Reading the state of one group of a plan: the names of its strings, and what they give once they are there."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from onefold.features import keys as names
from onefold.features import native
from onefold.features.compile_python import ValueErrors
from onefold.features.errors import MismatchError, StoreError
from onefold.features.fold import Readings, StateFold
from onefold.features.layout import Slot
from onefold.features.plans import Group, GroupFeature
from onefold.online.served_row import ERROR, EXPIRED, FRESH, MISSING, PARTIAL, STALE, Place

_MOST_BOUNDS = 64
Row = Mapping[str, Any]
Statuses = int | tuple[str, ...]
"""The statuses of a row, or the number of some that are frequent."""


@dataclass(frozen=True, slots=True)
class Live:
    """What a pointer led to: the epoch, and the names that belong to it. `pointer` None: not looked at yet."""

    pointer: bytes | None
    epoch: int
    prefix: bytes
    marks: bytes


class GroupRows(NamedTuple):
    """What a group gives, by row: values, its features' statuses, where they came from, and what went wrong.

    statuses: as the group's `statuses` tells them; 0 are the best. place and offsets: what they were read from.
    """

    values: list[Sequence[Any]]
    statuses: list[Statuses]
    place: Place
    offsets: list[dict[int, int]]
    errors: dict[int, str]


class _Placed(NamedTuple):
    """Marks, and what they mean: where strings are read from, and whether the state lacks events that it has held."""

    live: Live
    marks: dict[int, int]
    place: Place
    behind: bool


class GroupReader:
    """A group with everything resolved. `live` is the epoch that the pointer last led to.

    finished: whether its values are those of its features, and not those of its slots.
    """

    def __init__(self, group: Group, errors: ValueErrors, *, finished: bool) -> None:
        layout = group.layout
        self.group, self.layout = group, layout
        self.live = Live(None, -1, b"", b"")
        self.pointer_name = names.pointer_name(layout.source.name, layout.entity.name)
        self._fold = StateFold(layout, group.slots, errors=errors)
        self._finish = group.finisher(errors) if finished else None
        self._none = [None] * len(group.features if finished else group.slots)
        self._row_event = group.row_event() if group.request_row else None
        self._features = [_Judged.of(f, group.slots) for f in group.features]
        self._bounds, aged = _by_age(self._features)
        self._missing, self._failed, self._behind = (len(aged) + i for i in range(3))
        self._frequent = [*aged, *((s,) * len(self._features) for s in (MISSING, ERROR, PARTIAL))]
        self._place = self._placed(self.live, {})
        self._native = native.function("judge") if len(self._bounds) <= _MOST_BOUNDS else None
        self._names = names.namer(layout.key_fields)

    def follow(self, pointer: bytes | None) -> None:
        """Take the live epoch from the pointer."""
        source, entity = self.layout.source.name, self.layout.entity.name
        what = f"the state of ({source}, {entity})"
        if pointer is None:
            raise StoreError(f"{what} is not built yet; run onefold materialize, or onefold stream")
        epoch, layout = names.decode_pointer(pointer)
        if layout != self.layout.fingerprint:
            raise MismatchError(
                f"{what} has layout {layout}, the definitions need {self.layout.fingerprint}; run onefold materialize"
            )
        self.live = Live(pointer, epoch, self.layout.prefix(epoch), names.marks_name(source, entity, epoch, layout))

    def string_names(self, rows: Sequence[Row]) -> list[bytes | None]:
        """The name of each row's string; None where a part of its key is NULL."""
        return self._names(self.live.prefix, rows)

    def read(
        self,
        live: Live,
        strings: Sequence[bytes | None],
        marks: dict[int, int],
        rows: Sequence[Row],
        times: Sequence[int],
    ) -> GroupRows:
        """Every row of a group. All of it is `partial` where the state lacks events that it is known to have held."""
        known = self._place
        if known.live is not live or known.marks != marks:
            known = self._place = self._placed(live, marks)
        found = self._readings(strings, rows, times)
        values = found.values if self._finish is None else list(map(self._finish, found.values, times))
        statuses = self._judge(strings, times, found)
        if known.behind:
            statuses = [self._behind for _ in rows]
        place, errors = known.place, {}
        for i, error in found.errors.items():
            values[i], statuses[i] = self._none, self._failed
            errors[i] = f"state of ({place.source}, {place.entity}): {error}"
        return GroupRows(values, statuses, place, found.offsets, errors)

    def _placed(self, live: Live, marks: dict[int, int]) -> _Placed:
        layout, markers = self.layout, {s: offset for s, offset in marks.items() if s >= 0}
        behind = any(offset > markers.get(names.debt(field), -1) for field, offset in marks.items() if field < 0)
        place = Place(layout.source.name, layout.entity.name, live.epoch, layout.fingerprint, markers)
        return _Placed(live, marks, place, behind)

    def _readings(self, strings: Sequence[bytes | None], rows: Sequence[Row], times: Sequence[int]) -> Readings:
        event = self._row_event
        if event is None:
            return self._fold.apart(strings, times)
        found = [self._fold.or_error(s, t, event(row, t)) for s, row, t in zip(strings, rows, times, strict=True)]
        return self._fold.joined(found)

    def statuses(self, found: Statuses) -> tuple[str, ...]:
        """The statuses of a row, one a feature."""
        return self._frequent[found] if isinstance(found, int) else found

    def _judge(self, strings: Sequence[bytes | None], times: Sequence[int], found: Readings) -> list[Statuses]:
        if self._native is not None:
            return self._judge_natively(strings, times, found)
        statuses: list[Statuses] = []
        bounds, whole = self._bounds, self._fold.whole
        for i, (string, t, newest, partial) in enumerate(zip(strings, times, found.newest, found.partial, strict=True)):
            if not string:
                statuses.append(self._missing)
            elif newest is not None and partial is whole:
                statuses.append(bisect_left(bounds, t - newest))
            else:
                statuses.append(self._judge_one(found, i, t))
        return statuses

    def _judge_natively(self, strings: Sequence[bytes | None], times: Sequence[int], found: Readings) -> list[Statuses]:
        """The same, where the kernel tells which of the frequent ones most are."""
        assert self._native is not None
        judged: list[Any] = self._native(
            strings, times, found.newest, found.partial, self._fold.whole, self._bounds, self._missing
        )
        if None in judged:
            for i in [i for i, one in enumerate(judged) if one is None]:
                judged[i] = self._judge_one(found, i, times[i])
        return judged

    def _judge_one(self, found: Readings, i: int, t: int) -> tuple[str, ...]:
        """The statuses of row i at its time t, worked out."""
        newest, partial = found.newest[i], found.partial[i]
        if newest is None:
            # The string holds later events only, or those that it held were trimmed.
            unseen = MISSING if found.events[i] else EXPIRED
            return tuple([PARTIAL if f.is_partial(partial) else unseen for f in self._features])
        return tuple([PARTIAL if f.is_partial(partial) else f.status(t - newest) for f in self._features])


@dataclass(frozen=True, slots=True)
class _Judged:
    """What decides over a feature's status: its slots, how far before t they reach, and the view's freshness."""

    slots: tuple[int, ...]
    reach: int | None
    freshness: int | None

    @classmethod
    def of(cls, feature: GroupFeature, slots: Sequence[Slot]) -> _Judged:
        reaches = [slots[i].window.reach for i in feature.slots]
        reach = max((r for r in reaches if r is not None), default=None)
        return cls(tuple(feature.slots), None if None in reaches else reach, feature.freshness)

    def is_partial(self, partial: Sequence[bool]) -> bool:
        return any(partial[i] for i in self.slots)

    def status(self, age: int) -> str:
        """By the age of the key's newest event, in microseconds."""
        if self.reach is not None and age > self.reach:
            return EXPIRED
        return STALE if self.freshness is not None and age > self.freshness else FRESH


def _by_age(features: Sequence[_Judged]) -> tuple[list[int], list[tuple[str, ...]]]:
    """Ages behind which a status changes, rising, and the statuses up to each of them and behind the last."""
    limits = {limit for f in features for limit in (f.reach, f.freshness) if limit is not None}
    bounds = sorted(limits)
    ages = [*bounds[:1], *(bound + 1 for bound in bounds)] or [0]
    return bounds, [tuple([f.status(age) for f in features]) for age in ages]
