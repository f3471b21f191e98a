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
        values, statuses, reads = _columns(served.answers)
        block = ServedBlock(
            self._clock(), *_named(model), served.request_ids, served.times, served.rows,
            values, statuses, reads, scores or None,
        )  # fmt: skip
        self._log.offer(served.service.plan, block)

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


def _columns(answers: Sequence[ServedRow]) -> tuple[Sequence[Sequence[object]], Statuses, Sequence[Reads]]:
    """What was served, by column. Most answers have one row."""
    if len(answers) == 1:
        ((values, statuses, reads, _),) = answers
        return (values,), ((" ".join(statuses),), _FIRST), [((place,), _FIRST, (offsets,)) for place, offsets in reads]
    values, statuses, reads, _ = zip(*answers, strict=True)
    return values, _in_words(statuses), _by_state(reads)


def _in_words(statuses: Sequence[Sequence[str]]) -> Statuses:
    kinds, which = each_once(statuses)
    return list(map(" ".join, kinds)), which


def _by_state(reads: Sequence[tuple[tuple[Place, dict[int, int]], ...]]) -> Sequence[Reads]:
    """What the rows were read from, by state: every row is read from the same ones."""
    states: list[Reads] = []
    for rows in zip(*reads, strict=True):
        places, offsets = zip(*rows, strict=True)
        states.append((*each_once(places), offsets))
    return states
