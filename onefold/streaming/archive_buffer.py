"""Events on their way to the archive: held back as they came or as Arrow, committed as one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from onefold.features.definitions import EventSource
from onefold.features.protocols import Archive
from onefold.features.types import BIGINT, TIMESTAMP
from onefold.offline.arrow import from_internal, schema_of
from onefold.streaming.decode import Decoded

_TURN = 2_000
"""Events that become Arrow at once: a millisecond in which no other thread runs."""


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
    """Events as a table of that schema."""
    types = [*(f.type for f in source.fields), BIGINT, TIMESTAMP]
    columns = [*held.columns, held.offsets, held.ingested]
    return pa.Table.from_arrays([from_internal(c, t) for c, t in zip(columns, types, strict=True)], schema=schema)


def joined_table(parts: Sequence[pa.Table]) -> pa.Table:
    """One table of several, which are not copied for it."""
    return pa.concat_tables(parts)


class ArchiveBuffer:
    """The events of one sequence that are not in the archive yet. `time_column` is the event time's place in a row.

    They become Arrow a turn at a time, as they come: a tenth of the memory, and when they are committed no other
    thread has to wait while hundreds of thousands of them are converted, and their objects freed.
    """

    def __init__(self, archive: Archive, source: EventSource, sequence: int) -> None:
        self._archive, self._source, self._sequence = archive, source, sequence
        self._schema = held_schema(source)
        self.time_column = self._schema.names.index(source.event_time)
        self._held, self._parts, self._count = Held(), list[pa.Table](), 0
        pa.array([None])  # Arrow imports pandas at its first list, where it is there: half a second no event is to wait

    def __len__(self) -> int:
        return self._count

    def add(self, decoded: Decoded, *, ingested_at: int) -> None:
        held = self._held
        if not held.columns:
            held.columns = [[] for _ in self._source.fields]
        for column, more in zip(held.columns, decoded.columns, strict=True):
            column += more
        held.offsets += decoded.offsets
        held.ingested += [ingested_at] * len(decoded.offsets)
        self._count += len(decoded.offsets)
        if len(held.offsets) >= _TURN:
            self._turn()

    def take(self) -> list[pa.Table]:
        """All that is held, which is then the caller's to commit."""
        self._turn()
        parts = self._parts
        self.clear()
        return parts

    def commit(self, parts: list[pa.Table]) -> int:
        """Commit what was taken; how many events were new. Another thread may call it while more is added."""
        return self._archive.append(self._source.name, self._sequence, joined_table(parts)) if parts else 0

    def clear(self) -> None:
        """Forget what is held: its feed will be replayed."""
        self._held, self._parts, self._count = Held(), [], 0

    def _turn(self) -> None:
        if self._held.offsets:
            self._parts.append(held_table(self._source, self._held, self._schema))
            self._held = Held()
