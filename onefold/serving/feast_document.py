"""How what was looked up is written for `/get-online-features`: by column, with times and statuses beside each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from onefold.features.values import to_json
from onefold.online.served_row import FRESH
from onefold.serving.documents import texts_of

if TYPE_CHECKING:
    from onefold.features.plans import ServicePlan
    from onefold.serving.documents import Served, Values

STATUS = {
    "fresh": "PRESENT",
    "stale": "OUTSIDE_MAX_AGE",
    "expired": "OUTSIDE_MAX_AGE",
    "missing": "NOT_FOUND",
    "partial": "INVALID",
    "error": "INVALID",
}
"""Our statuses in Feast's words; a fresh NULL is NULL_VALUE."""
_NULL = "NULL_VALUE"


class FeastDocument:
    """The answers for one service: its keys, then its features, in service order.

    plain: from values in that order to what JSON can hold.
    """

    def __init__(self, plan: ServicePlan, plain: Callable[[Values], Values]) -> None:
        self._keys, self._plain = plan.keys, plain
        keys = [key.name for key in plan.keys]
        bare = [feature.ref.partition(".")[2] for feature in plan.features]
        full = [f"{feature.view}__{name}" for feature, name in zip(plan.features, bare, strict=True)]
        self._names = {False: _names([*keys, *bare]), True: _names([*keys, *full])}

    def json(self, served: Served, *, full_names: bool) -> bytes:
        times = orjson.Fragment(orjson.dumps(texts_of(served.times)))
        count = len(served.times)
        results = [
            _column([to_json(row[key.name], key.type) for row in served.rows], _all("PRESENT", count), times)
            for key in self._keys
        ]
        columns = zip(*self._plain(served.values), strict=True)
        statuses = _by_column(served.statuses)
        results += [
            _column(values, _words(words, values), times) for values, words in zip(columns, statuses, strict=True)
        ]
        return orjson.dumps({"metadata": self._names[full_names], "results": results})


def _names(names: Sequence[str]) -> orjson.Fragment:
    return orjson.Fragment(orjson.dumps({"feature_names": names}))


def _by_column(statuses: Sequence[tuple[str, ...]]) -> Sequence[str | tuple[str, ...]]:
    """For each column the status of all rows, or those of each."""
    first = statuses[0]
    if statuses.count(first) == len(statuses):
        return first
    return list(zip(*statuses, strict=True))


def _words(statuses: str | tuple[str, ...], values: Sequence[Any]) -> object:
    """Feast's words for the statuses of a column."""
    if isinstance(statuses, str):
        if statuses != FRESH or all(values):
            return _all(STATUS[statuses], len(values))
        return [_NULL if value is None else "PRESENT" for value in values]
    return [
        _NULL if value is None and status == FRESH else STATUS[status]
        for status, value in zip(statuses, values, strict=True)
    ]


@lru_cache(maxsize=64)
def _all(word: str, count: int) -> orjson.Fragment:
    """A word so many times."""
    return orjson.Fragment(orjson.dumps([word] * count))


def _column(values: Sequence[object], statuses: object, times: orjson.Fragment) -> dict[str, object]:
    return {"values": values, "statuses": statuses, "event_timestamps": times}
