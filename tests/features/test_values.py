from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
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
from onefold.features.values import decimal_double, decimal_text, parse_json, to_json

MONEY = decimal(5, 2)
VALUES: dict[DataType, st.SearchStrategy[object]] = {
    BOOLEAN: st.booleans(),
    BIGINT: st.integers(BIGINT_MIN, BIGINT_MAX),
    DOUBLE: st.floats(),
    VARCHAR: st.text(),
    TIMESTAMP: st.integers(TIMESTAMP_MIN, TIMESTAMP_MAX),
    DATE: st.integers(DATE_MIN, DATE_MAX),
    **{decimal(p, s): st.integers(1 - 10**p, 10**p - 1) for p, s in ((1, 0), (1, 1), (15, 2), (38, 0), (38, 38))},
}
VALUES |= {list_of(kind): st.lists(st.none() | values, max_size=4).map(tuple) for kind, values in VALUES.items()}


@pytest.mark.parametrize("kind", VALUES, ids=str)
def test_every_value_survives_json(kind: DataType) -> None:
    @given(VALUES[kind])
    def survives(value: object) -> None:
        text = json.dumps(to_json(value, kind), allow_nan=False)
        back = parse_json(json.loads(text), kind)
        assert back == value or repr(back) == repr(value)

    survives()


@given(st.integers(1 - 10**15, 10**15 - 1), st.integers(0, 15))
def test_a_number_of_15_digits_is_its_decimal(digits: int, scale: int) -> None:
    number = json.loads(decimal_text(digits, scale))
    assert parse_json(number, decimal(15, scale)) == digits
    assert decimal_double(digits, scale) == float(number)


@pytest.mark.parametrize("kind", VALUES, ids=str)
def test_null_is_null_for_every_type(kind: DataType) -> None:
    assert parse_json(None, kind) is None
    assert to_json(None, kind) is None


@pytest.mark.parametrize(
    ("kind", "given_value", "expected"),
    [
        (TIMESTAMP, "1970-01-01T00:00:00Z", 0),
        (TIMESTAMP, "1970-01-01 00:00Z", 0),
        (TIMESTAMP, "1970-01-01T01:00:00+01:00", 0),
        (TIMESTAMP, "1969-12-31T23:59:59.9999999Z", -1),
        (TIMESTAMP, "1970-01-01T00:00:00.000001999Z", 1),
        (TIMESTAMP, "1970-01-01T00:00:00.5Z", 500_000),
        (DATE, "1970-01-02", 1),
        (DATE, "0001-01-01", DATE_MIN),
        (BIGINT, 3.0, 3),
        (BIGINT, -(2**63), BIGINT_MIN),
        (DOUBLE, 1, 1.0),
        (DOUBLE, "Infinity", math.inf),
        (VARCHAR, "", ""),
        (MONEY, "12.30", 1230),
        (MONEY, "-012.300", -1230),
        (MONEY, 12.3, 1230),
        (MONEY, 12, 1200),
        (MONEY, 1e2, 10_000),
        (MONEY, "-0.00", 0),
        (list_of(DOUBLE), [], ()),
        (list_of(DOUBLE), [1, None, -0.0], (1.0, None, 0.0)),
        (list_of(DATE), ["1970-01-02"], (1,)),
        (list_of(MONEY), ["1", 2.5], (100, 250)),
    ],
)
def test_what_is_accepted(kind: DataType, given_value: object, expected: object) -> None:
    result = parse_json(given_value, kind)
    assert result == expected
    assert type(result) is type(expected)


def test_negative_zero_becomes_zero() -> None:
    assert math.copysign(1.0, parse_json(-0.0, DOUBLE)) == 1.0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "given_value", "reason"),
    [
        (TIMESTAMP, "2013-12-01T08:30:00", "no time zone"),
        (TIMESTAMP, "2013-02-30T08:30:00Z", "not a TIMESTAMP"),
        (TIMESTAMP, "2013-12-01T24:00:00Z", "not a TIMESTAMP"),
        (TIMESTAMP, "0001-01-01T00:00:00+01:00", "years 0001-9999"),
        (TIMESTAMP, 1385886600, "not a TIMESTAMP"),
        (TIMESTAMP, "٢٠١٣-12-01T08:30:00Z", "not a TIMESTAMP"),
        (DATE, "2013-12-01T00:00:00Z", "not a DATE"),
        (DATE, "2013-02-30", "not a DATE"),
        (DATE, "20131201", "not a DATE"),
        (BOOLEAN, 1, "not a BOOLEAN"),
        (BOOLEAN, "true", "not a BOOLEAN"),
        (BIGINT, True, "not a BIGINT"),
        (BIGINT, 1.5, "whole number"),
        (BIGINT, 1.8446744073709552e19, "whole number"),
        (BIGINT, math.nan, "whole number"),
        (BIGINT, 2**63, "outside BIGINT"),
        (BIGINT, "7", "not a BIGINT"),
        (DOUBLE, False, "not a DOUBLE"),
        (DOUBLE, "1.5", "not a DOUBLE"),
        (DOUBLE, 10**400, "too large"),
        (VARCHAR, 7, "in quotes"),
        (VARCHAR, "\ud800", "surrogate"),
        (VARCHAR, ["a"], "in quotes"),
        (MONEY, "12.301", r"3 digits behind the point, DECIMAL\(5,2\) holds 2"),
        (MONEY, 12.301, "3 digits behind the point"),
        (MONEY, "1000", "too large"),
        (MONEY, 1000, "too large"),
        (MONEY, 10**4000, "too large"),
        (MONEY, 0.1 + 0.2, "send it as text"),
        (decimal(38, 0), 1e20, "send it as text"),
        (MONEY, math.inf, "finite"),
        (MONEY, "1e2", "not a DECIMAL"),
        (MONEY, "1_0", "not a DECIMAL"),
        (MONEY, " 1", "not a DECIMAL"),
        (MONEY, "٣", "not a DECIMAL"),
        (MONEY, True, "not a DECIMAL"),
        (list_of(BIGINT), "[1]", "an array"),
        (list_of(BIGINT), [1, "x"], "item 1: 'x' is not a BIGINT"),
        (list_of(BIGINT), [[1]], "item 0: .* is not a BIGINT"),
    ],
)
def test_what_is_refused_and_why(kind: DataType, given_value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_json(given_value, kind)


def test_a_reason_stays_short_for_a_huge_value() -> None:
    with pytest.raises(ValueError, match="not a BIGINT") as caught:
        parse_json("x" * 1_000_000, BIGINT)
    assert len(str(caught.value)) < 200
