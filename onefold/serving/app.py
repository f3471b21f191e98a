"""The ASGI application: plain functions for the paths that are in use, FastAPI behind them for the rest.

FastAPI's router and validation cost more than a whole lookup (0.23 of a Starlette echo, against 0.52), and
importing it is a third of the start. So `Front` answers the known paths itself, and builds `face.build_face`
when something else is first asked for: the documentation, a wrong method, an unknown path.
"""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any

from onefold.serving.answers import Answers
from onefold.serving.errors import ApiError, internal
from onefold.serving.feast_api import FeastAnswers
from onefold.serving.messages import Answer, Handler, Request
from onefold.serving.metrics import Metrics
from onefold.serving.pages import Page, pages

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

    from onefold.serving.catalog import Catalog
    from onefold.serving.log_writer import LogWriter

logger = logging.getLogger("onefold.serving")
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
    handlers: dict[str, Handler] = {
        LOOKUP: answers.lookup,
        FEAST: FeastAnswers(answers).get_online_features,
    }
    return Front(catalog, handlers, answers.score, metrics, log, max_body)


class Front:
    """The application. `answer` and the pages are plain functions; `face` is FastAPI, made when first asked for."""

    def __init__(
        self,
        catalog: Catalog,
        handlers: dict[str, Handler],
        score: Handler,
        metrics: Metrics,
        log: LogWriter | None,
        max_body: int,
    ) -> None:
        self._catalog, self._handlers, self._score = catalog, handlers, score
        self._metrics, self._log, self._max_body = metrics, log, max_body
        self._pages: dict[str, Page] = pages(catalog, metrics)
        self._face: FastAPI | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] == "http":
            method, path = scope["method"], scope["path"]
            if method == "POST" and (path in self._handlers or is_score(path)):
                await self._post(path, scope, receive, send)
                return
            if method in ("GET", "HEAD") and path in self._pages:
                await _send(send, self._show(path))
                return
        if self._face is None:
            await asyncio.to_thread(lambda: self.face)
        await self.face(scope, receive, send)

    @property
    def face(self) -> FastAPI:
        if self._face is None:
            # Here, because it takes half a second to import, and a service in use may never need it.
            from onefold.serving.face import build_face

            self._face = build_face(self._catalog, self.answer, self._pages)
        return self._face

    async def answer(self, request: Request) -> Answer:
        """The answer to a POST to one of the known paths; never raises."""
        try:
            return await self._handlers.get(request.path, self._score)(request)
        except ApiError as error:
            return error.answer()
        except Exception:  # an answer never holds a traceback, whatever went wrong
            return _unforeseen(request.path)

    def _show(self, path: str) -> Answer:
        try:
            return self._pages[path]()
        except Exception:  # the same for a page
            return _unforeseen(path)

    async def _post(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        start = perf_counter()
        try:
            body = await read_body(scope, receive, self._max_body)
        except ApiError as error:
            answer = error.answer()
        else:
            if body is None:
                return
            answer = await self.answer(Request(path, body, scope["headers"]))
        await _send(send, answer)
        self._metrics.request("/v1/score/{model}" if is_score(path) else path, answer.status, perf_counter() - start)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                if self._log is not None:
                    self._log.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                if self._log is not None:
                    await asyncio.to_thread(self._log.close)
                await send({"type": "lifespan.shutdown.complete"})
                return


def is_score(path: str) -> bool:
    """Whether a path is `/v1/score/{model}`."""
    return path.startswith(SCORE) and path.count("/") == 3


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes | None:
    """The whole body, or ApiError 413 as soon as it is too large; None where the client has gone."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise _too_large(limit)
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message: Any = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit: int) -> ApiError:
    return ApiError(413, "too-large", f"the body is larger than {limit} bytes", "send fewer rows a request")


def _unforeseen(path: str) -> Answer:
    logger.exception("%s could not be answered", path)
    return internal().answer()


async def _send(send: Send, answer: Answer) -> None:
    headers = [
        (b"content-type", answer.content_type.encode()),
        (b"content-length", str(len(answer.body)).encode()),
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
