"""A Feast repository as plain data. `python -m onefold.from_feast.reading REPO FILE` writes it to FILE as JSON.

It runs the repository's code, as `feast apply` does, and nothing is applied: aggregations and functions are there that
a registry would have lost.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from onefold.features.errors import InputError

Json = dict[str, Any]


def read_repository(repo: Path) -> Json:
    """What a repository defines. Raises InputError where it is none, or where its code fails."""
    if not (repo / "feature_store.yaml").is_file():
        raise InputError(f"{repo} holds no feature_store.yaml; give the folder of a Feast repository (feature_repo)")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "found.json")
        command = [sys.executable, "-m", __spec__.name, str(repo.resolve()), str(file)]
        path = os.pathsep.join(p for p in sys.path if p)
        ran = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path}
        )
        if ran.returncode:
            last = (ran.stderr.strip().splitlines() or ["nothing was said"])[-1]
            raise InputError(f"the repository {repo} cannot be read by Feast: {last}")
        found: Json = json.loads(file.read_text())
        return found


def _found(repo: Path) -> Json:
    from feast.repo_config import load_repo_config
    from feast.repo_operations import parse_repo

    config = load_repo_config(repo, repo / "feature_store.yaml")
    contents = parse_repo(repo)
    views = [*contents.feature_views, *contents.stream_feature_views]
    sources = {id(s): s for s in (_batch(v) for v in views) if s is not None}
    return {
        "project": contents.projects[0].name if contents.projects else config.project,
        "entities": [_entity(e) for e in contents.entities if e.name != "__dummy"],
        "sources": [_source(s, repo) for s in sources.values()],
        "views": [_view(v) for v in views],
        "on_demand": [_on_demand(v) for v in contents.on_demand_feature_views],
        "services": [_service(s) for s in contents.feature_services],
        "others": [f"label view {v.name}" for v in contents.label_views]
        + [f"permission {p.name}" for p in contents.permissions],
    }


def _said(made: Any) -> Json:
    return {"description": made.description or "", "owner": made.owner or "", "tags": dict(made.tags or {})}


def _entity(entity: Any) -> Json:
    return {"name": entity.name, "key": entity.join_key} | _said(entity)


def _batch(view: Any) -> Any:
    source = getattr(view, "batch_source", None)
    return source if source is None or getattr(source, "batch_source", None) is None else source.batch_source


def _source(source: Any, repo: Path) -> Json:
    found: Json = {
        "name": source.name, "kind": type(source).__name__, "time": source.timestamp_field,
        "created": source.created_timestamp_column or None, "mapping": dict(source.field_mapping or {}),
        "path": getattr(source, "path", None), "columns": None,
        "delta": type(getattr(source, "file_format", None)).__name__ == "DeltaFormat",
    }  # fmt: skip
    if found["kind"] == "FileSource" and not found["delta"]:
        found |= _columns(repo, source.path)
    return found | _said(source)


def _columns(repo: Path, path: str) -> Json:
    """The file's columns with the types that Onefold has for them (None where it has none), or why there are none."""
    import pyarrow.dataset as ds

    try:
        schema = ds.dataset(str(repo / path), format="parquet").schema
    except (OSError, ValueError) as error:
        return {"why": str(error).splitlines()[0]}
    return {"columns": [[f.name, _type(f.type), str(f.type)] for f in schema if not f.name.startswith("_")]}


def _type(kind: Any) -> str | None:
    import pyarrow as pa

    from onefold.features.errors import OnefoldError
    from onefold.offline.arrow import UTC_NAMES, is_list, type_of

    if pa.types.is_integer(kind):
        return "BIGINT"
    if pa.types.is_floating(kind):
        return "DOUBLE"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP" if kind.tz in UTC_NAMES else None
    if pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        return "VARCHAR"
    if is_list(kind):
        item = _type(kind.value_type)
        return None if item is None or item.endswith("[]") else f"{item}[]"
    try:
        return type_of(kind).name
    except OnefoldError:
        return None


def _view(view: Any) -> Json:
    source, transformation = _batch(view), getattr(view, "feature_transformation", None)
    stream = getattr(view, "stream_source", None)
    return {
        "name": view.name, "kind": type(view).__name__, "source": source and source.name,
        "entities": [e for e in view.entities if e != "__dummy"], "ttl": _micros(view.ttl),
        "features": [f.name for f in view.features],
        "topic": getattr(getattr(stream, "kafka_options", None), "topic", None),
        "aggregations": [_aggregation(a) for a in getattr(view, "aggregations", None) or ()],
        "transformed": transformation and str(getattr(transformation.mode, "value", transformation.mode)),
    } | _said(view)  # fmt: skip


def _aggregation(made: Any) -> Json:
    window, slide = _micros(made.time_window), _micros(made.slide_interval)
    name = made.resolved_name(made.time_window)
    return {"name": name, "column": made.column, "function": made.function, "window": window, "slide": slide}


def _micros(length: timedelta | None) -> int:
    return 0 if length is None else length // timedelta(microseconds=1)


def _on_demand(view: Any) -> Json:
    request = {f.name: str(f.dtype) for s in view.source_request_sources.values() for f in s.schema}
    transformation = view.feature_transformation
    return {
        "name": view.name, "mode": str(view.mode), "features": [f.name for f in view.features],
        "views": list(view.source_feature_view_projections), "request": request,
        "text": getattr(transformation, "udf_string", "") or "",
    } | _said(view)  # fmt: skip


def _service(service: Any) -> Json:
    selected = [
        {"view": p.name, "features": [f.name for f in p.features], "alias": p.name_alias, "keys": dict(p.join_key_map)}
        for p in service.feature_view_projections
    ]
    return {"name": service.name, "selected": selected} | _said(service)


if __name__ == "__main__":
    _repo, _file = Path(sys.argv[1]), Path(sys.argv[2])
    os.chdir(_repo)
    sys.path.insert(0, str(_repo))
    _file.write_text(json.dumps(_found(_repo)))
