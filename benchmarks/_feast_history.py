"""One retrieval of history through Feast's API, in a process of its own, of whichever Python has the store.

python benchmarks/_feast_history.py STORE FOLDER prints as JSON the seconds of `get_historical_features(..).to_df()`,
its processor time, its peak memory above what Feast and the entity dataframe take (MB), and a hash of the values.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

STORES = {"onefold": "onefold.offline.feast.OnefoldOfflineStore", "duckdb": "duckdb", "file": "file"}


def feature_store(place: str, store: str, events: str, values: int) -> Any:
    """A Feast store with one view of `values` features over a Parquet file, applied."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource
    from feast.repo_config import RepoConfig
    from feast.types import Float64
    from feast.value_type import ValueType

    config = RepoConfig(
        project="bench", provider="local", registry=f"{place}/registry.db", offline_store={"type": STORES[store]},
        online_store={"type": "sqlite", "path": f"{place}/online.db"}, entity_key_serialization_version=3,
    )  # fmt: skip
    made = FeatureStore(config=config)
    key = Entity(name="k", join_keys=["k"], value_type=ValueType.INT64)
    source = FileSource(name="e", path=events, timestamp_field="at")
    schema = [Field(name=f"x{n}", dtype=Float64) for n in range(values)]
    made.apply([key, source, FeatureView(name="v", entities=[key], ttl=timedelta(0), source=source, schema=schema)])
    return made


def peak_memory() -> float:
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def values_hash(found: Any, names: list[str]) -> str:
    """Of the values in the order of key and time, as stores are free in the order of rows."""
    ordered = found.sort_values(["k", "event_timestamp", *names], kind="stable")[names].to_numpy()
    return hashlib.sha256(ordered.tobytes()).hexdigest()


def main(store: str, folder: Path, values: int = 10) -> dict[str, Any]:
    spine = pd.read_parquet(folder / "spine.parquet")
    (events,) = sorted(map(str, folder.glob("*.events.parquet")))
    names = [f"x{n}" for n in range(values)]
    with TemporaryDirectory() as place:
        made = feature_store(place, store, events, values)
        before, start, cpu = peak_memory(), time.perf_counter(), time.process_time()
        found = made.get_historical_features(entity_df=spine, features=[f"v:{n}" for n in names]).to_df()
        took = {
            "seconds": time.perf_counter() - start,
            "cpu": time.process_time() - cpu,
            "peak": peak_memory() - before,
        }
    return took | {"rows": len(found), "found": values_hash(found, names)}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
