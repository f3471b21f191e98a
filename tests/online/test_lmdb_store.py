"""The embedded store: atomic appends, one moment per read, growth, and a reader in another process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from onefold.features.errors import StoreError
from onefold.features.protocols import Swap
from onefold.online.lmdb_store import LmdbStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LmdbStore]:
    with LmdbStore(tmp_path / "online") as opened:
        yield opened


def test_append_makes_and_lengthens_strings(store: LmdbStore) -> None:
    assert store.append([(b"a", b"12"), (b"b", b"3"), (b"a", b"45")]) == [2, 1, 4]
    assert store.append([(b"a", b"6")]) == [5]
    assert store.get([b"b", b"none", b"a", b"b"]) == [b"3", None, b"12456", b"3"]


def test_put_sets_and_deletes(store: LmdbStore) -> None:
    store.put(iter([(b"a", b"1"), (b"b", b"2")]))
    store.put([(b"a", None), (b"b", b""), (b"never", None)])
    assert store.get([b"a", b"b", b"never"]) == [None, b"", None]


def test_put_streams_any_number_of_items(store: LmdbStore) -> None:
    store.put((f"{n:06d}".encode(), b"x" * 50) for n in range(10_000))
    assert sum(1 for _ in store.scan(b"")) == 10_000


def test_nothing_of_a_refused_batch_is_kept(store: LmdbStore) -> None:
    with pytest.raises(StoreError, match="a name of 512 bytes"):
        store.append([(b"a", b"1"), (b"x" * 512, b"2")])
    assert store.get([b"a"]) == [None]


@pytest.mark.parametrize("name", [b"", b"x" * 512])
def test_names_that_lmdb_cannot_hold_are_refused(store: LmdbStore, name: bytes) -> None:
    for ask in (
        lambda: store.get([name]),
        lambda: store.append([(name, b"1")]),
        lambda: store.put([(name, b"1")]),
        lambda: store.swap_all([Swap(name, 0, b"", b"")]),
    ):
        with pytest.raises(StoreError, match="1 to 511"):
            ask()


def test_marks_only_rise(store: LmdbStore) -> None:
    store.mark([(b"m/a", 0, 5), (b"m/a", 12, 7), (b"m/a", -1, 9), (b"m/b", 0, 1)])
    store.mark([(b"m/a", 0, 3), (b"m/a", 12, 8), (b"m/b", 0, -1)])
    store.put([(b"s", b"1")])
    assert store.read([b"s", b"none"], [b"m/a", b"m/b", b"m/none"]) == (
        [b"1", None],
        [{0: 5, 12: 8, -1: 9}, {0: 1}, {}],
    )


def test_clear_deletes_what_has_the_prefix(store: LmdbStore) -> None:
    store.put((f"s/{n}".encode(), b"1") for n in range(3000))
    store.mark([(b"s/marks", 0, 1)])
    store.put([(b"t", b"1")])
    store.clear(b"s/")
    assert list(store.names(b"")) == [b"t"]


def test_lock_is_one_process_s_at_a_time(store: LmdbStore) -> None:
    with store.lock(b"build", seconds=5) as mine, store.lock(b"build", seconds=5) as again:
        assert mine and not again
    with store.lock(b"build", seconds=5) as mine:
        assert mine


def test_scan_is_in_order_and_of_one_prefix(store: LmdbStore) -> None:
    store.put([(b"b/2", b"2"), (b"a", b"0"), (b"b/1", b"1"), (b"c", b"3"), (b"b", b"")])
    assert list(store.scan(b"b/")) == [(b"b/1", b"1"), (b"b/2", b"2")]
    assert [name for name, _ in store.scan(b"")] == [b"a", b"b", b"b/1", b"b/2", b"c"]
    assert list(store.scan(b"zz")) == []


def test_scan_goes_on_while_entries_are_deleted(store: LmdbStore) -> None:
    names = [f"s/{n:05d}".encode() for n in range(3000)]
    store.put((name, b"x") for name in names)
    seen = []
    for name, _ in store.scan(b"s/"):
        seen.append(name)
        store.put([(name, None)])
    assert seen == names


def test_full_map_grows_and_loses_nothing(tmp_path: Path) -> None:
    with LmdbStore(tmp_path / "online", map_size=1 << 16) as store:
        for n in range(40):
            store.append([(f"{n}".encode(), os.urandom(20_000)), (b"all", b"x")])
        assert len(store.get([b"all"])[0] or b"") == 40
        assert sum(len(value) for _, value in store.scan(b"")) == 40 * 20_000 + 40


def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    with LmdbStore(tmp_path / "online", durable=True) as store:
        store.append([(b"a", b"1")])
        store.flush()
    with LmdbStore(tmp_path / "online", readonly=True) as store:
        assert store.get([b"a"]) == [b"1"]


def test_readonly_store_is_not_written(tmp_path: Path) -> None:
    LmdbStore(tmp_path / "online").close()
    with LmdbStore(tmp_path / "online", readonly=True) as store, pytest.raises(StoreError, match="to read only"):
        store.append([(b"a", b"1")])


def test_missing_store_is_not_opened_to_read(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no online store"):
        LmdbStore(tmp_path / "online", readonly=True)
    assert not (tmp_path / "online").exists()


def test_folder_that_is_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"not a store" * 1000)
    with pytest.raises(StoreError, match="cannot be opened"):
        LmdbStore(tmp_path)


def test_folder_opened_twice_in_a_process_is_refused(tmp_path: Path) -> None:
    with LmdbStore(tmp_path / "online"), pytest.raises(StoreError, match="already open in this process"):
        LmdbStore(tmp_path / "online", readonly=True)


def test_closed_store_is_refused(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path / "online")
    store.close()
    with pytest.raises(StoreError):
        store.get([b"a"])


def test_threads_read_whole_batches_while_one_writes(tmp_path: Path) -> None:
    torn: list[list[bytes | None]] = []
    done = threading.Event()
    with LmdbStore(tmp_path / "online", map_size=1 << 16) as store:

        def read() -> None:
            while not done.is_set():
                a, b = store.get([b"a", b"b"])
                if a != b:
                    torn.append([a, b])

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for n in range(300):
            store.append([(b"a", f"{n},".encode() * 20), (b"b", f"{n},".encode() * 20)])
        done.set()
        for thread in threads:
            thread.join()
    assert torn == []


def other_process(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).parent / "store_process.py"), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_another_process_reads_while_the_writer_writes_and_grows(tmp_path: Path) -> None:
    with LmdbStore(tmp_path / "online", map_size=1 << 16) as store:
        store.append([(b"a", b"x"), (b"b", b"x")])
        with other_process("read", str(tmp_path / "online")) as reader:
            assert reader.stdout is not None and reader.stdout.readline() == "ready\n"
            for _ in range(200):
                store.append([(b"a", b"y" * 2000), (b"b", b"y" * 2000)])
            answer, _ = reader.communicate("done\n", timeout=60)
    assert answer == f"0 {1 + 200 * 2000}\n"


def test_writer_that_dies_leaves_its_acknowledged_batches(tmp_path: Path) -> None:
    with other_process("die", str(tmp_path / "online")) as writer:
        assert writer.wait(timeout=60) == 9
    with LmdbStore(tmp_path / "online") as store:
        assert store.get([b"a", b"b"]) == [b"x" * 100] * 2


def test_failure_below_is_a_store_error(store: LmdbStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise lmdb.DiskError("mdb_txn_begin", 5)

    monkeypatch.setattr(store, "_once", broken)
    with pytest.raises(StoreError, match="failed"):
        store.append([(b"a", b"1")])
