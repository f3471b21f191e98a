"""What is known to be wrong in Feast 0.67, and that it is right here: each test shows both."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.feast.conftest import NOW, Make, drivers, frame, statuses

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
