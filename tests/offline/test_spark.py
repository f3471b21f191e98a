"""Spark as a batch engine: one shuffle a key set, hot keys spread, and DuckDB's bits in heads and training sets."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from onefold.examples.flights.data import prepare, requests_between
from onefold.examples.flights.model import definitions
from onefold.features.definitions import Entity, EventSource, FeatureService, FeatureView
from onefold.features.errors import ConfigError
from onefold.features.plans import ServicePlan
from onefold.features.project import Project
from onefold.features.spark_choice import PLANS
from onefold.features.state import StateCodec
from onefold.offline import engine, spark_session
from onefold.offline import spark as spark_engine
from onefold.offline.spark_heads import SparkHeadBuilder
from onefold.streaming.heads import HeadBuilder
from tests.spark import SPARK

HOUR, DAY = 3_600_000_000, 86_400_000_000
UTC = pa.timestamp("us", "UTC")
SOURCE = EventSource(
    name="e",
    schema={"k": "VARCHAR", "n": "BIGINT", "at": "TIMESTAMP", "x": "DOUBLE", "v": "VARCHAR", "id": "VARCHAR"},
    event_time="at",
    event_id="id",
)
BY_K = FeatureView(
    name="by_k", source=SOURCE, entity=Entity(name="k", keys={"k": "VARCHAR"}),
    sql="""SELECT count(*) OVER d AS c, sum(x) OVER d AS s, stddev(x) OVER h AS dev, min(x) OVER d AS low,
      max(v) OVER h AS high, first_value(v) OVER d AS oldest, max_by(v, x) OVER h AS v_at_high,
      last_value(v) OVER d AS v, sum(x) FILTER (WHERE v = 'a') OVER h AS a FROM e WHERE x IS NOT NULL
      WINDOW h AS (RANGE BETWEEN INTERVAL 6 HOURS PRECEDING AND CURRENT ROW),
        d AS (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)""",
)  # fmt: skip
BY_N = FeatureView(
    name="by_n", source=SOURCE, entity=Entity(name="n", keys={"n": "BIGINT"}),
    sql="SELECT avg(x) OVER (RANGE UNBOUNDED PRECEDING) AS mean, lag(v, 1) OVER () AS last FROM e",
)  # fmt: skip
OVERALL = FeatureView(
    name="overall", source=SOURCE,
    sql="SELECT count(*) OVER (RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW) AS busy FROM e",
)  # fmt: skip


BUCKETS = FeatureView(
    name="in_buckets", source=replace(SOURCE, event_id=None), entity=Entity(name="k", keys={"k": "VARCHAR"}),
    sql="""SELECT count(*) OVER d AS c, sum(x) OVER d AS s, stddev(x) OVER d AS dev, min(x) OVER d AS low,
      first_value(v) OVER d AS oldest, max_by(v, x) OVER d AS v_at_high, approx_count_distinct(v) OVER d AS kinds FROM e
      WINDOW d AS (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)""",
    resolution="2 hours",
)  # fmt: skip


def events(count: int, *, days: int = 40) -> pa.Table:
    """Half of the events are of the key 'hot'; some are copies, late, NULL or special."""
    draw = random.Random(count)
    keys = ["hot" if i % 2 else draw.choice(["a", "é", "ñ" * 150, None]) for i in range(count)]
    columns: dict[str, Any] = {
        "k": pa.array(keys, pa.string()),
        "n": pa.array([draw.choice([-1, 3, None]) for _ in range(count)], pa.int64()),
        "at": pa.array([draw.randrange(days * 24 * 60) * HOUR // 60 for _ in range(count)], UTC),
        "x": [draw.choice([None, math.nan, draw.uniform(-1e9, 1e9), 0.1, 12.34]) for _ in range(count)],
        "v": [draw.choice(["a", "b", None, "ø"]) for _ in range(count)],
        "id": [str(draw.randrange(count)) for _ in range(count)],
        "_sequence": pa.array([i % 3 for i in range(count)], pa.int32()),
        "_offset": pa.array(range(count), pa.int64()),
    }
    return pa.table(columns)


def spine(rows: int, *, days: int = 40) -> pa.Table:
    draw = random.Random(rows)
    keys = [draw.choice(["hot", "hot", "a", "é", "none", None]) for _ in range(rows)]
    numbers = pa.array([draw.choice([-1, 3, None, 9]) for _ in range(rows)], pa.int64())
    times = pa.array([draw.randrange(days * 24) * HOUR for _ in range(rows)], UTC)
    return pa.table({"k": pa.array(keys, pa.string()), "n": numbers, "event_timestamp": times})


def plan_of(*views: FeatureView) -> ServicePlan:
    return Project.of(FeatureService(name="s", features=views)).service("s")


@pytest.fixture
def job(spark: Any, tmp_path: Path) -> spark_engine.Job:
    return spark_engine.Job(spark, tmp_path)


def frame(job: spark_engine.Job, plan: ServicePlan, table: pa.Table, rows: pa.Table) -> Any:
    asked = job.spine(plan, engine.conform_spine(plan, rows))
    return job.features(plan, {"e": table}, asked)


def shuffles(found: Any) -> int:
    return str(found._jdf.queryExecution().executedPlan().toString()).count("Exchange hashpartitioning")


def same(a: pa.Table, b: pa.Table) -> None:
    assert a.schema == b.schema
    for name in a.column_names:
        left, right = (t[name].combine_chunks() for t in (a, b))
        if pa.types.is_floating(left.type):
            left, right = (c.fill_null(-0.0).view(pa.int64()) for c in (left, right))
        assert left.equals(right), name


def test_a_key_set_costs_one_shuffle(job: spark_engine.Job) -> None:
    assert shuffles(frame(job, plan_of(BY_K), events(50), spine(5))) == 1
    assert shuffles(frame(job, plan_of(BY_K, BY_N), events(50), spine(5))) == 2
    assert "Exchange" not in str(job.spine(plan_of(BY_K), spine(5))._jdf.queryExecution().executedPlan().toString())


def test_every_group_has_the_bits_of_duckdb_by_either_plan(spark: Any) -> None:
    plan, table, rows = plan_of(BY_K, BY_N, OVERALL), events(600), spine(80)
    expected = engine.point_in_time(plan, {"e": table}, rows)
    for using in PLANS:
        same(spark_engine.point_in_time(plan, {"e": table}, rows, using=using, settings=SPARK), expected)


@contextmanager
def settings(spark: Any, **values: str) -> Iterator[None]:
    before = {name.replace("_", "."): spark.conf.get(name.replace("_", ".")) for name in values}
    for name, value in values.items():
        spark.conf.set(name.replace("_", "."), value)
    try:
        yield
    finally:
        for name, old in before.items():
            spark.conf.set(name, old)


def test_a_key_with_half_of_all_events_is_spread_over_tasks(job: spark_engine.Job, spark: Any) -> None:
    rows = spine(300)
    with settings(spark, spark_sql_shuffle_partitions="8", spark_sql_adaptive_enabled="false"):
        found = (
            frame(job, plan_of(BY_K), events(2_000), rows).selectExpr("_row", "spark_partition_id() AS task").toArrow()
        )
    hot = pc.equal(rows["k"].take(found["_row"]), "hot")
    tasks = found.filter(hot)["task"].to_pylist()
    assert len(set(tasks)) >= 4
    assert max(map(tasks.count, tasks)) < len(tasks) / 2


def test_no_plan_bucket_or_fact_changes_a_value(spark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, rows, table = plan_of(BY_K), spine(60), filled(events(400))
    expected = engine.point_in_time(plan, {"e": table}, rows)
    for using in PLANS:
        same(spark_engine.point_in_time(plan, {"e": table}, rows, using=using, bucket=DAY, settings=SPARK), expected)
    monkeypatch.setattr(spark_engine, "SMALL", 0)
    same(spark_engine.point_in_time(plan, {"e": table}, rows, settings=SPARK), expected)


def filled(table: pa.Table) -> pa.Table:
    """The same with an x that is never NULL or NaN, so that its sums take fewer lanes."""
    x = pc.fill_null(pc.if_else(pc.is_nan(table["x"]), None, table["x"]), 1.5)
    return table.set_column(table.schema.get_field_index("x"), "x", x)


def test_a_look_finds_the_shape_of_the_work_and_what_is_plain(
    job: spark_engine.Job, spark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spark_engine, "SAMPLED_EVENTS", 2_000)
    (group,) = (plan := plan_of(BY_K)).groups
    table, asked = events(20_000, days=10), spine(400, days=10)
    timed = job.spine(plan, engine.conform_spine(plan, asked)).selectExpr("*", "unix_micros(event_timestamp) AS _t")
    rows = spark_engine.view(timed)
    facts, shape = job.look(group, spark_engine.view(job.events(SOURCE, table)), rows)
    held = table.filter(pc.and_(pc.is_valid(table["k"]), pc.is_valid(table["x"])))
    assert (shape.rows, shape.events, facts.plain) == (400, held.num_rows, frozenset()), "x is NaN here and there"
    assert shape.largest == pytest.approx(pc.sum(pc.equal(held["k"], "hot")).as_py(), rel=0.2)
    assert shape.pairs == pytest.approx(_pairs(held, asked), rel=0.2)
    assert job.look(group, spark_engine.view(job.events(SOURCE, filled(table))), rows)[0].plain


def _pairs(table: pa.Table, rows: pa.Table) -> float:
    """How many events of the day before it a row has, on average."""
    times = {
        k: np.sort(table.filter(pc.equal(table["k"], k))["at"].cast("int64").to_numpy()) for k in ("hot", "a", "é")
    }
    met = [
        np.searchsorted(times[k], t, "right") - np.searchsorted(times[k], t - DAY)
        for k, t in zip(rows["k"].to_pylist(), rows["event_timestamp"].cast("int64").to_pylist(), strict=True)
        if k in times
    ]
    return float(sum(met) / rows.num_rows)


@pytest.mark.parametrize(("floor", "before"), [(None, None), (20 * DAY, None), (20 * DAY, 28 * DAY)])
def test_heads_are_those_of_duckdb_but_for_the_generation(
    spark: Any, tmp_path: Path, floor: int | None, before: int | None
) -> None:
    table = events(500)
    files = [str(tmp_path / f"{i}.parquet") for i in range(2)]
    for i, file in enumerate(files):
        pq.write_table(table.slice(250 * i, 250), file)
    views = [BY_K, BY_N, OVERALL] if before is None else [BUCKETS]
    for layout in Project.of(*views).layouts.values():
        at: dict[str, Any] = {"epoch": 3, "floor": floor, "before": before}
        by_duckdb, by_spark = HeadBuilder(layout, **at), SparkHeadBuilder(layout, **at)
        with closing(engine.connect()) as db:
            relation = engine.events_relation(SOURCE, engine.parquet_relation(files))
            expected = {name: _plain(head) for name, head in by_duckdb.heads(db, relation)}
        found = {name: _plain(head) for name, head in by_spark.heads(files)}
        assert found == expected
        assert (by_spark.strings, by_spark.events) == (by_duckdb.strings, by_duckdb.events)
        decoded = [StateCodec(layout).decode(head) for head in found.values()]
        assert all(state.floor == floor for state in decoded)
        assert any(state.buckets is not None and state.buckets.starts for state in decoded) == (before is not None)


def _plain(head: bytes) -> bytes:
    return head[:8] + bytes(8) + head[16:]


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, pa.Table], pa.Table]:
    """The events up to 10 January, and every fifth request of its last two days."""
    data = prepare(tmp_path_factory.mktemp("flights"))
    end = pa.scalar(15_714 * DAY, UTC)
    found = {}
    for source in definitions().sources.values():
        table = pq.read_table(data.events[source.name])
        table = table.filter(pc.less(table[source.event_time], end))
        numbers = pa.array(range(table.num_rows), pa.int64())
        zeros = pa.array([0] * table.num_rows, pa.int32())
        found[source.name] = table.append_column("_sequence", zeros).append_column("_offset", numbers)
    rows = requests_between(data, 1, 1)
    rows = rows.filter(pc.less(rows["event_timestamp"], end))
    return found, rows.slice(rows.num_rows - 1_500).take(pa.array(range(0, 1_500, 5)))


def test_a_training_set_of_flights_has_the_bits_of_duckdb(spark: Any, flights: Any) -> None:
    tables, rows = flights
    plan = definitions().service("delay")
    expected = engine.point_in_time(plan, tables, rows)
    same(spark_engine.point_in_time(plan, tables, rows, settings=SPARK), expected)


def test_without_java_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"Spark needs Java 17 or newer; JAVA_HOME is .* openjdk-17-jre-headless"):
        spark_session.check_java()
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="no java on PATH"):
        spark_session.check_java()
    old = tmp_path / "java"
    old.write_text('#!/bin/sh\necho "openjdk version \\"11.0.1\\"" >&2\n')
    old.chmod(0o755)
    with pytest.raises(ConfigError, match=r'says: openjdk version "11.0.1"'):
        spark_session.check_java()
