"""One batch of Spark's stream, on the driver: decode, see that all of it was of the topics that are joined, append,
raise the marks, commit to the archive. An error at any point leaves what a replay of the batch, or of any other from
the same place, makes whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import TYPE_CHECKING

import pyarrow as pa

from onefold.features.definitions import EventSource
from onefold.features.errors import SessionError
from onefold.features.project import Project
from onefold.features.protocols import DeadLetterSink, OnlineStore
from onefold.offline.archive import DeltaArchive
from onefold.offline.archive_rows import POSITION, ArchiveFile
from onefold.offline.arrow import schema_of
from onefold.streaming.joined import JoinedFeed
from onefold.streaming.joining import Joiner
from onefold.streaming.report import StepReport
from onefold.streaming.spark_append import (
    BLOCKS_SQL,
    REPORT_SQL,
    Appender,
    EventFile,
    Opener,
    Target,
    appending,
    ordered,
    packing,
)
from onefold.streaming.spark_decode import COLUMNS, FOUND_SQL, Letter, Portion, ReaderOf, Reading, decoding, read_found

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Place = tuple[str, int]
"""A topic and a partition."""


class BatchTaker:
    """Takes batches of Kafka's records, one at a time, into the archive and the states of the feeds that `joiner` has.

    store: the driver's. open_store: opens it on an executor; None where this process alone may write it.
    unchanged: whether the topics are those that were joined. clock, reach: as the worker's.
    """

    def __init__(
        self,
        project: Project,
        spark: SparkSession,
        joiner: Joiner,
        *,
        store: OnlineStore,
        open_store: Opener | None,
        archive: DeltaArchive,
        dead_letters: DeadLetterSink,
        unchanged: Callable[[], bool],
        reader: ReaderOf,
        clock: Callable[[], int],
        reach: int,
    ) -> None:
        self._project, self._spark, self._joiner = project, spark, joiner
        self._store, self._open_store, self._archive = store, open_store, archive
        self._dead_letters, self._unchanged, self._clock, self._reach = dead_letters, unchanged, clock, reach
        self._reader, self._stream_time = reader, dict[str, int]()

    def take(self, frame: DataFrame) -> StepReport:
        """Take one batch. Raises SessionError where the feeds must be joined again before it is read again."""
        joined = _places(self._joiner.by_feed.values())
        self._check(joined)
        flushed = {name: self._archive.progress(name) for name in {j.source for j in joined.values()}}
        readings = {place: self._reading(j, flushed[j.source]) for place, j in joined.items()}
        found = frame.select(*COLUMNS).mapInArrow(decoding(readings, now=self._clock()), FOUND_SQL)
        portions, letters = read_found(found.toArrow())
        try:
            self._check_topics()
            self._refuse(letters, joined)
            report = self._append(portions, joined)
            self._mark(portions, joined)
        except BaseException:
            self._discard(portions, joined, whole=True)
            raise
        report.archived = self._commit(portions, joined, flushed)
        self._discard(portions, joined, whole=False)
        report.records, report.refused = sum(p.records for p in portions), len(letters)
        report.events = sum(p.events for p in portions)
        report.value_errors += sum(p.value_errors for p in portions)
        return report

    def _check(self, joined: Mapping[Place, JoinedFeed]) -> None:
        self._check_topics()
        for source in {j.source for j in joined.values()}:
            if self._joiner.moved(source):
                raise SessionError(f"a state of source {source!r} has moved, or its store was restarted")

    def _check_topics(self) -> None:
        """A topic's records are read by its name, so what was read is known to be of that topic only behind it."""
        if not self._unchanged():
            raise SessionError("topics or partitions came or went")

    def _reading(self, joined: JoinedFeed, flushed: Mapping[int, int]) -> Reading:
        source = self._project.sources[joined.source]
        archived = flushed.get(joined.sequence, -1)
        held = min([archived, *(held for _, held in joined.writers)])
        branch = joined.feed.source.partition(".")[2] or None
        folder = self._archive.folder(source.name)
        return Reading(source, branch, joined.sequence, archived, held, folder, self._reader)

    def _refuse(self, letters: Sequence[Letter], joined: Mapping[Place, JoinedFeed]) -> None:
        for letter in letters:
            of = joined[letter.topic, letter.partition]
            self._dead_letters.add(
                of.source, feed=of.feed.name, sequence=of.sequence, offset=letter.offset, reason=letter.reason,
                original=letter.value,
            )  # fmt: skip
        self._dead_letters.flush()

    def _append(self, portions: Sequence[Portion], joined: Mapping[Place, JoinedFeed]) -> StepReport:
        """Pack and append on the executors; what was done, when all of it is acknowledged."""
        targets, numbers = self._targets(portions, joined)
        files = []
        for p in portions:
            of = joined[p.topic, p.partition]
            held = tuple((numbers[of.source, i], offset) for i, (_, offset) in enumerate(of.writers))
            source = self._project.sources[of.source]
            for name in (p.old_name, p.new_name):
                if name is not None and held:
                    files.append(EventFile(self._archive.folder(source.name) / name, source, of.sequence, held))
        if not files:
            return StepReport()
        blocks = self._spark.range(0, len(files), 1, len(files)).mapInArrow(packing(files, targets), BLOCKS_SQL)
        if self._open_store is None:
            return self._append_here(blocks, targets)
        placed = blocks.repartition("name").sortWithinPartitions("name", "sequence", "first")
        done = placed.mapInArrow(appending(self._open_store, targets), REPORT_SQL).toArrow()
        return _sum(done)

    def _append_here(self, blocks: DataFrame, targets: Sequence[Target]) -> StepReport:
        appender = Appender(self._store, targets)
        for batch in ordered(blocks.toArrow()).to_batches():
            appender.take(batch)
        return appender.done()

    def _targets(
        self, portions: Sequence[Portion], joined: Mapping[Place, JoinedFeed]
    ) -> tuple[list[Target], Mapping[tuple[str, int], int]]:
        """The states that the batch is for, and the number of each by its source and its place among the source's."""
        targets: list[Target] = []
        numbers: dict[tuple[str, int], int] = {}
        for source in dict.fromkeys(joined[p.topic, p.partition].source for p in portions):
            feeds = [j for j in joined.values() if j.source == source]
            now = self._move_stream_time(source, portions, joined)
            for i, (writer, _) in enumerate(feeds[0].writers):
                marks = {
                    j.sequence: max(j.writers[i][1], j.acknowledged.get(writer.marks, -1)) for j in feeds
                }  # fmt: skip
                pointer = feeds[0].pointers[i]
                assert pointer is not None
                numbers[source, i] = len(targets)
                targets.append(Target(writer.layout, writer.epoch, self._reach, pointer, marks, now))
        return targets, numbers

    def _move_stream_time(
        self, source: str, portions: Sequence[Portion], joined: Mapping[Place, JoinedFeed]
    ) -> int | None:
        mine = [p.latest for p in portions if joined[p.topic, p.partition].source == source and p.latest is not None]
        if mine:
            highest = max(mine)
            self._stream_time[source] = max(highest, self._stream_time.get(source, highest))
        return self._stream_time.get(source)

    def _mark(self, portions: Sequence[Portion], joined: Mapping[Place, JoinedFeed]) -> None:
        """Raise the marks to the last record of each partition, if the store is still the one that was joined."""
        for place, last in _last(portions).items():
            of = joined[place]
            marks = [writer.marks for writer, _ in of.writers]
            self._store.mark([(group, of.sequence, last) for group in marks], session=of.session)
            of.acknowledged |= {group: max(last, of.acknowledged.get(group, -1)) for group in marks}

    def _commit(
        self,
        portions: Sequence[Portion],
        joined: Mapping[Place, JoinedFeed],
        flushed: Mapping[str, Mapping[int, int]],
    ) -> int:
        """Commit the files of each source, all sequences at one moment; how many events were new."""
        by_source: dict[str, list[ArchiveFile]] = {}
        for p in portions:
            of = joined[p.topic, p.partition]
            file = p.file(of.sequence)
            if file is not None:
                by_source.setdefault(of.source, []).append(file)
        return sum(
            self._archive.add(name, files, after=flushed[name], schema=_table_schema(self._project.sources[name]))
            for name, files in by_source.items()
        )

    def _discard(self, portions: Sequence[Portion], joined: Mapping[Place, JoinedFeed], *, whole: bool) -> None:
        """Delete files that are no part of the archive: those of a replay and, with `whole`, all of the batch."""
        for p in portions:
            folder = self._archive.folder(joined[p.topic, p.partition].source)
            for name in (p.old_name, p.new_name if whole else None):
                if name is not None:
                    with suppress(OSError):
                        (folder / name).unlink()


def _places(joined: Iterable[JoinedFeed]) -> dict[Place, JoinedFeed]:
    """The feeds by topic and partition."""
    return {(j.feed.topic.name, j.feed.partition): j for j in joined}  # type: ignore[attr-defined] # PartitionFeed


def _last(portions: Sequence[Portion]) -> dict[Place, int]:
    last: dict[Place, int] = {}
    for p in portions:
        last[p.topic, p.partition] = max(p.offset, last.get((p.topic, p.partition), -1))
    return last


def _table_schema(source: EventSource) -> pa.Schema:
    return pa.schema([*schema_of(source.fields, required=(source.event_time,)), *POSITION])


def _sum(reports: pa.Table) -> StepReport:
    total = StepReport()
    for row in reports.to_pylist():
        total.add(StepReport(**{f.name: row[f.name] or 0 for f in fields(StepReport)}))
    return total
