"""The second half of a batch of Spark's: events become blocks, one a key and file; blocks of a key go to one place, in
order of their positions, and are appended there in one APPEND.

A task that is run twice, or a copy of it that comes late, appends what is there already: a reader skips records whose
offset is not above the highest before it, and the next batch begins only when all of this one is acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from onefold.features.definitions import EventSource
from onefold.features.errors import SessionError
from onefold.features.layout import Layout
from onefold.features.protocols import OnlineStore
from onefold.offline.arrow import conform, to_internal
from onefold.streaming.live import read_live
from onefold.streaming.report import StepReport
from onefold.streaming.state_writer import StateWriter

if TYPE_CHECKING:
    from onefold.online.opening import OpenStore

BLOCKS = pa.schema([
    ("target", pa.int32()), ("name", pa.binary()), ("sequence", pa.int32()), ("first", pa.int64()),
    ("block", pa.binary()), ("key", pa.binary()), ("value_errors", pa.int64()), ("too_old", pa.int64()),
])  # fmt: skip
"""Records of one key from one file; or, with target -1, what was counted."""
BLOCKS_SQL = (
    "target INT, name BINARY, sequence INT, first BIGINT, block BINARY, key BINARY, value_errors BIGINT, too_old BIGINT"
)
REPORT = pa.schema([(name, pa.int64()) for name in StepReport.__slots__])
REPORT_SQL = ", ".join(f"{name} BIGINT" for name in StepReport.__slots__)
_ROWS, _AT_ONCE = 20_000, 1_000

Batches = Iterable[pa.RecordBatch]
Opener = Callable[[], "OpenStore"]
"""Opens the store in another process; it is sent there by value, so it holds settings and no connection."""


@dataclass(frozen=True, slots=True)
class Target:
    """One state that is written: its layout and epoch, its pointer, and the marks that it must have.

    slack: as `StateWriter`'s. stream_time: where the source's stream stands with this batch.
    """

    layout: Layout
    epoch: int
    slack: int
    pointer: bytes
    marks: Mapping[int, int]
    stream_time: int | None

    def writer(self, store: OnlineStore) -> StateWriter:
        return StateWriter(store, self.layout, self.epoch, slack=self.slack)


@dataclass(frozen=True, slots=True)
class EventFile:
    """A file of decoded events of one sequence, and the targets that they go to, each with the offset it holds."""

    path: Path
    source: EventSource
    sequence: int
    targets: tuple[tuple[int, int], ...]


class _NoStore:
    """What a writer has that only packs."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"packing must not call the store ({name})")


def packing(files: Sequence[EventFile], targets: Sequence[Target]) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """The function that Spark maps over numbers of files: to BLOCKS."""

    def pack(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield from _packed(files[number], targets)

    return pack


def _packed(file: EventFile, targets: Sequence[Target]) -> Iterator[pa.RecordBatch]:
    store: Any = _NoStore()
    writers = [(number, targets[number].writer(store), held) for number, held in file.targets]
    floors = [writer.floor(targets[number].stream_time) for number, writer, _ in writers]
    low = None if not floors or None in floors else min(f for f in floors if f is not None)
    too_old = 0
    with pq.ParquetFile(file.path) as events:
        for batch in events.iter_batches(_ROWS):
            table = conform(pa.Table.from_batches([batch]), file.source.fields, what=f"file {file.path.name}")
            columns, offsets = [to_internal(c) for c in table.columns], to_internal(batch.column("_offset"))
            if low is not None:
                too_old += sum(t < low for t in to_internal(table[file.source.event_time]))
            for number, writer, held in writers:
                if blocks := writer.pack(file.sequence, offsets, columns, after=held):
                    yield _block_batch(number, file.sequence, offsets[0], blocks, writer.keys)
    counted = {"target": -1, "name": b"", "value_errors": sum(w.value_errors for _, w, _ in writers)}
    yield pa.RecordBatch.from_pylist([counted | {"too_old": too_old}], schema=BLOCKS)


def _block_batch(
    target: int, sequence: int, first: int, blocks: Sequence[tuple[bytes, bytes]], keys: Mapping[bytes, bytes]
) -> pa.RecordBatch:
    count = len(blocks)
    names = [name for name, _ in blocks]
    columns = [
        pa.array([target] * count, pa.int32()), pa.array(names, pa.binary()), pa.array([sequence] * count, pa.int32()),
        pa.array([first] * count, pa.int64()), pa.array([block for _, block in blocks], pa.binary()),
        pa.array([keys.get(name) for name in names], pa.binary()), pa.nulls(count, pa.int64()),
        pa.nulls(count, pa.int64()),
    ]  # fmt: skip
    return pa.record_batch(columns, schema=BLOCKS)


def appending(open_store: Opener, targets: Sequence[Target]) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    """The function that Spark maps over BLOCKS, each key's together and in order: to one REPORT a task."""

    def append(batches: Batches) -> Iterator[pa.RecordBatch]:
        rest = iter(batches)
        first = next((batch for batch in rest if batch.num_rows), None)
        if first is None:
            return
        with closing(open_store()) as store:
            appender = Appender(store, targets)
            appender.take(first)
            for batch in rest:
                appender.take(batch)
            report = appender.done()
        yield pa.RecordBatch.from_pylist([asdict(report)], schema=REPORT)

    return append


class Appender:
    """Appends the blocks that it is given to the store, in one session of it.

    Raises SessionError where that ends, or where the states are not those that the driver has joined.
    """

    def __init__(self, store: OnlineStore, targets: Sequence[Target]) -> None:
        self._store, self._targets = store, targets
        self._writers = [target.writer(store) for target in targets]
        self._report = StepReport()
        self._open: tuple[int, bytes, list[bytes]] | None = None
        self._waiting: list[list[tuple[bytes, bytes]]] = [[] for _ in targets]

    @cached_property
    def _session(self) -> int:
        """The store's session, in which the states were seen to be as the driver has joined them."""
        session = self._store.session
        found = read_live(self._store, [t.layout for t in self._targets])
        for target, live in zip(self._targets, found, strict=True):
            what = f"the state of ({target.layout.source.name}, {target.layout.entity.name})"
            if live is None or live.pointer != target.pointer:
                raise SessionError(f"{what} has moved since the batch began; it is joined again")
            behind = [s for s, offset in target.marks.items() if live.marker(s) < offset]
            if behind:
                raise SessionError(f"{what} has lost writes of sequence {behind[0]}; it is joined again")
        return session

    def take(self, batch: pa.RecordBatch) -> None:
        """Append the keys of a batch; the last one waits for what the next batch has of it."""
        numbers, names, _, _, blocks, keys, errors, old = (column.to_pylist() for column in batch.columns)
        for at, (number, name) in enumerate(zip(numbers, names, strict=True)):
            if number < 0:
                self._report.value_errors += errors[at]
                self._report.too_old += old[at]
                continue
            if self._open is None or self._open[1] != name:
                self._next((number, name, []))
            assert self._open is not None
            self._open[2].append(blocks[at])
            if keys[at] is not None:
                self._writers[number].keys[name] = keys[at]

    def done(self) -> StepReport:
        """Append what waits; what was done in all."""
        self._next(None)
        for number in range(len(self._waiting)):
            self._flush(number)
        return self._report

    def _next(self, following: tuple[int, bytes, list[bytes]] | None) -> None:
        if self._open is not None:
            number, name, blocks = self._open
            self._waiting[number].append((name, b"".join(blocks)))
            if len(self._waiting[number]) >= _AT_ONCE:
                self._flush(number)
        self._open = following

    def _flush(self, number: int) -> None:
        items, self._waiting[number] = self._waiting[number], []
        if not items:
            return
        writer, report = self._writers[number], self._report
        lengths = self._store.append(items, session=self._session, keep=writer.keep)
        grown = zip((name for name, _ in items), lengths, strict=True)
        done = writer.compact(grown, stream_time=self._targets[number].stream_time)
        report.appended += len(items)
        report.compacted += done.strings
        report.corrupt += done.corrupt
        report.hot += done.hot


def ordered(blocks: pa.Table) -> pa.Table:
    """Blocks with each key's together and in order of their positions, as Spark sorts them."""
    return blocks.sort_by([(name, "ascending") for name in ("name", "sequence", "first")])
