"""The FastAPI application: every path as a documented route, with examples made from what is served.

Its routes answer with the functions that `app.Front` calls directly, so that the two cannot differ.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import fastapi
from fastapi import FastAPI, Response
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from onefold.features.errors import NotFoundError
from onefold.serving.catalog import Catalog
from onefold.serving.errors import ApiError, internal
from onefold.serving.messages import JSON
from onefold.serving.openapi import operations, secured
from onefold.serving.routes import Routes

logger = logging.getLogger("onefold.serving")
Application = Callable[[Scope, Receive, Send], Awaitable[object]]


def build_face(catalog: Catalog, routes: Routes, application: Application) -> FastAPI:
    """All paths as FastAPI routes: /docs, /redoc and /openapi.json beside them.

    application: answers them, with all that it asks of a request.
    """
    face = FastAPI(title="Onefold", summary="Feature lookup and scoring; what it serves, it can prove.")
    face.add_exception_handler(HTTPException, _http_error)
    face.add_exception_handler(Exception, _unforeseen)
    options = operations(catalog)
    for (method, path), route in routes.items():
        given = {"summary": route.summary} | options.get(path, {})
        face.add_api_route(path, _passing_on(application), methods=[method], response_class=Response, **given)
    secured(face.openapi())  # which FastAPI keeps
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
