"""Events on their way to the archive: held back as rows, committed as one table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from onefold.features.definitions import EventSource
from onefold.features.protocols import Archive
from onefold.features.types import BIGINT, TIMESTAMP
from onefold.offline.arrow import from_internal, schema_of
from onefold.streaming.decode import Decoded

_TURN = 10_000
"""Values that become Arrow at once: half a millisecond in which no other thread runs."""


@dataclass(slots=True)
class Held:
    """Events as columns, in order of their offsets, each with when it was ingested."""

    columns: list[list[Any]] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    ingested: list[int] = field(default_factory=list)


def held_schema(source: EventSource) -> pa.Schema:
    """The columns of events that go to the archive: the source's, their offset, and when they were ingested."""
    position = [pa.field("_offset", pa.int64()), pa.field("_ingested_at", pa.timestamp("us", tz="UTC"))]
    return pa.schema([*schema_of(source.fields, required=(source.event_time,)), *position])


def held_table(source: EventSource, held: Held, schema: pa.Schema) -> pa.Table:
    """Events as a table of that schema; made in short turns, between which other threads have the interpreter."""
    types = [*(f.type for f in source.fields), BIGINT, TIMESTAMP]
    turns = range(0, len(held.offsets), _TURN)
    columns = [*held.columns, held.offsets, held.ingested]
    arrays = [
        pa.chunked_array([from_internal(c[at : at + _TURN], kind) for at in turns], type=field.type)
        for c, kind, field in zip(columns, types, schema, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


class ArchiveBuffer:
    """The events of one sequence that are not in the archive yet. `time_column` is the event time's place in a row."""

    def __init__(self, archive: Archive, source: EventSource, sequence: int) -> None:
        self._archive, self._source, self._sequence = archive, source, sequence
        self._schema = held_schema(source)
        self.time_column = self._schema.names.index(source.event_time)
        self._held = Held()
        pa.array([None])  # Arrow imports pandas at its first list, where it is there: half a second no event is to wait

    def __len__(self) -> int:
        return len(self._held.offsets)

    def add(self, decoded: Decoded, *, ingested_at: int) -> None:
        held = self._held
        if not held.columns:
            held.columns = [[] for _ in self._source.fields]
        for column, more in zip(held.columns, decoded.columns, strict=True):
            column += more
        held.offsets += decoded.offsets
        held.ingested += [ingested_at] * len(decoded.offsets)

    def take(self) -> Held:
        """All that is held, which is then the caller's to commit."""
        held, self._held = self._held, Held()
        return held

    def commit(self, held: Held) -> int:
        """Commit what was taken; how many events were new. Another thread may call it while more is added."""
        if not held.offsets:
            return 0
        return self._archive.append(self._source.name, self._sequence, held_table(self._source, held, self._schema))

    def clear(self) -> None:
        """Forget what is held: its feed will be replayed."""
        self._held = Held()
