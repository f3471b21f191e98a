"""What a request asks for, resolved once: plain views, and lookups of our own views."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from feast import utils
from feast.errors import RequestDataNotFoundInEntityRowsException
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType

from onefold.features.protocols import OnlineStore
from onefold.online.feast.answer import PRESENT, Answer, Column
from onefold.online.feast.definitions import is_ours
from onefold.online.feast.kinds import BY_FIELD, field_of
from onefold.online.feast.plain import PlainView
from onefold.online.feast.windowed import Member, Windowed, times_of

Context = tuple[Any, ...]
"""What Feast's `_get_cached_request_context` gives: the same object while its registry's cache is."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One feature that is asked for: the view that has it, and what the answer calls it."""

    view: Any
    feature: str
    name: str


def asked_of(context: Context, *, full_feature_names: bool) -> list[Asked]:
    """The features of a request in its order."""
    refs, on_demand, _, _, _, grouped, *_ = context
    views = {v.projection.name_to_use(): v for v in on_demand} | {v.projection.name_to_use(): v for v, _ in grouped}
    found = []
    for ref in refs:
        name, version, feature = utils._parse_feature_ref(ref)
        view = views[name if version is None else f"{name}@v{version}"]
        shown = f"{view.projection.name_to_use()}__{feature}" if full_feature_names else feature
        found.append(Asked(view, feature, shown))
    return found


def needs_feast(context: Context) -> bool:
    """Whether it asks for on-demand views whose functions Feast runs."""
    return any(not is_ours(v, "on_demand") and not v.write_to_online_store for v in context[1])


def aliases_of(view: Any) -> Mapping[str, str]:
    """A join key to what the request calls it, where the two differ."""
    return dict(getattr(view.projection, "join_key_map", None) or {})


def key_columns(view: Any, join_keys: Mapping[str, str]) -> dict[str, str]:
    """Each join key of a plain view to the request's column. join_keys: of entities, by name."""
    aliases = aliases_of(view)
    found = {}
    for entity in view.entities:
        # Feast's map has an aliased entity under the name of its alias.
        key = next((k for k, alias in aliases.items() if alias == join_keys.get(entity)), join_keys[entity])
        found[key] = aliases.get(key, key)
    return found


Lookups = Callable[[Sequence[Member], Mapping[str, str]], Windowed]
"""A lookup of features of ours whose keys have these aliases, made once."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a request is resolved into.

    asked: features in the answer's order. views: those to be read. join_keys: of entities, by name. types: of columns
    with keys. shown: columns with keys that the answer repeats. needed: columns with request data.
    """

    asked: Sequence[Asked]
    views: Sequence[Any]
    join_keys: Mapping[str, str]
    types: Mapping[str, Any]
    shown: Collection[str] = ()
    needed: Collection[str] = ()

    @classmethod
    def of(cls, context: Context, *, full_feature_names: bool) -> Parts:
        _, _, join_keys, types, shown, grouped, _, needed, _ = context
        asked = asked_of(context, full_feature_names=full_feature_names)
        return cls(asked, [view for view, _ in grouped], join_keys, types, shown, needed)


class Request:
    """A request without its rows; used by one thread at a time."""

    def __init__(self, config: Any, parts: Parts, store: OnlineStore, lookups: Lookups) -> None:
        self._parts, self._store = parts, store
        self._order = [a.name for a in parts.asked]
        self._plain = [self._plain_view(config, view) for view in parts.views if not is_ours(view, "view")]
        by_keys: dict[tuple[tuple[str, str], ...], list[Member]] = {}
        for item in parts.asked:
            if is_ours(item.view, "view") or is_ours(item.view, "on_demand"):
                keys = tuple(sorted(aliases_of(item.view).items()))
                by_keys.setdefault(keys, []).append(Member(item.view.name, item.feature, item.name))
        self._windowed = [lookups(members, dict(keys)) for keys, members in by_keys.items()]
        self.versions = [(v.projection.name_alias or v.name, v.current_version_number or 0) for v in parts.views]

    def _plain_view(self, config: Any, view: Any) -> PlainView:
        mine = [a for a in self._parts.asked if a.view is view]
        columns = key_columns(view, self._parts.join_keys)
        return PlainView(config, view, [a.feature for a in mine], [a.name for a in mine], columns, self._parts.types)

    def answer(self, given: Mapping[str, Sequence[Any]], now: int, *, versions: bool) -> Answer:
        """The answer for rows, given as columns. now: in microseconds."""
        given = self._renamed(given)
        missing = [name for name in self._parts.needed if name not in given]
        if missing:
            raise RequestDataNotFoundInEntityRowsException(feature_names=missing)
        found = self.columns(given, now)
        keys = [self._key_column(name, values) for name, values in given.items() if name in self._parts.shown]
        return Answer([*keys, *found], versions=self.versions if versions else ())

    def columns(self, given: Mapping[str, Sequence[Any]], now: int) -> list[Column]:
        """The features alone, in the order in which they were asked for."""
        count = len(next(iter(given.values())))
        found = {c.name: c for c in (*self._read(given, count, now), *self._fold(given, count, now))}
        return [found[name] for name in self._order]

    def _renamed(self, given: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
        """Columns by join key, where one is called by its entity's name (as older clients do)."""
        names, join_keys = self._parts.shown, self._parts.join_keys
        if all(name in names or name not in join_keys for name in given):
            return given
        return {name if name in names else join_keys.get(name, name): values for name, values in given.items()}

    def _read(self, given: Mapping[str, Sequence[Any]], count: int, now: int) -> list[Column]:
        """The plain views, in one read of the store."""
        if not self._plain:
            return []
        per_view = [view.strings(given, count) for view in self._plain]
        found = iter(self._store.get([s for strings in per_view for s in strings if s is not None]))
        columns = []
        for view, strings in zip(self._plain, per_view, strict=True):
            columns += view.answer([None if s is None else next(found) for s in strings], now)
        return columns

    def _fold(self, given: Mapping[str, Sequence[Any]], count: int, now: int) -> list[Column]:
        if not self._windowed:
            return []
        times = times_of(given, count, now)
        return [column for lookup in self._windowed for column in lookup.columns(given, times)]

    def _key_column(self, name: str, values: Sequence[Any]) -> Column:
        kind = self._parts.types.get(name, ValueType.UNKNOWN)
        if kind is not ValueType.UNKNOWN and all(type(v) is _SIMPLE.get(kind.name) for v in values):
            field, raw = field_of(kind), list(values)
        else:
            messages = python_values_to_proto_values(values, kind)
            field = next((f for m in messages if (f := m.WhichOneof("val"))), "null_val")
            raw = [None if m.WhichOneof("val") is None else BY_FIELD[field].raw(m) for m in messages]
        return Column(name, raw, BY_FIELD[field].number, [PRESENT] * len(raw), [None] * len(raw))


_SIMPLE = {"INT64": int, "INT32": int, "STRING": str, "BOOL": bool, "BYTES": bytes, "DOUBLE": float}
