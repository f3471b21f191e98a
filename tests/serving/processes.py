"""Servers in processes of their own, as tests start them and end them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

PROGRAM = """
import sys
from dataclasses import replace
from pathlib import Path
from onefold.online.redis_options import Address, RedisOptions
from onefold.serving.limits import Limits
from onefold.serving.run import ServeSettings, serve
options = eval(sys.argv[2], {"PosixPath": Path, "Limits": Limits, "RedisOptions": RedisOptions, "Address": Address})
serve(replace(ServeSettings.of(Path(sys.argv[1]), port=0), **options))
"""


@dataclass
class Served:
    """A server: its process, where it answers, and what it has said since on standard error."""

    process: subprocess.Popen[str]
    url: str
    said: list[str] = field(default_factory=list)

    def signal(self, kind: signal.Signals) -> None:
        self.process.send_signal(kind)

    def end(self) -> str:
        """What it wrote to standard output, after an end in good order."""
        self.process.terminate()
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, err
        return out

    def children(self) -> list[int]:
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(number) for number in found.split()]

    def workers(self) -> list[int]:
        """Those that answer; behind a server's start and after a while of each new child."""
        return [pid for pid in self.children() if _niceness(pid) == _niceness(self.process.pid)]

    def log_process(self) -> int:
        """The one that writes the served log, as soon as it has stood back."""
        eventually(lambda: len(self.children()) > len(self.workers()))
        (found,) = set(self.children()) - set(self.workers())
        return found


def _niceness(pid: int) -> int | None:
    try:
        return os.getpriority(os.PRIO_PROCESS, pid)
    except ProcessLookupError:
        return None


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def serving(folder: Path, **options: Any) -> Iterator[Served]:
    """A server over a project's folder; options are fields of ServeSettings, written as Python."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), repr(options)],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "onefold serves" in line, line + process.stderr.read()
        yield Served(process, line.split()[-1])
    finally:
        process.kill()
        process.communicate()


def eventually(check: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it did not come to be so"
        time.sleep(0.02)


def answers(url: str, path: str = "/health", **options: Any) -> int:
    """The status of a page; 0 where nobody listens."""
    try:
        return httpx.get(url + path, **options).status_code
    except httpx.TransportError:
        return 0
