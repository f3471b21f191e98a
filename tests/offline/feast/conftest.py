from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

OURS = "onefold.offline.feast.OnefoldOfflineStore"
T0 = pd.Timestamp("2024-01-01")

Opened = Callable[..., Any]


def at(hours: float) -> pd.Timestamp:
    """So many hours into the test's time, without a zone."""
    return T0 + pd.Timedelta(hours=hours)


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    """A Feast repository in a folder of the test, by a stock client."""

    def open_store(store: str = OURS, *, batch_engine: Any = "local", **offline: Any) -> Any:
        from feast import FeatureStore
        from feast.repo_config import RepoConfig

        config = RepoConfig(
            project="p", provider="local", registry=str(tmp_path / f"{store.rpartition('.')[2]}.registry.db"),
            offline_store={"type": store} | offline,
            batch_engine=batch_engine, entity_key_serialization_version=3,
            online_store={"type": "sqlite", "path": str(tmp_path / "online.db")},
        )  # fmt: skip
        config.repo_path = tmp_path
        return FeatureStore(config=config)

    return open_store


def view(
    name: str, source: Any, *, ttl: timedelta = timedelta(0), keys: tuple[str, ...] = ("id",), **features: Any
) -> Any:
    """A plain view of Feast's over BIGINT keys."""
    from feast import Entity, FeatureView, Field
    from feast.value_type import ValueType

    entities = [Entity(name=key, join_keys=[key], value_type=ValueType.INT64) for key in keys]
    schema = [Field(name=n, dtype=kind) for n, kind in features.items()]
    return FeatureView(name=name, entities=entities, ttl=ttl, source=source, schema=schema), entities


def parquet(path: Path, **columns: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_parquet(path)
    return str(path)


def plain(values: Any) -> list[Any]:
    """A column's values, a missing one as None."""
    return [None if pd.isna(v) else v for v in values]
