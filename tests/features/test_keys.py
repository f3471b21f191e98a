"""Keys as bytes: one key, one string; two keys, two strings."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from onefold.features.keys import (
    LONGEST,
    decode_pointer,
    encode_key,
    encode_pointer,
    state_name,
    stored_key,
)
from onefold.features.types import (
    BIGINT,
    BIGINT_MAX,
    BIGINT_MIN,
    BOOLEAN,
    DATE,
    DATE_MAX,
    DATE_MIN,
    TIMESTAMP,
    TIMESTAMP_MAX,
    TIMESTAMP_MIN,
    VARCHAR,
    DataType,
)

VALUES = {
    VARCHAR: st.text(max_size=6),
    BIGINT: st.integers(BIGINT_MIN, BIGINT_MAX),
    BOOLEAN: st.booleans(),
    DATE: st.integers(DATE_MIN, DATE_MAX),
    TIMESTAMP: st.integers(TIMESTAMP_MIN, TIMESTAMP_MAX),
}
KEYS = st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=3).flatmap(
    lambda kinds: st.tuples(st.just(tuple(kinds)), st.tuples(*(VALUES[k] for k in kinds)))
)
Key = tuple[tuple[DataType, ...], tuple[Any, ...]]


@given(KEYS, KEYS)
def test_keys_that_differ_have_bytes_that_differ(a: Key, b: Key) -> None:
    assert (encode_key(*a) == encode_key(*b)) == (a == b)


def test_parts_of_text_do_not_run_into_each_other() -> None:
    two = (VARCHAR, VARCHAR)
    assert encode_key(two, ("ab", "c")) != encode_key(two, ("a", "bc"))
    long, count = "A" * 0xFFFF, "v\x00\x05B"
    assert encode_key(two, (long + count, "C")) != encode_key(two, (long, "Bv\x00\x01C"))


def test_text_is_not_normalised() -> None:
    assert encode_key([VARCHAR], ["é"]) != encode_key([VARCHAR], ["e\u0301"])


@given(KEYS, st.integers(0, 2))
def test_a_key_with_a_null_is_no_key(key: Key, at: int) -> None:
    kinds, values = key
    assert encode_key(kinds, [None if i == at % len(kinds) else v for i, v in enumerate(values)]) is None


@given(st.text(alphabet="aé🛫", min_size=60, max_size=300), st.text(alphabet="aé🛫", min_size=60, max_size=300))
def test_a_long_key_stands_under_its_hash(a: str, b: str) -> None:
    first, second = (encode_key([VARCHAR], [text]) for text in (a, b))
    assert first is not None and second is not None
    assert (stored_key(first) == stored_key(second)) == (a == b)
    assert len(stored_key(first)) <= LONGEST
    assert (stored_key(first) == first) == (len(first) <= LONGEST)
    assert state_name(b"p", first) == b"p" + stored_key(first) + b"\0"


@given(st.integers(0, 2**31), st.text("0123456789abcdef", min_size=16, max_size=16))
def test_pointers_come_back(epoch: int, layout: str) -> None:
    assert decode_pointer(encode_pointer(epoch, layout)) == (epoch, layout)
    assert decode_pointer(encode_pointer(epoch, layout) + encode_pointer(1, "later")) == (epoch, layout)
