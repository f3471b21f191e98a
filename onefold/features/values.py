"""Between JSON and the plain Python values inside Onefold (`features.types`), both ways, by type.

| type      | JSON in                                                       | JSON out            |
|-----------|---------------------------------------------------------------|---------------------|
| BOOLEAN   | true, false                                                   | the same            |
| BIGINT    | an integral number in 64 bits (`3.0` is 3, to 2^53)           | a number            |
| DOUBLE    | a number, "NaN", "Infinity", "-Infinity"                      | the same            |
| VARCHAR   | text that UTF-8 can hold                                      | the same            |
| TIMESTAMP | "2013-12-01T08:30:00Z"; `Z` or an offset; floored to microseconds | "...Z"          |
| DATE      | "2013-12-01"                                                  | the same            |

null is NULL for every type. What is refused raises ValueError with the reason alone: the caller
knows the column.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

from onefold.features.types import (
    BIGINT_MAX,
    BIGINT_MIN,
    MICROS_PER_DAY,
    TIMESTAMP_MAX,
    TIMESTAMP_MIN,
    DataType,
)

Parser = Callable[[object], object]
"""One JSON value to one internal value; raises ValueError with the reason."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\d[T ](?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?(Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)?",
    re.ASCII,
)
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_EXACT = 2**53


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


PARSERS: dict[str, Parser] = {
    "BOOLEAN": parse_boolean,
    "BIGINT": parse_bigint,
    "DOUBLE": parse_double,
    "VARCHAR": parse_varchar,
    "TIMESTAMP": parse_timestamp,
    "DATE": parse_date,
}


def parser(kind: DataType) -> Parser:
    """The parser of a type, to be looked up once and called per value."""
    return PARSERS[kind.name]


def parse_json(value: object, kind: DataType) -> object:
    """One JSON value (as json or orjson decoded it) to its internal value.

    >>> from onefold.features.types import BIGINT
    >>> parse_json(3.0, BIGINT)
    3
    """
    return PARSERS[kind.name](value)


def timestamp_text(micros: int) -> str:
    """ISO 8601 with `Z`; six decimals, or none where the second is whole.

    >>> timestamp_text(1)
    '1970-01-01T00:00:00.000001Z'
    """
    days, rest = divmod(micros, MICROS_PER_DAY)
    moment = datetime.fromordinal(days + _EPOCH_ORDINAL) + timedelta(microseconds=rest)
    return moment.isoformat() + "Z"


def date_text(days: int) -> str:
    """ISO 8601 date of days since the epoch."""
    return date.fromordinal(days + _EPOCH_ORDINAL).isoformat()


def _double_json(value: float) -> object:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


WRITERS: dict[str, Callable[..., object]] = {
    "DOUBLE": _double_json,
    "TIMESTAMP": timestamp_text,
    "DATE": date_text,
}
"""Types whose internal value is not its own JSON; BOOLEAN, BIGINT and VARCHAR are."""


def to_json(value: object, kind: DataType) -> object:
    """An internal value as what json or orjson writes; `parse_json` reads it back the same."""
    writer = WRITERS.get(kind.name)
    return value if value is None or writer is None else writer(value)
