"""What a lookup gives for a row: values, a status for each, and the state strings that they were read from."""

from __future__ import annotations

from functools import partial
from itertools import repeat
from typing import Any, NamedTuple

from onefold.features import native

FRESH, STALE, EXPIRED, MISSING, PARTIAL, ERROR = "fresh", "stale", "expired", "missing", "partial", "error"
STATUSES = (FRESH, STALE, EXPIRED, MISSING, PARTIAL, ERROR)
"""From the best to the worst."""


class Place(NamedTuple):
    """Where all strings of a group were read from, and how far their layout had come.

    markers: the progress marker of each sequence.
    """

    source: str
    entity: str
    epoch: int
    layout: str
    markers: dict[int, int]


class StringRead(NamedTuple):
    """One state string that a row was read from: what it held, and how far its layout had come.

    offsets: the highest offset that the string holds of each sequence; markers: the progress marker of each.
    """

    source: str
    entity: str
    epoch: int
    layout: str
    offsets: dict[int, int]
    markers: dict[int, int]


class ServedRow(NamedTuple):
    """The values of a service for one row, in its order, each with a status; `errors` says what went wrong.

    reads: for each string its place, and the highest offset that it holds of each sequence.
    """

    values: tuple[Any, ...]
    statuses: tuple[str, ...]
    reads: tuple[tuple[Place, dict[int, int]], ...]
    errors: tuple[str, ...] = ()

    @property
    def provenance(self) -> tuple[StringRead, ...]:
        """The strings that were read; made when it is asked for, which few rows are."""
        return tuple(StringRead(p.source, p.entity, p.epoch, p.layout, o, p.markers) for p, o in self.reads)


def rows_of(
    values: list[tuple[Any, ...]], statuses: list[tuple[str, ...]], places: tuple[Place, ...],
    offsets: tuple[list[dict[int, int]], ...],
) -> list[ServedRow]:  # fmt: skip
    """Rows by column; places and offsets are those of each string, the offsets by row."""
    kernel = native.kept("rows")
    if kernel is not None:
        found: list[ServedRow] = kernel(ServedRow, values, statuses, places, offsets)
        return found
    strings = [list(zip(repeat(place), of, strict=False)) for place, of in zip(places, offsets, strict=True)]
    reads = zip(*strings, strict=True) if strings else [()] * len(values)
    return list(map(_SERVED_ROW, zip(values, statuses, reads, repeat(()))))


_SERVED_ROW = partial(tuple.__new__, ServedRow)
