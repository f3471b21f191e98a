"""The short way for a plain POST that came in one piece: no ASGI between the socket and whoever answers.

What is plain is narrow: HTTP/1.1, a known path without a query, simple headers, one length, the whole body and nothing
behind it. Everything else goes through uvicorn's parser, which knows the rest of HTTP; both ways end in the same
`Answering`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from onefold.serving.exchange import Exchange
from onefold.serving.head import Head
from onefold.serving.ids import request_id
from onefold.serving.limits import too_large

if TYPE_CHECKING:
    from onefold.serving.messages import Answer
    from onefold.serving.routes import Route

_LINE = re.compile(rb"POST (/[A-Za-z0-9_./-]*) HTTP/1\.1")
_HEADER = re.compile(
    rb"([A-Za-z0-9_-]+):[ \t]*([\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?[ \t]*"
)
_NOT_PLAIN = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"te", b"trailer", b"forwarded"))
_KEPT = 1_000
_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}

Find = Callable[[str, str], "Route | None"]
"""A route by method and path."""


class Served(Protocol):
    """Whose connection it is."""

    client: Any

    def reply(self, written: bytes, *, keep: bool) -> None:
        """Write an answer; keep: whether another request may follow."""


class Plain(NamedTuple):
    """The head of a plain request: its route, path and headers, the length of its body, whether the client goes on."""

    route: Route
    path: str
    head: Head
    length: int
    keep: bool


class Heads:
    """Reads the heads of plain requests. A client's heads are much alike, so that the last thousand are known."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._known: dict[bytes, Plain | None] = {}

    def read(self, data: bytes) -> tuple[Plain, bytes] | None:
        """The head and the body of a request that is plain and whole; None for anything else."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = data[:end]
        try:
            plain = self._known[head]
        except KeyError:
            plain = self._parsed(head)
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[head] = plain
        if plain is None or len(data) != end + 4 + plain.length:
            return None
        return plain, data[end + 4 :]

    def _parsed(self, head: bytes) -> Plain | None:
        first, *lines = head.split(b"\r\n")
        line = _LINE.fullmatch(first)
        route = None if line is None else self._find("POST", line[1].decode())
        if line is None or route is None:
            return None
        headers = []
        for text in lines:
            found = _HEADER.fullmatch(text)
            if found is None:
                return None
            headers.append((found[1].lower(), found[2]))
        length, keep = _length(headers), _keeps(headers)
        if length is None or keep is None:
            return None
        return Plain(route, line[1].decode(), Head.of(headers), length, keep)


def _length(headers: list[tuple[bytes, bytes]]) -> int | None:
    """The one length that is said; None where that is not so, or something asks for more of HTTP."""
    if any(name in _NOT_PLAIN or name.startswith(b"x-forwarded-") for name, _ in headers):
        return None
    said = [value for name, value in headers if name == b"content-length"]
    return int(said[0]) if len(said) == 1 and said[0].isdigit() and len(said[0]) < 10 else None


def _keeps(headers: list[tuple[bytes, bytes]]) -> bool | None:
    said = [value.lower() for name, value in headers if name == b"connection"]
    return {(): True, (b"keep-alive",): True, (b"close",): False}.get(tuple(said))


class QuickExchange(Exchange):
    """An exchange whose body is there, and whose answer is written at once."""

    __slots__ = ("_body", "_keep", "_served")

    def __init__(self, plain: Plain, body: bytes, served: Served) -> None:
        self.start = perf_counter()
        self.client = served.client
        self.method, self.path, self.head = "POST", plain.path, plain.head
        self.request_id = plain.head.request_id or request_id().encode()
        self.route, self.received = "", len(body)
        self.access = self.answer = None
        self.parts = []
        self._body, self._keep, self._served = body, plain.keep, served

    async def body(self, limit: int) -> bytes | None:
        if len(self._body) > limit:
            raise too_large(limit)
        return self._body

    async def send(self, answer: Answer) -> None:
        self.answer = answer
        self._served.reply(_written(answer, self.request_id, self._keep), keep=self._keep)


def _written(answer: Answer, request_id: bytes, keep: bool) -> bytes:
    """The whole answer."""
    more = b"".join([b"%b: %b\r\n" % header for header in answer.headers]) if answer.headers else b""
    return b"%b%d\r\n%bx-request-id: %b\r\n%b\r\n%b" % (
        _start(answer.status, answer.content_type), len(answer.body), more, request_id,
        b"" if keep else b"connection: close\r\n", answer.body,
    )  # fmt: skip


@cache
def _start(status: int, content_type: str) -> bytes:
    """The head of an answer, up to its length."""
    return b"%bcontent-type: %b\r\ncontent-length: " % (_STATUS_LINES[status], content_type.encode())
