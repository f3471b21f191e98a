"""Feast's online path over Redis: views of DOUBLEs, one row a user, read with its SDK."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

VALUES = Mapping[str, Mapping[str, Sequence[float]]]
"""By view, by feature, the value of each user."""


def store(folder: Path, port: int, views: VALUES, users: Sequence[str]) -> Any:
    """A FeatureStore whose Redis (database 1) holds these values."""
    import pandas as pd
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource
    from feast.repo_config import RepoConfig
    from feast.types import Float64
    from feast.value_type import ValueType

    config = RepoConfig(
        project="bench", provider="local", registry=f"{folder}/registry.db", offline_store={"type": "file"},
        online_store={"type": "redis", "connection_string": f"127.0.0.1:{port},db=1"},
        entity_key_serialization_version=3,
    )  # fmt: skip
    found = FeatureStore(config=config)
    user = Entity(name="user", join_keys=["user"], value_type=ValueType.STRING)
    # Its registry wants a file source, which nothing is read from.
    nowhere = folder / "nothing.parquet"
    pd.DataFrame({"user": ["u0"], "ts": [datetime.now(UTC)]}).to_parquet(nowhere)
    source = FileSource(name="nothing", path=str(nowhere), timestamp_field="ts")
    made = [
        FeatureView(
            name=name, entities=[user], source=source, online=True,
            schema=[Field(name=feature, dtype=Float64) for feature in features],
        )
        for name, features in views.items()
    ]  # fmt: skip
    found.apply([user, source, *made])
    now = datetime.now(UTC)
    for name, features in views.items():
        frame = pd.DataFrame({"user": list(users), **{f: list(v) for f, v in features.items()}})
        frame["ts"] = now
        found.write_to_online_store(name, frame)
    return found


def refs(views: VALUES) -> list[str]:
    return [f"{view}:{feature}" for view, features in views.items() for feature in features]
