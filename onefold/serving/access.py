"""Who asks, and what of a catalog they may reach.

A handler is given a `Reach` in place of the catalog, so that it cannot get at a service that its key has no right to,
and a refusal reads the same whether or not there is such a service.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onefold.features.values import shown
from onefold.serving.errors import ApiError
from onefold.serving.keys import ALL, Key, KeyRing

if TYPE_CHECKING:
    from onefold.features.errors import OnefoldError
    from onefold.serving.catalog import Catalog, ServedModel, Service


@dataclass(frozen=True, slots=True, eq=False)
class Access:
    """The rights of whoever asks.

    key: its id; services: None for all; rate: requests a second, None for the server's own.
    """

    key: str | None = None
    services: frozenset[str] | None = None
    operator: bool = True
    rate: float | None = None

    @classmethod
    def of(cls, key: Key) -> Access:
        services = None if ALL in key.services else frozenset(key.services)
        return cls(key.id, services, key.operator, key.rate)


ANYONE = Access()
"""Where no keys are asked for."""
UNKNOWN = Access(services=frozenset(), operator=False)
"""Without a key, where keys are asked for."""


class Doorman:
    """Recognises keys. `ring` may be replaced at any time; None lets everybody in."""

    def __init__(self, ring: KeyRing | None = None) -> None:
        self._ring = ring
        self._known: dict[str, tuple[Key, Access]] = {}

    @property
    def asks(self) -> bool:
        return self._ring is not None

    def replace(self, ring: KeyRing) -> None:
        self._ring, self._known = ring, {}

    def recognise(self, authorization: bytes, api_key: bytes, now: int) -> Access:
        """The rights of a request by its two headers, UNKNOWN where both are empty; ApiError 401 for a bad key."""
        ring = self._ring
        if ring is None:
            return ANYONE
        if not authorization and not api_key:
            return UNKNOWN
        text = _presented(authorization, api_key)
        key = ring.find(text)
        if key is None:
            raise unauthorised("the API key is not known here")
        state = key.state(now)
        if state != "active":
            raise unauthorised(f"the API key {key.id} is {state}")
        known = self._known.get(key.id)
        if known is None or known[0] is not key:
            known = self._known[key.id] = (key, Access.of(key))
        return known[1]


def _presented(authorization: bytes, api_key: bytes) -> str:
    if api_key:
        return api_key.decode("latin-1")
    scheme, _, text = authorization.decode("latin-1").partition(" ")
    if scheme.lower() != "bearer":
        raise unauthorised("the Authorization header is no bearer token")
    return text.strip()


def unauthorised(message: str) -> ApiError:
    hint = "send `Authorization: Bearer KEY`; `onefold keys create` makes one"
    return ApiError(401, "unauthorised", message, hint)


def forbidden(what: str) -> ApiError:
    hint = "ask whoever gave you the key for a wider one"
    return ApiError(403, "forbidden", f"this API key has no right to {what}", hint)


class Reach:
    """A catalog as one key may see it: services in its scope, the models they feed, and features that they hold."""

    def __init__(self, catalog: Catalog, access: Access) -> None:
        assert access.services is not None
        self._catalog = catalog
        self.clock: Callable[[], int] = catalog.clock
        self.refused: dict[str, OnefoldError] = {}
        self.services = {n: s for n, s in catalog.services.items() if n in access.services}
        self.models = {n: m for n, m in catalog.models.items() if m.service.name in access.services}
        features = {f.ref for s in self.services.values() for f in s.plan.features}
        self._refs = features | {v for v in _views(features) if features >= _features(catalog, v)}

    def service(self, name: object) -> Service:
        found = self.services.get(name) if isinstance(name, str) else None
        if found is None:
            raise forbidden(f"service {shown(name)}")
        return found

    def model(self, name: str) -> ServedModel:
        if name not in self.models:
            raise forbidden(f"model {shown(name)}")
        return self._catalog.model(name)

    def selection(self, refs: Sequence[str]) -> Service:
        for ref in refs:
            if ref.replace(":", ".") not in self._refs:
                raise forbidden(f"feature {shown(ref)}")
        return self._catalog.selection(refs)


@dataclass(frozen=True, slots=True)
class Current:
    """What a request was admitted with: its rights, and the catalog as of its beginning, as far as they go."""

    access: Access
    catalog: Catalog | Reach


CURRENT: ContextVar[Current] = ContextVar("onefold_current")
"""Set for each request by the application, before anybody else sees it."""


def _views(refs: set[str]) -> set[str]:
    return {ref.partition(".")[0] for ref in refs}


def _features(catalog: Catalog, view: str) -> set[str]:
    """References of all features of a view."""
    return {f.ref for f in catalog.project.view(view).features}
