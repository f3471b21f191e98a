"""What is known to be wrong in Feast 0.67, and that it is right here: each test shows both."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from onefold.features import ir
from onefold.registry import Registry
from onefold.registry.of_project import records_of
from tests.feast.conftest import NOW, Make, drivers, frame, statuses
from tests.registry.worlds import everything

ALL = ["stats:rate", "stats:trips", "stats:name"]
ONE = [{"driver_id": 1}]


def test_an_older_push_does_not_replace_a_newer_value(
    make: Make, online: dict[str, Any], feasts: dict[str, Any], tmp_path: Path
) -> None:
    found = {}
    for name, config in (("ours", online), ("theirs", feasts)):
        store = make(config, *drivers(tmp_path), name=name)
        store.push("push", frame((1, NOW, 0.5, 5, "new")))
        store.push("push", frame((1, NOW - timedelta(hours=1), 0.1, 1, "old")))
        found[name] = store.get_online_features(features=ALL, entity_rows=ONE).to_dict()["name"]
    assert found == {"ours": ["new"], "theirs": ["old"]}


def test_a_value_beyond_its_time_to_live_is_not_served(
    make: Make, online: dict[str, Any], feasts: dict[str, Any], tmp_path: Path
) -> None:
    found = {}
    for name, config in (("ours", online), ("theirs", feasts)):
        store = make(config, *drivers(tmp_path, ttl=timedelta(hours=1)), name=name)
        store.push("push", frame((1, NOW - timedelta(hours=2), 0.5, 5, "old"), (2, NOW, 0.7, 7, "new")))
        answer = store.get_online_features(features=ALL, entity_rows=[{"driver_id": 1}, {"driver_id": 2}])
        found[name] = (answer.to_dict()["rate"], statuses(answer, "rate"))
    assert found["ours"] == ([None, 0.7], ["OUTSIDE_MAX_AGE", "PRESENT"])
    assert found["theirs"] == ([0.5, 0.7], ["PRESENT", "PRESENT"])


def test_a_stored_null_says_so_and_a_missing_key_too(
    make: Make, online: dict[str, Any], feasts: dict[str, Any], tmp_path: Path
) -> None:
    found = {}
    for name, config in (("ours", online), ("theirs", feasts)):
        store = make(config, *drivers(tmp_path), name=name)
        store.push("push", frame((1, NOW, None, 5, None)))
        answer = store.get_online_features(features=ALL, entity_rows=[{"driver_id": 1}, {"driver_id": 2}])
        assert answer.to_dict()["name"] == [None, None]
        found[name] = {feature: statuses(answer, feature) for feature in ("name", "trips")}
    assert found["ours"] == {"name": ["NULL_VALUE", "NOT_FOUND"], "trips": ["PRESENT", "NOT_FOUND"]}
    assert found["theirs"] == {"name": ["PRESENT", "NOT_FOUND"], "trips": ["PRESENT", "NOT_FOUND"]}


def test_windows_survive_the_registry_where_feast_loses_aggregations(
    make: Make, feasts: dict[str, Any], tmp_path: Path
) -> None:
    from feast import BatchFeatureView, Field
    from feast.aggregation import Aggregation
    from feast.types import Float64, Int64

    driver, push, _ = drivers(tmp_path)
    summed = Aggregation(column="rate", function="sum", time_window=timedelta(days=1))
    view = BatchFeatureView(
        name="summed", entities=[driver], source=push.batch_source, aggregations=[summed], online=True,
        schema=[Field(name="driver_id", dtype=Int64), Field(name="rate", dtype=Float64)],
    )  # fmt: skip
    assert view.aggregations == [summed]
    store = make(feasts, driver, push.batch_source, view)
    assert not getattr(store.registry.get_feature_view("summed", "feast"), "aggregations", None)

    registry = Registry(tmp_path / "registry.db", project="shop", archive=tmp_path)
    registry.apply(records_of(everything()))
    again = registry.project().views["spend"]
    assert [ir.aggregates(f.expr) for f in again.features] == [
        ir.aggregates(f.expr) for f in everything().views["spend"].features
    ]


def test_feast_unpickles_what_a_registry_holds_and_ours_holds_nothing(
    make: Make, feasts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function whose text cannot be run alone is loaded from its pickled bytes, whatever these do."""
    import dill  # type: ignore[import-untyped] # it ships no types
    from feast import Field
    from feast.on_demand_feature_view import OnDemandFeatureView
    from feast.transformation.python_transformation import PythonTransformation
    from feast.types import Float64

    loaded: list[bytes] = []
    real = dill.loads

    def watched(raw: bytes, *rest: Any, **more: Any) -> Any:
        loaded.append(raw)
        return real(raw, *rest, **more)

    monkeypatch.setattr(dill, "loads", watched)
    driver, push, view = drivers(tmp_path)
    doubled = OnDemandFeatureView(
        name="doubled", sources=[view], mode="python", schema=[Field(name="twice", dtype=Float64)],
        feature_transformation=PythonTransformation(udf=lambda rows: {"twice": rows["rate"]}, udf_string="lambda: ("),
    )  # fmt: skip
    store = make(feasts, driver, push, view)
    store.registry.apply_feature_view(doubled, "feast")
    store.registry.list_on_demand_feature_views("feast")
    assert loaded

    loaded.clear()
    registry = Registry(tmp_path / "registry.db", project="shop", archive=tmp_path)
    registry.apply(records_of(everything()))
    from feast import FeatureStore

    ours = FeatureStore(repo_path=str(tmp_path)).registry
    assert [v.name for v in ours.list_on_demand_feature_views("shop")] == ["ratio"]
    held = ours.proto()
    assert all(not v.spec.feature_transformation.user_defined_function.body for v in held.on_demand_feature_views)
    assert not loaded
