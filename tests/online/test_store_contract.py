"""What every store of state does, whatever holds the strings (`onefold.features.protocols.OnlineStore`)."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from onefold.features.codec import encode_head
from onefold.features.errors import SessionError, StoreError
from onefold.features.protocols import Swap
from onefold.features.records import Events

GLOBS = (b"s/a*b", b"s/a?b", b"s/a[b]", b"s/a\\b", b"s/axb", b"s/a\x00\xff\r\n", b"s/a{b}", b"s/a^-]b")


def head(generation: bytes) -> bytes:
    return encode_head([], Events([], [], [], []), offsets={}, floor=None, generation=generation, has_ids=False)


def test_append_makes_and_lengthens_strings(store: Any) -> None:
    assert store.append([(b"s/a", b"12"), (b"s/b", b"3"), (b"s/a", b"45")]) == [2, 1, 4]
    assert store.append([(b"s/a", b"6")], session=store.session, keep=100) == [5]
    assert store.get([b"s/b", b"s/none", b"s/a", b"s/b"]) == [b"3", None, b"12456", b"3"]


def test_nothing_is_asked_and_nothing_comes(store: Any) -> None:
    assert store.append([]) == []
    assert store.get([]) == []
    assert store.read([], []) == ([], [])
    store.mark([])
    store.put([])


def test_put_sets_and_deletes(store: Any) -> None:
    store.put(iter([(b"p/a", b"1"), (b"p/b", b"2")]))
    store.put([(b"p/a", None), (b"p/b", b""), (b"p/never", None)])
    assert store.get([b"p/a", b"p/b", b"p/never"]) == [None, b"", None]


def test_put_streams_any_number_of_items(store: Any) -> None:
    store.put((f"s/{n:06d}".encode(), b"x" * 50) for n in range(10_000))
    store.put((f"s/{n:06d}".encode(), None) for n in range(5_000))
    assert sum(1 for _ in store.scan(b"s/")) == 5_000
    assert len(set(store.names(b"s/"))) == 5_000


def test_few_are_put_at_one_moment(store: Any) -> None:
    torn, done = [], threading.Event()

    def read() -> None:
        while not done.is_set():
            a, b = store.read([b"p/s/a", b"p/s/b"], [])[0]
            if a != b:
                torn.append((a, b))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for n in range(300):
        store.put([(b"p/s/a", b"%d" % n), (b"p/s/b", b"%d" % n)])
    done.set()
    for thread in threads:
        thread.join()
    assert torn == []


def test_swap_needs_the_same_length_and_generation(store: Any) -> None:
    old, new = head(b"first---"), head(b"second--")
    store.put([(b"s/s", old)])
    for length, generation in ((len(old) + 1, b"first---"), (len(old), b"other---"), (len(old), b"")):
        assert store.swap_all([Swap(b"s/s", length, generation, new)]) == [False]
    assert store.swap_all([Swap(b"s/none", 0, b"", new)]) == [False]
    assert store.get([b"s/s", b"s/none"]) == [old, None]
    assert store.swap_all([Swap(b"s/s", len(old), b"first---", new)], keep=100) == [True]
    assert store.get([b"s/s"]) == [new]


def test_swap_of_a_string_without_a_head_has_no_generation(store: Any) -> None:
    store.append([(b"s/s", b"Rtail")])
    assert store.swap_all([Swap(b"s/s", 5, b"", head(b"first---"))]) == [True]
    assert store.swap_all([Swap(b"s/s", 5, b"", b"")]) == [False]


def test_swaps_of_many_are_done_each_by_itself(store: Any) -> None:
    names = [b"s/%03d" % n for n in range(300)]
    store.put([(name, head(b"first---")) for name in names[:-1]])
    store.append([(names[7], b"R")])
    length = len(head(b"first---"))
    swaps = [Swap(name, length, b"first---", b"" if n == 3 else head(b"%08d" % n)) for n, name in enumerate(names)]
    missing = {7, 299}
    assert store.swap_all(swaps, keep=100) == [n not in missing for n in range(300)]
    expected: list[bytes | None] = [head(b"%08d" % n) for n in range(300)]
    expected[3], expected[7], expected[299] = None, head(b"first---") + b"R", None
    assert store.get(names) == expected
    assert store.swap_all([]) == []


def test_swap_for_nothing_deletes(store: Any) -> None:
    store.append([(b"s/s", b"Rtail")])
    assert store.swap_all([Swap(b"s/s", 5, b"", b"")]) == [True]
    assert store.get([b"s/s"]) == [None]


def test_generation_may_be_any_bytes(store: Any) -> None:
    store.put([(b"s/s", head(b"\0\r\n$\xff'\"H"))])
    swap = Swap(b"s/s", len(head(b"12345678")), b"\0\r\n$\xff'\"H", head(b"second--"))
    assert store.swap_all([swap]) == [True]


def test_marks_only_rise(store: Any) -> None:
    store.mark([(b"m/a", 0, 5), (b"m/a", 12, 7), (b"m/a", -1, 9), (b"m/b", 0, 1)], session=store.session)
    store.mark([(b"m/a", 0, 3), (b"m/a", 12, 8), (b"m/b", 0, -1)])
    store.put([(b"s/s", b"1")])
    assert store.read([b"s/s", b"s/none"], [b"m/a", b"m/b", b"m/none"]) == (
        [b"1", None],
        [{0: 5, 12: 8, -1: 9}, {0: 1}, {}],
    )
    assert store.read((), [b"m/b", b"m/a"]) == ([], [{0: 1}, {0: 5, 12: 8, -1: 9}])


def test_marks_are_exact_to_their_last_bit(store: Any) -> None:
    for offset in (2**53 - 1, 2**53):
        store.mark([(b"m/a", 3, offset)])
        assert store.read((), [b"m/a"]) == ([], [{3: offset}])


def test_clear_deletes_what_has_the_prefix(store: Any) -> None:
    store.put((f"s/{n}".encode(), b"1") for n in range(3000))
    store.mark([(b"s/marks", 0, 1), (b"m/s", 0, 1)])
    store.put([(b"t", b"1")])
    store.clear(b"s/")
    assert list(store.names(b"s/")) == []
    assert store.read([b"t"], [b"s/marks", b"m/s"]) == ([b"1"], [{}, {0: 1}])


@pytest.mark.parametrize("name", GLOBS)
def test_names_are_bytes_and_never_patterns(store: Any, name: bytes) -> None:
    store.put([(other, other) for other in GLOBS])
    assert store.get([name]) == [name]
    assert list(store.scan(name)) == [(name, name)]
    store.clear(name)
    assert sorted(store.names(b"s/")) == sorted(set(GLOBS) - {name})


def test_long_names_and_large_values_are_held(store: Any) -> None:
    name, value = b"s/" + b"\xff" * 398, bytes(range(256)) * 4096 * 4
    assert store.append([(name, value)]) == [len(value)]
    assert store.get([name]) == [value]


def test_scan_goes_on_while_entries_are_deleted(store: Any) -> None:
    names = {f"s/{n:05d}".encode() for n in range(3000)}
    store.put((name, b"x") for name in names)
    seen = set()
    for name, _ in store.scan(b"s/"):
        seen.add(name)
        store.put([(name, None)])
    assert seen == names
    assert list(store.names(b"s/")) == []


def test_lock_is_one_holder_s_at_a_time(store: Any) -> None:
    with store.lock(b"build/[a]*", seconds=5) as mine, store.lock(b"build/[a]*", seconds=5) as again:
        assert mine and not again
        with store.lock(b"build/b", seconds=5) as other:
            assert other
    with store.lock(b"build/[a]*", seconds=5) as mine:
        assert mine


def test_write_of_another_session_is_refused_where_sessions_change(store: Any) -> None:
    """An embedded store has one session and takes any."""
    if store.session:
        other = store.session + 1
        with pytest.raises(SessionError, match="may have lost writes"):
            store.append([(b"s/a", b"1")], session=other)
        with pytest.raises(SessionError, match="may have lost writes"):
            store.mark([(b"m/a", 0, 1)], session=other)
        assert store.read([b"s/a"], [b"m/a"]) == ([None], [{}])


def test_closed_store_is_refused(store: Any) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError):
        store.get([b"a"])
    with pytest.raises(StoreError):
        store.append([(b"a", b"1")])


def test_threads_append_and_read_at_once(store: Any) -> None:
    def work(number: int) -> None:
        for _ in range(50):
            store.append([(b"s/%d" % number, b"x"), (b"s/all", b"%d" % number)])
            assert store.get([b"s/%d" % number])[0]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.get([b"s/all"])[0]) == 200
