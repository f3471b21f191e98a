from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from onefold.features.errors import NotFoundError, StoreError
from onefold.features.plans import ServiceFeature, ServicePlan
from onefold.features.types import BIGINT, BOOLEAN, DATE, DOUBLE, TIMESTAMP, VARCHAR, DataType, Field
from onefold.offline import served_upkeep
from onefold.offline.served import ServedBlock, ServedInputs, ServedLog
from onefold.offline.served_record import Place, Reads

KINDS = {"n": BIGINT, "x": DOUBLE, "word": VARCHAR, "yes": BOOLEAN, "at": TIMESTAMP, "day": DATE}


def plan(kinds: dict[str, DataType] = KINDS, **changes: Any) -> ServicePlan:
    """A plan of which the log needs no more than names and types."""
    features = tuple(ServiceFeature(n, "view", f"view.{n}", t, f"f{n}", False) for n, t in kinds.items())
    made = ServicePlan("shop", features, (Field("user_id", BIGINT),), (Field("scheduled", TIMESTAMP),), (), ())
    return replace(made, **changes)


PLAN = ServedInputs.of(plan())
OTHER = ServedInputs.of(plan({"only": DOUBLE}))


READ = ("orders", "user", 1, "abcd", {0: 50, 1: 7}), {0: 41, 1: 7}
"""Where a string was read from, and its offsets."""


def row(
    request_id: str = "r1",
    *,
    row: dict[str, Any] | None = None,
    features: tuple[Any, ...] | None = (3, 0.1, "é", True, -5, -1),
    reads: Sequence[Any] = (READ,),
    error: str | None = None,
) -> ServedBlock:
    """A block of one row."""
    failed = features is None
    return ServedBlock(
        2_000_000, "late", "1", [request_id], [1_000_001], [{"user_id": 7, "scheduled": -1} if row is None else row],
        [features], ([" ".join(["fresh"] * len(features or ()))], [0]),
        [([place], [0], [held]) for place, held in reads],
        None if failed else [0.5], [error] if error else None,
    )  # fmt: skip


@pytest.fixture
def log(tmp_path: Path) -> ServedLog:
    return ServedLog(tmp_path / "served")


def only(log: ServedLog) -> pa.Table:
    (table,) = log.tables()
    return log.read(table.service, table.fingerprint)


def test_a_record_comes_back_as_it_was(log: ServedLog) -> None:
    log.append(PLAN, [row()])
    (found,) = only(log).to_pylist()
    assert found["request_id"] == "r1"
    assert found["score"] == 0.5
    assert found["statuses"] == ["fresh"] * 6
    assert found["features"]["word"] == "é"
    assert json.loads(found["provenance"]) == [
        {
            "source": "orders",
            "entity": "user",
            "epoch": 1,
            "layout": "abcd",
            "offsets": {"0": 41, "1": 7},
            "markers": {"0": 50, "1": 7},
        }
    ]


def test_a_block_of_several_rows_and_states(log: ServedLog) -> None:
    other: Place = ("items", "user", 2, "ef", {})
    reads: list[Reads] = [([READ[0]], [0, 0], [{0: 1}, {}]), ([READ[0], other], [0, 1], [{}, {3: 9}])]
    rows: list[dict[str, object]] = [{"user_id": 1, "scheduled": 0}, {"user_id": None, "scheduled": None}]
    statuses = ["fresh", "missing"], [0, 1]
    log.append(OTHER, [ServedBlock(5, None, None, ["a", "b"], [1, 2], rows, [(1.5,), (None,)], statuses, reads)])
    first, second = only(log).to_pylist()
    assert (first["request_id"], first["score"], first["model"], first["error"]) == ("a", None, None, None)
    assert (first["row"]["user_id"], second["row"]) == (1, {"user_id": None, "scheduled": None})
    assert (first["statuses"], second["statuses"]) == (["fresh"], ["missing"])
    assert [r["offsets"] for r in json.loads(first["provenance"])] == [{"0": 1}, {}]
    assert [r["offsets"] for r in json.loads(second["provenance"])] == [{}, {"3": 9}]
    assert [r["source"] for r in json.loads(second["provenance"])] == ["orders", "items"]
    assert [r["source"] for r in json.loads(first["provenance"])] == ["orders", "orders"]


def test_a_commit_says_how_far_each_writer_has_come(log: ServedLog) -> None:
    assert log.mark(PLAN, "a") == -1
    log.append(PLAN, [row()], marks={"a": 3})
    log.append(PLAN, [row()], marks={"a": 4, "b": 0})
    log.append(PLAN, [row()])
    for reader in (log, ServedLog(log.root)):
        assert [reader.mark(PLAN, writer) for writer in ("a", "b", "c")] == [4, 0, -1]
    assert log.mark(OTHER, "a") == -1


def test_a_table_that_was_moved_away_begins_anew(log: ServedLog) -> None:
    log.append(PLAN, [row("a")])
    (log.root / "shop").rename(log.root / "kept")
    log.append(PLAN, [row("b")])
    assert log.read("shop", PLAN.fingerprint)["request_id"].to_pylist() == ["b"]


def test_doubles_keep_their_bits(log: ServedLog) -> None:
    hard = [0.1, math.nan, math.inf, -math.inf, 5e-324, 1.7976931348623157e308, None]
    log.append(PLAN, [row(features=(1, x, "", None, 0, 0)) for x in hard])
    column = pa.compute.struct_field(only(log)["features"].combine_chunks(), "x").to_pylist()
    assert [x if x is None else struct.pack("<d", x) for x in column] == [
        x if x is None else struct.pack("<d", x) for x in hard
    ]


def test_types_are_those_of_the_arrow_boundary(log: ServedLog) -> None:
    log.append(PLAN, [row()])
    schema = only(log).schema
    utc = pa.timestamp("us", tz="UTC")
    assert schema.field("event_timestamp").type == utc
    assert schema.field("row").type == pa.struct([("user_id", pa.int64()), ("scheduled", utc)])
    assert [f.type for f in schema.field("features").type] == [
        pa.int64(),
        pa.float64(),
        pa.string(),
        pa.bool_(),
        utc,
        pa.date32(),
    ]


def test_a_failed_row_has_an_error_and_no_features(log: ServedLog) -> None:
    log.append(PLAN, [row(features=None, reads=(), error="state is cut"), row()])
    failed, good = only(log).to_pylist()
    assert failed["features"] is None
    assert failed["error"] == "state is cut"
    assert good["features"]["n"] == 3


def test_a_service_without_keys_is_logged(log: ServedLog) -> None:
    log.append(ServedInputs.of(plan(keys=(), request=())), [row(row={})])
    assert only(log).num_rows == 1


def test_inputs_stand_beside_the_table(log: ServedLog) -> None:
    log.append(PLAN, [row()])
    inputs = log.inputs("shop", PLAN.fingerprint)
    assert inputs.features == PLAN.features
    assert inputs.keys == PLAN.keys
    assert inputs.request == PLAN.request


def test_each_fingerprint_has_its_own_table(log: ServedLog) -> None:
    log.append(PLAN, [row()])
    log.append(OTHER, [row(features=(1.5,)), row(features=(None,))])
    assert {t.fingerprint for t in log.tables()} == {PLAN.fingerprint, OTHER.fingerprint}
    assert log.read("shop", OTHER.fingerprint)["features"].to_pylist() == [{"only": 1.5}, {"only": None}]


def test_what_was_not_served_is_not_found(log: ServedLog) -> None:
    log.append(PLAN, [row()])
    with pytest.raises(NotFoundError, match=f"did you mean 'shop/{PLAN.fingerprint}'"):
        log.read("shop", PLAN.fingerprint[:-1] + "x")


def append(log: ServedLog, *blocks: ServedBlock) -> int:
    """How many files the table then has, with what is done behind it."""
    log.append(PLAN, list(blocks))
    log.upkeep.wait()
    return len(DeltaTable(str(log.root / "shop" / PLAN.fingerprint)).file_uris())


def test_many_small_flushes_are_compacted(log: ServedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_upkeep, "COMPACT_EVERY", 4)
    assert [append(log, row(str(number))) for number in range(5)] == [1, 2, 3, 4, 1]
    assert sorted(only(log)["request_id"].to_pylist()) == ["0", "1", "2", "3", "4"]


def test_one_who_begins_later_compacts_what_was_left(log: ServedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_upkeep, "COMPACT_EVERY", 4)
    for number in range(3):
        append(log, row(str(number)))
    later = ServedLog(log.root)
    assert [append(later, row("3")), append(later, row("4"))] == [4, 1]


def test_large_flushes_are_compacted_sooner(log: ServedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_upkeep, "COMPACT_ROWS", 4)
    assert [append(log, row(f"{number}a"), row(f"{number}b")) for number in range(5)] == [1, 1, 2, 1, 2]
    assert only(log).num_rows == 10


def test_rows_are_appended_while_files_are_put_together(log: ServedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compaction stops between its reading and its commit until two appends are done."""
    monkeypatch.setattr(served_upkeep, "COMPACT_EVERY", 5)
    began, go_on = threading.Event(), threading.Event()

    def slow(folder: str) -> DeltaTable:
        table = DeltaTable(folder)
        began.set()
        assert go_on.wait(30)
        return table

    monkeypatch.setattr(served_upkeep, "DeltaTable", slow)
    for number in range(6):
        log.append(PLAN, [row(str(number))], marks={"w": number})
    assert began.wait(30)
    for number in (6, 7):
        log.append(PLAN, [row(str(number))], marks={"w": number})
    go_on.set()
    log.upkeep.wait()
    log.append(PLAN, [row("8")], marks={"w": 8})
    assert sorted(only(log)["request_id"].to_pylist()) == [*"012345678"]
    assert log.mark(PLAN, "w") == 8
    assert len(DeltaTable(str(log.root / "shop" / PLAN.fingerprint)).file_uris()) == 4


def test_replaced_files_are_kept_for_a_day(log: ServedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_upkeep, "COMPACT_EVERY", 2)
    folder = log.root / "shop" / PLAN.fingerprint
    for number in range(3):
        append(log, row(str(number)))
    assert len(list(folder.glob("*.parquet"))) > 1
    monkeypatch.setattr(served_upkeep, "KEPT_HOURS", 0)
    again = ServedLog(log.root)
    while append(again, row("x")) > 1:
        pass
    assert len(list(folder.glob("*.parquet"))) == 1
    assert set("012") < set(only(log)["request_id"].to_pylist())


def test_files_that_cannot_be_put_together_stay(
    log: ServedLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(served_upkeep, "COMPACT_EVERY", 2)

    def broken(folder: str) -> DeltaTable:
        raise OSError("no room")

    monkeypatch.setattr(served_upkeep, "DeltaTable", broken)
    assert [append(log, row(str(number))) for number in range(3)] == [1, 2, 3]
    assert "could not be put together: no room" in caplog.text


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "served").write_text("a file where a folder should be")
    with pytest.raises(StoreError, match="1 served rows of service 'shop' were not logged"):
        ServedLog(tmp_path / "served").append(PLAN, [row()])


def test_a_process_that_read_the_log_ends_well(log: ServedLog) -> None:
    log.append(PLAN, [row()])
    program = (
        "import sys; from onefold.offline.served import ServedLog; log = ServedLog(sys.argv[1]); "
        "print([log.read(t.service, t.fingerprint).num_rows for t in log.tables()])"
    )
    done = subprocess.run([sys.executable, "-c", program, str(log.root)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[1]\n", "")
