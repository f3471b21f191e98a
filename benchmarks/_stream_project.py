"""The project of the stream's benchmark: JSON events of about 200 bytes, 5 views x 5 aggregates x 3 windows."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson

from onefold.features.definitions import Entity, EventSource, FeatureService, FeatureView
from onefold.features.project import Project

START = datetime(2026, 1, 1, tzinfo=UTC)
USERS = 50_000
WINDOWS = ("1 HOUR", "1 DAY", "7 DAYS")
_OVER = {
    "money": ("count(*)", "sum(amount)", "avg(amount)", "min(amount)", "max(amount)"),
    "pieces": ("sum(pieces)", "avg(pieces)", "min(pieces)", "max(pieces)", "stddev_samp(pieces)"),
    "time": ("sum(seconds)", "avg(seconds)", "max(seconds)", "min(seconds)", "var_samp(seconds)"),
    "gifts": (
        "count(*) FILTER (WHERE gift)", "sum(amount) FILTER (WHERE gift)", "max(amount) FILTER (WHERE gift)",
        "min(amount) FILTER (WHERE gift)", "avg(amount) FILTER (WHERE gift)",
    ),
    "last": ("last_value(shop)", "first_value(shop)", "last_value(amount)", "count(DISTINCT shop)", "bool_or(gift)"),
}  # fmt: skip
_SHOPS = [f"shop-{n:03d}" for n in range(200)]

SOURCE = EventSource(
    name="orders", event_time="at",
    schema={"user": "VARCHAR", "at": "TIMESTAMP", "amount": "DOUBLE", "pieces": "BIGINT", "seconds": "DOUBLE",
            "shop": "VARCHAR", "gift": "BOOLEAN", "channel": "VARCHAR"},
)  # fmt: skip
USER = Entity(name="user", keys={"user": "VARCHAR"})


def project(*, topic: str | None = None) -> Project:
    """Five views of one entity: 75 features. topic: what feeds their source."""
    source = replace(SOURCE, topic=topic)
    views = [_view(name, aggregates, source) for name, aggregates in _OVER.items()]
    return Project.of(*views, FeatureService(name="all", features=views))


def _view(name: str, aggregates: tuple[str, ...], source: EventSource) -> FeatureView:
    items = [
        f"{aggregate} OVER w{w} AS {name}_{i}_{w}"
        for i, aggregate in enumerate(aggregates)
        for w in range(len(WINDOWS))
    ]
    windows = [
        f"w{w} AS (RANGE BETWEEN INTERVAL {length} PRECEDING AND CURRENT ROW)" for w, length in enumerate(WINDOWS)
    ]
    sql = f"SELECT {', '.join(items)} FROM orders WINDOW {', '.join(windows)}"
    return FeatureView(name=name, source=source, entity=USER, sql=sql)


def events(count: int, *, seed: int = 1, users: int = USERS, start: datetime = START) -> list[bytes]:
    """JSON events a tenth of a second apart, each of a random user."""
    rng = random.Random(seed)
    return [
        orjson.dumps({
            "user": f"user-{rng.randrange(users):06d}", "at": _iso(start + timedelta(milliseconds=100 * n)),
            "amount": rng.randrange(100, 20_000) / 100, "pieces": rng.randrange(1, 9),
            "seconds": round(rng.random() * 300, 3), "shop": rng.choice(_SHOPS), "gift": rng.random() < 0.1,
            "channel": "mobile-app-android", "session": f"{rng.getrandbits(64):016x}",
        })
        for n in range(count)
    ]  # fmt: skip


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
