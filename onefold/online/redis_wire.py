"""One socket to a Redis: whole requests out, replies in, never stuck when both directions are full.

Requests are RESP bytes that are built by hand, many commands in one; replies are read by hiredis, and the strings of a
lookup where they lie, by the native kernel. The socket does not block: what cannot be sent waits while replies are
read, so that a server that stops reading until its own answers are taken is no deadlock.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import hiredis

from onefold.features import native

ReplyError = hiredis.ReplyError
ProtocolError = hiredis.ProtocolError

_NOTHING = object()
_RECEIVE = 1 << 18
_AGAIN = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def command(*words: bytes) -> bytes:
    """The bytes of one command.

    >>> command(b"GET", b"a")
    b'*2\\r\\n$3\\r\\nGET\\r\\n$1\\r\\na\\r\\n'
    """
    return many(b"*%d\r\n" % len(words), words)


def many(start: bytes, words: Iterable[bytes]) -> bytes:
    """A command of many words behind what it starts with."""
    kernel = native.kept("many")
    if kernel is not None:
        found: bytes = kernel(start, list(words))
        return found
    return start + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


def mget(names: Sequence[bytes]) -> bytes:
    return many(b"*%d\r\n$4\r\nMGET\r\n" % (len(names) + 1), names)


def native_replies() -> Any:
    """What finds replies in bytes natively; None where hiredis does."""
    made = native.function("Replies")
    return made and made()


def read_rest(replies: list[Any]) -> list[Any]:
    """Replies of `native_replies`, with those in place that it leaves to hiredis as their bytes."""
    for i, reply in enumerate(replies):
        if type(reply) is bytes:
            reader = hiredis.Reader()
            reader.feed(reply)
            replies[i] = reader.gets()
    return replies


class Wire:
    """A socket and what is under way on it. Raises OSError and ProtocolError, after which it is of no more use."""

    def __init__(self, connected: socket.socket, *, timeout: float) -> None:
        connected.setblocking(False)
        self._socket, self._timeout = connected, int(timeout * 1000)
        self._tls = isinstance(connected, ssl.SSLSocket)
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._native = None if self._tls else native_replies()
        self._buffer = bytearray(_RECEIVE)
        self._poll = select.poll()
        self._events = select.POLLIN
        self._poll.register(connected, self._events)
        self._out: deque[memoryview] = deque()
        self._replies: list[Any] = []
        self._wanted = 0

    def fileno(self) -> int:
        return self._socket.fileno()

    def post(self, request: bytes, replies: int) -> None:
        """Send a request, to which so many replies will come; returns when nearly all of it is on its way."""
        self._wanted += replies
        self._out.append(memoryview(request))
        self._send()
        while len(self._out) > 1:
            self._wait()

    def collect(self) -> list[Any]:
        """Every reply to what was posted; error replies are ReplyErrors among them."""
        while self.busy:
            self._wait()
        found, self._replies, self._wanted = self._replies, [], 0
        return found

    def exchange(self, request: bytes, replies: int) -> list[Any]:
        """Post and collect at once; what is an array of strings may come as a sequence that is no list."""
        if self._native is None or self.busy:
            self.post(request, replies)
            return self.collect()
        found = self._native.exchange(self._socket.fileno(), request, replies, self._timeout)
        if found is None:
            raise self._silent()
        return read_rest(found)

    @property
    def busy(self) -> bool:
        return bool(self._out) or len(self._replies) < self._wanted

    @property
    def quiet(self) -> bool:
        """Whether the server has sent nothing unasked: neither bytes nor the end of the connection."""
        return self._tls or not self._poll.poll(0)

    def close(self) -> None:
        self._socket.close()

    def _send(self) -> None:
        out = self._out
        try:
            while out:
                sent = self._socket.send(out[0])
                if sent < len(out[0]):
                    out[0] = out[0][sent:]
                else:
                    out.popleft()
        except _AGAIN:
            return

    def _wait(self) -> None:
        """Wait until something can be sent or read, and do it."""
        events = select.POLLIN | select.POLLOUT if self._out else select.POLLIN
        if events != self._events:
            self._poll.modify(self._socket, events)
            self._events = events
        if not self._poll.poll(self._timeout):
            raise self._silent()
        if self._out:
            self._send()
        self._receive()

    def _silent(self) -> TimeoutError:
        return TimeoutError(f"no answer for {self._timeout / 1000:g} seconds")

    def _receive(self) -> None:
        """Read all that is there."""
        reader, buffer = self._reader, self._buffer
        try:
            while True:
                count = self._socket.recv_into(buffer)
                if not count:
                    raise ConnectionResetError("the server closed the connection")
                reader.feed(buffer, 0, count)  # type: ignore[arg-type]  # it takes any buffer
                if count < _RECEIVE and not self._tls:
                    break
        except _AGAIN:
            pass
        while (reply := reader.gets()) is not _NOTHING:
            self._replies.append(reply)
