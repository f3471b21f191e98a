"""A connection to a Redis in an event loop: requests of all who ask go out at once, replies come in their order."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Any, cast

import hiredis

from onefold.online.redis_errors import Unreachable
from onefold.online.redis_greeting import greeting, no_connection, reason, tls_context
from onefold.online.redis_options import Address, RedisOptions
from onefold.online.redis_wire import ProtocolError, command, native_replies, read_rest

_NOTHING = object()
_LOOKS = 4
"""How often, in the time after which a connection is given up, it is looked at whether it answers."""


class _Waiting:
    """A request that is under way, and the replies that have come of so many."""

    __slots__ = ("count", "found", "replies", "since")

    def __init__(self, found: asyncio.Future[list[Any]], count: int, since: float) -> None:
        self.found, self.count, self.since = found, count, since
        self.replies: list[Any] = []


class Link(asyncio.Protocol):
    """A connection that is ready for use. When it is lost, whoever waits gets Unreachable, and it is of no more use."""

    def __init__(self, address: Address, *, timeout: float) -> None:
        self.address, self.open = address, True
        self._timeout = timeout
        self.loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._native: Any = None
        self._waiting: deque[_Waiting] = deque()
        self._out: list[bytes] = []
        self._several = False
        self._heard = 0.0
        self._transport: asyncio.Transport | None = None
        self._look: asyncio.TimerHandle | None = None

    @classmethod
    async def to(cls, options: RedisOptions, address: Address) -> Link:
        """Connect and log in. Raises Unreachable where trying again may help, StoreError or ConfigError else."""
        link = cls(address, timeout=options.timeout)
        try:
            async with asyncio.timeout(options.timeout):
                await link._connect(options)
                await link._greet(options)
            link._native = native_replies()
        except OSError as error:
            link.close()
            raise no_connection(_timed(error, options), address) from error
        except BaseException:
            link.close()
            raise
        return link

    def ask(self, request: bytes, replies: int) -> asyncio.Future[list[Any]]:
        """Every reply to a request of so many commands; error replies are ReplyErrors among them."""
        loop = self.loop
        found: asyncio.Future[list[Any]] = loop.create_future()
        if not self.open:
            found.set_exception(self._lost(ConnectionResetError("it was closed")))
            return found
        assert self._transport is not None
        self._waiting.append(_Waiting(found, replies, loop.time()))
        if not self._several and len(self._waiting) == 1:
            self._transport.write(request)
        else:
            if not self._out:
                loop.call_soon(self._send)
            self._out.append(request)
        if self._look is None:
            self._look = loop.call_later(self._timeout / _LOOKS, self._look_after)
        return found

    def _send(self) -> None:
        """All that was asked in one turn of the loop, in one write: each is a system call, and wakes the server.

        Where it was one alone, the next one that is alone does not wait for others.
        """
        out, self._out = self._out, []
        self._several = len(out) > 1
        if self.open and self._transport is not None:
            self._transport.write(b"".join(out))

    def close(self) -> None:
        """Close it; whoever waits for an answer gets Unreachable."""
        self._end(ConnectionResetError("it was closed"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        opened = transport.get_extra_info("socket")
        if opened is not None and self.address.port:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        self._heard = self.loop.time()
        try:
            if self._native is None:
                self._read(data)
            else:
                self._read_natively(data)
        except (ProtocolError, ValueError, IndexError) as error:
            self._end(ProtocolError("a reply that nobody asked for") if isinstance(error, IndexError) else error)

    def _read(self, data: bytes) -> None:
        reader, waiting = self._reader, self._waiting
        reader.feed(data)
        while (reply := reader.gets()) is not _NOTHING:
            first = waiting[0]
            first.replies.append(reply)
            if len(first.replies) == first.count:
                waiting.popleft()
                if not first.found.done():
                    first.found.set_result(first.replies)

    def _read_natively(self, data: bytes) -> None:
        replies, waiting = self._native, self._waiting
        replies.feed(data)
        while replies.left:
            found = replies.next(waiting[0].count)
            if found is None:
                return
            first = waiting.popleft()
            if not first.found.done():
                first.found.set_result(read_rest(found))

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or ConnectionResetError("the server closed the connection"))

    def _look_after(self) -> None:
        """Give the connection up where someone has waited too long, and nothing has come meanwhile."""
        self._look = None
        if not self._waiting:
            return
        quiet = self.loop.time() - max(self._heard, self._waiting[0].since)
        if quiet > self._timeout:
            self._end(TimeoutError(f"no answer for {self._timeout:g} seconds"))
        else:
            self._look = self.loop.call_later(self._timeout / _LOOKS, self._look_after)

    def _end(self, error: Exception) -> None:
        if not self.open:
            return
        self.open = False
        if self._look is not None:
            self._look.cancel()
        while self._waiting:
            found = self._waiting.popleft().found
            if not found.done():
                found.set_exception(self._lost(error))
        if self._transport is not None and not self.loop.is_closed():
            self._transport.abort()

    def _lost(self, error: Exception) -> Unreachable:
        return Unreachable(f"the connection to Redis at {self.address} was lost: {reason(error)}")

    async def _connect(self, options: RedisOptions) -> None:
        address, tls = self.address, tls_context(options) if options.tls else None
        name = address.host if tls else None
        if address.port:
            await self.loop.create_connection(lambda: self, address.host, address.port, ssl=tls, server_hostname=name)
        else:
            await self.loop.create_unix_connection(lambda: self, address.host, ssl=tls, server_hostname=name)

    async def _greet(self, options: RedisOptions) -> None:
        steps = greeting(options, self.address, writes=False)
        try:
            asked = next(steps)
            while True:
                asked = steps.send(await self.ask(b"".join(command(*words) for words in asked), len(asked)))
        except StopIteration:
            return


def _timed(error: OSError, options: RedisOptions) -> OSError:
    """The time limit's own error has no words."""
    return error if str(error) else TimeoutError(f"no answer for {options.timeout:g} seconds")
