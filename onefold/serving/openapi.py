"""What the OpenAPI document says of each path: schemas and examples made from what is served."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from onefold.features.types import BIGINT, BOOLEAN, DOUBLE, DataType, Field
from onefold.online.served_row import STATUSES
from onefold.serving.accepting import ARROW, MSGPACK
from onefold.serving.catalog import Catalog, Service
from onefold.serving.messages import JSON
from onefold.serving.rows import TIME, example
from onefold.serving.tensors import datatype, described

Schema = dict[str, Any]
ERROR = {"error": {"code": "input", "message": "row 0: key 'origin' .. is absent", "try": "send 'origin' in every row"}}
_TEXT: Schema = {"type": "string"}
_ERRORS = {
    400: "not JSON",
    401: "there must be an API key, and it is absent, unknown, expired or revoked",
    403: "the API key has no right to this",
    404: "no such service or model; the message names the nearest",
    406: "no form of the answer is accepted",
    413: "too many bytes, rows or features",
    422: "the body does not fit the service; the message names row and column",
    429: "the API key's rate is used up",
    500: "the state of a key cannot be read (code `state`)",
    503: "the store does not answer, state is not built, the model was refused, or too much is asked at once",
    504: "there was no answer within the time limit",
}
_TOLERATE: Schema = {
    "type": "array", "items": {"enum": sorted(STATUSES)}, "description": "Statuses that values may have.",
}  # fmt: skip


def operations(catalog: Catalog) -> dict[str, dict[str, Any]]:
    """FastAPI's options of each path."""
    service = next((m.service for m in catalog.models.values()), next(iter(catalog.services.values()), None))
    found = _posts(catalog, service) if service else {}
    model = next(iter(catalog.models), "a_model")
    for base in ("/v1/score/{model}", "/v2/models/{model}"):
        for rest in ("", "/ready", "/infer"):
            _parameter(found, base + rest, "model", model)
    for rest in ("", "/ready", "/infer"):
        path = f"/v2/models/{{model}}/versions/{{version}}{rest}"
        _parameter(found, path, "model", model)
        _parameter(found, path, "version", "1")
    return found


def _posts(catalog: Catalog, service: Service) -> dict[str, dict[str, Any]]:
    fields, row = service.rows.fields, service.rows.example()
    scored, looked_up = _rows(service), _object({}, extra=True)
    columns = {f.name: [example(f.type)] for f in fields}
    tensors = [{**one, "shape": [1], "data": [row[one["name"]]]} for one in described(fields)]
    refs = [f"{f.view}:{f.ref.partition('.')[2]}" for f in service.plan.features[:2]]
    infer = _operation(
        "Score rows by the Open Inference Protocol: a tensor a key and request column",
        _object(
            {"id": _TEXT, "parameters": _object({}, extra=True), "inputs": _tensors(fields), "outputs": _OUTPUTS},
            ["inputs"],
        ),
        {"inputs": {"inputs": tensors}},
        {
            "model_name": "late",
            "model_version": "1",
            "outputs": [{"name": "score", "datatype": "FP32", "shape": [1], "data": [0.31]}],
        },
    )
    return {
        "/v1/score/{model}": _operation(
            "Score rows: look up features, evaluate on-demand features, run the model",
            {"oneOf": [_object({"row": scored, "tolerate": _TOLERATE}, ["row"]),
                       _object({"rows": _list(scored), "tolerate": _TOLERATE}, ["rows"])]},
            {"row": {"row": row}, "rows": {"rows": [row, row]}},
            {"model": "late", "version": "1", "request_id": "0f3a..", "score": 0.31, "statuses": {"speed": "missing"}},
        ),
        "/v1/lookup": _operation(
            "Look up the features of a service, by row, in service order",
            _object(
                {"service": {"enum": sorted(catalog.services)}, "features": _list(_TEXT), "rows": _list(looked_up),
                 "at": _TEXT, "tolerate": _TOLERATE},
                ["rows"],
            ),
            {"rows": {"service": service.name, "rows": [row]}},
            {"service": service.name, "features": ["a"], "values": [[1]], "statuses": [["fresh"]]},
            forms=(MSGPACK, ARROW),
        ),
        "/get-online-features": _operation(
            "Look up features as Feast does: `feature_service`, or `features` as `view:feature`",
            _object(
                {"feature_service": {"enum": sorted(catalog.services)}, "features": _list({"enum": refs}),
                 "entities": {"type": "object", "additionalProperties": {"type": "array"}},
                 "full_feature_names": {"type": "boolean"}, "at": _TEXT, "tolerate": _TOLERATE},
                ["entities"],
            ),
            {"service": {"feature_service": service.name, "entities": columns, "full_feature_names": False}},
            {
                "metadata": {"feature_names": ["a"]},
                "results": [{"values": [1], "statuses": ["PRESENT"], "event_timestamps": ["2013-12-01T08:30:00Z"]}],
            },
        ),
        "/v2/models/{model}/infer": infer,
        "/v2/models/{model}/versions/{version}/infer": deepcopy(infer),
    }  # fmt: skip


def secured(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the two ways to show an API key, neither of which need be asked for."""
    components = document.setdefault("components", {})
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    document["security"] = [{}, {"bearer": []}, {"header": []}]
    return document


_KINDS: dict[DataType, Schema] = {
    BIGINT: {"type": ["integer", "string", "null"]},
    DOUBLE: {"type": ["number", "string", "null"]},
    BOOLEAN: {"type": ["boolean", "null"]},
}


def _rows(service: Service) -> Schema:
    """A row: every key and request column, and a time if it is not now."""
    kinds = {
        f.name: _KINDS.get(f.type, _list({}) if f.type.item else {"type": ["string", "null"]})
        for f in service.rows.fields
    }
    return _object(kinds | {TIME: {"type": ["string", "null"], "format": "date-time"}}, list(kinds))


def _tensors(fields: Sequence[Field]) -> Schema:
    names = [f.name for f in fields] + [TIME]
    tensor = _object(
        {"name": {"enum": names}, "datatype": {"enum": sorted({datatype(f.type) for f in fields} | {"BYTES"})},
         "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "maxItems": 2},
         "data": {"type": "array"}, "parameters": _object({}, extra=True)},
        ["name", "datatype", "shape", "data"],
    )  # fmt: skip
    return _list(tensor)


_OUTPUTS: Schema = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"name": {"enum": ["score", "request_id", "statuses"]}},
        "required": ["name"],
    },
}


def _object(properties: Schema, required: Sequence[str] = (), *, extra: bool = False) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": extra}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item, "minItems": 1}


def _operation(
    summary: str, schema: Schema, requests: dict[str, Any], answer: dict[str, Any], *, forms: Sequence[str] = ()
) -> dict[str, Any]:
    examples = {name: {"value": value} for name, value in requests.items()}
    content = {JSON: {"example": answer}} | {form: {} for form in forms}
    responses: dict[int, Any] = {
        code: {"description": text, "content": {JSON: {"example": ERROR}}} for code, text in _ERRORS.items()
    }
    return {
        "summary": summary,
        "responses": responses | {200: {"description": "The answer", "content": content}},
        "openapi_extra": {
            "requestBody": {"required": True, "content": {JSON: {"schema": schema, "examples": examples}}}
        },
    }


def _parameter(found: dict[str, dict[str, Any]], path: str, name: str, value: str) -> None:
    """A name in the path of an operation."""
    given = {"name": name, "in": "path", "required": True, "schema": _TEXT, "example": value}
    extra = found.setdefault(path, {}).setdefault("openapi_extra", {})
    extra["parameters"] = [*extra.get("parameters", []), given]
