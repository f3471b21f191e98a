"""The served log behind the answers: a bounded queue, and one thread that empties it.

`offer` never waits. What does not fit is dropped and counted; what cannot be written stays in the
queue for the next flush, until it is full or the writer is closed.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from onefold.features.errors import StoreError
from onefold.offline.served_record import ServedRecord
from onefold.serving.metrics import Metrics

if TYPE_CHECKING:
    from onefold.features.plans import ServicePlan

logger = logging.getLogger("onefold.serving")


class Sink(Protocol):
    """Where records end up: `offline.served.ServedLog`. Called from the writer's thread alone."""

    def append(self, plan: ServicePlan, records: Sequence[ServedRecord], /) -> None: ...


class LogWriter:
    """Hands served records to a sink in batches.

    open_sink: makes the sink, in the writer's thread (its libraries take 0.4 s to import).
    capacity: rows that may wait; batch: rows that wake the writer; interval: seconds between flushes.
    """

    def __init__(
        self,
        open_sink: Callable[[], Sink],
        *,
        metrics: Metrics,
        capacity: int = 100_000,
        batch: int = 5_000,
        interval: float = 2.0,
    ) -> None:
        self._open_sink, self._metrics = open_sink, metrics
        self._capacity, self._batch, self._interval = capacity, batch, interval
        self._queue: deque[tuple[ServicePlan, Sequence[ServedRecord]]] = deque()
        # Each is counted by one thread: those that came, and those that left the queue.
        self._came, self._left = 0, 0
        self._wake = threading.Event()
        self._closing = False
        metrics.watch_queue(lambda: self.waiting)
        self._thread = threading.Thread(target=self._run, name="served-log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Rows that wait to be written."""
        return self._came - self._left

    def offer(self, plan: ServicePlan, records: Sequence[ServedRecord]) -> None:
        """Queue records for the log. Never blocks and never raises; what does not fit is counted as dropped."""
        room = max(self._capacity - self.waiting, 0)
        if len(records) > room or self._closing:
            kept = [] if self._closing else records[:room]
            self._metrics.dropped(len(records) - len(kept))
            records = kept
        if not records:
            return
        self._came += len(records)
        self._queue.append((plan, records))
        if self.waiting >= self._batch:
            self._wake.set()

    def close(self, *, timeout: float = 30.0) -> None:
        """Write all that waits, and stop. What cannot be written is counted as dropped, and logged."""
        self._closing = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        lost = self.waiting
        if lost:
            self._metrics.dropped(lost)
            logger.error("%d served rows were not written to the served log", lost)

    def _run(self) -> None:
        sink: Sink | None = None
        while True:
            self._wake.wait(self._interval)
            self._wake.clear()
            last = self._closing
            try:
                sink = sink or self._open_sink()
            except Exception:  # nothing may end this thread while the service runs; the rows stay queued
                self._metrics.log_error()
                logger.exception("the served log could not be opened; %d rows wait", self.waiting)
            else:
                self._flush(sink)
            if last:
                return

    def _flush(self, sink: Sink) -> None:
        """Write all that waits, one commit a service."""
        groups: dict[tuple[str, str], tuple[ServicePlan, list[ServedRecord]]] = {}
        for _ in range(len(self._queue)):
            plan, records = self._queue.popleft()
            groups.setdefault((plan.name, plan.fingerprint), (plan, []))[1].extend(records)
        for plan, rows in groups.values():
            self._left += len(rows)
            self._write(sink, plan, rows)

    def _write(self, sink: Sink, plan: ServicePlan, records: list[ServedRecord]) -> None:
        """Rows that the store would not take go back into the queue; rows that are wrong are dropped."""
        try:
            sink.append(plan, records)
            self._metrics.logged(len(records))
        except StoreError as error:
            self._metrics.log_error()
            logger.error("%s; they wait for the next flush", error)
            self._left -= len(records)
            self._queue.appendleft((plan, records))
        except Exception:  # retried, these rows would fail for ever and hold up the rest
            self._metrics.log_error()
            self._metrics.dropped(len(records))
            logger.exception("%d served rows of service %r cannot be logged", len(records), plan.name)
