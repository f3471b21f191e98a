"""Counts and times that are kept as plain numbers, and given to Prometheus' objects now and then.

One of those takes a lock and half a microsecond for each count; a request has a dozen. For one thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from prometheus_client import Histogram

_Label = TypeVar("_Label", bound=Hashable)


class Tally(Generic[_Label]):
    """Counts by label, until `flush` gives them away: give(label, count)."""

    def __init__(self, give: Callable[[_Label, int], None]) -> None:
        self._give = give
        self._waiting: dict[_Label, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, label: _Label, count: int = 1) -> None:
        waiting = self._waiting
        waiting[label] = waiting.get(label, 0) + count

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for label, count in waiting.items():
            self._give(label, count)


class Times(Histogram):
    """A histogram that is given many at once; the library itself takes one after another."""

    def observe_all(self, counts: Sequence[float], total: float) -> None:
        """counts: how many are in each bucket, the open one last; total: their sum."""
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)
        self._sum.inc(total)


class TimesTally:
    """Seconds by one label, until `flush` gives them to a histogram of these buckets."""

    def __init__(self, times: Times, buckets: Sequence[float]) -> None:
        self._times, self._buckets = times, buckets
        self._waiting: dict[str, list[float]] = {}

    def add(self, label: str, seconds: float) -> None:
        waiting = self._waiting.get(label)
        if waiting is None:
            waiting = self._waiting[label] = [0.0] * (len(self._buckets) + 2)
        waiting[bisect_left(self._buckets, seconds)] += 1
        waiting[-1] += seconds

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for label, (*counts, total) in waiting.items():
            self._times.labels(label).observe_all(counts, total)
