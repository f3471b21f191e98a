"""Where the time goes: seconds spent inside named functions, while a block runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

Place = tuple[Any, str, str]
"""A class or module, the name of a function in it, and the part that its time counts for."""


class Parts:
    """Seconds and calls by part. A part inside another counts for itself only."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner: list[float] = []

    @contextmanager
    def watching(self, places: Sequence[Place]) -> Iterator[None]:
        """Count what these functions take, for as long as the block lasts."""
        with ExitStack() as stack:
            for owner, name, part in places:
                self.seconds.setdefault(part, 0.0)
                stack.enter_context(patch.object(owner, name, self._timed(getattr(owner, name), part)))
            yield

    def _timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            self._inner.append(0.0)
            start = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                took = time.perf_counter() - start
                self.seconds[part] += took - self._inner.pop()
                if self._inner:
                    self._inner[-1] += took

        return timed
