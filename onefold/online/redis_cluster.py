"""The store of state in a Redis Cluster: names in 64 buckets, marks in every bucket, one request a node at a time.

Marks are raised in all buckets, and read as the lowest of those that are read: a node that lost writes holds older
marks than the others, and what it holds is then known to be behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, partial
from itertools import islice
from types import TracebackType
from typing import Any, Self

from onefold.features.protocols import Swap
from onefold.online import redis_commands as commands
from onefold.online.async_reads import ThreadedReads
from onefold.online.redis_buckets import BUCKETS, TAGGED, is_pointer, joined_marks, placed
from onefold.online.redis_connection import Connection
from onefold.online.redis_lock import held_lock
from onefold.online.redis_nodes import Ask, Asked, Nodes, is_half_moved, is_redirection
from onefold.online.redis_options import RedisOptions
from onefold.online.redis_wire import command, mget

_AT_ONCE, _PAGE = 100, 2_000
_BUCKETS = {tagged: bucket for bucket, tagged in enumerate(TAGGED)}


class RedisClusterStore:
    """A store of state in a Redis Cluster, none of whose nodes may evict keys. As `RedisStore`, but for these:

    values of one call are of one moment within a bucket only; a list is put at one moment within a bucket only.
    """

    def __init__(self, options: RedisOptions | str, *, readonly: bool = False) -> None:
        self.options = RedisOptions.of(options) if isinstance(options, str) else options
        self.readonly = readonly
        self._nodes = Nodes(self.options, readonly=readonly)
        self.get([b"p/"])

    @cached_property
    def async_reads(self) -> ThreadedReads:
        """The same for an event loop, each read in a thread; whoever asks for it closes it."""
        return ThreadedReads(self)

    @property
    def session(self) -> int:
        """Another number when any node's connection was made anew, or a bucket has moved."""
        return 0 if self.readonly else self._nodes.session

    def get(self, names: Sequence[bytes]) -> list[bytes | None]:
        """All values, in order; None where there is none."""
        return self.read(names, ())[0]

    def read(self, names: Sequence[bytes], groups: Sequence[bytes]) -> tuple[list[bytes | None], list[dict[int, int]]]:
        """Values, and the marks of each group that hold for all of them: in a bucket they are of a moment before.

        Without names, marks that hold for all that is stored.
        """
        found, marks = self._read(names, groups)
        if None in found and any(map(is_pointer, names)) and not all(map(is_pointer, names)):
            # What a pointer led to may have been deleted after the pointer was read.
            pointers = [i for i, name in enumerate(names) if is_pointer(name)]
            if self.get([names[i] for i in pointers]) != [found[i] for i in pointers]:
                return self.read(names, groups)
        return found, marks

    def append(
        self, items: Sequence[tuple[bytes, bytes]], *, session: int | None = None, keep: int | None = None
    ) -> list[int]:
        """Append to each string, on all nodes at once; the lengths after. What is new gets its expiry behind it."""
        at = [placed(name) for name, _ in items]
        stored = [name for _, name in at]
        asked = commands.appends((name, more) for name, (_, more) in zip(stored, items, strict=True))
        lengths = self._write([(b, c) for (b, _), c in zip(at, asked, strict=True)], "APPEND", stored, session=session)
        if keep is not None and self.options.expire:
            made = [p for p, (_, more), length in zip(at, items, lengths, strict=True) if len(more) == length]
            expiries = commands.expiries([name for _, name in made], keep)
            asked_more = [(b, c) for (b, _), c in zip(made, expiries, strict=True)]
            self._write(asked_more, "PEXPIRE", [name for _, name in made], session=session)
        return lengths

    def begin_append(
        self, items: Sequence[tuple[bytes, bytes]], *, session: int | None = None, keep: int | None = None
    ) -> Callable[[], list[int]]:
        """Append, and wait for it: a redirection has to be met before anything else is sent."""
        lengths = self.append(items, session=session, keep=keep)
        return lambda: lengths

    def mark(self, items: Sequence[tuple[bytes, int, int]], *, session: int | None = None) -> None:
        """Raise marks in every bucket."""
        asked = [
            (bucket, commands.mark(TAGGED[bucket] + group, field, offset))
            for group, field, offset in items
            for bucket in range(BUCKETS)
        ]
        self._write(asked, "ZADD", (), session=session)

    def put(
        self, items: Iterable[tuple[bytes, bytes | None]], *, session: int | None = None, keep: int | None = None
    ) -> None:
        """Set whole values (None deletes): of fewer than 100, each bucket's in one transaction; more as a stream."""
        rest = iter(items)
        keep = keep if self.options.expire else None
        first = list(islice(rest, _AT_ONCE))
        if len(first) < _AT_ONCE and self._put_at_once(first, keep, session):
            return
        while first:
            at = [placed(name) for name, _ in first]
            sets = commands.sets(((name, v) for (_, name), (_, v) in zip(at, first, strict=True)), keep)
            asked = [(b, c) for (b, _), c in zip(at, sets, strict=True)]
            self._write(asked, "SET", [name for _, name in at], session=session)
            first = list(islice(rest, _PAGE))

    def swap_all(self, swaps: Sequence[Swap], *, keep: int | None = None) -> list[bool]:
        """Replace each string only if it is unchanged, each by itself, in one request a node."""
        kept = None if keep is None or not self.options.expire else keep * 1000

        def ask(some: Sequence[Swap], *, whole: bool) -> list[Any]:
            at = [(s, *placed(s.name)) for s in some]
            return self._nodes.write([(b, commands.swap(s, name, keep_ms=kept, whole=whole)) for s, b, name in at])

        return commands.swapped(swaps, ask, self.options)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All (name, value) with this prefix in no order, each at least once."""
        for page in self._pages(prefix, strings=True):
            names = [name for _, name in page]
            for name, value in zip(names, self.get(names), strict=True):
                if value is not None:
                    yield name, value

    def names(self, prefix: bytes) -> Iterator[bytes]:
        """All names of strings with this prefix, in no order, each at least once."""
        for page in self._pages(prefix, strings=True):
            yield from (name for _, name in page)

    def clear(self, prefix: bytes, *, session: int | None = None) -> None:
        """Delete all that has this prefix, with the marks of every bucket."""
        for page in self._pages(prefix, strings=False):
            asked = [(bucket, command(b"UNLINK", TAGGED[bucket] + name)) for bucket, name in page]
            self._write(asked, "UNLINK", [name for _, name in page], session=session)

    def lock(self, name: bytes, *, seconds: float) -> AbstractContextManager[bool]:
        """Whether this process alone has `name`; renewed while it lives, free `seconds` after it died."""
        bucket, stored = placed(name)
        return held_lock(partial(self._nodes.lent, bucket), stored, seconds=seconds)

    def memory(self, names: Sequence[bytes]) -> list[int]:
        """Bytes of memory that each string takes, its name and slack with it; 0 where there is none."""
        asked = [(bucket, commands.memory(stored)) for bucket, stored in map(placed, names)]
        replies = self._nodes.read(lambda ask: ask(asked))
        return [r or 0 for r in commands.checked(replies, self.options, what="MEMORY USAGE", names=names)]

    def flush(self) -> None:
        """Nothing: how much a Redis keeps when it dies is in its own settings (appendonly, appendfsync, save)."""

    def close(self) -> None:
        """Close all connections; a second close does nothing."""
        self._nodes.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, names: Sequence[bytes], groups: Sequence[bytes]) -> tuple[list[bytes | None], list[dict[int, int]]]:
        places: dict[int, list[int]] = {}
        stored = []
        for i, name in enumerate(names):
            bucket, tagged = placed(name)
            places.setdefault(bucket, []).append(i)
            stored.append(tagged)
        # A pointer alone says nothing about how far a bucket has come.
        told = {b for b, mine in places.items() if not all(is_pointer(names[i]) for i in mine)}
        told = told or set(places) or set(range(BUCKETS))
        asked = [(b, commands.marks(TAGGED[b] + group)) for b in told for group in groups]
        return self._nodes.read(partial(_values, marks=asked, places=places, stored=stored, groups=len(groups)))

    def _write(self, asked: Asked, what: str, names: Sequence[bytes], *, session: int | None = None) -> list[Any]:
        replies = self._nodes.write(asked, session=session) if asked or session is not None else []
        commands.checked(replies, self.options, what=what, names=names)
        return replies

    def _put_at_once(self, items: Sequence[tuple[bytes, bytes | None]], keep: int | None, session: int | None) -> bool:
        """Whether all went in; not so while one of the buckets is on its way to another node."""
        by_bucket: dict[int, list[tuple[bytes, bytes | None]]] = {}
        for name, value in items:
            bucket, stored = placed(name)
            by_bucket.setdefault(bucket, []).append((stored, value))
        for bucket, mine in by_bucket.items():
            done = self._nodes.write_at_once(bucket, list(commands.sets(mine, keep)), session=session)
            if any(is_redirection(reply) or is_half_moved(reply) for reply in done):
                return False
            commands.checked(done, self.options, what="SET")
        return True

    def _pages(self, prefix: bytes, *, strings: bool) -> Iterator[list[tuple[int, bytes]]]:
        """(bucket, name) of what each node in turn has."""
        for address in self._nodes.primaries:
            cursor = b"0"
            while True:
                asked = commands.scan(cursor, prefix, strings=strings, before=b"{b*}")
                cursor, page = self._nodes.on(address).read(partial(_scanned, asked=asked))
                parted = [name.partition(b"}") for name in page]
                yield [(_BUCKETS[tag + end], name) for tag, end, name in parted
                       if tag + end in _BUCKETS and name.startswith(prefix)]  # fmt: skip
                if cursor == b"0":
                    break


def _scanned(connection: Connection, *, asked: bytes) -> Any:
    return commands.checked(connection.ask(asked, 1), connection.address, what="SCAN")[0]


def _values(
    ask: Ask, *, marks: Asked, places: Mapping[int, Sequence[int]], stored: Sequence[bytes], groups: int
) -> tuple[list[bytes | None], list[dict[int, int]]]:
    """Marks and values in one request a node; in two, marks before values, where something is not where it was."""
    mgets = [(bucket, mget([stored[i] for i in mine])) for bucket, mine in places.items()]
    replies = ask([*marks, *mgets], follow=False)
    if any(map(is_redirection, replies)):
        replies = ask(marks) + ask(mgets)
    told = commands.checked(replies[: len(marks)], "the cluster", what="a read of marks")
    found: list[bytes | None] = [None] * len(stored)
    for (bucket, mine), reply in zip(places.items(), replies[len(marks) :], strict=True):
        values = reply
        if is_half_moved(reply):
            values = ask([(bucket, command(b"GET", stored[i])) for i in mine])
        for i, value in zip(mine, values if isinstance(values, list) else [values], strict=False):
            found[i] = commands.checked([value], "the cluster", what="a read", names=[stored[i]])[0]
    held = [commands.marks_of(reply) for reply in told]
    return found, [joined_marks(held[g::groups]) for g in range(groups)]
