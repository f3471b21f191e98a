"""Finding the cause of a mismatch: what single fault of the state would have given the value that was served?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from onefold.features.duckdb_group import prepared_events
from onefold.features.duckdb_scalar import quote
from onefold.features.fold import StateFold
from onefold.features.functions import equal
from onefold.features.layout import hash_id
from onefold.features.plans import Group
from onefold.features.protocols import Archive
from onefold.features.records import Events
from onefold.features.state import StateCodec
from onefold.offline.engine import connect, events_relation, parquet_relation
from onefold.verify.report import Cause

SEARCH = 3_000
"""Events of a key, at most, that are tried one by one."""


@dataclass(frozen=True, slots=True)
class Finding:
    cause: Cause
    detail: str


@dataclass(frozen=True, slots=True)
class _KeyEvents:
    """The archived events of one key in order of (ts, position), with their offsets."""

    events: Events
    offsets: list[int]

    def position(self, i: int) -> tuple[int, int]:
        return self.events.sequences[i], self.offsets[i]

    def upto(self, t: int, known: Mapping[int, int]) -> list[int]:
        """The events with ts <= t that a string held whose highest offsets are `known`."""
        return [
            i
            for i, ts in enumerate(self.events.ts)
            if ts <= t and self.offsets[i] <= known.get(self.events.sequences[i], -1)
        ]


class Diagnosis:
    """Looks for causes in the states of one group. Events of a key are fetched once; a culprit is tried first again."""

    def __init__(self, group: Group, archive: Archive) -> None:
        self._group, self._archive = group, archive
        self._fold = StateFold(group.layout, group.slots)
        self._codec = StateCodec(group.layout)
        self._finish = group.finisher()
        self._keys: dict[tuple[Any, ...], _KeyEvents] = {}
        self._culprits: list[tuple[Cause, tuple[int, int]]] = []

    def explain(
        self,
        row: Mapping[str, Any],
        t: int,
        served: Mapping[str, Any],
        *,
        known: Mapping[int, int],
        markers: Mapping[int, int],
    ) -> Finding:
        """The cause for one row's values of this group. `served`: by ref, those that were logged."""
        key = tuple(row[f.name] for f in self._group.layout.key_fields)
        events = self._events(key)
        lost = self._lost(events, t, known, markers)
        if lost is not None:
            return lost
        held = events.upto(t, known)
        for cause, i in self._suspects(events, held):
            if self._gives(events, _with_fault(held, cause, i), t, served):
                return self._found(cause, events, i)
        return Finding(Cause.VALUE_ALTERED, "no single missing or doubled event explains it")

    def _lost(self, events: _KeyEvents, t: int, known: Mapping[int, int], markers: Mapping[int, int]) -> Finding | None:
        """An event that the string should have held: its offset is above the string's, and not above the marker."""
        for i, ts in enumerate(events.events.ts):
            sequence, offset = events.position(i)
            if ts <= t and known.get(sequence, -1) < offset <= markers.get(sequence, -1):
                return self._found(Cause.MISSING_EVENT, events, i)
        return None

    def _found(self, cause: Cause, events: _KeyEvents, i: int) -> Finding:
        position = events.position(i)
        if (cause, position) not in self._culprits:
            self._culprits.append((cause, position))
        source, entity = self._group.source, self._group.entity
        return Finding(
            cause, f"event at sequence {position[0]}, offset {position[1]} of {source!r}, in the state of {entity!r}"
        )

    def _suspects(self, events: _KeyEvents, held: Sequence[int]) -> Iterator[tuple[Cause, int]]:
        """Faults to try: known culprits first, then each event from the newest on."""
        by_position = {events.position(i): i for i in held}
        for cause, position in self._culprits:
            if position in by_position:
                yield cause, by_position[position]
        for i in list(reversed(held))[:SEARCH]:
            yield Cause.MISSING_EVENT, i
            yield Cause.DOUBLED_EVENT, i

    def _gives(self, events: _KeyEvents, order: Sequence[int], t: int, served: Mapping[str, Any]) -> bool:
        """Whether a state of these events gives what was served."""
        state = self._codec.head(events.events.take(order), offsets={}, floor=None, generation=bytes(8))
        values = self._finish(self._fold(state, t).values)
        made = dict(zip((f.ref for f in self._group.features), values, strict=True))
        return all(_same(made[ref], value) for ref, value in served.items())

    def _events(self, key: tuple[Any, ...]) -> _KeyEvents:
        if key not in self._keys:
            self._keys[key] = self._fetch(key)
        return self._keys[key]

    def _fetch(self, key: tuple[Any, ...]) -> _KeyEvents:
        layout = self._group.layout
        files = self._archive.files(layout.source.name)
        if not files or None in key:
            return _KeyEvents(Events([], [], [], [[] for _ in layout.columns]), [])
        rows = prepared_events(layout, events_relation(layout.source, parquet_relation(files)))
        columns = ", ".join(_plain(f"c{i}", str(kind)) for i, kind in enumerate(layout.types))
        match = " AND ".join(f"_k{i} = {_parameter(str(f.type), i)}" for i, f in enumerate(layout.key_fields))
        query = f"SELECT ts, _sequence, _offset, _id, {columns or 'NULL'} FROM ({rows}) WHERE {match} ORDER BY ts, _sequence, _offset"
        with closing(connect()) as db:
            found = db.execute(query, list(key)).fetchall()
        ids = [hash_id(r[3]) if layout.has_ids else 0 for r in found]
        values = [[r[4 + i] for r in found] for i in range(len(layout.columns))]
        return _KeyEvents(Events([r[0] for r in found], [r[1] for r in found], ids, values), [r[2] for r in found])


def _plain(column: str, kind: str) -> str:
    """A column as Onefold's plain value: times as integers."""
    name = quote(column)
    return {"TIMESTAMP": f"epoch_us({name})", "DATE": f"({name} - DATE '1970-01-01')"}.get(kind, name)


def _parameter(kind: str, number: int) -> str:
    mark = f"${number + 1}"
    return {"TIMESTAMP": f"make_timestamp({mark})", "DATE": f"(DATE '1970-01-01' + {mark}::INTEGER)"}.get(kind, mark)


def _with_fault(held: Sequence[int], cause: Cause, i: int) -> list[int]:
    if cause == Cause.MISSING_EVENT:
        return [j for j in held if j != i]
    return [j for j in held for _ in range(2 if j == i else 1)]


def _same(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    return bool(equal(a, b))
