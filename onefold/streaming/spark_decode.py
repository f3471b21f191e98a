"""The first half of a batch of Spark's, on its executors: records of Kafka are decoded, as the worker decodes them, and
written as files of the archive, which nobody sees before they are committed.

A task answers with what it found: one portion for each partition of a topic that it read, and its refusals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa

from onefold.features.definitions import EventSource
from onefold.features.formats import Format, Json
from onefold.features.protocols import Reader, Records
from onefold.features.windows import duration
from onefold.offline.archive_rows import ArchiveFile, ArchiveFileWriter
from onefold.streaming.archive_buffer import Held, held_schema, held_table
from onefold.streaming.decode import Decoded, Decoder

COLUMNS = ("topic", "partition", "offset", "timestamp", "value")
"""What is read of Kafka's records."""
FOUND = pa.schema([
    ("topic", pa.string()), ("partition", pa.int32()), ("offset", pa.int64()), ("records", pa.int64()),
    ("events", pa.int64()), ("value_errors", pa.int64()), ("latest", pa.int64()),
    ("new_name", pa.string()), ("new_rows", pa.int64()), ("new_size", pa.int64()), ("new_last", pa.int64()),
    ("old_name", pa.string()), ("reason", pa.string()), ("value", pa.binary()),
])  # fmt: skip
"""A portion, or (with a reason) a refusal."""
FOUND_SQL = (
    "topic STRING, partition INT, offset BIGINT, records BIGINT, events BIGINT, value_errors BIGINT, latest BIGINT, "
    "new_name STRING, new_rows BIGINT, new_size BIGINT, new_last BIGINT, old_name STRING, reason STRING, value BINARY"
)
REPLAYED = "_replayed"
"""What the names of files begin with whose events are in the archive already, and lack in a state only."""

Batches = Iterable[pa.RecordBatch]


@dataclass(frozen=True, slots=True)
class Reading:
    """How one partition is read: into which sequence of which source, and what is in already.

    archived: the highest offset in the archive. held: the lowest that all states of the source hold up to. reader: of
    its format.
    """

    source: EventSource
    branch: str | None
    sequence: int
    archived: int
    held: int
    folder: Path
    reader: ReaderOf


@dataclass(slots=True)
class Portion:
    """What a task read of one partition. offset: of its last record. latest: the highest event time that is not too far
    ahead of the clock. new: the file whose events the archive lacks; old_name: of the file of the others."""

    topic: str
    partition: int
    offset: int = -1
    records: int = 0
    events: int = 0
    value_errors: int = 0
    latest: int | None = None
    new_name: str | None = None
    new_rows: int = 0
    new_size: int = 0
    new_last: int = -1
    old_name: str | None = None

    def file(self, sequence: int) -> ArchiveFile | None:
        """The file that is to be committed."""
        if self.new_name is None:
            return None
        return ArchiveFile(self.new_name, sequence, self.new_rows, self.new_size, self.new_last)


@dataclass(frozen=True, slots=True)
class Letter:
    """A record that was refused."""

    topic: str
    partition: int
    offset: int
    reason: str
    value: bytes


def decoding(readings: Mapping[tuple[str, int], Reading], *, now: int) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """The function that Spark maps over the batches of a task: records of Kafka to FOUND.

    now: microseconds since 1970 UTC, when the batch was read.
    """

    def decode(batches: Batches) -> Iterator[pa.RecordBatch]:
        tasks: dict[tuple[str, int], _Task] = {}
        for batch in batches:
            for place, records in _runs(batch):
                if place not in tasks:
                    tasks[place] = _Task(Portion(*place), readings[place], now)
                yield from tasks[place].take(records)
        portions = [asdict(task.done()) for task in tasks.values()]
        yield pa.RecordBatch.from_pylist(portions, schema=FOUND)

    return decode


def read_found(table: pa.Table) -> tuple[list[Portion], list[Letter]]:
    """Portions, and letters in order of their offsets."""
    portions, letters = [], []
    for row in table.to_pylist():
        reason, value = row.pop("reason"), row.pop("value")
        if reason is None:
            portions.append(Portion(**row))
        else:
            letters.append(Letter(row["topic"], row["partition"], row["offset"], reason, value))
    return portions, sorted(letters, key=lambda letter: letter.offset)


@dataclass(slots=True)
class _Task:
    """One partition while a task reads it."""

    portion: Portion
    reading: Reading
    now: int
    decoder: Decoder = field(init=False)
    schema: pa.Schema = field(init=False)
    time_column: int = field(init=False)
    new: ArchiveFileWriter = field(init=False)
    old: ArchiveFileWriter = field(init=False)

    def __post_init__(self) -> None:
        reading, source = self.reading, self.reading.source
        self.decoder = decoder(source, reading.branch, reading.reader)
        self.schema = held_schema(source)
        self.time_column = self.schema.names.index(source.event_time)
        where = reading.folder, source.name, reading.sequence
        self.new = ArchiveFileWriter(*where, now=self.now)
        self.old = ArchiveFileWriter(*where, now=self.now, prefix=REPLAYED)

    def take(self, records: Records) -> Iterator[pa.RecordBatch]:
        """Decode and write what a file of the archive, or a state, lacks; hand on what is refused."""
        portion = self.portion
        portion.records += len(records)
        portion.offset = records.offsets[-1]
        decoded = self.decoder.decode_all(records)
        portion.events += len(decoded.offsets)
        portion.value_errors += decoded.value_errors
        self._time(decoded)
        self._write(decoded)
        if decoded.refused:
            at = {"topic": portion.topic, "partition": portion.partition}
            rows = [at | {"offset": o, "value": value, "reason": reason} for o, value, reason in decoded.refused]
            yield pa.RecordBatch.from_pylist(rows, schema=FOUND)

    def done(self) -> Portion:
        portion, new, old = self.portion, self.new.close(), self.old.close()
        if new is not None:
            portion.new_name, portion.new_rows, portion.new_size = new.name, new.rows, new.size
            portion.new_last = new.last
        portion.old_name = None if old is None else old.name
        return portion

    def _time(self, decoded: Decoded) -> None:
        limit = self.now + duration(self.reading.source.skew)
        timely = [t for t in decoded.columns[self.time_column] if t <= limit]
        if timely:
            latest, highest = self.portion.latest, max(timely)
            self.portion.latest = highest if latest is None else max(latest, highest)

    def _write(self, decoded: Decoded) -> None:
        if not decoded.offsets:
            return
        held = Held(decoded.columns, decoded.offsets, [self.now] * len(decoded.offsets))
        events = held_table(self.reading.source, held, self.schema)
        offsets, archived = decoded.offsets, self.reading.archived
        known = sum(offset <= archived for offset in offsets)
        lacking = sum(offset <= self.reading.held for offset in offsets[:known])
        if lacking < known:
            self.old.write(events.slice(lacking, known - lacking))
        if known < len(offsets):
            self.new.write(events.slice(known))


def decoder(source: EventSource, branch: str | None, reader: ReaderOf) -> Decoder:
    """The decoder of a source, or of one of its branches, as it is made anew in each task."""
    of = source.branch(branch) if branch else None
    return Decoder(source, branch=of, reader=reader(source.format if of is None else of.format))


@dataclass(frozen=True, slots=True)
class ReaderOf:
    """Makes the reader of a format in the process where it is used; goes to executors by value.

    root: the project's folder. registry: what `SchemaRegistry` is made with; None where there is none.
    """

    root: Path = Path()
    registry: tuple[tuple[str, Any], ...] | None = None

    def __call__(self, how: Format) -> Reader | None:
        return _reader(how, self.root, self.registry)


@cache
def _reader(how: Format, root: Path, registry: tuple[tuple[str, Any], ...] | None) -> Reader | None:
    """One a process, as it remembers the schemas that it has asked a registry for."""
    if isinstance(how, Json):
        return None
    from onefold.streaming.readers import reader_of

    if registry is None:
        return reader_of(how, root=root)
    from onefold.streaming.schema_registry import SchemaRegistry

    return reader_of(how, root=root, registry=SchemaRegistry(**dict(registry)))


def _runs(batch: pa.RecordBatch) -> Iterator[tuple[tuple[str, int], Records]]:
    """The records of each partition in a batch, in order; no value, a tombstone, is an empty one."""
    topics, partitions, offsets, times, values = (batch.column(name) for name in COLUMNS)
    places: list[tuple[str, int]] = list(zip(topics.to_pylist(), partitions.to_pylist(), strict=True))
    columns: list[list[Any]] = [offsets.to_pylist(), [v or b"" for v in values.to_pylist()]]
    columns.append(times.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_pylist())
    for place, run in groupby(range(len(places)), key=places.__getitem__):
        at = list(run)
        yield place, Records(*(column[at[0] : at[-1] + 1] for column in columns))
