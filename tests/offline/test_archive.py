"""The archive holds every event once: through replays, rival writers, repeated imports and bad rows."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from onefold.features.definitions import EventSource
from onefold.features.errors import InputError, MismatchError, NotFoundError, StoreError
from onefold.features.types import fields
from onefold.offline.archive import DeltaArchive, _add
from onefold.offline.arrow import schema_of
from onefold.offline.dead_letters import DeadLetters

ORDERS = EventSource(name="orders", schema={"user": "VARCHAR", "ts": "TIMESTAMP", "amount": "DOUBLE"}, event_time="ts")
SCHEMA = schema_of(ORDERS.fields, required=("ts",))


def events(offsets: Sequence[int], *, schema: pa.Schema = SCHEMA) -> pa.Table:
    columns: dict[str, Any] = {"user": ["u"] * len(offsets), "ts": list(offsets), "amount": [float(o) for o in offsets]}
    return pa.table(columns, schema=schema).append_column("_offset", pa.array(offsets, pa.int64()))


def stored(archive: DeltaArchive, source: str = "orders") -> list[tuple[int, int]]:
    """Every (sequence, offset) in the archive, sorted; a doubled event shows twice."""
    files = archive.files(source)
    query = f"SELECT _sequence, _offset FROM read_parquet({files!r}) ORDER BY ALL"
    return duckdb.execute(query).fetchall() if files else []


@pytest.fixture
def archive(tmp_path: Path) -> DeltaArchive:
    return DeltaArchive(tmp_path / "archive", clock=lambda: 1_000_000)


def write_file(path: Path, count: int, **columns: Any) -> Path:
    table = events(range(count)).drop_columns(["_offset"])
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, values)
    pq.write_table(table, path)
    return path


def test_feeds_get_dense_numbers_that_outlive_the_process(tmp_path: Path) -> None:
    first = DeltaArchive(tmp_path)
    assert [first.sequence("orders", feed) for feed in ("a", "b", "a")] == [0, 1, 0]
    assert first.sequence("refunds", "a") == 0
    again = DeltaArchive(tmp_path)
    assert again.sequence("orders", "c") == 2
    assert first.sequences("orders") == {"a": 0, "b": 1, "c": 2}


def rivals(root: Path, work: str, given: Sequence[object]) -> list[Any]:
    """What processes that begin their work at one moment each print, one for each of `given`."""
    command = [sys.executable, str(Path(__file__).parent / "archive_process.py"), work, str(root)]
    pipe = subprocess.PIPE
    started = [subprocess.Popen([*command, json.dumps(g)], stdin=pipe, stdout=pipe, text=True) for g in given]
    for process in started:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [json.loads(process.communicate(timeout=100)[0]) for process in started]


def test_rival_processes_agree_on_sequence_numbers(tmp_path: Path) -> None:
    feeds = [f"feed-{i}" for i in range(20)]
    answers = rivals(tmp_path, "register", [feeds, feeds[::-1], feeds[10:] + feeds[:10]])
    assert answers[0] == answers[1] == answers[2]
    assert sorted(answers[0].values()) == list(range(20))


def test_append_adds_positions_and_ingestion_time(archive: DeltaArchive) -> None:
    sequence = archive.sequence("orders", "live")
    assert archive.flushed("orders", sequence) == -1
    assert archive.append("orders", sequence, events([0, 1, 5])) == 3
    assert archive.flushed("orders", sequence) == 5
    table = pq.read_table(archive.files("orders")[0])
    assert table.schema.names == ["user", "ts", "amount", "_sequence", "_offset", "_ingested_at"]
    assert table["_ingested_at"].cast(pa.int64()).to_pylist() == [1_000_000] * 3


def test_a_table_with_lists_and_decimals_takes_more_than_one_append(archive: DeltaArchive) -> None:
    columns = {"ts": "TIMESTAMP", "words": "VARCHAR[]", "prices": "DECIMAL(9,2)[]", "total": "DECIMAL(38,9)"}
    schema = schema_of(fields(columns), required=("ts",))
    sequence = archive.sequence("carts", "live")
    for offset in (0, 1):
        row = {"ts": offset, "words": ["a", None], "prices": [Decimal("1.50")], "total": Decimal("-1E-9")}
        table = pa.Table.from_pylist([row], schema=schema).append_column("_offset", pa.array([offset], pa.int64()))
        assert archive.append("carts", sequence, table) == 1
    held = pq.read_table(archive.files("carts")).sort_by("_offset").select(["words", "prices", "total"]).to_pylist()
    assert held == [{"words": ["a", None], "prices": [Decimal("1.50")], "total": Decimal("-1E-9")}] * 2


def test_what_rises_is_written_as_differences_and_doubles_without_a_dictionary(archive: DeltaArchive) -> None:
    sequence = archive.sequence("orders", "live")
    archive.append("orders", sequence, events(range(3)))
    group = pq.read_metadata(archive.files("orders")[0]).row_group(0)
    found = {column.path_in_schema: set(column.encodings) for column in map(group.column, range(group.num_columns))}
    assert all("DELTA_BINARY_PACKED" in found[name] for name in ("ts", "_offset", "_ingested_at"))
    assert "PLAIN" in found["amount"]
    assert all("RLE_DICTIONARY" in found[name] for name in ("user", "_sequence"))
    assert stored(archive) == [(0, n) for n in range(3)]


def test_file_that_could_not_be_written_is_not_left(archive: DeltaArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    sequence, write = archive.sequence("orders", "live"), pq.write_table

    def full(rows: pa.Table, path: Path, **options: Any) -> None:
        write(rows.slice(0, 1), path, **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", full)
        with pytest.raises(StoreError, match=r"cannot be written: .*No space left"):
            archive.append("orders", sequence, events([0, 1]))
    assert not list(archive.folder("orders").glob("*.parquet"))
    assert archive.append("orders", sequence, events([0, 1])) == 2
    assert stored(archive) == [(0, 0), (0, 1)]


def test_nothing_is_there_before_the_first_append(archive: DeltaArchive) -> None:
    assert archive.files("orders") == []
    assert archive.version("orders") == -1
    assert archive.flushed("orders", 0) == -1


def test_replay_adds_nothing_and_overlap_is_trimmed(archive: DeltaArchive) -> None:
    sequence = archive.sequence("orders", "live")
    archive.append("orders", sequence, events([0, 1, 2]))
    version = archive.version("orders")
    assert archive.append("orders", sequence, events([0, 1, 2])) == 0
    assert archive.version("orders") == version
    assert archive.append("orders", sequence, events([1, 2, 3, 4])) == 2
    assert stored(archive) == [(0, n) for n in range(5)]


def test_sequences_do_not_trim_each_other(archive: DeltaArchive) -> None:
    a, b = archive.sequence("orders", "a"), archive.sequence("orders", "b")
    archive.append("orders", a, events([0, 1, 2]))
    assert archive.append("orders", b, events([0, 1])) == 2
    assert stored(archive) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]


def test_stale_handle_is_refused_and_starts_again(archive: DeltaArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rival commits the same batch between our open and our commit; Delta refuses ours, and the retry trims it."""
    sequence = archive.sequence("orders", "live")
    archive.append("orders", sequence, events([0]))
    name, real = "onefold.offline.archive._add", _add
    rival, calls = DeltaArchive(archive.root), list[int]()

    def raced(table: DeltaTable, *args: Any) -> None:
        calls.append(table.version())
        if len(calls) == 1:
            monkeypatch.setattr(name, real)
            rival.append("orders", sequence, events([1, 2]))
            monkeypatch.setattr(name, raced)
        real(table, *args)

    monkeypatch.setattr(name, raced)
    assert archive.append("orders", sequence, events([1, 2, 3])) == 1
    assert len(calls) == 2
    assert stored(archive) == [(0, n) for n in range(4)]


def test_zombie_worker_doubles_nothing(tmp_path: Path) -> None:
    added = rivals(tmp_path, "append", [list(range(40))] * 2)
    assert sum(added) == 40
    assert stored(DeltaArchive(tmp_path)) == [(0, n) for n in range(40)]


def test_flushed_position_survives_checkpoints_of_the_log(archive: DeltaArchive) -> None:
    early, late = archive.sequence("orders", "early"), archive.sequence("orders", "late")
    archive.append("orders", early, events([0, 7]))
    for offset in range(101):
        archive.append("orders", late, events([offset]))
    log = archive.root / "orders" / "_delta_log"
    assert list(log.glob("*.checkpoint.parquet"))
    assert DeltaArchive(archive.root).flushed("orders", early) == 7


def test_older_version_gives_its_files(archive: DeltaArchive) -> None:
    sequence = archive.sequence("orders", "live")
    archive.append("orders", sequence, events([0]))
    version, files = archive.version("orders"), archive.files("orders")
    archive.append("orders", sequence, events([1]))
    assert archive.files("orders", version=version) == files
    assert len(archive.files("orders")) == 2
    with pytest.raises(NotFoundError, match="has versions 0 to 2, asked is 9"):
        archive.files("orders", version=9)


def test_event_without_a_time_is_refused(archive: DeltaArchive) -> None:
    sequence = archive.sequence("orders", "live")
    bad = events([0, 1]).set_column(1, SCHEMA.field("ts"), pa.array([1, None], SCHEMA.field("ts").type))
    with pytest.raises(InputError, match="'ts' is NULL"):
        archive.append("orders", sequence, bad)
    assert archive.flushed("orders", sequence) == -1


def test_unregistered_sequence_is_refused(archive: DeltaArchive) -> None:
    with pytest.raises(NotFoundError, match="no sequence 3"):
        archive.append("orders", 3, events([0]))


@pytest.mark.parametrize("offsets", [[1, 0], [0, 0]])
def test_offsets_that_do_not_rise_are_refused(archive: DeltaArchive, offsets: list[int]) -> None:
    with pytest.raises(InputError, match="must rise"):
        archive.append("orders", archive.sequence("orders", "live"), events(offsets))


def test_changed_columns_are_refused_by_name(archive: DeltaArchive) -> None:
    sequence = archive.sequence("orders", "live")
    archive.append("orders", sequence, events([0]))
    with pytest.raises(MismatchError, match="'city' is absent there and string here"):
        archive.append("orders", sequence, events([1]).append_column("city", pa.array(["x"])))


def test_unreadable_log_is_a_store_error(archive: DeltaArchive) -> None:
    archive.append("orders", archive.sequence("orders", "live"), events([0]))
    for entry in (archive.root / "orders" / "_delta_log").glob("*.json"):
        entry.write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        archive.files("orders")


def test_file_is_imported_once_whatever_its_name(archive: DeltaArchive, tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.parquet", 5)
    seen: list[tuple[int, int]] = []
    assert archive.import_files(ORDERS, [path], progress=lambda done, total: seen.append((done, total))) == 5
    assert seen[-1] == (5, 5)
    copy = shutil.copy(path, tmp_path / "copy.parquet")
    assert archive.import_files(ORDERS, [path, copy]) == 0
    assert stored(archive) == [(0, n) for n in range(5)]
    assert next(iter(archive.sequences("orders"))).startswith("files:")


def test_each_file_is_a_sequence_of_its_own(archive: DeltaArchive, tmp_path: Path) -> None:
    files = [write_file(tmp_path / f"{n}.parquet", n) for n in (2, 3, 0)]
    assert archive.import_files(ORDERS, files) == 5
    assert stored(archive) == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]


def test_large_file_streams_into_one_commit(archive: DeltaArchive, tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.parquet", 150_000)
    assert archive.import_files(ORDERS, [path]) == 150_000
    assert archive.version("orders") == 1
    assert len(stored(archive)) == len(set(stored(archive))) == 150_000


def test_rows_without_an_event_time_become_dead_letters_once(archive: DeltaArchive, tmp_path: Path) -> None:
    times = pa.array([0, None, 2, 2**62, None], pa.int64()).cast(SCHEMA.field("ts").type)
    path = write_file(tmp_path / "a.parquet", 5, ts=times)
    letters = DeadLetters(tmp_path / "letters")
    archive = DeltaArchive(archive.root, dead_letters=letters)
    assert archive.import_files(ORDERS, [path]) == 2
    assert archive.import_files(ORDERS, [path]) == 0
    assert stored(archive) == [(0, 0), (0, 2)]
    found = list(letters.read("orders"))
    assert [(letter.sequence, letter.offset) for letter in found] == [(0, 1), (0, 3), (0, 4)]
    assert "is NULL" in found[0].reason and "9999" in found[1].reason
    assert json.loads(found[0].original)["amount"] == 1.0
    assert letters.count("orders") == 3


def test_bad_file_is_refused_before_anything_is_written(archive: DeltaArchive, tmp_path: Path) -> None:
    good = write_file(tmp_path / "good.parquet", 2)
    naive = write_file(tmp_path / "naive.parquet", 2, ts=pa.array([0, 1], pa.timestamp("us")))
    with pytest.raises(InputError, match=r"naive\.parquet.*names no time zone"):
        archive.import_files(ORDERS, [good, naive])
    assert archive.files("orders") == []


def test_value_that_does_not_fit_leaves_nothing_behind(archive: DeltaArchive, tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.parquet", 2, amount=pa.array([1, 2**53 + 1]))
    with pytest.raises(InputError, match="'amount' holds a value that does not fit DOUBLE"):
        archive.import_files(ORDERS, [path])
    assert stored(archive) == []


@pytest.mark.parametrize(("content", "words"), [(None, "no such file"), (b"a,b\n1,2\n", "cannot be read as Parquet")])
def test_file_that_is_absent_or_no_parquet_is_named(
    archive: DeltaArchive, tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "a.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        archive.import_files(ORDERS, [path])


def test_import_without_a_column_names_the_nearest(archive: DeltaArchive, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"user": ["u"], "ts": pa.array([0], SCHEMA.field("ts").type), "amout": [1.0]}), path)
    with pytest.raises(InputError, match="column 'amount' is missing; did you mean 'amout'"):
        archive.import_files(ORDERS, [path])


def test_half_written_dead_letter_is_written_again(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path)
    letters.add("orders", sequence=0, offset=4, reason="r", original=b"\xff")
    letters.close()
    with letters.path("orders").open("ab") as file:
        file.write(b'{"sequence": 0, "offs')
    again = DeadLetters(tmp_path)
    assert not again.add("orders", sequence=0, offset=4, reason="r", original=b"\xff")
    assert again.add("orders", sequence=0, offset=6, reason="r", original=b"x")
    assert [(letter.offset, letter.original) for letter in again.read("orders")] == [(4, b"\xff"), (6, b"x")]
