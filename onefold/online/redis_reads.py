"""Reads of one Redis within an event loop, on a connection that is made again when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from onefold.features.errors import OnefoldError, StoreError
from onefold.online import redis_commands as commands
from onefold.online.redis_errors import Unreachable, explained
from onefold.online.redis_link import Link
from onefold.online.redis_options import RedisOptions
from onefold.online.redis_wire import mget

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5


class RedisReads:
    """What lookups read of a Redis. For one event loop at a time; any number of reads at once.

    A read waits `retry_for` seconds at most for a server that is gone. Once it has been gone for so long, reads fail at
    once, until it is back. Raises StoreError.
    """

    def __init__(self, options: RedisOptions) -> None:
        self.options = options
        self._link: Link | None = None
        self._up: asyncio.Future[Link | OnefoldError] | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._problem: Exception | None = None
        self._since = 0.0

    async def read(
        self, names: Sequence[bytes], groups: Sequence[bytes]
    ) -> tuple[list[bytes | None], list[dict[int, int]]]:
        """Values of one moment, and the marks of each group, of one before; one round trip."""
        asked = [commands.marks(group) for group in groups]
        if names:
            asked.append(mget(names))
        if not asked:
            return [], []
        replies = await self._ask(b"".join(asked), len(asked))
        values = replies.pop() if names else []
        return values, [commands.marks_of(reply) for reply in replies]

    async def aclose(self) -> None:
        """Close the connection, as at the end of an event loop: who waits is told, and another read connects anew."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._up is not None and not self._up.done():
            self._up.set_result(StoreError(f"the online store at {self.options} was closed"))
        if self._link is not None:
            self._link.close()
            await asyncio.sleep(0)

    async def _ask(self, request: bytes, count: int) -> list[Any]:
        """Every reply, of whichever connection gives them within the time."""
        loop = asyncio.get_running_loop()
        start, pause = loop.time(), _FIRST_PAUSE
        while True:
            try:
                link = self._link
                if link is None or not link.open or link.loop is not loop:
                    link = await self._connected(loop)
                return self._whole(await link.ask(request, count))
            except _Gone:
                raise
            except Unreachable as error:
                spent = loop.time() - start
                if spent + pause > self.options.retry_for:
                    raise Unreachable(f"{error} (tried for {spent:.1f} s)") from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _whole(self, replies: list[Any]) -> list[Any]:
        for reply in replies:
            if isinstance(reply, Exception):
                raise explained(reply, self.options, what="a read")
        return replies

    async def _connected(self, loop: asyncio.AbstractEventLoop) -> Link:
        """The connection, as soon as there is one; _Gone where there was none for too long."""
        if self._up is None or self._up.done() or self._up.get_loop() is not loop:
            self._up, self._since, self._problem = loop.create_future(), loop.time(), None
            self._connecting = loop.create_task(self._connect(self._up))
        left = self._since + self.options.retry_for - loop.time()
        if left > 0 and not self._up.done():
            await asyncio.wait((self._up,), timeout=left)
        if not self._up.done():
            problem = self._problem or f"Redis at {self.options} has not answered yet"
            raise _Gone(f"{problem} (tried for {loop.time() - self._since:.1f} s)")
        found = self._up.result()
        if isinstance(found, OnefoldError):
            raise type(found)(str(found)) from found
        return found

    async def _connect(self, up: asyncio.Future[Link | OnefoldError]) -> None:
        """Connect, again and again while the server cannot be reached."""
        pause = _FIRST_PAUSE
        while not up.done():
            try:
                self._link = await Link.to(self.options, self.options.addresses[0])
                up.set_result(self._link)
            except Unreachable as error:
                self._problem = error
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            except OnefoldError as error:
                up.set_result(error)


class _Gone(Unreachable):
    """It was tried for as long as anybody waits."""
