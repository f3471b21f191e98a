"""The SQL that is printed of IR is read back as the same IR."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from onefold.features import ir
from onefold.features.definitions import NO_ENTITY, Entity, EventSource, FeatureView, OnDemandView
from onefold.features.errors import DefinitionError
from onefold.features.print_sql import scalar
from onefold.features.project import Project
from onefold.features.types import BIGINT
from onefold.features.views import TypedView
from tests.parity import strategies as parity
from tests.parity.aggregates import LENGTHS
from tests.parity.worlds import REQUEST, SCHEMA

Read = Callable[[str], TypedView]
SOURCE = EventSource(name="events", schema=SCHEMA, event_time="at")


@st.composite
def definitions(draw: st.DrawFn) -> tuple[FeatureView, OnDemandView]:
    lengths = draw(st.lists(st.sampled_from([*LENGTHS]), min_size=1, max_size=2))
    resolution = draw(st.sampled_from([None, None, "1 microsecond"]))
    sql, features = draw(parity.view_sql("a", lengths, own=False, resolution=resolution))
    name = draw(st.sampled_from([*parity.ENTITIES]))
    keys = parity.ENTITIES[name]
    entity = Entity(name=name, keys=keys) if keys else NO_ENTITY
    view = FeatureView(name="v", source=SOURCE, entity=entity, sql=sql, resolution=resolution)
    return view, OnDemandView(name="made", views=[view], request=REQUEST, sql=draw(parity.on_demand_sql(features)))


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(definitions())
def test_what_is_printed_is_read_as_the_same(drawn: tuple[FeatureView, OnDemandView]) -> None:
    view, made = drawn
    try:
        before = Project.of(view, made)
    except DefinitionError:
        reject()  # a constant is drawn at times that is no value of its type
    again = replace(view, sql=before.views["v"].portable_sql)
    after = Project.of(again, replace(made, views=[again], sql=before.on_demand["made"].portable_sql))
    assert after.views["v"].select == before.views["v"].select
    assert after.on_demand["made"].features == before.on_demand["made"].features
    assert after.views["v"].portable_sql == before.views["v"].portable_sql


D = "OVER (RANGE INTERVAL 7 DAYS PRECEDING)"


@pytest.mark.parametrize(
    ("written", "printed"),
    [
        (f"sum(amount) {D}", "sum(amount) OVER d7"),
        (f"sum(amount) FILTER (WHERE city IN ('a', 'b')) {D}", "FILTER (WHERE city IN ('a', 'b')) OVER d7"),
        (f"sum(amount) FILTER (WHERE n BETWEEN 1 AND 5 OR ok) {D}", "(WHERE n BETWEEN 1 AND 5 OR ok)"),
        (f"sum(amount) FILTER (WHERE city NOT IN ('a', 'b', 'c')) {D}", "(WHERE NOT (city IN ('a', 'b', 'c')))"),
        (f"sum(n) FILTER (WHERE n = 1 AND (ok OR n = 2 OR city = 'x')) {D}", "n = 1 AND (ok OR n = 2 OR city = 'x')"),
        (f"sum(amount - (n - 1) * -3) {D}", "sum(amount - CAST((n - 1) * (-3) AS DOUBLE))"),
        (f"max(date_trunc('day', at)) {D}", "max(date_trunc('day', at))"),
        (f"count(*) FILTER (WHERE city LIKE 'a%' OR city NOT LIKE '_b') {D}", "NOT (city LIKE '_b')"),
        (f"count(*) FILTER (WHERE city LIKE '5$%.%_!\\' ESCAPE '$') {D}", "city LIKE '5!%.%_!!\\' ESCAPE '!'"),
        (f"max(at + INTERVAL 3 HOURS) {D}", "add_us(at, 10800000000)"),
        (f"approx_quantile(amount, 0.5) {D}", "approx_quantile(amount, 0.5) OVER d7"),
        (f"approx_count_distinct(city) {D}", "approx_count_distinct(city) OVER d7"),
        (f"last_n(city, 3) {D}", "last_n(city, 3) OVER d7"),
        (f"count(*) FILTER (WHERE CAST(n AS DECIMAL(9, 2)) > DECIMAL '-0.05') {D}", "> CAST('-0.05' AS DECIMAL(9,2))"),
        (f"max(CAST(('') AS DATE)) {D}", "max(CAST(('') AS DATE))"),
        (f"max(nullif(n, 0)) {D}", "max(nullif(n, 0))"),
        (f"count(DISTINCT city) {D}", "count(DISTINCT city) OVER d7"),
        (f"time_since_last() FILTER (WHERE ok) {D}", "time_since_last() FILTER (WHERE ok) OVER d7"),
        ("lag(n, 3) OVER ()", "last_value(n) OVER rows1_behind_2"),
        ("sum(n) OVER (ROWS 5 PRECEDING)", "ROWS BETWEEN 5 PRECEDING AND CURRENT ROW"),
        ("sum(n) OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND 2 PRECEDING EXCLUDE GROUP)", "2 PRECEDING EXCLUDE GROUP"),
        ("sum(n) OVER (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND INTERVAL 1 HOUR PRECEDING)", "OVER d1_until_h1"),
        ("sum(n) OVER (RANGE UNBOUNDED PRECEDING EXCLUDE GROUP)", "OVER lifetime_before"),
        (f"max(TIMESTAMP '0007-01-02 03:04:05.000006') {D}", "TIMESTAMP '0007-01-02 03:04:05.000006'"),
    ],
)  # fmt: skip
def test_it_is_written_as_people_write_it(written: str, printed: str, read: Read) -> None:
    view = read(f"SELECT {written} AS f FROM orders")
    assert printed in view.portable_sql
    assert read(view.portable_sql).select == view.select
    assert read(f"SELECT {scalar(view.select.features[0].expr)} AS f FROM orders").select == view.select


def test_windows_are_named_once_and_apart_from_features(read: Read) -> None:
    view = read(
        f"SELECT sum(n) {D} AS d7, max(n) {D} AS x, sum(n) OVER (RANGE INTERVAL 24 HOURS PRECEDING) AS y FROM orders"
    )
    assert "sum(n) OVER d7_2 AS d7,\n  max(n) OVER d7_2 AS x,\n  sum(n) OVER d1 AS y" in view.portable_sql
    assert view.portable_sql.count("PARTITION BY user ORDER BY at RANGE") == 2
    assert read(view.portable_sql).select == view.select


def test_names_that_sql_would_misread_are_quoted() -> None:
    column = ir.Column("select", BIGINT)
    assert scalar(column) == '"select"' and scalar(replace(column, name='a"b c')) == '"a""b c"'
