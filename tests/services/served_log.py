"""The writing end of the served log in a thread of the test: the code that a server has in a process of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from onefold.offline.served import ServedLog
from onefold.serving.log_keeper import LogKeeper, Sink
from onefold.serving.log_process import log_socket, serve_log
from onefold.serving.log_writer import LogWriter
from onefold.serving.metrics import Metrics


@contextmanager
def keeping(open_sink: Callable[[], Sink], *, batch: int = 5_000, interval: float = 60.0) -> Iterator[str]:
    """The address of a log that writes to a sink."""
    alive, life = os.pipe()
    with log_socket() as listening:
        keeper = LogKeeper(open_sink, batch=batch, interval=interval)
        thread = threading.Thread(target=serve_log, args=(keeper, listening, alive))
        thread.start()
        try:
            yield str(listening.getsockname())
        finally:
            os.close(life)
            thread.join()
            os.close(alive)


@contextmanager
def logging_to(root: Path, metrics: Metrics | None = None) -> Iterator[LogWriter]:
    """A writer whose rows are in the log below a folder when it is closed, which the block's end does too."""
    with keeping(lambda: ServedLog(root)) as address:
        writer = LogWriter(address, metrics=metrics or Metrics())
        try:
            yield writer
        finally:
            writer.close()
