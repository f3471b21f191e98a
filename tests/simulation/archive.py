"""The archive and the dead letters in memory, with the promises of the real ones; and a build's way to the archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from onefold.features.definitions import EventSource
from onefold.features.errors import MismatchError
from onefold.features.keys import state_name
from onefold.features.layout import Layout
from onefold.features.records import Events
from onefold.features.state import StateCodec
from onefold.features.windows import duration
from onefold.offline.archive import Snapshot
from onefold.streaming.head_source import Heads
from tests.simulation.chaos import Chaos

Position = tuple[int, int]
"""(sequence, offset)."""
Row = tuple[Any, ...]


@dataclass
class Table:
    """What is durable: registered feeds, and rows in order of their commits with how far each sequence has come."""

    feeds: list[str] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    ingested: list[int] = field(default_factory=list)
    done: dict[int, int] = field(default_factory=dict)

    def flushed(self) -> dict[int, int]:
        return {sequence: self.done.get(sequence, -1) for sequence in range(len(self.feeds))}


class SimArchive:
    """One process's way to the archive. A commit is one transaction: all of it, or nothing."""

    def __init__(self, table: Table, chaos: Chaos, who: str) -> None:
        self.table, self._chaos, self._who = table, chaos, who

    def sequence(self, source: str, feed: str) -> int:
        self._gate("sequence", "before")
        if feed not in self.table.feeds:
            self.table.feeds.append(feed)
        self._gate("sequence", "after")
        return self.table.feeds.index(feed)

    def sequences(self, source: str) -> Mapping[str, int]:
        return {feed: number for number, feed in enumerate(self.table.feeds)}

    def append(self, source: str, sequence: int, events: Any) -> int:
        self._gate("commit", "before")
        if self._chaos.chance(self._chaos.rates.fail / 4):
            self._chaos.fault("the archive refuses the columns", self._who)
            raise MismatchError("another process has changed the table's columns")
        columns, offsets, ingested = events.columns, events.offsets, events.ingested
        if any(a >= b for a, b in pairwise(offsets)):
            self._chaos.problem(
                f"{self._who} hands the archive offsets of sequence {sequence} that do not rise: {offsets}"
            )
        table, done = self.table, self.table.done.get(sequence, -1)
        new = [i for i, offset in enumerate(offsets) if offset > done]
        rows = list(zip(*columns, strict=True))
        table.positions += [(sequence, offsets[i]) for i in new]
        table.rows += [rows[i] for i in new]
        table.ingested += [ingested[i] for i in new]
        table.done[sequence] = max(done, offsets[-1])
        self._gate("commit", "after")
        return len(new)

    def flushed(self, source: str, sequence: int) -> int:
        return self.progress(source)[sequence]

    def progress(self, source: str) -> Mapping[int, int]:
        self._gate("progress", "before")
        return self.table.flushed()

    def files(self, source: str) -> list[str]:
        raise NotImplementedError

    def snapshot(self, source: str) -> Snapshot:
        self._gate("snapshot", "before")
        rows = len(self.table.rows)
        return Snapshot(rows - 1, (), self.table.flushed())

    def _gate(self, call: str, when: str) -> None:
        self._chaos.gate(self._who, call, when)


class Letters:
    """The dead letters that are where they must be, by position; twice where they were sent twice."""

    def __init__(self) -> None:
        self.durable: dict[Position, bytes] = {}


class SimLetters:
    """One process's sink of dead letters: what it has not flushed goes with it."""

    def __init__(self, letters: Letters, chaos: Chaos, who: str) -> None:
        self._letters, self._chaos, self._who = letters, chaos, who
        self._pending: list[tuple[Position, bytes]] = []

    def add(self, source: str, *, feed: str, sequence: int, offset: int, reason: str, original: bytes) -> bool:
        self._chaos.gate(self._who, "letter", "before")
        self._pending.append(((sequence, offset), original))
        return (sequence, offset) not in self._letters.durable

    def flush(self) -> None:
        self._chaos.gate(self._who, "letters' flush", "before")
        while self._pending:
            position, original = self._pending[0]
            self._letters.durable[position] = original
            self._pending.pop(0)
            self._chaos.gate(self._who, "letters' flush", "within")

    def count(self, source: str) -> int:
        return len(self._letters.durable)


@dataclass
class _Count:
    strings: int = 0
    events: int = 0


class SimHeads:
    """A build's way to the events: plain Python, in place of DuckDB."""

    def __init__(self, table: Table) -> None:
        self._table, self._generation = table, 0

    def stream_time(self, source: EventSource, snapshot: Snapshot) -> int | None:
        at, skew = [f.name for f in source.fields].index(source.event_time), duration(source.skew)
        rows = zip(self._table.rows[: snapshot.version + 1], self._table.ingested, strict=False)
        return max((row[at] for row, ingested in rows if row[at] <= ingested + skew), default=None)

    def heads(self, layout: Layout, *, epoch: int, floor: int | None, before: int | None, snapshot: Snapshot) -> Heads:
        counted = _Count()
        return Heads(self._pairs(layout, epoch, (floor, before), snapshot, counted), counted)

    def columns(
        self, source: EventSource, snapshot: Snapshot, *, after: Mapping[int, int]
    ) -> Iterator[tuple[int, list[int], list[list[Any]]]]:
        found: dict[int, list[tuple[int, Row]]] = {}
        end = snapshot.version + 1
        for (sequence, offset), row in zip(self._table.positions[:end], self._table.rows[:end], strict=True):
            if offset > after.get(sequence, -1):
                found.setdefault(sequence, []).append((offset, row))
        for sequence, pairs in sorted(found.items()):
            rows = [row for _, row in pairs]
            yield sequence, [offset for offset, _ in pairs], [list(column) for column in zip(*rows, strict=True)]

    def _pairs(
        self, layout: Layout, epoch: int, times: tuple[int | None, int | None], snapshot: Snapshot, counted: _Count
    ) -> Iterator[tuple[bytes, bytes]]:
        end, codec, (floor, before) = snapshot.version + 1, StateCodec(layout), times
        for key, (events, held) in prepared(layout, self._table.positions[:end], self._table.rows[:end]).items():
            self._generation += 1
            start = sum(ts < floor for ts in events.ts) if floor is not None else 0
            kept = events.behind(start)
            counted.strings, counted.events = counted.strings + 1, counted.events + len(kept.ts)
            generation = b"B%07d" % self._generation
            head = codec.head(kept, offsets=held, floor=floor, before=before, generation=generation)
            yield state_name(layout.prefix(epoch), key), head


def prepared(layout: Layout, positions: list[Position], rows: list[Row]) -> dict[bytes, tuple[Events, dict[int, int]]]:
    """By key: its events in order of (ts, position), and the highest offset of each sequence among them."""
    prepare, found = layout.preparer(), dict[bytes, list[tuple[int, int, int, Any]]]()
    for (sequence, offset), row in zip(positions, rows, strict=True):
        if (event := prepare(row)) is not None:
            found.setdefault(event.key, []).append((event.ts, sequence, offset, event))
    return {key: _events(layout, sorted(events, key=lambda e: e[:3])) for key, events in found.items()}


def _events(layout: Layout, ordered: list[tuple[int, int, int, Any]]) -> tuple[Events, dict[int, int]]:
    held: dict[int, int] = {}
    for _, sequence, offset, _ in ordered:
        held[sequence] = max(offset, held.get(sequence, -1))
    columns = [[e[3].values[i] for e in ordered] for i in range(len(layout.columns))]
    events = Events([e[0] for e in ordered], [e[1] for e in ordered], [e[3].id_hash for e in ordered], columns)
    return events, held
