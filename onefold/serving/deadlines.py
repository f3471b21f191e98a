"""The time limit of requests: one timer for all that are under way, since all of them have as long."""

from __future__ import annotations

import asyncio


class Deadlines:
    """Cancels tasks that are not done `seconds` after they began. For one event loop at a time.

    Whoever begins ends, also where its task is cancelled.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begun: dict[asyncio.Task[object], float] = {}
        self._late: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def begin(self) -> asyncio.Task[object]:
        """The task that runs has its time from now on."""
        task = asyncio.current_task()
        assert task is not None
        loop = task.get_loop()
        if loop is not self._loop:  # those of another loop ended with it
            self._loop, self._timer = loop, None
            self._begun.clear()
        self._begun[task] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._sweep, loop)
        return task

    def end(self, task: asyncio.Task[object]) -> bool:
        """A task is done; whether it was cancelled here, and by nobody else."""
        self._begun.pop(task, None)
        if task not in self._late:
            return False
        self._late.discard(task)
        return task.uncancel() == 0

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel those whose time is over: they are the first, being in the order of their beginning."""
        now = loop.time()
        for task, begun in list(self._begun.items()):
            left = begun + self._seconds - now
            if left > 0:
                self._timer = loop.call_later(left, self._sweep, loop)
                return
            del self._begun[task]
            self._late.add(task)
            task.cancel()
        self._timer = None
