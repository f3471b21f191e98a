"""A connection to one Redis server: TCP, TLS or unix socket, logged in, and looked at before it is used."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from onefold.online.redis_errors import Unreachable, explained
from onefold.online.redis_greeting import greeting, no_connection, reason, tls_context
from onefold.online.redis_options import Address, RedisOptions
from onefold.online.redis_wire import ProtocolError, ReplyError, Wire, command


class Connection:
    """One server, ready for use. After an Unreachable error it is closed. One thread at a time.

    writes: refuse a replica. facts: what its INFO says, by name.
    """

    def __init__(self, options: RedisOptions, address: Address, *, writes: bool) -> None:
        self.address = address
        try:
            self.wire = Wire(_connect(options, address), timeout=options.timeout)
        except OSError as error:
            raise no_connection(error, address) from error
        self.open = True
        self._later: list[Replies] = []
        try:
            self.facts = self._greet(options, writes)
        except BaseException:
            self.close()
            raise

    def ask(self, request: bytes, replies: int) -> list[Any]:
        """Every reply to a request of so many commands; error replies are ReplyErrors among them."""
        self.post(request, replies)
        return self.collect()

    def read(self, request: bytes, replies: int) -> list[Any]:
        """As `ask`; an array of strings may come as a sequence that is no list."""
        if self._later:
            self.settle()
        try:
            return self.wire.exchange(request, replies)
        except (OSError, ProtocolError, ValueError) as error:
            raise self._lost(error) from error

    def post(self, request: bytes, replies: int) -> None:
        """Send a request; `collect` has its replies."""
        if self._later:
            self.settle()
        self._post(request, replies)

    def collect(self) -> list[Any]:
        """Every reply to what was posted."""
        if self._later:
            self.settle()
        return self._collect()

    def _collect(self) -> list[Any]:
        try:
            return self.wire.collect()
        except (OSError, ProtocolError, ValueError) as error:
            raise self._lost(error) from error

    def later(self, requests: Iterable[tuple[bytes, int]]) -> Replies:
        """Send requests whose replies are taken later: by `take`, or before anything else is asked here."""
        wanted = 0
        for request, replies in requests:
            self._post(request, replies)
            wanted += replies
        self._later.append(Replies(self, wanted))
        return self._later[-1]

    def settle(self) -> None:
        """Take the replies to all that was sent with `later`."""
        waiting, self._later = self._later, []
        found, start = self._collect() if waiting else [], 0
        for one in waiting:
            one.found = found[start : start + one.wanted]
            start += one.wanted

    def _post(self, request: bytes, replies: int) -> None:
        try:
            self.wire.post(request, replies)
        except (OSError, ProtocolError, ValueError) as error:
            raise self._lost(error) from error

    def one(self, *words: bytes) -> Any:
        """The reply to one command; StoreError where it is an error."""
        (reply,) = self.ask(command(*words), 1)
        if isinstance(reply, ReplyError):
            raise explained(reply, self.address, what=words[0].decode())
        return reply

    @property
    def whole(self) -> bool:
        """Whether it is open on both sides, as far as can be seen without asking."""
        return self.open and self.wire.quiet

    def close(self) -> None:
        self.open = False
        self.wire.close()

    def _lost(self, error: Exception) -> Unreachable:
        self.close()
        return Unreachable(f"the connection to Redis at {self.address} was lost: {reason(error)}")

    def _greet(self, options: RedisOptions, writes: bool) -> dict[str, str]:
        steps = greeting(options, self.address, writes=writes)
        try:
            asked = next(steps)
            while True:
                asked = steps.send(self.ask(b"".join(command(*words) for words in asked), len(asked)))
        except StopIteration as end:
            facts: dict[str, str] = end.value
            return facts


@dataclass(slots=True)
class Replies:
    """Replies that are under way on a connection; `found` once they are there."""

    connection: Connection
    wanted: int
    found: list[Any] | None = None

    def take(self) -> list[Any]:
        """Every reply; error replies are ReplyErrors among them. Unreachable where the connection was lost before."""
        if self.found is None and self.connection.open:
            self.connection.settle()
        if self.found is None:
            raise Unreachable(f"the connection to Redis at {self.connection.address} was lost before it answered")
        return self.found


def _connect(options: RedisOptions, address: Address) -> socket.socket:
    if address.port:
        plain = socket.create_connection((address.host, address.port), timeout=options.timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    else:
        plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        plain.settimeout(options.timeout)
    try:
        if not address.port:
            plain.connect(address.host)
        return tls_context(options).wrap_socket(plain, server_hostname=address.host) if options.tls else plain
    except BaseException:
        plain.close()
        raise
