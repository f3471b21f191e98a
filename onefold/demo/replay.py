"""Living through a month: events go through the worker in order, and requests are scored when their time comes."""

from __future__ import annotations

import socket
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


@dataclass(frozen=True, slots=True)
class Scored:
    """One request's score, or why it has none, and how long the answer took."""

    score: float | None
    seconds: float
    failure: str | None = None


@dataclass
class Replayed:
    """What came of a replay: per request its score (None where it failed), and the seconds that each took."""

    scores: list[float | None] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    events: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, answer: Scored) -> None:
        self.scores.append(answer.score)
        self.seconds.append(answer.seconds)
        if answer.failure is not None:
            self.failures.append(answer.failure)


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
    """One connection that is kept open to a scoring service. Its methods raise OnefoldError where it is closed.

    A plain socket saves 0.1 ms a request over `http.client`. A second connection saves next to nothing, and doubles
    the time that an answer takes.
    """

    def __init__(self, url: str, model: str) -> None:
        host, _, port = url.removeprefix("http://").rpartition(":")
        head = f"POST /v1/score/{model} HTTP/1.1\r\nhost: {host}:{port}\r\ncontent-type: application/json\r\n"
        self._head = f"{head}content-length: ".encode()
        self._socket = socket.create_connection((host, int(port)), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def score(self, row: Mapping[str, Any]) -> Scored:
        """One row's answer, whatever it is."""
        body = orjson.dumps({"row": row})
        start = time.perf_counter()
        self._socket.sendall(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
        status, content = _read_response(self._socket)
        seconds = time.perf_counter() - start
        answer = orjson.loads(content)
        if status == 200:
            return Scored(float(answer["score"]), seconds)
        return Scored(None, seconds, f"the scoring service answered {status}: {answer}")

    def close(self) -> None:
        self._socket.close()


def _read_response(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of a response that says how long it is, as the service's do."""
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _some(connection)
    head, body = data[:end].lower(), data[end + 4 :]
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    while len(body) < length:
        body += _some(connection)
    return int(head.split(b" ", 2)[1]), body


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    if not data:
        raise OnefoldError("the scoring service closed the connection")
    return data


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
            found.add(client.score(row))
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
