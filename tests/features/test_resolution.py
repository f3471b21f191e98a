"""`resolution=` of a view: what it means, what it changes, and what does not go with it."""

from __future__ import annotations

from typing import Any

import pytest

from onefold.features import ir
from onefold.features.authoring_aggregates import count
from onefold.features.definitions import Entity, EventSource, FeatureView
from onefold.features.errors import DefinitionError
from onefold.features.project import Project
from onefold.registry.of_project import records_of

MINUTE, HOUR = 60_000_000, 3_600_000_000
SCHEMA = {"k": "VARCHAR", "at": "TIMESTAMP", "x": "DOUBLE", "n": "BIGINT", "c": "VARCHAR", "id": "VARCHAR"}
KEY = Entity(name="key", keys={"k": "VARCHAR"})
H = "(RANGE INTERVAL 1 HOUR PRECEDING)"


def view(
    sql: str | None, *, event_id: str | None = None, resolution: str | None = "1 minute", **more: Any
) -> FeatureView:
    source = EventSource(name="pays", schema=SCHEMA, event_time="at", event_id=event_id)
    return FeatureView(name="v", source=source, entity=KEY, sql=sql, resolution=resolution, **more)


def spent(frame: str = H, fn: str = "sum(x)", **more: Any) -> FeatureView:
    return view(f"SELECT {fn} OVER {frame} AS f FROM pays", **more)


@pytest.mark.parametrize(
    ("t", "ends"),
    [
        (0, (-HOUR, 0)),
        (1, (-HOUR, 1)),
        (MINUTE - 1, (-HOUR, MINUTE - 1)),
        (MINUTE, (MINUTE - HOUR, MINUTE)),
        (-1, (-HOUR - MINUTE, -1)),
    ],
)
def test_a_window_begins_with_a_bucket_also_before_1970(t: int, ends: tuple[int, int]) -> None:
    window = ir.Window(HOUR, resolution=MINUTE)
    assert (window.first(t), window.last(t)) == ends


def test_windows_that_follow_each_other_share_no_event() -> None:
    newer, older = ir.Window(HOUR, resolution=MINUTE), ir.Window(2 * HOUR, HOUR, resolution=MINUTE)
    for t in (0, 1, -1, MINUTE, 7 * MINUTE + 13):
        assert older.last(t) + 1 == newer.first(t)


def test_without_it_fingerprints_are_what_they_were() -> None:
    plain, by_minute, by_second = (Project.of(spent(resolution=r)).views["v"] for r in (None, "1 minute", "60 seconds"))
    assert plain.fingerprint == ir.fingerprint([["f", plain.features[0].fingerprint]])
    assert ir.canonical(ir.Window(HOUR)) == ["window", HOUR, 0]
    assert by_minute.fingerprint == by_second.fingerprint != plain.fingerprint


def test_the_state_is_kept_for_a_bucket_more_than_the_window() -> None:
    assert Project.of(spent()).layouts["pays", "key"].retention == HOUR + MINUTE


def test_sql_says_it_and_is_read_as_the_same() -> None:
    before = Project.of(spent("(RANGE BETWEEN INTERVAL 2 HOURS PRECEDING AND INTERVAL 1 HOUR PRECEDING)"))
    sql = before.views["v"].portable_sql
    assert sql.startswith('-- resolution="1 minute": windows begin')
    assert Project.of(view(sql)).views["v"].fingerprint == before.views["v"].fingerprint
    assert Project.of(view(sql, resolution=None)).views["v"].fingerprint != before.views["v"].fingerprint


def test_the_registry_says_it_where_it_is_said() -> None:
    assert records_of(Project.of(spent()))["view", "v"].body["resolution"] == "1 minute"
    assert "resolution" not in records_of(Project.of(spent(resolution=None)))["view", "v"].body


REFUSED = [
    (lambda: spent(event_id="id"), "source 'pays' has event_id 'id': leave out the resolution"),
    (lambda: spent(event_id="id", request_row="include"), "does not go with request_row='include'"),
    (lambda: spent("(ROWS 5 PRECEDING)"), "feature 'f': resolution='1 minute' does not go with ROWS"),
    (lambda: view("SELECT lag(x) OVER () AS f FROM pays"), "does not go with ROWS and lag()"),
    (lambda: spent("(RANGE INTERVAL 1 HOUR PRECEDING EXCLUDE GROUP)"), "does not go with EXCLUDE GROUP"),
    (lambda: spent("(RANGE INTERVAL 59 SECONDS PRECEDING)"), "is longer than the window of 59 seconds"),
    (
        lambda: spent("(RANGE BETWEEN INTERVAL 90 SECONDS PRECEDING AND INTERVAL 31 SECONDS PRECEDING)"),
        "take a shorter resolution or a longer window",
    ),
    (lambda: spent(fn="count(DISTINCT x)"), "count_distinct() needs every value; write approx_count_distinct(x)"),
    (lambda: spent(fn="quantile_disc(x, 0.5)"), "write approx_quantile(x, q)"),
    (lambda: spent(fn="array_agg(x)"), "array_agg() needs every value"),
    (lambda: spent(fn="last_n(x, 3)"), "last_n() needs every value"),
    (lambda: spent(fn="last_distinct(c, 3)"), "put it into a view without resolution"),
    (lambda: spent(resolution="0 seconds"), "is no length of a bucket; write resolution='1 minute'"),
    (lambda: spent(resolution="1 month"), "is no length of time"),
    (
        lambda: view(None, features={"f": count().over("1 hour", bounds="(]")}),
        "an open end means nothing; leave bounds= out",
    ),
    (
        lambda: view(None, features={"f": count().over("2 hours", until="1 hour", bounds="[)")}),
        "an open end means nothing; leave bounds= out",
    ),
]


@pytest.mark.parametrize(("made", "message"), REFUSED, ids=[message[:30] for _, message in REFUSED])
def test_what_does_not_go_with_it_is_refused(made: Any, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        Project.of(made())
    assert str(caught.value).startswith("view 'v': ") and message in str(caught.value)


@pytest.mark.parametrize(
    "fn",
    ["count(*)", "count(c)", "sum(n)", "avg(x)", "var_pop(x)", "stddev(x)", "bool_and(x > 1)", "min(c)", "max(at)",
     "min_by(c, x)", "first_value(c)", "last_value(x)", "approx_count_distinct(c)", "distinct_sketch(c)",
     "approx_quantile(x, 0.5)", "quantile_sketch(x)", "time_since_last()"],
)  # fmt: skip
def test_what_a_bucket_can_keep_is_taken(fn: str) -> None:
    assert Project.of(spent(fn=fn)).views["v"].features
