"""Plain views of Feast over our online store: as its documentation has it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.feast.conftest import NOW, Make, drivers, frame, statuses

ALL = ["stats:rate", "stats:trips", "stats:name"]
ROWS = [{"driver_id": 1}, {"driver_id": 2}, {"driver_id": 3}]


def _of_all_types() -> tuple[dict[str, Any], dict[str, Any]]:
    """A type of Feast by a name, and a value of it."""
    from feast.types import (
        Array,
        Bool,
        Bytes,
        Float32,
        Float64,
        Int32,
        Int64,
        Map,
        String,
        UnixTimestamp,
        Uuid,
    )  # fmt: skip

    kinds = {
        "i32": (Int32, 7), "i64": (Int64, 2**62), "f32": (Float32, 0.1), "f64": (Float64, 0.1), "yes": (Bool, True),
        "text": (String, "für"), "raw": (Bytes, b"\x00\xff"), "at": (UnixTimestamp, NOW),
    }  # fmt: skip
    lists = {f"{name}s": (Array(kind), [value, value]) for name, (kind, value) in kinds.items()}
    others = {"map": (Map, {"a": 1, "b": "x"}), "id": (Uuid, "6ba7b810-9dad-11d1-80b4-00c04fd430c8")}
    whole = {**kinds, **lists, **others}
    return {n: k for n, (k, _) in whole.items()}, {n: v for n, (_, v) in whole.items()}


def test_every_type_is_given_back_as_feast_does(
    make: Make, online: dict[str, Any], feasts: dict[str, Any], tmp_path: Path
) -> None:
    import pandas as pd

    schema, values = _of_all_types()
    found = []
    for name, config in (("ours", online), ("theirs", feasts)):
        store = make(config, *drivers(tmp_path, schema=schema), name=name)
        store.push("push", pd.DataFrame([{"driver_id": 1, "ts": NOW, **values}]))
        answer = store.get_online_features(features=[f"stats:{f}" for f in schema], entity_rows=[{"driver_id": 1}])
        names = list(answer.proto.metadata.feature_names.val)
        vectors = {n: v.values[0].SerializeToString() for n, v in zip(names, answer.proto.results, strict=True)}
        found.append((answer.to_dict(), vectors))
    assert found[0] == found[1]
    assert set(found[0][0]) == {"driver_id", *schema}


def test_values_come_with_their_times_and_full_names(make: Make, online: dict[str, Any], tmp_path: Path) -> None:
    store = make(online, *drivers(tmp_path))
    store.push("push", frame((1, NOW, 0.5, 5, "a"), (2, NOW - timedelta(minutes=5), 0.7, 7, "b")))
    answer = store.get_online_features(features=ALL[:2], entity_rows=ROWS, full_feature_names=True)
    seconds = int(NOW.timestamp())
    assert answer.to_dict(include_event_timestamps=True) == {
        "driver_id": [1, 2, 3], "driver_id__ts": [0, 0, 0],
        "stats__rate": [0.5, 0.7, None], "stats__rate__ts": [seconds, seconds - 300, 0],
        "stats__trips": [5, 7, None], "stats__trips__ts": [seconds, seconds - 300, 0],
    }  # fmt: skip
    assert answer.to_df()["stats__trips"][0] == 5
    assert answer.to_arrow()["stats__rate"].to_pylist() == [0.5, 0.7, None]
    assert statuses(answer, "stats__rate") == ["PRESENT", "PRESENT", "NOT_FOUND"]


def test_rows_may_come_as_columns_in_any_order_and_twice(make: Make, online: dict[str, Any], tmp_path: Path) -> None:
    store = make(online, *drivers(tmp_path))
    store.push("push", frame((1, NOW, 0.5, 5, "a"), (2, NOW, 0.7, 7, "b")))
    answer = store.get_online_features(features=ALL, entity_rows={"driver_id": [2, 1, 2], "unknown": [0, 0, 0]})
    assert answer.to_dict() == {"driver_id": [2, 1, 2], "rate": [0.7, 0.5, 0.7], "trips": [7, 5, 7],
                                "name": ["b", "a", "b"]}  # fmt: skip


def test_the_async_twins_answer_the_same(make: Make, online: dict[str, Any], tmp_path: Path) -> None:
    store = make(online, *drivers(tmp_path))
    asyncio.run(store.push_async("push", frame((1, NOW, 0.5, 5, "a"))))
    asked = {"features": ALL, "entity_rows": ROWS}
    answer = asyncio.run(store.get_online_features_async(**asked))
    assert answer.to_dict() == store.get_online_features(**asked).to_dict()
    assert answer.to_dict()["name"] == ["a", None, None]


def test_a_naive_time_is_utc(make: Make, online: dict[str, Any], tmp_path: Path) -> None:
    store = make(online, *drivers(tmp_path))
    store.push("push", frame((1, NOW.replace(tzinfo=None), 0.5, 5, "a")))
    answer = store.get_online_features(features=ALL[:1], entity_rows=ROWS[:1]).to_dict(include_event_timestamps=True)
    assert answer["rate__ts"] == [int(NOW.timestamp())]


def test_an_entity_of_another_name_is_joined_by_its_alias(make: Make, online: dict[str, Any], tmp_path: Path) -> None:
    from feast import FeatureService

    driver, push, view = drivers(tmp_path)
    origin = view.with_name("first").with_join_key_map({"driver_id": "first_id"})
    other = view.with_name("second").with_join_key_map({"driver_id": "second_id"})
    service = FeatureService(name="both", features=[origin[["rate"]], other[["rate", "name"]]])
    store = make(online, driver, push, view, service)
    store.push("push", frame((1, NOW, 0.5, 5, "a"), (2, NOW, 0.7, 7, "b")))
    answer = store.get_online_features(
        features=store.get_feature_service("both"), entity_rows=[{"first_id": 1, "second_id": 2}],
        full_feature_names=True,
    )  # fmt: skip
    assert answer.to_dict() == {
        "first_id": [1], "second_id": [2], "first__rate": [0.5], "second__rate": [0.7], "second__name": ["b"],
    }  # fmt: skip


def _places(folder: Path) -> list[Any]:
    """A view over two entities, and one over none."""
    from feast import Entity, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64, Int64, String

    entities = [Entity(name="city", join_keys=["city"], value_type=ValueType.STRING),
                Entity(name="area", join_keys=["zip"], value_type=ValueType.INT32)]  # fmt: skip
    source = FileSource(name="places", path=str(folder / "places.parquet"), timestamp_field="ts")
    both = FeatureView(name="both", entities=entities, source=source, ttl=timedelta(0),
                       schema=[Field(name="people", dtype=Int64), Field(name="mayor", dtype=String)])  # fmt: skip
    none = FeatureView(name="world", entities=[], source=source, ttl=timedelta(0),
                       schema=[Field(name="heat", dtype=Float64)])  # fmt: skip
    return [*entities, source, both, none]


def test_several_entities_and_none(make: Make, online: dict[str, Any], feasts: dict[str, Any], tmp_path: Path) -> None:
    import pandas as pd

    pd.DataFrame({"ts": [NOW], "city": ["x"], "zip": [1], "people": [1], "mayor": ["m"], "heat": [0.1]}).to_parquet(
        tmp_path / "places.parquet"
    )
    found = []
    for name, config in (("ours", online), ("theirs", feasts)):
        store = make(config, *_places(tmp_path), name=name)
        places = pd.DataFrame({"ts": [NOW, NOW], "city": ["a", "b"], "zip": [7, 8], "people": [3, 4],
                               "mayor": ["x", "y"]})  # fmt: skip
        store.write_to_online_store("both", places)
        store.write_to_online_store("world", pd.DataFrame({"ts": [NOW], "heat": [14.5]}))
        answer = store.get_online_features(
            features=["both:mayor", "both:people", "world:heat"],
            entity_rows=[{"city": "a", "zip": 7}, {"city": "a", "zip": 8}, {"city": "b", "zip": 8}],
        )
        found.append(answer.to_dict())
    assert found[0]["mayor"] == found[1]["mayor"] == ["x", None, "y"]
    assert found[0]["heat"] == [14.5] * 3
    assert found[1]["heat"] == [None] * 3, "Feast writes the view without entities under another key than it reads"


def test_on_demand_views_of_feast_run_over_our_values(make: Make, online: dict[str, Any], tmp_path: Path) -> None:
    from feast import Field, RequestSource
    from feast.on_demand_feature_view import on_demand_feature_view
    from feast.types import Float64

    driver, push, view = drivers(tmp_path)
    request = RequestSource(name="basket", schema=[Field(name="price", dtype=Float64)])

    @on_demand_feature_view(sources=[view, request], schema=[Field(name="paid", dtype=Float64)], mode="python")  # type: ignore[untyped-decorator] # mypy does not follow Feast
    def paid(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"paid": [None if r is None else r * p for r, p in zip(inputs["rate"], inputs["price"], strict=True)]}

    store = make(online, driver, push, view, paid)
    store.push("push", frame((1, NOW, 0.5, 5, "a"), (2, NOW, None, 5, "a")))
    rows = [{"driver_id": i, "price": 10.0} for i in (1, 2, 3)]
    answer = store.get_online_features(features=["paid:paid", "stats:rate"], entity_rows=rows)
    assert answer.to_dict() == {"driver_id": [1, 2, 3], "rate": [0.5, None, None], "paid": [5.0, None, None]}
    assert statuses(answer, "rate") == ["PRESENT", "NULL_VALUE", "NOT_FOUND"]
    with pytest.raises(Exception, match="price"):
        store.get_online_features(features=["paid:paid"], entity_rows=[{"driver_id": 1}])


@pytest.mark.parametrize("online", ["lmdb", "redis", "cluster"], indirect=True)
@pytest.mark.parametrize("seed", range(2))
def test_the_newest_row_stays_whoever_writes_last(
    make: Make, online: dict[str, Any], tmp_path: Path, seed: int
) -> None:
    dice = Random(seed)
    driver, push, view = drivers(tmp_path)
    store = make(online, driver, push, view)
    minutes = dice.sample(range(60), 24)
    frames = [frame((1, NOW - timedelta(minutes=m), m / 10, m, "x"), (2, NOW, 0.0, m, "y")) for m in minutes]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda rows: store.push("push", rows), frames))
    answer = store.get_online_features(features=ALL, entity_rows=ROWS[:2]).to_dict()
    assert (answer["trips"][0], answer["rate"][0]) == (min(minutes), min(minutes) / 10)
    assert answer["trips"][1] in minutes


def test_rows_are_merged_where_a_newer_one_lacks_a_feature(make: Make, online: dict[str, Any], tmp_path: Path) -> None:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    store = make(online, *drivers(tmp_path))
    view, key = store.get_feature_view("stats"), EntityKey(join_keys=["driver_id"], entity_values=[Value(int64_val=1)])

    def write(minutes: int, **values: Value) -> None:
        moment: datetime = NOW - timedelta(minutes=minutes)
        store.provider.online_write_batch(store.config, view, [(key, values, moment, None)], None)

    write(3, rate=Value(double_val=0.3), name=Value(string_val="c"))
    write(1, rate=Value(double_val=0.1))
    write(2, rate=Value(double_val=0.2), trips=Value(int64_val=2))
    for _ in range(9):  # long enough to be repacked
        write(5, rate=Value(double_val=0.5))
    answer = store.get_online_features(features=ALL, entity_rows=ROWS[:1])
    assert answer.to_dict() == {"driver_id": [1], "rate": [0.1], "trips": [2], "name": ["c"]}
    ((moment, values),) = store.provider.online_read(store.config, view, [key], ["trips"])
    assert moment == NOW - timedelta(minutes=1) and values == {"trips": Value(int64_val=2)}


def test_what_is_no_longer_applied_is_deleted(make: Make, online: dict[str, Any], tmp_path: Path) -> None:
    driver, push, view = drivers(tmp_path)
    store = make(online, driver, push, view)
    store.push("push", frame((1, NOW, 0.5, 5, "a")))
    store.apply([driver, push], objects_to_delete=[view], partial=False)
    store.apply([driver, push, view])
    answer = store.get_online_features(features=ALL[:1], entity_rows=ROWS[:1])
    assert statuses(answer, "rate") == ["NOT_FOUND"]


def test_rows_that_differ_are_refused_in_feasts_words(make: Make, online: dict[str, Any], tmp_path: Path) -> None:
    store = make(online, *drivers(tmp_path))
    with pytest.raises(ValueError, match="must have the same"):
        store.get_online_features(features=ALL, entity_rows=[{"driver_id": 1}, {"driver": 2}])
    with pytest.raises(KeyError, match="driver_id"):
        store.get_online_features(features=ALL, entity_rows=[{"other": 1}])
