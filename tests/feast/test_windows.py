"""Our views through Feast's client: what was applied and built is found, with the values of our own lookup."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from onefold.cli import main
from onefold.features.errors import InputError
from onefold.online.feast.opened import close_stores
from onefold.online.lookup import Lookup
from onefold.scaffold import create
from onefold.serving import feast_document
from onefold.wiring import Workspace
from tests.feast.conftest import statuses

if TYPE_CHECKING:
    from tests.services.redis import RedisServer

NOW = 1_767_225_600_000_000
T = datetime(2026, 1, 1, tzinfo=UTC)
SPEND = ["orders_7d", "spend_7d", "orders_30d", "avg_order_30d", "max_order_30d", "books_30d"]


@pytest.fixture(params=["lmdb", "redis"])
def shop(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: None
) -> Iterator[Workspace]:
    """A project that is applied and built."""
    folder = create("shop", tmp_path / "shop", now=NOW)
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        with server.client() as client:
            client.flushall()
        monkeypatch.setenv("ONEFOLD_ONLINE__URL", server.url)
    for command in ("apply", "materialize"):
        with pytest.raises(SystemExit) as ended:
            main([command, "--project", str(folder)])
        assert not ended.value.code
    yield Workspace.find(folder)


def store_of(workspace: Workspace) -> Any:
    from feast import FeatureStore

    return FeatureStore(repo_path=str(workspace.settings.state))


def test_windows_are_finished_as_of_the_request(shop: Workspace) -> None:
    refs = [f"customer_spend:{name}" for name in SPEND]
    keys = [*range(1, 40), 999_999]
    rows = [{"customer_id": key, "event_timestamp": T} for key in keys]
    answer = store_of(shop).get_online_features(features=refs, entity_rows=rows)
    close_stores()
    with shop.store(readonly=True) as store:
        lookup = Lookup(store, shop.project.select([f"customer_spend.{name}" for name in SPEND]))
        served = lookup.read([{"customer_id": key} for key in keys], [NOW] * len(keys))
    found = answer.to_dict()
    assert [list(row) for row in zip(*(found[name] for name in SPEND), strict=True)] == [list(r.values) for r in served]
    assert sum(found["orders_30d"]) > 100
    assert statuses(answer, "orders_30d")[-1] == "NOT_FOUND" and found["orders_30d"][-1] == 0
    for i, name in enumerate(SPEND):
        wanted = ["NULL_VALUE" if r.statuses[i] == "fresh" and v is None else feast_document.STATUS[r.statuses[i]]
                  for r, v in zip(served, found[name], strict=True)]  # fmt: skip
        assert statuses(answer, name) == wanted


def test_statuses_are_those_of_our_own_service() -> None:
    from feast.protos.feast.serving.ServingService_pb2 import FieldStatus

    from onefold.online.feast.windowed import STATUS

    assert {ours: FieldStatus.Name(theirs) for ours, theirs in STATUS.items()} == feast_document.STATUS


def test_a_service_with_an_on_demand_view_is_one_read(shop: Workspace) -> None:
    client = store_of(shop)
    service = client.get_feature_service("will_return")
    row = {"customer_id": 42, "basket_total": 20.0, "event_timestamp": T}
    answer = client.get_online_features(features=service, entity_rows=[row], full_feature_names=True).to_dict()
    again = asyncio.run(
        client.get_online_features_async(features=service, entity_rows=[row], full_feature_names=True)
    ).to_dict()
    assert answer == again
    assert list(answer) == [
        "customer_id", *(f"customer_spend__{name}" for name in SPEND), "basket__basket", "basket__basket_ratio"
    ]  # fmt: skip
    assert answer["basket__basket_ratio"] == [20.0 / answer["customer_spend__avg_order_30d"][0]]
    with pytest.raises(Exception, match="basket_total"):
        client.get_online_features(features=service, entity_rows=[{"customer_id": 42}])


def test_keys_go_by_another_name_with_an_alias(shop: Workspace) -> None:
    from feast import FeatureService

    client = store_of(shop)
    view = client.get_feature_view("customer_spend")
    giver = view.with_name("giver").with_join_key_map({"customer_id": "giver_id"})
    taker = view.with_name("taker").with_join_key_map({"customer_id": "taker_id"})
    service = FeatureService(name="gift", features=[giver[["orders_30d"]], taker[["orders_30d"]]])
    client.apply([service])
    row = {"giver_id": 42, "taker_id": 7, "event_timestamp": T}
    answer = client.get_online_features(
        features=client.get_feature_service("gift"), entity_rows=[row], full_feature_names=True
    ).to_dict()
    plain = client.get_online_features(
        features=["customer_spend:orders_30d"],
        entity_rows=[{"customer_id": key, "event_timestamp": T} for key in (42, 7)],
    ).to_dict()["orders_30d"]
    assert [answer["giver__orders_30d"][0], answer["taker__orders_30d"][0]] == plain


def test_now_is_the_time_where_rows_have_none(shop: Workspace) -> None:
    client = store_of(shop)
    answer = client.get_online_features(features=["customer_spend:orders_30d"], entity_rows=[{"customer_id": 42}])
    assert answer.to_dict()["orders_30d"] == [0]
    assert statuses(answer, "orders_30d") == ["OUTSIDE_MAX_AGE"]


def test_rows_are_read_by_key_and_never_written(shop: Workspace) -> None:
    import pandas as pd
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    client = store_of(shop)
    view = client.get_feature_view("customer_spend")
    key = EntityKey(join_keys=["customer_id"], entity_values=[Value(int64_val=42)])
    ((_, values),) = client.provider.online_read(client.config, view, [key], ["orders_30d"])
    assert values == {"orders_30d": Value(int64_val=0)}
    row = {"customer_id": [1], "ordered_at": [T], **{name: [1.0] for name in SPEND}}
    with pytest.raises(InputError, match="computed from the events of its source"):
        client.write_to_online_store("customer_spend", pd.DataFrame(row))


def test_a_column_that_is_wrong_is_named(shop: Workspace) -> None:
    client = store_of(shop)
    with pytest.raises(InputError, match="column 'customer_id' of the entity rows: 'x' is not a BIGINT"):
        client.get_online_features(features=["customer_spend:orders_30d"], entity_rows=[{"customer_id": "x"}])
