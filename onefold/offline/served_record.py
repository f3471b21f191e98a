"""One served row as it is handed to the served log. Light to import: the request path makes these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class StringRead(Protocol):
    """A state string that a row was read from: which one, and how much of each sequence it held."""

    @property
    def source(self) -> str: ...
    @property
    def entity(self) -> str: ...
    @property
    def epoch(self) -> object: ...
    @property
    def layout(self) -> str: ...
    @property
    def offsets(self) -> Mapping[int, int]:
        """Sequence to the highest offset in the string."""

    @property
    def markers(self) -> Mapping[int, int]:
        """Sequence to the progress marker that was read with it."""


class ServedRecord(NamedTuple):
    """What was asked, what was answered, and what was known. Times are microseconds UTC.

    row: keys and request columns, internal values by name (see `features.types`).
    features: internal values in service order; None where the row failed, and then `error` says why.
    model, model_version, score: None where only features were asked for.
    """

    request_id: str
    served_at: int
    event_timestamp: int
    row: Mapping[str, object]
    features: tuple[object, ...] | None
    statuses: tuple[str, ...]
    provenance: tuple[StringRead, ...]
    model: str | None = None
    model_version: str | None = None
    score: float | None = None
    error: str | None = None
