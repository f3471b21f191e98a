"""Every store of state, empty, for one body of tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from onefold.online.lmdb_store import LmdbStore
from onefold.online.redis_cluster import RedisClusterStore
from onefold.online.redis_store import RedisStore

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services.redis import RedisServer
    from tests.services.redis_cluster import RedisCluster

STORES = ("lmdb", "redis", "cluster")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """An empty store of each kind."""
    with opened(request.param, request, tmp_path) as made:
        yield made


def opened(kind: str, request: pytest.FixtureRequest, folder: Path) -> Any:
    """An empty store of a kind."""
    if kind == "lmdb":
        return LmdbStore(folder / "online")
    made: Any
    if kind == "cluster":
        cluster: RedisCluster = request.getfixturevalue("redis_cluster")
        made = RedisClusterStore(f"redis+cluster://{cluster.addresses[0]}")
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        made = RedisStore(server.url)
    made.clear(b"")
    return made


@pytest.fixture
def redis_store(redis_server: RedisServer) -> Iterator[RedisStore]:
    """An empty store in the Redis of the session."""
    with RedisStore(redis_server.url) as made:
        made.clear(b"")
        yield made
