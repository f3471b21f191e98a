from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from onefold import Avro, Branch, Entity, EventSource, FeatureView, Protobuf
from onefold.features.definition_records import by_key
from onefold.features.errors import StoreError
from onefold.features.project import Project
from onefold.registry import Record, Records, Registry
from onefold.registry.of_project import records_of
from onefold.registry.wire import PROJECT_NAME, SHAPES, tags
from tests.feast_command import feast


def entity(name: str, **keys: str) -> Record:
    body = {"keys": [[k, t] for k, t in keys.items()], "description": "", "owner": "", "tags": {}}
    return Record("entity", name, body)


def view(name: str, of: str, sql: str, fingerprint: str, **features: str) -> Record:
    listed = [{"name": n, "type": t, "fingerprint": fingerprint} for n, t in features.items()]
    return Record("view", name, {
        "source": "orders", "entity": of, "sql": sql, "fingerprint": fingerprint, "features": listed,
        "description": "what they spend", "owner": "ada", "tags": {"tier": "gold"},
    })  # fmt: skip


def service(name: str, fingerprint: str, **features: str) -> Record:
    listed = [{"name": n, "view": v, "type": "DOUBLE", "fingerprint": fingerprint} for n, v in features.items()]
    body = {"features": listed, "fingerprint": fingerprint, "description": "", "owner": "", "tags": {}}
    return Record("service", name, body)


SOURCE = Record("source", "orders", {
    "schema": [["customer_id", "BIGINT"], ["city", "VARCHAR"], ["day", "DATE"], ["ts", "TIMESTAMP"]],
    "event_time": "ts", "event_id": None, "path": "data/orders.parquet", "description": "", "owner": "", "tags": {},
})  # fmt: skip
ON_DEMAND = Record("on_demand", "ratios", {"sql": "SELECT a / b AS r", "fingerprint": "0d", "features": [
    {"name": "r", "type": "DOUBLE", "fingerprint": "0d"}], "description": "", "owner": "", "tags": {},
})  # fmt: skip


def definitions(*, sql: str = "SELECT sum(amount) OVER w AS spend", fingerprint: str = "aa") -> Records:
    return by_key([
        entity("customer", customer_id="BIGINT"),
        entity("place", city="VARCHAR", day="DATE"),
        SOURCE,
        view("spend", "customer", sql, fingerprint, spend="DOUBLE", n="BIGINT"),
        view("by_place", "place", "SELECT count(*) AS m", "bb", m="BIGINT"),
        ON_DEMAND,
        service("model", fingerprint, spend="spend", m="by_place", r="ratios"),
        service("computed", "0d", r="ratios"),
    ])  # fmt: skip


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "state" / "registry.db", project="shop", archive=tmp_path / "archive")


def file_of(registry: Registry) -> Path:
    assert registry.place.path is not None
    return registry.place.path


def feast_registry(registry: Registry) -> Any:
    from feast.infra.registry.sql import SqlRegistry, SqlRegistryConfig

    return SqlRegistry(SqlRegistryConfig(path=f"sqlite:///{registry.place.path}"), "shop", None)


def clicks(**said: Any) -> Records:
    schema = {"at": "TIMESTAMP", "user": "VARCHAR", "city": "VARCHAR"}
    source = EventSource(**({"name": "clicks", "schema": schema, "event_time": "at"} | said))
    sql = "SELECT count(*) OVER (RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW) AS n FROM clicks"
    user = Entity(name="user", keys={"user": "VARCHAR"})
    return records_of(Project.of(FeatureView(name="v", source=source, entity=user, sql=sql)))


def test_how_a_source_travels_is_read_back_and_changes_no_value(registry: Registry) -> None:
    plain, branches = clicks(), [Branch(name="web", topic="web", format=Protobuf(registry=True)), Branch(name="app")]
    first = clicks(topic="clicks", format=Avro(registry=True))
    registry.apply(first)
    assert registry.applied() == first
    (change,) = registry.apply(plain).changes
    assert {f.field for f in change.fields} == {"topic", "format"} and not change.logic
    (change,) = registry.apply(clicks(optional=("city",), drift="value_error")).changes
    assert {f.field for f in change.fields} == {"optional", "drift"} and change.logic
    registry.apply(clicks(branches=branches))
    assert registry.applied() == clicks(branches=branches)


def test_no_fingerprint_knows_how_a_source_travels() -> None:
    told = clicks(topic="t", format=Avro(registry=True), optional=("city",), drift="value_error")
    assert [r.fingerprint for r in clicks().values()] == [r.fingerprint for r in told.values()]


def test_nothing_is_applied_before_the_first_apply(registry: Registry) -> None:
    assert registry.applied() == {}


def test_what_was_applied_is_read_back_whole(registry: Registry) -> None:
    wanted = definitions()
    plan = registry.apply(wanted)
    assert {c.action for c in plan.changes} == {"added"} and len(plan.changes) == 8
    assert registry.applied() == wanted
    assert registry.apply(wanted).changes == ()


def test_feast_lists_what_was_applied(registry: Registry) -> None:
    registry.apply(definitions())
    feast = feast_registry(registry)
    found = {v.name: v for v in feast.list_feature_views("shop")}
    assert sorted(found) == ["by_place", "spend"]
    assert [f.name for f in found["spend"].features] == ["spend", "n"]
    assert found["spend"].join_keys == ["customer_id"]
    assert sorted(found["by_place"].join_keys) == ["city", "day"]
    assert found["spend"].tags["tier"] == "gold" and found["spend"].owner == "ada"
    services = {s.name: s for s in feast.list_feature_services("shop")}
    assert {p.name for p in services["model"].feature_view_projections} == {"spend", "by_place"}
    assert [e.name for e in feast.list_entities("shop")] == ["customer", "place__city", "place__day"]


def test_a_change_is_diffed_per_field_and_applied(registry: Registry) -> None:
    registry.apply(definitions())
    plan = registry.apply(definitions(sql="SELECT sum(amount) OVER d AS spend", fingerprint="cc"))
    assert [(c.action, c.kind, c.name) for c in plan.changes] == [
        ("changed", "view", "spend"),
        ("changed", "service", "model"),
    ]
    change = plan.changes[0]
    assert change.logic and plan.services_of(change) == ["model"]
    assert {f.field: (f.old, f.new) for f in change.fields}["fingerprint"] == ("aa", "cc")
    assert registry.applied()["view", "spend"].fingerprint == "cc"


def test_a_comment_changes_text_but_not_logic(registry: Registry) -> None:
    registry.apply(definitions())
    plan = registry.apply(definitions(sql="SELECT sum(amount) OVER w AS spend -- EUR"))
    assert [(c.name, c.logic) for c in plan.changes] == [("spend", False)]
    assert "-- EUR" in registry.applied()["view", "spend"].body["sql"]


def test_what_is_no_longer_defined_is_removed_from_feast_too(registry: Registry) -> None:
    registry.apply(definitions())
    kept = {
        key: r for key, r in definitions().items() if r.name not in ("by_place", "place", "model", "ratios", "computed")
    }
    plan = registry.apply(kept)
    assert {(c.action, c.name) for c in plan.changes} == {
        ("removed", n) for n in ("by_place", "place", "model", "ratios", "computed")
    }
    assert registry.applied() == kept
    assert [v.name for v in feast_registry(registry).list_feature_views("shop")] == ["spend"]


def test_reading_does_not_import_feast(registry: Registry) -> None:
    registry.apply(definitions())
    code = (
        "import sys; from pathlib import Path; from onefold.registry import Registry;"
        f"r = Registry(Path({str(registry.place.path)!r}), project='shop', archive=Path('/'));"
        "assert len(r.applied()) == 8; assert not {'feast', 'sqlalchemy', 'google.protobuf'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_feast_command_line_shows_the_views(registry: Registry) -> None:
    registry.apply(definitions())
    shown = feast(file_of(registry).parent, "feature-views", "list")
    assert "spend" in shown and "by_place" in shown


def test_field_numbers_are_those_of_feast() -> None:
    from feast.protos.feast.core import Registry_pb2

    whole = Registry_pb2.Registry.DESCRIPTOR
    for shape in SHAPES:
        message = whole.fields_by_number[shape.field].message_type
        assert message.name == shape.message
        project = PROJECT_NAME if shape.message == "Project" else shape.project
        for path, name in ((shape.path, "tags"), (project, "name" if shape.message == "Project" else "project")):
            found = message
            for number in path[:-1]:
                found = found.fields_by_number[number].message_type
            assert found.fields_by_number[path[-1]].name == name


def test_bytes_that_are_no_message_are_refused() -> None:
    for bad in (b"\x0a\x7fabc", b"\x0b", b"\xff\xff", b"\x0a\x04\x0a\x02\xff\xfe"):
        with pytest.raises(StoreError, match="registry"):
            tags(bad, (1,))


def test_a_file_that_is_no_registry_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    path.write_bytes(b"not a database, and long enough to be read as one" * 40)
    with pytest.raises(StoreError, match="cannot be read"):
        Registry(path, project="shop", archive=tmp_path).applied()


def test_a_record_of_another_format_is_refused(registry: Registry) -> None:
    text = json.loads(SOURCE.to_json()) | {"format": 99}
    with pytest.raises(StoreError, match="format 99"):
        Record.from_json(json.dumps(text))
    with pytest.raises(StoreError, match="cannot be read"):
        Record.from_json("{")


def test_a_registry_that_does_not_keep_what_it_was_given_is_an_error(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.apply(definitions())
    trigger = "CREATE TRIGGER freeze BEFORE UPDATE ON feature_views BEGIN SELECT RAISE(IGNORE); END"
    with sqlite3.connect(file_of(registry)) as connection:
        connection.execute(trigger)
    with pytest.raises(StoreError, match="did not take: view spend"):
        registry.apply(definitions(sql="SELECT 1 AS spend", fingerprint="ee"))
