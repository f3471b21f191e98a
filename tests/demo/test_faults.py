"""The faults that are put in on purpose do what they say, once, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from onefold.demo.faults import Fault, FaultyStore, change_definition, perturb_log
from onefold.features.definitions import Entity, EventSource, FeatureService, FeatureView
from onefold.features.errors import InputError, StateError
from onefold.features.layout import PreparedEvent
from onefold.features.project import Project
from onefold.features.records import Events
from onefold.features.state import StateCodec
from onefold.offline.served import ServedBlock, ServedInputs, ServedLog
from onefold.online.lmdb_store import LmdbStore

SOURCE = EventSource(
    name="clicks", schema={"user": "BIGINT", "ms": "DOUBLE", "at": "TIMESTAMP"}, event_time="at"
)  # fmt: skip
VIEW = FeatureView(
    name="clicked", source=SOURCE, entity=Entity(name="user", keys={"user": "BIGINT"}),
    sql="""SELECT count(*) OVER w AS n, avg(ms) OVER w AS mean_ms
           FROM clicks WINDOW w AS (RANGE BETWEEN INTERVAL 3 HOURS PRECEDING AND CURRENT ROW)""",
)  # fmt: skip
PROJECT = Project.of(VIEW, FeatureService(name="clicking", features=[VIEW]))
CODEC = StateCodec(PROJECT.layouts["clicks", "user"])


@pytest.fixture
def lmdb(tmp_path: Path) -> Iterator[LmdbStore]:
    with LmdbStore(tmp_path / "online") as store:
        yield store


def record(offset: int) -> bytes:
    return CODEC.record(0, offset, PreparedEvent(b"", offset * 10, 0, (float(offset),)))


def state_after(lmdb: LmdbStore, fault: Fault, *, nth: int, appends: int = 4) -> bytes:
    """The string that events 0, 2, 4, .. leave behind a faulty store, beside one of another prefix."""
    store = FaultyStore(lmdb, fault, prefix=b"s/a/", record_size=len(record(0)), nth=nth)
    for number in range(appends):
        store.append([(b"s/a/key", record(2 * number)), (b"s/b/key", record(2 * number))])
    (ours, other) = lmdb.get([b"s/a/key", b"s/b/key"])
    assert ours is not None and other is not None
    assert events(other).ts == [20 * n for n in range(appends)]
    return ours


def events(state: bytes) -> Events:
    return CODEC.decode(state).events


def test_dropped_event_is_the_nth_and_the_others_are_there(lmdb: LmdbStore) -> None:
    assert events(state_after(lmdb, Fault.DROP_EVENT, nth=2)).ts == [0, 40, 60]


def test_doubled_event_is_there_twice_for_whoever_reads(lmdb: LmdbStore) -> None:
    assert events(state_after(lmdb, Fault.DOUBLE_EVENT, nth=3)).ts == [0, 20, 40, 40, 60]


def test_truncated_record_cannot_be_read(lmdb: LmdbStore) -> None:
    with pytest.raises(StateError):
        events(state_after(lmdb, Fault.TRUNCATE_STATE, nth=4))


def test_fault_that_is_not_due_changes_nothing(lmdb: LmdbStore) -> None:
    for fault in (Fault.DROP_EVENT, Fault.DOUBLE_EVENT, Fault.TRUNCATE_STATE):
        lmdb.put([(b"s/a/key", None), (b"s/b/key", None)])
        assert events(state_after(lmdb, fault, nth=5)).ts == [0, 20, 40, 60]


def test_one_definition_is_changed_and_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("nothing to change")
    (tmp_path / "b.py").write_text("INTERVAL 3 HOURS, INTERVAL 3 HOURS")
    assert change_definition(tmp_path) == "b.py"
    assert (tmp_path / "b.py").read_text() == "INTERVAL 4 HOURS, INTERVAL 3 HOURS"


def test_definitions_without_such_a_window_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no definition below .* INTERVAL 3 HOURS to change"):
        change_definition(tmp_path)


def test_one_logged_value_is_changed(tmp_path: Path) -> None:
    log, plan = ServedLog(tmp_path), PROJECT.service("clicking")
    values = [(0, None), (1, 2.5), (2, 3.5)]
    served = ServedBlock(
        0, None, None, ["a", "b", "c"], [0, 1, 2], [{"user": 1}] * 3, values, (["fresh fresh"], [0] * 3), []
    )
    log.append(ServedInputs.of(plan), [served])
    before = log.read(plan.name, plan.fingerprint).to_pylist()
    assert perturb_log(log, "clicking") == "mean_ms"
    after = log.read(plan.name, plan.fingerprint).to_pylist()
    assert [row["features"] for row in after] == [
        {"n": 0, "mean_ms": None}, {"n": 1, "mean_ms": 3.5}, {"n": 2, "mean_ms": 3.5},
    ]  # fmt: skip
    assert [row | {"features": None} for row in after] == [row | {"features": None} for row in before]
