"""How what was looked up is written: one document a service, with all that never changes written beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain, repeat
from math import isfinite
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from onefold.features.types import DOUBLE
from onefold.features.values import timestamp_text, writer

if TYPE_CHECKING:
    from onefold.features.plans import ServicePlan
    from onefold.online.served_row import ServedRow
    from onefold.serving.catalog import Service

Rows = Sequence[Mapping[str, object]]
Values = Sequence[Sequence[Any]]
_KEPT = 256


class Served(NamedTuple):
    """Rows that were looked up, with what they were asked for. values, statuses, errors: of the answers, by row."""

    service: Service
    rows: Rows
    times: Sequence[int]
    answers: Sequence[ServedRow]
    request_ids: Sequence[str]
    values: Values
    statuses: Sequence[tuple[str, ...]]
    errors: Sequence[tuple[str, ...]]


class Document:
    """The answers of `/v1/lookup` for one service: columns of values and statuses, by row, in service order."""

    def __init__(self, plan: ServicePlan) -> None:
        self.plain = writer_of_rows(plan)
        self._head: dict[str, object] = {
            "service": plan.name,
            "fingerprint": plan.fingerprint,
            "features": [f.name for f in plan.features],
        }
        self._written = {name: orjson.Fragment(orjson.dumps(value)) for name, value in self._head.items()}
        self._statuses = Fragments(orjson.dumps)

    def json(self, served: Served) -> bytes:
        return orjson.dumps(self._written | self._rest(served, list(map(self._statuses.of, served.statuses))))

    def msgpack(self, served: Served) -> bytes:
        """The same document in MessagePack."""
        from msgspec import msgpack

        return msgpack.encode(self._head | self._rest(served, served.statuses))

    def _rest(self, served: Served, statuses: Sequence[object]) -> dict[str, object]:
        found: dict[str, object] = {
            "request_ids": served.request_ids,
            "event_timestamps": texts_of(served.times),
            "values": self.plain(served.values),
            "statuses": statuses,
        }
        if any(served.errors):
            found["errors"] = served.errors
        return found


class Fragments:
    """The JSON that stands for a row's statuses: rows share few of them, so that the last ones are kept written."""

    def __init__(self, write: Callable[[tuple[str, ...]], bytes]) -> None:
        self._write = write
        # By address, which takes a tenth of the time of a hash; nothing else comes there while the tuple is held.
        self._known: dict[int, tuple[tuple[str, ...], orjson.Fragment]] = {}

    def of(self, statuses: tuple[str, ...]) -> orjson.Fragment:
        try:
            return self._known[id(statuses)][1]
        except KeyError:
            pass
        if len(self._known) >= _KEPT:
            self._known.clear()
        fragment = orjson.Fragment(self._write(statuses))
        self._known[id(statuses)] = statuses, fragment
        return fragment


def texts_of(times: Sequence[int]) -> list[str]:
    """Times as texts; most requests have one time for all rows."""
    first = times[0]
    if len(times) == 1:
        return [timestamp_text(first)]
    if times.count(first) == len(times):
        return list(repeat(timestamp_text(first), len(times)))
    return list(map(timestamp_text, times))


def writer_of_rows(plan: ServicePlan) -> Callable[[Values], Values]:
    """A function from rows of values in service order to what JSON can hold."""
    found = [(i, f.type, writer(f.type)) for i, f in enumerate(plan.features)]
    doubles = [(i, to_text) for i, kind, to_text in found if kind == DOUBLE and to_text is not None]
    others = [(i, to_text) for i, kind, to_text in found if kind != DOUBLE and to_text is not None]
    picked = picker([i for i, _ in doubles], len(found))

    def write(rows: Values) -> Values:
        # Where the sum is finite, so is each of them: nothing to do for nearly every request.
        finite = isfinite(sum(filter(None, chain.from_iterable(picked(rows)))))
        if finite and not others:
            return rows
        return [_row(values, others if finite else (*others, *doubles)) for values in rows]

    return write


def picker(places: Sequence[int], count: int) -> Callable[[Values], Iterable[Sequence[Any]]]:
    """A function from rows of so many values to those at some places."""
    if len(places) == count:
        return lambda rows: rows
    if len(places) > 1:
        return partial(map, itemgetter(*places))
    return lambda rows: [[values[i] for i in places] for values in rows]


def _row(values: Sequence[Any], writers: Iterable[tuple[int, Callable[[Any], object]]]) -> Sequence[object]:
    row = list(values)
    for i, write in writers:
        if row[i] is not None:
            row[i] = write(row[i])
    return row
