"""The ends of windows as SQL over a column of times, in microseconds: BIGINT, as both engines read it.

A bucket begins at a multiple of its length, also before 1970: `%` has the sign of its left side on both engines.
"""

from __future__ import annotations

from onefold.features.ir import Window


def begin(time: str, size: int | str) -> str:
    """The begin of the bucket that holds a time; `size` microseconds, or a column of them."""
    return f"({time} - (({time}) % {size} + {size}) % {size})"


def first(window: Window, t: str, suffix: str = "") -> str | None:
    """The earliest time of a window at t; None for a lifetime. suffix: of numbers, that makes them BIGINT."""
    if window.lower is None:
        return None
    back = f"{t} - {window.lower}{suffix}"
    return back if window.resolution is None else begin(f"({back})", f"{window.resolution}{suffix}")


def last(window: Window, t: str, suffix: str = "") -> str:
    """The latest time of a window at t."""
    back = f"{t} - {window.upper}{suffix}"
    return f"{begin(f'({back})', f'{window.resolution}{suffix}')} - 1" if window.delayed else back
