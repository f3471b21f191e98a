"""The process that writes the served log of a server: the only one that has Arrow and Delta Lake in it.

It listens on a Unix socket, and ends when its server is gone and nobody who served is connected any more.
"""

from __future__ import annotations

import gc
import os
import selectors
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from onefold.features.errors import ConfigError
from onefold.offline.served_inputs import ServedInputs
from onefold.serving.log_frames import FLUSH, FRAME, TABLE, WRITER, Message, Unpacker, packed
from onefold.serving.log_keeper import LogKeeper, Sink, Writer, logger

if TYPE_CHECKING:
    from onefold.serving.run import ServeSettings

NICENESS = 10
"""How far the log stands back behind the answers where both want the same core."""
_LAST_WAIT = 60.0
"""Seconds that those who serve have to come to their end when their server has gone."""
_NEVER = float("inf")


@contextmanager
def log_socket() -> Iterator[socket.socket]:
    """A listening Unix socket in a folder that is this user's alone, and gone at the end."""
    with tempfile.TemporaryDirectory(prefix="onefold-log-") as folder, socket.socket(socket.AF_UNIX) as listening:
        path = os.path.join(folder, "log")
        try:
            listening.bind(path)
        except OSError as error:
            raise ConfigError(
                f"the served log cannot have a socket at {path}: {error}; set TMPDIR to a folder with a shorter name"
            ) from error
        listening.listen(1024)
        yield listening


def keep_log(settings: ServeSettings, listening: socket.socket, life: int) -> None:
    """The whole work of the process. life: a pipe whose other end closes when the server is gone."""
    for kind in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(kind, signal.SIG_IGN)  # who serves is told, and the log ends behind the last of them
    _stand_back()
    folder = settings.served
    assert folder is not None
    opened = _opened(folder)
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000_000)  # what is written is lists by the ten thousand, none of which ends in a circle
    serve_log(LogKeeper(lambda: opened, batch=settings.log_batch, interval=settings.log_interval), listening, life)
    shutil.rmtree(Path(listening.getsockname()).parent, ignore_errors=True)  # its maker may have been killed


def _stand_back() -> None:
    """Answers come first."""
    os.nice(NICENESS)
    if hasattr(os, "SCHED_BATCH"):  # and never take the core from one that is being made
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _opened(folder: Path) -> Sink:
    from onefold.offline.served import ServedLog
    from onefold.serving.no_pandas import keep_pandas_out

    keep_pandas_out()
    return ServedLog(folder)


def serve_log(keeper: LogKeeper, listening: socket.socket, life: int) -> None:
    """Take frames from whoever connects, until `life` has ended and they have gone; then write what is left."""
    LogServer(keeper, listening, life).run()
    if keeper.waiting:
        logger.error("%d served rows were not written to the served log", keeper.waiting)


class LogServer:
    """The sockets of the log, in one thread."""

    def __init__(self, keeper: LogKeeper, listening: socket.socket, life: int) -> None:
        self._keeper, self._listening, self._life = keeper, listening, life
        self._selector = selectors.DefaultSelector()
        self._writers: dict[str, Writer] = {}
        self._connections: set[Connection] = set()
        self._until = _NEVER

    def run(self) -> None:
        self._listening.setblocking(False)
        with self._selector as selector:
            selector.register(self._listening, selectors.EVENT_READ, self._accept)
            selector.register(self._life, selectors.EVENT_READ, self._orphaned)
            while self._step():
                pass
        for connection in self._connections:
            connection.socket.close()

    def _step(self) -> bool:
        """Do what comes next; False at the end."""
        keeper, alone = self._keeper, self._until < _NEVER and not self._connections
        until = 0.0 if alone else min(keeper.due, self._until) - time.monotonic()
        ready = self._selector.select(None if until == _NEVER else max(until, 0.0))
        for key, _ in ready:
            key.data()
        now = time.monotonic()
        over = (alone and not ready) or now >= self._until
        if over or now >= keeper.due:
            keeper.flush()
        return not over

    def _orphaned(self) -> None:
        self._selector.unregister(self._life)
        self._until = time.monotonic() + _LAST_WAIT

    def _accept(self) -> None:
        with suppress(OSError):
            accepted, _ = self._listening.accept()
            connection = Connection(accepted, self)
            self._connections.add(connection)
            self._selector.register(accepted, selectors.EVENT_READ, connection.read)

    def hear(self, connection: Connection, message: Message) -> None:
        kind, writer = message[0], connection.writer
        if kind == WRITER:
            writer = connection.writer = self._writers.setdefault(message[1], Writer(message[1], connection.tell))
            writer.tell = connection.tell
        elif kind == FLUSH:
            self._keeper.due = 0.0
        elif writer is not None and kind == TABLE:
            writer.tables[message[1]] = ServedInputs.from_json(message[2])
        elif writer is not None and kind == FRAME:
            self._keeper.take(writer, *message[1:])

    def drop(self, connection: Connection) -> None:
        """A connection has ended. What came over it is written all the same, and its writer may come again."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self._selector.unregister(connection.socket)
        connection.socket.close()
        writer = connection.writer
        if writer is not None and writer.tell == connection.tell and not self._keeper.holds(writer):
            del self._writers[writer.name]


class Connection:
    """One connection of somebody who serves."""

    def __init__(self, accepted: socket.socket, server: LogServer) -> None:
        accepted.setblocking(False)
        self.socket, self._server = accepted, server
        self.writer: Writer | None = None
        self._received = Unpacker()

    def read(self) -> None:
        try:
            data = self.socket.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        for message in self._received.feed(data):
            self._server.hear(self, message)
        if not data:
            self._server.drop(self)

    def tell(self, message: Message) -> None:
        """Answers are few and short: who leaves them lying is given up, and may come again."""
        try:
            self.socket.sendall(packed(message))
        except OSError:
            self._server.drop(self)
