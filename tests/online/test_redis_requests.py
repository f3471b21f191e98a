"""Requests built by the kernel are the bytes that Python builds."""

from __future__ import annotations

from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from onefold.features import native
from onefold.online import redis_commands as commands

items = st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=300)), max_size=20)


@given(items, st.sampled_from([1, 100, 1000, commands.CHUNK]))
def test_appends_are_the_same_with_and_without_the_kernel(drawn: Any, chunk: int) -> None:
    kernel = native.built()
    assert kernel is not None, "the kernel was not built; install gcc and run make setup"
    with mock.patch.object(commands, "CHUNK", chunk):
        assert kernel.appends(drawn, chunk) == list(commands.chunked(commands.appends(drawn)))


def test_kernel_leaves_other_items_to_python() -> None:
    kernel = native.built()
    assert kernel is not None
    for wrong in ((b"a",), (b"a", "b"), [b"a", b"b"], (b"a", bytearray(b"b"))):
        assert kernel.appends([(b"a", b"b"), wrong], 10) is None
