"""Running a worker for as long as it is wanted: what may heal is tried again, what must be built is built."""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event

from onefold.features.errors import StoreError, UnbuiltError
from onefold.streaming.report import StepReport
from onefold.streaming.worker import Worker

WAIT = 0.2
"""Seconds that a step waits for records, at most."""
_ASSIGNED = 30.0
"""Seconds within which a worker that is to run once must have feeds."""
_SWEPT = 500
"""Strings that one step of the sweep looks at."""

_SWITCH = 0.0005
"""Seconds that another thread (the archive's, Kafka's) may hold the interpreter while the worker waits for it."""
_COLLECT = 50_000
"""New objects after which the garbage is collected: a batch makes thousands, and leaves none in cycles."""

_log = logging.getLogger(__name__)


@contextmanager
def tuned() -> Iterator[None]:
    """This process as a worker wants it: short turns for its threads, and few collections."""
    switch, thresholds = sys.getswitchinterval(), gc.get_threshold()
    gc.freeze()  # what is loaded by now stays, and need not be walked at every collection
    gc.set_threshold(_COLLECT, *thresholds[1:])
    sys.setswitchinterval(_SWITCH)
    try:
        yield
    finally:
        sys.setswitchinterval(switch)
        gc.set_threshold(*thresholds)


@dataclass(slots=True)
class Runner:
    """Steps a worker until it is told to stop.

    make: makes the worker; called again after an error that it met while it was made. build: builds the states that
    must be built from the archive, or None where that is left to somebody else. patience: seconds for which a store,
    the archive or the brokers may fail, at most; StoreError then. sweep_every: seconds between two steps of the sweep
    while there is always something to take.
    """

    make: Callable[[], Worker]
    stopped: Event
    build: Callable[[], object] | None = None
    patience: float = 120.0
    sweep_every: float = 1.0
    on_step: Callable[[Worker, StepReport], None] | None = None
    on_retry: Callable[[], None] | None = None
    _worker: Worker | None = None
    _failing_since: float | None = None
    _tries: int = 0
    _swept_at: float = 0.0
    _began: float = 0.0

    def run(self, *, once: bool = False) -> StepReport:
        """Step until stopped or, with `once`, until the feeds have no more; then flush, and hand the feeds over."""
        with tuned():
            return self._run(once=once)

    def _run(self, *, once: bool) -> StepReport:
        total, self._began = StepReport(), time.monotonic()
        try:
            while not self.stopped.is_set():
                report = self._step()
                if report is None:
                    continue
                total.add(report)
                if once and self._is_done(report):
                    break
        finally:
            if self._worker is not None:
                total.archived += self._worker.close()
        return total

    def _is_done(self, report: StepReport) -> bool:
        """Whether there is no more to come; StoreError where no feed came at all."""
        assert self._worker is not None
        if not self._worker.feeds and time.monotonic() - self._began > _ASSIGNED:
            raise StoreError(
                f"no feed came within {_ASSIGNED:.0f} s: the topics are not there yet, or other workers of the group "
                "have all of their partitions"
            )
        return not report.records and self._worker.is_drained()

    def _step(self) -> StepReport | None:
        """One step; None where it failed and is to be tried again."""
        try:
            if self._worker is None:
                self._worker = self.make()
            report = self._worker.step(WAIT)
        except UnbuiltError as error:
            self._build(error)
            return None
        except StoreError as error:
            self._wait(error)
            return None
        self._failing_since, self._tries = None, 0
        if self.on_step is not None:
            self.on_step(self._worker, report)
        self._sweep(report)
        return report

    def _build(self, error: UnbuiltError) -> None:
        if self.build is None:
            raise error
        _log.warning("%s; building it now", error)
        try:
            self.build()
        except StoreError as failed:
            self._wait(failed)

    def _wait(self, error: StoreError) -> None:
        """Wait before the next try, longer each time; the error itself when patience is at an end."""
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        failing = now - self._failing_since
        if failing > self.patience:
            raise StoreError(f"gave up after {failing:.0f} s of trying ({self._tries} times): {error}") from error
        if self.on_retry is not None:
            self.on_retry()
        _log.warning("%s; trying again", error)
        self.stopped.wait(min(0.05 * 2**self._tries, 5.0))
        self._tries += 1

    def _sweep(self, report: StepReport) -> None:
        """Let the sweep look at some strings, when there is time for it or it has waited long enough.

        What fails there is the next step's to meet: the sweep itself goes on by its next turn.
        """
        now = time.monotonic()
        if self._worker is None or (report.records and now - self._swept_at < self.sweep_every):
            return
        self._swept_at = now
        try:
            self._worker.sweep(_SWEPT)
        except StoreError as error:
            _log.warning("the sweep of the state stopped: %s", error)
