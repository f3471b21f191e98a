"""Conversions between types, as plain Python functions; what has no value gives None.

From VARCHAR there is one grammar for each type. Whatever else an engine would take (blanks, `1_000`, `0x10`,
offsets) is NULL on every engine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from onefold.features.types import (
    BIGINT,
    BIGINT_MAX,
    BIGINT_MIN,
    BOOLEAN,
    DATE,
    DATE_MIN,
    DOUBLE,
    MICROS_PER_DAY,
    TIMESTAMP,
    VARCHAR,
    DataType,
)

_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
GRAMMAR = {
    BIGINT: "[+-]?[0-9]{1,19}",
    DOUBLE: "[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,4})?",
    DATE: _DAY,
    TIMESTAMP: f"{_DAY}([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{{1,6}})?)?Z?)?",
}
"""Regular expressions that mean the same to Python, RE2 and Java."""
WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""What a DOUBLE may be in text beside a number."""
TRUE, FALSE = ("true", "t", "1"), ("false", "f", "0")
"""A BOOLEAN in text; ASCII letters of both cases."""
_PATTERNS = {kind: re.compile(grammar) for kind, grammar in GRAMMAR.items()}


def double_to_bigint(x: float) -> int | None:
    """Half to even; None outside BIGINT, and for NaN.

    >>> double_to_bigint(2.5), double_to_bigint(1e19)
    (2, None)
    """
    return round(x) if BIGINT_MIN <= x < -float(BIGINT_MIN) else None


def varchar_to_bigint(text: str) -> int | None:
    """An optional sign and at most 19 digits, nothing else; None otherwise.

    >>> varchar_to_bigint("-7"), varchar_to_bigint("1_000")
    (-7, None)
    """
    if not _PATTERNS[BIGINT].fullmatch(text):
        return None
    value = int(text)
    return value if BIGINT_MIN <= value <= BIGINT_MAX else None


def varchar_to_double(text: str) -> float | None:
    """The nearest DOUBLE of a decimal number; None where that is beyond the greatest one.

    >>> varchar_to_double("1e-3"), varchar_to_double("-Infinity"), varchar_to_double("1e999"), varchar_to_double(" 1")
    (0.001, -inf, None, None)
    """
    if text in WORDS:
        return WORDS[text]
    value = float(text) + 0.0 if _PATTERNS[DOUBLE].fullmatch(text) else math.inf
    return value if math.isfinite(value) else None


def varchar_to_boolean(text: str) -> bool | None:
    """
    >>> varchar_to_boolean("True"), varchar_to_boolean("0"), varchar_to_boolean("yes")
    (True, False, None)
    """
    word = text.lower() if text.isascii() else text
    return True if word in TRUE else False if word in FALSE else None


def varchar_to_date(text: str) -> int | None:
    """
    >>> varchar_to_date("1970-01-02"), varchar_to_date("2013-02-29")
    (1, None)
    """
    try:
        return date.fromisoformat(text).toordinal() - 1 + DATE_MIN if _PATTERNS[DATE].fullmatch(text) else None
    except ValueError:
        return None


def varchar_to_timestamp(text: str) -> int | None:
    """A date, or a date and a time of day, in UTC; `Z` may say so.

    >>> varchar_to_timestamp("1970-01-01T00:00:01.5Z"), varchar_to_timestamp("1970-01-01 00:00+01:00")
    (1500000, None)
    """
    if not _PATTERNS[TIMESTAMP].fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text.removesuffix("Z"))
    except ValueError:
        return None
    days = moment.toordinal() - 1 + DATE_MIN
    seconds = (moment.hour * 60 + moment.minute) * 60 + moment.second
    return days * MICROS_PER_DAY + seconds * 1_000_000 + moment.microsecond


def date_to_varchar(days: int) -> str:
    return date.fromordinal(days - DATE_MIN + 1).isoformat()


def timestamp_to_varchar(us: int) -> str:
    """Date and time of day with a blank between; a fraction without zeros at its end.

    >>> timestamp_to_varchar(1_500_000), timestamp_to_varchar(-1)
    ('1970-01-01 00:00:01.5', '1969-12-31 23:59:59.999999')
    """
    days, rest = divmod(us, MICROS_PER_DAY)
    seconds, fraction = divmod(rest, 1_000_000)
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{date_to_varchar(days)} {clock}" + (f".{fraction:06d}".rstrip("0") if fraction else "")


CASTS: dict[tuple[DataType, DataType], Callable[[Any], Any]] = {
    (BIGINT, DOUBLE): float,
    (DOUBLE, BIGINT): double_to_bigint,
    (BOOLEAN, BIGINT): int,
    (BOOLEAN, DOUBLE): float,
    (BIGINT, BOOLEAN): bool,
    (BIGINT, VARCHAR): str,
    (BOOLEAN, VARCHAR): lambda b: "true" if b else "false",
    (DATE, VARCHAR): date_to_varchar,
    (TIMESTAMP, VARCHAR): timestamp_to_varchar,
    (VARCHAR, BIGINT): varchar_to_bigint,
    (VARCHAR, DOUBLE): varchar_to_double,
    (VARCHAR, BOOLEAN): varchar_to_boolean,
    (VARCHAR, DATE): varchar_to_date,
    (VARCHAR, TIMESTAMP): varchar_to_timestamp,
    (TIMESTAMP, DATE): lambda t: t // MICROS_PER_DAY,
    (DATE, TIMESTAMP): lambda d: d * MICROS_PER_DAY,
}
"""The conversions that one rule defines on every engine."""
