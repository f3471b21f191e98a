"""What is handed to the served log: rows of one answer, by column. Light to import: the request path makes these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

_Thing = TypeVar("_Thing")
Place = tuple[str, str, int, str, Mapping[int, int]]
"""Where state strings were read from: source, entity, epoch, layout, and the progress marker of each sequence."""
Statuses = tuple[Sequence[str], Sequence[int]]
"""The statuses of a row in one text, with spaces between, each text once; and by row which of them."""
Reads = tuple[Sequence[Place], Sequence[int], Sequence[Mapping[int, int]]]
"""Places, each once; by row which of them, and the highest offset of each sequence in the string."""


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
    statuses: Statuses
    reads: Sequence[Reads]
    scores: Sequence[float] | None = None
    errors: Sequence[str] | None = None


def each_once(things: Sequence[_Thing]) -> tuple[Sequence[_Thing], Sequence[int]]:
    """The different objects among things, and which of them each is: most often there is one.

    >>> one, other = (1,), (2,)
    >>> each_once([one, one]), each_once([one, other, one])
    (([(1,)], [0, 0]), ([(1,), (2,)], [0, 1, 0]))
    """
    first = things[0]
    if things.count(first) == len(things):
        return [first], [0] * len(things)
    found = dict(zip(map(id, things), things, strict=True))
    places = {name: place for place, name in enumerate(found)}
    return list(found.values()), [places[id(thing)] for thing in things]
