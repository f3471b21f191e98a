"""The slow paths: health, readiness, metrics, what is served, and the examples that /docs shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from fastapi import FastAPI, Response

from onefold.features.types import Field
from onefold.serving.catalog import Catalog, Service
from onefold.serving.rows import EXAMPLES

ERROR_EXAMPLE = {
    "error": {"code": "input", "message": "row 0: key 'origin' .. is absent", "try": "send 'origin' in every row"}
}
_ERRORS = {
    400: "not JSON",
    404: "no such service or model; the message names the nearest",
    413: "too many bytes or rows",
    422: "the body does not fit the service; the message names row and column",
    500: "the state of a key cannot be read (code `state`)",
    503: "state is not built, or the model was refused",
}


def add_pages(face: FastAPI, catalog: Catalog, metrics: Callable[[], bytes], content_type: str) -> None:
    """The GET routes. All run on the event loop: a lookup is for one thread at a time."""

    @face.get("/health", summary="Whether the process lives")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @face.get("/ready", summary="Whether it can answer: store readable, state live, every model loaded")
    async def ready(response: Response) -> dict[str, Any]:
        checks = catalog.checks()
        good = all(found == "ok" for found in checks.values())
        response.status_code = 200 if good else 503
        return {"ready": good, "checks": checks}

    @face.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def prometheus() -> Response:
        return Response(metrics(), headers={"content-type": content_type})

    @face.get("/v1/services", summary="Feature services: what they need and what they give")
    async def services() -> dict[str, Any]:
        return {"services": [describe_service(s) for s in catalog.services.values()]}

    @face.get("/v1/models", summary="Models, loaded or refused, and why")
    async def models() -> dict[str, Any]:
        return {"models": describe_models(catalog)}


def describe_service(service: Service) -> dict[str, Any]:
    plan = service.plan
    return {
        "name": plan.name,
        "fingerprint": plan.fingerprint,
        "keys": _columns(plan.keys),
        "request": _columns(plan.request),
        "features": [
            {"name": f.name, "view": f.view, "type": f.type.name, "fingerprint": f.fingerprint, "inexact": f.inexact}
            for f in plan.features
        ],
    }


def _columns(fields: tuple[Field, ...]) -> list[dict[str, str]]:
    return [{"name": f.name, "type": f.type.name} for f in fields]


def describe_models(catalog: Catalog) -> list[dict[str, Any]]:
    loaded = [
        {
            "name": name,
            "state": "loaded",
            "version": found.model.version,
            "service": found.service.name,
            "fingerprint": found.service.plan.fingerprint,
            "libraries": dict(found.model.contract.libraries),
        }
        for name, found in catalog.models.items()
    ]
    return loaded + [{"name": name, "state": "refused", "reason": str(e)} for name, e in catalog.refused.items()]


def documented(catalog: Catalog) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, name and FastAPI's options of each hot route, with examples made from what is served."""
    service = next((m.service for m in catalog.models.values()), next(iter(catalog.services.values()), None))
    row = service.rows.example() if service else {}
    name = service.name if service else "a_service"
    fields = service.rows.fields if service else ()
    entities = {f.name: [EXAMPLES[f.type.name]] for f in fields}
    yield (
        "/v1/score/{model}",
        "Score rows",
        _options(
            "Look up features, evaluate on-demand features, run the model.",
            {"row": {"row": row}, "rows": {"rows": [row, row]}},
            {
                "model": "late",
                "version": "1",
                "request_id": "0f3a..",
                "score": 0.31,
                "statuses": {"plane_flights": "missing"},
            },
        ),
    )
    yield (
        "/v1/lookup",
        "Look up features",
        _options(
            "Features of a service, by row, in service order.",
            {"rows": {"service": name, "rows": [row]}},
            {"service": name, "features": ["a", "b"], "values": [[1, None]], "statuses": [["fresh", "missing"]]},
        ),
    )
    yield (
        "/get-online-features",
        "Look up features as Feast does",
        _options(
            "Feast's request and answer: `feature_service`, or `features` as `view:feature`.",
            {"service": {"feature_service": name, "entities": entities, "full_feature_names": False}},
            {
                "metadata": {"feature_names": ["a"]},
                "results": [{"values": [1], "statuses": ["PRESENT"], "event_timestamps": ["2013-12-01T08:30:00Z"]}],
            },
        ),
    )


def _options(summary: str, requests: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    examples = {name: {"value": value} for name, value in requests.items()}
    body = {"required": True, "content": {"application/json": {"schema": {"type": "object"}, "examples": examples}}}
    error = {"application/json": {"example": ERROR_EXAMPLE}}
    responses: dict[int, Any] = {code: {"description": text, "content": error} for code, text in _ERRORS.items()}
    responses[200] = {"description": "The answer", "content": {"application/json": {"example": answer}}}
    return {"summary": summary, "openapi_extra": {"requestBody": body}, "responses": responses}
