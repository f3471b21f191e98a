"""Where the events of a build come from: a version of the archive, read by an engine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from onefold.features.definitions import EventSource
from onefold.features.layout import Layout
from onefold.offline.archive import Snapshot
from onefold.offline.engine import connect, events_relation, parquet_relation
from onefold.streaming.heads import HeadBuilder
from onefold.streaming.replay import archived_columns, stream_time

if TYPE_CHECKING:
    from onefold.offline.spark_heads import SparkHeadBuilder
    from onefold.offline.spark_session import SparkSettings, Tasks


class Counted(Protocol):
    """How many heads were handed out so far, of how many events."""

    strings: int
    events: int


@dataclass(frozen=True, slots=True)
class Heads:
    """The heads of one layout as (name, head), to be gone through once, and the count of them as they come."""

    pairs: Iterable[tuple[bytes, bytes]]
    counted: Counted


class HeadSource(Protocol):
    """What a build reads of the archive; every call is given the version that it must read."""

    def stream_time(self, source: EventSource, snapshot: Snapshot) -> int | None:
        """The highest event time, leaving out what was further ahead of its ingestion than the skew; None for none."""

    def heads(self, layout: Layout, *, epoch: int, floor: int | None, before: int | None, snapshot: Snapshot) -> Heads:
        """A head for every key, with its events from `floor` on; those below `before` in buckets, where it has some."""

    def columns(
        self, source: EventSource, snapshot: Snapshot, *, after: Mapping[int, int]
    ) -> Iterator[tuple[int, list[int], list[list[Any]]]]:
        """(sequence, offsets, columns) of the events above `after` of their sequence, in order."""


class DuckDBHeads:
    """The archive read by DuckDB."""

    def stream_time(self, source: EventSource, snapshot: Snapshot) -> int | None:
        with closing(connect()) as db:
            return stream_time(db, source, snapshot.files)

    def heads(self, layout: Layout, *, epoch: int, floor: int | None, before: int | None, snapshot: Snapshot) -> Heads:
        builder = HeadBuilder(layout, epoch=epoch, floor=floor, before=before)
        return Heads(self._pairs(builder, layout.source, snapshot), builder)

    def columns(
        self, source: EventSource, snapshot: Snapshot, *, after: Mapping[int, int]
    ) -> Iterator[tuple[int, list[int], list[list[Any]]]]:
        return archived_columns(source, snapshot.files, after=after)

    @staticmethod
    def _pairs(builder: HeadBuilder, source: EventSource, snapshot: Snapshot) -> Iterator[tuple[bytes, bytes]]:
        if snapshot.files:
            with closing(connect()) as db:
                yield from builder.heads(db, events_relation(source, parquet_relation(snapshot.files)))


class SparkHeads(DuckDBHeads):
    """Heads by Spark; what is little, by DuckDB. tasks: called with how many of Spark's tasks are done, and 0."""

    def __init__(self, settings: SparkSettings, tasks: Tasks | None = None) -> None:
        self._settings, self._tasks = settings, tasks

    def heads(self, layout: Layout, *, epoch: int, floor: int | None, before: int | None, snapshot: Snapshot) -> Heads:
        from onefold.offline.spark_heads import SparkHeadBuilder

        builder: SparkHeadBuilder = SparkHeadBuilder(
            layout, epoch=epoch, floor=floor, before=before, settings=self._settings
        )
        return Heads(builder.heads(snapshot.files, tasks=self._tasks), builder)
