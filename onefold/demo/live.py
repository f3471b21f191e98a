"""The month through Kafka and Redis: worker processes of a consumer group, of which some are killed on the way."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from onefold.demo.crew import Crew
from onefold.demo.replay import Advance, Replayed, Rows, ScoringClient, Taken, epoch, live_through
from onefold.demo.topics import FlightTopics, make_topics
from onefold.features.errors import InputError, OnefoldError
from onefold.features.protocols import OnlineStore
from onefold.streaming.live import pointer_names, read_live
from onefold.wiring import Workspace

PACE = 15 * 60 * 1_000_000
"""Event time, in microseconds, whose requests are sent together."""
FRESH_WITHIN = 2.0
"""Seconds for which requests wait for the events of their time; then they are sent all the same."""
ALL_WITHIN = 180.0
"""Seconds in which the workers must have caught up when all events are sent."""
_LOOK = 0.005
_KILL_WITHIN = 0.1
"""Seconds within which a kill falls, from when events are sent: while they are taken, flushed or at rest."""


@dataclass(frozen=True, slots=True)
class Live:
    """Events go to Kafka, workers take them into Redis and the archive, and requests are answered from Redis.

    kafka: `host:port` of a broker without the topics of the flights. redis: URL of one without states of the flights.
    kills: of workers, at random moments that follow from the seed. Fits `Living`.
    """

    kafka: str
    redis: str
    workers: int = 2
    kills: int = 2
    seed: int = 0

    @property
    def settings(self) -> str:
        """A worker that was killed gives its partitions up when its session is over: soon, for a demo."""
        return (
            f"\n[online]\nurl = {json.dumps(self.redis)}\n"
            f"\n[kafka]\nbootstrap = {json.dumps(self.kafka)}\n"
            "options = {session_timeout_ms = 6000, heartbeat_interval_ms = 1500}\n"
            '\n[stream]\narchive_within = "2 seconds"\n'
        )

    def begin(self, space: Workspace) -> None:
        """InputError where the topics or the states are there already; the topics are there afterwards."""
        with space.store() as store:
            if any(store.get(pointer_names(space.project.layouts.values()))):
                raise InputError("the Redis holds states of the flights already; name an empty one with --redis")
        make_topics(space.kafka)

    def live_through(
        self, space: Workspace, feeds: Mapping[str, Path], rows: Rows, client: ScoringClient, advance: Advance
    ) -> Replayed:
        with (
            Crew(space.settings.root, self.workers) as crew,
            FlightTopics(space.kafka, feeds) as topics,
            space.store(readonly=True) as store,
        ):
            month = _Month(space, store, topics, crew, self._moments(rows))
            found = live_through(month.take, rows, client, advance=advance, pace=PACE)
            crew.stop()
        found.kills = crew.kills
        return found

    def end(self, space: Workspace) -> Workspace:
        return space

    def _moments(self, rows: Rows) -> list[tuple[int, float, int]]:
        """When a worker is killed: from which event time on, how many seconds after events were sent, and which."""
        chance, middle = random.Random(self.seed), rows[len(rows) // 10 : len(rows) * 9 // 10]
        chosen = sorted(chance.randrange(len(middle)) for _ in range(self.kills)) if middle else []
        return [
            (epoch(middle[n]["event_timestamp"]), chance.uniform(0, _KILL_WITHIN), chance.randrange(self.workers))
            for n in chosen
        ]


class _Month:
    """Sends events, waits until they are in the state, and has workers killed when it is time."""

    def __init__(
        self, space: Workspace, store: OnlineStore, topics: FlightTopics, crew: Crew,
        moments: list[tuple[int, float, int]],
    ) -> None:  # fmt: skip
        self._space, self._store, self._topics, self._crew, self._moments = space, store, topics, crew, moments
        self._layouts = list(space.project.layouts.values())

    def take(self, until: int | None) -> Taken:
        count = self._topics.publish(until)
        if until is not None and self._moments and self._moments[0][0] <= until:
            _, seconds, number = self._moments.pop(0)
            self._crew.kill_in(seconds, number)
        fresh = self._wait(FRESH_WITHIN if until is not None else ALL_WITHIN)
        if until is None and not fresh:
            raise OnefoldError(f"the workers have not caught up within {ALL_WITHIN:.0f} s; see their logs below logs")
        return Taken(count, fresh)

    def _wait(self, seconds: float) -> bool:
        """Whether all that was sent is in the state, after so many seconds at most."""
        deadline = time.monotonic() + seconds
        while not self._is_fresh():
            self._crew.check()
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK)
        return True

    def _is_fresh(self) -> bool:
        ends, held = self._topics.ends, read_live(self._store, self._layouts)
        for source in {source for source, _ in ends}:
            numbers = self._space.archive.sequences(source)
            last = {numbers.get(feed): offset for (of, feed), offset in ends.items() if of == source}
            states = [live for live in held if live is None or live.layout.source.name == source]
            if any(
                n is None or live is None or live.marker(n) < offset for n, offset in last.items() for live in states
            ):
                return False
        return True
