"""Random replies of a Redis, and what the native kernel and hiredis read of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import hiredis

NOTHING = object()


def reply(dice: random.Random, depth: int = 0) -> bytes:
    """A reply as bytes: mostly an array of strings, as lookups get."""
    match dice.randrange(12):
        case 0:
            return dice.choice((b"+OK\r\n", b"-ERR no\r\n", b":-12\r\n", b"*-1\r\n", b"$-1\r\n", b"*0\r\n"))
        case 1:
            return string(dice)
        case 2 if depth < 4:
            items = [reply(dice, depth + 1) for _ in range(dice.randrange(4))]
        case _:
            items = [string(dice) for _ in range(dice.choice((0, 1, 3, 200)))]
    return b"*%d\r\n%b" % (len(items), b"".join(items))


def in_a_reply(replies: Any, states: Sequence[bytes | None]) -> Sequence[bytes | None]:
    """The same states as they lie in what a Redis answers."""
    texts = [b"$-1\r\n" if state is None else b"$%d\r\n%b\r\n" % (len(state), state) for state in states]
    replies.feed(b"*%d\r\n%b" % (len(states), b"".join(texts)))
    (found,) = replies.next(1)
    answer: Sequence[bytes | None] = found
    return answer


def string(dice: random.Random) -> bytes:
    if dice.random() < 0.2:
        return b"$-1\r\n"
    text = dice.randbytes(dice.choice((0, 1, 7, 60, 3_000)))
    return b"$%d\r\n%b\r\n" % (len(text), text)


def pieces(dice: random.Random, data: bytes) -> list[bytes]:
    """The same bytes as a socket might give them."""
    found = []
    while data:
        size = dice.choice((1, 2, 10, 1_000, len(data)))
        found.append(data[:size])
        data = data[size:]
    return found


def by_kernel(replies: Any, parts: list[bytes], counts: list[int], *, hold: bool) -> list[Any]:
    """What comes of the replies, in lots of so many; hold: keep them as they are until all are there."""
    found: list[Any] = []
    waiting = list(counts)
    for part in parts:
        replies.feed(part)
        while waiting and (lot := replies.next(waiting[0])) is not None:
            waiting.pop(0)
            found += lot if hold else map(plain, lot)
    return [plain(one) for one in found] if hold else found


def plain(one: Any) -> Any:
    """A reply as hiredis reads it."""
    if not isinstance(one, bytes):
        return list(one)
    return by_hiredis([one], errors=False)[0]


def by_hiredis(parts: list[bytes], *, errors: bool = True) -> list[Any]:
    reader = hiredis.Reader(notEnoughData=NOTHING)
    found = []
    for part in parts:
        reader.feed(part)
        while (one := reader.gets()) is not NOTHING:
            found.append(one)
    return [shown(one) for one in found] if errors else found


def shown(one: Any) -> Any:
    """With errors as their words, so that they can be compared."""
    if isinstance(one, list):
        return [shown(item) for item in one]
    return str(one) if isinstance(one, Exception) else one
