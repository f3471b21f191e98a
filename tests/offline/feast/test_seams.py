"""Where the offline side holds on to Feast: what a new release could move."""

from __future__ import annotations

import inspect
from typing import Any

import pytest


def parameters(thing: Any) -> list[str]:
    return list(inspect.signature(thing).parameters)


@pytest.mark.parametrize(
    "name",
    ["pull_latest_from_table_or_query", "pull_all_from_table_or_query", "write_logged_features", "offline_write_batch"],
)
def test_the_offline_store_is_called_so(name: str) -> None:
    """`onefold.offline.feast.store` overrides these static methods."""
    from feast.infra.offline_stores.offline_store import OfflineStore

    from onefold.offline.feast import OnefoldOfflineStore

    assert parameters(getattr(OnefoldOfflineStore, name)) == parameters(getattr(OfflineStore, name))


def test_history_is_asked_for_so() -> None:
    from feast.infra.offline_stores.offline_store import OfflineStore

    from onefold.offline.feast import OnefoldOfflineStore

    asked = parameters(OfflineStore.get_historical_features)
    assert asked == [
        "config", "feature_views", "feature_refs", "entity_df", "registry", "project", "full_feature_names"
    ]  # fmt: skip
    ours = parameters(OnefoldOfflineStore.get_historical_features)
    assert ours == [*asked, "start_date", "end_date", "filter_by_created_timestamp"]


def test_a_job_leaves_these_to_its_store() -> None:
    """`onefold.offline.feast.job`."""
    from feast.infra.offline_stores.offline_store import RetrievalJob

    from onefold.offline.feast.job import OnefoldRetrievalJob

    names = ["_to_df_internal", "_to_arrow_internal", "persist", "to_sql", "to_remote_storage", "metadata",
             "full_feature_names", "on_demand_feature_views", "supports_remote_storage_export"]  # fmt: skip
    for name in names:
        assert hasattr(RetrievalJob, name) and name in vars(OnefoldRetrievalJob), name


def test_stores_and_engines_are_found_by_the_names_of_their_settings() -> None:
    from feast.infra.offline_stores.offline_utils import get_offline_store_from_config
    from feast.repo_config import get_batch_engine_config_from_type, get_offline_config_from_type

    from onefold.offline.feast import OnefoldOfflineStore, OnefoldOfflineStoreConfig

    assert get_offline_config_from_type("onefold.offline.feast.OnefoldOfflineStore") is OnefoldOfflineStoreConfig
    assert isinstance(get_offline_store_from_config(OnefoldOfflineStoreConfig()), OnefoldOfflineStore)
    engine = get_batch_engine_config_from_type("onefold.feast_engine.OnefoldComputeEngine")
    assert engine.__name__ == "OnefoldComputeEngineConfig"


def test_a_compute_engine_is_called_so() -> None:
    """`onefold.feast_engine`."""
    from feast.infra.compute_engines.base import ComputeEngine
    from feast.utils import _convert_arrow_to_proto

    assert parameters(ComputeEngine.__init__) == ["self", "repo_config", "offline_store", "online_store", "kwargs"]
    assert parameters(ComputeEngine.materialize) == ["self", "registry", "tasks", "lineage_parent", "kwargs"]
    assert parameters(_convert_arrow_to_proto) == ["table", "feature_view", "join_keys"]


def test_references_are_taken_apart_so() -> None:
    from feast.utils import _get_requested_feature_views_to_features_dict, compute_non_entity_date_range

    asked = parameters(_get_requested_feature_views_to_features_dict)
    assert asked == ["feature_refs", "feature_views", "on_demand_feature_views"]
    assert parameters(compute_non_entity_date_range)[:3] == ["feature_views", "start_date", "end_date"]
