"""Views of ours: their windows are finished when they are read, as of the request's time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import feast_value_type_to_python_type

from onefold.features.errors import InputError
from onefold.features.project import Project
from onefold.features.protocols import OnlineStore
from onefold.features.types import DATE, MICROS_PER_DAY, TIMESTAMP, DataType
from onefold.features.values import parser
from onefold.online.feast import answer
from onefold.online.feast.answer import Column
from onefold.online.feast.kinds import number_of
from onefold.online.lookup import ERROR, EXPIRED, FRESH, MISSING, PARTIAL, STALE, Lookup, ServedRow

TIME = "event_timestamp"
STATUS = {
    FRESH: answer.PRESENT, STALE: answer.OUTSIDE_MAX_AGE, EXPIRED: answer.OUTSIDE_MAX_AGE, MISSING: answer.NOT_FOUND,
    PARTIAL: answer.INVALID, ERROR: answer.INVALID,
}  # fmt: skip
"""Our statuses as Feast's, the same as over HTTP (`serving.feast_document`). A value stands beside all but INVALID."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class Member:
    """A feature that is asked for, and what the answer calls it."""

    view: str
    feature: str
    name: str


class Windowed:
    """Features of ours whose keys are called the same: one lookup.

    aliases: a join key to what the request calls it.
    """

    def __init__(
        self, store: OnlineStore, project: Project, members: Sequence[Member], aliases: Mapping[str, str]
    ) -> None:
        refs = list(dict.fromkeys((m.view, m.feature) for m in members))
        views = [(project.view(view), feature) for view, feature in refs]
        plan = project.plan("feast", [(view, view.feature(feature)) for view, feature in views], full_names=True)
        self._lookup = Lookup(store, plan)
        self._columns = [(m.name, refs.index((m.view, m.feature))) for m in members]
        self._kinds = [number_of(f.type) for f in plan.features]
        keys = {f.name for f in plan.keys}
        fields = {f.name: f.type for f in (*plan.keys, *plan.request)}
        self._takers = [
            (name, aliases.get(name, name) if name in keys else name, _taker(kind)) for name, kind in fields.items()
        ]

    def columns(self, given: Mapping[str, Sequence[Any]], times: Sequence[int]) -> list[Column]:
        """The columns of rows, given as columns by the names of the request; InputError where one is not right."""
        taken = [self._taken(given, column, take) for _, column, take in self._takers]
        names = [name for name, _, _ in self._takers]
        rows = [dict(zip(names, row, strict=True)) for row in zip(*taken, strict=True)] if taken else [{}] * len(times)
        return self._answered(self._lookup.read(rows, times), times)

    @staticmethod
    def _taken(given: Mapping[str, Sequence[Any]], column: str, take: Callable[[Any], Any]) -> list[Any]:
        if column not in given:
            raise InputError(f"column {column!r} is not in the entity rows, which have {', '.join(sorted(given))}")
        try:
            return [take(value) for value in given[column]]
        except (ValueError, TypeError) as error:
            raise InputError(f"column {column!r} of the entity rows: {error}") from None

    def _answered(self, served: Sequence[ServedRow], times: Sequence[int]) -> list[Column]:
        values = list(zip(*[row.values for row in served], strict=True)) or [()] * len(self._kinds)
        by_row = [row.statuses for row in served]
        if all(statuses.count(FRESH) == len(statuses) for statuses in by_row):
            shared = [answer.PRESENT] * len(by_row)
            return [Column(name, values[i], self._kinds[i], shared, times) for name, i in self._columns]
        statuses = [[STATUS[s] for s in column] for column in zip(*by_row, strict=True)]
        return [Column(name, values[i], self._kinds[i], statuses[i], times) for name, i in self._columns]


def times_of(given: Mapping[str, Sequence[Any]], rows: int, now: int) -> list[int]:
    """The time t of each row, in microseconds: its `event_timestamp` where the rows have one, else now."""
    if TIME not in given:
        return [now] * rows
    take = _taker(TIMESTAMP)
    try:
        return [now if (t := take(value)) is None else t for value in given[TIME]]
    except (ValueError, TypeError) as error:
        raise InputError(f"column {TIME!r} of the entity rows: {error}") from None


def _taker(kind: DataType) -> Callable[[Any], Any]:
    """What takes a value of a request (a Python or numpy value, or a message) as an internal one."""
    parse = parser(kind)

    def take(value: Any) -> Any:
        if isinstance(value, Value):
            value = feast_value_type_to_python_type(value)
        if isinstance(value, date):
            return _time(value, kind)
        if isinstance(value, Decimal):
            value = str(value)
        elif hasattr(value, "tolist"):
            value = value.tolist()
        return parse(value)

    return take


def _time(value: date, kind: DataType) -> int:
    """A date or datetime (naive is UTC) as an internal TIMESTAMP or DATE."""
    if kind not in (DATE, TIMESTAMP):
        raise ValueError(f"{value!r} is a time, and the column is {kind}")
    if not isinstance(value, datetime):
        days = value.toordinal() - _FIRST_DAY
        return days if kind == DATE else days * MICROS_PER_DAY
    aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    passed = aware - _EPOCH
    micros = passed.days * MICROS_PER_DAY + passed.seconds * 1_000_000 + passed.microseconds
    return micros // MICROS_PER_DAY if kind == DATE else micros
