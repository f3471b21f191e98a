"""What goes on beside the answers, as long as the application lives."""

from __future__ import annotations

from typing import Protocol


class Background(Protocol):
    """A part with a life of its own: the served log, the watch over what is served."""

    def start(self) -> None:
        """Called once, in the event loop, before the first request; must not wait."""

    def close(self) -> None:
        """Called once, in a thread, behind the last answer; may wait."""
