"""A lock in Redis: a string that only its holder can renew or delete, and that goes by itself when the holder dies.

Its value looks like a head of a state, with a generation of its own, so that the script that swaps states renews and
deletes it too.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from onefold.features.errors import StoreError
from onefold.features.protocols import Swap
from onefold.online import redis_commands as commands
from onefold.online.redis_connection import Connection

_PREFIX = b"l/"
_HEAD = b"H-------"

_log = logging.getLogger(__name__)

Lend = Callable[[], AbstractContextManager[Connection]]


@contextmanager
def held_lock(lend: Lend, name: bytes, *, seconds: float) -> Iterator[bool]:
    """Whether the lock is ours while the context lasts. lend: gives connections to where the lock is kept."""
    held, token, milliseconds = _PREFIX + name, _HEAD + os.urandom(8), max(1, int(seconds * 1000))
    with lend() as connection:
        got = connection.one(b"SET", held, token, b"NX", b"PX", b"%d" % milliseconds)
    if got is None:
        yield False
        return
    over = threading.Event()
    renewing = threading.Thread(
        target=_renew, args=(lend, held, token, milliseconds, over), name="redis-lock", daemon=True
    )
    renewing.start()
    try:
        yield True
    finally:
        over.set()
        renewing.join()
        try:
            _swap(lend, held, token, b"", None)
        except StoreError as error:
            _log.warning("lock %r was not given back, and is free in %.0f s at most: %s", name, seconds, error)


def _renew(lend: Lend, name: bytes, token: bytes, milliseconds: int, over: threading.Event) -> None:
    while not over.wait(milliseconds / 3000):
        try:
            if not _swap(lend, name, token, token, milliseconds):
                _log.error("lock %r is another's by now; it was not renewed in time", name)
                return
        except StoreError as error:
            _log.warning("lock %r could not be renewed: %s", name, error)


def _swap(lend: Lend, name: bytes, token: bytes, value: bytes, milliseconds: int | None) -> bool:
    with lend() as connection:
        swap = Swap(name, len(token), token[8:], value)
        return commands.swapped_on(connection, [swap], keep_ms=milliseconds)[0]
