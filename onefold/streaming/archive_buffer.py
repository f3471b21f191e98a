"""Events on their way to the archive: held back as rows, committed as one table."""

from __future__ import annotations

import pyarrow as pa

from onefold.features.definitions import EventSource
from onefold.features.protocols import Archive
from onefold.features.types import TIMESTAMP
from onefold.offline.arrow import from_internal, schema_of
from onefold.streaming.decode import Decoded, Row


class ArchiveBuffer:
    """The events of one sequence that are not in the archive yet. `time_column` is the event time's place in a row."""

    def __init__(self, archive: Archive, source: EventSource, sequence: int) -> None:
        self._archive, self._source, self._sequence = archive, source, sequence
        self._types = [f.type for f in source.fields]
        schema = schema_of(source.fields, required=(source.event_time,))
        self.time_column = schema.names.index(source.event_time)
        position = [pa.field("_offset", pa.int64()), pa.field("_ingested_at", pa.timestamp("us", tz="UTC"))]
        self._schema = pa.schema([*schema, *position])
        self.clear()

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, decoded: Decoded, *, ingested_at: int) -> None:
        self._rows += decoded.rows
        self._offsets += decoded.offsets
        self._ingested += [ingested_at] * len(decoded.rows)

    def flush(self) -> int:
        """Commit what is held; how many events were new. On an error all of it is still held."""
        if not self._rows:
            return 0
        columns = [from_internal(c, kind) for c, kind in zip(zip(*self._rows, strict=True), self._types, strict=True)]
        columns += [pa.array(self._offsets, pa.int64()), from_internal(self._ingested, TIMESTAMP)]
        events = pa.Table.from_arrays(columns, schema=self._schema)
        added = self._archive.append(self._source.name, self._sequence, events)
        self.clear()
        return added

    def clear(self) -> None:
        """Forget what is held: its feed will be replayed."""
        self._rows: list[Row] = []
        self._offsets: list[int] = []
        self._ingested: list[int] = []
