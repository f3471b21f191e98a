"""Definitions from their records: what a registry holds is enough to have the whole project again, without its code.

A registry keeps a definition's record as JSON in the tag `onefold` of the object that stands for it, and what it has no
object for as a tag `onefold.KIND.NAME` of its project. Fingerprints are those that were applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from onefold.features.definition_records import Record, Records, by_key
from onefold.features.definitions import (
    NO_ENTITY,
    Branch,
    Entity,
    EventSource,
    FeatureSelection,
    FeatureService,
    FeatureView,
    OnDemandView,
    View,
)
from onefold.features.errors import MismatchError, StoreError
from onefold.features.formats import format_of
from onefold.features.project import Project

TAG = "onefold"
"""The tag of an object that holds its record."""


def project_tag(record: Record) -> str:
    """The project's tag for a record that has no object of its own."""
    return f"{TAG}.{record.kind}.{record.name}"


def records_in(tags: Iterable[Mapping[str, str]]) -> Records:
    """The records that tags hold: of a project, of its objects, or of all of them."""
    return by_key(
        Record.from_json(text) for some in tags for tag, text in some.items() if tag == TAG or tag.startswith(TAG + ".")
    )


def project_of(records: Records) -> Project:
    """The project that these records are of.

    Raises StoreError where one names another that is not there, MismatchError where a definition no longer has the
    fingerprint that was applied (by another version of Onefold).
    """
    project = _Rebuilder(records).project()
    for record in records.values():
        if record.kind in ("view", "on_demand"):
            _check(record, project.view(record.name).fingerprint)
        elif record.kind == "service":
            _check(record, project.service(record.name).fingerprint)
    return project


def _check(record: Record, found: str) -> None:
    if record.fingerprint != found:
        raise MismatchError(
            f"the registry holds {record.kind} {record.name!r} with fingerprint {record.fingerprint}, and this Onefold "
            f"gives it {found}; apply the definitions again"
        )


class _Rebuilder:
    """Each definition once, as others refer to it."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._entities = {r.name: _entity(r) for r in self._of("entity")}
        self._sources = {r.name: _source(r) for r in self._of("source")}
        self._views: dict[str, View] = {r.name: self._view(r) for r in self._of("view")}
        self._views |= {r.name: self._on_demand(r) for r in self._of("on_demand")}

    def project(self) -> Project:
        services = [self._service(r) for r in self._of("service")]
        return Project.of(*self._entities.values(), *self._sources.values(), *self._views.values(), *services)

    def _of(self, kind: str) -> list[Record]:
        return [r for r in self._records.values() if r.kind == kind]

    def _view(self, record: Record) -> FeatureView:
        body = record.body
        entity = NO_ENTITY if body["entity"] is None else _found(self._entities, body["entity"], record, "entity")
        return FeatureView(
            name=record.name, source=_found(self._sources, body["source"], record, "source"), entity=entity,
            sql=body["sql"], freshness=body["freshness"], request_row=body.get("request_row", "exclude"),
            resolution=body.get("resolution"), **_said(body),
        )  # fmt: skip

    def _on_demand(self, record: Record) -> OnDemandView:
        below = [_found(self._views, name, record, "view") for name in record.body["views"]]
        return OnDemandView(
            name=record.name, views=[v for v in below if isinstance(v, FeatureView)],
            request=dict(record.body["request"]), sql=record.body["sql"], **_said(record.body),
        )  # fmt: skip

    def _service(self, record: Record) -> FeatureService:
        runs = groupby(record.body["features"], key=lambda f: f["view"])
        selected = [
            FeatureSelection(_found(self._views, view, record, "view"), tuple(f["name"] for f in features))
            for view, features in runs
        ]
        return FeatureService(name=record.name, features=selected, **_said(record.body))


def _found(known: Mapping[str, Any], name: str, record: Record, kind: str) -> Any:
    if name not in known:
        raise StoreError(
            f"the registry holds {record.kind} {record.name!r} over {kind} {name!r}, which is not there; apply again"
        )
    return known[name]


def _entity(record: Record) -> Entity:
    return Entity(name=record.name, keys=dict(record.body["keys"]), **_said(record.body))


def _source(record: Record) -> EventSource:
    body = record.body
    return EventSource(
        name=record.name, schema=dict(body["schema"]), event_time=body["event_time"], event_id=body["event_id"],
        path=body["path"], topic=body["topic"], format=format_of(body["format"]), optional=tuple(body["optional"]),
        drift=body["drift"], branches=tuple(_branch(*b) for b in body["branches"]), skew=body["skew"], **_said(body),
    )  # fmt: skip


def _branch(name: str, path: str | None, columns: Mapping[str, str], values: Mapping[str, object], *how: Any) -> Branch:
    topic, said = how or (None, {"kind": "json"})
    return Branch(name=name, path=path, topic=topic, format=format_of(said), columns=columns, values=values)


def _said(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in ("description", "owner", "tags")}
