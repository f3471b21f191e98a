"""Worker processes of the demo: started, killed at any moment, started again, and stopped in good order."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from onefold.demo.processes import CLI
from onefold.features.errors import OnefoldError

_STOP = 120.0
"""Seconds in which a worker that is asked to stop must have flushed."""


class Crew:
    """`onefold stream`, several times over, each with a log of its own below `logs`."""

    def __init__(self, project: Path, size: int) -> None:
        self._project, self._logs = project, project / "logs"
        self._logs.mkdir(exist_ok=True)
        self._lock = threading.Lock()
        self._timers: list[threading.Timer] = []
        self.kills = 0
        self._workers = [self._start(n) for n in range(size)]

    def kill_in(self, seconds: float, number: int) -> None:
        """Kill a worker outright when so many seconds have passed, and start another in its place."""
        timer = threading.Timer(seconds, self._replace, [number])
        self._timers.append(timer)
        timer.start()

    def check(self) -> None:
        """OnefoldError, with what it said last, where a worker has ended by itself."""
        with self._lock:
            for number, worker in enumerate(self._workers):
                if worker.poll() is not None:
                    raise self._ended(number, worker.returncode)

    def stop(self) -> None:
        """Ask all of them to stop, and wait until each has flushed and ended well."""
        self._settle()
        for worker in self._workers:
            worker.terminate()
        for number, worker in enumerate(self._workers):
            try:
                code = worker.wait(_STOP)
            except subprocess.TimeoutExpired:
                raise OnefoldError(f"worker {number + 1} did not stop within {_STOP:.0f} s") from None
            if code:
                raise self._ended(number, code)

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        with self._log(number).open("ab") as log:
            return subprocess.Popen(
                [*CLI, "stream", "--project", str(self._project)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def _replace(self, number: int) -> None:
        with self._lock:
            self._workers[number].kill()
            self._workers[number].wait()
            self.kills += 1
            self._workers[number] = self._start(number)

    def _settle(self) -> None:
        """Wait for the kills that are due."""
        for timer in self._timers:
            timer.join()

    def _ended(self, number: int, code: int) -> OnefoldError:
        log = self._log(number)
        said = log.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
        return OnefoldError(f"worker {number + 1} ended with {code}; the end of {log}:\n" + "\n".join(said))

    def _log(self, number: int) -> Path:
        return self._logs / f"worker-{number + 1}.log"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._settle()
        for worker in self._workers:
            if worker.poll() is None:
                worker.kill()
            worker.wait()
