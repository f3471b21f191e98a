"""The slow paths: health, readiness, metrics, and what is served."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from onefold.features.types import Field
from onefold.serving.catalog import Catalog, Service
from onefold.serving.messages import JSON, Answer
from onefold.serving.metrics import CONTENT_TYPE, Metrics

Page = Callable[[], Answer]


def pages(catalog: Catalog, metrics: Metrics) -> dict[str, Page]:
    """The GET pages by path. They run where lookups run: a lookup is for one thread at a time."""

    def ready() -> Answer:
        checks = catalog.checks()
        good = all(found == "ok" for found in checks.values())
        return _json({"ready": good, "checks": checks}, 200 if good else 503)

    return {
        "/health": lambda: _json({"status": "ok"}),
        "/ready": ready,
        "/metrics": lambda: Answer(metrics.text(), content_type=CONTENT_TYPE),
        "/v1/services": lambda: _json({"services": [describe_service(s) for s in catalog.services.values()]}),
        "/v1/models": lambda: _json({"models": describe_models(catalog)}),
    }


SUMMARIES = {
    "/health": "Whether the process lives",
    "/ready": "Whether it can answer: store readable, state live, every model loaded",
    "/metrics": "Prometheus metrics",
    "/v1/services": "Feature services: what they need and what they give",
    "/v1/models": "Models, loaded or refused, and why",
}


def _json(content: object, status: int = 200) -> Answer:
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
