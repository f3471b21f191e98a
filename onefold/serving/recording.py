"""From what was served to blocks of the served log: vector, statuses, versions and offsets, without a wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from onefold.offline.served_record import ServedBlock, each_once
from onefold.serving.ids import request_ids

if TYPE_CHECKING:
    from onefold.offline.served_record import Place, Reads, Statuses
    from onefold.online.served_row import ServedRow
    from onefold.serving.catalog import ServedModel, Service
    from onefold.serving.documents import Served
    from onefold.serving.log_writer import LogWriter

Failure = tuple[Mapping[str, object], int, "ServedRow | None", str]
"""A row, its time, what the lookup gave for it (if anything), and why it failed."""
_FIRST = (0,)


class Recorder:
    """Hands what was served to the log of named services. `log` None: to nobody."""

    def __init__(self, log: LogWriter | None, clock: Callable[[], int]) -> None:
        self._log, self._clock = log, clock

    def served(self, served: Served, *, model: ServedModel | None = None, scores: Sequence[float] = ()) -> None:
        if self._log is None or not served.service.logged:
            return
        service, rows, times, answers, ids, values, statuses, _ = served
        name, version = _named(model)
        block = ServedBlock(
            self._clock(), name, version, ids, times, rows,
            values, _in_words(statuses), _by_state([answer.reads for answer in answers]), scores or None,
        )  # fmt: skip
        self._log.offer(service.plan, block)

    def failed(self, service: Service, model: ServedModel | None, failures: Sequence[Failure]) -> None:
        """Rows that were asked for and served nothing; the lookup gave something for all of them or for none."""
        if self._log is None or not service.logged or not failures:
            return
        rows, times, answers, errors = zip(*failures, strict=True)
        statuses, reads = [a.statuses if a else () for a in answers], [a.reads if a else () for a in answers]
        block = ServedBlock(
            self._clock(), *_named(model), request_ids(len(rows)), times, rows,
            [None] * len(rows), _in_words(statuses), _by_state(reads), None, errors,
        )  # fmt: skip
        self._log.offer(service.plan, block)


def _named(model: ServedModel | None) -> tuple[str | None, str | None]:
    return (None, None) if model is None else (model.model.name, model.model.version)


def _in_words(statuses: Sequence[Sequence[str]]) -> Statuses:
    """Most answers have one row, here and below."""
    if len(statuses) == 1:
        return (" ".join(statuses[0]),), _FIRST
    kinds, which = each_once(statuses)
    return list(map(" ".join, kinds)), which


def _by_state(reads: Sequence[tuple[tuple[Place, dict[int, int]], ...]]) -> Sequence[Reads]:
    """What the rows were read from, by state: every row is read from the same ones."""
    if len(reads) == 1:
        return [((place,), _FIRST, (offsets,)) for place, offsets in reads[0]]
    states: list[Reads] = []
    for rows in zip(*reads, strict=True):
        places, offsets = zip(*rows, strict=True)
        states.append((*each_once(places), offsets))
    return states
