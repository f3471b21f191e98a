"""Feature stores of plain Feast, over Feast's own online store and over ours."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from onefold.online.redis_cluster import RedisClusterStore

if TYPE_CHECKING:
    from tests.services.redis import RedisServer
    from tests.services.redis_cluster import RedisCluster

OURS = "onefold.online.feast.OnefoldOnlineStore"
NOW = datetime.now(UTC).replace(microsecond=0)
Make = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("ONEFOLD_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def closed() -> Iterator[None]:
    """Our stores are closed behind the test."""
    from onefold.online.feast.opened import close_stores

    yield
    close_stores()


@pytest.fixture
def make(tmp_path: Path, closed: None) -> Make:
    """A FeatureStore over an online store, with a registry of its own."""

    def made(online: dict[str, Any], *objects: Any, name: str = "feast") -> Any:
        from feast import FeatureStore
        from feast.repo_config import RepoConfig

        config = RepoConfig(
            project=name, provider="local", registry=str(tmp_path / f"{name}.pb"), online_store=online,
            entity_key_serialization_version=3, repo_path=str(tmp_path),
        )  # fmt: skip
        store = FeatureStore(config=config)
        store.apply(list(objects))
        return store

    return made


@pytest.fixture(params=["lmdb", "redis"])
def online(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Our online store of each kind, empty, as feature_store.yaml says it."""
    if request.param == "lmdb":
        return {"type": OURS, "path": str(tmp_path / "online")}
    if request.param == "cluster":
        cluster: RedisCluster = request.getfixturevalue("redis_cluster")
        url = f"redis+cluster://{cluster.addresses[0]}"
        with RedisClusterStore(url) as store:
            store.clear(b"")
        return {"type": OURS, "url": url}
    server: RedisServer = request.getfixturevalue("redis_server")
    with server.client() as client:
        client.flushall()
    return {"type": OURS, "url": server.url}


@pytest.fixture
def feasts(tmp_path: Path) -> dict[str, Any]:
    """Feast's own online store."""
    return {"type": "sqlite", "path": str(tmp_path / "feast-online.db")}


def drivers(folder: Path, **said: Any) -> list[Any]:
    """Feast's drivers: an entity, a push source, and a view over it with `schema` (names to types)."""
    from feast import Entity, FeatureView, Field, FileSource, PushSource, ValueType
    from feast.types import Float64, Int64, String

    schema = said.pop("schema", {"rate": Float64, "trips": Int64, "name": String})
    driver = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
    batch = FileSource(name="batch", path=str(folder / "drivers.parquet"), timestamp_field="ts")
    push = PushSource(name="push", batch_source=batch)
    view = FeatureView(
        name="stats", entities=[driver], source=push, ttl=said.pop("ttl", timedelta(days=1)),
        schema=[Field(name="driver_id", dtype=Int64), *(Field(name=n, dtype=t) for n, t in schema.items())], **said,
    )  # fmt: skip
    return [driver, push, view]


def frame(*rows: tuple[Any, ...], columns: tuple[str, ...] = ("driver_id", "ts", "rate", "trips", "name")) -> Any:
    """Rows to push. A missing number is a missing number, whatever pandas makes of its column."""
    import pandas as pd

    found = pd.DataFrame(rows, columns=list(columns))
    return found.astype({"trips": "Int64"}) if "trips" in columns else found


def statuses(response: Any, name: str) -> list[str]:
    """The statuses of a feature by their names."""
    from feast.protos.feast.serving.ServingService_pb2 import FieldStatus

    names = list(response.proto.metadata.feature_names.val)
    return [FieldStatus.Name(s) for s in response.proto.results[names.index(name)].statuses]
