"""Packing heads from prepared events that a batch engine has computed and sorted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa

from onefold.features import keys as names
from onefold.features.duckdb_group import prepared_events
from onefold.features.layout import Layout, hash_id
from onefold.features.records import Events
from onefold.features.state import StateCodec
from onefold.offline.arrow import to_internal
from onefold.streaming.state_writer import fresh_generation

_BATCH = 100_000

Key = tuple[Any, ...]


class HeadBuilder:
    """Makes the heads of one layout under one epoch, with all events from `floor` on.

    strings, events: how many heads were made so far, of how many events. A key whose events are all below the
    floor has an empty head, which says so.
    """

    def __init__(self, layout: Layout, *, epoch: int, floor: int | None) -> None:
        self._layout, self._floor = layout, floor
        self._codec = StateCodec(layout)
        self._prefix = layout.prefix(epoch)
        self._types = [f.type for f in layout.key_fields]
        self._keys = ", ".join(f"_k{i}" for i in range(len(self._types) or 1))
        self.strings = self.events = 0

    def heads(self, db: duckdb.DuckDBPyConnection, events: str) -> Iterator[tuple[bytes, bytes]]:
        """(name, head) of every key in the relation `events`: the source's columns, `_sequence` and `_offset`."""
        offsets = self._highest(db, prepared_events(self._layout, events))
        query = prepared_events(self._layout, events, floor=self._floor)
        ordered = f"SELECT * FROM ({query}) ORDER BY {self._keys}, ts, _sequence, _offset"
        for key, found in self._grouped(db.sql(ordered).to_arrow_reader(_BATCH)):
            yield self._head(key, found, offsets.pop(key))
        for key, held in offsets.items():
            yield self._head(key, self._none(), held)

    def _highest(self, db: duckdb.DuckDBPyConnection, query: str) -> dict[Key, dict[int, int]]:
        """The highest offset of each sequence among a key's events, those below the floor too."""
        grouped = f"SELECT {self._keys}, _sequence, max(_offset) FROM ({query}) GROUP BY {self._keys}, _sequence"
        offsets: dict[Key, dict[int, int]] = {}
        for batch in db.sql(grouped).to_arrow_reader(_BATCH):
            for *key, sequence, highest in zip(*map(to_internal, batch.columns), strict=True):
                offsets.setdefault(tuple(key[: len(self._types)]), {})[sequence] = highest
        return offsets

    def _grouped(self, batches: pa.RecordBatchReader) -> Iterator[tuple[Key, Events]]:
        """The events of each key, together; a key's events may span batches."""
        last: Key | None = None
        pending = self._none()
        for batch in batches:
            for key, events in self._runs(batch):
                if key != last:
                    if last is not None:
                        yield last, pending
                    last, pending = key, events
                else:
                    _extend(pending, events)
        if last is not None:
            yield last, pending

    def _runs(self, batch: pa.RecordBatch) -> Iterator[tuple[Key, Events]]:
        """The events of a batch, cut where the key changes."""
        columns = {name: to_internal(batch.column(name)) for name in batch.schema.names if name != "_offset"}
        keys = list(zip(*(columns[f"_k{i}"] for i in range(len(self._types))), strict=True)) or [()] * batch.num_rows
        ids = [hash_id(v) for v in columns["_id"]] if self._layout.has_ids else [0] * len(keys)
        values = [columns[f"c{i}"] for i in range(len(self._layout.columns))]
        everything = Events(columns["ts"], columns["_sequence"], ids, values)
        edges = [i for i in range(1, len(keys)) if keys[i] != keys[i - 1]]
        for start, end in zip([0, *edges], [*edges, len(keys)], strict=True):
            if end > start:
                yield keys[start], _cut(everything, start, end)

    def _head(self, key: Key, events: Events, offsets: dict[int, int]) -> tuple[bytes, bytes]:
        encoded = names.encode_key(self._types, key)
        assert encoded is not None, "prepared events have no NULL keys"
        self.strings += 1
        self.events += len(events.ts)
        kept = encoded if len(encoded) > names.LONGEST else b""
        head = self._codec.head(events, offsets=offsets, floor=self._floor, generation=fresh_generation(), key=kept)
        return names.state_name(self._prefix, encoded), head

    def _none(self) -> Events:
        return Events([], [], [], [[] for _ in self._layout.columns])


def _cut(events: Events, start: int, end: int) -> Events:
    ts, sequences, ids = (xs[start:end] for xs in (events.ts, events.sequences, events.ids))
    return Events(ts, sequences, ids, [column[start:end] for column in events.columns])


def _extend(events: Events, more: Events) -> None:
    events.ts += more.ts
    events.sequences += more.sequences
    events.ids += more.ids
    for column, added in zip(events.columns, more.columns, strict=True):
        column += added
