"""A server program of ours: started on loopback in a folder of its own, waited for, ended, and never left behind."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

ROOT = Path(__file__).resolve().parents[2]
INSTALL = "try: scripts/services install"
_START = 60.0
_given: set[int] = set()


class ServiceError(Exception):
    """A service did not start or did not do what was asked; the message says what was found and what to try."""


def is_free(port: int) -> bool:
    """Whether this port of 127.0.0.1 can be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that stays free while its server is down: below those that outgoing connections take."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 200):
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    raise ServiceError("200 ports between 20000 and 32000 were tried, and none is free")


def wait_until(done: Callable[[], bool], what: str, *, seconds: float = _START) -> None:
    """Return once `done()`; ServiceError naming `what` after so many seconds."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise ServiceError(f"waited {seconds:.0f} s in vain until {what}")
        time.sleep(0.02)


def program(name: str) -> str:
    """Where the program is; ServiceError with the command that installs it where it is missing."""
    found = shutil.which(name)
    if found is None:
        raise ServiceError(f"{name} is not installed; {INSTALL}")
    return found


def _command(pid: int) -> str:
    """The command line of a process that runs; empty where there is none."""
    shown = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout


@cache
def _guard(of: int) -> subprocess.Popen[str]:
    """What ends the services of this process (`of` is its number, so that a fork gets one of its own)."""
    command = [sys.executable, "-S", "-E", str(Path(__file__).with_name("guard.py"))]
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, text=True, start_new_session=True
    )


def _tell_guard(verb: str, what: object) -> None:
    pipe = _guard(os.getpid()).stdin
    assert pipe is not None
    pipe.write(f"{verb} {what}\n")
    pipe.flush()


class Service(ABC):
    """One server on a port of 127.0.0.1.

    A context manager: it starts, and at the end is killed, with its folder where it made one itself. `start()` after
    `stop()` or `kill()` finds the same port and the same data; `wipe()` in between takes the data away. A `detached`
    one outlives this process, and is found again by another object over the same folder.
    """

    name: ClassVar[str]

    def __init__(self, folder: Path | None = None, port: int | None = None, *, detached: bool = False) -> None:
        self._temporary = folder is None
        self.folder = Path(tempfile.mkdtemp(prefix=f"onefold-{self.name}-")) if folder is None else folder.absolute()
        self.port = free_port() if port is None else port
        self._detached = detached
        self._child: subprocess.Popen[bytes] | None = None
        if self._temporary:
            _tell_guard("folder", self.folder)

    @abstractmethod
    def _prepare(self) -> list[str]:
        """Write what the server reads, and give its command, which names `config`."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it takes requests now."""

    @property
    @abstractmethod
    def config(self) -> Path:
        """The file below its folder by which its process is known."""

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """How a client is told of it."""
        return self.address

    @property
    def pid(self) -> int | None:
        """Of the process that was started over this folder, while it runs: its command still names our file."""
        if self._child is not None:
            return self._child.pid if self._child.poll() is None else None
        pid = self._noted("pid")
        return pid if pid is not None and str(self.config) in _command(pid) else None

    @property
    def port_in_use(self) -> int | None:
        """On which the process was started that `pid` names."""
        return self._noted("port")

    def _noted(self, name: str) -> int | None:
        try:
            return int((self.folder / name).read_text())
        except (OSError, ValueError):
            return None

    def start(self) -> Self:
        """Return once it answers; ServiceError with the end of its log where it does not."""
        if self.pid is not None:
            raise ServiceError(f"{self.name} of {self.folder} runs already")
        if not is_free(self.port):
            raise ServiceError(f"{self.name}: port {self.port} is taken by another program; choose another")
        self.data.mkdir(parents=True, exist_ok=True)
        self.log.write_bytes(b"")
        command = self._prepare()
        try:
            self._launch(command)
            wait_until(self._answers_or_died, f"{self.name} answers on port {self.port}")
        except ServiceError as error:
            self.kill()
            raise ServiceError(f"{error}\n{self._last_words()}") from None
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """Ask it to end, and wait."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a crash would (SIGKILL)."""
        self._end(signal.SIGKILL)

    def wipe(self) -> None:
        """Take its data away, as a lost disk would; it must not run."""
        if self.pid is not None:
            raise ServiceError(f"{self.name} runs: stop() or kill() it before wipe()")
        shutil.rmtree(self.data, ignore_errors=True)

    def _launch(self, command: list[str]) -> None:
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        self._child = child
        if not self._detached:
            _tell_guard("program", child.pid)
        (self.folder / "port").write_text(str(self.port))
        (self.folder / "pid").write_text(str(child.pid))

    def _answers_or_died(self) -> bool:
        if self._child is not None and self._child.poll() is not None:
            raise ServiceError(f"{self.name} ended with {self._child.returncode} while it started")
        return self._answers()

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join([f"the end of {self.log}:", *lines[-15:]])

    def _end(self, sign: signal.Signals) -> None:
        pid = self.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sign) if sign is signal.SIGTERM else os.killpg(pid, sign)
            wait_until(lambda: self.pid is None, f"{self.name} (process {pid}) ends")
        if self._child is not None:
            if not self._detached:
                _tell_guard("forget", self._child.pid)
            self._child = None
        (self.folder / "pid").unlink(missing_ok=True)

    def close(self) -> None:
        """Kill it, and remove its folder where it made one itself."""
        self.kill()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)
            _tell_guard("forget", self.folder)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
