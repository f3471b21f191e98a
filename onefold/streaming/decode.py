"""JSON lines to rows: each raw event is read once, here, and what it gave is what every engine sees.

| column    | JSON that is taken                                                                     |
|-----------|----------------------------------------------------------------------------------------|
| BOOLEAN   | `true`, `false`                                                                        |
| BIGINT    | a number without a fraction, in range (`5.0` too, up to 2^53)                          |
| DOUBLE    | any number; `"NaN"`, `"Infinity"`, `"-Infinity"`, for which JSON has no number         |
| VARCHAR   | a string                                                                               |
| TIMESTAMP | a string `2013-01-31T23:59:59.123456Z`: ISO 8601 with `Z` or an offset such as `-05:00`; finer than microseconds is floored. A number is refused: its unit would be a guess |
| DATE      | a string `2013-01-31`                                                                  |

A column that is absent is NULL, and a name that is no column is passed over. Of a name that comes twice, the
last counts. The event time, and the event id where the source has one, are never NULL.
"""  # noqa: E501  (a table row is one line)

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import orjson

from onefold.features.definitions import EventSource
from onefold.features.errors import EventError
from onefold.features.protocols import Record
from onefold.features.types import (
    BIGINT,
    BIGINT_MAX,
    BIGINT_MIN,
    BOOLEAN,
    DATE,
    DOUBLE,
    MICROS_PER_DAY,
    TIMESTAMP,
    TIMESTAMP_MAX,
    TIMESTAMP_MIN,
    VARCHAR,
    DataType,
)

Row = tuple[Any, ...]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)", re.ASCII)
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EXACT = 2.0**53
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(slots=True)
class Decoded:
    """What a run of records gave: rows in the order of the source's schema with their offsets, and refusals."""

    offsets: list[int] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    refused: list[tuple[Record, str]] = field(default_factory=list)


class Decoder:
    """Reads the JSON lines of one source into rows of plain internal values, in the order of its schema.

    >>> source = EventSource(name="s", schema={"ts": "TIMESTAMP", "n": "BIGINT"}, event_time="ts")
    >>> Decoder(source).decode(b'{"n": 2, "ts": "1970-01-01T00:00:01Z"}')
    (1000000, 2)
    """

    def __init__(self, source: EventSource) -> None:
        self._columns = [(f.name, _CONVERT[f.type]) for f in source.fields]
        names = [f.name for f in source.fields]
        required = {"event time": source.event_time, "event id": source.event_id}
        self._required = [(what, names.index(name), name) for what, name in required.items() if name is not None]

    def decode(self, line: bytes) -> Row:
        """One row; EventError with the reason when the line is not an event of the source."""
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise EventError(f"the line is not JSON: {error}") from error
        if not isinstance(event, dict):
            raise EventError(f"the line is {_shown(event)}; an event is a JSON object")
        row = self._row(event)
        for what, place, name in self._required:
            if row[place] is None:
                raise EventError(f"{what} {name!r} is NULL")
        return row

    def decode_all(self, records: Iterable[Record]) -> Decoded:
        """A row for each record that is an event, and the reason for each that is none."""
        decoded = Decoded()
        for record in records:
            try:
                decoded.rows.append(self.decode(record.value))
            except EventError as error:
                decoded.refused.append((record, str(error)))
            else:
                decoded.offsets.append(record.offset)
        return decoded

    def _row(self, event: Mapping[str, Any]) -> Row:
        get = event.get
        try:
            return tuple([None if (v := get(name)) is None else convert(v) for name, convert in self._columns])
        except _Unfit:
            return self._blame(event)

    def _blame(self, event: Mapping[str, Any]) -> Row:
        for name, convert in self._columns:
            try:
                if event.get(name) is not None:
                    convert(event[name])
            except _Unfit as error:
                raise EventError(f"column {name!r} is {_shown(event[name])}; {error}") from None
        raise AssertionError("one of the columns did not fit")


class _Unfit(Exception):
    """A JSON value does not fit its column; says what would."""


def _boolean(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise _Unfit("a BOOLEAN is true or false")


def _bigint(value: Any) -> int:
    if type(value) is int and BIGINT_MIN <= value <= BIGINT_MAX:
        return value
    if type(value) is float and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    raise _Unfit("a BIGINT is a number without a fraction, from -2^63 to 2^63-1")


def _double(value: Any) -> float:
    if type(value) is float or type(value) is int:
        return value + 0.0
    if type(value) is str and value in _WORDS:
        return _WORDS[value]
    raise _Unfit('a DOUBLE is a number, or "NaN", "Infinity" or "-Infinity"')


def _varchar(value: Any) -> str:
    if type(value) is str:
        return value
    raise _Unfit("a VARCHAR is a string")


def _timestamp(value: Any) -> int:
    if type(value) is str and _ISO.fullmatch(value):
        try:
            since = datetime.fromisoformat(value) - _EPOCH
        except ValueError:
            raise _Unfit("there is no such time") from None
        micros = since.days * MICROS_PER_DAY + since.seconds * 1_000_000 + since.microseconds
        if TIMESTAMP_MIN <= micros <= TIMESTAMP_MAX:
            return micros
        raise _Unfit("a TIMESTAMP lies in the years 0001 to 9999")
    raise _Unfit("a TIMESTAMP is a string as '2013-01-31T23:59:59Z', with Z or an offset")


def _date(value: Any) -> int:
    if type(value) is str and _ISO_DATE.fullmatch(value):
        try:
            return date.fromisoformat(value).toordinal() - _EPOCH_DAY
        except ValueError:
            raise _Unfit("there is no such day") from None
    raise _Unfit("a DATE is a string as '2013-01-31'")


_CONVERT: Mapping[DataType, Callable[[Any], Any]] = {
    BOOLEAN: _boolean,
    BIGINT: _bigint,
    DOUBLE: _double,
    VARCHAR: _varchar,
    TIMESTAMP: _timestamp,
    DATE: _date,
}


def _shown(value: object) -> str:
    """A JSON value for a message, at most 60 characters of it."""
    text = orjson.dumps(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."
