"""Connections that ask without a pause, as cheaply as Python can: a request is bytes, an answer its status."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit


def request(path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a POST."""
    lines = [f"POST {path} HTTP/1.1", "host: test", "content-type: application/json", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class Load:
    """What came of a load: answers by status, and connections that ended without one."""

    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0

    @property
    def count(self) -> int:
        return self.statuses.total()


async def closed_loop(
    url: str, asked: bytes, *, connections: int, seconds: float, pause: float = 0.0, load: Load | None = None
) -> Load:
    """So many connections, each asking again when it was answered, `pause` seconds later."""
    load = load or Load()
    end = time.monotonic() + seconds
    place = urlsplit(url)
    assert place.hostname and place.port
    host, port = place.hostname, place.port

    async def one() -> None:
        while time.monotonic() < end:
            try:
                reader, writer = await asyncio.open_connection(host, port)
            except OSError:
                load.broken += 1
                await asyncio.sleep(0.05)
                continue
            try:
                while time.monotonic() < end:
                    writer.write(asked)
                    load.statuses[await _status(reader)] += 1
                    if pause:
                        await asyncio.sleep(pause)
            except (OSError, asyncio.IncompleteReadError):
                load.broken += 1
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    await asyncio.gather(*(one() for _ in range(connections)))
    return load


async def _status(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    await reader.readexactly(length)
    return int(head[9:12])
