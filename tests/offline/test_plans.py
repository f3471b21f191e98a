"""Plans, parts and batches of the DuckDB engine change no value; what a sample says is about right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onefold.features.definitions import Entity, EventSource, FeatureView
from onefold.features.plans import ServicePlan
from onefold.features.project import Project
from onefold.offline import apart, parts
from onefold.offline.engine import connect, point_in_time, stream
from onefold.offline.group_run import GroupRun
from onefold.offline.parts import MOST_PARTS, Part
from onefold.offline.shape import facts, look

DAY = 86_400_000_000
UTC = pa.timestamp("us", "UTC")
MANY = "RANGE BETWEEN INTERVAL {} DAYS PRECEDING AND CURRENT ROW"
SQL = (
    "SELECT count(*) OVER d1 AS n, sum(x) OVER d1 AS s, avg(x) FILTER (WHERE k % 2 = 0) OVER d7 AS a, "
    "max(x) OVER d7 AS m, last_value(x) OVER d7 AS l, sum(x) OVER life AS t FROM e "
    f"WINDOW d1 AS ({MANY.format(1)}), d7 AS ({MANY.format(7)}), life AS (RANGE UNBOUNDED PRECEDING)"
)
ENDING = SQL.replace(", sum(x) OVER life AS t", "").replace(", life AS (RANGE UNBOUNDED PRECEDING)", "")


def plan_of(sql: str, columns: int = 1) -> ServicePlan:
    schema = {"k": "BIGINT", "at": "TIMESTAMP", "x": "DOUBLE"} | {f"x{i}": "DOUBLE" for i in range(1, columns)}
    source = EventSource(name="e", schema=schema, event_time="at")
    view = FeatureView(name="v", source=source, entity=Entity(name="k", keys={"k": "BIGINT"}), sql=sql)
    return Project.of(view).select(["v"])


def world(events: int, keys: int, rows: int, *, share: float = 0.0) -> tuple[pa.Table, pa.Table]:
    """Events of 30 days, often of one time, in two sequences; `share` of them and of the rows are of key 0."""
    dice = np.random.default_rng(5)

    def some(n: int) -> tuple[np.ndarray, pa.Array]:
        key = np.where(dice.random(n) < share, 0, dice.integers(0, keys, n))
        return key, pa.array(dice.integers(0, 30 * 24, n) * (DAY // 24), UTC)

    (key, at), (asked, t) = some(events), some(rows)
    positions = {"_sequence": pa.array(np.arange(events) % 2, pa.int32()), "_offset": pa.array(np.arange(events) // 2)}
    table = pa.table({"k": key, "at": at, "x": np.round(dice.normal(50, 20, events), 2), **positions})
    return table, pa.table({"k": asked, "event_timestamp": t})


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> list[Part]:
    """The parts that are run; there are many where memory is made out to be small."""
    seen: list[Part] = []
    parts = GroupRun._parts

    def watched(self: GroupRun, *given: Any, **named: Any) -> list[Part]:
        found = parts(self, *given, **named)
        seen.extend(found)
        return found

    monkeypatch.setattr(GroupRun, "_parts", watched)
    return seen


@pytest.mark.parametrize("using", ["prefix", "joined"])
def test_over_several_row_groups_and_threads_each_plan_gives_what_frames_give(using: str) -> None:
    events, spine = world(300_000, 3_000, 20_000)
    plan = plan_of(SQL)
    found, expected = (point_in_time(plan, {"e": events}, spine, using=u) for u in (using, "sorted"))
    assert found.equals(expected)


@pytest.mark.parametrize(
    ("sql", "share", "by", "least"),
    [
        (SQL, 0.0, "hash(", MOST_PARTS + 1), (ENDING, 0.9, "_t >=", 2), (SQL, 0.9, "hash(", MOST_PARTS + 1),
        (SQL, 0.0, "read_parquet(", 2), (SQL, 0.9, "read_parquet(", 2),
    ],
)  # fmt: skip
@pytest.mark.parametrize("using", ["prefix", "joined"])
def test_parts_by_key_or_by_time_make_the_whole(
    using: str, sql: str, share: float, by: str, least: int, cut: list[Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    events, spine = world(20_000, 50, 2_000, share=share)
    plan = plan_of(sql)
    whole = point_in_time(plan, {"e": events}, spine, using=using)
    assert len(cut) == 1
    monkeypatch.setattr(parts, "SHARE", 1e-5)
    monkeypatch.setattr(apart, "FROM", least)
    assert point_in_time(plan, {"e": events}, spine, using=using).equals(whole)
    assert len(cut) > 3
    assert all(by in part.spine for part in cut[1:])


def test_batches_come_in_the_order_of_the_spine(monkeypatch: pytest.MonkeyPatch) -> None:
    events, spine = world(20_000, 50, 250_000)
    plan = plan_of(SQL)
    with stream(plan, {"e": events}, spine) as batches:
        found = list(batches)
    assert len(found) > 1
    assert pa.Table.from_batches(found).equals(point_in_time(plan, {"e": events}, spine))


def test_work_larger_than_memory_is_done_in_parts(tmp_path: Path, cut: list[Part]) -> None:
    path, columns = tmp_path / "events.parquet", 7
    values = ", ".join(f"(hash(i * 31 + {c}) % 1000003) / 1009.0 AS x{c or ''}" for c in range(columns))
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        db.execute(
            f"COPY (SELECT (hash(i) % 40000)::BIGINT AS k, make_timestamp((i * 1000000)::BIGINT)::TIMESTAMPTZ AS at, "
            f"{values}, 0::INTEGER AS _sequence, i AS _offset FROM range(2400000) t(i)) TO '{path}'"
        )
    plan = plan_of("SELECT " + ", ".join(f"sum(x{c or ''}) OVER d7 AS s{c}" for c in range(columns))
                   + f" FROM e WINDOW d7 AS ({MANY.format(7)})", columns)  # fmt: skip
    dice = np.random.default_rng(1)
    spine = pa.table(
        {"k": dice.integers(0, 40_000, 50_000), "event_timestamp": pa.array(dice.integers(0, 27 * DAY, 50_000), UTC)}
    )
    found = point_in_time(plan, {"e": [str(path)]}, spine, memory_limit="64MB", temp_directory=tmp_path / "spill")
    assert pq.read_metadata(path).num_rows * (columns + 4) * 8 > 3 * 64_000_000
    assert len(cut) > 3
    assert not list((tmp_path / "spill").iterdir())
    few = pa.array(range(0, 50_000, 500))
    assert found.take(few).equals(point_in_time(plan, {"e": [str(path)]}, spine.take(few)))


@pytest.mark.parametrize(
    ("keys", "share", "pairs"), [(20_000, 0.0, 3.75), (20, 0.0, 3_750.0), (20_000, 0.5, 37_500 / 2)]
)
def test_a_sample_says_how_many_events_a_row_meets(keys: int, share: float, pairs: float) -> None:
    events, spine = world(300_000, keys, 30_000, share=share)
    late = np.asarray(spine["event_timestamp"].cast(pa.int64())) > 12 * DAY
    (group,) = plan_of(ENDING).groups
    with connect() as db:
        db.register("e", events)
        db.register("rows", spine.filter(pa.array(late)).append_column("_row", pa.array(np.arange(late.sum()))))
        db.execute("CREATE TABLE s AS SELECT k AS _k0, epoch_us(event_timestamp) AS _t, _row FROM rows")
        seen = look(db, group, events="e", spine="s", rows=int(late.sum()))
    assert 0.8 * 300_000 < seen.shape.events < 1.2 * 300_000
    assert 0.6 * pairs < seen.shape.pairs < 2.0 * pairs
    assert abs(seen.largest - max(share, 1 / keys)) < 0.05


def test_facts_hold_for_all_events_or_not_at_all() -> None:
    events = pa.table({
        "k": [1, 1], "at": pa.array([0, 1], UTC), "x": [1.0, 2.0], "x1": [1.0, None], "x2": [1.0, float("nan")],
        "x3": [1.0, 2.0**53], "_sequence": pa.array([0, 0], pa.int32()), "_offset": [0, 1],
    })  # fmt: skip
    names = ("x", "x1", "x2", "x3")
    life = "(RANGE UNBOUNDED PRECEDING)"
    plan = plan_of("SELECT " + ", ".join(f"sum({n}) OVER {life} AS s_{n}" for n in names)
                   + f", last_value(x) OVER {life} AS l FROM e", 4)  # fmt: skip
    (group,) = plan.groups
    with connect() as db:
        db.register("e", events)
        found = facts(db, group, events="e", newest=True)
        again = facts(db, group, events="(SELECT * FROM e UNION ALL BY NAME SELECT * FROM e LIMIT 3)", newest=True)
    plain = [str(getattr(group.layout.columns[i], "name", "")) for i in sorted(found.plain)]
    assert plain == ["x"]
    assert found.unique
    assert not again.unique
