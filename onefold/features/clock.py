"""The wall clock."""

from __future__ import annotations

from time import time_ns


def now_micros() -> int:
    """Now, in microseconds since 1970-01-01 UTC."""
    return time_ns() // 1000
