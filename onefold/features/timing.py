"""Where the time of a request goes: parts of it, noted by whoever does them, for whoever asked to be told."""

from __future__ import annotations

from contextvars import ContextVar

Part = tuple[str, float, float]
"""What was done, and when it began and ended on `time.perf_counter`."""
PARTS: ContextVar[list[Part] | None] = ContextVar("onefold_parts", default=None)
"""Where parts are noted; None where nobody asked."""


def note(name: str, start: float, end: float) -> None:
    """Note a part, where somebody asked."""
    parts = PARTS.get()
    if parts is not None:
        parts.append((name, start, end))
