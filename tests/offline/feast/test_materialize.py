"""`feast materialize` by Onefold's engine: plain views by DuckDB and by Spark, Onefold's own views as states."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from feast import BatchFeatureView, FeatureStore, FileSource
from feast.field import Field
from feast.repo_config import RepoConfig
from feast.types import Float64, Int64

from onefold.cli import main
from onefold.features.errors import ConfigError
from onefold.scaffold import create
from tests.feast_command import feast
from tests.offline.feast.conftest import OURS, at, parquet, view
from tests.offline.feast.functions import hundred

ENGINE = "onefold.feast_engine.OnefoldComputeEngine"
NOW = 1_767_225_600_000_000
"""2026-01-01 00:00 UTC: where the data of the test projects ends."""
Made = Callable[..., Any]


def day(hours: float) -> datetime:
    moment: datetime = at(hours).tz_localize("UTC").to_pydatetime()
    return moment


@pytest.fixture(params=["duckdb", "spark"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    """A repository whose views are materialised by each engine into Feast's own online store."""
    if request.param == "spark":
        request.getfixturevalue("spark")

    def open_store(**engine: Any) -> Any:
        config = RepoConfig(
            project="p", provider="local", registry=str(tmp_path / "registry.db"), offline_store={"type": OURS},
            online_store={"type": "sqlite", "path": str(tmp_path / "online.db")}, entity_key_serialization_version=3,
            batch_engine={"type": ENGINE, "engine": request.param} | engine,
        )  # fmt: skip
        config.repo_path = tmp_path
        return FeatureStore(config=config)

    return open_store


def online(store: Any, *features: str, ids: list[int]) -> dict[str, list[Any]]:
    found = store.get_online_features(features=list(features), entity_rows=[{"id": i} for i in ids]).to_dict()
    return {name: values for name, values in found.items() if name != "id"}


def test_the_newest_row_of_each_key_goes_online(made: Made, tmp_path: Path) -> None:
    path = parquet(
        tmp_path / "v.parquet",
        theirs=[1, 1, 1, 2, None, 3], ts=[at(0), at(2), at(2), at(1), at(1), at(9)],
        made=[at(0), at(3), at(2), at(1), at(1), at(9)], raw=[1.0, 2.0, 3.0, None, 5.0, 6.0], n=range(6),
    )  # fmt: skip
    source = FileSource(
        name="s", path=path, timestamp_field="ts", created_timestamp_column="made",
        field_mapping={"theirs": "id", "raw": "x"},
    )  # fmt: skip
    v, ids = view("v", source, ttl=timedelta(days=36500), x=Float64, n=Int64)
    store = made()
    store.apply([*ids, v])
    store.materialize(day(0), day(1))
    assert online(store, "v:x", ids=[1, 2]) == {"x": [1.0, None]}
    store.materialize_incremental(day(3))
    assert online(store, "v:x", "v:n", ids=[1, 2, 3]) == {"x": [2.0, None, None], "n": [1, 3, None]}
    assert store.get_feature_view("v").materialization_intervals[-1][1] == day(3)


def test_a_view_that_fails_is_said_and_the_others_go_on(made: Made, tmp_path: Path) -> None:
    good = FileSource(
        name="good", path=parquet(tmp_path / "g.parquet", id=[1], ts=[at(0)], x=[1.0]), timestamp_field="ts"
    )
    lost = FileSource(
        name="lost", path=parquet(tmp_path / "l.parquet", id=[1], ts=[at(0)], x=[1.0]), timestamp_field="ts"
    )
    a, ids = view("a", lost, x=Float64)
    b, _ = view("b", good, x=Float64)
    store = made()
    store.apply([*ids, a, b])
    (tmp_path / "l.parquet").unlink()
    with pytest.raises(Exception, match=r"l\.parquet"):
        store.materialize(day(0), day(1))
    assert online(store, "b:x", ids=[1]) == {"x": [1.0]}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project of Onefold that is applied, its registry open to Feast."""
    from onefold.online.feast.opened import close_stores

    folder = create("shop", tmp_path / "shop", now=NOW)
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as exit_:
        main(["apply"])
    assert not exit_.value.code
    yield folder
    close_stores()


@pytest.mark.parametrize("engine", ["duckdb", "spark"])
def test_windows_go_online_as_states(shop: Path, engine: str) -> None:
    """By `feast materialize` itself, with what `onefold apply` wrote; the value is that of history."""
    file = shop / ".onefold" / "feature_store.yaml"
    said = json.loads(file.read_text())
    assert said["batch_engine"]["type"] == ENGINE and said["offline_store"]["type"] == OURS
    file.write_text(json.dumps(said | {"batch_engine": said["batch_engine"] | {"engine": engine}}))
    feast(file.parent, "materialize-incremental", "2026-01-01T00:00:00")
    store = FeatureStore(str(file.parent))
    features = ["customer_spend:orders_30d", "customer_spend:spend_7d"]
    now = datetime.now(UTC)
    asked = pd.DataFrame({"customer_id": [42, 199, 1_000_000], "event_timestamp": [pd.Timestamp(now)] * 3})
    history = store.get_historical_features(asked, features=features).to_df()
    rows = [{"customer_id": key} for key in asked.customer_id]
    served = store.get_online_features(features=features, entity_rows=rows).to_dict()
    assert served["orders_30d"] == history.orders_30d.tolist()
    at_its_end = asked.assign(event_timestamp=pd.Timestamp("2026-01-01", tz="UTC"))
    assert store.get_historical_features(at_its_end, features=features).to_df().orders_30d.tolist()[0] > 0


def test_states_are_built_beside_an_online_store_that_is_open(shop: Path) -> None:
    store = FeatureStore(str(shop / ".onefold"))
    with pytest.raises(Exception, match="materialize"):
        store.get_online_features(features=["customer_spend:orders_30d"], entity_rows=[{"customer_id": 42}]).to_dict()
    store.materialize(day(0), datetime(2026, 1, 1))
    found = store.get_online_features(features=["customer_spend:orders_30d"], entity_rows=[{"customer_id": 42}])
    assert found.to_dict()["customer_id"] == [42]


def test_where_there_is_no_project_it_is_said(shop: Path, tmp_path: Path) -> None:
    from onefold.feast_engine import OnefoldComputeEngine

    config = FeatureStore(str(shop / ".onefold")).config
    config.repo_path = tmp_path
    engine = OnefoldComputeEngine(repo_config=config, offline_store=None, online_store=None)
    with pytest.raises(ConfigError, match=r"there is no onefold\.toml at or above"):
        engine._workspace()


def test_a_function_of_a_batch_view_is_the_same_online_and_in_history(opened: Any, tmp_path: Path) -> None:
    """Feast's own engine applies it to what goes online only."""
    path = parquet(tmp_path / "b.parquet", id=[1], ts=[at(0)], raw=[1.5])
    v, ids = view("unused", FileSource(name="s", path=path, timestamp_field="ts"), x=Float64)

    batch = BatchFeatureView(
        name="b", entities=ids, ttl=timedelta(days=36500), source=v.batch_source, online=True, mode="pandas",
        udf=hundred, schema=[Field(name="x", dtype=Float64)],
    )  # fmt: skip
    store = opened(batch_engine={"type": ENGINE})
    store.apply([*ids, batch])
    store.materialize(day(0), day(1))
    asked = pd.DataFrame({"id": [1], "event_timestamp": [at(1)]})
    assert store.get_historical_features(asked, features=["b:x"]).to_df().x.tolist() == [150.0]
    assert online(store, "b:x", ids=[1]) == {"x": [150.0]}
