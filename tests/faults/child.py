"""`onefold stream` in a process that is forked from one with everything imported, so that a thousand can be killed.

It runs the command itself, and counts what it begins where its parent can see it: flushes to the archive and appends
to the state, so that a kill can be aimed.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import struct
import sys
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import onefold.cli
import onefold.cli.logs
import onefold.cli.stream
import onefold.progress
import onefold.streaming.kafka_group
import onefold.streaming.materialize
import onefold.streaming.metrics
import onefold.streaming.running
from onefold.features.clock import now_micros
from onefold.offline.archive import DeltaArchive
from onefold.online.redis_store import RedisStore
from onefold.streaming.worker import Worker
from onefold.wiring import Workspace
from tests.services.process import wait_until

FLUSH, APPEND, READY = 0, 1, 2
_COUNTS = struct.Struct("=QQQ")
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.faults.child"])


class Child:
    """One worker process. `log` is what it says; `counts` what it has begun so far."""

    def __init__(
        self, folder: Path, name: str, *, environment: Mapping[str, str], options: tuple[str, ...] = (), skew: int = 0
    ) -> None:
        self.name, self.log = name, folder / "logs" / f"{name}.log"
        self.log.parent.mkdir(exist_ok=True)
        self._beats = folder / "logs" / f"{name}.beats"
        self._beats.write_bytes(bytes(_COUNTS.size))
        given = (str(folder), str(self.log), str(self._beats), dict(environment), options, skew)
        self.process: BaseProcess = _CONTEXT.Process(target=_work, args=given, daemon=True)
        self.process.start()

    @property
    def counts(self) -> tuple[int, int, int]:
        return _COUNTS.unpack(self._beats.read_bytes())

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def runs(self) -> bool:
        return self.process.is_alive()

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def stop(self, seconds: float = 60) -> int | None:
        """Ask it to stop in good order; its exit status."""
        wait_until(lambda: self.counts[READY] > 0 or not self.runs, f"{self.name} knows how to stop")
        self.process.terminate()
        self.process.join(seconds)
        code = self.process.exitcode
        if code is None:
            self.kill()
        return code


def _work(
    folder: str, log: str, beats: str, environment: dict[str, str], options: tuple[str, ...], skew: int
) -> None:  # fmt: skip
    os.environ.update(environment)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 # as long as the process
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    with open(beats, "r+b") as file:
        shown = mmap.mmap(file.fileno(), _COUNTS.size)
    counts = [0, 0, 0]

    def counted(function: Callable[..., Any], which: int) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            counts[which] += 1
            shown[:] = _COUNTS.pack(*counts)
            return function(*args, **named)

        return call

    DeltaArchive.append = counted(DeltaArchive.append, FLUSH)  # type: ignore[method-assign]
    RedisStore.begin_append = counted(RedisStore.begin_append, APPEND)  # type: ignore[method-assign]
    Workspace.topics = counted(Workspace.topics, READY)  # type: ignore[method-assign]
    if skew:
        _jump(skew)
    onefold.cli.main(["--debug", "stream", "--project", folder, "--log-json", *options])


def _jump(skew: int) -> None:
    """Let the worker's clock jump by so many microseconds, to and fro, at every second look."""
    looks = 0

    def clock() -> int:
        nonlocal looks
        looks += 1
        return now_micros() + (skew if looks % 4 < 2 else -skew)

    given = Worker.__init__.__kwdefaults__
    assert given is not None
    given["clock"] = clock
