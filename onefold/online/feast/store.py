"""The online store that Feast loads. Importing this imports Feast, and neither Spark, Kafka nor MLflow.

Reads take one way where no function of Feast's own has to run: a request is resolved once, the answer is built as
columns, and its message is made only where someone asks for it. Requests for on-demand views of plain Feast go Feast's
way, over the same columns.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from feast import utils
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.online_response import OnlineResponse
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel

from onefold.features.clock import now_micros
from onefold.features.errors import InputError
from onefold.online.feast import plain
from onefold.online.feast.definitions import Definitions, is_ours
from onefold.online.feast.entity_keys import name_of
from onefold.online.feast.opened import store_of
from onefold.online.feast.requests import Asked, Context, Lookups, Parts, Request, needs_feast
from onefold.online.feast.windowed import Member, Windowed
from onefold.online.opening import OpenStore

_KEPT = 256
Rows = list[tuple[datetime | None, dict[str, Value] | None]]


class OnefoldOnlineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc] # mypy does not follow Feast
    """What `online_store` of feature_store.yaml may say: the folder of an LMDB store, or the URL of a Redis.

    The other names are those of [online] in onefold.toml.
    """

    type: str = "onefold.online.feast.OnefoldOnlineStore"
    path: str = ""
    url: str = ""
    username: str = ""
    password: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_check_hostname: bool = True
    timeout: str = "5 seconds"
    retry_for: str = "5 seconds"
    expire: bool = True
    map_size: int = 0


class OnefoldOnlineStore(OnlineStore):  # type: ignore[misc] # as above
    """Views of ours, whose windows are finished when they are read, and plain views of Feast, whose rows are kept."""

    _versioned_read_supported = True

    def __init__(self) -> None:
        self._definitions = Definitions()
        self._local = threading.local()
        self._own_registry: Any = None

    @property
    def async_supported(self) -> SupportedAsyncMethods:
        return SupportedAsyncMethods(read=True, write=True)

    def online_write_batch(
        self, config: Any, table: Any, data: list[Any], progress: Callable[[int], Any] | None
    ) -> None:  # fmt: skip
        """Keep rows of a plain view; each key keeps its newest by (event time, time of creation)."""
        _refuse_ours(table)
        plain.write(_store(config), plain.RowWriter(config, table).items(data))
        if progress is not None:
            progress(len(data))

    async def online_write_batch_async(
        self, config: Any, table: Any, data: list[Any], progress: Callable[[int], Any] | None
    ) -> None:  # fmt: skip
        await asyncio.to_thread(self.online_write_batch, config, table, data, progress)

    def online_read(
        self, config: Any, table: Any, entity_keys: list[EntityKey], requested_features: list[str] | None = None
    ) -> Rows:
        """(event time, values) of each key; (None, None) where there is no row, or one that is too old."""
        if is_ours(table, "view"):
            return self._read_ours(config, table, entity_keys, requested_features)
        of, alive = plain.prefix_of(config, table), plain.lifetime(table)
        oldest = None if alive is None else now_micros() - alive
        found: Rows = []
        for string in _store(config).get([name_of(of, key) for key in entity_keys]):
            event, values = (0, None) if string is None else plain.values_of(string, requested_features)
            if values is None or (oldest is not None and event < oldest):
                found.append((None, None))
            else:
                found.append((datetime.fromtimestamp(event / 1e6, tz=UTC), values))
        return found

    async def online_read_async(
        self, config: Any, table: Any, entity_keys: list[EntityKey], requested_features: list[str] | None = None
    ) -> Rows:
        return await asyncio.to_thread(self.online_read, config, table, entity_keys, requested_features)

    def get_online_features(
        self, config: Any, features: Any, entity_rows: Any, registry: Any, project: str,
        full_feature_names: bool = False, include_feature_view_version_metadata: bool = False,
    ) -> OnlineResponse:  # fmt: skip
        """The features of rows, in one read of the store; see Feast's `FeatureStore.get_online_features`."""
        context = utils._get_cached_request_context(registry, project, features, full_feature_names)
        if needs_feast(context):
            _refuse_both(context)
            self._local.asked = registry, project
            return super().get_online_features(
                config, features, entity_rows, registry, project, full_feature_names,
                include_feature_view_version_metadata,
            )  # fmt: skip
        request = self._request(config, context, registry, project, full_feature_names)
        return request.answer(_columns(entity_rows), now_micros(), versions=include_feature_view_version_metadata)

    async def get_online_features_async(
        self, config: Any, features: Any, entity_rows: Any, registry: Any, project: str,
        full_feature_names: bool = False, include_feature_view_version_metadata: bool = False,
    ) -> OnlineResponse:  # fmt: skip
        return await asyncio.to_thread(
            self.get_online_features, config, features, entity_rows, registry, project, full_feature_names,
            include_feature_view_version_metadata,
        )  # fmt: skip

    def update(
        self, config: Any, tables_to_delete: Sequence[Any], tables_to_keep: Sequence[Any],
        entities_to_delete: Sequence[Any], entities_to_keep: Sequence[Any], partial: bool,
    ) -> None:  # fmt: skip
        """Open the store, and drop the rows of plain views that are gone. State of ours is Onefold's to keep."""
        store = _store(config)
        for table in tables_to_delete:
            if not is_ours(table, "view"):
                store.clear(plain.prefix_of(config, table))

    def teardown(self, config: Any, tables: Sequence[Any], entities: Sequence[Any]) -> None:
        """Drop the rows of all plain views."""
        self.update(config, tables, (), entities, (), False)

    async def initialize(self, config: Any) -> None:
        await asyncio.to_thread(_store, config)

    def _read_features_per_fv(
        self, config: Any, grouped_refs: Any, join_key_values: Any, entity_name_to_join_key_map: Any,
        online_features_response: Any, full_feature_names: bool, include_feature_view_version_metadata: bool,
    ) -> None:  # fmt: skip
        """Feast's own way, over our columns: so NULL, old and missing values say so here too."""
        asked = [
            Asked(view, name, f"{view.projection.name_to_use()}__{name}" if full_feature_names else name)
            for view, names in grouped_refs
            for name in names
        ]
        views = [view for view, _ in grouped_refs]
        parts = Parts(asked, views, entity_name_to_join_key_map, {})
        registry, project = self._local.asked
        request = Request(config, parts, _store(config), self._lookups(config, registry, project))
        for column in request.columns(join_key_values, now_micros()):
            online_features_response.metadata.feature_names.val.append(column.name)
            online_features_response.results.append(column.vector())
        if include_feature_view_version_metadata:
            for name, version in request.versions:
                online_features_response.metadata.feature_view_metadata.add(name=name, version=version)

    def _request(self, config: Any, context: Context, registry: Any, project: str, full: bool) -> Request:
        """The request that Feast has resolved, prepared once in each thread."""
        known = self._cache("requests")
        key = (id(context), full)
        if key not in known:
            parts = Parts.of(context, full_feature_names=full)
            made = Request(config, parts, _store(config), self._lookups(config, registry, project))
            known[key] = (context, made)  # the context stays, so that no other gets its id
        found: Request = known[key][1]
        return found

    def _lookups(self, config: Any, registry: Any, project: str) -> Lookups:
        def lookup(members: Sequence[Member], aliases: Mapping[str, str]) -> Windowed:
            definitions = self._definitions.of(registry, project)
            known = self._cache("lookups")
            key = (id(definitions), tuple(members), tuple(aliases.items()))
            if key not in known:
                known[key] = (definitions, Windowed(_store(config), definitions, members, aliases))
            found: Windowed = known[key][1]
            return found

        return lookup

    def _cache(self, name: str) -> dict[Any, Any]:
        """A cache of this thread, as a lookup is for one thread at a time."""
        known: dict[Any, Any] = self._local.__dict__.setdefault(name, {})
        if len(known) >= _KEPT:
            known.clear()
        return known

    def _read_ours(self, config: Any, table: Any, keys: Sequence[EntityKey], wanted: Sequence[str] | None) -> Rows:
        """A view of ours by key, as of now."""
        if not keys:
            return []
        names = list(wanted or (f.name for f in table.features))
        members = [Member(table.name, name, name) for name in names]
        given = {name: [_part(key, name) for key in keys] for name in keys[0].join_keys}
        now = now_micros()
        lookup = self._lookups(config, self._registry(config), config.project)(members, {})
        vectors = [column.vector().values for column in lookup.columns(given, [now] * len(keys))]
        moment = datetime.fromtimestamp(now / 1e6, tz=UTC)
        return [(moment, dict(zip(names, values, strict=True))) for values in zip(*vectors, strict=True)]

    def _registry(self, config: Any) -> Any:
        """The registry that a configuration names, for reads that Feast does not hand one to."""
        if self._own_registry is None:
            from feast import FeatureStore

            self._own_registry = FeatureStore(config=config).registry
        return self._own_registry


def _store(config: Any) -> OpenStore:
    return store_of(config.online_store, Path(config.repo_path) if config.repo_path else None)


def _part(key: EntityKey, name: str) -> Value:
    found: Value = key.entity_values[list(key.join_keys).index(name)]
    return found


def _refuse_ours(table: Any) -> None:
    if is_ours(table, "view"):
        raise InputError(
            f"view {table.name!r} is computed from the events of its source, and rows cannot be written into it; "
            "send events to the source, and run onefold stream or onefold materialize"
        )


def _refuse_both(context: Context) -> None:
    ours = [v.name for v in context[1] if is_ours(v, "on_demand")]
    if ours:
        others = [v.name for v in context[1] if v.name not in ours]
        raise InputError(
            f"on-demand views of Onefold ({', '.join(ours)}) and of plain Feast ({', '.join(others)}) were asked for "
            "at once; ask for them in two calls"
        )


def _columns(entity_rows: Any) -> Mapping[str, Sequence[Any]]:
    """Rows as columns; ValueError, in Feast's own words, where they differ."""
    if isinstance(entity_rows, list):
        if not entity_rows:
            raise ValueError("entity_rows is empty; give at least one row.")
        names = entity_rows[0].keys()
        if any(row.keys() != names for row in entity_rows):
            raise ValueError("All entity_rows must have the same keys.")
        return {name: [row[name] for row in entity_rows] for name in names}
    found = {k: v if isinstance(v, list) else list(v.val if hasattr(v, "val") else v) for k, v in entity_rows.items()}
    if len({len(v) for v in found.values()}) != 1:
        raise ValueError("All entity rows must have the same columns.")
    return found
