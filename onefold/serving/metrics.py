"""What the service counts and times, as Prometheus reads it at /metrics.

Of several workers each answers for all of them: prometheus_client keeps their numbers in files of a folder that
`PROMETHEUS_MULTIPROC_DIR` names, and adds them up.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter as Count
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest, values
from prometheus_client.registry import Collector

from onefold.features import native
from onefold.offline.served_record import each_once
from onefold.serving.tally import Tally, Times, TimesTally

if TYPE_CHECKING:
    from prometheus_client import Metric

BUCKETS = (
    0.00005, 0.0001, 0.0002, 0.0003, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
)  # fmt: skip
"""Seconds: a lookup over LMDB is below the first few, a request limit is at the end."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_LAG = 0.1
"""Seconds that counts may wait in a worker before the others can read them."""


def share(folder: str | None) -> None:
    """Have the metrics that are made from now on in files of this folder, for several processes; None: in memory.

    To be said before the first is made: Feast, where it is imported, names a folder for a server of its own.
    """
    if folder is None:
        os.environ.pop(_FOLDER, None)
    else:
        os.environ[_FOLDER] = folder
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]  # it was asked once, at the import


class Metrics:
    """One application's metrics, in a registry of their own, so that two can live in one process.

    What requests count waits as plain numbers for as long as `_LAG`, or until the registry is read here.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_BeforeReading(self._flush))
        self._shared = values.ValueClass is not values.MutexValue
        self._queue: Callable[[], float] = lambda: 0
        self._requests = self._counter("requests", "Requests by path and HTTP status", "path", "status")
        self._rows = self._counter("rows", "Rows served, by service", "service")
        self._values = self._counter("values", "Values served, by service and status", "service", "status")
        self._value_errors = self._counter(
            "value_errors", "Values that overflowed or were too large to sum, and are NULL, by service", "service"
        )
        self._request = self._times("request", "A request, from its first byte to its answer", "path")
        self._lookup = self._times("lookup", "Looking up the rows of one request", "service")
        self._score = self._times("score", "Scoring the rows of one request, with its wait for a batch", "model")
        self._log_queue = self._gauge("served_log_queue", "Rows waiting for the served log", "livesum")
        self._logged = self._counter("served_log_rows", "Rows written to the served log")
        self._dropped = self._counter("served_log_dropped", "Rows that never reached the served log")
        self._log_errors = self._counter("served_log_errors", "Flushes of the served log that failed")
        self._reloads = self._counter("reloads", "Definitions, keys and models that were taken over", "what", "result")
        self._untaken = self._gauge(
            "untaken", "Definitions, keys and models that are there and could not be taken over", "livemax"
        )
        self._gauge("native_kernel", "1 where the native kernel reads states, 0 where Python does", "livemin").set(
            native.in_use() == "native"
        )
        self._asked = Tally[tuple[str, int]](lambda label, count: self._requests.labels(*label).inc(count))
        self._statuses = Tally(self._count_statuses)
        self._due = False

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"onefold_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, mode: str) -> Gauge:
        return Gauge(f"onefold_{name}", text, registry=self.registry, multiprocess_mode=mode)  # type: ignore[arg-type]  # one of its words

    def _times(self, name: str, text: str, label: str) -> TimesTally:
        times = Times(f"onefold_{name}_seconds", text, (label,), buckets=BUCKETS, registry=self.registry)
        return TimesTally(times, BUCKETS)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Of an event loop; the last that a request counts."""
        self._asked.add((path, status))
        self._request.add(path, seconds)
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(_LAG, self._flush)

    def lookup(self, service: str, rows: Sequence[tuple[str, ...]], seconds: float, *, value_errors: int = 0) -> None:
        """`rows` are the statuses of each row's values; `value_errors` were met on the way."""
        if value_errors:
            self._value_errors.labels(service).inc(value_errors)
        self._lookup.add(service, seconds)
        if len(rows) == 1:
            self._statuses.add((service, rows[0]))
            return
        kinds, which = each_once(rows)
        for kind, count in Count(which).items():
            self._statuses.add((service, kinds[kind]), count)

    def _count_statuses(self, label: tuple[str, tuple[str, ...]], rows: int) -> None:
        service, statuses = label
        self._rows.labels(service).inc(rows)
        for status, count in Count(statuses).items():
            self._values.labels(service, status).inc(count * rows)

    def _flush(self) -> None:
        self._due = False
        for tally in (self._asked, self._statuses, self._request, self._lookup, self._score):
            tally.flush()

    def score(self, model: str, seconds: float) -> None:
        self._score.add(model, seconds)

    def logged(self, rows: int) -> None:
        self._logged.inc(rows)

    def dropped(self, rows: int) -> None:
        self._dropped.inc(rows)

    def log_error(self) -> None:
        self._log_errors.inc()

    def reload(self, what: str, *, taken: bool) -> None:
        """Definitions, keys or a model came in another version: taken over, or not."""
        self._reloads.labels(what, "taken" if taken else "refused").inc()

    def untaken(self, count: int) -> None:
        self._untaken.set(count)

    def watch_queue(self, rows: Callable[[], float]) -> None:
        """Ask this function for the log's queue at each `refresh`."""
        self._queue = rows

    def refresh(self) -> None:
        """Bring up to date what is not counted as it happens; other workers read it from the file."""
        self._flush()
        self._log_queue.set(self._queue())

    def text(self) -> bytes:
        self.refresh()
        if not self._shared:
            return generate_latest(self.registry)
        from prometheus_client import multiprocess

        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]  # as the library has it
        return generate_latest(together)


class _BeforeReading(Collector):
    """Has nothing to tell; the first of a registry, it is asked before the others."""

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterable[Metric]:
        self._flush()
        return ()
