"""`make test` draws the same Hypothesis examples every time; `make parity` is what looks for new ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.services.kafka import KafkaBroker
    from tests.services.redis import RedisServer
    from tests.services.redis_cluster import RedisCluster

settings.register_profile("fixed", derandomize=True, database=None, deadline=None)
settings.load_profile("fixed")

TESTS = Path(__file__).parent
LONGEST = (
    "benchmarks/test_smoke.py",
    "simulation/test_simulation.py",
    "parity/test_parity.py",
    "parity/test_cases.py",
    "demo/test_live_demo.py",
    "streaming/test_spark_stream.py",
    "offline/test_spark.py",
    "offline/feast/test_materialize.py",
    "offline/test_plans.py",
    "native/test_native.py",
    "serving/test_running.py",
    "examples/test_flights_data.py",
    "faults/test_kills.py",
    "features/test_catalogue.py",
    "demo/test_whole_demo.py",
)
"""Files of half a minute and more come first, so that the last files of all workers are short."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.fixture(scope="session")
def spark() -> Any:
    """The one Spark session of the test process."""
    from onefold.offline.spark_session import session
    from tests.spark import SPARK

    return session(SPARK)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The one Redis of the test process. A test empties it first; one that ends or sets up a server starts its own."""
    from tests.services.redis import RedisServer

    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    """The one Redis Cluster of the test process. A test empties it first; one that ends a node starts its own."""
    from tests.services.redis_cluster import RedisCluster

    with RedisCluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaBroker]:
    """The one broker of the test process. Each test has topics of its own; one that ends a broker starts its own."""
    from tests.services.kafka import KafkaBroker

    with KafkaBroker() as broker:
        yield broker


@pytest.fixture(autouse=True)
def _same_spark(request: pytest.FixtureRequest) -> None:
    """A test that takes Spark as its `engine` finds the session of all the others."""
    params = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    if str(params.get("engine", "")).startswith("spark"):
        request.getfixturevalue("spark")
