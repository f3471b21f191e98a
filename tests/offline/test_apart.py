"""Parts written apart: files of their own for each part, that change no value and stay with nobody."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from onefold.features.definitions import Entity, EventSource, FeatureView
from onefold.features.errors import StoreError
from onefold.features.plans import Group, ServicePlan
from onefold.features.project import Project
from onefold.offline import apart, parts
from onefold.offline.apart import columns_read, written_apart
from onefold.offline.engine import connect, point_in_time, stream
from onefold.offline.scratch import scratch_folder

UTC = pa.timestamp("us", "UTC")
HOUR = 3_600_000_000
SCHEMA = {"k": "VARCHAR", "at": "TIMESTAMP", "x": "DOUBLE", "n": "BIGINT", "tags": "VARCHAR[]", "ok": "BOOLEAN"}
TOTALS = "SELECT sum(x) OVER d AS s, max(n) OVER d AS m FROM e WHERE ok WINDOW d AS (RANGE INTERVAL 1 DAY PRECEDING)"
LAST = (
    "SELECT last_value(tags) OVER d AS t, last_n(x, 2) OVER d AS two FROM e "
    "WINDOW d AS (RANGE INTERVAL 9 DAYS PRECEDING)"
)


def plan_of(sql: str, *, ids: bool = False) -> ServicePlan:
    source = EventSource(name="e", schema=SCHEMA, event_time="at", event_id="n" if ids else None)
    view = FeatureView(name="v", source=source, entity=Entity(name="k", keys={"k": "VARCHAR"}), sql=sql)
    return Project.of(view).select(["v"])


def group_of(sql: str, *, ids: bool = False) -> Group:
    return plan_of(sql, ids=ids).groups[0]


def world() -> tuple[pa.Table, pa.Table]:
    """Events of 40 keys and of none, many of one time; rows of keys with events and without, and of none."""
    keys = [None if i % 41 == 40 else f"key {i % 41}" for i in range(4_000)]
    doubles = [None if i % 7 == 0 else float("nan") if i % 501 == 0 else i / 8 for i in range(4_000)]
    events = pa.table({
        "k": keys, "at": pa.array([i // 9 * HOUR for i in range(4_000)], UTC), "x": doubles,
        "n": pa.array(range(4_000), pa.int64()), "tags": [[f"t{i % 5}"] * (i % 3) for i in range(4_000)],
        "ok": [i % 3 > 0 for i in range(4_000)], "_sequence": pa.array([i % 2 for i in range(4_000)], pa.int32()),
        "_offset": pa.array([4_000 - i for i in range(4_000)], pa.int64()),
    })  # fmt: skip
    asked = [None if i % 50 == 49 else f"key {i % 50}" for i in range(300)]
    return events, pa.table({"k": asked, "event_timestamp": pa.array([i * 2 * HOUR for i in range(300)], UTC)})


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is made out to be so small that parts are written apart."""
    monkeypatch.setattr(parts, "SHARE", 1e-6)
    monkeypatch.setattr(parts, "MOST_PARTS", 12)


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch, small: None) -> list[Path]:
    """The folders to which parts are written."""
    seen: list[Path] = []

    def watched(*given: object, **named: object) -> object:
        seen.append(given[3])  # type: ignore[arg-type]
        return written_apart(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(apart, "written_apart", watched)
    return seen


@pytest.mark.parametrize("sql", [TOTALS, LAST])
@pytest.mark.parametrize("ids", [False, True])
@pytest.mark.parametrize("using", ["prefix", "joined", None])
def test_parts_written_apart_change_no_value(
    sql: str, ids: bool, using: str | None, folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    events, spine = world()
    plan = plan_of(sql, ids=ids)
    found = point_in_time(plan, {"e": events}, spine, using=using)
    assert folders
    monkeypatch.setattr(parts, "SHARE", 0.4)
    assert repr(found.to_pylist()) == repr(point_in_time(plan, {"e": events}, spine, using=using).to_pylist())
    assert len(folders) == 1


@pytest.mark.parametrize("rows", [0, 1])
def test_of_few_rows_only_their_parts_are_run(rows: int, folders: list[Path]) -> None:
    events, spine = world()
    plan = plan_of(TOTALS)
    whole = point_in_time(plan, {"e": events}, spine, using="joined")
    found = point_in_time(plan, {"e": events}, spine.slice(9, rows), using="joined")
    assert repr(found.to_pylist()) == repr(whole.slice(9, rows).to_pylist())
    assert len(folders) == 2


def test_positions_are_written_only_where_they_can_change_a_value() -> None:
    assert not group_of(TOTALS).in_order
    assert group_of(TOTALS, ids=True).in_order
    assert group_of(LAST).in_order
    assert group_of("SELECT sum(x) OVER (ROWS 3 PRECEDING) AS s FROM e").in_order


def test_only_what_is_asked_for_is_written(tmp_path: Path) -> None:
    events, _ = world()
    group = group_of(TOTALS)
    assert columns_read(group.layout) == ["k", "at", "x", "n", "ok"]
    with connect() as db:
        db.register("e", events)
        db.execute("CREATE TABLE s AS SELECT 'key ' || i AS _k0, i AS _row, i AS _t FROM range(30) t(i)")
        found = written_apart(db, group, 5, tmp_path / "parts", events="e", spine="s", known=False)
        assert found is not None
        assert 1 < len(found) <= 5
        total = sum(db.execute(f"SELECT count(*) FROM {part.events}").fetchall()[0][0] for part in found)
        kept = db.execute("SELECT count(*) FROM e WHERE k IS NOT NULL AND ok").fetchall()[0][0]
        names = {c[0] for c in db.execute(f"SELECT * FROM {found[0].events}").description or ()}
    assert total == kept
    assert names == {"k", "at", "x", "n", "ok", "_sequence", "_offset"}


def test_nothing_is_left_behind_a_result_or_a_failure(tmp_path: Path, folders: list[Path]) -> None:
    events, spine = world()
    plan = plan_of(TOTALS)
    with stream(plan, {"e": events}, spine, temp_directory=tmp_path) as batches:
        (scratch,) = tmp_path.iterdir()
        assert not list(scratch.glob("parts*/*/*")), "what a part was read from is gone when it is done"
        assert sum(b.num_rows for b in batches) == 300
    assert not list(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt), stream(plan, {"e": events}, spine, temp_directory=tmp_path):
        raise KeyboardInterrupt
    assert len(folders) == 2
    assert not list(tmp_path.iterdir())


def test_without_memory_for_files_of_their_own_parts_are_conditions(
    tmp_path: Path, folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(db: duckdb.DuckDBPyConnection, query: str, folder: Path) -> None:
        folder.mkdir(parents=True)
        raise duckdb.OutOfMemoryException("failed to pin block")

    events, spine = world()
    plan = plan_of(TOTALS)
    whole = point_in_time(plan, {"e": events}, spine, using="joined")
    monkeypatch.setattr(apart, "_write", full)
    assert repr(point_in_time(plan, {"e": events}, spine, using="joined").to_pylist()) == repr(whole.to_pylist())
    assert not folders[1].exists()


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file can become longer than 4,000 bytes, as on a disk that has no more room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_said_with_what_to_try_and_leaves_nothing(
    tmp_path: Path, folders: list[Path], full_disk: None
) -> None:
    events, spine = world()
    asked = (
        r"could not be written to .*onefold-\w+: File too large \([\d,]+ MB are free there\); "
        r"give temp_directory .* a folder with more room, or a higher memory_limit"
    )
    with pytest.raises(StoreError, match=asked):
        point_in_time(plan_of(TOTALS), {"e": events}, spine, temp_directory=tmp_path)
    assert folders
    assert not list(tmp_path.iterdir())


def test_a_full_spill_is_said_too(tmp_path: Path) -> None:
    said = "failed to offload data block of size 192 KiB. This limit was set by the 'max_temp_directory_size' setting."
    with pytest.raises(StoreError, match="the disk is full"), scratch_folder(tmp_path):
        raise duckdb.OutOfMemoryException(said)
    assert not list(tmp_path.iterdir())


def test_another_failure_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(duckdb.IOException, match="No files found"), scratch_folder(tmp_path) as folder:
        duckdb.sql(f"FROM read_parquet('{folder}/none.parquet')")
