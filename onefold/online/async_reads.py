"""Stores of state as an event loop reads them: LMDB at once, Redis on a connection of its own, a cluster in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from onefold.features.protocols import OnlineStore

_THREADS = 8

Found = tuple[list[bytes | None], list[dict[int, int]]]
"""Values, and the marks of each group."""


class AsyncReads(Protocol):
    """What lookups need of a store. Any number of reads may be under way in one event loop."""

    async def read(self, names: Sequence[bytes], groups: Sequence[bytes]) -> Found:
        """As `OnlineStore.read`."""

    async def aclose(self) -> None:
        """Give up connections and threads, as at the end of an event loop; another read makes them anew."""


class DirectReads:
    """A store that answers faster than a thread could take over: the embedded one."""

    def __init__(self, store: OnlineStore) -> None:
        self._read = store.read

    async def read(self, names: Sequence[bytes], groups: Sequence[bytes]) -> Found:
        return self._read(names, groups)

    async def aclose(self) -> None:
        """Nothing: the store is whose opened it."""


class ThreadedReads:
    """A store whose reads wait for a network, each in one of eight threads."""

    def __init__(self, store: OnlineStore) -> None:
        self._read = store.read
        self._threads: ThreadPoolExecutor | None = None

    async def read(self, names: Sequence[bytes], groups: Sequence[bytes]) -> Found:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="store")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, names, groups)

    async def aclose(self) -> None:
        """End the threads; the store is whose opened it."""
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None


def async_reads(store: OnlineStore) -> AsyncReads:
    """How an event loop reads a store; the same object each time where the store has connections of its own for it."""
    made: AsyncReads | None = getattr(store, "async_reads", None)
    return DirectReads(store) if made is None else made
