"""Reading the state of one group of a plan: the names of its strings, and what they give once they are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onefold.features import keys as names
from onefold.features.compile_python import ValueErrors
from onefold.features.errors import MismatchError, StateError, StoreError
from onefold.features.fold import Reading, StateFold
from onefold.features.layout import PreparedEvent, Slot
from onefold.features.plans import Group, GroupFeature
from onefold.online.served_row import ERROR, EXPIRED, FRESH, MISSING, PARTIAL, STALE, Place

Row = Mapping[str, Any]
_EVER = 2**63


@dataclass(frozen=True, slots=True)
class Live:
    """What a pointer led to: the epoch, and the names that belong to it. `pointer` None: not looked at yet."""

    pointer: bytes | None
    epoch: int
    prefix: bytes
    marks: bytes


GroupRow = tuple[Sequence[Any], Sequence[str], tuple[Place, dict[int, int]], str | None]
"""What a group gives for one row: values and statuses of its features, where they came from, and what went wrong."""


class GroupReader:
    """A group with everything resolved. `live` is the epoch that the pointer last led to."""

    def __init__(self, group: Group, errors: ValueErrors) -> None:
        layout = group.layout
        self.group, self.layout = group, layout
        self.live = Live(None, -1, b"", b"")
        self.pointer_name = names.pointer_name(layout.source.name, layout.entity.name)
        self._fold = StateFold(layout, group.slots, errors=errors)
        self._finish = group.finisher(errors)
        self._row_event = group.row_event() if group.request_row else None
        self._features = [_Judged.of(f, group.slots) for f in group.features]
        self._calm = min((f.calm for f in self._features), default=_EVER)
        self.fresh: Sequence[str] = [FRESH] * len(group.features)
        """The statuses of a row that is all fresh: this very list."""
        self.key_fields = layout.key_fields

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

    def read(
        self,
        live: Live,
        strings: Sequence[bytes | None],
        marks: dict[int, int],
        rows: Sequence[Row],
        times: Sequence[int],
    ) -> list[GroupRow]:
        """Every row of a group. All of it is `partial` where the state lacks events that it is known to have held."""
        markers, behind = _told(marks)
        layout, finish, limit, fresh = self.layout, self._finish, self._calm, self.fresh
        place = Place(layout.source.name, layout.entity.name, live.epoch, layout.fingerprint, markers)
        found: list[GroupRow] = []
        for string, reading, t in zip(strings, self._readings(strings, rows, times), times, strict=True):
            if isinstance(reading, StateError):
                found.append(self._failed(place, reading))
                continue
            values, partial, offsets, newest, _ = reading
            calm = newest is not None and t - newest <= limit and not behind and True not in partial
            statuses = fresh if calm and string else self._statuses(string, reading, t, behind)
            found.append((finish(values, t), statuses, (place, offsets), None))
        return found

    def _readings(
        self, strings: Sequence[bytes | None], rows: Sequence[Row], times: Sequence[int]
    ) -> Sequence[Reading | StateError]:
        event = self._row_event
        if event is None:
            return self._fold.many(strings, times)
        return [self._with_row(s, t, event(row, t)) for s, t, row in zip(strings, times, rows, strict=True)]

    def _with_row(self, string: bytes | None, t: int, also: PreparedEvent | None) -> Reading | StateError:
        try:
            return self._fold(string, t, also)
        except StateError as error:
            return error

    def _failed(self, place: Place, problem: StateError) -> GroupRow:
        width, what = len(self._features), f"state of ({place.source}, {place.entity}): {problem}"
        return [None] * width, [ERROR] * width, (place, {}), what

    def _statuses(self, string: bytes | None, reading: Reading, t: int, behind: bool) -> list[str]:
        if behind:
            return [PARTIAL] * len(self._features)
        if not string:
            return [MISSING] * len(self._features)
        if reading.newest is None:
            # The string holds later events only, or those that it held were trimmed.
            unseen = MISSING if reading.events else EXPIRED
            return [PARTIAL if f.is_partial(reading.partial) else unseen for f in self._features]
        age = t - reading.newest
        return [PARTIAL if f.is_partial(reading.partial) else f.status(age) for f in self._features]


def _told(marks: dict[int, int]) -> tuple[dict[int, int], bool]:
    """The progress markers by sequence, and whether a debt is above one of them."""
    if min(marks, default=0) >= 0:
        return marks, False
    markers = {s: offset for s, offset in marks.items() if s >= 0}
    return markers, any(offset > markers.get(names.debt(field), -1) for field, offset in marks.items() if field < 0)


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

    @property
    def calm(self) -> int:
        """The age up to which nothing but `partial` can be the matter."""
        return min(_EVER if limit is None else limit for limit in (self.reach, self.freshness))

    def is_partial(self, partial: Sequence[bool]) -> bool:
        return any(partial[i] for i in self.slots)

    def status(self, age: int) -> str:
        """By the age of the key's newest event, in microseconds."""
        if self.reach is not None and age > self.reach:
            return EXPIRED
        return STALE if self.freshness is not None and age > self.freshness else FRESH
