"""Records of a tail, joined by name: with the kernel and without it they are the same bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onefold.features import native
from onefold.features.records import RecordCodec
from onefold.features.types import BIGINT, BOOLEAN, DATE, DOUBLE, TIMESTAMP, VARCHAR, DataType, decimal, list_of

I64 = st.integers(-(2**63), 2**63 - 1)
VALUES: dict[DataType, st.SearchStrategy[Any]] = {
    BIGINT: I64,
    TIMESTAMP: I64,
    DATE: I64,
    BOOLEAN: st.booleans(),
    DOUBLE: st.floats(),
    VARCHAR: st.text(max_size=5),
    decimal(18, 2): I64,
    decimal(30, 2): st.integers(-(10**30), 10**30),
    list_of(VARCHAR): st.lists(st.text(max_size=2), max_size=2).map(tuple),
}
NAMES = [b"a", b"s/b", b"s/c"]


def kernel() -> Any:
    module = native.built()
    assert module is not None, "the kernel was not built; install gcc and run make setup"
    return module


@st.composite
def batches(draw: Any) -> tuple[list[DataType], list[bytes], list[Any]]:
    types = draw(st.lists(st.sampled_from(list(VALUES)), max_size=10))
    count = draw(st.integers(0, 6))

    def rows(values: st.SearchStrategy[Any]) -> list[Any]:
        drawn: list[Any] = draw(st.lists(values, min_size=count, max_size=count))
        return drawn

    names = rows(st.sampled_from(NAMES))
    columns = [rows(VALUES[t] | st.none()) for t in types]
    ids = rows(st.integers(0, 2**64 - 1))
    return types, names, [draw(st.integers(0, 2**32 - 1)), rows(I64), rows(I64), ids, columns]


@given(batches())
def test_blocks_are_the_records_of_each_name_one_by_one(drawn: Any) -> None:
    types, names, (sequence, offsets, ts, ids, columns) = drawn
    codec, expected = RecordCodec(types), dict[bytes, bytes]()
    codec._native = codec._native and kernel().blocks
    for i, name in enumerate(names):
        values = [column[i] for column in columns]
        expected[name] = expected.get(name, b"") + codec.encode(sequence, offsets[i], ts[i], ids[i], values)
    found = codec.blocks(names, sequence, offsets, ts, ids, columns)
    assert found == list(expected.items())
    codec._native = None
    assert codec.blocks(names, sequence, offsets, ts, ids, columns) == found


@pytest.mark.parametrize(
    "wrong",
    [
        {"sequence": 2**32}, {"offsets": [2**63]}, {"ts": [None]}, {"ids": [-1]}, {"ids": [2**64]}, {"ids": ["x"]},
        {"columns": [["x"], [True]]}, {"columns": [[1], [2]]}, {"columns": [[1]]}, {"columns": [[1], [True, False]]},
        {"names": [b"a", b"b"]}, {"columns": [(1,), [True]]}, {"names": [[]]}, {"codes": b"dB"}, {"codes": b"tB"},
    ],
)  # fmt: skip
def test_kernel_leaves_what_is_not_plain_to_the_reference(wrong: dict[str, Any]) -> None:
    given = {"names": [b"a"], "sequence": 1, "offsets": [2], "ts": [3], "ids": [4], "columns": [[1], [True]]}
    assert kernel().blocks(*given.values(), b"qB") is not None
    assert kernel().blocks(*(given | {"codes": b"qB"} | wrong).values()) is None


def test_kernel_leaves_text_that_utf8_cannot_hold_to_the_reference() -> None:
    assert kernel().blocks([b"a"], 1, [2], [3], [4], [["\ud800"]], b"t") is None
