"""HTTP on the wire: uvicorn's protocol over httptools, with bounds on what comes before a request is whole.

A connection that sends no head within its time, or a head without end, is closed; so is one too many, while those that
are there go on.
"""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from onefold.serving.exchange import ARRIVED

logger = logging.getLogger("onefold.serving")
LONGEST_HEAD = 64 * 1024
"""Bytes of a request's head that may come in one after another."""


class Protocol(HttpToolsProtocol):
    """One connection. most: connections of the process; head_seconds: for a head, from its first byte."""

    most = 2_000
    head_seconds = 10.0
    _in_head, _head = False, 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
        else:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._wait_for_head(len(data))

    def on_message_begin(self) -> None:
        self._in_head, self._head = True, -1
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._timer is not None:
            self._disarm()
        cast(dict[str, object], self.scope)[ARRIVED] = perf_counter()
        super().on_headers_complete()

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


def protocol(*, connections: int, head_seconds: float) -> type[Protocol]:
    """The protocol with these bounds."""
    return type("BoundProtocol", (Protocol,), {"most": connections, "head_seconds": head_seconds})
