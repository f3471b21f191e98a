"""Real flights: every engine gives every request of the year the same bits, and what must not matter does not.

The oracle, the stream and the join of Spark are asked for a part of the requests; all others for every one of them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from onefold.offline import spark as spark_engine
from onefold.offline.engine import point_in_time
from tests.parity.flights import DAY, PLAN, Flights, by_oracle, by_stream
from tests.parity.tally import FLIGHTS, unlike
from tests.spark import SPARK

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SHIFT = 364 * DAY
ORACLE, STREAM, JOINED = 3_000, 10, 20
"""One request in so many is asked of them."""


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Flights:
    return Flights.prepared(tmp_path_factory.mktemp("flights"))


@pytest.fixture(scope="module")
def expected(flights: Flights) -> pa.Table:
    """What DuckDB gives by the plans that it chooses."""
    FLIGHTS.expected = point_in_time(PLAN, flights.tables, flights.requests)
    return FLIGHTS.expected


def test_bits_are_compared() -> None:
    a = pa.chunked_array([[0.0, 1.0, None, float("nan")], [2.0]])
    b = pa.chunked_array([[-0.0, 1.0, 0.0, float("nan"), 2.0]])
    assert unlike(a, b) == [0, 2]
    assert unlike(a, a) == []


def test_every_flight_has_a_row_and_few_of_its_values_are_null(expected: pa.Table) -> None:
    assert expected.shape == (336_776, 38)
    assert sum(c.null_count for c in expected.columns) * 10 < expected.num_rows * expected.num_columns


def test_the_oracle_gives_requests_of_the_year_the_same_bits(flights: Flights, expected: pa.Table) -> None:
    at = flights.every(ORACLE)
    with FLIGHTS.timed("oracle"):
        FLIGHTS.compare("oracle", by_oracle(flights, at), expected.take(at))


def test_a_year_through_the_worker_gives_lookups_the_same_bits(
    flights: Flights, expected: pa.Table, tmp_path: Path
) -> None:
    at = flights.every(STREAM)
    with FLIGHTS.timed("stream"):
        FLIGHTS.compare("stream", by_stream(flights, at, tmp_path), expected.take(at))


@pytest.mark.parametrize("plan", ["prefix", "sorted", "joined"])
def test_every_plan_gives_every_request_the_same_bits(flights: Flights, expected: pa.Table, plan: str) -> None:
    _compare(f"duckdb-{plan}", flights.tables, flights.requests, expected, using=plan)


@pytest.mark.parametrize("plan", ["framed", "dense", "joined"])
def test_spark_gives_every_request_the_same_bits(spark: Any, flights: Flights, expected: pa.Table, plan: str) -> None:
    at = flights.every(JOINED if plan == "joined" else 1)
    with FLIGHTS.timed(f"spark-{plan}"):
        found = spark_engine.point_in_time(PLAN, flights.tables, flights.requests.take(at), using=plan, settings=SPARK)
        FLIGHTS.compare(f"spark-{plan}", found, expected.take(at))


def test_the_order_in_which_events_lie_in_a_file_changes_nothing(flights: Flights, expected: pa.Table) -> None:
    draw = random.Random(7)
    mixed = {name: t.take(pa.array(draw.sample(range(t.num_rows), t.num_rows))) for name, t in flights.tables.items()}
    _compare("events shuffled", mixed, flights.requests, expected)


def test_events_that_no_window_reaches_change_nothing(flights: Flights, expected: pa.Table) -> None:
    more = {name: pa.concat_tables([t, _later(t, 2 * SHIFT)]) for name, t in flights.tables.items()}
    _compare("events after all", more, flights.requests, expected)


def test_all_times_shifted_by_whole_weeks_shift_nothing(flights: Flights, expected: pa.Table) -> None:
    """The model's features are numbers; the hour and the weekday come with the request."""
    late = {name: _later(t, SHIFT) for name, t in flights.tables.items()}
    _compare("52 weeks later", late, _later(flights.requests, SHIFT), expected)


def _compare(name: str, tables: Mapping[str, pa.Table], rows: pa.Table, expected: pa.Table, **given: Any) -> None:
    with FLIGHTS.timed(name):
        FLIGHTS.compare(name, point_in_time(PLAN, tables, rows, **given), expected)


def _later(table: pa.Table, by: int) -> pa.Table:
    """The table with `by` microseconds added to all its times, and positions behind all others."""
    columns = []
    for field, column in zip(table.schema, table.columns, strict=True):
        if pa.types.is_timestamp(field.type):
            column = pc.add(column, pa.scalar(by, pa.duration("us"))).cast(field.type)
        columns.append(pc.add(column, 10_000_000) if field.name == "_offset" else column)
    return pa.table(columns, schema=table.schema)
