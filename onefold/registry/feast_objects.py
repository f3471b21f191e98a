"""Feast's objects for our records, and the writing of them to Feast's SQL registry. Importing this imports Feast.

| ours                | Feast's                                                                        |
|---------------------|--------------------------------------------------------------------------------|
| project             | Project; its tags hold what Feast has no object for                            |
| entity, one key     | Entity                                                                         |
| entity, more keys   | one Entity a key, `entity__key` (Feast 0.67 refuses an entity with two keys)   |
| source              | FileSource over the source's Delta table in the archive                        |
| view                | FeatureView (plain; its transform is ours, not Feast's)                        |
| on-demand view      | a tag of the project: Feast's would need a Python function, stored with dill   |
| state               | a tag of the project: the layout of one (source, entity)                       |
| service             | FeatureService over the plain views; its tag holds the whole ordered list      |

Each object's tag `onefold` holds our own record, and that is what we read back. DATE is UNIX_TIMESTAMP there, as Feast
has no date, and DECIMAL is STRING, as its Decimal says nothing of digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from feast import Entity, FeatureService, FeatureView, Field, FileSource, Project
from feast.data_format import DeltaFormat
from feast.infra.registry.sql import SqlRegistry, SqlRegistryConfig
from feast.types import Array, Bool, FeastType, Float64, Int64, String, UnixTimestamp

from onefold.features.definition_records import Key, Record, Records
from onefold.features.types import DataType, parse_type

TAG = "onefold"
_SCALARS = {
    "BOOLEAN": Bool, "BIGINT": Int64, "DOUBLE": Float64, "VARCHAR": String,
    "TIMESTAMP": UnixTimestamp, "DATE": UnixTimestamp,
}  # fmt: skip
_IN_PROJECT = ("state", "on_demand")
_REMOVAL = ("service", "view", "source", "entity")


def feast_type(kind: DataType) -> FeastType:
    """Feast's type for ours."""
    if kind.item is not None:
        return Array(feast_type(kind.item))
    return String if kind.is_decimal else _SCALARS[kind.name]


class FeastWriter:
    """Writes to one project of one registry; objects are written one by one, as Feast does."""

    def __init__(self, path: Path, *, project: str, archive: Path) -> None:
        config = SqlRegistryConfig(registry_type="sql", path=f"sqlite:///{path}", cache_ttl_seconds=0)
        self._registry = SqlRegistry(config, project, None)
        self._project, self._archive = project, archive

    def close(self) -> None:
        """Give the database's file free."""
        self._registry.write_engine.dispose()

    def write(self, wanted: Records, *, put: Sequence[Key], remove: Sequence[Record]) -> None:
        """Make the registry hold `wanted`, of which `put` is new or changed; `remove` was there and is no longer."""
        for kind in _REMOVAL:
            for record in (r for r in remove if r.kind == kind):
                self._delete(record)
        self._registry.apply_project(self._feast_project(wanted.values()))
        appliers: dict[str, Callable[[Record], None]] = {
            "entity": self._put_entity,
            "source": lambda r: self._registry.apply_data_source(self._source(r), self._project),
            "view": lambda r: self._registry.apply_feature_view(self._view(r, wanted), self._project),
            "service": lambda r: self._registry.apply_feature_service(self._service(r, wanted), self._project),
        }
        for key in put:
            if key[0] in appliers:
                appliers[key[0]](wanted[key])

    def _put_entity(self, record: Record) -> None:
        for entity in _entities(record):
            self._registry.apply_entity(entity, self._project)

    def _delete(self, record: Record) -> None:
        match record.kind:
            case "service":
                self._registry.delete_feature_service(record.name, self._project)
            case "view":
                self._registry.delete_feature_view(record.name, self._project)
            case "source":
                self._registry.delete_data_source(record.name, self._project)
            case "entity":
                for entity in _entities(record):
                    self._registry.delete_entity(entity.name, self._project)

    def _feast_project(self, records: Iterable[Record]) -> Project:
        tags = {f"{TAG}.{r.kind}.{r.name}": r.to_json() for r in records if r.kind in _IN_PROJECT}
        return Project(name=self._project, description="written by Onefold", tags=tags)

    def _source(self, record: Record) -> FileSource:
        return FileSource(
            name=record.name,
            path=str(self._archive / record.name),
            file_format=DeltaFormat(),
            timestamp_field=record.body["event_time"],
            **_common(record),
        )

    def _view(self, record: Record, records: Records) -> FeatureView:
        entity = records.get(("entity", record.body["entity"]))
        columns = [*(entity.body["keys"] if entity else ()), *((f["name"], f["type"]) for f in record.body["features"])]
        return FeatureView(
            name=record.name,
            schema=[Field(name=name, dtype=feast_type(parse_type(kind))) for name, kind in columns],
            entities=_entities(entity) if entity else [],
            source=self._source(records["source", record.body["source"]]),
            ttl=timedelta(0),
            **_common(record),
        )

    def _service(self, record: Record, records: Records) -> FeatureService:
        selected: dict[str, list[str]] = {}
        for feature in record.body["features"]:
            if ("view", feature["view"]) in records:
                selected.setdefault(feature["view"], []).append(feature["name"])
        views = [self._view(records["view", view], records)[names] for view, names in selected.items()]
        return FeatureService(name=record.name, features=views, **_common(record))


def _entities(record: Record) -> list[Entity]:
    keys = record.body["keys"]
    names = [record.name] if len(keys) == 1 else [f"{record.name}__{key}" for key, _ in keys]
    return [
        Entity(name=name, join_keys=[key], value_type=_SCALARS[kind].to_value_type(), **_common(record))
        for name, (key, kind) in zip(names, keys, strict=True)
    ]


def _common(record: Record) -> dict[str, Any]:
    tags = {**record.body.get("tags", {}), TAG: record.to_json()}
    return {"description": record.body["description"], "owner": record.body["owner"], "tags": tags}
