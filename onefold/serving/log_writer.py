"""The served log as those who serve see it: what was served is handed on to the process that writes it.

`offer` never waits. Blocks are gathered into frames, a few a second, and each is kept until the log says that it is
written: what a log that dies had not written is sent to the next one. What does not fit is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, cast

from onefold.offline.served_inputs import ServedInputs
from onefold.serving.log_frames import DONE, FLUSH, TABLE, WRITER, Frame, Message, Unpacker, packed

if TYPE_CHECKING:
    from onefold.features.plans import ServicePlan
    from onefold.offline.served_record import ServedBlock
    from onefold.serving.metrics import Metrics

logger = logging.getLogger("onefold.serving")
PAUSE, FULL = 0.1, 64 << 10
"""A frame is sent so many seconds after its first block came, or when it has so many bytes."""
MOST_BYTES = 64 << 20
"""What may wait, in bytes, where rows are wide."""
_AGAIN = 0.5
"""Seconds until a lost connection is tried again."""


class _Sent(NamedTuple):
    rows: int
    size: int
    message: list[bytes]


class LogWriter(asyncio.Protocol):
    """Hands blocks to the log at an address, a Unix socket. All of it runs in one event loop; `close` alone does not.

    capacity: rows that may wait, here or there. Where `start` was not called, `close` sends all there is.
    """

    def __init__(self, address: str, *, metrics: Metrics, capacity: int = 100_000) -> None:
        self._address, self._metrics, self._capacity = address, metrics, capacity
        self._name = os.urandom(8).hex()
        self._tables: dict[tuple[str, str], int] = {}
        self._told: list[bytes] = [packed((WRITER, self._name))]
        self._frame, self._last = Frame(), 0
        self._sent: dict[int, _Sent] = {}
        self._rows, self._bytes = 0, 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.WriteTransport | None = None
        self._received = Unpacker()
        self._trouble = ""
        self._closing, self._over = False, asyncio.Event()
        metrics.watch_queue(lambda: self.waiting)

    @property
    def waiting(self) -> int:
        """Rows that are not in the log yet, and may come to be."""
        return self._rows + self._frame.rows

    @property
    def state(self) -> str:
        """ "ok", or why rows wait."""
        return f"{self.waiting} rows wait: {self._trouble}" if self._trouble else "ok"

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._connect()

    def offer(self, plan: ServicePlan, block: ServedBlock) -> None:
        """Take a block for the log. Never blocks and never raises; what does not fit is counted as dropped."""
        rows, frame = len(block.request_ids), self._frame
        if self._closing or self.waiting + rows > self._capacity or self._bytes + frame.size > MOST_BYTES:
            self._metrics.dropped(rows)
            return
        try:
            frame.add(self._table(plan), block)
        except Exception:  # the answer does not depend on it
            self._metrics.dropped(rows)
            logger.exception("%d served rows of service %r cannot be logged", rows, plan.name)
            return
        if frame.size >= FULL:
            self._send()
        elif self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(PAUSE, self._send)

    def _table(self, plan: ServicePlan) -> int:
        """The number of a service's table; the first block of one is preceded by what the table holds."""
        key = plan.name, plan.fingerprint
        number = self._tables.get(key)
        if number is None:
            number = self._tables[key] = len(self._tables)
            self._told.append(packed((TABLE, number, ServedInputs.of(plan).to_json())))
            self._write([self._told[-1]])
        return number

    def _send(self) -> None:
        """Send what was gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        frame = self._frame
        if not frame.rows:
            return
        self._last += 1
        sent = self._sent[self._last] = _Sent(frame.rows, frame.size, frame.message(self._last))
        self._frame = Frame()
        self._rows += sent.rows
        self._bytes += sent.size
        self._write(sent.message)

    def _write(self, parts: list[bytes]) -> None:
        if self._transport is not None:
            self._transport.writelines(parts)

    def close(self, *, timeout: float = 30.0) -> None:
        """Have all that waits written. What cannot be is counted as dropped, and logged. timeout: seconds."""
        if self._closing:
            return
        if self._loop is None:
            asyncio.run(self._finish(timeout))
        else:
            asyncio.run_coroutine_threadsafe(self._finish(timeout), self._loop).result()
        lost = self.waiting
        if lost:
            self._metrics.dropped(lost)
            logger.error("%d served rows may not be in the served log: %s", lost, self._trouble or "it is too slow")

    async def _finish(self, timeout: float) -> None:
        self._closing = True
        self._send()
        if self._loop is None:
            self.start()
        else:
            self._write([packed((FLUSH,))])
        if self._sent:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), timeout)
        self._over.set()
        if self._transport is not None:
            self._transport.close()

    # --- the connection ----------------------------------------------------------------------------------------

    def _connect(self) -> None:
        assert self._loop is not None
        self._task = self._loop.create_task(self._connected())

    async def _connected(self) -> None:
        assert self._loop is not None
        try:
            await self._loop.create_unix_connection(lambda: self, self._address)
        except OSError as error:
            self._lost(f"the log does not answer ({error})")

    def _lost(self, why: str) -> None:
        assert self._loop is not None
        self._trouble = why
        self._loop.call_later(_AGAIN, self._connect)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Tell again what a log must know, and send again what the one before has not said to be written."""
        self._transport, self._received = cast("asyncio.WriteTransport", transport), Unpacker()
        self._write(self._told)
        for sent in self._sent.values():
            self._write(sent.message)
        if self._closing:
            self._write([packed((FLUSH,))])

    def data_received(self, data: bytes) -> None:
        for message in self._received.feed(data):
            self._hear(message)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self._over.is_set():
            self._lost("the process that writes the log has ended")

    def _hear(self, message: Message) -> None:
        kind, number, said = message
        if kind == DONE:
            sent = self._sent.pop(number, None)
            if sent is not None:
                self._rows -= sent.rows
                self._bytes -= sent.size
                self._metrics.logged(sent.rows - said)
                self._metrics.dropped(said)
            self._trouble = ""
        else:
            self._trouble = said
            for _ in range(number):
                self._metrics.log_error()
        if self._closing and (kind != DONE or not self._sent):
            self._over.set()
