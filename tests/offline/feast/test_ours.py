"""Onefold's views behind Feast's API: the values are the engine's, whatever the entity dataframe looks like."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from feast import FeatureStore

from onefold import Entity, EventSource, FeatureView, OnDemandView, compute
from onefold.features.errors import InputError
from onefold.features.project import Project
from onefold.offline.archive import DeltaArchive
from onefold.registry import Registry
from onefold.registry.of_project import records_of
from tests.offline.feast.conftest import OURS, at, plain

DAY, HOUR = 86_400_000_000, 3_600_000_000
SCHEMA = {
    "user": "BIGINT",
    "shop": "VARCHAR",
    "day": "DATE",
    "price": "DECIMAL(10,2)",
    "ms": "DOUBLE",
    "ts": "TIMESTAMP",
}
CLICKS = EventSource(name="clicks", schema=SCHEMA, event_time="ts")
USER = Entity(name="user", keys={"user": "BIGINT"})
BOTH = Entity(name="pair", keys={"user": "BIGINT", "shop": "VARCHAR"})
HOURS = FeatureView(name="hours", source=CLICKS, entity=USER, sql=(
    "SELECT count(*) OVER h AS n, sum(ms) OVER h AS ms, last_value(day) OVER h AS day, sum(price) OVER h AS paid "
    "FROM clicks WINDOW h AS (RANGE BETWEEN INTERVAL 2 HOURS PRECEDING AND CURRENT ROW)"
))  # fmt: skip
PAIRS = FeatureView(name="pairs", source=CLICKS, entity=BOTH, sql=(
    "SELECT count(*) OVER d AS n FROM clicks WINDOW d AS (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW)"
))  # fmt: skip

RATIO = OnDemandView(
    name="ratio", views=[HOURS], request={"basket": "DOUBLE"}, sql="SELECT basket / ms AS of_usual, n + 1 AS next"
)


def events() -> pa.Table:
    hours = [0, 0.5, 1, 1, 3]
    return pa.table({
        "user": [1, 1, 2, 1, None], "shop": ["a", "b", "a", "a", "a"],
        "day": pa.array([19_000 + i for i in range(5)], pa.int32()).cast(pa.date32()),
        "price": pa.array(["1.10", "2.20", "3.30", None, "5.50"]).cast(pa.decimal128(10, 2)),
        "ms": [0.1, 0.2, 0.3, 0.4, 0.5],
        "ts": pa.array([at(h) for h in hours], pa.timestamp("us", "UTC")),
    })  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Any:
    """A stock Feast client over what Onefold applied."""
    from feast.repo_config import RepoConfig

    archive = DeltaArchive(tmp_path / "archive")
    rows = events().append_column("_offset", pa.array(range(5), pa.int64()))
    archive.append("clicks", archive.sequence("clicks", "feed"), rows)
    state = tmp_path / "state"
    registry = Registry(state / "registry.db", project="shop", archive=tmp_path / "archive")
    registry.apply(records_of(Project.of(HOURS, PAIRS, RATIO)))
    return FeatureStore(config=RepoConfig(
        project="shop", provider="local", registry={"registry_type": "sql", "path": f"sqlite:///{state}/registry.db"},
        offline_store={"type": OURS}, online_store={"type": "sqlite", "path": str(tmp_path / "online.db")},
        entity_key_serialization_version=3,
    ))  # fmt: skip


def test_windows_are_the_engines_own(store: Any) -> None:
    asked = pd.DataFrame(
        {"user": [1, 2, 1, 7], "event_timestamp": [at(2), at(2), at(0.5), at(1)], "label": [0, 1, 2, 3]}
    )
    job = store.get_historical_features(asked, features=["hours:n", "hours:ms"], full_feature_names=True)
    found = job.to_arrow()
    spine = pa.table(
        {"user": asked.user, "event_timestamp": pa.array(asked.event_timestamp, pa.timestamp("us", "UTC"))}
    )
    right = compute(HOURS, {"clicks": events()}, spine)
    assert found.column_names == ["user", "event_timestamp", "label", "hours__n", "hours__ms"]
    assert found["hours__n"].to_pylist() == right["n"].to_pylist() == [3, 1, 2, 0]
    assert found["hours__ms"].to_pylist() == right["ms"].to_pylist()


def test_types_are_those_that_the_registry_declares(store: Any) -> None:
    asked = pd.DataFrame({"user": [1], "event_timestamp": [at(2)]})
    found = store.get_historical_features(asked, features=["hours:day", "hours:paid"]).to_arrow()
    assert found["day"].to_pylist() == [datetime(2022, 1, 11, tzinfo=UTC)]
    assert found["paid"].to_pylist() == ["3.30"]


def test_on_demand_views_are_the_engines_too(store: Any) -> None:
    asked = pd.DataFrame({"user": [1, 7], "event_timestamp": [at(2), at(2)], "basket": [1.4, 1.0]})
    names = ["ratio:of_usual", "ratio:next", "hours:ms"]
    found = store.get_historical_features(asked, features=names, full_feature_names=True).to_df()
    assert found.ratio__next.tolist() == [4, 1]
    assert plain(found.ratio__of_usual) == [1.4 / found.hours__ms[0], None]


def test_a_missing_key_or_time_loses_no_row(store: Any) -> None:
    asked = pd.DataFrame({"user": [1, None, 1], "event_timestamp": [at(2), at(2), pd.NaT], "label": [0, 1, 2]})
    found = store.get_historical_features(asked, features=["hours:n"]).to_df()
    assert found.label.tolist() == [0, 1, 2] and plain(found.n) == [3, 0, None]


def test_aliases_read_other_columns(store: Any) -> None:
    from feast import FeatureService

    hours = store.get_feature_view("hours")
    aliased = [hours[["n"]].with_name(k).with_join_key_map({"user": k}) for k in ("buyer", "seller")]
    store.apply([FeatureService(name="two", features=aliased)])
    asked = pd.DataFrame({"buyer": [1, 2], "seller": [2, 1], "event_timestamp": [at(2), at(2)]})
    found = store.get_historical_features(asked, features=store.get_feature_service("two"), full_feature_names=True)
    assert (found.to_df().buyer__n.tolist(), found.to_df().seller__n.tolist()) == ([3, 1], [1, 3])


def test_several_keys_sql_and_the_keys_between_two_times(store: Any) -> None:
    query = "SELECT 1 AS user, 'a' AS shop, TIMESTAMP '2024-01-01 02:00:00' AS event_timestamp"
    assert store.get_historical_features(query, features=["pairs:n"]).to_df().n.tolist() == [2]
    between = {"start_date": at(0.25).to_pydatetime(), "end_date": at(4).to_pydatetime()}
    found = store.get_historical_features(features=["pairs:n"], **between).to_df()
    rows = [tuple(plain(r)) for r in found[["user", "shop", "n"]].itertuples(index=False)]
    assert rows == [(1, "a", 2), (1, "b", 1), (2, "a", 1), (None, "a", 0)]


def test_windows_and_plain_views_in_one_retrieval(store: Any, tmp_path: Path) -> None:
    from feast import FileSource
    from feast.types import Float64

    from tests.offline.feast.conftest import parquet, view

    path = parquet(tmp_path / "plain.parquet", user=[1], ts=[at(0)], x=[0.5])
    v, _ = view("v", FileSource(name="s", path=path, timestamp_field="ts"), keys=("user",), x=Float64)
    store.apply([v])
    asked = pd.DataFrame({"user": [1, 2], "event_timestamp": [at(2), at(2)]})
    found = store.get_historical_features(asked, features=["v:x", "hours:n"]).to_df()
    assert (plain(found.x), found.n.tolist()) == ([0.5, None], [3, 1])


def test_what_does_not_go_is_said(store: Any) -> None:
    from onefold.offline.feast import OnefoldOfflineStore

    hours = store.get_feature_view("hours")
    with pytest.raises(InputError, match="its values cannot be written; send events"):
        OnefoldOfflineStore.offline_write_batch(store.config, hours, events(), None)
    asked = pd.DataFrame({"user": ["x"], "event_timestamp": [at(2)]})
    with pytest.raises(InputError, match="'user' is string, asked for is BIGINT"):
        store.get_historical_features(asked, features=["hours:n"]).to_df()
    job = store.get_historical_features(asked, features=["hours:n"])
    with pytest.raises(InputError, match="views hours are Onefold's"):
        job.to_sql()
