"""What a lookup gives for a row: values, a status for each, and the state strings that they were read from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FRESH, STALE, EXPIRED, MISSING, PARTIAL, ERROR = "fresh", "stale", "expired", "missing", "partial", "error"
STATUSES = (FRESH, STALE, EXPIRED, MISSING, PARTIAL, ERROR)
"""From the best to the worst."""


@dataclass(frozen=True, slots=True)
class StringRead:
    """One state string that a row was read from: what it held, and how far its layout had come.

    offsets: the highest offset that the string holds of each sequence; markers: the progress marker of each.
    """

    source: str
    entity: str
    epoch: int
    layout: str
    offsets: dict[int, int]
    markers: dict[int, int]


@dataclass(frozen=True, slots=True)
class ServedRow:
    """The values of a service for one row, in its order, each with a status; `errors` says what went wrong."""

    values: tuple[Any, ...]
    statuses: tuple[str, ...]
    provenance: tuple[StringRead, ...]
    errors: tuple[str, ...] = ()
