"""A connection to one Redis server: TCP, TLS or unix socket, logged in, and looked at before it is used.

A server that may evict keys is refused, since a state that lost strings would pass for a whole one; so is a replica,
where writes are wanted.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from onefold.features.errors import ConfigError, StoreError
from onefold.online.redis_errors import Unreachable, explained
from onefold.online.redis_options import Address, RedisOptions
from onefold.online.redis_wire import ProtocolError, ReplyError, Wire, command

_OLDEST = (6, 2)


class Connection:
    """One server, ready for use. After an Unreachable error it is closed. One thread at a time.

    writes: refuse a replica. facts: what its INFO says, by name.
    """

    def __init__(self, options: RedisOptions, address: Address, *, writes: bool) -> None:
        self.address = address
        try:
            self.wire = Wire(_connect(options, address), timeout=options.timeout)
        except OSError as error:
            distrusted = isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError)
            kind = StoreError if distrusted else Unreachable
            raise kind(f"Redis at {address} cannot be reached: {_reason(error)}") from error
        self.open = True
        self._later: list[Replies] = []
        try:
            self.facts = self._greet(options)
            self._check(writes)
        except BaseException:
            self.close()
            raise

    def ask(self, request: bytes, replies: int) -> list[Any]:
        """Every reply to a request of so many commands; error replies are ReplyErrors among them."""
        self.post(request, replies)
        return self.collect()

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
        return Unreachable(f"the connection to Redis at {self.address} was lost: {_reason(error)}")

    def _greet(self, options: RedisOptions) -> dict[str, str]:
        login = [options.username.encode()] if options.username else []
        greetings = [(b"AUTH", *login, options.password.encode())] if options.password or login else []
        greetings += [(b"CLIENT", b"SETNAME", b"onefold"), (b"SELECT", b"%d" % options.database), (b"INFO",)]
        *replies, info = self.ask(b"".join(command(*words) for words in greetings), len(greetings))
        for words, reply in zip(greetings, replies, strict=False):
            if isinstance(reply, ReplyError) and words[0] != b"CLIENT" and not _needless(words, reply):
                raise explained(reply, self.address, what=words[0].decode())
        if isinstance(info, ReplyError) and not str(info).startswith("NOPERM"):
            raise explained(info, self.address, what="INFO")
        return self._configured() if isinstance(info, ReplyError) else _facts(info)

    def _configured(self) -> dict[str, str]:
        """What CONFIG and ROLE say, where INFO is not allowed."""
        try:
            pairs = [x.decode() for x in self.one(b"CONFIG", b"GET", b"maxmemory*")]
            role = self.one(b"ROLE")[0].decode()
        except StoreError as error:
            raise StoreError(
                f"Redis at {self.address} does not say whether it may evict keys; allow INFO, or CONFIG|GET and "
                f"ROLE, to this user: {error}"
            ) from error
        found = dict(zip(pairs[::2], pairs[1::2], strict=True))
        return {"maxmemory": found["maxmemory"], "maxmemory_policy": found["maxmemory-policy"], "role": role}

    def _check(self, writes: bool) -> None:
        facts, where = self.facts, f"Redis at {self.address}"
        version = facts.get("redis_version", "")
        if version and _version(version) < _OLDEST:
            raise StoreError(f"{where} is version {version}; Onefold needs 6.2 or later")
        policy = facts.get("maxmemory_policy", "noeviction")
        if policy != "noeviction" and facts.get("maxmemory", "0") != "0":
            raise StoreError(
                f"{where} may evict keys: its maxmemory-policy is {policy}. A state without some of its strings would "
                "look whole; set maxmemory-policy to noeviction"
            )
        if writes and facts.get("role") in ("slave", "replica"):
            raise Unreachable(f"{where} is a replica and takes no writes; point [online] url at the primary")


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


def _needless(words: tuple[bytes, ...], reply: Exception) -> bool:
    """Whether database 0 cannot be selected only because SELECT is not allowed: it is the one we have."""
    return words == (b"SELECT", b"0") and str(reply).startswith("NOPERM")


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
        return _context(options).wrap_socket(plain, server_hostname=address.host) if options.tls else plain
    except BaseException:
        plain.close()
        raise


def _context(options: RedisOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca or None)
        context.check_hostname = options.check_hostname
        if options.cert:
            context.load_cert_chain(options.cert, options.key or None)
    except OSError as error:
        files = ", ".join(f for f in (options.ca, options.cert, options.key) if f)
        raise ConfigError(f"the files of TLS cannot be read ({files}): {_reason(error)}") from error
    return context


def _facts(info: bytes) -> dict[str, str]:
    lines = info.decode(errors="replace").splitlines()
    found: Mapping[str, str] = dict(line.split(":", 1) for line in lines if ":" in line and line[0] != "#")
    return dict(found)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); set [online] tls_ca to its authority's file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
