"""What Spark's tasks append, however often and however late they are run: no key ever has a gap or a doubled event."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from onefold.features.errors import SessionError
from onefold.features.keys import marks_name, pointer_name
from onefold.streaming.live import join
from onefold.streaming.materialize import materialize
from onefold.streaming.spark_append import Appender, EventFile, Target, ordered, packing
from onefold.streaming.spark_decode import COLUMNS, ReaderOf, Reading, decoding, read_found

if TYPE_CHECKING:
    from tests.streaming.conftest import Place

HOUR = 3_600_000_000


class Stream:
    """The two halves of Spark's batches without Spark: what its executors run, on ranges of one partition's records."""

    def __init__(self, place: Place, lines: Sequence[bytes]) -> None:
        self.place, self.lines = place, lines
        self.source = place.project.sources["orders"]
        self.sequence = place.archive.sequence("orders", "live")
        states = join(place.store, {}, list(place.project.layouts.values()), brought=[])
        self.layouts = [state.layout for state in states]
        self.pointers = [state.pointer for state in states]

    def targets(self, marks: int = -1) -> list[Target]:
        held = {self.sequence: marks}
        pairs = zip(self.layouts, self.pointers, strict=True)
        return [Target(layout, 1, 0, pointer, held, None) for layout, pointer in pairs]

    def records(self, start: int, end: int) -> pa.RecordBatch:
        count = end - start
        stamps = pa.array([0] * count, pa.timestamp("us", "UTC"))
        columns = [["topic"] * count, [0] * count, list(range(start, end)), stamps, list(self.lines[start:end])]
        return pa.record_batch([pa.array(c) for c in columns], names=list(COLUMNS))

    def blocks(self, start: int, end: int) -> pa.Table:
        """What a batch of records `start` to `end` has to append."""
        folder = self.place.folder / "files"
        reading = Reading(self.source, None, self.sequence, archived=-1, held=-1, folder=folder, reader=ReaderOf())
        found = decoding({("topic", 0): reading}, now=self.place.now)([self.records(start, end)])
        portions, _ = read_found(pa.Table.from_batches(list(found)))
        held = tuple((i, -1) for i in range(len(self.layouts)))
        files = [EventFile(folder / p.new_name, self.source, self.sequence, held) for p in portions if p.new_name]
        numbers = pa.record_batch([pa.array(range(len(files)))], names=["id"])
        return ordered(pa.Table.from_batches(list(packing(files, self.targets())([numbers]))))

    def append(self, blocks: pa.Table, *, chunk: int = 100) -> None:
        """What one task does with blocks."""
        appender = Appender(self.place.store, self.targets())
        for batch in blocks.to_batches(max_chunksize=chunk):
            appender.take(batch)
        appender.done()


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_blocks_that_are_cut_anywhere_make_the_workers_state(place: Place, chunk: int) -> None:
    lines = [place.order(n, user="ü" * 150 if n % 3 else f"u{n % 4}") for n in range(60)]
    stream = Stream(place, lines)
    for start in range(0, 60, 20):
        stream.append(stream.blocks(start, start + 20), chunk=chunk)
    assert place.canonical() == place.expected(lines)


@pytest.mark.parametrize("seed", range(8))
def test_tasks_that_are_retried_cut_short_or_late_change_nothing(place: Place, seed: int) -> None:
    """A zombie is a copy of a task's work that reaches the store at any later time, whole or in part.

    A batch that failed comes again from where it began, cut elsewhere, as a new query cuts it.
    """
    rng = random.Random(seed)
    lines = [place.order(n, ts=rng.randrange(20 * HOUR), user=f"u{rng.randrange(4)}") for n in range(150)]
    stream, zombies, done = Stream(place, lines), list[pa.Table](), 0
    while done < len(lines):
        end = min(len(lines), done + rng.choice((5, 20, 40)))
        blocks = stream.blocks(done, end)
        attempts = [blocks.slice(0, rng.randrange(blocks.num_rows + 1)) for _ in range(rng.randrange(3))]
        for attempt in [*attempts, *rng.sample(zombies, min(len(zombies), 2))]:
            stream.append(attempt)
        zombies += [blocks, *attempts]
        if rng.random() < 0.6:
            stream.append(blocks)
            done = end
    for zombie in zombies:
        stream.append(zombie)
    assert place.canonical() == place.expected(lines)


def test_a_task_refuses_a_state_that_was_built_anew_meanwhile(place: Place) -> None:
    place.worker(place.queue([place.order(0)])).run()
    stream = Stream(place, [place.order(n) for n in range(5)])
    blocks = stream.blocks(0, 5)
    materialize(place.project, store=place.store, archive=place.archive, full=True)
    before = list(place.store.scan(b""))
    with pytest.raises(SessionError, match=r"\(orders, user\) has moved"):
        stream.append(blocks)
    assert list(place.store.scan(b"")) == before


def test_a_task_refuses_a_store_whose_marks_are_behind_what_the_driver_read(place: Place) -> None:
    stream = Stream(place, [place.order(n) for n in range(5)])
    appender = Appender(place.store, stream.targets(marks=3))
    place.store.mark([(marks_name("orders", "user", 1, place.layout("user").fingerprint), 0, 2)])
    appender.take(stream.blocks(0, 5).to_batches()[0])
    with pytest.raises(SessionError, match=r"\(orders, user\) has lost writes of sequence 0"):
        appender.done()
    assert place.store.get([pointer_name("orders", "user")])[0] is not None
    assert place.canonical() == {}
