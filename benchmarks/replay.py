"""Replay: December's events through the worker into LMDB and the archive, beside a loop that only reads and parses.

make bench NAME=replay
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import orjson
from _flights import data_of
from _harness import Options, Report, interleave, main, tell
from _parts import Parts
from _project import FEED, copy_of, with_past, worker_for

from onefold.examples.flights.data import SOURCES, FlightsData
from onefold.offline.archive import DeltaArchive
from onefold.online.lmdb_store import LmdbStore
from onefold.streaming.archive_buffer import ArchiveBuffer
from onefold.streaming.decode import Decoder
from onefold.streaming.feeds import FileFeed
from onefold.streaming.state_writer import StateWriter
from onefold.streaming.worker import ARCHIVE_EVERY, Worker
from onefold.wiring import Workspace

NEVER = 10**9
NAMES = {
    "bare": "read and parse, nothing else",
    "state": "worker, state only",
    "whole": "worker, state and archive",
}
PLACES = (
    (FileFeed, "poll", "reading lines"),
    (Decoder, "decode_all", "parsing and checking"),
    (StateWriter, "pack", "preparing and packing records"),
    (LmdbStore, "append", "LMDB appends"),
    (LmdbStore, "mark", "marks"),
    (StateWriter, "compact", "compaction"),
    (ArchiveBuffer, "add", "archive: holding rows"),
    (ArchiveBuffer, "commit", "archive: columns to Arrow"),
    (DeltaArchive, "append", "archive: Delta commits"),
)


def measure(report: Report, options: Options) -> None:
    data = data_of(options)
    space = with_past(options.scratch / "past", data)
    events = sum(len(path.read_bytes().splitlines()) for path in data.feeds.values())
    replays = _Replays(space, data, options.scratch)
    rounds = options.pick(7, 1)
    tell(f"{rounds} rounds of {events:,} events")
    arms = {"bare": replays.bare, "state": replays.state_only, "whole": replays.whole}
    samples = interleave(arms, rounds=rounds, warmup=options.pick(1, 0), collect=True)
    report.table(
        f"{events:,} events of December in 3 feeds, into the state of 11 months; {rounds} rounds; median (quartiles)",
        ("", "seconds", "events/s", "µs an event", "bare loop's speed kept"),
        [
            (
                NAMES[arm], samples.of(arm), round(events / samples.of(arm).median),
                samples.of(arm).median / events * 1e6, samples.ratio("bare", arm),
            )
            for arm in arms
        ],
    )  # fmt: skip
    for arm in arms:
        report.figure(f"{arm}.events_per_second", events / samples.of(arm).median, "events/s")
    report.figure("state.ratio_to_bare", samples.ratio("bare", "state").median)
    report.figure("whole.ratio_to_bare", samples.ratio("bare", "whole").median)
    report.figure("archive.cost", samples.ratio("whole", "state").median)
    _parts(report, replays, events)
    _appends(report, replays, events)


class _Replays:
    """Replays of the same feeds, each into a fresh copy of the past; the copying is not timed."""

    def __init__(self, past: Workspace, data: FlightsData, scratch: Path) -> None:
        self._past, self._data, self._scratch = past, data, scratch
        self._numbers = count()
        self.appended = 0

    def bare(self, _: int) -> float:
        start = time.perf_counter()
        for path in self._data.feeds.values():
            with path.open("rb") as lines:
                for line in lines:
                    orjson.loads(line)
        return time.perf_counter() - start

    def state_only(self, _: int) -> float:
        """Events wait for an archive that is never written."""

        def run(worker: Worker) -> None:
            while (done := worker.step()).records:
                self.appended += done.appended

        return self._replay(run, archive_every=NEVER)

    def whole(self, _: int) -> float:
        return self._replay(lambda worker: worker.run(), archive_every=ARCHIVE_EVERY)

    def _replay(self, run: Callable[[Worker], object], *, archive_every: int) -> float:
        folder = self._scratch / f"replay-{next(self._numbers)}"
        space = copy_of(self._past, folder)
        feeds = [FileFeed(self._data.feeds[name], source=name, name=FEED, complete=True) for name in SOURCES]
        with space.store() as store:
            worker = worker_for(space, store, feeds, archive_every=archive_every)
            start = time.perf_counter()
            run(worker)
            took = time.perf_counter() - start
        shutil.rmtree(folder)
        return took


def _parts(report: Report, replays: _Replays, events: int) -> None:
    """One more replay with a clock at every part's door."""
    parts = Parts()
    with parts.watching(PLACES):
        whole = replays.whole(0)
    named = list(parts.seconds.items())
    named.append(("own steps of the worker", whole - sum(parts.seconds.values())))
    report.table(
        "state and archive, by part (one more run)",
        ("", "µs an event", "share"),
        [(name, s / events * 1e6, f"{s / whole:.0%}") for name, s in named],
    )
    for name, seconds in named:
        report.figure(f"share.{name.replace(': ', '_').replace(' ', '_').lower()}", seconds / whole)


def _appends(report: Report, replays: _Replays, events: int) -> None:
    """One event goes to several states of its source; events of one key and batch share an append."""
    replays.appended = 0
    replays.state_only(0)
    report.figure("strings_appended_per_event", replays.appended / events)


if __name__ == "__main__":
    main("replay", measure)
