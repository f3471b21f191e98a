"""Living through a month: events go through the worker in order, and requests are scored when their time comes."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from onefold.features.errors import OnefoldError
from onefold.features.values import parse_timestamp
from onefold.streaming.feeds import QueueFeed
from onefold.streaming.worker import Worker

Advance = Callable[[int], None]


@dataclass
class Replayed:
    """What came of a replay: per request its score (None where it failed), and the seconds that each took."""

    scores: list[float | None] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    events: int = 0
    failures: list[str] = field(default_factory=list)


class TimedFeed:
    """The lines of a JSON-lines file in the order of their event times, handed on as time passes."""

    def __init__(self, path: Path, *, source: str, event_time: str, name: str) -> None:
        self.queue = QueueFeed(source, name=name)
        self._lines = path.read_bytes().splitlines()
        self._times = [_micros(orjson.loads(line)[event_time]) for line in self._lines]
        self._next = 0

    def release(self, until: int | None) -> int:
        """Hand on the events with ts <= until (all of them for None); how many there were."""
        first, lines = self._next, self._lines
        while self._next < len(lines) and (until is None or self._times[self._next] <= until):
            self._next += 1
        self.queue.extend(lines[first : self._next])
        return self._next - first


def _micros(text: str) -> int:
    value = parse_timestamp(text)
    assert value is not None
    return value


class ScoringClient:
    """One connection that is kept open to a scoring service."""

    def __init__(self, url: str, model: str) -> None:
        host, _, port = url.removeprefix("http://").rpartition(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=30)
        self._path = f"/v1/score/{model}"

    def score(self, row: Mapping[str, Any]) -> float:
        """The score of one row; OnefoldError with the service's own words where it refuses."""
        self._connection.request("POST", self._path, orjson.dumps({"row": row}), {"content-type": "application/json"})
        response = self._connection.getresponse()
        body = orjson.loads(response.read())
        if response.status != 200:
            raise OnefoldError(f"the scoring service answered {response.status}: {body}")
        return float(body["score"])

    def close(self) -> None:
        self._connection.close()


def live_through(
    worker: Worker,
    feeds: Sequence[TimedFeed],
    requests: Sequence[Mapping[str, Any]],
    client: ScoringClient,
    *,
    advance: Advance,
) -> Replayed:
    """Replay events and requests together: all events with ts <= t are in the state before request t is sent.

    requests: rows in order of `event_timestamp` (datetime, UTC), with what the service asks for.
    """
    found = Replayed()
    for moment, rows in _by_time(requests):
        found.events += _take(worker, feeds, until=moment)
        for row in rows:
            _score(client, row, found)
        advance(len(rows))
    found.events += _take(worker, feeds, until=None)
    worker.flush()
    return found


def _by_time(requests: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, list[Mapping[str, Any]]]]:
    """Requests of one moment together, with the moment in microseconds."""
    group: list[Mapping[str, Any]] = []
    for request in requests:
        if group and request["event_timestamp"] != group[0]["event_timestamp"]:
            yield _epoch(group[0]["event_timestamp"]), group
            group = []
        group.append(request)
    if group:
        yield _epoch(group[0]["event_timestamp"]), group


def _epoch(moment: datetime) -> int:
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def _take(worker: Worker, feeds: Sequence[TimedFeed], *, until: int | None) -> int:
    count = sum(feed.release(until) for feed in feeds)
    taken = 0
    while taken < count:
        taken += worker.step().records
    return count


def _score(client: ScoringClient, row: Mapping[str, Any], found: Replayed) -> None:
    start = time.perf_counter()
    try:
        found.scores.append(client.score(row))
    except OnefoldError as error:
        found.scores.append(None)
        found.failures.append(str(error))
    found.seconds.append(time.perf_counter() - start)
