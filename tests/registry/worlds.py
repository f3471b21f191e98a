"""Projects that a registry must keep whole."""

from __future__ import annotations

from pathlib import Path

import onefold.examples.flights as example
from onefold import Avro, Branch, Entity, EventSource, FeatureService, FeatureView, OnDemandView, Protobuf
from onefold.features.authoring import col
from onefold.features.authoring_aggregates import count, sum_
from onefold.features.loading import load_project
from onefold.features.project import Project

D1 = "OVER (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)"

USER = Entity(name="user", keys={"user_id": "BIGINT"}, owner="ada", tags={"team": "growth"})
PLACE = Entity(name="place", keys={"city": "VARCHAR", "day": "DATE"}, description="a city on a day")
ORDERS = EventSource(
    name="orders", event_time="at", event_id="order_id", path="data/orders.parquet", topic="orders",
    format=Avro(registry=True), optional=("city",), drift="value_error", skew="2 hours", owner="ada",
    schema={"order_id": "VARCHAR", "user_id": "BIGINT", "city": "VARCHAR", "day": "DATE", "amount": "DOUBLE",
            "price": "DECIMAL(12,2)", "lines": "BIGINT[]", "at": "TIMESTAMP"},
)  # fmt: skip
CLICKS = EventSource(
    name="clicks", event_time="at", schema={"user_id": "BIGINT", "page": "VARCHAR", "at": "TIMESTAMP"},
    branches=[Branch(name="web", topic="web", format=Protobuf(registry=True)),
              Branch(name="app", path="data/app.parquet", columns={"page": "screen"}, values={"user_id": 0})],
)  # fmt: skip


def everything() -> Project:
    """A project that says every kind of thing that a definition can."""
    spend = FeatureView(name="spend", source=ORDERS, entity=USER, request_row="include", freshness="1 hour",
                        features={"total": sum_(col("amount")).over(windows=["1 day", "7 days"]),
                                  "orders": count().over("7 days")},
                        where=col("amount") > 0, description="what they spend", tags={"tier": "gold"})  # fmt: skip
    prices = FeatureView(name="prices", source=ORDERS, entity=PLACE,
                         sql=f"SELECT max(price) {D1} AS top, last_value(lines) {D1} AS lines FROM orders")  # fmt: skip
    clicks = FeatureView(name="clicks", source=CLICKS, entity=USER, resolution="1 minute",
                         sql=f"SELECT count(*) {D1} AS clicks FROM clicks")  # fmt: skip
    everyone = FeatureView(name="everyone", source=CLICKS, sql=f"SELECT count(*) {D1} AS seen FROM clicks")
    ratio = OnDemandView(name="ratio", views=[spend, clicks], request={"basket": "DOUBLE"}, owner="bob",
                         sql="SELECT total_1d / clicks AS per_click, basket / total_7d AS share")  # fmt: skip
    hour = OnDemandView(name="hour", sql="SELECT extract(hour FROM event_timestamp) AS hour")
    return Project.of(
        FeatureService(name="scores", features=[ratio, spend[["orders"]], everyone, spend[["total_1d"]], hour]),
        FeatureService(name="plain", features=[prices], description="prices only", owner="eve"),
    )


def flights() -> Project:
    return load_project(Path(str(example.__file__)).parent / "features")
