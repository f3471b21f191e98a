"""Heads from the archive, by Spark: events go to their key's place in one shuffle, and Python packs them there.

The heads are written as Parquet files of (name, head), from which the store is loaded a batch at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset as ds

from onefold.features.layout import Layout
from onefold.features.spark_group import prepared_events
from onefold.offline.packing import HeadPacker
from onefold.offline.spark import Job, scratch, view
from onefold.offline.spark_session import SparkSettings, Tasks, session, watched

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_SCHEMA = pa.schema([("name", pa.binary()), ("head", pa.binary()), ("events", pa.int64())])
_ROWS = 1_000


class SparkHeadBuilder:
    """Makes the heads of one layout under one epoch, with all events from `floor` on; as `streaming.HeadBuilder`.

    strings, events: how many heads were handed out so far, of how many events.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        epoch: int,
        floor: int | None,
        before: int | None = None,
        settings: SparkSettings | None = None,
    ) -> None:
        self._layout, self._settings = layout, settings
        self._epoch, self._floor, self._before = epoch, floor, before
        self.strings = self.events = 0

    def heads(self, files: Sequence[str], *, tasks: Tasks | None = None) -> Iterator[tuple[bytes, bytes]]:
        """(name, head) of every key in the source's archived Parquet files."""
        spark = session(self._settings)
        with scratch(self._settings) as folder:
            events = view(Job(spark, folder).events(self._layout.source, files))
            with watched(spark, tasks):
                self.packed(events).write.parquet(str(folder / "heads"))
            for batch in ds.dataset(folder / "heads", schema=_SCHEMA).to_batches(batch_size=_ROWS):
                self.strings, self.events = (
                    self.strings + batch.num_rows,
                    self.events + sum(batch["events"].to_pylist()),
                )
                yield from zip(batch["name"].to_pylist(), batch["head"].to_pylist(), strict=True)

    def packed(self, events: str) -> DataFrame:
        """`name`, `head` and how many `events` it has, of every key in the relation `events`."""
        keys = [f"_k{i}" for i in range(len(self._layout.key_fields))]
        placed = f"SELECT * FROM ({prepared_events(self._layout, events)}) DISTRIBUTE BY {', '.join(keys) or '0L'}"
        order = ", ".join([*keys, "ts", "_sequence", "_offset"])
        ordered = session(self._settings).sql(f"SELECT * FROM ({placed}) SORT BY {order}")
        pack = _packing(self._layout, epoch=self._epoch, floor=self._floor, before=self._before)
        return ordered.mapInArrow(pack, "name BINARY, head BINARY, events BIGINT")


def _packing(
    layout: Layout, *, epoch: int, floor: int | None, before: int | None
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def pack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        packer = HeadPacker(layout, epoch=epoch, floor=floor, before=before)
        rows: list[tuple[bytes, bytes, int]] = []
        for key, events, held in packer.grouped(batches):
            rows.append((*packer.head(key, events, held), len(events.ts)))
            if len(rows) == _ROWS:
                yield _batch(rows)
                rows = []
        if rows:
            yield _batch(rows)

    return pack


def _batch(rows: Sequence[tuple[bytes, bytes, int]]) -> pa.RecordBatch:
    return pa.record_batch([pa.array(c) for c in zip(*rows, strict=True)], schema=_SCHEMA)
