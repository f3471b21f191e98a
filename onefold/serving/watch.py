"""The watch over what is served: definitions, models and keys that change on disk take over without a restart.

It looks once a second, on SIGHUP, and when a request meets a state that was built for other definitions. What cannot be
loaded leaves what serves in place; `Live.untaken` says why, as do /ready, the metrics and the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from onefold.features.errors import OnefoldError
from onefold.features.project import Project
from onefold.serving.access import Doorman
from onefold.serving.catalog import Catalog, ServedModel, pointers
from onefold.serving.key_file import KeyFile
from onefold.serving.keys import KeyRing
from onefold.serving.live import Live, warm, warm_model
from onefold.serving.metrics import Metrics

logger = logging.getLogger("onefold.serving")
Mark = tuple[object, ...]
_SOONEST = 0.1
"""Seconds between two looks that requests ask for."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """What is watched. definitions: None where they were given as objects; keys: None where none are asked for."""

    models: Path
    definitions: Path | None = None
    keys: Path | None = None

    def definition_mark(self) -> Mark:
        """Changes when a definition's file does."""
        return () if self.definitions is None else _marks(self.definitions.rglob("*.py"))

    def model_marks(self) -> dict[str, Mark]:
        """By model: changes when another version is current, or the current one's files do."""
        return {pointer.parent.name: _model_mark(pointer) for pointer in pointers(self.models)}

    def key_mark(self) -> Mark:
        return () if self.keys is None else _marks([self.keys])


@dataclass(frozen=True)
class Marks:
    """What the places looked like at one moment: taken before anything is loaded."""

    definitions: Mark
    models: dict[str, Mark]
    keys: Mark

    @classmethod
    def of(cls, places: Places) -> Marks:
        return cls(places.definition_mark(), places.model_marks(), places.key_mark())


class Watch:
    """Looks at places, and puts what is newer into `live` and `doorman`.

    marks: what they looked like before `live` was loaded; load: the definitions, called in a thread of its own;
    interval: seconds between two looks; 0: only when it is told to.
    """

    def __init__(
        self,
        live: Live,
        places: Places,
        marks: Marks,
        *,
        load: Callable[[], Project],
        doorman: Doorman,
        metrics: Metrics,
        interval: float = 1.0,
    ) -> None:
        self._live, self._places, self._load = live, places, load
        self._doorman, self._metrics, self._interval = doorman, metrics, interval
        self._definitions, self._models, self._keys = marks.definitions, dict(marks.models), marks.keys
        self._pending: Catalog | None = None
        self._refused_models: dict[str, Mark] | None = None
        self._lock, self._looked = asyncio.Lock(), 0.0
        self._task: asyncio.Task[None] | None = None
        live.catch_up = self.catch_up

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._interval > 0:
            self._task = self._loop.create_task(self._run())

    def close(self) -> None:
        if self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)

    async def catch_up(self, seen: int) -> bool:
        """Whether another catalog serves than that of generation `seen`, after a look where there was none lately."""
        if self._live.generation == seen and monotonic() - self._looked > _SOONEST:
            await self.look()
        return self._live.generation != seen

    def forget(self) -> None:
        """Take everything for changed at the next look."""
        self._definitions, self._models, self._keys = ("forgotten",), {}, ("forgotten",)
        self._refused_models = None

    async def look(self) -> None:
        """Take over what has changed. What goes wrong is logged, and never raised."""
        async with self._lock:
            self._looked = monotonic()
            for step in (self._look_at_keys, self._look_at_definitions, self._look_at_models):
                try:
                    await step()
                except Exception:  # nothing may end the watch while the service runs
                    logger.exception("the watch over what is served could not finish its look")
            self._metrics.untaken(len(self._live.untaken))
            self._metrics.refresh()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self.look()

    async def _look_at_keys(self) -> None:
        mark = self._places.key_mark()
        if self._places.keys is None or mark == self._keys:
            return
        self._keys = mark
        try:
            self._doorman.replace(KeyRing(KeyFile(self._places.keys).read()))
        except OnefoldError as error:
            self._refused("keys", "keys", error)
        else:
            self._taken("keys", "keys")

    async def _look_at_definitions(self) -> None:
        mark = await asyncio.to_thread(self._places.definition_mark)
        if mark != self._definitions:
            self._definitions, self._pending, self._refused_models = mark, None, None
            try:
                self._pending = await asyncio.to_thread(self._candidate)
            except OnefoldError as error:
                self._refused("definitions", "definitions", error)
        if self._pending is not None:
            await self._take_definitions(self._pending)

    def _candidate(self) -> Catalog:
        serving = self._live.catalog
        return Catalog(self._load(), serving.store, serving.clock)

    async def _take_definitions(self, candidate: Catalog) -> None:
        """Definitions take over with all models, or not at all; until then their state and models are waited for."""
        live, models = self._live, await asyncio.to_thread(self._places.model_marks)
        try:
            for service in candidate.services.values():
                await service.check()
            if models == self._refused_models:
                return
            self._refused_models = models
            candidate.models, candidate.refused = {}, {}
            await asyncio.to_thread(candidate.load_models, self._places.models)
            await warm(candidate, live.catalog)
        except OnefoldError as error:
            self._refused("definitions", "definitions", error)
            return
        live.take(candidate)
        self._pending, self._refused_models, self._models = None, None, models
        for name in [what for what in live.untaken if what.startswith("model ")]:
            del live.untaken[name]
        self._taken("definitions", "definitions")

    async def _look_at_models(self) -> None:
        marks = await asyncio.to_thread(self._places.model_marks)
        if marks == self._models:
            return
        before, self._models = self._models, marks
        catalog = self._live.catalog
        models = {name: served for name, served in catalog.models.items() if name in marks}
        refused = {name: error for name, error in catalog.refused.items() if name in marks}
        for name in before.keys() - marks.keys():
            self._live.untaken.pop(f"model {name}", None)
        for name in [name for name, mark in marks.items() if before.get(name) != mark]:
            try:
                models[name] = await self._load_model(catalog, name)
            except OnefoldError as error:
                self._refused(f"model {name}", "model", error)
            else:
                refused.pop(name, None)
                self._taken(f"model {name}", "model")
        self._live.take(catalog.with_models(models, refused))

    async def _load_model(self, catalog: Catalog, name: str) -> ServedModel:
        served = await asyncio.to_thread(catalog.load_model, self._places.models / name / "current")
        await warm_model(catalog, served)
        return served

    def _taken(self, what: str, kind: str) -> None:
        self._live.untaken.pop(what, None)
        self._metrics.reload(kind, taken=True)
        logger.info("%s: taken over", what)

    def _refused(self, what: str, kind: str, error: OnefoldError) -> None:
        if self._live.refuse(what, error):
            self._metrics.reload(kind, taken=False)


def _model_mark(pointer: Path) -> Mark:
    try:
        version = pointer.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ()
    folder = pointer.parent / Path(version).name
    return (version, *_marks([folder / "contract.json", folder / "model.onnx"]))


def _marks(files: Iterable[Path]) -> Mark:
    """Path, time, size and number of each file that is there."""
    return tuple((str(file), *_mark(file)) for file in sorted(files))


def _mark(file: Path) -> Mark:
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino
