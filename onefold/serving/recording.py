"""From what was served to records of the served log: vector, statuses, versions and offsets, without a wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, overload

from onefold.offline.served_record import ServedRecord
from onefold.serving.ids import request_ids

if TYPE_CHECKING:
    from onefold.online.served_row import ServedRow
    from onefold.serving.catalog import ServedModel, Service
    from onefold.serving.documents import Served
    from onefold.serving.log_writer import LogWriter

Failure = tuple[Mapping[str, object], int, "ServedRow | None", str]
"""A row, its time, what the lookup gave for it (if anything), and why it failed."""


class Recorder:
    """Hands records to the log of named services. `log` None: to nobody."""

    def __init__(self, log: LogWriter | None, clock: Callable[[], int]) -> None:
        self._log, self._clock = log, clock

    def served(self, served: Served, *, model: ServedModel | None = None, scores: Sequence[float] = ()) -> None:
        if self._log is None or not served.service.logged:
            return
        self._log.offer(served.service.plan, _Records(served, self._clock(), model, scores))

    def failed(self, service: Service, model: ServedModel | None, failures: Sequence[Failure]) -> None:
        """Rows that were asked for and served nothing."""
        if self._log is None or not service.logged:
            return
        now = self._clock()
        name, version = (model.model.name, model.model.version) if model else (None, None)
        records = [
            ServedRecord(
                id_, now, time, row, None,
                answer.statuses if answer else (), answer.provenance if answer else (), name, version, None, error,
            )
            for id_, (row, time, answer, error) in zip(request_ids(len(failures)), failures, strict=True)
        ]  # fmt: skip
        self._log.offer(service.plan, records)


class _Records(Sequence[ServedRecord]):
    """The records of what was served. Each is made when the log's thread takes it."""

    def __init__(self, served: Served, now: int, model: ServedModel | None, scores: Sequence[float]) -> None:
        self._served, self._now, self._scores = served, now, scores
        self._model: tuple[str | None, str | None] = (model.model.name, model.model.version) if model else (None, None)

    def __len__(self) -> int:
        return len(self._served.times)

    @overload
    def __getitem__(self, place: int, /) -> ServedRecord: ...
    @overload
    def __getitem__(self, place: slice, /) -> Sequence[ServedRecord]: ...
    def __getitem__(self, place: int | slice, /) -> ServedRecord | Sequence[ServedRecord]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        served, answer = self._served, self._served.answers[place]
        return ServedRecord(
            served.request_ids[place], self._now, served.times[place], served.rows[place],
            answer.values, answer.statuses, answer.provenance, self._model[0], self._model[1],
            self._scores[place] if self._scores else None,
        )  # fmt: skip
