"""What the demo runs beside itself: the service, and `apply`, which waits for Feast's import."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue

from onefold.features.errors import OnefoldError

_START = 60.0
CLI = [sys.executable, "-m", "onefold.cli"]


class Applied:
    """`onefold apply`, under way."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def wait(self) -> None:
        """Until it is done; OnefoldError with what it said where it failed."""
        said, _ = self._process.communicate()
        if self._process.returncode:
            raise OnefoldError(f"onefold apply failed with {self._process.returncode}: {said.strip()}")


@contextmanager
def apply_in_background(folder: Path) -> Iterator[Applied]:
    command = [*CLI, "apply", "--project", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield Applied(process)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """`onefold serve` on a free port: its URL once it answers. It is asked to stop at the end, and writes its log."""
    command = [*CLI, "serve", "--project", str(folder), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    lines: Queue[str | None] = Queue()
    reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
    reader.start()
    try:
        yield _url(lines)
    finally:
        code = _ended(process)
    if code:
        raise OnefoldError(f"the service ended with {code}; see what it said above")


def _ended(process: subprocess.Popen[str]) -> int:
    """The exit code of a service that is asked to stop: killed, it would leave its workers to find that out."""
    process.terminate()
    try:
        return process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _read(process: subprocess.Popen[str], lines: Queue[str | None]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        lines.put(line)
    lines.put(None)


def _url(lines: Queue[str | None]) -> str:
    """The URL with which the line that announces the service ends."""
    said: list[str] = []
    while True:
        try:
            line = lines.get(timeout=_START)
        except Empty:
            raise OnefoldError(f"the service was not ready within {_START:.0f} s") from None
        if line is None:
            raise OnefoldError(f"the service did not start: {''.join(said).strip()}")
        said.append(line)
        last = line.split()[-1] if line.split() else ""
        if last.startswith("http://"):
            return last
