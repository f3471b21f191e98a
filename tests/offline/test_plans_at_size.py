"""All plans agree on more events than one thread of DuckDB takes at a time: what runs in order stays in order."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from onefold.features.definitions import Entity, EventSource, FeatureView
from onefold.features.project import Project
from onefold.offline.engine import point_in_time

EVENTS, ROWS, KEYS, SECONDS = 400_000, 5_000, 700, 30 * 86_400
SCHEMA = {"k": "BIGINT", "at": "TIMESTAMP", "x": "DOUBLE", "n": "BIGINT", "ok": "BOOLEAN"}
DAY = "(RANGE INTERVAL 1 DAY PRECEDING)"
SQL = f"""SELECT count(*) OVER {DAY} AS c, sum(x) OVER {DAY} AS total, avg(n) OVER {DAY} AS mean,
    stddev(x) FILTER (WHERE ok) OVER {DAY} AS spread, max(x) OVER {DAY} AS most, last_value(x) OVER {DAY} AS latest,
    min_by(n, x) OVER {DAY} AS n_of_least, lag(x, 2) OVER () AS before FROM events"""


def drawn(rows: int, seed: int, items: str) -> pa.Table:
    """Rows whose columns are made of hashes of their number."""
    moment = f"make_timestamp(((hash(i, {seed}) % {SECONDS}) * 1000000)::BIGINT) AT TIME ZONE 'UTC'"
    query = f"SELECT (hash(i, {seed + 1}) % {KEYS})::BIGINT AS k, {moment} AS at, {items} FROM range({rows}) t(i)"
    with duckdb.connect() as db:
        return db.sql(query).to_arrow_table()


def test_all_plans_give_the_same_bits() -> None:
    events = drawn(
        EVENTS, 10,
        "(hash(i, 1) % 100000) / 100.0 AS x, (hash(i, 2) % 1000)::BIGINT AS n, hash(i, 3) % 3 = 0 AS ok, "
        "0::INTEGER AS _sequence, i::BIGINT AS _offset",
    )  # fmt: skip
    spine = drawn(ROWS, 20, "i").rename_columns(["k", "event_timestamp", "i"])
    source = EventSource(name="events", schema=SCHEMA, event_time="at")
    view = FeatureView(name="v", source=source, entity=Entity(name="k", keys={"k": "BIGINT"}), sql=SQL)
    plan = Project.of(view).select(["v"])
    found = {
        using: point_in_time(plan, {"events": events}, spine, using=using) for using in ("joined", "prefix", "sorted")
    }
    assert found["prefix"].equals(found["joined"]) and found["sorted"].equals(found["joined"])
    assert point_in_time(plan, {"events": events}, spine).equals(found["joined"])
    assert found["joined"].column("c").to_pylist() != [0] * ROWS
