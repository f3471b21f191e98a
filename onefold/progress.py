"""How far a long task has come, on stderr: a bar with an estimate on a terminal, else a line now and then.

Lower layers take a `Progress` as a plain callable and never import this module or rich:

    with progress("replay", 336_776) as tracker:
        tracker.advance(5_000)
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol, TextIO

EVERY = 5.0
"""Seconds between two lines where stderr is no terminal."""
AT_ONCE = 1.0
"""Seconds below which nothing is said."""


class Tracker(Protocol):
    def advance(self, n: int, /) -> None:
        """`n` more are done. Called as often as the task likes."""


Progress = Callable[[str, int | None], AbstractContextManager[Tracker]]
"""`progress(task, total)`; a total of None is one that is not known beforehand."""


class _Silent:
    def advance(self, n: int, /) -> None:
        pass


@contextmanager
def silent(task: str, total: int | None) -> Iterator[Tracker]:
    """Shows nothing."""
    yield _Silent()


def on_stderr() -> Progress:
    """The form that fits stderr: a bar on a terminal, else lines."""
    return bar if sys.stderr.isatty() else lines()


@contextmanager
def counted(progress: Progress, task: str) -> Iterator[Callable[[int, int], None]]:
    """For work that reports (done, total): one task, begun at the first report."""
    with stages(progress, task) as report:
        yield lambda done, total: report("", done, total)


@contextmanager
def stages(progress: Progress, task: str) -> Iterator[Callable[[str, int, int], None]]:
    """For work that reports (stage, done, total): each stage is a task of its own. A total of 0 is not known yet."""
    with ExitStack() as open_tasks:
        current: tuple[str, int] | None = None
        tracker: Tracker = _Silent()
        before = 0

        def report(stage: str, done: int, total: int) -> None:
            nonlocal current, tracker, before
            if (stage, total) != current:
                open_tasks.close()
                tracker = open_tasks.enter_context(progress(f"{task}: {stage}" if stage else task, total or None))
                current, before = (stage, total), 0
            tracker.advance(done - before)
            before = done

        yield report


@contextmanager
def bar(task: str, total: int | None) -> Iterator[Tracker]:
    """A rich bar with count, time gone and time left; it goes when the task is done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as shown:
        yield _Bar(shown, shown.add_task(task, total=total))


class _Bar:
    def __init__(self, shown: object, task: object) -> None:
        self._shown, self._task = shown, task

    def advance(self, n: int, /) -> None:
        self._shown.advance(self._task, n)  # type: ignore[attr-defined]  # rich is imported where it is used


def lines(
    *, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic, every: float = EVERY
) -> Progress:
    """A line every `every` seconds, the first after one, and one at the end, for logs; none for what is done sooner."""

    @contextmanager
    def progress(task: str, total: int | None) -> Iterator[Tracker]:
        tracker = _Lines(task, total, stream or sys.stderr, clock, every)
        yield tracker
        if tracker.seconds >= AT_ONCE:
            tracker.say(f"done, {tracker.done:,} in {tracker.seconds:.1f} s")

    return progress


class _Lines:
    def __init__(self, task: str, total: int | None, stream: TextIO, clock: Callable[[], float], every: float) -> None:
        self._task, self._total, self._stream, self._clock, self._every = task, total, stream, clock, every
        self._start = clock()
        self._said = self._start + AT_ONCE - every
        self.done = 0

    @property
    def seconds(self) -> float:
        return self._clock() - self._start

    def say(self, text: str) -> None:
        print(f"{self._task}: {text}", file=self._stream, flush=True)

    def advance(self, n: int, /) -> None:
        self.done += n
        now = self._clock()
        if now - self._said >= self._every and self.done != self._total:
            self._said = now
            self.say(self._status())

    def _status(self) -> str:
        if not self._total:
            return f"{self.done:,} after {self.seconds:.0f} s"
        share = min(self.done / self._total, 1.0)
        left = self.seconds * (1 / share - 1) if share else 0.0
        return f"{self.done:,} of {self._total:,} ({share:.0%}), about {left:.0f} s left"
