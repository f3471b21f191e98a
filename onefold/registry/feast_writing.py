"""Changes into Feast's registry: a SQL database in one transaction, a file in one replacement. Imports Feast.

Feast's own `apply` of one object is five transactions and rewrites its project each time (and, for a view, reads all
other views); on SQLite a thousand views take half a minute. Here all rows go into Feast's own tables, with the same
columns, the same meta data and the same history of versions, in one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from feast import Entity, FeatureService, FeatureView, Project
from feast.errors import DataSourceNotFoundException, FeastObjectNotFoundException
from feast.infra.registry import sql
from feast.infra.registry.registry import Registry as FileRegistry
from feast.infra.registry.sql import SqlRegistry, SqlRegistryConfig
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import RegistryConfig
from feast.version_utils import generate_version_id
from sqlalchemy import Table, delete, func, insert, select, update
from sqlalchemy.engine import Connection
from typeguard import suppress_type_checks

from onefold.features.definition_records import Key, Record
from onefold.registry.feast_objects import Changes, FeastObjects
from onefold.registry.place import FILE, Place

_VIEW_TABLES = (sql.feature_views, sql.on_demand_feature_views, sql.stream_feature_views, sql.label_views)
_TABLES: Mapping[str, Sequence[Table]] = {
    "entity": (sql.entities,), "data_source": (sql.data_sources,), "view": _VIEW_TABLES,
    "service": (sql.feature_services,),
}  # fmt: skip
_FEATURE_VIEW, _ON_DEMAND = "feature_view", "on_demand_feature_view"


def write(place: Place, project: str, objects: FeastObjects, *, put: Sequence[Key], remove: Sequence[Record]) -> None:
    """Make a registry take what is new or changed, and forget what was removed."""
    # Feast checks the type of every argument of every object, which is most of the time that they take.
    with suppress_type_checks():
        _write(place, project, objects.changes(put=put, remove=remove))


def _write(place: Place, project: str, changes: Changes) -> None:
    if place.kind == FILE:
        _write_file(place, project, changes)
        return
    registry = SqlRegistry(SqlRegistryConfig(registry_type="sql", path=place.url, cache_ttl_seconds=0), project, None)
    try:
        with registry.write_engine.begin() as connection:
            _Transaction(connection, project).write(changes)
            registry._set_last_updated_metadata(datetime.now(UTC), project, connection)
    finally:
        registry.write_engine.dispose()


class _Transaction:
    """All changes of one project on one connection."""

    def __init__(self, connection: Connection, project: str) -> None:
        self._connection, self._project, self._now = connection, project, datetime.now(UTC)

    def write(self, changes: Changes) -> None:
        for kind, name in changes.remove:
            self._remove(kind, name)
        self._put(sql.projects, "project_name", "project_proto", [changes.project])
        groups: dict[type, list[Any]] = {}
        for made in changes.put:
            groups.setdefault(type(made), []).append(made)
        for made_as, objects in groups.items():
            self._put(*_columns(made_as), objects)

    def _remove(self, kind: str, name: str) -> None:
        tables = [*_TABLES[kind], *((sql.feature_view_version_history,) if kind == "view" else ())]
        for table in tables:
            column = next(c for c in table.columns if c.name.endswith("_name"))
            self._connection.execute(delete(table).where(column == name, table.c.project_id == self._project))

    def _put(self, table: Table, name_column: str, proto_column: str, objects: Sequence[Any]) -> None:
        held = self._held(table, name_column, proto_column)
        for made in objects:
            _stamp(made, held.get(made.name), self._now)
        if isinstance(objects[0], FeatureView | OnDemandFeatureView):
            messages = self._versioned(objects, held)
        else:
            messages = [self._bytes(made) for made in objects]
        now = int(self._now.timestamp())
        rows = [
            {name_column: made.name, "project_id": self._project, proto_column: m, "last_updated_timestamp": now}
            for made, m in zip(objects, messages, strict=True)
        ]
        self._store(table, name_column, rows, held)

    def _held(self, table: Table, name_column: str, proto_column: str) -> dict[str, bytes]:
        asked = select(table.c[name_column], table.c[proto_column]).where(table.c.project_id == self._project)
        return {name: bytes(message) for name, message in self._connection.execute(asked)}

    def _bytes(self, made: Any) -> bytes:
        message = made.to_proto()
        if isinstance(made, FeatureView | OnDemandFeatureView):
            message.spec.project = self._project
        elif message.HasField("meta") and not message.meta.HasField("created_timestamp"):
            message.meta.created_timestamp.FromDatetime(self._now)
        return bytes(message.SerializeToString())

    def _store(
        self, table: Table, name_column: str, rows: Sequence[Mapping[str, Any]], held: Mapping[str, bytes]
    ) -> None:
        fresh = [row for row in rows if row[name_column] not in held]
        if fresh:
            self._connection.execute(insert(table), fresh)
        for row in (r for r in rows if r[name_column] in held):
            mine = (table.c[name_column] == row[name_column], table.c.project_id == self._project)
            self._connection.execute(update(table).where(*mine).values(row))

    def _versioned(self, views: Sequence[Any], held: Mapping[str, bytes]) -> list[bytes]:
        """The messages of views, and Feast's own history of each: number 0 when it is new, one more whenever its schema
        or logic changes."""
        history = sql.feature_view_version_history
        asked = select(history.c.feature_view_name, func.max(history.c.version_number)).where(
            history.c.project_id == self._project
        )
        found = self._connection.execute(asked.group_by(history.c.feature_view_name))
        last: dict[str, int] = {row[0]: row[1] for row in found}
        messages, rows = [], []
        for view in views:
            old = held.get(view.name)
            same = old is not None and not view._schema_or_udf_changed(_read(view, old))
            view.current_version_number = last.get(view.name, -1 + same) + (not same)
            messages.append(self._bytes(view))
            if not same:
                rows.append(self._version(view, messages[-1]))
        if rows:
            self._connection.execute(insert(history), rows)
        return messages

    def _version(self, view: Any, message: bytes) -> dict[str, Any]:
        return {
            "feature_view_name": view.name, "project_id": self._project, "feature_view_proto": message,
            "version_number": view.current_version_number, "version_id": generate_version_id(), "description": "",
            "created_timestamp": int(self._now.timestamp()),
            "feature_view_type": _FEATURE_VIEW if isinstance(view, FeatureView) else _ON_DEMAND,
        }  # fmt: skip


def _columns(kind: type) -> tuple[Table, str, str]:
    """Table, name column and message column of one type of object."""
    known = {
        Entity: (sql.entities, "entity_name", "entity_proto"),
        FeatureView: (sql.feature_views, "feature_view_name", "feature_view_proto"),
        OnDemandFeatureView: (sql.on_demand_feature_views, "feature_view_name", "feature_view_proto"),
        FeatureService: (sql.feature_services, "feature_service_name", "feature_service_proto"),
        Project: (sql.projects, "project_name", "project_proto"),
    }
    return known.get(kind, (sql.data_sources, "data_source_name", "data_source_proto"))


def _read(made: Any, message: bytes) -> Any:
    """The object that is stored, without its function."""
    found = made.proto_class.FromString(message)
    if isinstance(made, OnDemandFeatureView):
        return OnDemandFeatureView.from_proto(found, skip_udf=True)
    return FeatureView.from_proto(found)


def _stamp(made: Any, old: bytes | None, now: datetime) -> None:
    """When it was made and last changed; what Feast remembers of a view's materialisations stays."""
    if not hasattr(made, "created_timestamp"):
        return
    made.created_timestamp = made.last_updated_timestamp = now
    if old is None:
        return
    meta = type(made.to_proto()).FromString(old).meta
    if meta.HasField("created_timestamp"):
        made.created_timestamp = meta.created_timestamp.ToDatetime(UTC)
    if isinstance(made, FeatureView):
        made.materialization_intervals = _read(made, old).materialization_intervals


def _write_file(place: Place, project: str, changes: Changes) -> None:
    registry = FileRegistry(project, RegistryConfig(path=place.url, cache_ttl_seconds=0), None)
    removers = {
        "entity": registry.delete_entity, "data_source": registry.delete_data_source,
        "view": registry.delete_feature_view, "service": registry.delete_feature_service,
    }  # fmt: skip
    registry._prepare_registry_for_changes(project)
    for kind, name in changes.remove:
        with suppress(FeastObjectNotFoundException, DataSourceNotFoundException):
            removers[kind](name, project, commit=False)
    registry.apply_project(changes.project, commit=False)
    for made in changes.put:
        _file_applier(registry, made)(made, project, commit=False)
    registry.commit()


def _file_applier(registry: FileRegistry, made: Any) -> Any:
    appliers = {
        Entity: registry.apply_entity, FeatureView: registry.apply_feature_view,
        OnDemandFeatureView: registry.apply_feature_view, FeatureService: registry.apply_feature_service,
    }  # fmt: skip
    return appliers.get(type(made), registry.apply_data_source)
