"""The slow paths: health, readiness, metrics, and what is served."""

from __future__ import annotations

from typing import Any

import orjson

from onefold.features.types import Field
from onefold.serving.access import CURRENT, Reach
from onefold.serving.catalog import Catalog, Service
from onefold.serving.live import Live
from onefold.serving.messages import JSON, Answer, Request
from onefold.serving.metrics import CONTENT_TYPE, Metrics
from onefold.serving.routes import OPEN, OPERATOR, Route


class Pages:
    """Answers the GET pages. They run where lookups run: a lookup is for one thread at a time."""

    def __init__(self, live: Live, metrics: Metrics) -> None:
        self._live, self._metrics = live, metrics

    def routes(self) -> list[Route]:
        return [
            Route("/health", self.health, OPEN, "Whether the process lives"),
            Route("/ready", self.ready, OPEN, "Whether it can answer: store readable, state live, every model loaded"),
            Route("/metrics", self.metrics, OPERATOR, "Prometheus metrics"),
            Route("/v1/services", self.services, summary="Feature services: what they need and what they give"),
            Route("/v1/models", self.models, summary="Models, loaded or refused, and why"),
        ]

    async def health(self, request: Request) -> Answer:
        return answer({"status": "ok"})

    async def ready(self, request: Request) -> Answer:
        """The details are the operator's; who has no key is told only whether."""
        good, checks = await self._live.readiness()
        told: dict[str, Any] = {"ready": good}
        if CURRENT.get().access.operator:
            told["checks"] = checks
            if self._live.untaken:
                told["not_taken_over"] = self._live.untaken
            if self._live.served_log is not None:
                told["served_log"] = self._live.served_log()
        return answer(told, 200 if good else 503)

    async def metrics(self, request: Request) -> Answer:
        return Answer(self._metrics.text(), content_type=CONTENT_TYPE)

    async def services(self, request: Request) -> Answer:
        return answer({"services": [describe_service(s) for s in CURRENT.get().catalog.services.values()]})

    async def models(self, request: Request) -> Answer:
        return answer({"models": describe_models(CURRENT.get().catalog)})


def answer(content: object, status: int = 200) -> Answer:
    return Answer(orjson.dumps(content), status, JSON)


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


def describe_models(catalog: Catalog | Reach) -> list[dict[str, Any]]:
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
