"""Bodies in, bodies out: lookups and scores, without a word of HTTP but the errors.

Every handler parses, looks up, scores, hands records to the log, and writes the answer. What goes wrong is an
ApiError.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import orjson

from onefold.features.errors import OnefoldError, StateError
from onefold.features.timing import note
from onefold.features.types import DOUBLE
from onefold.features.values import timestamp_text, to_json, writer
from onefold.offline.served_record import ServedRecord
from onefold.serving.access import CURRENT, Reach
from onefold.serving.batches import Batches
from onefold.serving.catalog import Catalog, ServedModel, Service
from onefold.serving.errors import invalid, translate
from onefold.serving.messages import Answer, Request
from onefold.serving.metrics import Metrics
from onefold.serving.rows import parse_object

if TYPE_CHECKING:
    from onefold.online.lookup import ServedRow
    from onefold.serving.log_writer import LogWriter

Rows = Sequence[Mapping[str, object]]


Failure = tuple[Mapping[str, object], int, "ServedRow | None", str]
"""A row, its time, what the lookup gave for it (if anything), and why it failed."""


@dataclass(frozen=True, slots=True)
class Served:
    """Rows that were looked up, with what they were asked for."""

    service: Service
    rows: Rows
    times: Sequence[int]
    answers: Sequence[ServedRow]
    request_ids: tuple[str, ...]


class Answers:
    """Answers requests from a catalog. `log`: where what was served goes, None for nowhere."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        log: LogWriter | None,
        metrics: Metrics,
        max_rows: int = 5_000,
        batches: Batches | None = None,
    ) -> None:
        self._catalog, self.metrics, self.max_rows = catalog, metrics, max_rows
        self._log = log
        self._batches = batches or Batches()

    @property
    def catalog(self) -> Catalog | Reach:
        """What the request at hand may reach; outside of a server, all there is."""
        current = CURRENT.get(None)
        return self._catalog if current is None else current.catalog

    async def lookup(self, request: Request) -> Answer:
        """`POST /v1/lookup`: {"service", "rows"} to columns of values and statuses in service order."""
        data = parse_object(request.body, ("service", "rows"))
        if "service" not in data:
            raise invalid("`service` is absent", "name the feature service; /v1/services lists them")
        served = await self.read(self._service(data["service"]), data.get("rows"))
        self.record(served)
        return Answer(self._lookup_body(served))

    async def score(self, request: Request) -> Answer:
        """`POST /v1/score/{model}`: {"row"} or {"rows"} to a score or scores."""
        found = self._model(request.path.rpartition("/")[2])
        data = parse_object(request.body, ("row", "rows"))
        if len(data) != 1:
            raise invalid("a body holds `row` or `rows`, one of the two", 'send {"row": {..}} or {"rows": [{..}]}')
        single = "row" in data
        served, scores = await self.scored(found, [data["row"]] if single else data["rows"])
        return Answer(self._score_body(found, served, scores, single=single))

    async def read(self, service: Service, rows: object, *, model: ServedModel | None = None) -> Served:
        """Parse rows and look them up; rows that fail are logged with their error, and fail the request."""
        values, times = service.rows.read(rows, self.catalog.clock, limit=self.max_rows)
        start, errors_before = perf_counter(), service.lookup.value_errors
        try:
            answers = service.lookup.read(values, times)
        except OnefoldError as error:
            self._record_failures(service, model, [(values[i], t, None, str(error)) for i, t in enumerate(times)])
            raise translate(error) from error
        self.metrics.lookup(
            service.name, [a.statuses for a in answers], perf_counter() - start,
            value_errors=service.lookup.value_errors - errors_before,
        )  # fmt: skip
        failed = [i for i, answer in enumerate(answers) if answer.errors]
        if failed:
            whys = ["; ".join(answers[i].errors) for i in failed]
            self._record_failures(
                service, model, [(values[i], times[i], answers[i], why) for i, why in zip(failed, whys, strict=True)]
            )
            raise translate(StateError(whys[0]), f"row {failed[0]}: ")
        return Served(service, values, times, answers, tuple([os.urandom(16).hex() for _ in times]))

    def _service(self, name: object) -> Service:
        try:
            return self.catalog.service(name)
        except OnefoldError as error:
            raise translate(error) from error

    def _model(self, name: str) -> ServedModel:
        try:
            return self.catalog.model(name)
        except OnefoldError as error:
            raise translate(error) from error

    async def scored(self, found: ServedModel, rows: object) -> tuple[Served, list[float]]:
        """Rows that were looked up, scored and written to the log."""
        served = await self.read(found.service, rows, model=found)
        start = perf_counter()
        scores = await self._batches.score(found.model, [a.values for a in served.answers])
        end = perf_counter()
        self.metrics.score(found.model.name, end - start)
        note("score", start, end)
        self.record(served, model=found, scores=scores)
        return served, scores

    def record(self, served: Served, *, model: ServedModel | None = None, scores: Sequence[float] = ()) -> None:
        if self._log is None or not served.service.logged:
            return
        now = self.catalog.clock()
        name, version = (model.model.name, model.model.version) if model else (None, None)
        records = [
            ServedRecord(
                request_id, now, time, row, answer.values, answer.statuses, answer.provenance,
                name, version, scores[i] if model else None,
            )
            for i, (request_id, time, row, answer) in enumerate(
                zip(served.request_ids, served.times, served.rows, served.answers, strict=True)
            )
        ]  # fmt: skip
        self._log.offer(served.service.plan, records)

    def _record_failures(self, service: Service, model: ServedModel | None, failures: Sequence[Failure]) -> None:
        if self._log is None or not service.logged:
            return
        now = self.catalog.clock()
        name, version = (model.model.name, model.model.version) if model else (None, None)
        self._log.offer(
            service.plan,
            [
                ServedRecord(
                    os.urandom(16).hex(), now, time, row, None,
                    answer.statuses if answer else (), answer.provenance if answer else (),
                    name, version, None, error,
                )
                for row, time, answer, error in failures
            ],
        )  # fmt: skip

    def _lookup_body(self, served: Served) -> bytes:
        plan = served.service.plan
        write = row_writer(served.service)
        return orjson.dumps(
            {
                "service": plan.name,
                "fingerprint": plan.fingerprint,
                "features": [f.name for f in plan.features],
                "request_ids": served.request_ids,
                "event_timestamps": [timestamp_text(t) for t in served.times],
                "values": [write(a.values) for a in served.answers],
                "statuses": [a.statuses for a in served.answers],
            }
        )

    def _score_body(self, found: ServedModel, served: Served, scores: Sequence[float], *, single: bool) -> bytes:
        plan = found.service.plan
        head: dict[str, Any] = {
            "model": found.model.name,
            "version": found.model.version,
            "service": plan.name,
            "fingerprint": plan.fingerprint,
        }
        columns = {
            "request_id": served.request_ids,
            "event_timestamp": [timestamp_text(t) for t in served.times],
            "score": [to_json(s, DOUBLE) for s in scores],
            "statuses": [not_fresh(found.service, a.statuses) for a in served.answers],
        }
        if single:
            return orjson.dumps(head | {name: values[0] for name, values in columns.items()})
        return orjson.dumps(head | {PLURAL.get(name, name): values for name, values in columns.items()})


PLURAL = {"request_id": "request_ids", "event_timestamp": "event_timestamps", "score": "scores"}


def not_fresh(service: Service, statuses: Sequence[str]) -> dict[str, str]:
    """The statuses worth a word, by feature: all but `fresh`."""
    if statuses.count("fresh") == len(statuses):
        return {}
    pairs = zip(service.plan.features, statuses, strict=True)
    return {feature.name: status for feature, status in pairs if status != "fresh"}


def row_writer(service: Service) -> Callable[[Sequence[object]], list[object]]:
    """A function from values in service order to what JSON can hold."""
    found = [(i, writer(f.type)) for i, f in enumerate(service.plan.features)]
    special = [(i, to_text) for i, to_text in found if to_text is not None]

    def write(values: Sequence[object]) -> list[object]:
        row = list(values)
        for i, to_text in special:
            if row[i] is not None:
                row[i] = to_text(row[i])
        return row

    return write
