"""Stock Feast repositories on our stores: Feast's quickstart, and one whose code lies in a folder `features`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from feast import FeatureStore

import onefold

FEAST = str(Path(sys.executable).with_name("feast"))
OURS = {
    "offline_store": {"type": "onefold.offline.feast.OnefoldOfflineStore"},
    "online_store": {"type": "onefold.online.feast.OnefoldOnlineStore", "path": "data/online"},
    "batch_engine": {"type": "onefold.feast_engine.OnefoldComputeEngine"},
}
VIEWS = """
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.types import Float64
from features.names import NAME

thing = Entity(name="thing", join_keys=["id"], value_type=ValueType.INT64)
view = FeatureView(name=NAME, entities=[thing], schema=[Field(name="x", dtype=Float64)],
                   source=FileSource(name="s", path="s.parquet", timestamp_field="ts"))
"""


def feast(repo: Path, *command: str) -> str:
    """A command of Feast's. Onefold is there as an install has it: the links beside its folder are not."""
    site = repo.parent / f"{repo.name}.site"
    if not site.exists():
        site.mkdir()
        (site / "onefold").symlink_to(Path(onefold.__file__).parent)
    environment = os.environ | {"PYTHONPATH": str(site)}
    ran = subprocess.run([FEAST, *command], cwd=repo, capture_output=True, text=True, check=False, env=environment)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.mark.parametrize("package", [True, False])
def test_a_folder_of_features_is_the_users_own(tmp_path: Path, package: bool) -> None:
    """Our package is `onefold.features`, so theirs is found, whether it is a package or not."""
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "names.py").write_text('NAME = "named"\n')
    (tmp_path / "features" / "views.py").write_text(VIEWS)
    if package:
        (tmp_path / "features" / "__init__.py").write_text("")
    pd.DataFrame({"id": [1], "ts": pd.to_datetime(["2024-01-01"]), "x": [1.0]}).to_parquet(tmp_path / "s.parquet")
    settings = {"project": "p", "registry": "registry.db", "provider": "local", "entity_key_serialization_version": 3}
    (tmp_path / "feature_store.yaml").write_text(yaml.safe_dump(settings | OURS))
    feast(tmp_path, "apply")
    assert [v.name for v in FeatureStore(str(tmp_path)).list_feature_views()] == ["named"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_quickstart_of_feast_runs_on_our_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`feast init`, its workflow step by step, with the values of its data file."""
    from feast.data_source import PushMode

    from onefold.online.feast.opened import close_stores

    feast(tmp_path, "init", "quick")
    repo = tmp_path / "quick" / "feature_repo"
    file = repo / "feature_store.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | OURS))
    monkeypatch.chdir(repo)
    feast(repo, "apply")
    store, data = FeatureStore(str(repo)), pd.read_parquet(repo / "data" / "driver_stats.parquet")

    asked = pd.DataFrame({
        "driver_id": [1001, 1002, 1003], "label": [1, 5, 3], "val_to_add": [1, 2, 3], "val_to_add_2": [10, 20, 30],
        "event_timestamp": [datetime(2021, 4, 12, h, m, s) for h, m, s in ((10, 59, 42), (8, 12, 10), (16, 40, 26))],
    })  # fmt: skip
    names = ["driver_hourly_stats:conv_rate", "driver_hourly_stats:avg_daily_trips",
             "transformed_conv_rate:conv_rate_plus_val1"]  # fmt: skip
    found = store.get_historical_features(asked, features=names).to_df()
    then = data[data.event_timestamp == "2021-04-12 07:00:00+00:00"].set_index("driver_id")
    assert found.driver_id.tolist() == [1001, 1002, 1003] and found.label.tolist() == [1, 5, 3]
    assert found.conv_rate.tolist() == then.conv_rate[[1001, 1002, 1003]].tolist()
    assert found.avg_daily_trips.tolist() == then.avg_daily_trips[[1001, 1002, 1003]].tolist()
    pd.testing.assert_series_equal(
        found.conv_rate_plus_val1, found.conv_rate + found.val_to_add, check_names=False, check_dtype=False
    )

    store.materialize_incremental(end_date=datetime.now())
    rows = [{"driver_id": 1001, "val_to_add": 1000, "val_to_add_2": 2000}]
    newest = data[data.driver_id == 1001].sort_values("event_timestamp").iloc[-1]
    online: dict[str, Any] = store.get_online_features(
        features=["driver_hourly_stats:acc_rate", "driver_hourly_stats:driver_config"], entity_rows=rows
    ).to_dict()
    assert online["acc_rate"] == [newest.acc_rate] and online["driver_config"] == [json.loads(newest.driver_config)]

    service = store.get_feature_service("driver_activity_v3")
    now = datetime.now(UTC)
    pushed = pd.DataFrame({
        "driver_id": [1001], "event_timestamp": [now], "created": [now.replace(tzinfo=None)], "conv_rate": [1.0],
        "acc_rate": [1.0], "avg_daily_trips": [1000], "driver_config": ["{}"],
        "driver_metadata": [{"vehicle_type": "truck", "rating": "5.0"}],
        "driver_profile": [{"name": "driver_1001_updated", "age": "30"}],
    })[list(data.columns)]  # fmt: skip
    store.push("driver_stats_push_source", pushed, to=PushMode.ONLINE_AND_OFFLINE)
    fresh = store.get_online_features(features=service, entity_rows=rows).to_dict()
    assert fresh["avg_daily_trips"] == [1000] and fresh["conv_rate_plus_val1"] == [1001.0]
    after = pd.DataFrame({"driver_id": [1001], "event_timestamp": [datetime.now(UTC)]})
    trained = store.get_historical_features(after, features=["driver_hourly_stats:avg_daily_trips"]).to_df()
    assert trained.avg_daily_trips.tolist() == [1000]
    close_stores()
    feast(repo, "teardown")
