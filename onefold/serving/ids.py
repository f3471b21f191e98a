"""Names of requests: 128 random bits each, in hexadecimal, drawn in blocks since a draw is a system call."""

from __future__ import annotations

import os

_BLOCK = 256
_left: list[str] = []
os.register_at_fork(after_in_child=_left.clear)


def request_id() -> str:
    """One name.

    >>> len(request_id())
    32
    """
    try:
        return _left.pop()
    except IndexError:
        first, *others = _drawn(_BLOCK)
        _left.extend(others)
        return first


def request_ids(count: int) -> list[str]:
    """So many names."""
    return [request_id()] if count == 1 else _drawn(count)


def _drawn(count: int) -> list[str]:
    text = os.urandom(16 * count).hex()
    return [text[i : i + 32] for i in range(0, 32 * count, 32)]
