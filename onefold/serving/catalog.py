"""What one server serves: feature services, and the models that fit them. Resolved once, when it starts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from onefold.features.errors import DefinitionError, InputError, ModelError, NotFoundError, OnefoldError, nearest
from onefold.features.plans import ServicePlan
from onefold.features.project import Project
from onefold.features.protocols import OnlineStore
from onefold.online.async_reads import async_reads
from onefold.online.lookup import AsyncLookup
from onefold.serving.documents import Document
from onefold.serving.feast_document import FeastDocument
from onefold.serving.rows import RowReader
from onefold.serving.score_document import ScoreDocument

if TYPE_CHECKING:
    from onefold.serving.scorer import Model

Clock = Callable[[], int]
"""Microseconds since the epoch, UTC."""
MAX_SELECTIONS = 64


@dataclass(frozen=True, slots=True)
class Service:
    """A feature service: its plan, the reader of its requests, the lookup over the store, the writer of its answers.

    feast: the writer of answers in Feast's shape. logged: whether what it serves goes to the served log (named services
    do, free selections do not).
    """

    plan: ServicePlan
    rows: RowReader
    lookup: AsyncLookup
    document: Document
    feast: FeastDocument
    logged: bool = True

    @property
    def name(self) -> str:
        return self.plan.name

    async def check(self) -> None:
        """Raise unless the store holds, whole, the state that is needed."""
        await self.lookup.check()

    async def one(self, clock: Clock) -> Sequence[object]:
        """The values of a made-up row."""
        (answer,) = await self.lookup.read(*self.rows.read([self.rows.example()], clock, limit=1))
        return answer.values


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A loaded model, with the service that feeds it."""

    model: Model
    service: Service
    document: ScoreDocument


@dataclass
class Catalog:
    """Services and models by name. `refused`: why a model that is there is not served."""

    project: Project
    store: OnlineStore
    clock: Clock
    services: dict[str, Service] = field(default_factory=dict)
    models: dict[str, ServedModel] = field(default_factory=dict)
    refused: dict[str, OnefoldError] = field(default_factory=dict)
    _selections: OrderedDict[tuple[str, ...], Service] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        for name in self.project.services if not self.services else ():
            self.services[name] = self._service(self.project.service(name))

    async def aclose(self) -> None:
        """Give up the connections that an event loop reads the store by; the store is whose opened it."""
        await async_reads(self.store).aclose()

    def _service(self, plan: ServicePlan, *, logged: bool = True) -> Service:
        lookup, document = AsyncLookup(async_reads(self.store), plan), Document(plan)
        return Service(plan, RowReader(plan), lookup, document, FeastDocument(plan, document.plain), logged)

    def service(self, name: object) -> Service:
        found = self.services.get(name) if isinstance(name, str) else None
        if found is None:
            raise NotFoundError(f"service {str(name)[:100]!r} is not served{nearest(str(name)[:100], self.services)}")
        return found

    def model(self, name: str) -> ServedModel:
        """A model that scores; NotFoundError, or what its loading said."""
        found = self.models.get(name)
        if found is not None:
            return found
        if name in self.refused:
            raise self.refused[name]
        raise NotFoundError(f"model {name[:100]!r} is not served{nearest(name[:100], [*self.models, *self.refused])}")

    def selection(self, refs: Sequence[str]) -> Service:
        """An unnamed service of `view:feature` references; the last few are kept compiled."""
        key = tuple(refs)
        found = self._selections.pop(key, None)
        if found is None:
            found = self._service(self._selected(refs), logged=False)
        self._selections[key] = found
        if len(self._selections) > MAX_SELECTIONS:
            self._selections.popitem(last=False)
        return found

    def _selected(self, refs: Sequence[str]) -> ServicePlan:
        try:
            return self.project.select(refs, full_names=True)
        except DefinitionError as error:  # it is the request's, not ours
            raise InputError(f"these features do not go together: {error.message}; list each feature once") from error

    def load_models(self, folder: Path) -> None:
        """Load the current version of each model in a folder; what does not fit is kept in `refused`."""
        for pointer in pointers(folder):
            name = pointer.parent.name
            try:
                self.models[name] = self.load_model(pointer)
                self.refused.pop(name, None)
            except OnefoldError as error:
                self.refused[name] = error

    def load_model(self, pointer: Path) -> ServedModel:
        """The model whose current version a file names, scored on its golden rows; raises what does not fit."""
        # Here, because ONNX Runtime takes 0.2 s to import, and a server of features alone needs none of it.
        from onefold.serving.scorer import Model, read_contract

        version = pointer.read_text(encoding="utf-8", errors="replace").strip()
        folder = pointer.parent / version
        if not version or Path(version).name != version or not folder.is_dir():
            raise ModelError(f"model {folder.parent.name!r}: {pointer} names version {version!r}, which is not there")
        service = self.service(read_contract(folder).service)
        model = Model.load(folder, service.plan)
        return ServedModel(model, service, ScoreDocument(model, service.plan))

    def with_models(self, models: dict[str, ServedModel], refused: dict[str, OnefoldError]) -> Catalog:
        """The same services, with other models."""
        return replace(self, models=models, refused=refused, services=dict(self.services))

    async def checks(self) -> dict[str, str]:
        """What readiness rests on, each with "ok" or what is wrong."""
        found = {f"service {name}": await _checked(service) for name, service in self.services.items()}
        found |= {f"model {name}": "ok" for name in self.models}
        return found | {f"model {name}": str(error) for name, error in self.refused.items()}


def pointers(folder: Path) -> list[Path]:
    """The files that name the current version of each model in a folder."""
    return sorted(folder.glob("*/current"))


async def _checked(service: Service) -> str:
    try:
        await service.check()
    except OnefoldError as error:
        return str(error)
    return "ok"
