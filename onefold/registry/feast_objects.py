"""Feast's objects for our records. Importing this imports Feast.

| ours                | Feast's                                                                        |
|---------------------|--------------------------------------------------------------------------------|
| project             | Project; its tags hold what Feast has no object for                            |
| entity, one key     | Entity                                                                         |
| entity, more keys   | one Entity a key, `entity__key` (Feast 0.67 refuses an entity with two keys)   |
| source              | FileSource over the source's Delta table in the archive; with a topic, a       |
|                     | KafkaSource over that, and the FileSource is `source__archive`                 |
| view                | FeatureView (plain; its transform is ours, not Feast's)                        |
| on-demand view      | OnDemandFeatureView whose function is text that says who computes it; one      |
|                     | without inputs (Feast takes none) is a tag of the project                      |
| state               | a tag of the project: the layout of one (source, entity)                       |
| service             | FeatureService; its tag holds the whole ordered list                           |

Each object's tag `onefold` holds our own record, and that is what we read back. DATE is UNIX_TIMESTAMP there, as Feast
has no date, and DECIMAL is STRING, as its Decimal says nothing of digits. Nothing is pickled: what stands for an
on-demand view's function is source text, and Feast 0.67 reads that before it looks for pickled bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from feast import Entity, FeatureService, FeatureView, Field, FileSource, KafkaSource, Project, RequestSource
from feast.base_feature_view import BaseFeatureView
from feast.data_format import AvroFormat, DeltaFormat, JsonFormat, ProtoFormat, StreamFormat
from feast.feature_view import DUMMY_ENTITY
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.protos.feast.core.Transformation_pb2 import FeatureTransformationV2, UserDefinedFunctionV2
from feast.transformation.pandas_transformation import PandasTransformation
from feast.types import Array, Bool, FeastType, Float64, Int64, String, UnixTimestamp

from onefold.features.definition_records import Key, Record, Records
from onefold.features.rebuilding import TAG, project_tag
from onefold.features.types import DataType, parse_type

_SCALARS = {
    "BOOLEAN": Bool, "BIGINT": Int64, "DOUBLE": Float64, "VARCHAR": String,
    "TIMESTAMP": UnixTimestamp, "DATE": UnixTimestamp,
}  # fmt: skip
_KINDS = {"entity": "entity", "source": "data_source", "view": "view", "on_demand": "view", "service": "service"}
"""What each kind of record is in Feast; a `state` is a tag alone."""


def feast_type(kind: DataType) -> FeastType:
    """Feast's type for ours."""
    if kind.item is not None:
        return Array(feast_type(kind.item))
    return String if kind.is_decimal else _SCALARS[kind.name]


@dataclass(frozen=True, slots=True)
class Changes:
    """What a registry is to take: objects that are new or changed, in order, and (kind, name) of those that go."""

    project: Project
    put: Sequence[Any]
    remove: Sequence[tuple[str, str]]


class FeastObjects:
    """Feast's objects of all records that are wanted, each made once."""

    def __init__(self, wanted: Records, *, project: str, archive: Path, kafka: str) -> None:
        self._wanted, self._name, self._archive, self._kafka = wanted, project, archive, kafka
        self._made: dict[Key, Sequence[Any]] = {}

    def changes(self, *, put: Sequence[Key], remove: Sequence[Record]) -> Changes:
        """The objects of the keys `put`, and the names of those that the records `remove` once made."""
        made = [item for key in put for item in self._objects(key)]
        kept = {(kind_of(o), o.name) for key in self._wanted for o in self._objects(key)} if remove else set()
        gone = [pair for record in remove for pair in _names(record) if pair not in kept]
        gone += [pair for key in put if (pair := self._former_archive(key)) is not None]
        alone = any(_is_joined_by_none(record) for record in self._wanted.values())
        return Changes(self._project(), [*([copy(DUMMY_ENTITY)] if alone else []), *made], gone)

    def _former_archive(self, key: Key) -> tuple[str, str] | None:
        """What a source had while it had a topic."""
        kind, name = key
        behind = f"{name}__archive"
        if kind != "source" or self._wanted[key].body.get("topic") or ("source", behind) in self._wanted:
            return None
        return "data_source", behind

    def _objects(self, key: Key) -> Sequence[Any]:
        if key not in self._made:
            self._made[key] = tuple(self._make(self._wanted[key]))
        return self._made[key]

    def _make(self, record: Record) -> Iterable[Any]:
        match record.kind:
            case "entity":
                return _entities(record)
            case "source":
                return self._sources(record)
            case "view":
                return (self._view(record),)
            case "on_demand" if _has_inputs(record):
                return (self._on_demand(record),)
            case "service":
                return (self._service(record),)
        return ()

    def _project(self) -> Project:
        held = [r for r in self._wanted.values() if r.kind == "state" or (r.kind == "on_demand" and not _has_inputs(r))]
        tags = {project_tag(r): r.to_json() for r in held}
        return Project(name=self._name, description="written by Onefold", tags=tags)

    def _sources(self, record: Record) -> Iterator[Any]:
        """The source itself, and behind a topic the archive."""
        body = record.body
        topic = body.get("topic")
        of_archive = f"{record.name}__archive" if topic else record.name
        archive = FileSource(
            name=of_archive, path=str(self._archive / record.name), file_format=DeltaFormat(),
            timestamp_field=body["event_time"], **_common(record),
        )  # fmt: skip
        if topic:
            yield KafkaSource(
                name=record.name, timestamp_field=body["event_time"], message_format=_message_format(body),
                kafka_bootstrap_servers=self._kafka, topic=topic, batch_source=archive, **_common(record),
            )  # fmt: skip
        yield archive

    def _view(self, record: Record) -> FeatureView:
        entity = self._wanted.get(("entity", record.body["entity"]))
        keys = entity.body["keys"] if entity else ()
        return FeatureView(
            name=record.name,
            schema=_fields([*keys, *((f["name"], f["type"]) for f in record.body["features"])]),
            entities=list(self._objects(entity.key)) if entity else [],
            source=self._objects(("source", record.body["source"]))[0],
            ttl=timedelta(0),
            **_common(record),
        )

    def _on_demand(self, record: Record) -> OnDemandFeatureView:
        name, body = record.name, record.body
        request = [RequestSource(name=f"{name}__request", schema=_fields(body["request"]))] if body["request"] else []
        text = _function(name, body["sql"])
        made = OnDemandFeatureView(
            name=name, schema=_fields((f["name"], f["type"]) for f in body["features"]), mode="pandas",
            sources=[*(self._objects(("view", v))[0] for v in body["views"]), *request],
            feature_transformation=PandasTransformation(udf=_unwritten, udf_string=text), **_common(record),
        )  # fmt: skip
        # Not in mode "python": Feast 0.67 cannot dump a registry that has one.
        function = UserDefinedFunctionV2(name=name, body=b"", body_text=text, mode="pandas")
        # Feast would pickle the function; with its message given, it writes that.
        made._raw_feature_transformation_proto = FeatureTransformationV2(user_defined_function=function)
        return made

    def _service(self, record: Record) -> FeatureService:
        selected: dict[str, list[str]] = {}
        for feature in record.body["features"]:
            selected.setdefault(feature["view"], []).append(feature["name"])
        views = [(self._feature_view(name), names) for name, names in selected.items()]
        return FeatureService(
            name=record.name, features=[view[names] for view, names in views if view is not None], **_common(record)
        )

    def _feature_view(self, name: str) -> BaseFeatureView | None:
        """The view of a name; None for an on-demand view that is a tag."""
        found = self._objects(("view", name) if ("view", name) in self._wanted else ("on_demand", name))
        return found[0] if found else None


def kind_of(made: Any) -> str:
    """What an object is, for a registry."""
    kinds = {Entity: "entity", FeatureView: "view", OnDemandFeatureView: "view", FeatureService: "service"}
    return kinds.get(type(made), "data_source")


def _is_joined_by_none(record: Record) -> bool:
    """Whether Feast joins it over a dummy entity, which must then be there: a view without keys, an on-demand view."""
    return _has_inputs(record) if record.kind == "on_demand" else record.kind == "view" and not record.body["entity"]


def _names(record: Record) -> Iterator[tuple[str, str]]:
    """(kind, name) of what Feast had for a record."""
    if record.kind == "entity":
        yield from (("entity", name) for name in _entity_names(record))
    elif record.kind in _KINDS and (record.kind != "on_demand" or _has_inputs(record)):
        yield _KINDS[record.kind], record.name
    if record.kind == "source" and record.body.get("topic"):
        yield "data_source", f"{record.name}__archive"


def _has_inputs(record: Record) -> bool:
    return bool(record.body.get("views") or record.body.get("request"))


def _entity_names(record: Record) -> list[str]:
    keys = record.body["keys"]
    return [record.name] if len(keys) == 1 else [f"{record.name}__{key}" for key, _ in keys]


def _entities(record: Record) -> list[Entity]:
    return [
        Entity(name=name, join_keys=[key], value_type=_SCALARS[kind].to_value_type(), **_common(record))
        for name, (key, kind) in zip(_entity_names(record), record.body["keys"], strict=True)
    ]


def _fields(columns: Iterable[Sequence[str]]) -> list[Field]:
    return [Field(name=name, dtype=_named_type(kind)) for name, kind in columns]


@cache
def _named_type(name: str) -> FeastType:
    return feast_type(parse_type(name))


def _message_format(body: Any) -> StreamFormat:
    said = body["format"]
    if said["kind"] == "protobuf":
        return ProtoFormat(class_path=said.get("message") or "")
    if said["kind"] == "avro":
        return AvroFormat(schema_json=said.get("schema") or "")
    return JsonFormat(schema_json=", ".join(f"{name} {kind}" for name, kind in body["schema"]))


def _function(name: str, sql: str) -> str:
    """What Feast shows, and reads back, as the function of an on-demand view."""
    told = f"on-demand view {name!r} is computed by Onefold's stores: name them in feature_store.yaml"
    return f"def {name}(inputs):\n    {sql!r}\n    raise NotImplementedError({told!r})\n"


def _unwritten(inputs):  # type: ignore[no-untyped-def] # Feast takes no annotation but pandas' own
    raise NotImplementedError


def _common(record: Record) -> dict[str, Any]:
    tags = {**record.body.get("tags", {}), TAG: record.to_json()}
    return {"description": record.body["description"], "owner": record.body["owner"], "tags": tags}
