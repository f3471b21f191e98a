"""HTTP on the wire: uvicorn's protocol over httptools, with bounds on what comes before a request is whole.

A connection that sends no head within its time, or a head without end, is closed; so is one too many, while those that
are there go on.
"""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter
from typing import TYPE_CHECKING, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from onefold.serving.exchange import ARRIVED
from onefold.serving.quick import Heads, Plain, QuickExchange

if TYPE_CHECKING:
    from onefold.serving.answering import Answering

logger = logging.getLogger("onefold.serving")
LONGEST_HEAD = 64 * 1024
"""Bytes of a request's head that may come in one after another."""


class Protocol(HttpToolsProtocol):
    """One connection. most: connections of the process; head_seconds: for a head, from its first byte.

    heads, answering: for plain requests (see `quick`), of which one at a time is under way; None without them.
    """

    most = 2_000
    head_seconds = 10.0
    heads: Heads | None = None
    answering: Answering
    _in_head, _in_message, _head = False, False, 0
    _timer: asyncio.TimerHandle | None = None
    _under_way: asyncio.Task[None] | None = None
    _ending, _held = False, b""
    _idle_since: float | None = None
    """Since when a connection waits for another request, where the last one was plain; uvicorn sees to the others."""
    _idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
        else:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        if self._idle is not None:
            self._idle.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._under_way is not None:
            self._held += data
            self.flow.pause_reading()
            return
        if self.heads is not None and not self._in_message and (self.cycle is None or self.cycle.response_complete):
            found = self.heads.read(data)
            if found is not None:
                self._answer(*found)
                return
        self._idle_since = None
        super().data_received(data)
        if self._in_head:
            self._wait_for_head(len(data))

    def resume_writing(self) -> None:
        super().resume_writing()
        self._go_on()

    def shutdown(self) -> None:
        if self._under_way is not None:
            self._ending = True
        else:
            super().shutdown()

    def reply(self, written: bytes, *, keep: bool) -> None:
        """The answer to the plain request that is under way."""
        self._under_way = None
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.transport.write(written)
        if not keep or self._ending:
            self.transport.close()
            return
        self._idle_since = self.loop.time()
        if self._idle is None:
            self._idle = self.loop.call_later(self.timeout_keep_alive, self._look_if_idle)
        if self._held:
            self._go_on()

    def on_message_begin(self) -> None:
        self._in_head, self._in_message, self._head = True, True, -1
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._timer is not None:
            self._disarm()
        cast(dict[str, object], self.scope)[ARRIVED] = perf_counter()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_message = False
        super().on_message_complete()

    def _answer(self, plain: Plain, body: bytes) -> None:
        self._unset_keepalive_if_required()
        self._idle_since = None
        if self._timer is not None:
            self._disarm()
        task = self.loop.create_task(self.answering.answer(plain.route, QuickExchange(plain, body, self)))
        self._under_way = task
        self.tasks.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("a request could not be answered", exc_info=error)
        if self._under_way is task:
            self.transport.abort()

    def _look_if_idle(self) -> None:
        """Close a connection that has waited for its time; a timer for each request would cost more than this look."""
        self._idle = None
        if self._idle_since is None:
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._idle = self.loop.call_later(left, self._look_if_idle)
        else:
            self.timeout_keep_alive_handler()

    def _go_on(self) -> None:
        """Take what came while there was no room for it."""
        if self._held and self._under_way is None and not self.flow.write_paused:
            held, self._held = self._held, b""
            self.flow.resume_reading()
            self.data_received(held)

    def _wait_for_head(self, size: int) -> None:
        """The head goes on in a later packet."""
        self._head = 0 if self._head < 0 else self._head + size
        if self._head > LONGEST_HEAD:
            self.transport.abort()
        elif self._timer is None:
            self._arm()

    def _arm(self) -> None:
        self._timer = self.loop.call_later(self.head_seconds, self.transport.abort)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def protocol(
    *, connections: int, head_seconds: float, heads: Heads | None = None, answering: Answering | None = None
) -> type[Protocol]:
    """The protocol with these bounds, and with the short way where `heads` and `answering` are given."""
    bound = {"most": connections, "head_seconds": head_seconds, "heads": heads, "answering": answering}
    return type("BoundProtocol", (Protocol,), bound)
