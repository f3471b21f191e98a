"""Feast's SDK on one Redis: its own Redis store beside ours, the same view with the same rows; and our windows."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from _harness import Options, Report, Samples, clocked, frozen, interleave, tell
from redis_store import SECOND, server, states

from onefold.features.project import Project
from onefold.online.redis_store import RedisStore
from onefold.registry import Registry
from onefold.registry.of_project import records_of
from onefold.registry.place import Place

FEATURES = 50
OURS = "onefold.online.feast.OnefoldOnlineStore"
SIZES = (1, 100)
NAMES = {
    "feast": "Feast's Redis store", "onefold": "Onefold's store", "feast_message": "Feast's, its message alone",
    "onefold_message": "Onefold's, its message alone", "windows": "50 windows of Onefold, as of the request",
}  # fmt: skip


def measure(report: Report, options: Options) -> None:
    keys = options.pick(2_000, 120)
    with server(options.scratch) as port:
        tell("two stores of the same rows")
        theirs = feast_store(options.scratch / "theirs", {"type": "redis", "connection_string": f"127.0.0.1:{port}"})
        ours = feast_store(options.scratch / "ours", {"type": OURS, "url": f"redis://127.0.0.1:{port}/1"})
        table = rows(keys)
        for store in (theirs, ours):
            store.write_to_online_store("stats", table)
        windows = windowed(options, port, users=options.pick(400, 120))
        for size in SIZES:
            calls = options.pick(2_000 if size == 1 else 200, 3)
            tell(f"{calls:,} requests of {size} x {FEATURES}")
            _one_size(report, (theirs, ours, windows), size, keys, calls)


def feast_store(folder: Path, online: dict[str, Any]) -> Any:
    """A Feast store with one plain view of 50 DOUBLEs, applied."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource
    from feast.repo_config import RepoConfig
    from feast.types import Float64, Int64
    from feast.value_type import ValueType

    folder.mkdir()
    config = RepoConfig(
        project="bench", provider="local", registry=str(folder / "registry.pb"), online_store=online,
        entity_key_serialization_version=3, repo_path=str(folder),
    )  # fmt: skip
    store = FeatureStore(config=config)
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    source = FileSource(name="file", path=str(folder / "stats.parquet"), timestamp_field="ts")
    rows(2).to_parquet(folder / "stats.parquet")
    view = FeatureView(
        name="stats", entities=[user], source=source, ttl=timedelta(days=7),
        schema=[Field(name="user_id", dtype=Int64), *(Field(name=f"x{i}", dtype=Float64) for i in range(FEATURES))],
    )  # fmt: skip
    store.apply([user, source, view])
    return store


def rows(keys: int) -> pd.DataFrame:
    dice = random.Random(1)
    values = {f"x{i}": [dice.random() * 100 for _ in range(keys)] for i in range(FEATURES)}
    return pd.DataFrame({"user_id": range(keys), "ts": datetime.now(UTC), **values})


def windowed(options: Options, port: int, *, users: int) -> Any:
    """Feast's client over a view of 50 windows, whose state a worker has written."""
    from feast import FeatureStore

    url, folder = f"redis://127.0.0.1:{port}/2", options.scratch / "windows"
    with RedisStore(url) as store:
        project: Project
        project, _ = states(store, options, users=users, events=options.pick(150, 10))
    registry = Registry(
        Place.of(f"file:{folder}/registry.pb"), project="bench", archive=folder, state=folder,
        feast={"online_store": {"type": OURS, "url": url}},
    )  # fmt: skip
    registry.apply(records_of(project))
    return FeatureStore(repo_path=str(folder))


def _one_size(report: Report, stores: tuple[Any, Any, Any], size: int, keys: int, calls: int) -> None:
    theirs, ours, windows = stores
    dice = random.Random(2)
    picked = [[{"user_id": u} for u in dice.sample(range(keys), size)] for _ in range(calls)]
    at = datetime.fromtimestamp(1_704_672_000 * SECOND / 1e6, UTC)
    users = [[{"user": f"u{u}", "event_timestamp": at} for u in dice.sample(range(100), size)] for _ in range(calls)]
    plain = [f"stats:x{i}" for i in range(FEATURES)]
    view = windows.get_feature_view("by_user")
    named = [f"by_user:{f.name}" for f in view.features]
    _agree(theirs, ours, plain, picked[0])
    arms = {
        "feast": _arm(theirs, plain, picked), "onefold": _arm(ours, plain, picked),
        "feast_message": _arm(theirs, plain, picked, message=True),
        "onefold_message": _arm(ours, plain, picked, message=True), "windows": _arm(windows, named, users),
    }  # fmt: skip
    with frozen():
        samples = interleave({n: clocked(a) for n, a in arms.items()}, rounds=calls, warmup=min(calls, 50))
    _tell(report, samples, size)


def _arm(store: Any, features: list[str], rows: Sequence[Any], *, message: bool = False) -> Callable[[int], object]:
    """Feast keeps what it resolved for one registry a process, and several take turns here: each arm has its own."""
    from feast import utils

    held: tuple[Any, Any] = {}, None

    def ask(number: int) -> object:
        nonlocal held
        utils._feature_resolution_cache, utils._feature_resolution_registry_ts = held
        found = store.get_online_features(features=features, entity_rows=rows[number])
        held = utils._feature_resolution_cache, utils._feature_resolution_registry_ts
        return found.proto if message else found.to_dict()

    return ask


def _agree(theirs: Any, ours: Any, features: list[str], rows: Any) -> None:
    found = [s.get_online_features(features=features, entity_rows=rows).to_dict() for s in (theirs, ours)]
    if found[0] != found[1]:
        raise SystemExit("the two stores do not give the same values")


def _tell(report: Report, samples: Samples, size: int) -> None:
    title = f"{size} x {FEATURES}"
    report.table(
        f"get_online_features(..).to_dict() through Feast's SDK on Redis, {title}",
        ("", "p50 ms", "p99 ms", "Feast takes times as long"),
        [
            (NAMES[arm], samples.at(arm, 0.5) * 1e3, samples.at(arm, 0.99) * 1e3, samples.ratio("feast", arm).median)
            for arm in NAMES
        ],
    )
    report.headline(f"feast_online_{size}x{FEATURES}_speedup", samples.ratio("feast", "onefold").median)
    report.headline(f"feast_windows_{size}x{FEATURES}_speedup", samples.ratio("feast", "windows").median)
