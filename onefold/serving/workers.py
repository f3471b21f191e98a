"""The processes of a server: those that answer, on one socket, and the one that writes the served log.

The parent starts them, starts those again that die, passes signals on, and answers nothing itself. Whichever process is
free takes the next connection, and one that waits is lost with none of them.
"""

from __future__ import annotations

import logging
import os
import select
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from prometheus_client.multiprocess import mark_process_dead

from onefold.features.errors import OnefoldError, StoreError
from onefold.serving.children import SIGNALS, Child, Kind, Life, heard
from onefold.serving.log_process import keep_log, log_socket
from onefold.serving.metrics import share
from onefold.serving.server import run_server

if TYPE_CHECKING:
    from onefold.features.project import Project
    from onefold.serving.run import ServeSettings

logger = logging.getLogger("onefold.serving")
_LAST_WRITES = 35.0
"""Seconds that a process may take at its end, beyond those for open requests: the served log is written."""


def run_workers(
    settings: ServeSettings,
    listening: socket.socket,
    *,
    asks: bool,
    project: Project | None,
    ready: Callable[[str], None],
) -> None:
    """As `server.run_server`, in `settings.workers` processes. Raises what the first of them raised at its start."""
    each = replace(settings, limits=replace(settings.limits, share=1 / settings.workers))
    with ExitStack() as stack:
        if settings.workers > 1:
            stack.enter_context(_shared_metrics())
        logs = stack.enter_context(log_socket()) if settings.served else None
        log = None if logs is None else str(logs.getsockname())

        def answer(say_ready: Callable[[str], None], _: int) -> None:
            run_server(each, listening, asks=asks, project=project, ready=say_ready, log=log)

        def write(_: Callable[[str], None], life: int) -> None:
            listening.close()
            assert logs is not None
            keep_log(settings, logs, life)

        Parent(
            Kind("a worker", answer), settings.workers, listening,
            beside=[Kind("the process of the served log", write, serves=False)] if logs else [],
            patience=settings.grace + settings.drain + _LAST_WRITES,
        ).run(ready)  # fmt: skip


@contextmanager
def _shared_metrics() -> Iterator[None]:
    """A folder for the numbers of all workers, gone at the end."""
    folder = tempfile.mkdtemp(prefix="onefold-metrics-")
    share(folder)
    try:
        yield
    finally:
        share(None)
        shutil.rmtree(folder, ignore_errors=True)


class Parent:
    """Keeps children at work: `count` that answer, and one each of those beside them, which nobody waits for.

    patience: seconds that all those who answer may take to their end, and then all the others.
    """

    def __init__(
        self, kind: Kind, count: int, listening: socket.socket, *, beside: Sequence[Kind] = (), patience: float
    ) -> None:
        self._kind, self._count, self._listening, self._patience = kind, count, listening, patience
        self._beside = beside
        self._children: list[Child] = []
        self._due: list[tuple[float, Kind]] = []
        self._caught: list[int] = []
        self._life = Life()

    def run(self, ready: Callable[[str], None]) -> None:
        """Until SIGTERM or SIGINT."""
        with self._signals() as wake:
            try:
                for _ in range(self._count):
                    self._fork(self._kind)
                self._wait_for_all(wake, ready)
                self._watch(wake)
            finally:
                self._listening.close()
                self._end()

    @contextmanager
    def _signals(self) -> Iterator[socket.socket]:
        """Signals are noted, and wake whoever selects on what this gives."""
        wake, waker = socket.socketpair()
        waker.setblocking(False)
        before = {kind: signal.signal(kind, lambda number, _: self._caught.append(number)) for kind in SIGNALS}
        old = signal.set_wakeup_fd(waker.fileno())
        try:
            yield wake
        finally:
            signal.set_wakeup_fd(old)
            for kind, handler in before.items():
                signal.signal(kind, handler)
            wake.close()
            waker.close()

    def _fork(self, kind: Kind) -> None:
        self._children.append(self._life.fork(kind))

    def _wait_for_all(self, wake: socket.socket, ready: Callable[[str], None]) -> None:
        """Until each is ready; raises what one of them says instead. Those beside start behind them."""
        told = ""
        while not all(child.ready for child in self._children):
            told = self._listen(wake, None)
            if self._ends():
                return
            gone = self._reap()
            if gone:
                raise StoreError(f"a worker ended before it was ready (process {gone[0].pid}); see the log above")
        for kind in self._beside:
            self._fork(kind)
        ready(told if self._count == 1 else f"{told} with {self._count} workers")

    def _watch(self, wake: socket.socket) -> None:
        while not self._ends():
            now = time.monotonic()
            for due in [due for due in self._due if due[0] <= now]:
                self._due.remove(due)
                self._fork(due[1])
            try:
                self._listen(wake, max(0.0, min(when for when, _ in self._due) - now) if self._due else None)
            except OnefoldError as error:
                logger.error("a worker could not start again: %s", error)
            for child in self._reap():
                self._replace(child)

    def _listen(self, wake: socket.socket, timeout: float | None) -> str:
        """What a child said that became ready, if any; raises what one said that cannot."""
        pipes = {child.pipe: child for child in self._children if not child.ready}
        readable, _, _ = select.select([wake.fileno(), *pipes], [], [], timeout)
        if wake.fileno() in readable:
            wake.recv(4096)
        told = [heard(pipes[end]) for end in readable if end in pipes]
        return next((what for what in reversed(told) if what is not None), "")

    def _ends(self) -> bool:
        """Whether it is time to end; SIGHUP is passed on."""
        caught, self._caught = self._caught, []
        if signal.SIGHUP in caught:
            self._tell(signal.SIGHUP)
        return signal.SIGTERM in caught or signal.SIGINT in caught

    def _reap(self) -> list[Child]:
        """The children that have ended."""
        gone = [child for child in self._children if os.waitpid(child.pid, os.WNOHANG)[0]]
        for child in gone:
            self._children.remove(child)
            os.close(child.pipe)
            if self._count > 1:
                mark_process_dead(child.pid)  # type: ignore[no-untyped-call]  # as the library has it
        return gone

    def _replace(self, child: Child) -> None:
        """Start another one."""
        now = time.monotonic()
        lived = now - child.begun
        pause = child.kind.paused(lived)
        self._due.append((now + pause, child.kind))
        logger.error(
            "%s (process %d) ended after %.1f s; another one starts in %.1f s", child.kind.name, child.pid, lived, pause
        )

    def _tell(self, kind: signal.Signals) -> None:
        for child in self._children:
            if child.kind.serves:
                os.kill(child.pid, kind)

    def _end(self) -> None:
        """End those who answer, in good order as far as they have the time for it, and then the others."""
        self._tell(signal.SIGTERM)
        self._wait(lambda: not any(child.kind.serves for child in self._children))
        self._tell(signal.SIGKILL)
        self._life.end()
        self._wait(lambda: not self._children)
        for child in self._children:
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
            os.close(child.pipe)

    def _wait(self, over: Callable[[], bool]) -> None:
        until = time.monotonic() + self._patience
        while not over() and time.monotonic() < until:
            self._reap()
            select.select([], [], [], 0.02)
