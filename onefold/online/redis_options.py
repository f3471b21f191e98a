"""Where a Redis is and how to reach it, read from a URL. Passwords are in no text that these make."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from onefold.features.errors import ConfigError
from onefold.features.windows import duration

_SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster")
_EXAMPLES = "write redis://host:6379/0, rediss:// for TLS, unix:///path/redis.sock, or redis+cluster://a:6379,b:6379"
PORT = 6379


@dataclass(frozen=True, slots=True)
class Address:
    """A host and port, or (with port 0) the path of a unix socket."""

    host: str
    port: int

    def __str__(self) -> str:
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class RedisSettings(Protocol):
    """What people write: lengths of time as text, as "5 seconds"; empty texts for what is not said."""

    url: str
    username: str
    password: str
    tls_ca: str
    tls_cert: str
    tls_key: str
    tls_check_hostname: bool
    timeout: str
    retry_for: str
    expire: bool


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """How to reach a Redis, or the nodes of a cluster.

    timeout: seconds without a byte after which a connection is given up. retry_for: seconds for which connecting and
    reading are tried again. expire: whether strings go by themselves once no window reaches them. ca, cert, key: files
    of TLS; without `ca` the system's authorities are trusted. check_hostname: whether the certificate must name the
    host.
    """

    addresses: tuple[Address, ...]
    database: int = 0
    username: str = ""
    password: str = field(default="", repr=False)
    cluster: bool = False
    tls: bool = False
    ca: str = ""
    cert: str = ""
    key: str = ""
    check_hostname: bool = True
    timeout: float = 5.0
    retry_for: float = 5.0
    expire: bool = True

    @classmethod
    def of(cls, url: str, **others: Any) -> RedisOptions:
        """The options that a URL names; `others` are fields, and win over what the URL says. Raises ConfigError.

        >>> RedisOptions.of("rediss://app:secret@cache:7000/2")
        RedisOptions(addresses=(Address(host='cache', port=7000),), database=2, username='app', cluster=False, \
tls=True, ca='', cert='', key='', check_hostname=True, timeout=5.0, retry_for=5.0, expire=True)
        """
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES:
            raise ConfigError(f"the online store's URL begins with {parts.scheme + ':'!r}; {_EXAMPLES}")
        login, _, places = parts.netloc.rpartition("@")
        username, _, password = login.partition(":")
        found = cls(
            _addresses(parts, places), database=_database(parts),
            username=unquote(username), password=unquote(password),
            cluster=parts.scheme.endswith("+cluster"), tls=parts.scheme.startswith("rediss"),
        )  # fmt: skip
        if found.cluster and found.database:
            raise ConfigError(f"{found} names database {found.database}; a cluster has database 0 only")
        return replace(found, **{name: value for name, value in others.items() if value is not None})

    @classmethod
    def named(cls, given: RedisSettings, *, below: Path) -> RedisOptions:
        """The options of settings that name a URL; relative paths of files are `below` a folder."""
        files = {
            name: str(below / path)
            for name, path in (("ca", given.tls_ca), ("cert", given.tls_cert), ("key", given.tls_key))
            if path
        }
        return cls.of(
            given.url, username=given.username or None, password=given.password or None, expire=given.expire,
            check_hostname=given.tls_check_hostname, timeout=duration(given.timeout) / 1e6,
            retry_for=duration(given.retry_for) / 1e6, **files,
        )  # fmt: skip

    def at(self, address: Address) -> RedisOptions:
        """The same for one server."""
        return replace(self, addresses=(address,))

    def __str__(self) -> str:
        return ", ".join(map(str, self.addresses))


def _addresses(parts: SplitResult, places: str) -> tuple[Address, ...]:
    if parts.scheme == "unix":
        if not parts.path:
            raise ConfigError(f"the online store's URL names no socket; {_EXAMPLES}")
        return (Address(unquote(parts.path), 0),)
    found = tuple(_address(place) for place in places.split(","))
    if len(found) > 1 and not parts.scheme.endswith("+cluster"):
        raise ConfigError(f"the online store's URL names {len(found)} hosts, {places}; {_EXAMPLES}")
    return found


def _address(place: str) -> Address:
    host, _, port = place.partition("]")[0:3] if place.startswith("[") else place.partition(":")
    port = port.removeprefix(":") or str(PORT)
    host = host.removeprefix("[")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"the online store's URL names the host {place!r}; {_EXAMPLES}")
    return Address(host, int(port))


def _database(parts: SplitResult) -> int:
    asked = parse_qs(parts.query)
    if asked.keys() - {"db"} or parts.fragment:
        raise ConfigError(f"the online store's URL asks for {_listed(asked)}; it takes db only: {_EXAMPLES}")
    number = asked.get("db", [""])[0] if parts.scheme == "unix" else parts.path.strip("/")
    if number and not number.isdigit():
        raise ConfigError(f"the online store's URL names database {number!r}, which is no number; {_EXAMPLES}")
    return int(number or 0)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "a fragment"
