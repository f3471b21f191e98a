"""Several serving processes on one socket: forked from one that has imported everything and opened nothing.

The parent starts them, starts those again that die, passes signals on, and answers nothing itself. Whichever process is
free takes the next connection, and one that waits is lost with none of them.
"""

from __future__ import annotations

import json
import logging
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

from prometheus_client.multiprocess import mark_process_dead

from onefold.features.errors import OnefoldError, StoreError
from onefold.serving.metrics import share
from onefold.serving.server import run_server

if TYPE_CHECKING:
    from onefold.features.project import Project
    from onefold.serving.run import ServeSettings

logger = logging.getLogger("onefold.serving")
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_FIRST_PAUSE, _LONGEST_PAUSE, _LONG_LIFE = 0.5, 30.0, 30.0
_LAST_WRITES = 35.0
"""Seconds that a worker may take at its end, beyond those for open requests: it writes the served log."""


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

    def work(say_ready: Callable[[str], None]) -> None:
        run_server(each, listening, asks=asks, project=project, ready=say_ready)

    with _shared_metrics():
        Parent(settings.workers, work, listening, patience=settings.grace + settings.drain + _LAST_WRITES).run(ready)


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


@dataclass
class Worker:
    """A child: its process, the pipe that it speaks through, and when it began, on `time.monotonic`."""

    pid: int
    pipe: int
    begun: float
    ready: bool = False


class Parent:
    """Keeps a number of children at work. work: what a child does; it is told how to say that it is ready."""

    def __init__(
        self, count: int, work: Callable[[Callable[[str], None]], None], listening: socket.socket, *, patience: float
    ) -> None:
        self._count, self._work, self._listening, self._patience = count, work, listening, patience
        self._workers: list[Worker] = []
        self._due: list[float] = []
        self._pause = _FIRST_PAUSE
        self._caught: list[int] = []
        # A child sees the end of this pipe when its parent is gone, however that came.
        self._alive, self._life = os.pipe()

    def run(self, ready: Callable[[str], None]) -> None:
        """Until SIGTERM or SIGINT."""
        with self._signals() as wake:
            try:
                for _ in range(self._count):
                    self._fork()
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
        before = {kind: signal.signal(kind, lambda number, _: self._caught.append(number)) for kind in _SIGNALS}
        old = signal.set_wakeup_fd(waker.fileno())
        try:
            yield wake
        finally:
            signal.set_wakeup_fd(old)
            for kind, handler in before.items():
                signal.signal(kind, handler)
            wake.close()
            waker.close()

    def _fork(self) -> None:
        heard, said = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(heard)
            self._child(said)
        os.close(said)
        self._workers.append(Worker(pid, heard, time.monotonic()))

    def _child(self, said: int) -> NoReturn:
        """The whole life of a child."""
        code = 1
        try:
            os.setpgid(0, 0)  # Ctrl-C is the parent's to pass on
            signal.set_wakeup_fd(-1)
            for kind in _SIGNALS:
                signal.signal(kind, signal.SIG_DFL)
            os.close(self._life)
            threading.Thread(target=self._outlive, name="parent", daemon=True).start()
            self._work(lambda what: _say(said, {"ready": what}))
            code = 0
        except OnefoldError as error:
            _say(said, {"code": error.code, "message": str(error)})
        except BaseException:  # the stack below is the parent's: nothing may go up there
            logger.exception("a worker ended")
        finally:
            sys.stdout.flush()
            os._exit(code)

    def _outlive(self) -> None:
        """Wait until the parent is gone, and end in good order."""
        os.read(self._alive, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    def _wait_for_all(self, wake: socket.socket, ready: Callable[[str], None]) -> None:
        """Until each is ready; raises what one of them says instead."""
        while not all(worker.ready for worker in self._workers):
            told = self._listen(wake, None)
            if self._ends():
                return
            gone = self._reap()
            if gone:
                raise StoreError(f"a worker ended before it was ready (process {gone[0].pid}); see the log above")
        ready(f"{told} with {self._count} workers")

    def _watch(self, wake: socket.socket) -> None:
        while not self._ends():
            now = time.monotonic()
            for due in [due for due in self._due if due <= now]:
                self._due.remove(due)
                self._fork()
            try:
                self._listen(wake, max(0.0, min(self._due) - now) if self._due else None)
            except OnefoldError as error:
                logger.error("a worker could not start again: %s", error)
            for worker in self._reap():
                self._replace(worker)

    def _listen(self, wake: socket.socket, timeout: float | None) -> str:
        """What a worker said that became ready, if any; raises what one said that cannot."""
        pipes = {worker.pipe: worker for worker in self._workers if not worker.ready}
        readable, _, _ = select.select([wake.fileno(), *pipes], [], [], timeout)
        told = ""
        for end in readable:
            if end == wake.fileno():
                wake.recv(4096)
                continue
            said = os.read(end, 65_536)
            if not said:  # its end is reaped
                continue
            words = json.loads(said)
            if "ready" not in words:
                raise _error(words)
            pipes[end].ready, told = True, words["ready"]
        return told

    def _ends(self) -> bool:
        """Whether it is time to end; SIGHUP is passed on."""
        caught, self._caught = self._caught, []
        if signal.SIGHUP in caught:
            self._tell(signal.SIGHUP)
        return signal.SIGTERM in caught or signal.SIGINT in caught

    def _reap(self) -> list[Worker]:
        """The workers that have ended."""
        gone = [worker for worker in self._workers if os.waitpid(worker.pid, os.WNOHANG)[0]]
        for worker in gone:
            self._workers.remove(worker)
            os.close(worker.pipe)
            mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]  # as the library has it
        return gone

    def _replace(self, worker: Worker) -> None:
        """Start another one: soon, or later where this one lived briefly."""
        now = time.monotonic()
        lived = now - worker.begun
        self._pause = _FIRST_PAUSE if lived > _LONG_LIFE else min(2 * self._pause, _LONGEST_PAUSE)
        self._due.append(now + self._pause)
        logger.error("worker %d ended after %.1f s; another one starts in %.1f s", worker.pid, lived, self._pause)

    def _tell(self, kind: signal.Signals) -> None:
        for worker in self._workers:
            os.kill(worker.pid, kind)

    def _end(self) -> None:
        """End all of them, in good order as far as they have the time for it."""
        self._tell(signal.SIGTERM)
        until = time.monotonic() + self._patience
        while self._workers and time.monotonic() < until:
            self._reap()
            select.select([], [], [], 0.02)
        self._tell(signal.SIGKILL)
        for worker in self._workers:
            os.waitpid(worker.pid, 0)
            os.close(worker.pipe)
        os.close(self._alive)
        os.close(self._life)


def _say(pipe: int, words: dict[str, str]) -> None:
    os.write(pipe, json.dumps(words).encode()[:65_536])


def _error(words: dict[str, str]) -> OnefoldError:
    kinds, waiting = {}, [OnefoldError]
    while waiting:
        kind = waiting.pop()
        kinds[kind.code] = kind
        waiting += kind.__subclasses__()
    return kinds.get(words["code"], OnefoldError)(words["message"])
