"""Heads from the archive, by DuckDB: it prepares and sorts the events, and each key's are packed as they come."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from onefold.features.duckdb_group import prepared_events
from onefold.features.layout import Layout
from onefold.offline.arrow import to_internal
from onefold.offline.packing import HeadPacker, Held, Key

_BATCH = 100_000


class HeadBuilder:
    """Makes the heads of one layout under one epoch, with all events from `floor` on.

    strings, events: how many heads were made so far, of how many events. A key whose events are all below the
    floor has an empty head, which says so.
    """

    def __init__(self, layout: Layout, *, epoch: int, floor: int | None, before: int | None = None) -> None:
        """before: the time below which events are folded into buckets, where the layout has some."""
        self._layout, self._floor = layout, floor
        self._packer = HeadPacker(layout, epoch=epoch, floor=floor, before=before)
        self._keys = ", ".join(f"_k{i}" for i in range(len(layout.key_fields) or 1))
        self.strings = self.events = 0

    def heads(self, db: duckdb.DuckDBPyConnection, events: str) -> Iterator[tuple[bytes, bytes]]:
        """(name, head) of every key in the relation `events`: the source's columns, `_sequence` and `_offset`."""
        offsets = self._highest(db, prepared_events(self._layout, events))
        query = prepared_events(self._layout, events, floor=self._floor)
        ordered = f"SELECT * EXCLUDE (_offset) FROM ({query}) ORDER BY {self._keys}, ts, _sequence, _offset"
        for key, found, _ in self._packer.grouped(db.sql(ordered).to_arrow_reader(_BATCH)):
            self.strings, self.events = self.strings + 1, self.events + len(found.ts)
            yield self._packer.head(key, found, offsets.pop(key))
        for key, held in offsets.items():
            self.strings += 1
            yield self._packer.head(key, self._packer.none(), held)

    def _highest(self, db: duckdb.DuckDBPyConnection, query: str) -> dict[Key, Held]:
        """The highest offset of each sequence among a key's events, those below the floor too."""
        grouped = f"SELECT {self._keys}, _sequence, max(_offset) FROM ({query}) GROUP BY {self._keys}, _sequence"
        offsets: dict[Key, Held] = {}
        for batch in db.sql(grouped).to_arrow_reader(_BATCH):
            for *key, sequence, highest in zip(*map(to_internal, batch.columns), strict=True):
                offsets.setdefault(tuple(key[: len(self._layout.key_fields)]), {})[sequence] = highest
        return offsets
