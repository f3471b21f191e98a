"""The FastAPI application: every path as a documented route, with examples made from what is served.

Its routes answer with the functions that `app.Front` calls directly, so that the two cannot differ.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import fastapi
from fastapi import FastAPI, Response
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from onefold.features.errors import NotFoundError
from onefold.serving.catalog import Catalog
from onefold.serving.errors import ApiError, internal
from onefold.serving.messages import JSON
from onefold.serving.routes import Routes
from onefold.serving.rows import example

logger = logging.getLogger("onefold.serving")
Application = Callable[[Scope, Receive, Send], Awaitable[object]]

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


def build_face(catalog: Catalog, routes: Routes, application: Application) -> FastAPI:
    """All paths as FastAPI routes: /docs, /redoc and /openapi.json beside them.

    application: answers them, with all that it asks of a request.
    """
    face = FastAPI(title="Onefold", summary="Feature lookup and scoring; what it serves, it can prove.")
    face.add_exception_handler(HTTPException, _http_error)
    face.add_exception_handler(Exception, _unforeseen)
    options = dict(documented(catalog))
    for (method, path), route in routes.items():
        given = {"summary": route.summary} | options.get(path, {})
        face.add_api_route(path, _passing_on(application), methods=[method], response_class=Response, **given)
    return face


class _PassedOn(Response):
    """A response that somebody else gives."""

    def __init__(self, application: Application) -> None:
        super().__init__()
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._application(scope, receive, send)


def _passing_on(application: Application) -> Callable[..., Any]:
    async def pass_on() -> Response:
        return _PassedOn(application)

    return pass_on


async def _http_error(request: fastapi.Request, error: Exception) -> Response:
    """Wrong paths and methods, in the shape of all our errors."""
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path[:200]}: {error.detail}"
    code = NotFoundError.code if error.status_code == 404 else "http"
    answer = ApiError(error.status_code, code, message, "see /docs for the paths and their methods")
    return Response(answer.body(), answer.status, headers=error.headers, media_type=JSON)


async def _unforeseen(request: fastapi.Request, error: Exception) -> Response:
    logger.error("%s could not be answered", request.url.path, exc_info=error)
    answer = internal()
    return Response(answer.body(), answer.status, media_type=JSON)


def documented(catalog: Catalog) -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and FastAPI's options of each POST route."""
    service = next((m.service for m in catalog.models.values()), next(iter(catalog.services.values()), None))
    row = service.rows.example() if service else {}
    name = service.name if service else "a_service"
    entities = {f.name: [example(f.type)] for f in service.rows.fields} if service else {}
    yield (
        "/v1/score/{model}",
        _options(
            "Score rows: look up features, evaluate on-demand features, run the model",
            {"row": {"row": row}, "rows": {"rows": [row, row]}},
            {"model": "late", "version": "1", "request_id": "0f3a..", "score": 0.31, "statuses": {"speed": "missing"}},
            path={"name": "model", "in": "path", "required": True, "schema": {"type": "string"}},
        ),
    )
    yield (
        "/v1/lookup",
        _options(
            "Look up the features of a service, by row, in service order",
            {"rows": {"service": name, "rows": [row]}},
            {"service": name, "features": ["a", "b"], "values": [[1, None]], "statuses": [["fresh", "missing"]]},
        ),
    )
    yield (
        "/get-online-features",
        _options(
            "Look up features as Feast does: `feature_service`, or `features` as `view:feature`",
            {"service": {"feature_service": name, "entities": entities, "full_feature_names": False}},
            {
                "metadata": {"feature_names": ["a"]},
                "results": [{"values": [1], "statuses": ["PRESENT"], "event_timestamps": ["2013-12-01T08:30:00Z"]}],
            },
        ),
    )


def _options(
    summary: str, requests: dict[str, Any], answer: dict[str, Any], path: dict[str, Any] | None = None
) -> dict[str, Any]:
    examples = {name: {"value": value} for name, value in requests.items()}
    body = {"required": True, "content": {JSON: {"schema": {"type": "object"}, "examples": examples}}}
    error = {JSON: {"example": ERROR_EXAMPLE}}
    responses: dict[int, Any] = {code: {"description": text, "content": error} for code, text in _ERRORS.items()}
    responses[200] = {"description": "The answer", "content": {JSON: {"example": answer}}}
    extra = {"requestBody": body} | ({"parameters": [path]} if path else {})
    return {"summary": summary, "openapi_extra": extra, "responses": responses}
