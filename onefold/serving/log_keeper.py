"""What the process of the served log does with frames: it gathers many, writes them at once, and says which are done.

A frame is acknowledged when all of its rows are committed. What cannot be written is kept and tried again; what comes
twice, because who sent it did not hear that it was written, is written once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from onefold.features.errors import StoreError
from onefold.offline.served_inputs import ServedInputs
from onefold.offline.served_record import ServedBlock
from onefold.serving.log_frames import DONE, FAILED, Index, Message, apart, block_of

logger = logging.getLogger("onefold.serving")
_LONGEST_PAUSE = 30.0
_NEVER = float("inf")


class Sink(Protocol):
    """Where rows end up: `offline.served.ServedLog`. Both raise StoreError where it cannot be written now."""

    def append(self, inputs: ServedInputs, blocks: Sequence[ServedBlock], /, *, marks: Mapping[str, int]) -> None:
        """Write all of it or nothing, and with it the number of each writer's last frame among it."""

    def mark(self, inputs: ServedInputs, writer: str, /) -> int:
        """The number of a writer's last frame in a table, whoever wrote it; -1 for none."""


@dataclass(eq=False)
class Writer:
    """One who serves. tell: how it is spoken to; tables: by its own numbers; taken: its last frame that came."""

    name: str
    tell: Callable[[Message], None]
    tables: dict[int, ServedInputs] = field(default_factory=dict)
    taken: int = 0


@dataclass(eq=False, slots=True)
class Held:
    """A frame that is not written yet, or not all of it.

    parts: by table, how many rows, and the blocks that they are in; dropped: rows that nobody could write.
    """

    writer: Writer
    number: int
    parts: dict[int, tuple[int, list[bytes]]]
    dropped: int = 0

    @classmethod
    def of(cls, writer: Writer, number: int, index: Index, blocks: bytes) -> Held:
        parts: dict[int, tuple[int, list[bytes]]] = {}
        for table, rows, block in apart(index, blocks):
            before, found = parts.get(table, (0, []))
            found.append(block)
            parts[table] = before + rows, found
        return cls(writer, number, parts)

    @property
    def rows(self) -> int:
        return sum(rows for rows, _ in self.parts.values())

    def blocks(self, table: int) -> Iterator[ServedBlock]:
        return (block_of(data) for data in self.parts[table][1])


Part = tuple[Held, int]
"""What a frame has for one table, by the number that its writer gave it."""


class LogKeeper:
    """Holds frames until `due`, a time on `clock`; whoever has it then calls `flush`.

    open_sink: called when there is something to write, until it succeeds. batch: rows that are written at once, as soon
    as they are there; interval: seconds that a row waits at most. Behind a failure the next try waits up to 30 s.
    """

    def __init__(
        self,
        open_sink: Callable[[], Sink],
        *,
        batch: int,
        interval: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_sink, self._clock = open_sink, clock
        self._batch, self._interval, self._pause = batch, interval, interval
        self._sink: Sink | None = None
        self._held: list[Held] = []
        self._rows, self._failed = 0, False
        self.due = _NEVER

    @property
    def waiting(self) -> int:
        """Rows that are held."""
        return self._rows

    def holds(self, writer: Writer) -> bool:
        return any(held.writer is writer for held in self._held)

    def take(self, writer: Writer, number: int, index: Index, blocks: bytes) -> None:
        if number <= writer.taken:
            if not any(held.writer is writer and held.number == number for held in self._held):
                writer.tell((DONE, number, 0))
            return
        writer.taken = number
        held = Held.of(writer, number, index, blocks)
        self._held.append(held)
        self._rows += held.rows
        if not self._failed:
            self.due = self._clock() + self._interval if self.due == _NEVER else self.due
            if self._rows >= self._batch:
                self.due = self._clock()

    def flush(self) -> None:
        """Write all that is held, and say so; what cannot be written stays."""
        held, failed = self._held, dict[tuple[str, str], str]()
        self._held = [frame for piece in _pieces(held, self._batch) for frame in self._write(piece, failed)]
        self._rows = sum(frame.rows for frame in self._held)
        self._failed = bool(failed)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE) if failed else self._interval
        self.due = self._clock() + self._pause if self._held else _NEVER
        if failed:
            self._complain(list(failed.values()))

    def _complain(self, whys: Sequence[str]) -> None:
        """Each failure is told to all who wait, and counted by one of them."""
        for why in whys:
            logger.error("%s; they wait for the next try", why)
        count = len(whys)
        for writer in dict.fromkeys(frame.writer for frame in self._held):
            writer.tell((FAILED, count, whys[0]))
            count = 0

    def _write(self, frames: Sequence[Held], failed: dict[tuple[str, str], str]) -> list[Held]:
        """Write frames, one commit a table; those that are not whole yet. A table that failed is left alone."""
        tables: dict[tuple[str, str], tuple[ServedInputs, list[Part]]] = {}
        for frame in frames:
            for number in frame.parts:
                inputs = frame.writer.tables[number]
                tables.setdefault((inputs.service, inputs.fingerprint), (inputs, []))[1].append((frame, number))
        stuck: set[Held] = set()
        for key, (inputs, parts) in tables.items():
            try:
                if key not in failed:
                    self._append(self._opened(), inputs, parts)
            except StoreError as error:
                failed[key] = str(error)
            if key in failed:
                stuck.update(frame for frame, _ in parts)
        for frame in frames:
            if frame not in stuck:
                frame.writer.tell((DONE, frame.number, frame.dropped))
        return [frame for frame in frames if frame in stuck]

    def _append(self, sink: Sink, inputs: ServedInputs, parts: Sequence[Part]) -> None:
        """Write what is not in the table yet. What is wrong is dropped, and does not hold up the rest."""
        marks = {writer: sink.mark(inputs, writer.name) for writer in {frame.writer for frame, _ in parts}}
        new = [(frame, table) for frame, table in parts if frame.number > marks[frame.writer]]
        if not new:
            return
        try:
            blocks = [block for frame, table in new for block in frame.blocks(table)]
            sink.append(inputs, blocks, marks={frame.writer.name: frame.number for frame, _ in new})
        except StoreError:
            raise
        except Exception:
            if len(new) > 1:
                for part in new:
                    self._append(sink, inputs, [part])
                return
            ((frame, table),) = new
            rows, _ = frame.parts[table]
            frame.dropped += rows
            logger.exception("%d served rows of service %r cannot be logged", rows, inputs.service)

    def _opened(self) -> Sink:
        try:
            self._sink = self._sink or self._open_sink()
        except StoreError:
            raise
        except Exception as error:  # nothing may end the log while somebody serves
            logger.exception("the served log could not be opened")
            raise StoreError(f"the served log could not be opened: {error}") from error
        return self._sink


def _pieces(frames: Iterable[Held], rows: int) -> Iterator[list[Held]]:
    """Frames in runs of about so many rows: what is written at once is in memory many times over."""
    piece, count = list[Held](), 0
    for frame in frames:
        piece.append(frame)
        count += frame.rows
        if count >= rows:
            yield piece
            piece, count = [], 0
    if piece:
        yield piece
