"""Fingerprints follow what is computed, not how it is written; layouts follow what is stored."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from onefold.features.definitions import Entity, EventSource, FeatureService, FeatureView
from onefold.features.layout import Layout
from onefold.features.project import Project
from onefold.features.views import TypedView

Read = Callable[[str], TypedView]
DAY = "RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW"
BASE = f"SELECT sum(amount) FILTER (WHERE ok AND n > 1) OVER ({DAY}) AS f FROM orders WHERE city = 'x'"


@pytest.mark.parametrize(
    "sql",
    [
        BASE.replace(" ", "\n  "),
        BASE.lower().replace("'x'", "'x'"),
        f"-- what they spend\n{BASE} /* here */",
        BASE.replace("INTERVAL 1 DAY", "INTERVAL 24 HOURS"),
        BASE.replace("INTERVAL 1 DAY", "INTERVAL '1 day'"),
        BASE.replace("INTERVAL 1 DAY", "INTERVAL '1440' MINUTES"),
        BASE.replace(DAY, "RANGE INTERVAL 1 DAY PRECEDING"),
        BASE.replace(DAY, f"PARTITION BY user ORDER BY at {DAY}"),
        BASE.replace(DAY, f"{DAY} EXCLUDE NO OTHERS"),
        BASE.replace(f"({DAY})", "d") + f" WINDOW d AS ({DAY})",
        BASE.replace(f"({DAY})", f"(d {DAY})") + " WINDOW d AS (PARTITION BY user), e AS (RANGE UNBOUNDED PRECEDING)",
        BASE.replace(f"({DAY})", "(d)") + f" WINDOW u AS (ORDER BY at), d AS (u {DAY})",
        BASE.replace("amount", "orders.amount"),
        BASE.replace("amount", "o.amount").replace("orders", "orders AS o"),
        BASE.replace("amount", "AMOUNT").replace("n > 1", "(N > 1)"),
        BASE.replace("SELECT ", "SELECT user, at, "),
        BASE.replace("FROM orders WHERE city = 'x'", "FROM (SELECT * FROM orders WHERE city = 'x')"),
        BASE.replace("FROM orders WHERE city = 'x'", "FROM (SELECT ok, amount, n + 0 AS m, n, city FROM orders) AS o "
                     "WHERE o.city = 'x'"),
        BASE.replace("sum(amount)", "sum(w)").replace("FROM orders", "FROM (SELECT *, amount AS w FROM orders)"),
    ],
)  # fmt: skip
def test_the_same_logic_in_other_words_has_one_fingerprint(sql: str, read: Read) -> None:
    assert read(sql).features[0].fingerprint == read(BASE).features[0].fingerprint


@pytest.mark.parametrize(
    "sql",
    [
        BASE.replace("sum", "avg"),
        BASE.replace("amount", "n"),
        BASE.replace("n > 1", "n >= 1"),
        BASE.replace("n > 1", "n > 2"),
        BASE.replace("n > 1", "n > 1.0"),
        BASE.replace("'x'", "'X'"),
        BASE.replace("1 DAY", "25 HOURS"),
        BASE.replace("CURRENT ROW", "INTERVAL 1 MICROSECOND PRECEDING"),
        BASE.replace(DAY, f"{DAY} EXCLUDE GROUP"),
        BASE.replace(DAY, "RANGE UNBOUNDED PRECEDING"),
        BASE.replace(" WHERE city = 'x'", ""),
        BASE.replace("FILTER (WHERE ok AND n > 1) ", ""),
        BASE.replace("sum(amount)", "sum(-amount)"),
    ],
)
def test_other_logic_has_another_fingerprint(sql: str, read: Read) -> None:
    assert read(sql).features[0].fingerprint != read(BASE).features[0].fingerprint


def test_exclude_group_is_the_window_that_ends_a_microsecond_before_t(read: Read) -> None:
    excluded = read(BASE.replace(DAY, f"{DAY} EXCLUDE GROUP"))
    delayed = read(BASE.replace("CURRENT ROW", "INTERVAL 1 MICROSECOND PRECEDING"))
    assert excluded.fingerprint == delayed.fingerprint


def test_source_keys_and_time_are_part_of_a_fingerprint(orders: EventSource, user: Entity) -> None:
    def taken(source: EventSource, entity: Entity) -> str:
        view = FeatureView(name="v", source=source, entity=entity, sql=BASE.replace("orders", source.name))
        return Project.of(view).views["v"].features[0].fingerprint

    schema = {**orders.schema, "then": "TIMESTAMP"}
    found = {
        taken(EventSource(name="orders", schema=schema, event_time="at"), user),
        taken(EventSource(name="orders", schema=schema, event_time="then"), user),
        taken(EventSource(name="orders", schema=schema, event_time="at", event_id="n"), user),
        taken(EventSource(name="sales", schema=schema, event_time="at"), user),
        taken(EventSource(name="orders", schema=schema, event_time="at"), Entity(name="c", keys={"city": "VARCHAR"})),
    }
    assert len(found) == 5
    assert taken(orders, user) in found, "a column that nobody reads is no part of it"
    renamed = Entity(name="someone", keys=user.keys, description="the same keys")
    assert taken(orders, renamed) == taken(orders, user)


def test_a_service_changes_with_the_features_that_it_takes_and_their_order(orders: EventSource, user: Entity) -> None:
    def service(sum_of: str, names: list[str]) -> str:
        items = f"sum({sum_of}) OVER d AS a, count(*) OVER d AS b, max(n) OVER d AS c"
        sql = f"SELECT {items} FROM orders WINDOW d AS ({DAY})"
        view = FeatureView(name="v", source=orders, entity=user, sql=sql)
        return Project.of(FeatureService(name="s", features=[view[names]])).service("s").fingerprint

    assert service("amount", ["b", "c"]) == service("n", ["b", "c"]), "an unaffected feature keeps its fingerprint"
    assert service("amount", ["a", "b"]) != service("n", ["a", "b"])
    assert service("n", ["a", "b"]) != service("n", ["b", "a"])


def layout(orders: EventSource, user: Entity, *bodies: str) -> Layout:
    views = [
        FeatureView(name=f"v{i}", source=orders, entity=user, sql=f"SELECT {body} FROM orders WINDOW d AS ({DAY})")
        for i, body in enumerate(bodies)
    ]
    return Project.of(*views).layouts["orders", "user"]


def test_a_view_that_needs_nothing_new_keeps_the_layout(orders: EventSource, user: Entity) -> None:
    before = layout(orders, user, "sum(amount) FILTER (WHERE ok) OVER d AS a, min(n) OVER d AS b")
    shorter = "RANGE BETWEEN INTERVAL 2 HOURS PRECEDING AND CURRENT ROW"
    for more in (
        "avg(amount) OVER d AS c",
        "stddev(amount) FILTER (WHERE ok) OVER d AS c, max(n) OVER d AS e",
        f"count(*) OVER ({shorter}) AS c, avg(n) FILTER (WHERE ok) OVER ({shorter}) AS e",
    ):
        after = layout(orders, user, "sum(amount) FILTER (WHERE ok) OVER d AS a, min(n) OVER d AS b", more)
        assert after.fingerprint == before.fingerprint, more


def test_a_new_column_a_longer_window_or_wider_rows_make_a_new_layout(orders: EventSource, user: Entity) -> None:
    before = layout(orders, user, "sum(amount) OVER d AS a", "min(n) OVER d AS b")
    for more in (
        "max(city) OVER d AS c",
        "sum(amount + 1) OVER d AS c",
        "sum(amount) FILTER (WHERE ok) OVER d AS c",
        "sum(amount) OVER (RANGE BETWEEN INTERVAL 25 HOURS PRECEDING AND CURRENT ROW) AS c",
        "sum(amount) OVER (RANGE UNBOUNDED PRECEDING) AS c",
    ):
        after = layout(orders, user, "sum(amount) OVER d AS a", "min(n) OVER d AS b", more)
        assert after.fingerprint != before.fingerprint, more


def test_a_layout_does_not_depend_on_the_order_of_its_views(orders: EventSource, user: Entity) -> None:
    bodies = ["sum(amount) OVER d AS a", "min(n) OVER d AS b", "max(city) FILTER (WHERE ok) OVER d AS c"]
    assert (
        len({layout(orders, user, *order).fingerprint for order in (bodies, bodies[::-1], bodies[1:] + bodies[:1])})
        == 1
    )


def test_events_that_no_view_lets_through_are_not_stored(orders: EventSource, user: Entity) -> None:
    def keeps(*wheres: str) -> bool:
        views = [
            FeatureView(name=f"v{i}", source=orders, entity=user,
                        sql=f"SELECT count(*) OVER (RANGE UNBOUNDED PRECEDING) AS c{i} FROM orders{where}")
            for i, where in enumerate(wheres)
        ]  # fmt: skip
        prepare = Project.of(*views).layouts["orders", "user"].preparer()
        return prepare(("u", 0, 1.0, 5, None, 0, "x")) is not None

    assert keeps("") and keeps(" WHERE n = 5") and keeps(" WHERE n = 6", " WHERE n = 5") and keeps(" WHERE n = 6", "")
    assert not keeps(" WHERE n = 6") and not keeps(" WHERE ok") and not keeps(" WHERE ok", " WHERE NOT ok")


def test_retention_is_the_longest_window_and_for_ever_with_a_lifetime(orders: EventSource, user: Entity) -> None:
    assert layout(orders, user, "count(*) OVER d AS a").retention == 86_400_000_000
    assert layout(orders, user, "count(*) OVER d AS a").floor(100_000_000_000) == 13_600_000_000
    forever = layout(orders, user, "count(*) OVER d AS a, count(*) OVER (RANGE UNBOUNDED PRECEDING) AS b")
    assert forever.retention is None and forever.floor(100_000_000_000) is None
