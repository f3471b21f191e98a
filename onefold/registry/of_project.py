"""Records of a project's definitions."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from onefold.features import ir
from onefold.features.definition_records import Record, Records, by_key
from onefold.features.definitions import Branch, Entity, EventSource, FeatureService, View
from onefold.features.formats import format_json
from onefold.features.layout import Layout
from onefold.features.plans import ServicePlan
from onefold.features.project import Project
from onefold.features.types import Field
from onefold.features.views import TypedFeature, TypedOnDemand, TypedView


def records_of(project: Project) -> Records:
    """All definitions of a project, and the states that they need."""
    return by_key(_records(project))


def _records(project: Project) -> Iterator[Record]:
    yield from (_entity(e) for e in project.entities.values())
    yield from (_source(s) for s in project.sources.values())
    yield from (_state(layout) for layout in project.layouts.values())
    yield from (_view(v) for v in project.views.values())
    yield from (_on_demand(v) for v in project.on_demand.values())
    yield from (_service(s, project.service(s.name)) for s in project.services.values())


def _entity(entity: Entity) -> Record:
    return Record("entity", entity.name, {"keys": _columns(entity.key_fields), **_said(entity)})


def _source(source: EventSource) -> Record:
    body = {
        "schema": _columns(source.fields),
        "event_time": source.event_time,
        "event_id": source.event_id,
        "path": source.path,
        "topic": source.topic,
        "format": format_json(source.format),
        "branches": [_branch(b) for b in source.branches],
        "optional": list(source.optional),
        "drift": source.drift,
        "skew": source.skew,
    }
    return Record("source", source.name, body | _said(source))


def _branch(branch: Branch) -> list[Any]:
    how = [] if branch.topic is None else [branch.topic, format_json(branch.format)]
    return [branch.name, branch.path, dict(branch.columns), dict(branch.values), *how]


def _state(layout: Layout) -> Record:
    body = {
        "source": layout.source.name,
        "entity": layout.entity.name,
        "columns": len(layout.columns),
        "retention_us": layout.retention,
        "fingerprint": layout.fingerprint,
    }
    return Record("state", f"{layout.source.name}.{layout.entity.name}", body)


def _view(view: TypedView) -> Record:
    definition = view.definition
    windows = {a.window for f in view.features for a in ir.aggregates(f.expr)}
    body = {
        "source": definition.source.name,
        "entity": definition.entity.name if definition.entity.keys else None,
        "sql": view.sql,
        "windows_us": sorted(([w.lower, w.upper, *(w.rows or ())] for w in windows), key=_by_length),
        "freshness": definition.freshness,
        "features": _features(view.features),
        "fingerprint": view.fingerprint,
    }
    if definition.resolution is not None:
        body["resolution"] = definition.resolution
    if definition.request_row != "exclude":
        body["request_row"] = definition.request_row
    return Record("view", view.name, body | _said(definition))


def _by_length(window: list[int | None]) -> tuple[float, str]:
    """Lifetimes and frames of rows last."""
    return math.inf if window[0] is None else window[0], json.dumps(window)


def _on_demand(view: TypedOnDemand) -> Record:
    definition = view.definition
    body = {
        "views": [v.name for v in definition.views],
        "request": _columns(definition.request_fields),
        "sql": view.sql,
        "features": _features(view.features),
        "fingerprint": view.fingerprint,
    }
    return Record("on_demand", view.name, body | _said(definition))


def _service(service: FeatureService, plan: ServicePlan) -> Record:
    features = [
        {"name": f.name, "view": f.view, "type": f.type.name, "fingerprint": f.fingerprint, "inexact": f.inexact}
        for f in plan.features
    ]
    body = {
        "features": features,
        "keys": _columns(plan.keys),
        "request": _columns(plan.request),
        "fingerprint": plan.fingerprint,
    }
    return Record("service", service.name, body | _said(service))


def _said(definition: Entity | EventSource | View | FeatureService) -> dict[str, Any]:
    return {"description": definition.description, "owner": definition.owner, "tags": dict(definition.tags)}


def _columns(fields: Iterable[Field]) -> list[list[str]]:
    return [[f.name, f.type.name] for f in fields]


def _features(features: Iterable[TypedFeature]) -> list[dict[str, Any]]:
    return [{"name": f.name, "type": f.type.name, "fingerprint": f.fingerprint, "inexact": f.inexact} for f in features]
