"""`import-feast`: Feast's own quickstart and a repository of all kinds of views, by the command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from onefold.features.loading import load_project
from onefold.offline.engine import point_in_time
from onefold.wiring import Workspace

Run = Callable[..., Any]
FEAST = str(Path(sys.executable).with_name("feast"))

REPOSITORY = """
from datetime import timedelta
from feast import BatchFeatureView, BigQuerySource, Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.aggregation import Aggregation
from feast.types import Float64, Int64

shop = Entity(name="shop", join_keys=["shop_id"], value_type=ValueType.INT64, description="where it is sold")
till = Entity(name="till", join_keys=["till_id"], value_type=ValueType.INT64)
sales = FileSource(name="sales", path="sales.parquet", timestamp_field="at", field_mapping={"amt": "amount"})
newest = FeatureView(name="newest", entities=[shop, till], ttl=timedelta(minutes=90), source=sales,
                     schema=[Field(name="amount", dtype=Float64)], owner="ada")
for_ever = FeatureView(name="for_ever", entities=[shop], source=sales, schema=[Field(name="amount", dtype=Float64)])
hourly = BatchFeatureView(
    name="hourly", entities=[shop], ttl=timedelta(0), source=sales, mode="pandas", udf=lambda df: df,
    schema=[Field(name="spent", dtype=Float64), Field(name="count_amount_3600s", dtype=Int64)],
    aggregations=[Aggregation(column="amount", function="sum", time_window=timedelta(hours=1), name="spent"),
                  Aggregation(column="amount", function="count", time_window=timedelta(hours=1)),
                  Aggregation(column="amount", function="mode", time_window=timedelta(hours=1))])
made = BatchFeatureView(name="made", entities=[shop], ttl=timedelta(0), source=sales, mode="pandas", udf=lambda df: df,
                        schema=[Field(name="amount", dtype=Float64)])
far = FeatureView(name="far", entities=[shop], schema=[Field(name="x", dtype=Int64)],
                  source=BigQuerySource(name="bq", table="t", timestamp_field="at"))
aliased = FeatureService(name="aliased", features=[for_ever.with_join_key_map({"shop_id": "other"}), hourly[["spent"]]])
"""
SETTINGS = """
project: sales
registry: registry.db
provider: local
online_store: {type: sqlite, path: online.db}
entity_key_serialization_version: 3
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "onefold.toml").write_text('[project]\nname = "sales"\n')
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_quickstart_of_feast_gives_the_same_values(run: Run, project: Path) -> None:
    """The walk of docs/from-feast.md."""
    from feast import FeatureStore

    subprocess.run([FEAST, "init", "quick"], cwd=project.parent, check=True, capture_output=True)
    repo = project.parent / "quick" / "feature_repo"
    said = run("import-feast", str(repo), "--json").json
    assert {t for t in said["taken"] if t.startswith("view")} == {
        "view driver_hourly_stats", "view driver_hourly_stats_fresh"
    }  # fmt: skip
    for left in ("driver_hourly_stats.driver_metadata", "transformed_conv_rate", "driver_quality_labels"):
        assert any(left in line for line in said["left"]), left
    assert run("apply").code == run("materialize").code == 0

    features = ["conv_rate", "acc_rate", "avg_daily_trips"]
    subprocess.run([FEAST, "apply"], cwd=repo, check=True, capture_output=True)
    data = pd.read_parquet(repo / "data" / "driver_stats.parquet")
    asked = data[["driver_id", "event_timestamp"]].sample(40, random_state=1)
    asked["event_timestamp"] += pd.Timedelta(minutes=17)
    asked = pd.concat([asked, asked.assign(event_timestamp=asked.event_timestamp + pd.Timedelta(days=400))])
    names = [f"driver_hourly_stats:{f}" for f in features]
    theirs = FeatureStore(str(repo)).get_historical_features(asked, features=names).to_df()
    workspace = Workspace.find(project)
    plan = workspace.project.select(["driver_hourly_stats"])
    spine = pa.Table.from_pandas(asked, preserve_index=False)
    files = workspace.archive.files("driver_hourly_stats_source")
    ours = point_in_time(plan, {"driver_hourly_stats_source": files}, spine).to_pandas().assign(**asked.reset_index())
    both = theirs.merge(ours, on=["driver_id", "event_timestamp"], suffixes=("", "_ours"), how="outer")
    assert len(both) == len(asked)
    for feature in features:
        pd.testing.assert_series_equal(
            both[feature], both[f"{feature}_ours"], check_names=False, check_dtype=False, rtol=0, atol=0
        )
    assert both.conv_rate.isna().any() and both.conv_rate.notna().any()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "views.py").write_text(REPOSITORY)
    (repo / "feature_store.yaml").write_text(SETTINGS)
    times = pd.to_datetime(["2024-01-01 00:00", "2024-01-01 00:30"], utc=True)
    pd.DataFrame({"shop_id": [1, 1], "till_id": [1, 1], "at": times, "amt": [1.5, 2.5]}).to_parquet(
        repo / "sales.parquet"
    )
    return repo


def test_each_kind_of_view_is_taken_or_left_with_its_reason(run: Run, project: Path, repository: Path) -> None:
    said = run("import-feast", str(repository), "--json").json
    views = load_project(project / "features").views
    assert set(views) == {"newest", "for_ever", "hourly"}
    assert [f.name for f in views["hourly"].features] == ["spent", "count_amount_3600s"]
    assert "sum(amt) OVER w" in views["hourly"].sql and "INTERVAL 1 HOUR PRECEDING" in views["hourly"].sql
    assert "last_value(amt) OVER w AS amount" in views["newest"].sql
    assert "INTERVAL 90 MINUTES PRECEDING" in views["newest"].sql
    assert "RANGE UNBOUNDED PRECEDING" in views["for_ever"].sql
    assert views["newest"].definition.entity.key_names == ("shop_id", "till_id")
    assert views["newest"].definition.owner == "ada"
    left = "\n".join(said["left"])
    for reason in (
        "view made: a function of mode pandas makes its rows", "view far: its source bq is left",
        "source bq: it is a BigQuerySource", "feature hourly.mode_amount_3600s: mode(amount) has no counterpart",
    ):  # fmt: skip
        assert reason in left
    assert "service aliased: without for_ever" in "\n".join(said["notes"])
    assert run("apply").code == run("materialize").code == 0
    got = run("get", "hourly", "--key", "shop_id=1", "--at", "2024-01-01T01:10:00Z", "--json").json
    assert [f["value"] for f in got["features"]] == [2.5, 1]


def test_nothing_is_written_over_and_what_is_no_repository_is_said(run: Run, project: Path, repository: Path) -> None:
    assert "holds no feature_store.yaml" in run("import-feast", str(project), "--json").error["message"]
    assert run("import-feast", str(repository)).code == 0
    again = run("import-feast", str(repository), "--json")
    assert again.code == 2 and "is there already" in again.error["message"]
    (project / "features" / "from_feast.py").write_text(
        'from onefold import Entity\nshop = Entity(name="shop", keys={"other": "BIGINT"})\n'
    )
    more = run("import-feast", str(repository), "--name", "more.py", "--json")
    assert more.code and "does not go with" in more.error["message"]
    assert not (project / "features" / "more.py").exists()
    (repository / "views.py").write_text("import nothing_of_this_name")
    broken = run("import-feast", str(repository), "--name", "more.py", "--json")
    assert (
        "cannot be read by Feast: ModuleNotFoundError: No module named 'nothing_of_this_name'"
        in broken.error["message"]
    )
