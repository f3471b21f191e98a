"""`onefold.compute`: definitions of every kind over tables in memory, on both of its engines."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest

import onefold
from onefold.features.definitions import Entity, EventSource, FeatureService, FeatureView, OnDemandView
from onefold.features.errors import DefinitionError, InputError

HOUR = 3_600_000_000
UTC = pa.timestamp("us", "UTC")
ENGINES = pytest.mark.parametrize("engine", ["duckdb", "spark", "oracle"])
RIDES = EventSource(name="rides", schema={"user": "VARCHAR", "at": "TIMESTAMP", "km": "DOUBLE"}, event_time="at")
USER = Entity(name="user", keys={"user": "VARCHAR"})
TOTALS = FeatureView(
    name="totals", source=RIDES, entity=USER,
    sql="SELECT count(*) OVER d AS rides, sum(km) OVER d AS km FROM rides WINDOW d AS (RANGE INTERVAL 1 DAY PRECEDING)",
)  # fmt: skip
NOW = OnDemandView(
    name="now", views=[TOTALS], request={"planned": "DOUBLE", "note": "VARCHAR"},
    sql="SELECT km + planned AS km_after, hour(event_timestamp) AS hour, totals.rides + 1 AS rides_after",
)  # fmt: skip


def rides(**columns: Any) -> pa.Table:
    held = {"user": ["a", "b", "a"], "at": pa.array([0, HOUR, 2 * HOUR], UTC), "km": [1.5, 2.0, 4.0], **columns}
    return pa.table(held)


def spine(users: list[str | None], hours: list[int], **columns: Any) -> pa.Table:
    return pa.table({"user": pa.array(users, pa.string()), "event_timestamp": pa.array([h * HOUR for h in hours], UTC),
                     **columns})  # fmt: skip


@ENGINES
def test_a_view_comes_out_in_the_order_of_the_spine(engine: str) -> None:
    asked = spine(["b", "a", "c", "a", None], [3, 2, 2, 1, 2], other=[1, 2, 3, 4, 5])
    found = onefold.compute(TOTALS, {"rides": rides()}, asked, engine=engine)
    assert found.to_pydict() == {"rides": [1, 2, 0, 1, 0], "km": [2.0, 5.5, None, 1.5, None]}
    assert found.schema.types == [pa.int64(), pa.float64()]


@ENGINES
def test_a_service_takes_features_request_columns_and_the_time(engine: str) -> None:
    service = FeatureService(name="s", features=[NOW[["hour", "km_after"]], TOTALS["rides"]])
    asked = spine(["a", "c"], [26, 5], planned=[10.0, 1.0])
    found = onefold.compute(service, {"rides": rides()}, asked, engine=engine)
    assert found.to_pydict() == {"hour": [2, 5], "km_after": [14.0, None], "rides": [1, 0]}
    assert onefold.compute(NOW, {"rides": rides()}, asked, engine=engine).column_names == [
        "km_after",
        "hour",
        "rides_after",
    ]


@ENGINES
def test_a_service_of_request_columns_alone_needs_no_events(engine: str) -> None:
    view = OnDemandView(name="now", request={"x": "DOUBLE"}, sql="SELECT x * 2 AS twice, year(event_timestamp) AS y")
    asked = pa.table({"event_timestamp": pa.array([0, HOUR], UTC), "x": [1.0, math.nan]})
    found = onefold.compute(FeatureService(name="s", features=[view]), {}, asked, engine=engine).to_pydict()
    assert found["y"] == [1970, 1970]
    assert found["twice"][0] == 2.0
    assert math.isnan(found["twice"][1])


@ENGINES
def test_sql_alone_names_its_keys_and_its_time(engine: str) -> None:
    sql = """SELECT max(km) OVER w AS far FROM rides
      WINDOW w AS (PARTITION BY user ORDER BY at RANGE UNBOUNDED PRECEDING)"""
    found = onefold.compute(sql, {"rides": rides(km=pa.array([1, 2, 4], pa.int32()))}, spine(["a"], [5]), engine=engine)
    assert found.to_pydict() == {"far": [4]}


@ENGINES
def test_no_rows_and_no_events_are_no_special_case(engine: str) -> None:
    nothing = rides().slice(0, 0)
    found = onefold.compute(TOTALS, {"rides": rides()}, spine([], []), engine=engine)
    assert (found.num_rows, found.column_names, found.schema.types) == (0, ["rides", "km"], [pa.int64(), pa.float64()])
    assert onefold.compute(TOTALS, {"rides": nothing}, spine(["a"], [1]), engine=engine).to_pylist() == [
        {"rides": 0, "km": None}
    ]


@ENGINES
def test_two_entities_and_two_sources_meet_in_one_row(engine: str) -> None:
    cities = EventSource(name="cities", schema={"city": "VARCHAR", "at": "TIMESTAMP", "t": "DOUBLE"}, event_time="at")
    warm = FeatureView(name="warm", source=cities, entity=Entity(name="city", keys={"city": "VARCHAR"}),
                       sql="SELECT last_value(t) OVER (RANGE UNBOUNDED PRECEDING) AS degrees FROM cities")  # fmt: skip
    made = OnDemandView(name="made", views=[TOTALS, warm], sql="SELECT km * degrees AS product")
    tables = {"rides": rides(), "cities": pa.table({"city": ["x"], "at": pa.array([HOUR], UTC), "t": [3.0]})}
    asked = spine(["a", "a", "a"], [2, 2, 0], city=["x", "y", "x"])
    found = onefold.compute(FeatureService(name="s", features=[made, warm, TOTALS["km"]]), tables, asked, engine=engine)
    assert found.to_pydict() == {
        "product": [16.5, None, None], "degrees": [3.0, None, None], "km": [5.5, 5.5, 1.5],
    }  # fmt: skip


def test_names_that_an_engine_uses_inside_are_names_like_others() -> None:
    names = ["ts", "c0", "c1", "ev", "ord", "a0", "first_all", "s", "e", "spine", "events", "select"]
    schema = {"key 1": "BIGINT", "order": "TIMESTAMP", **dict.fromkeys(names, "BIGINT")}
    source = EventSource(name="group_spine", schema=schema, event_time="order", event_id="ev")
    items = ", ".join(f'last_value("{n}" + 0) OVER w AS "{n}"' for n in names)
    view = FeatureView(name="known", source=source, entity=Entity(name="f", keys={"key 1": "BIGINT"}),
                       sql=f"SELECT {items} FROM group_spine WINDOW w AS (RANGE INTERVAL 1 DAY PRECEDING)")  # fmt: skip
    values = {n: [i, i + 100] for i, n in enumerate(names)}
    table = pa.table({"key 1": [7, 7], "order": pa.array([0, HOUR], UTC), **values})
    asked = pa.table({"key 1": [7, 8], "event_timestamp": pa.array([HOUR, HOUR], UTC)})
    for engine in ("duckdb", "spark", "oracle"):
        found = onefold.compute(view, {"group_spine": table}, asked, engine=engine)
        assert found.to_pydict() == {n: [i + 100, None] for i, n in enumerate(names)}, engine


@pytest.mark.parametrize(
    ("tables", "asked", "message"),
    [
        ({"ride": rides()}, spine(["a"], [1]), "source 'rides' has no table; did you mean 'ride'?"),
        ({"rides": rides().drop_columns(["km"])}, spine(["a"], [1]), "column 'km' is missing"),
        ({"rides": rides(km=["x", "y", "z"])}, spine(["a"], [1]), "column 'km' is string, asked is DOUBLE"),
        ({"rides": rides(at=pa.array([0, None, 1], UTC))}, spine(["a"], [1]), "1 have no 'at'"),
        ({"rides": rides()}, spine(["a"], [1]).drop_columns(["user"]), "spine: column 'user' is missing"),
        ({"rides": rides()}, spine(["a"], [1]).rename_columns(["usr", "event_timestamp"]), "did you mean 'usr'?"),
        ({"rides": rides()}, pa.table({"user": ["a"], "event_timestamp": pa.array([0], pa.timestamp("us"))}), "zone"),
        (
            {"rides": rides()},
            pa.table({"user": ["a"], "event_timestamp": pa.array([0], pa.timestamp("us", "Europe/Oslo"))}),
            "in UTC",
        ),
        ({"rides": rides()}, pa.table({"user": ["a"], "event_timestamp": pa.array([None], UTC)}), "1 rows have no"),
        ({"rides": rides()}, pa.table({"user": [1], "event_timestamp": pa.array([0], UTC)}), "column 'user' is int64"),
    ],
)  # fmt: skip
@ENGINES
def test_a_table_that_does_not_fit_is_an_input_error(engine: str, tables: Any, asked: pa.Table, message: str) -> None:
    with pytest.raises(InputError) as caught:
        onefold.compute(TOTALS, tables, asked, engine=engine)
    assert message in str(caught.value)


def test_a_wrong_engine_or_sql_without_keys_is_refused() -> None:
    with pytest.raises(InputError, match="engine 'duckdbb' is not known; did you mean 'duckdb'"):
        onefold.compute(TOTALS, {"rides": rides()}, spine(["a"], [1]), engine="duckdbb")
    for sql, message in (
        ("SELECT sum(km) OVER (RANGE UNBOUNDED PRECEDING) AS f FROM rides", "says PARTITION BY its keys"),
        ("SELECT sum(km) OVER (PARTITION BY usr ORDER BY at RANGE UNBOUNDED PRECEDING) AS f FROM rides", "'user'"),
        ("SELECT sum(km) OVER (PARTITION BY user ORDER BY att RANGE UNBOUNDED PRECEDING) AS f FROM rides", "att"),
        ("SELECT sum(km) OVER (PARTITION BY upper(user) ORDER BY at RANGE UNBOUNDED PRECEDING) AS f FROM rides", "key"),
        ("SELECT sum(km) OVER (PARTITION BY user ORDER BY at RANGE UNBOUNDED PRECEDING) AS f FROM ride", "'rides'"),
    ):
        with pytest.raises((DefinitionError, InputError), match=message):
            onefold.compute(sql, {"rides": rides()}, spine(["a"], [1]))
