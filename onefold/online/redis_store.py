"""The store of state in one Redis server: APPEND a key and batch, MGET a lookup, sorted sets of marks.

Exactly-once needs no script: records carry their offset (docs/state.md). The one script there is swaps a string that
is unchanged. A write is never tried again here: where its fate is not known it raises, the session changes, and the
worker goes on from the marks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, partial
from itertools import islice
from types import TracebackType
from typing import Any, Self

from onefold.features.protocols import Swap
from onefold.online import redis_commands as commands
from onefold.online.redis_connection import Connection, Replies
from onefold.online.redis_lock import held_lock
from onefold.online.redis_options import RedisOptions
from onefold.online.redis_pool import RedisPool
from onefold.online.redis_reads import RedisReads
from onefold.online.redis_wire import mget

_AT_ONCE, _GET_PAGE = 100, 4_096


class RedisStore:
    """A store of state in one Redis, which must not evict keys.

    readonly: for lookups; a replica will do. Threads may share it. Raises StoreError where Redis cannot be reached,
    is refused or cannot do what was asked, and SessionError (see `OnlineStore`).
    """

    def __init__(self, options: RedisOptions | str, *, readonly: bool = False) -> None:
        self.options = RedisOptions.of(options) if isinstance(options, str) else options
        self.readonly = readonly
        self._pool = RedisPool(self.options, readonly=readonly)
        self._expiring: list[tuple[Replies, list[bytes]]] = []
        self._pool.read(lambda connection: connection.one(b"PING"))

    @cached_property
    def async_reads(self) -> RedisReads:
        """The same for an event loop, on a connection of its own; whoever asks for it closes it."""
        return RedisReads(self.options)

    @property
    def session(self) -> int:
        """Another number for each connection that writes; it connects where there is none."""
        return 0 if self.readonly else self._pool.session

    def get(self, names: Sequence[bytes]) -> list[bytes | None]:
        """All values, in order; None where there is none. Beyond 4,096 they are of several moments."""
        found: list[bytes | None] = []
        for start in range(0, len(names), _GET_PAGE):
            found += self._pool.read(partial(_get, names=names[start : start + _GET_PAGE]))
        return found

    def read(self, names: Sequence[bytes], groups: Sequence[bytes]) -> tuple[list[bytes | None], list[dict[int, int]]]:
        """Values of one moment, and the marks of each group, of one before; one round trip."""
        return self._pool.read(partial(_read, names=names, groups=groups))

    def append(
        self, items: Sequence[tuple[bytes, bytes]], *, session: int | None = None, keep: int | None = None
    ) -> list[int]:
        """Append to each string; the lengths after. What is new gets its expiry behind it."""
        lengths = self.begin_append(items, session=session, keep=keep)()
        if self._expiring:
            with self._pool.writing(session) as connection:
                self._expired(connection)
        return lengths

    def begin_append(
        self, items: Sequence[tuple[bytes, bytes]], *, session: int | None = None, keep: int | None = None
    ) -> Callable[[], list[int]]:
        """Send the appends; what comes back takes the replies. Whatever else is written meanwhile goes behind them.

        The expiry of what is new is then on its way, and is acknowledged at the next call that waits for one.
        """
        with self._pool.writing(session) as connection:
            replies = connection.later(commands.append_requests(items))
        return partial(self._appended, items, replies, session=session, keep=keep)

    def _appended(
        self, items: Sequence[tuple[bytes, bytes]], replies: Replies, *, session: int | None, keep: int | None
    ) -> list[int]:
        names = [name for name, _ in items]
        with self._pool.writing(session) as connection:
            lengths = replies.take()
            commands.checked(lengths, connection.address, what="APPEND", names=names)
            self._expired(connection)
            if keep is not None and self.options.expire:
                made = [name for (name, more), length in zip(items, lengths, strict=True) if len(more) == length]
                if made:
                    replies = connection.later(commands.chunked(commands.expiries(made, keep)))
                    self._expiring.append((replies, made))
        return lengths

    def _expired(self, connection: Connection) -> None:
        """See that the expiries that were sent are set; StoreError for the first that is not."""
        expiring, self._expiring = self._expiring, []
        for replies, names in expiring:
            if replies.connection is not connection:
                continue  # lost with its connection; the sweep sets it anew
            commands.checked(replies.take(), connection.address, what="PEXPIRE", names=names)

    def mark(self, items: Sequence[tuple[bytes, int, int]], *, session: int | None = None) -> None:
        """Raise marks (ZADD GT); offsets above 2^53 are refused."""
        raised = [commands.mark(*item) for item in items]
        with self._pool.writing(session) as connection:
            replies = connection.later(commands.chunked(raised))
            self._expired(connection)
            commands.checked(replies.take(), connection.address, what="ZADD", names=[group for group, _, _ in items])

    def put(
        self, items: Iterable[tuple[bytes, bytes | None]], *, session: int | None = None, keep: int | None = None
    ) -> None:
        """Set whole values (None deletes): fewer than 100 in one transaction, more as a stream."""
        rest = iter(items)
        first = list(islice(rest, _AT_ONCE))
        keep = keep if self.options.expire else None
        if len(first) < _AT_ONCE:
            if first:
                self._put([commands.at_once(list(commands.sets(first, keep)))], session)
            return
        self._put(commands.chunked(commands.sets(first, keep)), session)
        self._put(commands.chunked(commands.sets(rest, keep)), session)

    def swap_all(self, swaps: Sequence[Swap], *, keep: int | None = None) -> list[bool]:
        """Replace each string only if it is unchanged, each by itself, in one round trip."""
        with self._pool.writing() as connection:
            keep_ms = None if keep is None or not self.options.expire else keep * 1000
            return commands.swapped_on(connection, swaps, keep_ms=keep_ms)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All (name, value) with this prefix in no order, each at least once; a page is of one moment."""
        for page in self._pages(prefix, strings=True):
            for name, value in zip(page, self.get(page), strict=True):
                if value is not None:
                    yield name, value

    def names(self, prefix: bytes) -> Iterator[bytes]:
        """All names of strings with this prefix, in no order, each at least once."""
        for page in self._pages(prefix, strings=True):
            yield from page

    def clear(self, prefix: bytes, *, session: int | None = None) -> None:
        """Delete all that has this prefix. Redis goes through all of its names for it."""
        for page in self._pages(prefix, strings=False):
            if page:
                self._put([(commands.unlink(page), 1)], session)

    def lock(self, name: bytes, *, seconds: float) -> AbstractContextManager[bool]:
        """Whether this process alone has `name`; renewed while it lives, free `seconds` after it died."""
        return held_lock(self._pool.lent, name, seconds=seconds)

    def memory(self, names: Sequence[bytes]) -> list[int]:
        """Bytes of Redis' memory that each string takes, its name and slack with it; 0 where there is none."""
        return self._pool.read(partial(_memory, names=names))

    def flush(self) -> None:
        """Nothing: how much a Redis keeps when it dies is in its own settings (appendonly, appendfsync, save)."""

    def close(self) -> None:
        """Close all connections; a second close does nothing."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _put(self, requests: Iterable[commands.Request], session: int | None) -> None:
        """Each request is acknowledged before the next is made, so that any number streams through."""
        for request in requests:
            with self._pool.writing(session) as connection:
                commands.checked(connection.ask(*request), connection.address, what="SET")

    def _pages(self, prefix: bytes, *, strings: bool) -> Iterator[list[bytes]]:
        cursor = b"0"
        while True:
            asked = commands.scan(cursor, prefix, strings=strings)
            cursor, page = self._pool.read(partial(_one, asked=asked, what="SCAN"))
            yield page
            if cursor == b"0":
                return


def _get(connection: Connection, *, names: Sequence[bytes]) -> list[bytes | None]:
    return list(_one(connection, asked=mget(names), what="MGET"))


def _one(connection: Connection, *, asked: bytes, what: str) -> Any:
    (reply,) = commands.checked(connection.ask(asked, 1), connection.address, what=what)
    return reply


def _read(
    connection: Connection, *, names: Sequence[bytes], groups: Sequence[bytes]
) -> tuple[list[bytes | None], list[dict[int, int]]]:
    asked = [commands.marks(group) for group in groups]
    if names:
        asked.append(mget(names))
    if not asked:
        return [], []
    replies = connection.read(b"".join(asked), len(asked))
    for reply, name in zip(replies, (*groups, b""), strict=False):
        if isinstance(reply, Exception):
            commands.checked([reply], connection.address, what="a read", names=(name,))
    values = replies[-1] if names else []
    return values, [commands.marks_of(reply) for reply in replies[: len(groups)]]


def _memory(connection: Connection, *, names: Sequence[bytes]) -> list[int]:
    asked = b"".join(commands.memory(name) for name in names)
    replies = connection.ask(asked, len(names))
    return [reply or 0 for reply in commands.checked(replies, connection.address, what="MEMORY USAGE", names=names)]
