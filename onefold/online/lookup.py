"""Looking features up: keys and times in, values with statuses and provenance out, in one read of the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onefold.features import keys as names
from onefold.features.compile_python import ValueErrors
from onefold.features.errors import MismatchError, StateError, StoreError
from onefold.features.fold import Reading, StateFold
from onefold.features.plans import Group, ServicePlan
from onefold.features.protocols import OnlineStore

FRESH, STALE, MISSING, PARTIAL, ERROR = "fresh", "stale", "missing", "partial", "error"
STATUSES = (FRESH, STALE, MISSING, PARTIAL, ERROR)
_SEVERITY = {status: rank for rank, status in enumerate(STATUSES)}

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StringRead:
    """One state string that a row was read from: what it held, and how far its layout had come.

    offsets: the highest offset that the string holds of each sequence; markers: the progress marker of each.
    """

    source: str
    entity: str
    epoch: int
    layout: str
    offsets: dict[int, int]
    markers: dict[int, int]


@dataclass(frozen=True, slots=True)
class ServedRow:
    """The values of a service for one row, in its order, each with a status; `errors` says what went wrong."""

    values: tuple[Any, ...]
    statuses: tuple[str, ...]
    provenance: tuple[StringRead, ...]
    errors: tuple[str, ...] = ()


class _GroupReader:
    """A group with everything resolved: the names of its strings, its pointer and markers, its fold."""

    def __init__(self, group: Group, errors: ValueErrors) -> None:
        layout = group.layout
        self.group, self.layout = group, layout
        self.fold = StateFold(layout, group.slots, errors=errors)
        self.finish = group.finisher(errors)
        self.row_event = group.row_event() if group.request_row else None
        self.feature_slots = [f.slots for f in group.features]
        self.pointer_name = names.pointer_name(layout.source.name, layout.entity.name)
        self.key_names = [f.name for f in layout.key_fields]
        self.key_types = [f.type for f in layout.key_fields]
        self.epoch, self.prefix, self.marks = -1, b"", b"m"
        self.pointer: bytes | None = None

    def follow(self, pointer: bytes | None) -> None:
        """Take the live epoch from the pointer."""
        what = f"the state of ({self.layout.source.name}, {self.layout.entity.name})"
        if pointer is None:
            raise StoreError(f"{what} is not built yet; run onefold materialize, or onefold stream")
        epoch, layout = names.decode_pointer(pointer)
        if layout != self.layout.fingerprint:
            raise MismatchError(
                f"{what} has layout {layout}, the definitions need {self.layout.fingerprint}; run onefold materialize"
            )
        self.pointer, self.epoch, self.prefix = pointer, epoch, self.layout.prefix(epoch)
        self.marks = names.marks_name(self.layout.source.name, self.layout.entity.name, epoch, layout)

    def string_name(self, row: Row) -> bytes | None:
        """The name of the row's string; None where a part of its key is NULL."""
        key = names.encode_key(self.key_types, [row[n] for n in self.key_names])
        return None if key is None else names.state_name(self.prefix, key)


@dataclass(slots=True)
class _GroupRow:
    """What a group gives for one row: its features' values and statuses, and where they came from."""

    values: Sequence[Any]
    statuses: Sequence[str]
    read: StringRead
    error: str | None = None


class Lookup:
    """Reads a service's features from a store. Built once per plan; safe to call from one thread at a time.

    Values are the same whatever their status; a key that was never seen, or is NULL, counts 0 and sums NULL.
    """

    def __init__(self, store: OnlineStore, plan: ServicePlan) -> None:
        self.plan = plan
        self._store = store
        self._errors = ValueErrors()
        self._groups = [_GroupReader(g, self._errors) for g in plan.groups]
        self._output = plan.outputter(self._errors)
        self._request = [f.name for f in plan.request]
        refs = [f.ref for g in plan.groups for f in g.features]
        self._dependencies = [[refs.index(r) for r in needs] for needs in plan.dependencies]
        self._all_fresh = (FRESH,) * len(plan.features)

    @property
    def value_errors(self) -> int:
        """How many value errors it has met: overflows, failed casts, sums that are too large. Their value is NULL."""
        return self._errors.count

    def check(self) -> None:
        """Raise unless the store holds, whole, the state that the plan needs."""
        pointers = self._store.get([g.pointer_name for g in self._groups])
        for group, pointer in zip(self._groups, pointers, strict=True):
            group.follow(pointer)

    def read(self, rows: Sequence[Row], times: Sequence[int]) -> list[ServedRow]:
        """A ServedRow per row: `rows` map join keys and request columns to values, `times` are t in microseconds.

        Raises StoreError where state is not built, MismatchError where it was built for other definitions.
        """
        if any(g.pointer is None for g in self._groups):
            self.check()
        fetched = self._fetch(rows)
        while fetched is None:
            fetched = self._fetch(rows)
        per_group = [
            self._read_groups(g, strings, marks, rows, times)
            for g, (strings, marks) in zip(self._groups, fetched, strict=True)
        ]
        return [
            self._finish(row, t, [g[i] for g in per_group]) for i, (row, t) in enumerate(zip(rows, times, strict=True))
        ]

    def _fetch(self, rows: Sequence[Row]) -> list[tuple[list[bytes | None], dict[int, int]]] | None:
        """Strings and marks per group from one read; None where a pointer has moved since, and was followed."""
        wanted: list[bytes] = [g.pointer_name for g in self._groups]
        spans = [[group.string_name(row) for row in rows] for group in self._groups]
        for strings in spans:
            wanted += [s for s in strings if s is not None]
        values, marks = self._store.read(wanted, [g.marks for g in self._groups])
        found = iter(values)
        moved = [(g, p) for g in self._groups if (p := next(found)) != g.pointer]
        for group, pointer in moved:
            group.follow(pointer)
        if moved:
            return None
        fetched = [[None if s is None else next(found) for s in strings] for strings in spans]
        return list(zip(fetched, marks, strict=True))

    def _read_groups(
        self,
        group: _GroupReader,
        strings: Sequence[bytes | None],
        marks: dict[int, int],
        rows: Sequence[Row],
        times: Sequence[int],
    ) -> list[_GroupRow]:
        """Every row of a group. All of it is `partial` where the state lacks events that it is known to have held."""
        markers = {s: offset for s, offset in marks.items() if s >= 0}
        behind = any(offset > markers.get(names.debt(field), -1) for field, offset in marks.items() if field < 0)
        found = [self._read_group(group, *one, markers) for one in zip(strings, rows, times, strict=True)]
        if behind:
            for part in found:
                part.statuses = [s if s == ERROR else PARTIAL for s in part.statuses]
        return found

    def _read_group(
        self, group: _GroupReader, string: bytes | None, row: Row, t: int, markers: dict[int, int]
    ) -> _GroupRow:
        layout, features = group.layout, group.group.features
        error = None
        try:
            reading = group.fold(string, t, None if group.row_event is None else group.row_event(row, t))
        except StateError as problem:
            error = f"state of ({layout.source.name}, {layout.entity.name}): {problem}"
            reading = Reading([None] * len(group.group.slots), [], {}, None, 0)
        read = StringRead(
            layout.source.name, layout.entity.name, group.epoch, layout.fingerprint, reading.offsets, markers
        )
        if error is not None:
            return _GroupRow([None] * len(features), [ERROR] * len(features), read, error)
        return _GroupRow(group.finish(reading.values, t), self._statuses(group, string, reading, t), read)

    @staticmethod
    def _statuses(group: _GroupReader, string: bytes | None, reading: Reading, t: int) -> list[str]:
        if not string:
            return [MISSING] * len(group.group.features)
        age = None if reading.newest is None else t - reading.newest
        return [
            PARTIAL
            if any(reading.partial[i] for i in slots)
            else STALE
            if f.freshness is not None and (age is None or age > f.freshness)
            else FRESH
            for f, slots in zip(group.group.features, group.feature_slots, strict=True)
        ]

    def _finish(self, row: Row, t: int, parts: Sequence[_GroupRow]) -> ServedRow:
        values = [v for part in parts for v in part.values]
        statuses = [s for part in parts for s in part.statuses]
        values += [row[name] for name in self._request]
        values.append(t)
        worst = self._all_fresh
        if statuses.count(FRESH) < len(statuses):
            worst = tuple(
                max((statuses[i] for i in needs), key=_SEVERITY.__getitem__, default=FRESH)
                for needs in self._dependencies
            )
        errors = tuple(part.error for part in parts if part.error is not None)
        outputs = self._output(values)
        if PARTIAL in worst or ERROR in worst:  # not even what a coalesce() would make of it
            outputs = tuple(None if s in (PARTIAL, ERROR) else v for v, s in zip(outputs, worst, strict=True))
        return ServedRow(outputs, worst, tuple(part.read for part in parts), errors)
