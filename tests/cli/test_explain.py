"""`explain` says what is computed, kept and read."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import onefold
from onefold import Entity, EventSource, FeatureService, FeatureView, OnDemandView, col, count, fn, sum_
from onefold.explaining import ENGINES
from onefold.features.errors import InputError, NotFoundError
from onefold.features.project import Project
from onefold.offline.measured import measure

from .conftest import Run

CLICKS = EventSource(
    name="clicks", schema={"user": "VARCHAR", "at": "TIMESTAMP", "ms": "DOUBLE", "page": "VARCHAR"}, event_time="at"
)
USER = Entity(name="user", keys={"user": "VARCHAR"})
SPEED = FeatureView(
    name="speed", source=CLICKS, entity=USER,
    features={"n_7d": count(where=col("ms") > 5).over("7 days"), "log_ms": fn.ln(sum_("ms").over("1 day"))},
)  # fmt: skip
PAGES = FeatureView(name="pages", source=CLICKS, entity=USER, sql="SELECT max(page) OVER d AS top FROM clicks "
                    "WINDOW d AS (RANGE INTERVAL 30 DAYS PRECEDING)")  # fmt: skip
ALL = FeatureView(name="everything", source=CLICKS, features={"n": count().over("lifetime")})
NOW = OnDemandView(name="now", views=[SPEED], features={"passed_on": col("log_ms"), "twice": col("n_7d") * 2})
PROJECT = Project.of(SPEED, PAGES, ALL, NOW, FeatureService(name="all", features=[SPEED["n_7d"], NOW]))


def test_a_view_is_explained_by_its_ir_its_sql_and_its_state() -> None:
    found = onefold.explain(PROJECT, "speed")
    assert found["sql"]["speed"] == PROJECT.views["speed"].sql
    n, log = found["features"]
    assert (
        n["tree"][0] == "aggregate count_star over RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW, "
        "the last below is its filter: BIGINT"
    )
    assert n["tree"][1] == "  call >: BOOLEAN or NULL"
    assert (n["nullable"], list(n["inexact"])) == (False, []) and (log["nullable"], list(log["inexact"])) == (
        True,
        ["ln()"],
    )
    (state,) = found["states"]
    assert list(state["shared"]) == ["speed", "pages"] and state["retention"] == 30 * 86_400_000_000
    assert [(c["type"], c["sql"]) for c in state["columns"]] == [
        ("BOOLEAN", "coalesce(ms > 5.0, FALSE)"), ("DOUBLE", "ms"), ("VARCHAR", "page"),
    ]  # fmt: skip
    assert state["fingerprint"] == PROJECT.layouts["clicks", "user"].fingerprint
    assert len(state["slots"]) == 2 and len(state["windows"]) == 2
    assert state["events_a_read"] == {"1": 30, "24": 720, "1000": 30_000} and state["measured"] is None
    assert list(state["request_row"]) == []


def test_a_service_and_an_on_demand_view_are_explained_with_the_views_below_them() -> None:
    found = onefold.explain(PROJECT, "all")
    assert [f["ref"] for f in found["features"]] == ["speed.n_7d", "now.passed_on", "now.twice"]
    assert set(found["sql"]) == {"speed", "now"}
    assert list(found["features"][1]["inexact"]) == ["speed.log_ms"], "a mark that is passed on"


def test_a_request_that_is_an_event_is_explained() -> None:
    pays = EventSource(
        name="pays", schema={"k": "VARCHAR", "at": "TIMESTAMP", "x": "DOUBLE", "id": "BIGINT"}, event_time="at",
        event_id="id",
    )  # fmt: skip
    sql = "SELECT sum(x) OVER (RANGE INTERVAL 1 DAY PRECEDING) AS spent FROM pays"
    entity = Entity(name="payer", keys={"k": "VARCHAR"})
    view = FeatureView(name="spent", source=pays, entity=entity, sql=sql, request_row="include")
    found = onefold.explain(Project.of(view), "spent")
    assert found["sql"]["spent"].startswith('-- request_row="include"')
    assert list(found["states"][0]["request_row"]) == ["x", "id"]
    assert [[p["what"].partition(": ")[2] for p in found["engines"][e]] for e in ("duckdb", "spark")] == [
        ["joined plan, rows are events themselves", ""], ["joined plan"],
    ]  # fmt: skip
    plain = FeatureView(name="plain", source=pays, entity=entity, sql=found["sql"]["spent"])
    assert Project.of(plain).views["plain"].select == Project.of(view).views["spent"].select


def test_a_view_without_keys_and_a_lifetime_are_warned_of() -> None:
    (state,) = onefold.explain(PROJECT, "everything")["states"]
    assert any("it has no keys" in w for w in state["warnings"]) and any("for ever" in w for w in state["warnings"])
    assert state["events_a_read"] == {}
    (kept,) = onefold.explain(PROJECT, "pages")["states"]
    assert [w.partition(" with ")[0] for w in kept["warnings"]] == ["a key"] and "is hot" in kept["warnings"][0]


def test_each_engine_shows_its_own_sql() -> None:
    for engine in ENGINES:
        shown = onefold.explain(PROJECT, "all", engine=engine)["engines"]
        assert list(shown) == [engine] and all(part["text"] for part in shown[engine])
    (prefix, *_) = onefold.explain(PROJECT, "speed", engine="duckdb")["engines"]["duckdb"]
    assert "so_far" in prefix["text"]
    with pytest.raises(InputError, match="engine 'duckdbb' is not known; did you mean 'duckdb'"):
        onefold.explain(PROJECT, "speed", engine="duckdbb")
    with pytest.raises(NotFoundError, match="view 'sped' is not defined; did you mean 'speed'"):
        onefold.explain(PROJECT, "sped")


def _events(counts: dict[str, int], folder: Path) -> str:
    """Clicks a user, a second apart, the newest at one time; and one long ago."""
    end = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    rows: list[dict[str, Any]] = [
        {"user": user, "at": end - dt.timedelta(seconds=i), "ms": 1.0, "page": "p" * 40}
        for user, n in counts.items()
        for i in range(n)
    ]
    rows.append({"user": "a", "at": end - dt.timedelta(days=40), "ms": 1.0, "page": "p"})
    names = ("user", "at", "ms", "page")
    kinds = (pa.string(), pa.timestamp("us", "UTC"), pa.float64(), pa.string())
    schema = pa.schema(list(zip(names, kinds, strict=True)))
    table = pa.Table.from_pylist(rows, schema=schema)
    table = table.append_column("_sequence", pa.array([0] * len(rows), pa.int32()))
    pq.write_table(table.append_column("_offset", pa.array(range(len(rows)), pa.int64())), folder / "clicks.parquet")
    return str(folder / "clicks.parquet")


def test_states_are_measured_within_what_is_kept(tmp_path: Path) -> None:
    layout = PROJECT.layouts["clicks", "user"]
    found = measure(layout, [_events({"a": 3, "b": 5, "hot": 20_000}, tmp_path)])
    assert found is not None and (found.keys, found.median, found.most) == (3, 5, 20_000)
    assert found.hot == (("hot",),) and found.largest_bytes > 1_000_000
    assert measure(layout, []) is None
    for_ever = measure(PROJECT.layouts["clicks", PROJECT.views["everything"].definition.entity.name],
                       [str(tmp_path / "clicks.parquet")])  # fmt: skip
    assert for_ever is not None and (for_ever.keys, for_ever.most) == (1, 20_009)


def test_the_command_explains_on_a_terminal_and_in_json(run: Run, shop: Path) -> None:
    assert run("materialize").code == 0
    said = run("explain", "customer_spend")
    assert said.code == 0 and "as portable SQL" in said.out and "measured on the archive" in said.out
    document = run("explain", "customer_spend", "--json").json
    assert document["states"][0]["measured"]["keys"] > 0 and set(document["engines"]) == set(ENGINES)
    sql = run("explain", "customer_spend", "--engine", "duckdb").out
    assert sql.startswith("-- duckdb: ") and "WITH" in sql
    assert run("explain", "custmer_spend", "--json").error["code"] == "not-found"


def test_duckdb_parses_what_is_shown_of_it() -> None:
    for part in onefold.explain(PROJECT, "speed", engine="duckdb")["engines"]["duckdb"]:
        assert len(duckdb.extract_statements(part["text"])) == 1
