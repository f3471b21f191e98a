from __future__ import annotations

import math
import struct

import pyarrow as pa
import pytest

from onefold.verify.compare import differing, same, ulps_apart

NEXT = math.nextafter(1.0, 2.0)
OTHER_NAN = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))[0]


@pytest.mark.parametrize(
    ("a", "b", "differs"),
    [
        (1.0, 1.0, False), (1.0, NEXT, True), (None, None, False), (None, 0.0, True), (0.0, None, True),
        (math.nan, OTHER_NAN, False), (math.nan, math.inf, True), (0.0, -0.0, True), (math.inf, math.inf, False),
    ],
)  # fmt: skip
def test_doubles_are_compared_by_their_bits(a: float | None, b: float | None, differs: bool) -> None:
    pair = pa.array([a], pa.float64()), pa.array([b], pa.float64())
    assert differing(*pair).tolist() == [differs]
    assert differing(*(pa.chunked_array([x]) for x in pair)).tolist() == [differs]


@pytest.mark.parametrize("start", [1.0, -1.0, 0.0, 5e-324, 1e300, 2.0**52])
def test_neighbours_are_one_unit_apart(start: float) -> None:
    up = math.nextafter(start, math.inf)
    twice = math.nextafter(up, math.inf)
    assert (ulps_apart(start, up), ulps_apart(start, twice)) == (1, 2)
    assert [differing(pa.array([start]), pa.array([x]), ulps=1).tolist() for x in (up, twice)] == [[False], [True]]


@pytest.mark.parametrize(
    ("kind", "a", "b"),
    [
        (pa.int64(), 1, 2), (pa.string(), "a", "b"), (pa.bool_(), True, False), (pa.date32(), 1, 2),
        (pa.timestamp("us", "UTC"), 1, 2),
    ],
)  # fmt: skip
def test_other_types_differ_where_they_are_not_equal(kind: pa.DataType, a: object, b: object) -> None:
    first, second = pa.array([a, b, None, a], kind), pa.array([a, a, a, None], kind)
    assert differing(first, second).tolist() == [False, True, True, True]
    assert not differing(first, first).any()


def test_single_values_follow_the_same_rule() -> None:
    assert same(None, None) and not same(None, 0) and same(math.nan, OTHER_NAN)
    assert same(1.0, NEXT, ulps=1) and not same(1.0, NEXT)
