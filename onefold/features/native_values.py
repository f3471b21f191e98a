"""Between Python's own values and those inside Onefold, by type: what typed formats (Avro, Protobuf) and callers have.

| type      | native value                                                                      |
|-----------|-----------------------------------------------------------------------------------|
| BOOLEAN   | bool                                                                              |
| BIGINT    | int of 64 bits                                                                    |
| DOUBLE    | float, or int                                                                     |
| VARCHAR   | str (an enum's name), UUID                                                        |
| TIMESTAMP | datetime with a time zone, or text as in JSON; a bare number has no unit          |
| DATE      | date, or text as in JSON                                                          |
| DECIMAL   | Decimal, int, or text as in JSON; never rounded                                   |
| LIST      | a list of what its items take                                                     |

None is NULL. What is refused raises ValueError with the reason alone, as in `features.values`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from functools import cache
from uuid import UUID

from onefold.features.types import BIGINT, BOOLEAN, DATE, DOUBLE, MAX_PRECISION, TIMESTAMP, VARCHAR, DataType
from onefold.features.values import (
    Parser,
    Writer,
    list_parser,
    parse_bigint,
    parse_boolean,
    parse_date,
    parse_timestamp,
    parse_varchar,
    parser,
    shown,
    unscaled,
)

_DIGITS = Context(prec=MAX_PRECISION)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


def native_bigint(value: object) -> int | None:
    """A whole number; a floating one is another type, even where it is integral."""
    if isinstance(value, float):
        raise ValueError(f"{shown(value)} is not a BIGINT; send an integer type")
    return parse_bigint(value)


def native_double(value: object) -> float | None:
    """A number; -0.0 becomes 0.0."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{shown(value)} is not a DOUBLE; send a number type")
    number = float(value)
    return math.nan if math.isnan(number) else number + 0.0


def native_varchar(value: object) -> str | None:
    return parse_varchar(str(value) if isinstance(value, UUID) else value)


def native_timestamp(value: object) -> int | None:
    """A datetime to microseconds since the epoch.

    >>> native_timestamp(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    if not isinstance(value, datetime):
        if isinstance(value, int) and not isinstance(value, bool):
            raise ValueError(f"{shown(value)} is a number without a unit; give its field a type of time")
        return parse_timestamp(value)
    if value.tzinfo is None:
        raise ValueError(f"{value} is a local time without a zone; send an instant (UTC)")
    delta = value - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def native_date(value: object) -> int | None:
    """A date to days since the epoch."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.toordinal() - _EPOCH_ORDINAL
    return parse_date(value)


def _decimal_parser(kind: DataType) -> Parser:
    from_json = parser(kind)

    def native_decimal(value: object) -> object:
        if isinstance(value, float):
            raise ValueError(f"{shown(value)} is not a {kind}; send a decimal type, or text")
        if isinstance(value, Decimal):
            found = unscaled(format(value, "f"), kind) if value.is_finite() else None
            if found is None:
                raise ValueError(f"{value} is not a {kind}")
            return found
        return from_json(value)

    return native_decimal


_PARSERS: Mapping[DataType, Parser] = {
    BOOLEAN: parse_boolean,
    BIGINT: native_bigint,
    DOUBLE: native_double,
    VARCHAR: native_varchar,
    TIMESTAMP: native_timestamp,
    DATE: native_date,
}


@cache
def native_parser(kind: DataType) -> Parser:
    """The parser of a type, to be looked up once and called per value."""
    if kind.item is not None:
        return list_parser(kind, native_parser(kind.item))
    return _decimal_parser(kind) if kind.is_decimal else _PARSERS[kind]


def _datetime(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _date(days: int) -> date:
    return date.fromordinal(days + _EPOCH_ORDINAL)


@cache
def native_writer(kind: DataType) -> Writer | None:
    """From an internal value that is not NULL to a Python value of its own; None where it is one already.

    >>> native_writer(TIMESTAMP)(1_000_000)
    datetime.datetime(1970, 1, 1, 0, 0, 1, tzinfo=datetime.timezone.utc)
    """
    if kind.is_decimal:
        return lambda value: Decimal(value).scaleb(-kind.scale, _DIGITS)
    if kind.item is None:
        return {TIMESTAMP: _datetime, DATE: _date}.get(kind)
    write = native_writer(kind.item)
    if write is None:
        return list
    return lambda values: [x if x is None else write(x) for x in values]
