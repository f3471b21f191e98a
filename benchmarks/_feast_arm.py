"""Feast's DuckDB store: the historical features of a spine. It needs Feast's extra `duckdb`, which the lock has not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa


def historical(folder: Path, events: Sequence[str], spine: pa.Table, values: int) -> pa.Table:
    """Ten values of the newest row as of each time, as Feast gives them: an Arrow table with the spine's columns."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource
    from feast.repo_config import RepoConfig
    from feast.types import Float64
    from feast.value_type import ValueType

    (path,) = events
    with TemporaryDirectory() as place:
        config = RepoConfig(
            project="bench", provider="local", registry=f"{place}/registry.db", offline_store={"type": "duckdb"},
            online_store={"type": "sqlite", "path": f"{place}/online.db"}, entity_key_serialization_version=3,
        )  # fmt: skip
        store = FeatureStore(config=config)
        key = Entity(name="k", join_keys=["k"], value_type=ValueType.INT64)
        source = FileSource(name="e", path=path, timestamp_field="at")
        names = [f"x{n}" for n in range(values)]
        view = FeatureView(name="v", entities=[key], ttl=timedelta(0), source=source,
                           schema=[Field(name=n, dtype=Float64) for n in names])  # fmt: skip
        store.apply([key, source, view])
        job = store.get_historical_features(entity_df=spine.to_pandas(), features=[f"v:{n}" for n in names])
        return job.to_arrow()
