"""Replies found natively are those that hiredis reads, however they come; what is no reply is an error."""

from __future__ import annotations

import os
import random
import socket
import threading
from typing import Any

import pytest

from onefold.features import native
from tests.native.replies import by_hiredis, by_kernel, pieces, reply, shown


def made() -> Any:
    kernel = native.built()
    assert kernel is not None, "try: python setup.py build_ext --inplace"
    return kernel.Replies()


@pytest.mark.parametrize("seed", range(150))
def test_replies_are_those_of_hiredis(seed: int) -> None:
    dice = random.Random(seed)
    replies, hold = made(), seed % 2 == 0
    for _ in range(3):
        counts = [dice.randrange(1, 4) for _ in range(dice.randrange(1, 8))]
        parts = pieces(dice, b"".join(reply(dice) for _ in range(sum(counts))))
        found = by_kernel(replies, parts, counts, hold=hold)
        assert [shown(one) for one in found] == by_hiredis(parts)
        assert replies.left == 0


def test_strings_are_a_sequence() -> None:
    replies = made()
    replies.feed(b"*4\r\n$1\r\na\r\n$-1\r\n$0\r\n\r\n$2\r\nbc\r\n")
    (found,) = replies.next(1)
    whole = [b"a", None, b"", b"bc"]
    assert found == whole and list(found) == whole and len(found) == 4 and found != whole[:3]
    assert found[-1] == b"bc" and found[1:] == whole[1:] and found[1:][1:3] == whole[2:] and found[::-1] == whole[::-1]
    assert found[9:] == [] and repr(found) == repr(whole) and found.__eq__(5) is NotImplemented
    for wrong in (4, -5):
        with pytest.raises(IndexError):
            found[wrong]
    with pytest.raises(TypeError):
        found["a"]


def test_strings_stay_while_others_come() -> None:
    replies = made()
    held, want = [], []
    for number in range(200):
        texts = [os.urandom(number * 17), os.urandom(3)]
        replies.feed(b"*2\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(text), text) for text in texts))
        held += replies.next(1)
        want.append(texts)
    assert held == want


@pytest.mark.parametrize(
    "wrong",
    [
        b"x", b"*1\r\nhello\r\n", b"$x\r\n", b"$-2\r\n", b"$1\r\nabc", b"*-7\r\n", b"*\r\n", b"$\r\n", b"$1\n",
        b"*99999999999999999999\r\n", b"$5\rx\n", b"*1\r\n" * 9, b"$--1\r\n", b"%1\r\n", b"_\r\n",
    ],
)  # fmt: skip
def test_what_is_no_reply_is_refused(wrong: bytes) -> None:
    replies = made()
    replies.feed(wrong)
    with pytest.raises(ValueError, match="no reply"):
        replies.next(1)


def test_counts_that_nothing_can_hold_are_refused() -> None:
    for wrong in (-1, 2**70):
        with pytest.raises((ValueError, OverflowError)):
            made().next(wrong)
    with pytest.raises(TypeError):
        made().next("1")
    with pytest.raises(TypeError):
        made().feed("text")


def test_what_is_awaited_does_not_change_on_the_way() -> None:
    replies = made()
    replies.feed(b"*1\r\n$1\r\na\r\n*1\r\n")
    assert replies.next(2) is None
    with pytest.raises(ValueError, match="not so many"):
        replies.next(1)


def test_an_exchange_waits_for_all_and_sends_while_it_reads() -> None:
    """The other side takes no more than it has answered: who only sends first is stuck."""
    mine, theirs = socket.socketpair()
    mine.setblocking(False)
    sent, size = os.urandom(3_000_000), 1 << 16

    def echo() -> None:
        theirs.sendall(b"*1\r\n$%d\r\n" % len(sent))
        left = len(sent)
        while left:
            left -= len(piece := theirs.recv(size))
            theirs.sendall(piece)
        theirs.sendall(b"\r\n")

    with mine, theirs:
        threading.Thread(target=echo, daemon=True).start()
        assert made().exchange(mine.fileno(), sent, 1, 20_000) == [[sent]]


def test_an_exchange_says_what_went_wrong() -> None:
    mine, theirs = socket.socketpair()
    replies = made()
    with mine:
        mine.setblocking(False)
        assert replies.exchange(mine.fileno(), b"a", 1, 1) is None
        with theirs:
            theirs.sendall(b"+OK\r\n+OK\r\n")
            with pytest.raises(ValueError, match="nobody asked for"):
                replies.exchange(mine.fileno(), b"a", 1, 20_000)
            with pytest.raises(ValueError, match="nobody asked for"):
                replies.exchange(mine.fileno(), b"a", 1, 20_000)
            assert theirs.recv(10) == b"aa"
        with pytest.raises(ConnectionResetError, match="closed the connection"):
            made().exchange(mine.fileno(), b"", 1, 20_000)
        with pytest.raises(OSError, match="Broken pipe"):
            made().exchange(mine.fileno(), b"a", 1, 20_000)
    with pytest.raises(OSError, match="descriptor"):
        made().exchange(mine.fileno(), b"a", 1, 20_000)
