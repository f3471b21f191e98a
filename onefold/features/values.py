"""Between JSON and the plain Python values inside Onefold (`features.types`), both ways, by type.

| type      | JSON in                                                       | JSON out            |
|-----------|---------------------------------------------------------------|---------------------|
| BOOLEAN   | true, false                                                   | the same            |
| BIGINT    | an integral number in 64 bits (`3.0` is 3, to 2^53)           | a number            |
| DOUBLE    | a number, "NaN", "Infinity", "-Infinity"                      | the same            |
| VARCHAR   | text that UTF-8 can hold                                      | the same            |
| TIMESTAMP | "2013-12-01T08:30:00Z"; `Z` or an offset; floored to microseconds | "...Z"          |
| DATE      | "2013-12-01"                                                  | the same            |
| DECIMAL   | "12.30", or a number of at most 15 digits; never rounded      | "12.30", all digits |
| LIST      | an array of what its items take                               | an array            |

null is NULL for every type. What is refused raises ValueError with the reason alone: the caller
knows the column.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any

from onefold.features.types import (
    BIGINT,
    BIGINT_MAX,
    BIGINT_MIN,
    BOOLEAN,
    DATE,
    DOUBLE,
    MAX_PRECISION,
    TIMESTAMP,
    TIMESTAMP_MAX,
    TIMESTAMP_MIN,
    VARCHAR,
    DataType,
)

Parser = Callable[[object], object]
"""One JSON value to one internal value; raises ValueError with the reason."""
Writer = Callable[[Any], object]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\d[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?(Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)?",
    re.ASCII,
)
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_EXACT = 2**53
_DECIMAL = re.compile(r"([+-]?)([0-9]{1,100})(?:\.([0-9]{1,100}))?", re.ASCII)
_SURE_DIGITS = 15


def shown(value: object) -> str:
    """A value as an error message shows it: JSON-like, and never longer than 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _refused(value: object, kind: str, hint: str) -> ValueError:
    return ValueError(f"{shown(value)} is not a {kind}; {hint}")


def parse_timestamp(value: object) -> int | None:
    """ISO 8601 text with `Z` or an offset to microseconds since the epoch, floored.

    >>> parse_timestamp("1970-01-01T01:00:00.0000019+01:00")
    1
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise _refused(value, "TIMESTAMP", "write it as '2013-12-01T08:30:00Z'")
    match = _TIMESTAMP.fullmatch(value)
    if match is None:
        raise _refused(value, "TIMESTAMP", "write it as '2013-12-01T08:30:00Z'")
    if match[1] is None:
        raise ValueError(f"{shown(value)} has no time zone; end it with 'Z' (UTC) or an offset as '+01:00'")
    try:
        delta = datetime.fromisoformat(value) - _EPOCH
    except ValueError as error:
        raise ValueError(f"{shown(value)} is not a TIMESTAMP: {error}") from None
    micros = (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    if not TIMESTAMP_MIN <= micros <= TIMESTAMP_MAX:
        raise ValueError(f"{shown(value)} lies outside the years 0001-9999 in UTC")
    return micros


def parse_date(value: object) -> int | None:
    """ISO 8601 date to days since the epoch."""
    if value is None:
        return None
    if not isinstance(value, str) or _DATE.fullmatch(value) is None:
        raise _refused(value, "DATE", "write it as '2013-12-01'")
    try:
        return date.fromisoformat(value).toordinal() - _EPOCH_ORDINAL
    except ValueError as error:
        raise ValueError(f"{shown(value)} is not a DATE: {error}") from None


def parse_boolean(value: object) -> bool | None:
    """true and false, nothing else: 0, 1 and texts are refused."""
    if value is None or isinstance(value, bool):
        return value
    raise _refused(value, "BOOLEAN", "write true or false")


def parse_bigint(value: object) -> int | None:
    """An integral number of 64 bits; a float only where it is exact."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused(value, "BIGINT", "write a whole number")
    if isinstance(value, float):
        if not (value.is_integer() and abs(value) <= _EXACT):
            raise _refused(value, "BIGINT", "write a whole number of at most 64 bits")
        return int(value)
    if not BIGINT_MIN <= value <= BIGINT_MAX:
        raise ValueError(f"{shown(value)} is outside BIGINT, -2^63 to 2^63-1")
    return value


def parse_double(value: object) -> float | None:
    """A number, or one of the three texts for what JSON numbers cannot say; -0.0 becomes 0.0."""
    if value is None:
        return None
    if isinstance(value, str) and value in _SPECIAL:
        return _SPECIAL[value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused(value, "DOUBLE", 'write a number, or "NaN", "Infinity", "-Infinity"')
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{shown(value)} is too large for DOUBLE") from None
    return math.nan if math.isnan(number) else number + 0.0


def parse_varchar(value: object) -> str | None:
    """Text that has a UTF-8 form (a lone surrogate has none)."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise _refused(value, "VARCHAR", "write it in quotes")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{ascii(value)[:60]} holds half a surrogate pair, which is no text") from None
    return value


def unscaled(text: str, kind: DataType) -> int | None:
    """A DECIMAL's internal value from plain digits with an optional sign and point; None where they are not that.

    Raises ValueError where the type cannot hold the value whole; zeros at its end are no loss.

    >>> from onefold.features.types import decimal
    >>> unscaled("12.3", decimal(10, 2)), unscaled("1e3", decimal(10, 2))
    (1230, None)
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        return None
    fraction = (match[3] or "").rstrip("0")
    if len(fraction) > kind.scale:
        raise ValueError(f"{shown(text)} has {len(fraction)} digits behind the point, {kind} holds {kind.scale}")
    value = int(match[2] + fraction.ljust(kind.scale, "0"))
    if value >= 10**kind.precision:
        raise ValueError(f"{shown(text)} is too large for {kind}")
    return -value if match[1] == "-" else value


def _number_text(value: int | float) -> str:
    """The plain digits of a JSON number; ValueError for one that may have lost some when it was read."""
    if isinstance(value, int):
        if abs(value) >= 10**MAX_PRECISION:
            raise ValueError(f"a number of more than {MAX_PRECISION} digits is too large for any DECIMAL")
        return str(value)
    if not math.isfinite(value):
        raise ValueError(f"{shown(value)} is not a DECIMAL; send a finite number, or null")
    number = Decimal(repr(value))
    if len(number.as_tuple().digits) > _SURE_DIGITS or abs(value) >= 10.0**_SURE_DIGITS:
        raise ValueError(f"{shown(value)} has more digits than a JSON number surely keeps; send it as text")
    return format(number, "f")


def _decimal_parser(kind: DataType) -> Parser:
    hint = f'write it as "12.30", or as a number of at most {_SURE_DIGITS} digits'

    def parse_decimal(value: object) -> int | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise _refused(value, kind.name, hint)
        found = unscaled(value if isinstance(value, str) else _number_text(value), kind)
        if found is None:
            raise _refused(value, kind.name, hint)
        return found

    return parse_decimal


def list_parser(kind: DataType, parse: Parser) -> Parser:
    """The parser of a LIST, by that of its items."""

    def parse_list(value: object) -> tuple[object, ...] | None:
        if value is None:
            return None
        if not isinstance(value, list | tuple):
            raise _refused(value, kind.name, "write it as an array, as [..]")
        place = 0
        found = []
        try:
            for place, x in enumerate(value):  # noqa: B007
                found.append(parse(x))
        except ValueError as error:
            raise ValueError(f"item {place}: {error}") from None
        return tuple(found)

    return parse_list


_PARSERS: Mapping[DataType, Parser] = {
    BOOLEAN: parse_boolean,
    BIGINT: parse_bigint,
    DOUBLE: parse_double,
    VARCHAR: parse_varchar,
    TIMESTAMP: parse_timestamp,
    DATE: parse_date,
}


@cache
def parser(kind: DataType) -> Parser:
    """The parser of a type, to be looked up once and called per value."""
    if kind.item is not None:
        return list_parser(kind, parser(kind.item))
    return _decimal_parser(kind) if kind.is_decimal else _PARSERS[kind]


def parse_json(value: object, kind: DataType) -> object:
    """One JSON value (as json or orjson decoded it) to its internal value.

    >>> from onefold.features.types import BIGINT
    >>> parse_json(3.0, BIGINT)
    3
    """
    return parser(kind)(value)


def timestamp_text(micros: int) -> str:
    """ISO 8601 with `Z`; six decimals, or none where the second is whole.

    >>> timestamp_text(1)
    '1970-01-01T00:00:00.000001Z'
    """
    seconds, rest = divmod(micros, 1_000_000)
    return f"{_second_text(seconds)}.{rest:06}Z" if rest else f"{_second_text(seconds)}Z"


@lru_cache(maxsize=256)
def _second_text(seconds: int) -> str:
    """Kept, since those who ask what is now ask many times a second."""
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:-6]


def date_text(days: int) -> str:
    """ISO 8601 date of days since the epoch."""
    return date.fromordinal(days + _EPOCH_ORDINAL).isoformat()


def _double_json(value: float) -> object:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def decimal_text(value: int, scale: int) -> str:
    """A DECIMAL's internal value with all digits of its scale.

    >>> decimal_text(-5, 2), decimal_text(7, 0)
    ('-0.05', '7')
    """
    sign, digits = "-" if value < 0 else "", str(abs(value)).rjust(scale + 1, "0")
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}" if scale else sign + digits


def decimal_double(value: int, scale: int) -> float:
    """A DECIMAL's internal value as the nearest DOUBLE, half to even."""
    return float(value / 10**scale)


_WRITERS: Mapping[DataType, Writer] = {DOUBLE: _double_json, TIMESTAMP: timestamp_text, DATE: date_text}


@cache
def writer(kind: DataType) -> Writer | None:
    """From an internal value that is not NULL to its JSON; None where it is its own: BOOLEAN, BIGINT, VARCHAR."""
    if kind.is_decimal:
        return lambda value: decimal_text(value, kind.scale)
    if kind.item is None:
        return _WRITERS.get(kind)
    write = writer(kind.item)
    if write is None:
        return list
    return lambda values: [x if x is None else write(x) for x in values]


def to_json(value: object, kind: DataType) -> object:
    """An internal value as what json or orjson writes; `parse_json` reads it back the same."""
    write = writer(kind)
    return value if value is None or write is None else write(value)
