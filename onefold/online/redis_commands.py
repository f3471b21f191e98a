"""The requests that a store of state makes of Redis, and what their replies mean. All sorts of Redis share these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha1
from typing import TYPE_CHECKING, Any, Protocol

from onefold.features import native
from onefold.features.errors import StoreError
from onefold.features.protocols import Swap
from onefold.online.redis_errors import explained
from onefold.online.redis_wire import ReplyError, command, many

if TYPE_CHECKING:
    from onefold.online.redis_connection import Connection

CHUNK = 1 << 18
"""Bytes of a request from which on the rest is sent in another."""
LARGEST_MARK = 2**53
SCAN_PAGE = 1_000

SWAP = b"""local key, length, generation, value, keep = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
if redis.call('EXISTS', key) == 0 or redis.call('STRLEN', key) ~= tonumber(length) then return 0 end
local head = redis.call('GETRANGE', key, 0, 15)
if (string.sub(head, 1, 1) == 'H' and string.sub(head, 9, 16) or '') ~= generation then return 0 end
if value == '' then redis.call('DEL', key)
elseif keep == '' then redis.call('SET', key, value)
else redis.call('SET', key, value, 'PX', keep) end
return 1"""
_SWAP_ID = sha1(SWAP, usedforsecurity=False).hexdigest().encode()


class AskSwaps(Protocol):
    """Sends scripts that swap, and has their replies in order."""

    def __call__(self, swaps: Sequence[Swap], /, *, whole: bool) -> list[Any]: ...


Request = tuple[bytes, int]
"""The bytes of some commands, and how many they are."""


def chunked(commands: Iterable[bytes]) -> Iterator[Request]:
    """Commands joined into requests of bounded length."""
    pending, size = list[bytes](), 0
    for one in commands:
        pending.append(one)
        size += len(one)
        if size >= CHUNK:
            yield b"".join(pending), len(pending)
            pending, size = [], 0
    if pending:
        yield b"".join(pending), len(pending)


def appends(items: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    start = b"*3\r\n$6\r\nAPPEND\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n"
    return [start % (len(name), name, len(more), more) for name, more in items]


def append_requests(items: Sequence[tuple[bytes, bytes]]) -> Iterable[Request]:
    """Those commands joined into requests of bounded length."""
    kernel = native.function("appends")
    found: list[Request] | None = kernel and kernel(list(items), CHUNK)
    return chunked(appends(items)) if found is None else found


def expiries(names: Iterable[bytes], keep: int) -> list[bytes]:
    milliseconds = b"%d" % (keep * 1000)
    return [command(b"PEXPIRE", name, milliseconds) for name in names]


def sets(items: Iterable[tuple[bytes, bytes | None]], keep: int | None) -> Iterator[bytes]:
    ends = () if keep is None else (b"PX", b"%d" % (keep * 1000))
    for name, value in items:
        yield command(b"UNLINK", name) if value is None else command(b"SET", name, value, *ends)


def at_once(commands: Sequence[bytes]) -> Request:
    """Commands that take effect at one moment."""
    return b"".join((command(b"MULTI"), *commands, command(b"EXEC"))), len(commands) + 2


def mark(group: bytes, field: int, offset: int) -> bytes:
    """Raise one mark. Redis holds it as a DOUBLE, which is exact up to 2^53: StoreError above."""
    if not -LARGEST_MARK <= offset <= LARGEST_MARK:
        raise StoreError(f"offset {offset} of sequence {field} cannot be marked in Redis, which is exact up to 2^53")
    return command(b"ZADD", group, b"GT", b"%d" % offset, b"%d" % field)


@lru_cache(maxsize=1_024)
def marks(group: bytes) -> bytes:
    return command(b"ZRANGE", group, b"0", b"-1", b"WITHSCORES")


def marks_of(reply: Sequence[bytes]) -> dict[int, int]:
    """The marks of a group, by field."""
    flat = iter(reply)
    return {int(field): int(float(score)) for field, score in zip(flat, flat, strict=True)}


def swap(wanted: Swap, stored: bytes, *, keep_ms: int | None, whole: bool) -> bytes:
    """Replace the string `stored` if it is unchanged. whole: send the script itself, where the server does not know it
    yet."""
    script = (b"EVAL", SWAP) if whole else (b"EVALSHA", _SWAP_ID)
    keep = b"" if keep_ms is None else b"%d" % keep_ms
    return command(*script, b"1", stored, b"%d" % wanted.length, wanted.generation, wanted.value, keep)


def swapped(swaps: Sequence[Swap], ask: AskSwaps, where: object) -> list[bool]:
    """Whether each was done. ask: the replies to their scripts, sent whole where a server does not know them yet."""
    replies = list(ask(swaps, whole=False))
    unknown = [i for i, reply in enumerate(replies) if is_unknown_script(reply)]
    if unknown:
        for i, reply in zip(unknown, ask([swaps[i] for i in unknown], whole=True), strict=True):
            replies[i] = reply
    return [bool(reply) for reply in checked(replies, where, what="EVALSHA", names=[s.name for s in swaps])]


def swapped_on(connection: Connection, swaps: Sequence[Swap], *, keep_ms: int | None) -> list[bool]:
    """Run them on one server, in one round trip; whether each was done."""

    def ask(some: Sequence[Swap], *, whole: bool) -> list[Any]:
        return connection.later(chunked(swap(s, s.name, keep_ms=keep_ms, whole=whole) for s in some)).take()

    return swapped(swaps, ask, connection.address)


def scan(cursor: bytes, prefix: bytes, *, strings: bool, before: bytes = b"") -> bytes:
    """A page of the names with a prefix, behind what matches the pattern `before`."""
    kind = (b"TYPE", b"string") if strings else ()
    return command(b"SCAN", cursor, b"MATCH", before + glob(prefix) + b"*", b"COUNT", b"%d" % SCAN_PAGE, *kind)


def unlink(names: Sequence[bytes]) -> bytes:
    return many(b"*%d\r\n$6\r\nUNLINK\r\n" % (len(names) + 1), names)


def glob(prefix: bytes) -> bytes:
    r"""A pattern that only the prefix itself matches.

    >>> glob(b"s/a*[b]")
    b's/a\\*\\[b\\]'
    """
    return b"".join(b"\\%c" % byte if byte in b"*?[]\\" else b"%c" % byte for byte in prefix)


def checked(replies: Sequence[Any], where: object, *, what: str, names: Sequence[bytes] = ()) -> Sequence[Any]:
    """The replies; StoreError for the first that is an error, with the name that it is about."""
    if set(map(type, replies)) == {int}:
        return replies
    for i, reply in enumerate(replies):
        if isinstance(reply, ReplyError):
            about = f"{what} of {names[i]!r}" if i < len(names) else what
            raise explained(reply, where, what=about)
        if isinstance(reply, list):
            checked(reply, where, what=what)
    return replies


def is_unknown_script(reply: Any) -> bool:
    return isinstance(reply, ReplyError) and str(reply).startswith("NOSCRIPT")


def memory(name: bytes) -> bytes:
    return command(b"MEMORY", b"USAGE", name)
