"""One body of tests for every place of a registry: SQLite, PostgreSQL and a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from onefold.features.definition_records import by_key
from onefold.features.errors import ConfigError, StoreError
from onefold.registry import Registry
from onefold.registry.of_project import records_of
from onefold.registry.place import Place
from tests.feast_command import feast
from tests.registry.worlds import everything

if TYPE_CHECKING:
    from tests.services.postgresql import PostgreSQL

PLACES = ("sqlite", "postgresql", "file")
EVERYTHING = records_of(everything())


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    from tests.services.postgresql import PostgreSQL

    with PostgreSQL() as server:
        yield server


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty registry of each kind."""
    if request.param == "sqlite":
        return Place.of(tmp_path / "state" / "registry.db")
    if request.param == "file":
        return Place.of("file:state/registry.pb", below=tmp_path)
    server: PostgreSQL = request.getfixturevalue("postgresql")
    import psycopg

    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return Place.of(server.url)


@pytest.fixture
def registry(place: Place, tmp_path: Path) -> Registry:
    return Registry(place, project="shop", archive=tmp_path / "archive", state=tmp_path / "state", kafka="broker:9092")


def of_feast(registry: Registry, tmp_path: Path) -> Any:
    from feast import FeatureStore

    return FeatureStore(repo_path=str(tmp_path / "state")).registry


def test_what_is_applied_is_read_back_and_rebuilt(registry: Registry) -> None:
    assert registry.applied() == {}
    assert len(registry.apply(EVERYTHING).changes) == len(EVERYTHING)
    assert registry.applied() == EVERYTHING
    assert registry.apply(EVERYTHING).changes == ()
    assert records_of(registry.project()) == EVERYTHING


def test_feast_finds_every_object(registry: Registry, tmp_path: Path) -> None:
    from feast import FileSource, KafkaSource

    registry.apply(EVERYTHING)
    found = of_feast(registry, tmp_path)
    views = {v.name: v for v in found.list_feature_views("shop")}
    assert sorted(views) == ["clicks", "everyone", "prices", "spend"]
    assert views["spend"].tags["tier"] == "gold" and views["spend"].description == "what they spend"
    assert isinstance(views["spend"].stream_source, KafkaSource) and isinstance(views["spend"].batch_source, FileSource)
    assert [f.name for f in views["spend"].features] == ["total_1d", "total_7d", "orders"]
    kafka = found.get_data_source("orders", "shop")
    assert kafka.kafka_options.topic == "orders" and kafka.kafka_options.kafka_bootstrap_servers == "broker:9092"
    assert sorted(s.name for s in found.list_data_sources("shop")) == ["clicks", "orders", "orders__archive"]
    (ratio,) = found.list_on_demand_feature_views("shop")
    assert [f.name for f in ratio.features] == ["per_click", "share"] and ratio.owner == "bob"
    assert "total_1d / clicks" in ratio.feature_transformation.udf_string
    services = {s.name: s for s in found.list_feature_services("shop")}
    assert [p.name for p in services["scores"].feature_view_projections] == ["ratio", "spend", "everyone"]
    entity = found.get_entity("user", "shop")
    assert (entity.join_key, entity.owner, entity.tags["team"]) == ("user_id", "ada", "growth")


def test_nothing_is_pickled(registry: Registry, tmp_path: Path) -> None:
    registry.apply(EVERYTHING)
    for held in of_feast(registry, tmp_path).proto().on_demand_feature_views:
        function = held.spec.feature_transformation.user_defined_function
        assert function.body == b"" and function.body_text.startswith(f"def {held.spec.name}(inputs):")


def test_nothing_is_unpickled(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dill  # type: ignore[import-untyped] # it ships no types

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("bytes of the registry were unpickled")

    registry.apply(EVERYTHING)
    monkeypatch.setattr(dill, "loads", refuse)
    found = of_feast(registry, tmp_path)
    assert [v.name for v in found.list_on_demand_feature_views("shop")] == ["ratio"]
    assert len(found.list_all_feature_views("shop")) == 5


def test_a_change_keeps_what_feast_knows_of_a_view(registry: Registry, tmp_path: Path) -> None:
    from datetime import UTC, datetime

    registry.apply(EVERYTHING)
    found = of_feast(registry, tmp_path)
    before = found.get_feature_view("prices", "shop")
    since, until = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    found.apply_materialization(before, "shop", since, until)
    changed = dict(EVERYTHING)
    record = changed["view", "prices"]
    features = [*record.body["features"], {**record.body["features"][0], "name": "more"}]
    changed["view", "prices"] = type(record)("view", "prices", {**record.body, "features": features})
    registry.apply(changed)
    after = of_feast(registry, tmp_path).get_feature_view("prices", "shop")
    assert after.materialization_intervals == [(since, until)]
    assert after.created_timestamp == before.created_timestamp
    assert [f.name for f in after.features] == ["top", "lines", "more"]
    assert after.current_version_number == 1


def test_what_is_no_longer_defined_is_gone(registry: Registry, tmp_path: Path) -> None:
    registry.apply(EVERYTHING)
    kept = by_key(r for r in EVERYTHING.values() if r.name in ("orders", "place", "prices", "plain", "orders.place"))
    registry.apply(kept)
    assert registry.applied() == kept
    found = of_feast(registry, tmp_path)
    assert [v.name for v in found.list_all_feature_views("shop")] == ["prices"]
    assert sorted(s.name for s in found.list_data_sources("shop")) == ["orders", "orders__archive"]
    assert [s.name for s in found.list_feature_services("shop")] == ["plain"]


def test_feasts_own_commands_show_it(registry: Registry, tmp_path: Path) -> None:
    registry.apply(EVERYTHING)
    views = feast(tmp_path / "state", "feature-views", "list")
    assert all(name in views for name in ("spend", "prices", "clicks", "everyone"))
    dumped = json.loads(feast(tmp_path / "state", "registry-dump"))
    assert {v["spec"]["name"] for v in dumped["featureViews"]} == {"spend", "prices", "clicks", "everyone"}
    assert dumped["onDemandFeatureViews"][0]["spec"]["name"] == "ratio"


def test_two_projects_share_a_place(place: Place, tmp_path: Path) -> None:
    first, second = (Registry(place, project=name, archive=tmp_path) for name in ("first", "second"))
    first.apply(EVERYTHING)
    kept = by_key(r for r in EVERYTHING.values() if r.name in ("clicks", "user", "clicks.user"))
    second.apply(kept)
    assert first.applied() == EVERYTHING and second.applied() == kept


def test_a_place_that_cannot_be_reached_is_named_without_its_password(tmp_path: Path) -> None:
    registry = Registry("postgresql://me:secret@127.0.0.1:1/none", project="shop", archive=tmp_path)
    with pytest.raises(StoreError, match=r"registry postgresql://127\.0\.0\.1:1/none cannot be read") as refused:
        registry.applied()
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["mysql://host/db", "registry.db", "sqlite:", "file:"])
def test_a_url_of_no_registry_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="write postgresql://"):
        Place.of(url)


def test_a_source_that_loses_its_topic_leaves_nothing_behind(registry: Registry, tmp_path: Path) -> None:
    registry.apply(EVERYTHING)
    changed = dict(EVERYTHING)
    record = changed["source", "orders"]
    changed["source", "orders"] = type(record)("source", "orders", {**record.body, "topic": None})
    registry.apply(changed)
    assert registry.applied() == changed
    assert sorted(s.name for s in of_feast(registry, tmp_path).list_data_sources("shop")) == ["clicks", "orders"]
