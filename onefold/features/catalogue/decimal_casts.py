"""Conversions from and to DECIMAL: in Python, and as SQL templates of each engine.

A value that has more digits behind the point than its new type is rounded half away from zero; one that is too
large is NULL.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from onefold.features.types import BIGINT, BIGINT_MAX, BIGINT_MIN, DOUBLE, MAX_PRECISION, VARCHAR, DataType, decimal
from onefold.features.values import decimal_double, decimal_text

BIGINT_AS_DECIMAL = decimal(19, 0)
_TEXT = re.compile(r"[+-]?[0-9]{1,38}(?:\.[0-9]{1,38})?", re.ASCII)
_PATTERN = r"[+-]?[0-9]{{1,38}}(\.[0-9]{{1,38}})?"
_SURE_DIGITS = 15
"""A DOUBLE holds so many digits of any number, and DuckDB's own conversion of them is the nearest."""


def castable(have: DataType, want: DataType) -> bool:
    """Whether a conversion that has a DECIMAL on one side is defined."""
    if have.is_decimal:
        return want.is_decimal or want in (BIGINT, DOUBLE, VARCHAR)
    return want.is_decimal and have in (BIGINT, VARCHAR)


def may_fail(have: DataType, want: DataType) -> bool:
    """Whether some value of a castable type is NULL in the other."""
    if have == VARCHAR:
        return True
    if want.is_decimal:
        return not widens(BIGINT_AS_DECIMAL if have == BIGINT else have, want)
    return want == BIGINT and have.precision - have.scale >= BIGINT_AS_DECIMAL.precision - 1


def widens(have: DataType, want: DataType) -> bool:
    """Whether every value of one DECIMAL is, when rounded to the scale of another, a value of it."""
    carry = 1 if want.scale < have.scale else 0
    return have.precision - have.scale + carry <= want.precision - want.scale


def rescaled(value: int, have: int, want: int) -> int:
    """An unscaled value of scale `have` as one of scale `want`, rounded half away from zero.

    >>> rescaled(25, 1, 0), rescaled(-25, 1, 0), rescaled(2, 0, 2)
    (3, -3, 200)
    """
    if want >= have:
        return value * int(10 ** (want - have))
    unit = int(10 ** (have - want))
    magnitude = (abs(value) + unit // 2) // unit
    return -magnitude if value < 0 else magnitude


def _fitting(value: int, kind: DataType) -> int | None:
    return value if abs(value) < 10**kind.precision else None


def of_text(text: str, kind: DataType) -> int | None:
    """The DECIMAL that a text says, rounded to its digits; None where it is no number or too large."""
    if _TEXT.fullmatch(text) is None:
        return None
    whole, _, fraction = text.lstrip("+-").partition(".")
    value = rescaled(int(whole + fraction), len(fraction), kind.scale)
    return _fitting(-value if text.startswith("-") else value, kind)


def type_of_text(text: str) -> DataType | None:
    """The least DECIMAL that holds a number as it is written; None where none does.

    >>> type_of_text("-012.30")
    DataType(name='DECIMAL(4,2)')
    """
    if _TEXT.fullmatch(text) is None:
        return None
    whole, _, fraction = text.lstrip("+-").partition(".")
    digits = len(whole.lstrip("0")) + len(fraction)
    return decimal(max(digits, 1), len(fraction)) if digits <= MAX_PRECISION else None


def python(have: DataType, want: DataType) -> Callable[[Any], Any]:
    """The conversion of a value that is not NULL."""
    scale = have.scale
    if have == VARCHAR:
        return lambda text: of_text(text, want)
    if want == DOUBLE:
        return lambda value: decimal_double(value, scale)
    if want == VARCHAR:
        return lambda value: decimal_text(value, scale)
    if want == BIGINT:
        return lambda value: _bigint(rescaled(value, scale, 0))
    return lambda value: _fitting(rescaled(value, scale, want.scale), want)


def _bigint(value: int) -> int | None:
    return value if BIGINT_MIN <= value <= BIGINT_MAX else None


def duckdb(have: DataType, want: DataType) -> str:
    """DuckDB writes .05 for 0.05 of a type that has no digit before the point, and rounds a wide DECIMAL twice on its
    way to DOUBLE; by way of text it is the nearest."""
    if have == VARCHAR:
        return f"CASE WHEN regexp_full_match({{0}}, '{_PATTERN}') THEN TRY_CAST({{0}} AS {want}) END"
    if want == DOUBLE and have.precision > _SURE_DIGITS:
        return "CAST(CAST({0} AS VARCHAR) AS DOUBLE)"
    if want == VARCHAR and have.precision == have.scale:
        return "replace(CAST({0} AS VARCHAR), '.', '0.')"
    return f"TRY_CAST({{0}} AS {want})"


def spark(have: DataType, want: DataType) -> str:
    """try_cast in place of CAST: it writes plain digits without ANSI mode too. Spark's cast to BIGINT cuts."""
    if have == VARCHAR:
        pattern = _PATTERN.replace("\\", "\\\\")
        return f"(CASE WHEN rlike({{0}}, '\\\\A{pattern}\\\\z') THEN try_cast({{0}} AS {want}) END)"
    if want == VARCHAR:
        return "try_cast({0} AS STRING)"
    if want == BIGINT and have.scale:
        return "try_cast(round({0}, 0) AS BIGINT)"
    return f"try_cast({{0}} AS {want})"
