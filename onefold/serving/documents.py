"""How what was looked up is written: one document a service, with all that never changes written beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from math import isfinite
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import orjson

from onefold.features.types import DOUBLE
from onefold.features.values import timestamp_text, writer

if TYPE_CHECKING:
    from onefold.features.plans import ServicePlan
    from onefold.online.served_row import ServedRow
    from onefold.serving.catalog import Service

Rows = Sequence[Mapping[str, object]]
RowWriter = Callable[[Sequence[Any]], Sequence[object]]


@dataclass(frozen=True, slots=True)
class Served:
    """Rows that were looked up, with what they were asked for."""

    service: Service
    rows: Rows
    times: Sequence[int]
    answers: Sequence[ServedRow]
    request_ids: Sequence[str]


class Document:
    """The answers of `/v1/lookup` for one service: columns of values and statuses, by row, in service order."""

    def __init__(self, plan: ServicePlan) -> None:
        self.write = row_writer(plan)
        self._head: dict[str, object] = {
            "service": plan.name,
            "fingerprint": plan.fingerprint,
            "features": [f.name for f in plan.features],
        }
        self._start = orjson.dumps(self._head)[:-1] + b","

    def json(self, served: Served) -> bytes:
        return self._start + orjson.dumps(self._rest(served))[1:]

    def msgpack(self, served: Served) -> bytes:
        """The same document in MessagePack."""
        from msgspec import msgpack

        return msgpack.encode(self._head | self._rest(served))

    def _rest(self, served: Served) -> dict[str, object]:
        answers = served.answers
        found: dict[str, object] = {
            "request_ids": served.request_ids,
            "event_timestamps": texts_of(served.times),
            "values": list(map(self.write, [a.values for a in answers])),
            "statuses": [a.statuses for a in answers],
        }
        if any(a.errors for a in answers):
            found["errors"] = [a.errors for a in answers]
        return found


def texts_of(times: Sequence[int]) -> list[str]:
    """Times as texts; most requests have one time for all rows."""
    first = times[0]
    if times.count(first) == len(times):
        return list(repeat(timestamp_text(first), len(times)))
    return list(map(timestamp_text, times))


def row_writer(plan: ServicePlan) -> RowWriter:
    """A function from values in service order to what JSON can hold."""
    found = [(i, f.type, writer(f.type)) for i, f in enumerate(plan.features)]
    doubles = [(i, to_text) for i, kind, to_text in found if kind == DOUBLE and to_text is not None]
    others = [(i, to_text) for i, kind, to_text in found if kind != DOUBLE and to_text is not None]
    pick = itemgetter(*(i for i, _ in doubles)) if len(doubles) > 1 else None

    def write(values: Sequence[Any]) -> Sequence[object]:
        # Where the sum is finite, so is each of them: nothing to do in nearly every row.
        plain = pick is not None and isfinite(sum(filter(None, pick(values))))
        if plain and not others:
            return values
        row = list(values)
        for i, to_text in others if plain else (*others, *doubles):
            if row[i] is not None:
                row[i] = to_text(row[i])
        return row

    return write
