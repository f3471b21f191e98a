"""The HTTP face: FastAPI for documentation and slow paths, plain ASGI in front of it for the hot ones.

FastAPI's router and validation cost more than a whole lookup (0.23 of a Starlette echo, against 0.52), so
`Front` takes the three hot paths itself. The same three are FastAPI routes too, with the same answers
behind them, for /docs, for wrong methods and for whoever mounts `Front.face` elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from onefold.features.errors import NotFoundError
from onefold.serving.answers import Answers
from onefold.serving.errors import ApiError, internal
from onefold.serving.feast_api import FeastAnswers
from onefold.serving.metrics import CONTENT_TYPE, Metrics
from onefold.serving.pages import add_pages, documented

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from onefold.serving.catalog import Catalog
    from onefold.serving.log_writer import LogWriter

logger = logging.getLogger("onefold.serving")
Handler = Callable[[bytes], bytes]
SCORE, LOOKUP, FEAST = "/v1/score/", "/v1/lookup", "/get-online-features"
MAX_BODY = 4 * 1024 * 1024


def create_app(
    catalog: Catalog,
    *,
    log: LogWriter | None = None,
    metrics: Metrics | None = None,
    max_body: int = MAX_BODY,
    max_rows: int = 5_000,
) -> Front:
    """The application for a catalog; it starts the log with its lifespan, and closes it behind the last answer.

    max_body: bytes of a request; max_rows: rows of one.
    """
    metrics = metrics or Metrics()
    answers = Answers(catalog, log=log, metrics=metrics, max_rows=max_rows)
    routes: dict[str, Handler] = {
        LOOKUP: answers.lookup,
        FEAST: FeastAnswers(answers).get_online_features,
    }
    front = Front(routes, answers.score, metrics, max_body)
    front.face = _face(catalog, front, log)
    return front


class Front:
    """The ASGI application: POSTs to hot paths are answered here, all else by `face`."""

    face: ASGIApp

    def __init__(
        self, routes: dict[str, Handler], score: Callable[[str, bytes], bytes], metrics: Metrics, max_body: int
    ) -> None:
        self.metrics = metrics
        self._routes, self._score, self._max_body = routes, score, max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            path: str = scope["path"]
            if path in self._routes or (path.startswith(SCORE) and path.count("/") == 3):
                await self._hot(path, scope, receive, send)
                return
        await self.face(scope, receive, send)

    async def _hot(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        start = perf_counter()
        try:
            body = await read_body(scope, receive, self._max_body)
        except ApiError as error:
            status, content = error.status, error.body()
        else:
            if body is None:
                return
            status, content = self.answer(path, body)
        await _send(send, status, content)
        self.metrics.request(path if path in self._routes else "/v1/score/{model}", status, perf_counter() - start)

    def answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body for a hot path; never raises."""
        try:
            handler = self._routes.get(path)
            return 200, handler(body) if handler else self._score(path[len(SCORE) :], body)
        except ApiError as error:
            return error.status, error.body()
        except Exception:  # an answer never holds a traceback, whatever went wrong
            logger.exception("%s could not be answered", path)
            unforeseen = internal()
            return unforeseen.status, unforeseen.body()


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes | None:
    """The whole body, or ApiError 413 as soon as it is too large; None where the client has gone."""
    too_large = ApiError(413, "too-large", f"the body is larger than {limit} bytes", "send fewer rows a request")
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise too_large
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise too_large
        parts.append(part)
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _send(send: Send, status: int, content: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def _face(catalog: Catalog, front: Front, log: LogWriter | None) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if log is not None:
            log.start()
        yield
        if log is not None:
            await asyncio.to_thread(log.close)

    face = FastAPI(
        title="Onefold", lifespan=lifespan, summary="Feature lookup and scoring; what it serves, it can prove."
    )
    face.add_exception_handler(HTTPException, _http_error)
    face.add_exception_handler(Exception, _unforeseen)
    add_pages(face, catalog, front.metrics.text, CONTENT_TYPE)
    for path, name, options in documented(catalog):
        face.add_api_route(path, _passing_on(front), methods=["POST"], name=name, **options)
    return face


def _passing_on(front: Front) -> Callable[..., Any]:
    async def answer(request: Request) -> Response:
        status, content = front.answer(request.url.path, await request.body())
        return Response(content, status, media_type="application/json")

    return answer


async def _http_error(request: Request, error: Exception) -> Response:
    """Wrong paths and methods, in the shape of all our errors."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = str(getattr(error, "detail", error))
    body = ApiError(
        status, NotFoundError.code if status == 404 else "http",
        f"{request.method} {request.url.path[:200]}: {detail}", "see /docs for the paths and their methods",
    ).body()  # fmt: skip
    headers: MutableMapping[str, str] = dict(getattr(error, "headers", None) or {})
    return Response(body, status, headers=headers, media_type="application/json")


async def _unforeseen(request: Request, error: Exception) -> Response:
    logger.error("%s could not be answered", request.url.path, exc_info=error)
    answer = internal()
    return Response(answer.body(), answer.status, media_type="application/json")
