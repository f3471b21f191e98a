"""From what was served to blocks of the served log: vector, statuses, versions and offsets, without a wait."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from onefold.offline.served_record import ServedBlock

if TYPE_CHECKING:
    from onefold.offline.served_record import Place, Reads
    from onefold.online.served_row import ServedRow
    from onefold.serving.catalog import ServedModel, Service
    from onefold.serving.documents import Served
    from onefold.serving.log_writer import LogWriter

Failure = tuple[Mapping[str, object], int, "ServedRow | None", str]
"""A row, its time, what the lookup gave for it (if anything), and why it failed."""


class Recorder:
    """Hands what was served to the log of named services. `log` None: to nobody."""

    def __init__(self, log: LogWriter | None, clock: Callable[[], int]) -> None:
        self._log, self._clock = log, clock

    def served(self, served: Served, *, model: ServedModel | None = None, scores: Sequence[float] = ()) -> None:
        if self._log is None or not served.service.logged:
            return
        values, statuses, reads, _ = zip(*served.answers, strict=True)
        block = ServedBlock(
            self._clock(), *_named(model), served.request_ids, served.times, served.rows,
            values, statuses, _by_state(reads), scores or None,
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
            [None] * len(rows), statuses, _by_state(reads), None, errors,
        )  # fmt: skip
        self._log.offer(service.plan, block)


def _named(model: ServedModel | None) -> tuple[str | None, str | None]:
    return (None, None) if model is None else (model.model.name, model.model.version)


def _by_state(reads: Sequence[tuple[tuple[Place, dict[int, int]], ...]]) -> list[Reads]:
    """What the rows were read from, by state: every row is read from the same ones."""
    return [(places, offsets) for places, offsets in (zip(*rows, strict=True) for rows in zip(*reads, strict=True))]


def request_ids(count: int) -> list[str]:
    """So many names of 128 random bits, in hexadecimal."""
    text = os.urandom(16 * count).hex()
    return [text[i : i + 32] for i in range(0, 32 * count, 32)]
