"""The SQL that definitions become on Spark, kept as files, and run as it stands there; see `test_snapshots`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from onefold.features import oracle
from onefold.features.spark_plans import bucket_size, framed_plan, joined_plan

from .test_snapshots import EVENTS, FOLDER, LATER, SPINE, VIEWS, internal, plan_of

PLANS: dict[str, Callable[..., str]] = {"framed": framed_plan, "joined": joined_plan}
COLUMNS = "user STRING, us BIGINT, amount DOUBLE, n BIGINT, ok BOOLEAN, id STRING, _sequence INT, _offset BIGINT"


@pytest.fixture(scope="module")
def tables(spark: Any) -> None:
    events = spark.createDataFrame([(*values, *at) for at, values in EVENTS], COLUMNS)
    events.selectExpr("*", "timestamp_micros(us) AS at").createOrReplaceTempView("orders")
    rows = [(i, t, k) for i, (k, t) in enumerate(SPINE)]
    spine = spark.createDataFrame(rows, "_row BIGINT, _t BIGINT, _k0 STRING")
    spine.selectExpr("*", "struct(_row) AS _s").createOrReplaceTempView("spine")


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", [*VIEWS, *LATER])
def test_a_definition_becomes_the_sql_of_its_snapshot_which_gives_what_the_oracle_gives(
    spark: Any, name: str, plan: str
) -> None:
    service = plan_of(name, ids=False)
    (group,) = service.groups
    sql = PLANS[plan](group, events="orders", rows="spine", size=bucket_size(group)) + "\n"
    path = FOLDER / f"{name}.spark-{plan}.sql"
    if os.environ.get("ONEFOLD_WRITE_SNAPSHOTS"):
        path.write_text(sql, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == sql, "ONEFOLD_WRITE_SNAPSHOTS=1 writes it anew; read the difference"
    found = sorted(spark.sql(sql).collect(), key=lambda row: int(row["_row"]))
    values = [tuple(internal(row[f.ref]) for f in service.features) for row in found]
    expected = oracle.evaluate(service, {"orders": EVENTS}, [{"user": k} for k, _ in SPINE], [t for _, t in SPINE])
    assert values == expected
