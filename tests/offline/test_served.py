from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from onefold.features.errors import NotFoundError, StoreError
from onefold.features.plans import ServiceFeature, ServicePlan
from onefold.features.types import BIGINT, BOOLEAN, DATE, DOUBLE, TIMESTAMP, VARCHAR, DataType, Field
from onefold.offline import served
from onefold.offline.served import ServedLog, ServedRecord

KINDS = {"n": BIGINT, "x": DOUBLE, "word": VARCHAR, "yes": BOOLEAN, "at": TIMESTAMP, "day": DATE}


def plan(kinds: dict[str, DataType] = KINDS, **changes: Any) -> ServicePlan:
    """A plan of which the log needs no more than names and types."""
    features = tuple(ServiceFeature(n, "view", f"view.{n}", t, f"f{n}", False) for n, t in kinds.items())
    made = ServicePlan("shop", features, (Field("user_id", BIGINT),), (Field("scheduled", TIMESTAMP),), (), ())
    return replace(made, **changes)


PLAN = plan()
OTHER = plan({"only": DOUBLE})


@dataclass(frozen=True)
class Read:
    source: str = "orders"
    entity: str = "user"
    epoch: int = 1
    layout: str = "abcd"
    offsets: dict[int, int] = field(default_factory=lambda: {0: 41, 1: 7})
    markers: dict[int, int] = field(default_factory=lambda: {0: 50, 1: 7})


def record(**changes: Any) -> ServedRecord:
    base = ServedRecord(
        request_id="r1",
        served_at=2_000_000,
        event_timestamp=1_000_001,
        row={"user_id": 7, "scheduled": -1},
        features=(3, 0.1, "é", True, -5, -1),
        statuses=("fresh",) * 6,
        provenance=(Read(),),
        model="late",
        model_version="1",
        score=0.5,
    )
    return base._replace(**changes)


@pytest.fixture
def log(tmp_path: Path) -> ServedLog:
    return ServedLog(tmp_path / "served")


def only(log: ServedLog) -> pa.Table:
    (table,) = log.tables()
    return log.read(table.service, table.fingerprint)


def test_a_record_comes_back_as_it_was(log: ServedLog) -> None:
    log.append(PLAN, [record()])
    (row,) = only(log).to_pylist()
    assert row["request_id"] == "r1"
    assert row["score"] == 0.5
    assert row["statuses"] == ["fresh"] * 6
    assert row["features"]["word"] == "é"
    assert json.loads(row["provenance"]) == [
        {
            "source": "orders",
            "entity": "user",
            "epoch": 1,
            "layout": "abcd",
            "offsets": {"0": 41, "1": 7},
            "markers": {"0": 50, "1": 7},
        }
    ]


def test_doubles_keep_their_bits(log: ServedLog) -> None:
    hard = [0.1, math.nan, math.inf, -math.inf, 5e-324, 1.7976931348623157e308, None]
    log.append(PLAN, [record(features=(1, x, "", None, 0, 0)) for x in hard])
    column = pa.compute.struct_field(only(log)["features"].combine_chunks(), "x").to_pylist()
    assert [x if x is None else struct.pack("<d", x) for x in column] == [
        x if x is None else struct.pack("<d", x) for x in hard
    ]


def test_types_are_those_of_the_arrow_boundary(log: ServedLog) -> None:
    log.append(PLAN, [record()])
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
    log.append(PLAN, [record(features=None, statuses=(), provenance=(), score=None, error="state is cut"), record()])
    failed, good = only(log).to_pylist()
    assert failed["features"] is None
    assert failed["error"] == "state is cut"
    assert good["features"]["n"] == 3


def test_a_service_without_keys_is_logged(log: ServedLog) -> None:
    log.append(plan(keys=(), request=()), [record(row={})])
    assert only(log).num_rows == 1


def test_inputs_stand_beside_the_table(log: ServedLog) -> None:
    log.append(PLAN, [record()])
    inputs = log.inputs("shop", PLAN.fingerprint)
    assert inputs.features == PLAN.inputs
    assert inputs.keys == PLAN.keys
    assert inputs.request == PLAN.request


def test_each_fingerprint_has_its_own_table(log: ServedLog) -> None:
    log.append(PLAN, [record()])
    log.append(OTHER, [record(features=(1.5,)), record(features=(None,))])
    assert {t.fingerprint for t in log.tables()} == {PLAN.fingerprint, OTHER.fingerprint}
    assert log.read("shop", OTHER.fingerprint)["features"].to_pylist() == [{"only": 1.5}, {"only": None}]


def test_what_was_not_served_is_not_found(log: ServedLog) -> None:
    log.append(PLAN, [record()])
    with pytest.raises(NotFoundError, match=f"did you mean 'shop/{PLAN.fingerprint}'"):
        log.read("shop", PLAN.fingerprint[:-1] + "x")


def test_many_small_flushes_are_compacted(log: ServedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "COMPACT_EVERY", 4)
    for number in range(4):
        log.append(PLAN, [record(request_id=str(number))])
    folder = log.root / "shop" / PLAN.fingerprint
    assert len(DeltaTable(str(folder)).file_uris()) == 1
    assert sorted(only(log)["request_id"].to_pylist()) == ["0", "1", "2", "3"]


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "served").write_text("a file where a folder should be")
    with pytest.raises(StoreError, match="1 served rows of service 'shop' were not logged"):
        ServedLog(tmp_path / "served").append(PLAN, [record()])


def test_a_process_that_read_the_log_ends_well(log: ServedLog) -> None:
    log.append(PLAN, [record()])
    program = (
        "import sys; from onefold.offline.served import ServedLog; log = ServedLog(sys.argv[1]); "
        "print([log.read(t.service, t.fingerprint).num_rows for t in log.tables()])"
    )
    done = subprocess.run([sys.executable, "-c", program, str(log.root)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[1]\n", "")
