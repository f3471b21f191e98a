"""A client of Confluent's schema registry API: schemas by their number, each asked for once."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from onefold.features.errors import EventError, StoreError

Read = Callable[[bytes], Mapping[str, object]]

_FRAME = struct.Struct(">bI")
_WAIT = 0.25
_RETRY = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Reference:
    """Another schema that a schema uses: the name that it is used by, and where the registry has it."""

    name: str
    subject: str
    version: int


@dataclass(frozen=True, slots=True)
class Registered:
    """A schema as the registry has it. kind: "AVRO", "PROTOBUF" or "JSON"."""

    kind: str
    text: str
    references: tuple[Reference, ...] = ()


class SchemaRegistry:
    """One registry, by its URL. user and password, or else token, where it wants them.

    patience: seconds for which it may not answer before StoreError. A number that it does not know is an EventError:
    the message that names it cannot be read.
    """

    def __init__(
        self, url: str, *, user: str = "", password: str = "", token: str = "", patience: float = 60.0
    ) -> None:
        self.url, self._patience = url.rstrip("/"), patience
        headers = {"accept": "application/vnd.schemaregistry.v1+json, application/json"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        self._client = httpx.Client(headers=headers, auth=(user, password) if user else None, timeout=10.0)
        self._known: dict[tuple[str, str], Registered] = {}

    def schema(self, ident: int, *, form: str = "") -> Registered:
        """A schema by the number that messages carry. form: as "serialized", which Protobuf's have."""
        return self._get(f"/schemas/ids/{ident}", form, what=f"schema {ident}")

    def referenced(self, reference: Reference, *, form: str = "") -> Registered:
        path = f"/subjects/{quote(reference.subject, safe='')}/versions/{reference.version}"
        return self._get(path, form, what=f"schema {reference.subject!r}")

    def close(self) -> None:
        self._client.close()

    def _get(self, path: str, form: str, *, what: str) -> Registered:
        if (path, form) not in self._known:
            answer = self._asked(path, {"format": form} if form else {})
            if answer.status_code == 404:
                raise EventError(f"the schema registry at {self.url} has no {what}")
            if answer.status_code != 200:
                raise StoreError(
                    f"the schema registry at {self.url} answers {answer.status_code} for {what}: {answer.text[:200]}; "
                    "look at [kafka] schema_registry and what lets us in there"
                )
            self._known[path, form] = _registered(answer.json())
        return self._known[path, form]

    def _asked(self, path: str, params: dict[str, str]) -> httpx.Response:
        """The answer, once there is one that is no passing trouble."""
        end, trouble = time.monotonic() + self._patience, ""
        while True:
            try:
                answer = self._client.get(self.url + path, params=params)
                if answer.status_code not in _RETRY:
                    return answer
                trouble = f"it answers {answer.status_code}"
            except httpx.HTTPError as error:
                trouble = str(error) or type(error).__name__
            if time.monotonic() > end:
                raise StoreError(
                    f"the schema registry at {self.url} has not answered for {self._patience:.0f} s ({trouble}); "
                    "see that it runs, and look at [kafka] schema_registry"
                )
            time.sleep(_WAIT)


def _registered(said: dict[str, Any]) -> Registered:
    references = (Reference(r["name"], r["subject"], r["version"]) for r in said.get("references") or ())
    return Registered(said.get("schemaType") or "AVRO", said["schema"], tuple(references))


def framed(message: bytes) -> tuple[int, bytes]:
    """The schema's number and what follows it, in Confluent's form: a 0, four bytes, the rest; else EventError."""
    if len(message) < _FRAME.size:
        raise EventError(f"the message has {len(message)} bytes; one that names its schema has at least {_FRAME.size}")
    magic, ident = _FRAME.unpack_from(message)
    if magic != 0:
        raise EventError(f"the message begins with byte {message[0]}, not with 0: it does not name its schema")
    return ident, message[_FRAME.size :]


def by_schema(make: Callable[[int], Read]) -> Callable[[int], Read]:
    """`make`, called once a schema."""
    made: dict[int, Read] = {}

    def known(ident: int) -> Read:
        if ident not in made:
            made[ident] = make(ident)
        return made[ident]

    return known
