"""Flushing: what a worker holds back goes into the archive, and only then are its feeds told how far it came.

At most one flush is under way. In the background it runs in a thread of its own, so that a commit's tens of
milliseconds do not stand between an event and its reader; and where the system can (Linux), that thread has a lower
priority than what readers wait for.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from onefold.features.protocols import DeadLetterSink
from onefold.streaming.joined import JoinedFeed

_NICE = 10


@dataclass(frozen=True, slots=True)
class _Portion:
    """What one feed held back, up to its position at that moment, and which of its joins that was in."""

    joined: JoinedFeed
    held: list[pa.Table]
    position: int
    joins: int

    def commit(self) -> None:
        """Tell the feed, unless it was lost or has joined anew since: the state may be another, and hold less."""
        if not self.joined.lost and self.joined.joins == self.joins:
            self.joined.commit(self.position)


class Flusher:
    """Commits what feeds hold back. After an error the feeds whose events it had are `lost`: they must be replayed."""

    def __init__(self, dead_letters: DeadLetterSink, *, background: bool) -> None:
        self._dead_letters = dead_letters
        self._pool = ThreadPoolExecutor(1, "archive", _stand_back) if background else None
        self._running: Future[int] | None = None
        self._portions: list[_Portion] = []

    @property
    def busy(self) -> bool:
        return self._running is not None and not self._running.done()

    def start(self, feeds: Iterable[JoinedFeed]) -> int:
        """Begin to flush; how many events are in by now. In the background, `collect` says how it ended."""
        done = self.collect(wait=True)
        self._portions = [_Portion(j, j.buffer.take(), j.position, j.joins) for j in feeds if not j.lost]
        self._running = self._begin(partial(_commit, self._portions))
        return done + self.collect()

    def _begin(self, work: Callable[[], int]) -> Future[int]:
        """Dead letters first, by the thread that adds them: what the archive is ahead of is never polled again."""
        letters = _at_once(partial(_flush, self._dead_letters))
        if letters.exception() is not None:
            return letters
        return _at_once(work) if self._pool is None else self._pool.submit(work)

    def collect(self, *, wait: bool = False) -> int:
        """How many events a flush that has ended added; StoreError where it failed. Its feeds are told."""
        if self._running is None or not (wait or self._running.done()):
            return 0
        running, self._running = self._running, None
        portions, self._portions = self._portions, []
        try:
            added = running.result()
        except BaseException:
            for portion in portions:
                portion.joined.lost = True
            raise
        for portion in portions:
            portion.commit()
        return added

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()


def _stand_back() -> None:
    """Lower this thread's priority; what encodes Parquet holds no lock that others wait for."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), max(_NICE, os.getpriority(os.PRIO_PROCESS, 0)))


def _commit(portions: list[_Portion]) -> int:
    return sum(portion.joined.buffer.commit(portion.held) for portion in portions)


def _flush(dead_letters: DeadLetterSink) -> int:
    dead_letters.flush()
    return 0


def _at_once(work: Callable[[], int]) -> Future[int]:
    done: Future[int] = Future()
    try:
        done.set_result(work())
    except BaseException as error:  # whatever it was, `collect` has the feeds replayed, and raises it
        done.set_exception(error)
    return done
