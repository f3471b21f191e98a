"""Bodies in, bodies out: lookups and scores, without a word of HTTP but the errors.

Every handler parses, looks up, scores, hands records to the log, and writes the answer. What goes wrong is an
ApiError.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from onefold.features.errors import OnefoldError, StateError
from onefold.features.timing import note
from onefold.features.values import parse_timestamp, shown
from onefold.online.served_row import ERROR
from onefold.online.tolerance import USUAL, Tolerated, check, tolerated
from onefold.serving.accepting import ARROW, MSGPACK, form
from onefold.serving.access import CURRENT, Reach
from onefold.serving.batches import Batches
from onefold.serving.catalog import Catalog, ServedModel, Service
from onefold.serving.documents import Served
from onefold.serving.errors import ApiError, invalid, translate
from onefold.serving.ids import request_ids
from onefold.serving.messages import Answer, Request
from onefold.serving.metrics import Metrics
from onefold.serving.recording import Recorder
from onefold.serving.rows import parse_object

if TYPE_CHECKING:
    from onefold.serving.log_writer import LogWriter

LOOKUP_FIELDS = ("service", "features", "rows", "at", "tolerate")
SCORE_FIELDS = ("row", "rows", "tolerate")
_Asked = TypeVar("_Asked")
_Found = TypeVar("_Found")


class Answers:
    """Answers requests from a catalog. `log`: where what was served goes, None for nowhere."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        log: LogWriter | None,
        metrics: Metrics,
        max_rows: int = 5_000,
        max_features: int = 1_000,
        batches: Batches | None = None,
    ) -> None:
        self._catalog, self.metrics, self.max_rows, self.max_features = catalog, metrics, max_rows, max_features
        self.recorder = Recorder(log, catalog.clock)
        self._batches = batches or Batches()

    @property
    def catalog(self) -> Catalog | Reach:
        """What the request at hand may reach; outside of a server, all there is."""
        current = CURRENT.get(None)
        return self._catalog if current is None else current.catalog

    async def lookup(self, request: Request) -> Answer:
        """`POST /v1/lookup`: {"service" or "features", "rows"} to columns of values and statuses in service order."""
        kind = form(request.accept)
        data = parse_object(request.body, LOOKUP_FIELDS)
        service = self.chosen(data.get("service"), data.get("features"), names="`service`")
        served = await self.looked_up(service, data.get("rows"), data)
        if kind == MSGPACK:
            return Answer(service.document.msgpack(served), content_type=MSGPACK)
        if kind == ARROW:
            return Answer(await asyncio.to_thread(_arrow, served), content_type=ARROW)
        return Answer(service.document.json(served))

    async def looked_up(self, service: Service, rows: object, data: Mapping[str, object]) -> Served:
        """Rows that were looked up, as `at` and `tolerate` of a request want it, and written to the log."""
        allowed = self._named(tolerated, data["tolerate"]) if "tolerate" in data else USUAL
        served = await self.read(service, rows, at=_moment(data.get("at")), allowed=allowed)
        self.recorder.served(served)
        return served

    async def score(self, request: Request) -> Answer:
        """`POST /v1/score/{model}`: {"row"} or {"rows"} to a score or scores."""
        found = self._named(self.catalog.model, request.path.rpartition("/")[2])
        data = parse_object(request.body, SCORE_FIELDS)
        allowed = self._named(tolerated, data.pop("tolerate")) if "tolerate" in data else USUAL
        if len(data) != 1:
            raise invalid("a body holds `row` or `rows`, one of the two", 'send {"row": {..}} or {"rows": [{..}]}')
        single = "row" in data
        served, scores = await self.scored(found, [data["row"]] if single else data["rows"], allowed=allowed)
        return Answer(found.document.json(served, scores, single=single))

    def chosen(self, name: object, refs: object, *, names: str) -> Service:
        """The service of that name, or the selection of those features: one of the two is given."""
        if bool(name) == bool(refs):
            raise invalid(f"a request names {names} or `features`, one of the two", "/v1/services lists what there is")
        if name:
            return self._named(self.catalog.service, name)
        if not isinstance(refs, list) or not all(isinstance(r, str) for r in refs):
            raise invalid(f"`features` is {shown(refs)}", 'send a list of texts, as ["view:feature"]')
        if len(refs) > self.max_features:
            raise ApiError(413, "too-large", f"{len(refs)} features were asked", f"ask for {self.max_features} at most")
        return self._named(self.catalog.selection, refs)

    async def read(
        self,
        service: Service,
        rows: object,
        *,
        model: ServedModel | None = None,
        at: int | None = None,
        allowed: Tolerated = USUAL,
    ) -> Served:
        """Parse rows and look them up; rows that fail are logged with their error, and fail the request.

        at: the time of rows that have none of their own, in microseconds; now where it is None.
        """
        clock = self._catalog.clock if at is None else lambda: at
        values, times = service.rows.read(rows, clock, limit=self.max_rows)
        start = perf_counter()
        try:
            answers = await service.lookup.read(values, times)
        except OnefoldError as error:
            self.recorder.failed(service, model, [(values[i], t, None, str(error)) for i, t in enumerate(times)])
            raise translate(error) from error
        took = perf_counter() - start
        found, statuses, _, errors = zip(*answers, strict=True)
        self.metrics.lookup(service.name, statuses, took, value_errors=service.lookup.new_value_errors())
        served = Served(service, values, times, answers, request_ids(len(times)), found, statuses, errors)
        if ERROR not in allowed and any(errors):
            raise self._refused(served, model)
        if allowed is not USUAL:
            self._named(partial(check, service.plan, answers), allowed)
        return served

    def _refused(self, served: Served, model: ServedModel | None) -> ApiError:
        """What is said of rows with errors."""
        whys = {i: "; ".join(errors) for i, errors in enumerate(served.errors) if errors}
        told = [(served.rows[i], served.times[i], served.answers[i], why) for i, why in whys.items()]
        self.recorder.failed(served.service, model, told)
        first, why = next(iter(whys.items()))
        return translate(StateError(why), f"row {first}: ")

    async def scored(
        self, found: ServedModel, rows: object, *, allowed: Tolerated = USUAL
    ) -> tuple[Served, list[float]]:
        """Rows that were looked up, scored and written to the log."""
        served = await self.read(found.service, rows, model=found, allowed=allowed)
        start = perf_counter()
        scores = await self._batches.score(found.model, served.values)
        end = perf_counter()
        self.metrics.score(found.model.name, end - start)
        note("score", start, end)
        self.recorder.served(served, model=found, scores=scores)
        return served, scores

    @staticmethod
    def _named(find: Callable[[_Asked], _Found], name: _Asked) -> _Found:
        try:
            return find(name)
        except OnefoldError as error:
            raise translate(error) from error


def _moment(given: object) -> int | None:
    try:
        return parse_timestamp(given)
    except ValueError as error:
        message, _, hint = str(error).rpartition("; ")
        raise invalid(f"`at`: {message or error}", hint or "write it as '2013-12-01T08:30:00Z'") from None


def _arrow(served: Served) -> bytes:
    # Here, because Arrow takes 0.3 s to import, and few ask for it.
    from onefold.serving.no_pandas import keep_pandas_out

    keep_pandas_out()
    from onefold.serving.arrow_document import arrow_stream

    return arrow_stream(served)
