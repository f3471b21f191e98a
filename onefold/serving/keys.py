"""API keys: 256 random bits each, shown once, kept as a hash beside what they may reach and until when.

    onefold_3f9c21ab77d0_XxR0...43 characters

The first part finds the key's record and is no secret; the whole of it is hashed. SHA-256 without salt or
stretching is right here: what is hashed is not a password that could be guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from onefold.features.errors import InputError, NotFoundError
from onefold.features.values import parse_timestamp, timestamp_text

ALL = "*"
"""Among a key's services: every one, those to come as well."""
_SHAPE = re.compile(r"onefold_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NOBODY = hashlib.sha256(b"nobody").hexdigest()


@dataclass(frozen=True, slots=True)
class Key:
    """What is kept of a key. Times are microseconds since the epoch.

    services: names of feature services, or ALL; the models of a service come with it, and no services is none.
    operator: may read metrics, what readiness rests on, and the documented API. rate: requests a second, None for
    the server's own. follows: the key that it took over from.
    """

    id: str
    name: str
    digest: str
    services: tuple[str, ...]
    created: int
    expires: int | None = None
    revoked: int | None = None
    operator: bool = False
    rate: float | None = None
    follows: str | None = None

    def state(self, now: int) -> str:
        """`active`, `expired` or `revoked`."""
        if self.revoked is not None:
            return "revoked"
        return "active" if self.expires is None or now < self.expires else "expired"

    def to_json(self) -> dict[str, object]:
        return {
            "id": self.id, "name": self.name, "sha256": self.digest, "services": list(self.services),
            "operator": self.operator, "rate": self.rate, "created": timestamp_text(self.created),
            "expires": _text(self.expires), "revoked": _text(self.revoked), "follows": self.follows,
        }  # fmt: skip

    @classmethod
    def from_json(cls, given: object) -> Key:
        """The key of a record; ValueError, KeyError or TypeError where it is none."""
        if not isinstance(given, dict):
            raise TypeError("a key is an object")
        services, created, rate = given["services"], parse_timestamp(given["created"]), given.get("rate")
        texts = [given["id"], given["name"], given["sha256"], *services]
        if created is None or not isinstance(services, list) or not all(isinstance(t, str) for t in texts):
            raise TypeError("a field has another type")
        if re.fullmatch("[0-9a-f]{64}", given["sha256"]) is None or given.get("operator", False) not in (True, False):
            raise ValueError("a hash is 64 hexadecimal digits, `operator` is true or false")
        return cls(
            given["id"], given["name"], given["sha256"], tuple(services), created,
            parse_timestamp(given.get("expires")), parse_timestamp(given.get("revoked")),
            bool(given.get("operator")), None if rate is None else float(rate), given.get("follows"),
        )  # fmt: skip


def create(
    name: str,
    *,
    services: Iterable[str],
    now: int,
    expires: int | None,
    operator: bool = False,
    rate: float | None = None,
    follows: str | None = None,
) -> tuple[Key, str]:
    """A new key, and its text, which nothing can show again. InputError for a name that is none."""
    if _NAME.fullmatch(name) is None:
        raise InputError(f"{name!r} cannot name a key; use 1 to 64 letters, digits, '.', '_' and '-'")
    number = secrets.token_hex(6)
    text = f"onefold_{number}_{secrets.token_urlsafe(32)}"
    key = Key(number, name, digest(text), tuple(services), now, expires, None, operator, rate, follows)
    return key, text


def rotate(keys: Sequence[Key], wanted: str, *, now: int, expires: int | None, overlap: int) -> tuple[list[Key], str]:
    """The keys with one more of the same rights, and the new one's text. The old one ends after `overlap` µs."""
    old = find(keys, wanted)
    if old.state(now) != "active":
        raise InputError(f"key {old.id} ({old.name}) is {old.state(now)}; create a new one")
    new, text = create(
        old.name, services=old.services, now=now, expires=expires,
        operator=old.operator, rate=old.rate, follows=old.id,
    )  # fmt: skip
    end = now + overlap if old.expires is None else min(old.expires, now + overlap)
    return [replace(k, expires=end) if k.id == old.id else k for k in keys] + [new], text


def revoke(keys: Sequence[Key], wanted: str, *, now: int) -> list[Key]:
    """The keys with one that is refused from now on."""
    gone = find(keys, wanted)
    return [replace(k, revoked=now) if k.id == gone.id and k.revoked is None else k for k in keys]


def find(keys: Sequence[Key], wanted: str) -> Key:
    """The key of an id, or of a name that only one active key bears; NotFoundError."""
    by_id = [k for k in keys if k.id == wanted]
    named = by_id or [k for k in keys if k.name == wanted and k.revoked is None]
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(k.id for k in named)
        raise InputError(f"{len(named)} keys are named {wanted!r}: {ids}; say which by its id")
    raise NotFoundError(f"key {wanted!r} is not there; `onefold keys list` shows them")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class KeyRing:
    """Keys as a server asks for them."""

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._by_id = {k.id: k for k in keys}

    def __len__(self) -> int:
        return len(self._by_id)

    def usable(self, now: int) -> int:
        """How many keys are active."""
        return sum(k.state(now) == "active" for k in self._by_id.values())

    def find(self, text: str) -> Key | None:
        """The key whose text this is, whatever its state. Takes as long for a wrong secret as for a right one."""
        match = _SHAPE.fullmatch(text)
        key = self._by_id.get(match[1]) if match else None
        same = hmac.compare_digest(digest(text), key.digest if key else _NOBODY)
        return key if same else None


def _text(micros: int | None) -> str | None:
    return None if micros is None else timestamp_text(micros)
