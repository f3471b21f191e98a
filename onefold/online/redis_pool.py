"""The connections of one process to one Redis: one that writes, with its session, and a few that read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from onefold.features.errors import SessionError, StoreError
from onefold.online.redis_connection import Connection
from onefold.online.redis_errors import Unreachable
from onefold.online.redis_options import RedisOptions

IDLE = 8
"""Connections that are kept for readers."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5

_Result = TypeVar("_Result")


def retried(options: RedisOptions, work: Callable[[], _Result]) -> _Result:
    """Do what has no effect, again while Redis is unreachable, for `retry_for` seconds; then Unreachable."""
    start, pause = time.monotonic(), _FIRST_PAUSE
    while True:
        try:
            return work()
        except Unreachable as error:
            spent = time.monotonic() - start
            if spent + pause > options.retry_for:
                raise Unreachable(f"{error} (tried for {spent:.1f} s)") from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


class RedisPool:
    """Connections to one server. Threads may share it."""

    def __init__(self, options: RedisOptions, *, readonly: bool) -> None:
        self.options, self._readonly = options, readonly
        self._idle: list[Connection] = []
        self._writer: Connection | None = None
        self._session = 0
        self._writing, self._closed = threading.RLock(), False

    @property
    def session(self) -> int:
        """The number of the connection that writes, which is made where there is none that is whole."""
        with self._writing:
            if self._writer is not None and not self._writer.whole:
                self._drop()
            self._connected()
            return self._session

    @contextmanager
    def writing(self, session: int | None = None) -> Iterator[Connection]:
        """The connection that writes, alone; SessionError where it is not that session's any more."""
        if self._readonly:
            raise StoreError(f"the online store at {self.options} is open to read only; open it to write")
        with self._writing:
            if session is not None and (self._writer is None or session != self._session):
                raise SessionError(
                    f"the connection to Redis at {self.options} is not the one whose marks were read: "
                    "it may have lost writes since; read them again"
                )
            try:
                yield self._connected()
            except Unreachable:
                self._drop()
                raise

    def read(self, work: Callable[[Connection], _Result]) -> _Result:
        """Do what only reads, on any connection; again on a fresh one where it breaks."""
        try:
            connection = self._idle.pop()
        except IndexError:
            return retried(self.options, partial(self._attempt, work))
        try:
            found = work(connection)
        except Unreachable:
            self._doubt(connection)
            return retried(self.options, partial(self._attempt, work))
        except BaseException:
            self._doubt(connection)
            raise
        self._take_back(connection)
        return found

    def _attempt(self, work: Callable[[Connection], _Result]) -> _Result:
        with self.lent() as connection:
            return work(connection)

    @contextmanager
    def lent(self) -> Iterator[Connection]:
        """A connection for one use by this thread. After an error all idle ones are doubted."""
        self._check_open()
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = Connection(self.options, self.options.addresses[0], writes=not self._readonly)
        try:
            yield connection
        except BaseException:
            self._doubt(connection)
            raise
        self._take_back(connection)

    def _doubt(self, connection: Connection) -> None:
        """Give up a connection, and all idle ones with it."""
        connection.close()
        self._forget()

    def _take_back(self, connection: Connection) -> None:
        if len(self._idle) < IDLE and not self._closed:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        self._closed = True
        with self._writing:
            self._drop()
        self._forget()

    def _connected(self) -> Connection:
        self._check_open()
        if self._writer is None:
            first = self.options.addresses[0]
            self._writer = retried(self.options, lambda: Connection(self.options, first, writes=True))
            self._session += 1
        return self._writer

    def _drop(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _forget(self) -> None:
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                return

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"the online store at {self.options} is closed")
