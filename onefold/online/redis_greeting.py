"""What is said on a new connection to a Redis before it is used: the login, and whether the server will do.

A server that may evict keys is refused, since a state that lost strings would pass for a whole one; so is a replica,
where writes are wanted.
"""

from __future__ import annotations

import ssl
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from onefold.features.errors import ConfigError, StoreError
from onefold.online.redis_errors import Unreachable, explained
from onefold.online.redis_options import Address, RedisOptions
from onefold.online.redis_wire import ReplyError

Words = tuple[bytes, ...]
Greeting = Generator[Sequence[Words], list[Any], dict[str, str]]
"""Yields commands to send at once, takes their replies, and returns what the server says of itself, by name."""

_OLDEST = (6, 2)


def greeting(options: RedisOptions, address: Address, *, writes: bool) -> Greeting:
    """Log in and look at the server. Raises StoreError where it is refused, Unreachable where it may do later.

    writes: refuse a replica.
    """
    login = [options.username.encode()] if options.username else []
    greetings = [(b"AUTH", *login, options.password.encode())] if options.password or login else []
    greetings += [(b"CLIENT", b"SETNAME", b"onefold"), (b"SELECT", b"%d" % options.database), (b"INFO",)]
    *replies, info = yield greetings
    for words, reply in zip(greetings, replies, strict=False):
        if isinstance(reply, ReplyError) and words[0] != b"CLIENT" and not _needless(words, reply):
            raise explained(reply, address, what=words[0].decode())
    if isinstance(info, ReplyError) and not str(info).startswith("NOPERM"):
        raise explained(info, address, what="INFO")
    facts = (yield from _configured(address)) if isinstance(info, ReplyError) else _facts(info)
    _check(facts, address, writes=writes)
    return facts


def _configured(address: Address) -> Greeting:
    """What CONFIG and ROLE say, where INFO is not allowed."""
    asked = ((b"CONFIG", b"GET", b"maxmemory*"), (b"ROLE",))
    replies = yield asked
    for words, reply in zip(asked, replies, strict=True):
        if isinstance(reply, ReplyError):
            raise StoreError(
                f"Redis at {address} does not say whether it may evict keys; allow INFO, or CONFIG|GET and "
                f"ROLE, to this user: {explained(reply, address, what=words[0].decode())}"
            )
    pairs, role = [x.decode() for x in replies[0]], replies[1][0].decode()
    found = dict(zip(pairs[::2], pairs[1::2], strict=True))
    return {"maxmemory": found["maxmemory"], "maxmemory_policy": found["maxmemory-policy"], "role": role}


def _check(facts: Mapping[str, str], address: Address, *, writes: bool) -> None:
    where, version = f"Redis at {address}", facts.get("redis_version", "")
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


def tls_context(options: RedisOptions) -> ssl.SSLContext:
    """How TLS is spoken; ConfigError where its files cannot be read."""
    try:
        context = ssl.create_default_context(cafile=options.ca or None)
        context.check_hostname = options.check_hostname
        if options.cert:
            context.load_cert_chain(options.cert, options.key or None)
    except OSError as error:
        files = ", ".join(f for f in (options.ca, options.cert, options.key) if f)
        raise ConfigError(f"the files of TLS cannot be read ({files}): {reason(error)}") from error
    return context


def no_connection(error: OSError, address: Address) -> StoreError:
    """The error that it is not to have been connected; Unreachable where that may be over in a moment."""
    distrusted = isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError)
    kind = StoreError if distrusted else Unreachable
    return kind(f"Redis at {address} cannot be reached: {reason(error)}")


def reason(error: Exception) -> str:
    """Why a connection failed, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); set [online] tls_ca to its authority's file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def _needless(words: Words, reply: Exception) -> bool:
    """Whether database 0 cannot be selected only because SELECT is not allowed: it is the one we have."""
    return words == (b"SELECT", b"0") and str(reply).startswith("NOPERM")


def _facts(info: bytes) -> dict[str, str]:
    lines = info.decode(errors="replace").splitlines()
    found: Mapping[str, str] = dict(line.split(":", 1) for line in lines if ":" in line and line[0] != "#")
    return dict(found)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
