"""A project over orders in which every event has a number, and the records of its topic."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta
from functools import cache

from onefold.features.definitions import Entity, EventSource, FeatureService, FeatureView
from onefold.features.plans import ServicePlan
from onefold.features.project import Project

HOUR = 3_600_000_000
START = 400_000 * HOUR
SOURCE = "orders"
USERS, SHOPS = ("a", "b", "c"), (1, 2)
_SCHEMA = {"id": "VARCHAR", "user": "VARCHAR", "shop": "BIGINT", "ts": "TIMESTAMP", "n": "BIGINT", "amount": "DOUBLE"}


@cache
def project(*, ids: bool, lifetime: bool, resolution: str | None = None) -> Project:
    """ids: copies of one event id count once. lifetime: the shops' windows never end. resolution: of all views."""
    orders = EventSource(
        name=SOURCE, schema=_SCHEMA, event_time="ts", event_id="id" if ids else None, optional=("user", "shop")
    )
    user = Entity(name="user", keys={"user": "VARCHAR"})
    shop = Entity(name="shop", keys={"shop": "BIGINT"})
    by_user = FeatureView(
        name="by_user", source=orders, entity=user, resolution=resolution,
        sql="""SELECT count(*) OVER w AS many, sum(n) OVER w AS numbers, sum(amount) OVER h AS spent,
                      last_value(n) OVER h AS newest
               FROM orders
               WINDOW w AS (RANGE BETWEEN INTERVAL 3 HOURS PRECEDING AND CURRENT ROW),
                      h AS (RANGE BETWEEN INTERVAL 30 MINUTES PRECEDING AND CURRENT ROW)""",
    )  # fmt: skip
    end = "UNBOUNDED PRECEDING" if lifetime else "BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW"
    by_shop = FeatureView(
        name="by_shop", source=orders, entity=shop, resolution=resolution,
        sql=f"""SELECT sum(n) OVER w AS shop_numbers, max(amount) OVER w AS dearest FROM orders WHERE amount > 0
                WINDOW w AS (RANGE {end})""",
    )  # fmt: skip
    return Project.of(by_user, by_shop, FeatureService(name="all", features=[by_user, by_shop]))


_plans: dict[int, ServicePlan] = {}


def plan(of: Project) -> ServicePlan:
    """The one service of a project."""
    if id(of) not in _plans:
        _plans[id(of)] = of.service("all")
    return _plans[id(of)]


def record(rng: random.Random, n: int) -> bytes:
    """The n-th record that is ever written: mostly an event, about in order of time; sometimes late, or no event."""
    ts = START + n * HOUR // 12 + rng.randrange(HOUR // 12)
    odd = rng.random()
    if odd < 0.12:
        ts -= rng.randrange(5 * HOUR)
    elif odd < 0.14:
        ts += 1000 * HOUR
    event = {
        "id": f"e{n if rng.random() < 0.9 else n // 4}", "user": rng.choice((*USERS, *USERS, None)),
        "shop": rng.choice((*SHOPS, *SHOPS, None)), "ts": _iso(ts), "n": n, "amount": rng.randrange(-50, 200) / 8,
    }  # fmt: skip
    kind = rng.random()
    if kind < 0.80:
        return json.dumps(event).encode()
    if kind < 0.85:
        return json.dumps(event | {"added": [n]}).encode()
    if kind < 0.88:
        return json.dumps({k: v for k, v in event.items() if k not in ("user", "shop")}).encode()
    return rng.choice(_POISON)(json.dumps(event).encode(), event)


_POISON = (
    lambda line, event: line[: len(line) // 2],
    lambda line, event: json.dumps(event | {"ts": None}).encode(),
    lambda line, event: json.dumps(event | {"n": str(event["n"])}).encode(),
    lambda line, event: json.dumps({k: v for k, v in event.items() if k != "amount"}).encode(),
)


def _iso(micros: int) -> str:
    return (datetime(1970, 1, 1) + timedelta(microseconds=micros)).isoformat() + "Z"
