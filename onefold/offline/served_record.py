"""What is handed to the served log: rows of one answer, by column. Light to import: the request path makes these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

Place = tuple[str, str, int, str, Mapping[int, int]]
"""Where state strings were read from: source, entity, epoch, layout, and the progress marker of each sequence."""
Reads = tuple[Sequence[Place], Sequence[Mapping[int, int]]]
"""By row, the place of the string that was read, and the highest offset of each sequence in it."""


class ServedBlock(NamedTuple):
    """What was asked, what was answered, and what was known: in each sequence a value a row. Times are in microseconds.

    rows: keys and request columns, internal values by name (see `features.types`).
    features: internal values in service order; None where the row failed, and then `errors` says why.
    reads: one for each state that the service reads. model, model_version, scores: None where only features were asked.
    """

    served_at: int
    model: str | None
    model_version: str | None
    request_ids: Sequence[str]
    times: Sequence[int]
    rows: Sequence[Mapping[str, object]]
    features: Sequence[Sequence[object] | None]
    statuses: Sequence[Sequence[str]]
    reads: Sequence[Reads]
    scores: Sequence[float] | None = None
    errors: Sequence[str] | None = None
