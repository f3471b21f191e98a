"""A line of JSON for every request, on standard output; opt-in. A key is named by its id, bodies are not in it.

A thread of its own writes them, so that a slow reader holds up no answer; what does not fit is counted and left out.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from time import time
from typing import BinaryIO

import orjson

from onefold.serving.exchange import Exchange

_CAPACITY = 50_000


class AccessLog:
    """Writes what was asked and how it went. As a part in the background it begins and ends with the application."""

    def __init__(self, stream: BinaryIO | None = None, *, interval: float = 0.2) -> None:
        self._stream, self._interval = stream, interval
        self._lines: deque[dict[str, object]] = deque()
        self._left_out = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)

    def done(self, exchange: Exchange, seconds: float) -> None:
        """A line for an exchange, which took so long."""
        if len(self._lines) >= _CAPACITY:
            self._left_out += 1
            return
        access, client = exchange.access, exchange.client
        self._lines.append(
            {
                "time": round(time(), 6), "request_id": exchange.request_id.decode(), "method": exchange.method,
                "path": exchange.path[:200], "route": exchange.route, "status": exchange.status,
                "ms": round(seconds * 1000, 3), "bytes_in": exchange.received,
                "bytes_out": len(exchange.answer.body) if exchange.answer else 0,
                "key": access.key if access else None, "client": client[0] if client else None,
                "trace_id": exchange.head.traceparent[3:35].decode() or None,
            }
        )  # fmt: skip

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Write what waits, and stop."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _run(self) -> None:
        while not self._closing.wait(self._interval):
            self._write()
        self._write()

    def _write(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        left_out, self._left_out = self._left_out, 0
        if left_out:
            lines.append({"time": round(time(), 6), "left_out": left_out})
        stream = self._stream or sys.stdout.buffer
        try:
            stream.write(b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines))
            stream.flush()
        except (OSError, ValueError):  # nobody reads any more; the service does not end for that
            self._lines.clear()
