"""Putting a thousand views on record: Feast's own `apply` beside ours, both into the SQL registry on SQLite."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from _harness import Options, Report, tell

from onefold.features.definitions import Entity, EventSource, FeatureView
from onefold.features.project import Project
from onefold.registry import Registry
from onefold.registry.of_project import records_of

WIDTH = 5


def measure(report: Report, options: Options) -> None:
    import feast  # noqa: F401 - both arms need it, and neither is charged for loading it

    views = options.pick(1_000, 20)
    tell(f"{views:,} views applied by Feast, and by Onefold")
    theirs = _theirs(options.scratch / "theirs-apply", views)
    ours, again = _ours(options.scratch / "ours-apply", views)
    report.table(
        f"{views:,} views of {WIDTH} features into an empty SQL registry on SQLite",
        ("", "seconds"),
        [("Feast: FeatureStore.apply", theirs), ("Onefold: Registry.apply", ours),
         ("Onefold, nothing changed", again)],
    )  # fmt: skip
    report.headline("feast_apply_speedup", theirs / ours)


def _theirs(folder: Path, count: int) -> float:
    from feast import Entity as FeastEntity
    from feast import FeatureStore, Field, FileSource
    from feast import FeatureView as FeastView
    from feast.repo_config import RepoConfig
    from feast.types import Float64, Int64
    from feast.value_type import ValueType

    folder.mkdir()
    config = RepoConfig(
        project="bench", provider="local", entity_key_serialization_version=3, repo_path=str(folder),
        registry={"registry_type": "sql", "path": f"sqlite:///{folder}/registry.db"},
        online_store={"type": "onefold.online.feast.OnefoldOnlineStore", "path": "online"},
    )  # fmt: skip
    store = FeatureStore(config=config)
    user = FeastEntity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    source = FileSource(name="events", path=str(folder / "events"), timestamp_field="ts")
    fields = [Field(name="user_id", dtype=Int64), *(Field(name=f"x{i}", dtype=Float64) for i in range(WIDTH))]
    views: list[Any] = [
        FeastView(name=f"view_{n}", entities=[user], source=source, ttl=timedelta(0), schema=fields)
        for n in range(count)
    ]
    start = time.perf_counter()
    store.apply([user, source, *views])
    return time.perf_counter() - start


def _ours(folder: Path, count: int) -> tuple[float, float]:
    user = Entity(name="user", keys={"user_id": "BIGINT"})
    source = EventSource(
        name="events", event_time="ts", schema={"user_id": "BIGINT", "amount": "DOUBLE", "ts": "TIMESTAMP"}
    )
    columns = ", ".join(
        f"sum(amount) OVER (RANGE BETWEEN INTERVAL {i + 1} HOURS PRECEDING AND CURRENT ROW) AS x{i}"
        for i in range(WIDTH)
    )
    views = [
        FeatureView(name=f"view_{n}", entity=user, source=source, sql=f"SELECT {columns} FROM events")
        for n in range(count)
    ]
    wanted = records_of(Project.of(*views))
    registry = Registry(folder / "registry.db", project="bench", archive=folder)
    start = time.perf_counter()
    registry.apply(wanted)
    done = time.perf_counter()
    registry.apply(wanted)
    return done - start, time.perf_counter() - done
