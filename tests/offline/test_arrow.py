"""What comes in from Arrow is cast without loss, or refused in words that help."""

from __future__ import annotations

import math
from decimal import Context, Decimal

import pyarrow as pa
import pytest

from onefold.features.errors import InputError
from onefold.features.types import (
    BIGINT,
    BOOLEAN,
    DATE,
    DOUBLE,
    TIMESTAMP,
    TIMESTAMP_MAX,
    TIMESTAMP_MIN,
    VARCHAR,
    Field,
    decimal,
    list_of,
)
from onefold.offline.arrow import arrow_type, conform, doubles, from_internal, rows_of, schema_of, to_internal, type_of

UTC = pa.timestamp("us", tz="UTC")


def conformed(array: pa.Array, kind: object) -> pa.ChunkedArray:
    return conform(pa.table({"x": array}), [Field("x", kind)], what="spine").column("x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (BOOLEAN, [True, None, False]),
        (BIGINT, [-(2**63), None, 2**63 - 1]),
        (DOUBLE, [0.1, None, math.inf, 5e-324]),
        (VARCHAR, ["", None, "naïve \U0001f600 \x00"]),
        (TIMESTAMP, [TIMESTAMP_MIN, None, -1, 0, TIMESTAMP_MAX]),
        (DATE, [-719_162, None, 2_932_896]),
        (decimal(5, 2), [-99_999, None, 1]),
        (decimal(38, 10), [1 - 10**38, None, 10**38 - 1, -1, 2**64, -(2**63)]),
        (list_of(BIGINT), [(1, None), None, (), (2**63 - 1,)]),
        (list_of(VARCHAR), [("é", ""), (None,)]),
        (list_of(TIMESTAMP), [(TIMESTAMP_MIN, TIMESTAMP_MAX), None]),
        (list_of(decimal(38, 0)), [None, (10**38 - 1, None), ()]),
        (list_of(BOOLEAN), []),
    ],
)
def test_internal_values_survive_a_round_trip(kind: object, values: list[object]) -> None:
    array = from_internal(values, kind)  # type: ignore[arg-type]
    assert array.type == arrow_type(kind)  # type: ignore[arg-type]
    assert to_internal(array) == values
    assert to_internal(conformed(array, kind)) == values
    assert to_internal(array.slice(1)) == values[1:]
    halves = pa.chunked_array([array.slice(0, 1), array.slice(1)])
    assert to_internal(halves) == to_internal(conformed(halves, kind)) == values
    array.validate(full=True)
    assert type_of(array.type) == kind


def test_schema_keeps_order_and_marks_required_columns() -> None:
    schema = schema_of([Field("b", VARCHAR), Field("a", TIMESTAMP)], required=("a",))
    assert schema.names == ["b", "a"]
    assert [f.nullable for f in schema] == [True, False]


@pytest.mark.parametrize(
    ("array", "kind", "expected"),
    [
        (pa.array([1, None], pa.int8()), BIGINT, [1, None]),
        (pa.array([1, 2**63 - 1], pa.uint64()), BIGINT, [1, 2**63 - 1]),
        (pa.array([0.5], pa.float32()), DOUBLE, [0.5]),
        (pa.array([3, None], pa.int64()), DOUBLE, [3.0, None]),
        (pa.array(["a", None], pa.large_string()), VARCHAR, ["a", None]),
        (pa.array(["a", None, "a"]).dictionary_encode(), VARCHAR, ["a", None, "a"]),
        (pa.array([86_400_000], pa.date64()), DATE, [1]),
        (pa.array([2], pa.timestamp("s", tz="+00:00")), TIMESTAMP, [2_000_000]),
        (pa.array([2, None], pa.timestamp("us", tz="Etc/UTC")), TIMESTAMP, [2, None]),
        (pa.nulls(2), TIMESTAMP, [None, None]),
        (pa.nulls(2), list_of(BIGINT), [None, None]),
        (pa.array([Decimal("1.50"), None], pa.decimal128(9, 3)), decimal(5, 2), [150, None]),
        (pa.array([Decimal("1.5")], pa.decimal256(50, 1)), decimal(38, 30), [15 * 10**29]),
        (pa.array([Decimal("1.5")], pa.decimal32(5, 1)), decimal(5, 2), [150]),
        (pa.array([7, None], pa.int8()), decimal(5, 2), [700, None]),
        (pa.array([2**64 - 1], pa.uint64()), decimal(38, 17), [(2**64 - 1) * 10**17]),
        (pa.array([[1, None], None, []], pa.large_list(pa.int8())), list_of(BIGINT), [(1, None), None, ()]),
        (pa.array([[1, 2], None], pa.list_(pa.int32(), 2)), list_of(DOUBLE), [(1.0, 2.0), None]),
        (pa.array([[None], []], pa.list_(pa.null())), list_of(DATE), [(None,), ()]),
        (pa.array([["a"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))), list_of(VARCHAR), [("a",)]),
    ],
)
def test_casts_lose_nothing(array: pa.Array, kind: object, expected: list[object]) -> None:
    assert to_internal(conformed(array, kind)) == expected


def test_nanoseconds_are_floored_also_before_1970() -> None:
    nanos = pa.array([-1, -1000, -1001, 0, 999, 1000, None], pa.timestamp("ns", tz="UTC"))
    assert to_internal(conformed(nanos, TIMESTAMP)) == [-1, -1, -2, 0, 0, 1, None]


def test_doubles_are_canonical() -> None:
    odd_nan = pa.Array.from_buffers(
        pa.float64(), 2, [None, pa.py_buffer(bytes.fromhex("010000000000f8ff0000000000000080"))]
    )
    cast = conformed(odd_nan, DOUBLE).combine_chunks()
    assert cast.buffers()[1].to_pybytes()[:16].hex() == "000000000000f87f" + "00" * 8


@pytest.mark.parametrize(
    ("array", "kind", "words"),
    [
        (pa.array([0], pa.timestamp("us")), TIMESTAMP, ["names no time zone", "assume_timezone"]),
        (pa.array([0], pa.timestamp("us", tz="America/New_York")), TIMESTAMP, ["America/New_York", "tz_convert"]),
        (pa.array(["2013-01-01"]), TIMESTAMP, ["string", "TIMESTAMP", "cast"]),
        (pa.array([2**63], pa.uint64()), BIGINT, ["does not fit BIGINT"]),
        (pa.array([2**53 + 1]), DOUBLE, ["does not fit DOUBLE"]),
        (pa.array([1.0]), BIGINT, ["double", "BIGINT"]),
        (pa.array([1]), VARCHAR, ["int64", "VARCHAR"]),
        (pa.array([1]), BOOLEAN, ["int64", "BOOLEAN"]),
        (pa.array([TIMESTAMP_MAX + 1], pa.int64()).cast(UTC), TIMESTAMP, ["years 0001 to 9999"]),
        (pa.array([2**31 - 1], pa.int32()).cast(pa.date32()), DATE, ["years 0001 to 9999"]),
        (pa.array([Decimal("1.501")], pa.decimal128(9, 3)), decimal(5, 2), ["does not fit DECIMAL(5,2)", "data loss"]),
        (pa.array([1000]), decimal(5, 2), ["does not fit DECIMAL(5,2)"]),
        (pa.array([1.5]), decimal(5, 2), ["double", "DECIMAL(5,2)", "decimal128(5, 2)"]),
        (pa.array([[1.5]]), list_of(BIGINT), ["list<item: double>", "BIGINT[]"]),
        (pa.array([1]), list_of(BIGINT), ["int64", "BIGINT[]"]),
        (pa.array([[TIMESTAMP_MAX + 1]], pa.list_(UTC)), list_of(TIMESTAMP), ["years 0001 to 9999"]),
        (pa.array([2**62], pa.int64()).cast(pa.timestamp("s", tz="UTC")), TIMESTAMP, ["does not fit TIMESTAMP"]),
    ],
)
def test_what_does_not_fit_is_refused_in_words(array: pa.Array, kind: object, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        conformed(array, kind)
    assert str(caught.value).startswith("spine: column 'x'")
    assert all(word in str(caught.value) for word in words)


def test_numbers_become_the_nearest_double() -> None:
    wide = [10**17 + 1, 3, None, 10**38 - 1]
    found = doubles(from_internal(wide, decimal(38, 1)))
    assert found.to_pylist() == [None if v is None else float(Decimal(v).scaleb(-1, Context(prec=50))) for v in wide]
    assert doubles(pa.array([True, None, False])).to_pylist() == [1.0, None, 0.0]
    assert doubles(pa.array([2**53 + 1])).to_pylist() == [2.0**53]


def test_missing_column_names_the_nearest() -> None:
    with pytest.raises(InputError, match="column 'amout' is missing; did you mean 'amount'"):
        conform(pa.table({"amount": [1]}), [Field("amout", BIGINT)], what="spine")


def test_doubled_column_is_refused() -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(InputError, match="there 2 times"):
        conform(twice, [Field("a", BIGINT)], what="spine")


def test_rows_are_tuples_of_internal_values() -> None:
    table = pa.table({"t": pa.array([5, None], UTC), "s": ["a", "b"]})
    assert list(rows_of(table)) == [(5, "a"), (None, "b")]
    assert list(rows_of(table.slice(0, 0))) == []
