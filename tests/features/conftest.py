from __future__ import annotations

from collections.abc import Callable

import pytest

from onefold.features.definitions import Entity, EventSource, FeatureView
from onefold.features.project import Project
from onefold.features.views import TypedView

ORDERS = EventSource(
    name="orders",
    schema={
        "user": "VARCHAR", "at": "TIMESTAMP", "amount": "DOUBLE", "n": "BIGINT", "ok": "BOOLEAN", "day": "DATE",
        "city": "VARCHAR",
    },
    event_time="at",
)  # fmt: skip
USER = Entity(name="user", keys={"user": "VARCHAR"})
Read = Callable[[str], TypedView]


@pytest.fixture
def orders() -> EventSource:
    return ORDERS


@pytest.fixture
def user() -> Entity:
    return USER


@pytest.fixture
def read() -> Read:
    """A view over `orders` by user, typed, from its SQL."""
    return lambda sql: Project.of(FeatureView(name="v", source=ORDERS, entity=USER, sql=sql)).views["v"]
