"""The SQL that definitions become, kept as files, and run as it stands there.

After a change that is meant, write them anew and read the difference:

    ONEFOLD_WRITE_SNAPSHOTS=1 python -m pytest tests/features/test_snapshots.py
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import duckdb
import pytest

from onefold.features import oracle
from onefold.features.definitions import Entity, EventSource, FeatureView
from onefold.features.duckdb_plans import joined_plan, prefix_plan, sorted_plan
from onefold.features.plans import ServicePlan
from onefold.features.project import Project

FOLDER = Path(__file__).parent / "snapshots"
SCHEMA = {"user": "VARCHAR", "at": "TIMESTAMP", "amount": "DOUBLE", "n": "BIGINT", "ok": "BOOLEAN", "id": "VARCHAR"}
DAY = "RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW"
VIEWS = {
    "count_and_max": f"SELECT count(*) OVER d AS orders, max(n) FILTER (WHERE ok) OVER d AS top "
    f"FROM orders WINDOW d AS ({DAY})",
    "average": f"SELECT avg(amount) OVER ({DAY} EXCLUDE GROUP) AS mean FROM orders WHERE n % 2 = 0",
    "latest": "SELECT last_value(amount) OVER w AS last, first_value(n) OVER w AS first "
    "FROM orders WINDOW w AS (RANGE UNBOUNDED PRECEDING)",
}
LATER = {
    "rows": "SELECT sum(amount) OVER (ROWS BETWEEN 3 PRECEDING AND 2 PRECEDING) AS behind, "
    f"lag(n, 2) OVER () AS second, time_since_last() FILTER (WHERE ok) OVER d AS since FROM orders WINDOW d AS ({DAY})",
    "distinct": "SELECT count(DISTINCT amount) OVER d AS amounts, last_distinct(n, 2) OVER d AS newest, "
    f"approx_count_distinct(n) OVER d AS about FROM orders WINDOW d AS ({DAY})",
    "by": f"SELECT min_by(n, amount) OVER d AS cheapest, max_by(ok, n) OVER d AS ok FROM orders WINDOW d AS ({DAY})",
    "lists": f"SELECT array_agg(amount) OVER d AS amounts, last_n(n, 2) FILTER (WHERE ok) OVER d AS newest, "
    f"quantile_disc(amount, 0.5) OVER d AS median FROM orders WINDOW d AS ({DAY})",
}
"""What has one form, whether the source has ids or not."""
PLANS: dict[str, Callable[..., str]] = {"prefix": prefix_plan, "sorted": sorted_plan, "joined": joined_plan}
EVENTS = [
    ((0, 0), ("a", 0, 1.5, 2, True, "x")),
    ((1, 0), ("a", 3_600_000_000, 0.1, 4, None, "y")),
    ((1, 1), ("a", 3_600_000_000, 0.2, 6, True, "y")),
    ((0, 1), ("b", 0, None, 2, False, "x")),
    ((0, 2), (None, 0, 9.0, 8, True, "z")),
    ((0, 3), ("a", 90_000_000_000, 4.0, 3, True, "x")),
]
SPINE = [("a", 3_600_000_000), ("a", 86_400_000_000), ("b", 5), ("c", 5), (None, 5), ("a", 90_000_000_000)]


def plan_of(name: str, *, ids: bool) -> ServicePlan:
    source = EventSource(name="orders", schema=SCHEMA, event_time="at", event_id="id" if ids else None)
    sql = (VIEWS | LATER)[name]
    view = FeatureView(name="v", source=source, entity=Entity(name="user", keys={"user": "VARCHAR"}), sql=sql)
    return Project.of(view).select(["v"])


def internal(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def run(sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as db:
        columns = ", ".join(f'"{n}" {t}' for n, t in SCHEMA.items())
        db.execute(f"CREATE TABLE orders ({columns}, _sequence INTEGER, _offset BIGINT)")
        db.execute("CREATE TABLE spine (_row BIGINT, _t BIGINT, _k0 VARCHAR)")
        row = "?, make_timestamp(?), ?, ?, ?, ?, ?, ?"
        db.executemany(f"INSERT INTO orders VALUES ({row})", [[*values, *at] for at, values in EVENTS])
        db.executemany("INSERT INTO spine VALUES (?, ?, ?)", [[i, t, k] for i, (k, t) in enumerate(SPINE)])
        found = db.execute(f"SELECT * FROM ({sql}) ORDER BY _row").fetchall()
    return [tuple(map(internal, row[1:])) for row in found]


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize(("name", "ids"), [*product(VIEWS, (False, True)), *product(LATER, (False,))])
def test_a_definition_becomes_the_sql_of_its_snapshot_which_gives_what_the_oracle_gives(
    name: str, plan: str, ids: bool
) -> None:
    service = plan_of(name, ids=ids)
    sql = PLANS[plan](service.groups[0], events="orders", spine="spine") + "\n"
    path = FOLDER / f"{name}.{plan}{'.ids' if ids else ''}.sql"
    if os.environ.get("ONEFOLD_WRITE_SNAPSHOTS"):
        path.write_text(sql, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == sql, "see the top of this file for how to write it anew"
    rows = [{"user": k} for k, _ in SPINE]
    assert run(sql) == oracle.evaluate(service, {"orders": EVENTS}, rows, [t for _, t in SPINE])
