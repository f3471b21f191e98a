"""Rows of a request, from JSON to internal values, by a reader that is compiled once for a service."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from onefold.features.errors import nearest
from onefold.features.types import (
    BIGINT,
    BIGINT_MAX,
    BIGINT_MIN,
    BOOLEAN,
    DATE,
    DOUBLE,
    TIMESTAMP,
    VARCHAR,
    DataType,
    Field,
)  # fmt: skip
from onefold.features.values import Parser, decimal_text, parse_timestamp, parser, shown
from onefold.serving.errors import ApiError, invalid

if TYPE_CHECKING:
    from onefold.features.plans import ServicePlan

TIME = "event_timestamp"


def parse_object(body: bytes, allowed: Sequence[str]) -> dict[str, Any]:
    """The JSON object of a body that has no other fields than these; ApiError 400 or 422."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        hint = 'send a JSON object; a DOUBLE that JSON has no number for is written "NaN", "Infinity" or "-Infinity"'
        raise ApiError(400, "json", f"the body is not JSON: {error}", hint) from None
    if not isinstance(data, dict):
        raise invalid(f"the body is {shown(data)}", f"send a JSON object with {_listed(allowed)}")
    for name in data:
        if name not in allowed:
            raise invalid(f"field {shown(name)} is unknown{nearest(name, allowed)}", f"send {_listed(allowed)} only")
    return data


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{n}`" for n in names)


class RowReader:
    """Reads rows for one service: all of its keys and request columns, and an optional `event_timestamp`."""

    def __init__(
        self,
        plan: ServicePlan,
        *,
        parser_of: Callable[[DataType], Parser] = parser,
        parse_time: Callable[[object], int | None] = parse_timestamp,
    ) -> None:
        self.fields: tuple[Field, ...] = tuple({f.name: f for f in plan.keys + plan.request}.values())
        self._service = plan.name
        self._kinds = {f.name: "request column" for f in plan.request} | {f.name: "key" for f in plan.keys}
        self._columns: list[tuple[str, Parser]] = [(f.name, parser_of(f.type)) for f in self.fields]
        self._parse_time = parse_time
        self._same = _looks(self.fields) if parser_of is parser else None

    def read(self, rows: object, now: Callable[[], int], *, limit: int) -> tuple[list[Mapping[str, object]], list[int]]:
        """Rows as internal values by name, and the time of each in microseconds; ApiError names row and column."""
        if not isinstance(rows, list) or not rows:
            raise invalid(f"`rows` is {shown(rows)}", f"send a list of objects, as {self.example_text()}")
        if len(rows) > limit:
            raise ApiError(413, "too-large", f"{len(rows)} rows were sent", f"send at most {limit} rows a request")
        moment = now()
        if len(rows) == 1:
            values, time = self._row(rows[0], 0, moment)
            return [values], [time]
        if self._all_same(rows):
            return rows, [moment] * len(rows)
        pairs = [self._row(row, number, moment) for number, row in enumerate(rows)]
        return [values for values, _ in pairs], [time for _, time in pairs]

    def _all_same(self, rows: list[Any]) -> bool:
        """Whether rows are their own internal values, and without a time: what parsing them would find."""
        same = self._same
        if same is None or len(rows) < _FEW or set(map(type, rows)) != _DICTS or set(map(len, rows)) != {len(same)}:
            return False
        try:
            return all(holds([row[name] for row in rows]) for name, holds in same)
        except KeyError:
            return False

    def _row(self, row: object, number: int, now: int) -> tuple[Mapping[str, object], int]:
        if not isinstance(row, dict):
            raise invalid(f"row {number} is {shown(row)}", f"send an object, as {self.example_text()}")
        values: dict[str, object] = {}
        name = TIME
        try:
            for name, parse in self._columns:
                values[name] = parse(row[name])
            name = TIME
            time = self._parse_time(row.get(TIME))
        except KeyError:
            raise self._absent(row, number, name) from None
        except ValueError as error:
            raise self._wrong(number, name, error) from None
        if len(row) != len(values) + (TIME in row):
            self._refuse_unknown(row, number)
        return values, now if time is None else time

    def _absent(self, row: Mapping[str, object], number: int, name: str) -> ApiError:
        others = [n for n in row if n not in self._kinds and n != TIME]
        found = f"found is {', '.join(map(shown, others))}" if others else "it has no such column"
        return invalid(
            f"row {number}: {self._kinds[name]} {name!r} of service {self._service!r} is absent; {found}",
            f"send {name!r} in every row; null where it is not known",
        )

    def _wrong(self, number: int, name: str, error: ValueError) -> ApiError:
        message, _, hint = str(error).rpartition("; ")
        kind = self._kinds.get(name, "column")
        hint = hint if message else "send a value that the type holds"
        return invalid(f"row {number}: {kind} {name!r}: {message or error}", hint)

    def _refuse_unknown(self, row: Mapping[str, object], number: int) -> None:
        known = [*self._kinds, TIME]
        name = next(n for n in row if n not in known)
        raise invalid(
            f"row {number}: column {shown(name)} is unknown to service {self._service!r}{nearest(name, known)}",
            f"send {_listed(known)} only",
        )

    def example(self) -> dict[str, object]:
        """A row that this service takes, for the documentation and for messages."""
        return {f.name: example(f.type) for f in self.fields} | {TIME: example(TIMESTAMP)}

    def example_text(self) -> str:
        return orjson.dumps([self.example()]).decode()


def _texts(values: list[Any]) -> bool:
    return set(map(type, values)) == {str} and "".join(values).isascii()


def _integers(values: list[Any]) -> bool:
    return set(map(type, values)) == {int} and min(values) >= BIGINT_MIN and max(values) <= BIGINT_MAX


_SAME: dict[DataType, Callable[[list[Any]], bool]] = {VARCHAR: _texts, BIGINT: _integers}
"""Whether values as JSON has them are internal values of a type; False where it takes a closer look."""


def _looks(fields: Sequence[Field]) -> list[tuple[str, Callable[[list[Any]], bool]]] | None:
    """A look at the values of each column; None where there is a type that has none."""
    found = [(f.name, _SAME[f.type]) for f in fields if f.type in _SAME]
    return found if len(found) == len(fields) else None


_DICTS = {dict}
_FEW = 4
"""Rows from which a look at all of them at once takes less time than one after the other."""
_EXAMPLES: dict[DataType, object] = {
    BOOLEAN: True,
    BIGINT: 7,
    DOUBLE: 1.5,
    VARCHAR: "JFK",
    TIMESTAMP: "2013-12-01T08:30:00Z",
    DATE: "2013-12-01",
}


def example(kind: DataType) -> object:
    """A value of the type, as JSON has it."""
    if kind.item is not None:
        return [example(kind.item)]
    return decimal_text(1, kind.scale) if kind.is_decimal else _EXAMPLES[kind]
