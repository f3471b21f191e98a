"""One Redis for all faults, and the broker of all tests; each scenario has a topic and a folder of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.world import World
from tests.services.kafka import KafkaBroker
from tests.services.redis import RedisServer

LASTING = {"appendonly": "yes", "appendfsync": "always"}
SEED = int(os.environ.get("FAULTS_SEED", "1"))


@pytest.fixture(scope="session")
def broker(kafka: KafkaBroker) -> KafkaBroker:
    return kafka


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    with RedisServer(options=LASTING) as found:
        yield found


@pytest.fixture
def seed() -> int:
    """From the environment, FAULTS_SEED, to repeat a failure, which names it."""
    return SEED


@pytest.fixture
def world(broker: KafkaBroker, redis: RedisServer, tmp_path: Path, seed: int) -> Iterator[World]:
    found = World(tmp_path / "shop", broker, redis, seed=seed)
    yield found
    found.close()
