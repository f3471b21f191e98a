"""The month on one machine: a worker in this process takes the events of queues into LMDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from onefold.config import Settings
from onefold.demo.faults import STORE_FAULTS, Fault, FaultyStore, change_definition, perturb_log
from onefold.demo.replay import Advance, Replayed, Rows, ScoringClient, Taken, TimedLines, live_through
from onefold.examples.flights import model as flights
from onefold.examples.flights.data import SOURCES
from onefold.features.state import StateCodec
from onefold.streaming.feeds import FixedGroup, QueueFeed
from onefold.streaming.worker import Worker
from onefold.wiring import Workspace

if TYPE_CHECKING:
    from onefold.features.protocols import OnlineStore

FEED = "december"
FAULTY_STATE = ("arrivals", "route")
"""The state that a fault of the store is put into."""


class TimedFeed:
    """The lines of a file as a feed of this process, handed on as time passes."""

    def __init__(self, path: Path, *, source: str, event_time: str, name: str) -> None:
        self.queue = QueueFeed(source, name=name)
        self._lines = TimedLines(path, event_time=event_time)

    def release(self, until: int | None) -> int:
        """Hand on the events with ts <= until (all of them for None); how many there were."""
        lines = self._lines.take(until)
        self.queue.extend(lines)
        return len(lines)


@dataclass(frozen=True, slots=True)
class Embedded:
    """All events with ts <= t are in the state before a request at t is sent. Fits `Living`.

    fault: does one thing wrong on the way, for `verify` to find.
    """

    fault: Fault | None = None
    settings: ClassVar[str] = ""

    def begin(self, space: Workspace) -> None:
        """It needs nothing."""

    def live_through(
        self, space: Workspace, feeds: Mapping[str, Path], rows: Rows, client: ScoringClient, advance: Advance
    ) -> Replayed:
        timed = [TimedFeed(feeds[s], source=s, event_time=column, name=FEED) for s, column in SOURCES.items()]
        with space.store() as store:
            worker = Worker(
                space.project, store=self._faulty(space, store), archive=space.archive,
                feeds=FixedGroup(f.queue for f in timed), dead_letters=space.dead_letters, archive_every=20_000,
            )  # fmt: skip
            try:
                return live_through(partial(take, worker, timed), rows, client, advance=advance)
            finally:
                worker.close()

    def end(self, space: Workspace) -> Workspace:
        if self.fault == Fault.CHANGE_DEFINITION:
            change_definition(space.settings.features)
            return Workspace(Settings.load(space.settings.root))
        if self.fault == Fault.PERTURB_LOG:
            perturb_log(space.served_log, flights.SERVICE)
        return space

    def _faulty(self, space: Workspace, store: OnlineStore) -> OnlineStore:
        if self.fault not in STORE_FAULTS:
            return store
        layout = space.project.layouts[FAULTY_STATE]
        size = StateCodec(layout).records.fixed.size
        prefix = f"s/{FAULTY_STATE[0]}/{FAULTY_STATE[1]}/".encode()
        return cast("OnlineStore", FaultyStore(store, self.fault, prefix=prefix, record_size=size))


def take(worker: Worker, feeds: Sequence[TimedFeed], until: int | None) -> Taken:
    """Release what is due, and step until the worker has it; flush where there is no more."""
    count = sum(feed.release(until) for feed in feeds)
    taken = 0
    while taken < count:
        taken += worker.step().records
    if until is None:
        worker.flush()
    return Taken(count)
