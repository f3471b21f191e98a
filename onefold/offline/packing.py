"""Packing heads from prepared events that a batch engine has computed and sorted by key and (ts, position)."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from onefold.features import keys as names
from onefold.features.layout import Layout, hash_id
from onefold.features.records import Events
from onefold.features.state import StateCodec
from onefold.offline.arrow import to_internal

Key = tuple[Any, ...]
Held = dict[int, int]
"""The highest offset of each sequence."""


def fresh_generation() -> bytes:
    """The 8 bytes that tell a head from every other head its string ever had."""
    return os.urandom(8)


class HeadPacker:
    """Makes the heads of one layout under one epoch, with all events from `floor` on.

    Events come as batches of `_k*`, `ts`, `_sequence`, `_offset` (where offsets are asked for), `_id` (where the source
    has ids) and `c*`.
    """

    def __init__(self, layout: Layout, *, epoch: int, floor: int | None, before: int | None = None) -> None:
        """before: the time below which events are folded into buckets, where the layout has some."""
        self._layout, self._floor, self._before = layout, floor, before
        self._codec = StateCodec(layout)
        self._prefix = layout.prefix(epoch)
        self._types = [f.type for f in layout.key_fields]

    def grouped(self, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[Key, Events, Held]]:
        """The events of each key from the floor on, together, and what its events held in all."""
        last: Key | None = None
        pending, held = self.none(), Held()
        for batch in batches:
            for key, events, offsets in self._runs(batch):
                if key != last:
                    if last is not None:
                        yield last, pending, held
                    last, pending, held = key, self.none(), Held()
                _extend(pending, self._above_floor(events))
                for sequence, offset in zip(events.sequences, offsets, strict=False):
                    held[sequence] = max(offset, held.get(sequence, offset))
        if last is not None:
            yield last, pending, held

    def head(self, key: Key, events: Events, held: Held) -> tuple[bytes, bytes]:
        """(name, head) of a key."""
        encoded = names.encode_key(self._types, key)
        assert encoded is not None, "prepared events have no NULL keys"
        kept = encoded if len(encoded) > names.LONGEST else b""
        head = self._codec.head(
            events, offsets=held, floor=self._floor, generation=fresh_generation(), key=kept, before=self._before
        )
        return names.state_name(self._prefix, encoded), head

    def none(self) -> Events:
        return Events([], [], [], [[] for _ in self._layout.columns])

    def _above_floor(self, events: Events) -> Events:
        start = 0 if self._floor is None else bisect_left(events.ts, self._floor)
        return _cut(events, start, len(events.ts)) if start else events

    def _runs(self, batch: pa.RecordBatch) -> Iterator[tuple[Key, Events, list[int]]]:
        """The events of a batch with their offsets, cut where the key changes."""
        columns = {name: to_internal(batch.column(name)) for name in batch.schema.names}
        keys = list(zip(*(columns[f"_k{i}"] for i in range(len(self._types))), strict=True)) or [()] * batch.num_rows
        ids = [hash_id(v) for v in columns["_id"]] if self._layout.has_ids else [0] * len(keys)
        values = [columns[f"c{i}"] for i in range(len(self._layout.columns))]
        everything = Events(columns["ts"], columns["_sequence"], ids, values)
        offsets = columns.get("_offset", [])
        edges = [i for i in range(1, len(keys)) if keys[i] != keys[i - 1]]
        for start, end in zip([0, *edges], [*edges, len(keys)], strict=True):
            if end > start:
                yield keys[start], _cut(everything, start, end), offsets[start:end]


def _cut(events: Events, start: int, end: int) -> Events:
    ts, sequences, ids = (xs[start:end] for xs in (events.ts, events.sequences, events.ids))
    return Events(ts, sequences, ids, [column[start:end] for column in events.columns])


def _extend(events: Events, more: Events) -> None:
    events.ts += more.ts
    events.sequences += more.sequences
    events.ids += more.ids
    for column, added in zip(events.columns, more.columns, strict=True):
        column += added
