"""The catalog that serves now, and how another one takes its place while requests go on.

A request keeps the catalog that it began with; a candidate is loaded, checked and warm before it takes over.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from onefold.features.errors import OnefoldError
from onefold.serving.catalog import Catalog, ServedModel

logger = logging.getLogger("onefold.serving")


class Live:
    """What serves. `generation` grows whenever another catalog takes over; leaving: it is about to end.

    untaken: what was not taken over, by "definitions", "keys" or "model NAME", and why; what served before serves on.
    served_log: how the log of what is served goes on, "ok" or what is wrong; None where there is none.
    catch_up: whether another generation serves than the one given, after a look; None where nobody watches.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog, self.generation, self.leaving = catalog, 0, False
        self.untaken: dict[str, str] = {}
        self.served_log: Callable[[], str] | None = None
        self.catch_up: Callable[[int], Awaitable[bool]] | None = None

    async def readiness(self) -> tuple[bool, dict[str, str]]:
        """Whether everything is ready, and what that rests on."""
        checks = await self.catalog.checks()
        if self.leaving:
            checks["server"] = "it is about to end"
        return all(found == "ok" for found in checks.values()), checks

    def take(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.generation += 1

    def refuse(self, what: str, error: OnefoldError) -> bool:
        """Keep what serves, and say why; whether that is news, which is logged."""
        text = str(error)
        if self.untaken.get(what) == text:
            return False
        self.untaken[what] = text
        logger.error("%s: not taken over, what served before serves on: %s", what, text)
        return True


async def warm(candidate: Catalog, serving: Catalog) -> None:
    """Check a candidate and ask it once for everything; raises where it serves less than what serves now."""
    for name in serving.models.keys() & candidate.refused.keys():
        raise candidate.refused[name]
    for service in candidate.services.values():
        await service.check()
        await service.one(candidate.clock)
    for model in candidate.models.values():
        await warm_model(candidate, model)


async def warm_model(catalog: Catalog, served: ServedModel) -> None:
    """Score once with a model, through its service."""
    served.model.score([await served.service.one(catalog.clock)])
