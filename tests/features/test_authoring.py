"""Definitions written in Python are the same as those written in SQL, and are refused where they stand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from onefold import (
    Entity,
    EventSource,
    FeatureView,
    OnDemandView,
    approx_count_distinct,
    approx_quantile,
    array_agg,
    avg,
    bool_and,
    bool_or,
    col,
    count,
    count_distinct,
    first_value,
    fn,
    lag,
    last_distinct,
    last_n,
    last_value,
    lit,
    max_,
    max_by,
    min_,
    min_by,
    quantile_disc,
    stddev_pop,
    stddev_samp,
    sum_,
    time_since_last,
    var_pop,
    var_samp,
    when,
)
from onefold.features.errors import DefinitionError
from onefold.features.loading import load_project
from onefold.features.project import Project
from onefold.features.views import TypedView

Read = Callable[[str], TypedView]
D7 = "OVER (RANGE INTERVAL 7 DAYS PRECEDING)"
paid = col("city") == "paid"

# in Python, in SQL
SAME: list[tuple[Any, str]] = [
    (count().over("7 days"), f"count(*) {D7}"),
    (count("n").over("1 week"), f"count(n) {D7}"),
    (count_distinct("city").over(dt.timedelta(days=7)), f"count(DISTINCT city) {D7}"),
    (sum_("amount", where=paid).over("7d"), f"sum(amount) FILTER (WHERE city = 'paid') {D7}"),
    (sum_(col("amount") * 2 - 1).over("7d"), f"sum(amount * 2 - 1) {D7}"),
    (avg(1 - col("n")).over("7d"), f"avg(1 - n) {D7}"),
    (min_("n").over("lifetime"), "min(n) OVER (RANGE UNBOUNDED PRECEDING)"),
    (max_("city").over("90 minutes"), "max(city) OVER (RANGE INTERVAL 90 MINUTES PRECEDING)"),
    (var_pop("n").over("7d"), f"var_pop(n) {D7}"),
    (var_samp("n").over("7d"), f"variance(n) {D7}"),
    (stddev_pop("n").over("7d"), f"stddev_pop(n) {D7}"),
    (stddev_samp("n").over("7d"), f"stddev(n) {D7}"),
    (bool_and("ok").over("7d"), f"bool_and(ok) {D7}"),
    (bool_or(col("n") > 3).over("7d"), f"bool_or(n > 3) {D7}"),
    (first_value("n").over("7d"), f"first_value(n) {D7}"),
    (last_value("n", where=col("n").is_not_null()).over("7d"), f"last_value(n) FILTER (WHERE n IS NOT NULL) {D7}"),
    (min_by("city", "amount").over("7d"), f"min_by(city, amount) {D7}"),
    (max_by("city", col("n") + 1).over("7d"), f"max_by(city, n + 1) {D7}"),
    (time_since_last(where=col("ok")).over("7d"), f"time_since_last() FILTER (WHERE ok) {D7}"),
    (lag("n"), "lag(n) OVER ()"),
    (lag("n", 3, where=col("ok")), "lag(n, 3) FILTER (WHERE ok) OVER (ORDER BY at)"),
    (array_agg("n").over(rows=3), "array_agg(n) OVER (ROWS 3 PRECEDING)"),
    (last_n("city", 3, where=col("ok")).over("7d"), f"last_n(city, 3) FILTER (WHERE ok) {D7}"),
    (last_distinct("city", 3).over("7d"), f"last_distinct(city, 3) {D7}"),
    (approx_count_distinct("city").over("7d"), f"approx_count_distinct(city) {D7}"),
    (approx_quantile("amount", 0.5).over("7d"), f"approx_quantile(amount, 0.5) {D7}"),
    (quantile_disc("n", 0.25).over("7d"), f"quantile_disc(n, 0.25) {D7}"),
    # windows
    (sum_("n").over("7d", bounds="[)"), "sum(n) OVER (RANGE INTERVAL 7 DAYS PRECEDING EXCLUDE GROUP)"),
    (sum_("n").over("1s", bounds="(]"), "sum(n) OVER (RANGE INTERVAL 999999 MICROSECONDS PRECEDING)"),
    (sum_("n").over("1s", bounds="()"), "sum(n) OVER (RANGE INTERVAL 999999 MICROSECONDS PRECEDING EXCLUDE GROUP)"),
    (
        sum_("n").over("7 days", until="1 hour"),
        "sum(n) OVER (RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND INTERVAL 1 HOUR PRECEDING)",
    ),
    (
        sum_("n").over("lifetime", until="1 ms", bounds="[)"),
        "sum(n) OVER (RANGE BETWEEN UNBOUNDED PRECEDING AND INTERVAL 1001 MICROSECONDS PRECEDING)",
    ),
    (sum_("n").over(rows=5), "sum(n) OVER (ROWS 5 PRECEDING)"),
    (sum_("n").over(rows=5, skip=1), "sum(n) OVER (ROWS BETWEEN 6 PRECEDING AND 2 PRECEDING)"),
    (sum_("n").over(rows=5, bounds="[)"), "sum(n) OVER (ROWS 5 PRECEDING EXCLUDE GROUP)"),
    # expressions
    (max_(col("n") // 2 + col("n") % 3 - -col("n")).over("7d"), f"max(n // 2 + n % 3 - (-n)) {D7}"),
    (max_(abs(col("n")) / 2).over("7d"), f"max(abs(n) / 2) {D7}"),
    (max_(7 // col("n") + 7 % col("n") + 7 / col("amount")).over("7d"), f"max(7 // n + 7 % n + 7 / amount) {D7}"),
    (count(where=(col("n") >= 1) & (col("n") < 5) | ~col("ok")).over("7d"),
     f"count(*) FILTER (WHERE n >= 1 AND n < 5 OR NOT ok) {D7}"),
    (count(where=(col("n") != -3) & True).over("7d"), f"count(*) FILTER (WHERE n <> -3 AND TRUE) {D7}"),
    (count(where=False | (col("n") <= 2)).over("7d"), f"count(*) FILTER (WHERE FALSE OR n <= 2) {D7}"),
    (count(where=col("city").isin(["a", "b"])).over("7d"), f"count(*) FILTER (WHERE city IN ('a', 'b')) {D7}"),
    (count(where=~col("n").isin(range(4))).over("7d"), f"count(*) FILTER (WHERE n NOT IN (0, 1, 2, 3)) {D7}"),
    (count(where=col("n").between(1, 5)).over("7d"), f"count(*) FILTER (WHERE n BETWEEN 1 AND 5) {D7}"),
    (count(where=col("n").is_null()).over("7d"), f"count(*) FILTER (WHERE n IS NULL) {D7}"),
    (count(where=col("n").is_distinct_from(2)).over("7d"), f"count(*) FILTER (WHERE n IS DISTINCT FROM 2) {D7}"),
    (count(where=col("ok").is_not_distinct_from(True)).over("7d"), f"count(*) FILTER (WHERE ok IS TRUE) {D7}"),
    (sum_(col("city").cast("BIGINT")).over("7d"), f"sum(TRY_CAST(city AS BIGINT)) {D7}"),
    (sum_(when(col("ok"), 1).when(col("n") > 2, 0.5).otherwise(0)).over("7d"),
     f"sum(CASE WHEN ok THEN 1 WHEN n > 2 THEN 0.5 ELSE 0 END) {D7}"),
    (sum_(when(col("ok"), col("n"))).over("7d"), f"sum(CASE WHEN ok THEN n END) {D7}"),
    (max_(fn.upper(col("city")).concat("!")).over("7d"), f"max(upper(city) || '!') {D7}"),
    (max_(fn.date_trunc("day", col("at"))).over("7d"), f"max(date_trunc('day', at)) {D7}"),
    (max_(fn.coalesce(col("n"), fn.year(col("day")))).over("7d"), f"max(coalesce(n, extract(year FROM day))) {D7}"),
    (max_(fn.nullif(col("n"), 0)).over("7d"), f"max(nullif(n, 0)) {D7}"),
    (max_(fn.greatest(col("n"), 0, 7)).over("7d"), f"max(greatest(n, 0, 7)) {D7}"),
    (count(where=col("day") > dt.date(2013, 2, 28)).over("7d"),
     f"count(*) FILTER (WHERE day > DATE '2013-02-28') {D7}"),
    (count(where=col("at") > dt.datetime(2013, 3, 1, 8, 30)).over("7d"),
     f"count(*) FILTER (WHERE at > TIMESTAMP '2013-03-01 08:30:00') {D7}"),
    (count(where=col("at") > dt.datetime(2013, 3, 1, tzinfo=dt.timezone(dt.timedelta(hours=-5)))).over("7d"),
     f"count(*) FILTER (WHERE at > TIMESTAMP '2013-03-01 05:00:00') {D7}"),
    (max_(fn.coalesce(col("day"), lit("2013-02-28", "DATE"))).over("7d"),
     f"max(coalesce(day, CAST('2013-02-28' AS DATE))) {D7}"),
    (max_(fn.coalesce(col("n"), lit(None, "BIGINT"))).over("7d"), f"max(coalesce(n, CAST(NULL AS BIGINT))) {D7}"),
    # finished features
    (sum_("n").over("1d") / sum_("n").over("7d"), f"sum(n) OVER (RANGE INTERVAL 1 DAY PRECEDING) / sum(n) {D7}"),
    (fn.ln(sum_("n").over("7d") + 1), f"ln(sum(n) {D7} + 1)"),
    (fn.coalesce(avg("n").over("7d"), 0.0), f"coalesce(avg(n) {D7}, 0.0)"),
    (when(count().over("7d") > 3, "often").otherwise("no"), f"CASE WHEN count(*) {D7} > 3 THEN 'often' ELSE 'no' END"),
]  # fmt: skip


@pytest.fixture
def written(orders: EventSource, user: Entity) -> Callable[..., TypedView]:
    """A view over `orders` by user, typed, from Python."""
    return lambda features, **more: Project.of(
        FeatureView(name="v", source=orders, entity=user, features=features, **more)
    ).views["v"]


@pytest.mark.parametrize(("python", "sql"), SAME, ids=[sql for _, sql in SAME])
def test_python_is_the_same_as_sql(python: Any, sql: str, written: Callable[..., TypedView], read: Read) -> None:
    view, wanted = written({"f": python}), read(f"SELECT {sql} AS f FROM orders")
    assert view.select == wanted.select and view.fingerprint == wanted.fingerprint
    assert read(view.sql).fingerprint == view.fingerprint


def test_where_of_a_view_comes_before_its_windows(written: Callable[..., TypedView], read: Read) -> None:
    view = written({"f": count().over("7d")}, where=(col("n") > 1) & col("ok"))
    wanted = read(f"SELECT count(*) {D7} AS f FROM orders WHERE n > 1 AND ok")
    assert view.fingerprint == wanted.fingerprint and read(view.sql).fingerprint == view.fingerprint


def test_a_fan_is_one_feature_a_window(written: Callable[..., TypedView], read: Read) -> None:
    windows = ["1h", "1 day", "7 days", "lifetime"]
    mean = sum_("amount").over(windows=windows) / count().over(windows=windows)
    view = written({"mean": mean, "n": (2 * count().over(windows=["30m"], bounds="[)")).cast("DOUBLE")})
    assert [f.name for f in view.features] == ["mean_1h", "mean_1d", "mean_7d", "mean_lifetime", "n_30m"]
    wanted = read(
        f"SELECT sum(amount) {D7} / count(*) {D7} AS mean_7d, "
        "CAST(2 * count(*) OVER (RANGE INTERVAL 30 MINUTES PRECEDING EXCLUDE GROUP) AS DOUBLE) AS n_30m FROM orders"
    )
    for feature in wanted.features:
        assert view.feature(feature.name).fingerprint == feature.fingerprint


def test_a_list_of_named_features_is_the_same_as_a_mapping(written: Callable[..., TypedView]) -> None:
    listed = written([count().over("7d").named("a"), sum_("n").over(windows=["1h"]).named("b")])
    mapped = written({"a": count().over("7d"), "b": sum_("n").over(windows=["1h"])})
    assert listed.fingerprint == mapped.fingerprint and [f.name for f in listed.features] == ["a", "b_1h"]


def test_an_on_demand_view_is_the_same_as_its_sql(orders: EventSource, user: Entity) -> None:
    view = FeatureView(name="v", source=orders, entity=user, features={"total": sum_("n").over("7d")})
    request = {"r": "DOUBLE"}
    share = {"share": col("r") / col("v.total"), "late": fn.hour(col("event_timestamp")) >= 18}
    made = OnDemandView(name="now", views=[view], request=request, features=share)
    sql = "SELECT request.r / total AS share, hour(event_timestamp) >= 18 AS late"
    wanted = OnDemandView(name="now", views=[view], request=request, sql=sql)
    found = Project.of(made).on_demand["now"]
    assert found.fingerprint == Project.of(wanted).on_demand["now"].fingerprint
    assert found.sql == "SELECT\n  request.r / CAST(v.total AS DOUBLE) AS share,\n  hour(event_timestamp) >= 18 AS late"


def test_equal_definitions_are_equal_and_can_be_changed(orders: EventSource, user: Entity) -> None:
    one, two = (
        FeatureView(name="v", source=orders, entity=user, features={"f": count().over("7d")}, where=col("n") > 1)
        for _ in range(2)
    )
    assert one == two and Project.of(one, two).views["v"].features
    other = replace(one, features={"f": count().over("8d")})
    assert other != one
    renamed = replace(one, name="w")
    assert Project.of(renamed).views["w"].features[0].fingerprint == Project.of(one).views["v"].features[0].fingerprint


# in Python, the part of the line where the caret stands, what the message says
REFUSED: list[tuple[Callable[[], Any], str, str]] = [
    (lambda: {"f": sum_("amout").over("7d")}, 'sum_("amout")', "'amout' is not known here; did you mean 'amount'?"),
    (lambda: {"f": sum_(col("n") + col("amout")).over("7d")}, 'col("amout")', "did you mean 'amount'?"),
    (lambda: {"f": sum_("city").over("7d")}, 'sum_("city")', "sum() takes BIGINT or DOUBLE or DECIMAL, found VARCHAR"),
    (lambda: {"f": sum_("n", where=col("city") == 3).over("7d")}, 'col("city") == 3', "'=' is not defined for"),
    (lambda: {"f": sum_("n", where=col("n")).over("7d")}, 'col("n")', "where needs a BOOLEAN, found BIGINT"),
    (lambda: {"f": sum_("n").over("7 dais")}, 'sum_("n")', "'7 dais' is no length of time"),
    (lambda: {"f": sum_("n").over("1 month")}, 'sum_("n")', "(no months)"),
    (lambda: {"f": sum_("n").over("7d", bounds="(7")}, 'sum_("n")', "bounds='(7' is not known"),
    (lambda: {"f": sum_("n").over("1h", until="2h")}, 'sum_("n")', "the window is empty"),
    (lambda: {"f": sum_("n").over()}, 'sum_("n")', "over() has no length"),
    (lambda: {"f": sum_("n").over(rows=0)}, 'sum_("n")', "rows=0 is no number of events"),
    (lambda: {"f": sum_("n").over("7d", rows=3)}, 'sum_("n")', "a window of rows has no length"),
    (lambda: {"f": sum_("n").over("7d", skip=3)}, 'sum_("n")', "skip= goes with rows="),
    (lambda: {"f": fn.uper(col("city"))}, "fn.uper", "function uper() is not in the catalogue; did you mean 'upper'?"),
    (lambda: {"f": sum_(fn.nvl2(col("n"), 1, 2)).over("7d")}, "fn.nvl2", "write CASE WHEN x IS NOT NULL"),
    (lambda: {"f": sum_("n").over("7d") - col("n")}, 'col("n")', "'n' is a column of one event; say of which"),
    (lambda: {"f": lit(1) + 1}, "lit(1) + 1", "this is a constant"),
    (lambda: {"f": col("n").cast("HUGE")}, 'col("n").cast', "type 'HUGE' is not known"),
    (lambda: {"f": fn.floor(fn.ln(count().over("7d")))}, "fn.floor", "exact to 1 ulp only"),
    (lambda: {"f": sum_(lit(float("nan"))).over("7d")}, "lit(float", "nan is no constant"),
    (lambda: {"f": max_(sum_("n").over("7d")).over("7d")}, 'sum_("n")', "an aggregate has no place here"),
    (lambda: {"f": fn.date_trunc("fortnight", col("at"))}, "fn.date_trunc", "known are: day, hour"),
    # refused before a view has them
    (lambda: {"f": sum_("n")}, 'sum_("n")', "sum() has no window; write .over('7 days') behind it"),
    (lambda: {"f": sum_("n") / 2}, 'sum_("n")', "sum() has no window"),
    (lambda: {"f": 1 - count()}, "count()", "count() has no window"),
    (lambda: {"f": 1 < col("n") < 3}, '1 < col("n")', "x.between(a, b)"),
    (lambda: {"f": col("n") and col("ok")}, 'col("n")', "write & | ~ in place of"),
    (lambda: {"f": fn.upper([1])}, "fn.upper", "is no expression"),
    (lambda: {"f": col("city").isin("ab")}, 'col("city")', "takes a list, as isin(['ab'])"),
    (lambda: {"f": sum_("n").over(windows="7d")}, 'sum_("n")', "is no list of lengths"),
    (lambda: {"f": sum_("n").over(windows=["1h"]) / count().over(windows=["2h"])}, 'sum_("n")', "give both the same"),
    (lambda: {"f g": count().over("7d")}, "count()", "feature name 'f g' is not an identifier"),
    (lambda: [count().over("7d")], "count()", "feature no. 1 of the list has no name"),
    (lambda: [count().over("7d").named("f"), count().over("8d").named("F")], 'count().over("8d")', "one name in SQL"),
    (lambda: {"f_1h": count().over("1h"), "f": count().over(windows=["1h"])}, "count()", "are named 'f_1h'"),
]  # fmt: skip


@pytest.mark.parametrize(("features", "there", "message"), REFUSED, ids=[message for *_, message in REFUSED])
def test_it_is_refused_where_it_stands(
    features: Callable[[], Any], there: str, message: str, written: Callable[..., TypedView]
) -> None:
    with pytest.raises(DefinitionError) as caught:
        written(features())
    error = caught.value
    assert message in error.message
    assert error.file.endswith("test_authoring.py") and error.line is not None and error.column is not None
    line = error.sql.splitlines()[error.line - 1]
    assert line[error.column - 1 :].startswith(there), str(error)
    assert f"test_authoring.py, line {error.line}, column {error.column})" in str(error)


def test_an_error_names_the_view_and_the_feature(written: Callable[..., TypedView]) -> None:
    with pytest.raises(DefinitionError, match=r"^view 'v': feature 'spend_1h': column 'amout' is not known here"):
        written({"n": count().over("7d"), "spend": sum_("amout").over(windows=["1h"])})
    with pytest.raises(DefinitionError, match=r"^view 'v': feature 'f': sum\(\) has no window"):
        written({"f": sum_("n")})
    with pytest.raises(DefinitionError, match=r"^view 'v': column 'nn' is not known here"):
        written({"n": count().over("7d")}, where=col("nn") > 1)


def test_a_view_is_either_sql_or_python(orders: EventSource, user: Entity) -> None:
    features = {"n": count().over("7d")}
    with pytest.raises(DefinitionError, match="view 'v' has neither of sql= and features=; give exactly one"):
        FeatureView(name="v", source=orders, entity=user)
    with pytest.raises(DefinitionError, match="view 'v' has both of sql= and features="):
        FeatureView(name="v", source=orders, entity=user, sql="SELECT", features=features)
    with pytest.raises(DefinitionError, match="view 'v': where= goes with features=; write WHERE in the SQL"):
        FeatureView(name="v", source=orders, entity=user, sql="SELECT", where=col("n") > 1)
    with pytest.raises(DefinitionError, match="on-demand view 'o' has neither of"):
        OnDemandView(name="o")
    with pytest.raises(DefinitionError, match="view 'v': features= is empty"):
        FeatureView(name="v", source=orders, entity=user, features={})
    with pytest.raises(DefinitionError, match="view 'v': features= takes"):
        FeatureView(name="v", source=orders, entity=user, features=count().over("7d"))  # type: ignore[arg-type]


def test_a_project_names_the_file_and_line_of_a_definition(tmp_path: Path) -> None:
    (tmp_path / "views.py").write_text(
        "from onefold import *\n"
        "at = dict(name='orders', schema={'user': 'VARCHAR', 'at': 'TIMESTAMP', 'amount': 'DOUBLE'}, event_time='at')\n"
        "spend = FeatureView(\n"
        "    name='spend',\n"
        "    source=EventSource(**at),\n"
        "    entity=Entity(name='user', keys={'user': 'VARCHAR'}),\n"
        "    features={\n"
        "        'é': sum_('amount').over('7d'), 'total': sum_(2 * col('amout')).over('7d'),\n"
        "    },\n"
        ")\n"
    )
    with pytest.raises(DefinitionError) as caught:
        load_project(tmp_path)
    *_, shown, caret = str(caught.value).splitlines()
    assert f"{tmp_path / 'views.py'}, line 8, column 59)" in str(caught.value)
    assert shown[caret.index("^") :].startswith("col('amout')")


def test_functions_of_the_catalogue_are_offered_by_name() -> None:
    assert {"upper", "coalesce", "date_trunc", "nullif"} <= set(dir(fn)) and not hasattr(fn, "_private")
