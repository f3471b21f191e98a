"""The ASGI application: a table of handlers for the paths that are in use, FastAPI behind them for the rest.

FastAPI's router and validation cost more than a whole lookup (0.23 of a Starlette echo, against 0.52), and
importing it is a third of the start. So `Front` answers the known paths itself, and builds `face.build_face`
when something else is first asked for: the documentation, a wrong method, an unknown path.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from onefold.serving.access import Doorman
from onefold.serving.answering import Answering
from onefold.serving.answers import Answers
from onefold.serving.batches import Batches
from onefold.serving.exchange import Exchange, send_answer
from onefold.serving.feast_api import FeastAnswers
from onefold.serving.inference import Inference
from onefold.serving.limits import Gate, Limits
from onefold.serving.live import Live
from onefold.serving.metrics import Metrics
from onefold.serving.pages import Pages
from onefold.serving.quick import Heads
from onefold.serving.routes import OPERATOR, Route, Router, Routes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

    from onefold.serving.background import Background
    from onefold.serving.catalog import Catalog
    from onefold.serving.exchange import Watcher
    from onefold.serving.log_writer import LogWriter

SCORE, LOOKUP, FEAST = "/v1/score/{model}", "/v1/lookup", "/get-online-features"


def create_app(
    catalog: Catalog | Live,
    *,
    log: LogWriter | None = None,
    metrics: Metrics | None = None,
    limits: Limits | None = None,
    doorman: Doorman | None = None,
    watchers: Sequence[Watcher] = (),
    background: Sequence[Background] = (),
    batches: Batches | None = None,
) -> Front:
    """The application for a catalog; its lifespan is that of the log and of what goes on in the background.

    doorman: asks for API keys; without one everybody may ask everything. watchers: told of every exchange. batches: of
    whoever knows better how many requests are under way than their count in here.
    """
    live = catalog if isinstance(catalog, Live) else Live(catalog)
    live.served_log = None if log is None else lambda: log.state
    metrics, limits = metrics or Metrics(), limits or Limits()
    gate = Gate(limits.at_once)
    batches = batches or Batches(lambda: gate.inside)
    answers = Answers(
        live.catalog, log=log, metrics=metrics, max_rows=limits.rows, max_features=limits.features, batches=batches
    )
    answering = Answering(live, limits, gate, doorman or Doorman(), metrics, watchers)
    return Front(live, answering, _routes(live, answers, metrics), [*background, *([log] if log else [])])


def _routes(live: Live, answers: Answers, metrics: Metrics) -> Routes:
    posts = [
        Route(SCORE, answers.score),
        Route(LOOKUP, answers.lookup),
        Route(FEAST, FeastAnswers(answers).get_online_features),
        *(inference := Inference(live, answers)).posts(),
    ]
    gets = [*Pages(live, metrics).routes(), *inference.gets()]
    return {("POST", r.path): r for r in posts} | {("GET", r.path): r for r in gets}


class Front:
    """The application. `face` is FastAPI, made when first asked for, and anew for another catalog.

    heads, answering: the same without ASGI, for plain requests.
    """

    def __init__(self, live: Live, answering: Answering, routes: Routes, background: Sequence[Background]) -> None:
        self._live, self._routes = live, routes
        self._find = Router(routes).find
        self.heads, self.answering = Heads(self._find), answering
        self._background = background
        self._face: tuple[int, FastAPI] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if not await self._known(scope, receive, send):
                await self._other(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _known(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Answer a path of the table; False where it is none."""
        route = self._find(scope["method"], scope["path"])
        if route is not None:
            await self.answering.answer(route, Exchange(scope, receive, send))
        return route is not None

    @property
    def face(self) -> FastAPI:
        generation = self._live.generation
        if self._face is None or self._face[0] != generation:
            # Here, because it takes half a second to import, and a service in use may never need it.
            from onefold.serving.face import build_face

            self._face = generation, build_face(self._live.catalog, self._routes, self._known)
        return self._face[1]

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The documented API, and what is no path: for operators, since its examples name what is served."""
        refused = self.answering.refusal(OPERATOR, "the documentation", scope["headers"])
        if refused is not None:
            await send_answer(send, refused)
            return
        face = await asyncio.to_thread(lambda: self.face)
        await face(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                for part in self._background:
                    part.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                for part in self._background:
                    await asyncio.to_thread(part.close)
                await self._live.catalog.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return
