"""Values that break engines: each type has palettes of a few values, so that not every sum is NaN or NULL."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from onefold.features.types import (
    BIGINT,
    BIGINT_MAX,
    BIGINT_MIN,
    BOOLEAN,
    DATE,
    DATE_MAX,
    DATE_MIN,
    DOUBLE,
    TIMESTAMP,
    TIMESTAMP_MAX,
    TIMESTAMP_MIN,
    VARCHAR,
    DataType,
    decimal,
    list_of,
)

Palette = st.SearchStrategy[st.SearchStrategy[Any]]
"""Draws a strategy for the values of one column of one case."""


def palette(*choices: Sequence[Any], other: st.SearchStrategy[Any]) -> Palette:
    """A few values and NULL, only NULL, or any value at all."""
    return st.sampled_from([*(st.sampled_from([*choice, None]) for choice in (*choices, ())), st.none() | other])


CENTS = (0.0, 0.01, 0.29, 0.57, 35.55, 1.1, -7.25, 100.0, 1234.56, -0.01, 1e7)
GRID = (
    0.1, 2.0**-72, -(2.0**-72), -3 * 2.0**-71, -(2.0**-73), 3 * 2.0**-73, 1e-30, 1e15 + 0.3, 2.0**53 - 1,
    -(2.0**52) - 0.5, 1.7e9, 0.0, 5e-324,
)  # fmt: skip
CLOSE = (1.7e9, 1.7e9 + 2.0**-7, 1.7e9 + 2.0**-6, 0.1, 0.1 + 2.0**-55, 3.0)
"""Far from zero and near each other: what makes the variance of a naive engine wrong, or negative."""
BORDER = (2.0**53, -(2.0**53), 2.0**53 - 1, 9.3e18, 2.0**63, -(2.0**63), 1e308, -1e308, 0.5, 1.5, 2.5, -2.5)
SPECIAL = (math.nan, math.inf, -math.inf, 1.0, 0.0, -3.5, 1e308)
DOUBLES = palette(
    CENTS,
    CENTS,
    CENTS,
    GRID,
    GRID,
    GRID,
    CLOSE,
    CLOSE,
    BORDER,
    SPECIAL,
    SPECIAL,
    other=st.floats().map(lambda v: v + 0.0),
)
_SMALL = (0, 1, -1, 2, 7, -10, 100)
_LARGE = (BIGINT_MIN, BIGINT_MAX, 0, -1, 2**53 + 1, 2**62, 10**18, -(2**53) - 1)
BIGINTS = palette(_SMALL, _SMALL, _LARGE, _LARGE, other=st.integers(BIGINT_MIN, BIGINT_MAX))
TEXTS = (
    "", "a", "A", "aé", "ae\u0301", "ß", "İ", "🛫", "12", "+7", "-0", "1_0", " 1", "9223372036854775808", "a'b",
    "\uffff", "A|b", "x,Y,z", "{}", "%", "\\", "\t", "0x1F", "1.50", "-0.005", "TRUE", "2013-02-28",
    "2013-03-01 00:00:00", "2013-03-01T00:00:00Z", "9999-12-31",
)  # fmt: skip
_DATES = (0, -1, 15_775, DATE_MIN, DATE_MAX, 11_016, -25_509)
_STAMPS = (0, -1, 1, TIMESTAMP_MIN, TIMESTAMP_MAX, 951_782_399_999_999, -2_208_988_800_000_001, 1_362_096_000_000_000)
MONEY, LONG = decimal(10, 2), decimal(38, 9)
NUMBERS, WORDS, FLOATS = list_of(BIGINT), list_of(VARCHAR), list_of(DOUBLE)
_CENTS_OF_MONEY = (0, 1, -1, 50, 12_345, -99_999, 9_999_999_999, -9_999_999_999)
_LONGS = (0, 1, -(10**9), 5 * 10**8, 10**38 - 1, -(10**38) + 1, 2**63 * 10**9, 10**37)


def _lists(*items: Any) -> Palette:
    """Lists of a few items and NULL: empty, short, of NULLs, and NULL itself."""
    some = st.lists(st.sampled_from([*items, None]), max_size=3).map(tuple)
    return st.sampled_from([some, some, st.none(), st.none() | some])


PALETTES: dict[DataType, Palette] = {
    BOOLEAN: palette((True, False), (True,), (True, True, True, False), other=st.booleans()),
    BIGINT: BIGINTS,
    DOUBLE: DOUBLES,
    VARCHAR: palette(TEXTS, TEXTS, ("a", "b"), other=st.text(max_size=4)),
    TIMESTAMP: palette(_STAMPS, _STAMPS, other=st.integers(TIMESTAMP_MIN, TIMESTAMP_MAX)),
    DATE: palette(_DATES, _DATES, other=st.integers(DATE_MIN, DATE_MAX)),
    MONEY: palette(_CENTS_OF_MONEY, _CENTS_OF_MONEY, other=st.integers(-(10**10) + 1, 10**10 - 1)),
    LONG: palette(_LONGS, _LONGS, other=st.integers(-(10**38) + 1, 10**38 - 1)),
    NUMBERS: _lists(0, 1, -1, BIGINT_MIN, BIGINT_MAX),
    WORDS: _lists("", "a", "é", "a,b", "NULL", "'"),
    FLOATS: _lists(0.0, 0.1, math.nan, math.inf, -1e308),
}
LITERALS: dict[DataType, tuple[str, ...]] = {
    BOOLEAN: ("TRUE", "FALSE", "CAST(NULL AS BOOLEAN)"),
    BIGINT: ("0", "1", "-3", "100", "9223372036854775807", "-9223372036854775808", "CAST(NULL AS BIGINT)"),
    DOUBLE: ("0.0", "1.5", "-2.0", "0.1", "1e300", "1e-300", "9007199254740992.0", "CAST(NULL AS DOUBLE)"),
    VARCHAR: ("''", "'a'", "'É'", "'it''s'", "'{0}'", "CAST(NULL AS VARCHAR)"),
    TIMESTAMP: ("TIMESTAMP '2013-03-01 00:00:00'", "TIMESTAMP '0001-01-01 00:00:00'", "CAST(NULL AS TIMESTAMP)"),
    DATE: ("DATE '2013-02-28'", "DATE '9999-12-31'", "CAST(NULL AS DATE)"),
    **{kind: (f"CAST(NULL AS {kind})",) for kind in (MONEY, LONG, NUMBERS, WORDS, FLOATS)},
}
