"""Living through a month: events are handed on in order, and requests are scored when their time comes."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import orjson

from onefold.features.errors import OnefoldError
from onefold.features.values import parse_timestamp

if TYPE_CHECKING:
    from onefold.wiring import Workspace

Advance = Callable[[int], None]
Rows = Sequence[Mapping[str, Any]]
_IDLE = 2.0
"""Seconds after which a connection is made anew: the service closes one that is idle for longer."""


class Taken(NamedTuple):
    """How many events were handed on, and whether all of them are in the state."""

    events: int
    fresh: bool = True


class Living(Protocol):
    """How a demo lives through its month: what it is kept in, and who takes the events."""

    @property
    def settings(self) -> str:
        """What the project's onefold.toml says of it."""

    def begin(self, space: Workspace) -> None:
        """Called first: OnefoldError where what it needs is not there."""

    def live_through(
        self, space: Workspace, feeds: Mapping[str, Path], rows: Rows, client: ScoringClient, advance: Advance
    ) -> Replayed:
        """Events and requests together; at its end all of the feeds is in the archive."""

    def end(self, space: Workspace) -> Workspace:
        """Called when the service has ended; the project that is to be verified."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One request's score, or why it has none, and how long the answer took."""

    score: float | None
    seconds: float
    failure: str | None = None


@dataclass
class Replayed:
    """What came of a replay: per request its score (None where it failed), and the seconds that each took.

    behind: requests that were scored before the newest events were in. kills: workers killed on the way.
    """

    scores: list[float | None] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    events: int = 0
    failures: list[str] = field(default_factory=list)
    behind: int = 0
    kills: int = 0

    def add(self, answer: Scored) -> None:
        self.scores.append(answer.score)
        self.seconds.append(answer.seconds)
        if answer.failure is not None:
            self.failures.append(answer.failure)


class TimedLines:
    """The lines of a JSON-lines file in the order of their event times, handed on as time passes."""

    def __init__(self, path: Path, *, event_time: str) -> None:
        self._lines = path.read_bytes().splitlines()
        self._times = [_micros(orjson.loads(line)[event_time]) for line in self._lines]
        self._next = 0

    def take(self, until: int | None) -> list[bytes]:
        """The next events with ts <= until; all that are left for None."""
        first, times = self._next, self._times
        while self._next < len(times) and (until is None or times[self._next] <= until):
            self._next += 1
        return self._lines[first : self._next]


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
        self._address = (host, int(port))
        self._connect()

    def _connect(self) -> None:
        self._socket = socket.create_connection(self._address, timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._used = time.perf_counter()

    def score(self, row: Mapping[str, Any]) -> Scored:
        """One row's answer, whatever it is."""
        body = orjson.dumps({"row": row})
        if time.perf_counter() - self._used > _IDLE:
            self.close()
            self._connect()
        start = time.perf_counter()
        self._socket.sendall(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
        status, content = _read_response(self._socket)
        self._used = time.perf_counter()
        seconds = self._used - start
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
    take: Callable[[int | None], Taken], requests: Rows, client: ScoringClient, *, advance: Advance, pace: int = 1
) -> Replayed:
    """Replay events and requests together: the events are handed on before the requests of their time are sent.

    take: hands on all events with ts <= its argument, or all that are left. requests: rows in order of
    `event_timestamp` (datetime, UTC), with what the service asks for. pace: microseconds of event time whose requests
    go together, knowing what was there when the first of them was due.
    """
    found = Replayed()
    for moment, rows in _by_time(requests, pace):
        taken = take(moment)
        found.events += taken.events
        found.behind += 0 if taken.fresh else len(rows)
        for row in rows:
            found.add(client.score(row))
        advance(len(rows))
    found.events += take(None).events
    return found


def _by_time(requests: Rows, pace: int) -> Iterator[tuple[int, list[Mapping[str, Any]]]]:
    """Requests of one stretch of time together, with the moment of the first in microseconds."""
    for _, group in groupby(requests, key=lambda row: epoch(row["event_timestamp"]) // pace):
        rows = list(group)
        yield epoch(rows[0]["event_timestamp"]), rows


def epoch(moment: datetime) -> int:
    """Microseconds since 1970 of a time in UTC."""
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
