"""`POST /v1/lookup`: what can be asked for, in which forms it comes, and what every value's status says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from msgspec import msgpack

from onefold.offline.served import ServedLog
from onefold.serving.app import create_app
from onefold.serving.limits import Limits
from tests.services.served_log import logging_to

from .conftest import Client
from .test_app import NOW, ROW, error_of

if TYPE_CHECKING:
    from .conftest import World

ARROW, MSGPACK = "application/vnd.apache.arrow.stream", "application/msgpack"


@pytest.fixture
def client(world: World) -> Client:
    return Client(create_app(world.catalog()))


def look_up(client: Client, body: object, accept: str | None = None) -> Any:
    headers = {} if accept is None else {"accept": accept}
    return client.ask("POST", "/v1/lookup", content=json.dumps(body).encode(), headers=headers)


def statuses(client: Client, **body: object) -> list[list[str]]:
    response = look_up(client, body)
    assert response.status_code == 200, response.text
    found: list[list[str]] = response.json()["statuses"]
    return found


def test_features_are_looked_up_by_reference(client: Client) -> None:
    body = {"features": ["spend:avg_7d", "basket.ratio"], "rows": [{"customer_id": 7, "basket_total": 30}]}
    answer = look_up(client, body).json()
    assert answer["features"] == ["spend__avg_7d", "basket__ratio"]
    assert answer["values"] == [[15.0, 2.0]]


@pytest.mark.parametrize("given", [{}, {"service": "returns", "features": ["spend:avg_7d"]}])
def test_a_service_or_features_one_of_the_two(client: Client, given: dict[str, Any]) -> None:
    error = error_of(look_up(client, {**given, "rows": [ROW]}), 422, "input")
    assert "names `service` or `features`, one of the two" in error["message"]


def test_more_features_than_the_limit_are_refused(world: World) -> None:
    client = Client(create_app(world.catalog(), limits=Limits(features=2)))
    body = {"features": ["spend:avg_7d"] * 3, "rows": [{"customer_id": 7}]}
    assert "2 at most" in error_of(look_up(client, body), 413, "too-large")["try"]


def test_at_is_the_time_of_rows_that_have_none(client: Client) -> None:
    rows = [{"customer_id": 7}, {"customer_id": 7, "event_timestamp": NOW}]
    answer = look_up(client, {"service": "everything", "rows": rows, "at": "2013-12-01T07:00:00Z"}).json()
    assert [v[0] for v in answer["values"]] == [1, 2]
    assert answer["event_timestamps"] == ["2013-12-01T07:00:00Z", NOW]


def test_at_that_is_no_time_is_refused(client: Client) -> None:
    for given in ("yesterday", 7, "2013-12-01T07:00:00"):
        body = {"service": "everything", "rows": [{"customer_id": 7}], "at": given}
        error = error_of(look_up(client, body), 422, "input")
        assert error["message"].startswith("`at`: ")


def test_thousands_of_keys_come_in_one_answer(client: Client) -> None:
    rows = [{"customer_id": n} for n in range(5_000)]
    answer = look_up(client, {"service": "everything", "rows": rows}).json()
    assert [i for i, s in enumerate(answer["statuses"]) if s[0] != "missing"] == [7, 8]
    assert len(set(answer["request_ids"])) == 5_000


@pytest.mark.parametrize("accept", [MSGPACK, "application/x-msgpack", f"text/html, {MSGPACK};q=0.9, */*;q=0.1"])
def test_messagepack_is_the_same_document(client: Client, accept: str) -> None:
    body = {"service": "returns", "rows": [ROW, {**ROW, "customer_id": None, "basket_total": "NaN"}]}
    packed, plain = look_up(client, body, accept), look_up(client, body).json()
    assert packed.headers["content-type"] == MSGPACK
    found = msgpack.decode(packed.content)
    assert found.pop("request_ids") != plain.pop("request_ids")
    assert found == plain


def test_arrow_has_a_typed_column_and_a_status_a_feature(client: Client) -> None:
    body = {"service": "everything", "rows": [{"customer_id": 7}, {"customer_id": 99}], "at": NOW}
    response = look_up(client, body, ARROW)
    assert response.headers["content-type"] == ARROW
    table = pa.ipc.open_stream(response.content).read_all()
    assert table.schema.metadata[b"service"] == b"everything"
    assert table.column("spend_7d").to_pylist() == [30.0, None]
    assert table.column("last_at").type == pa.timestamp("us", "UTC")
    assert table.column("spend_7d__status").to_pylist() == ["fresh", "missing"]
    assert str(table.column("event_timestamp")[0]) == "2013-12-01 08:30:00+00:00"


@pytest.mark.parametrize("accept", ["text/html", "application/xml;q=1", f"{MSGPACK};q=0", "application/json;q=no"])
def test_a_form_that_nobody_has_is_406(client: Client, accept: str) -> None:
    error = error_of(look_up(client, {"service": "returns", "rows": [ROW]}, accept), 406, "not-acceptable")
    assert ARROW in error["try"]


@pytest.mark.parametrize(
    "accept", ["", "*/*", "application/*", "text/html, application/json;q=0.5", "APPLICATION/JSON"]
)
def test_json_is_what_comes_else(client: Client, accept: str) -> None:
    assert look_up(client, {"service": "returns", "rows": [ROW]}, accept).headers["content-type"] == "application/json"


def test_a_key_is_expired_once_no_window_reaches_its_events(client: Client) -> None:
    at = ["2013-12-01T08:30:00Z", "2013-12-04T07:30:00.000001Z", "2013-12-08T07:30:00Z", "2013-12-08T07:30:00.000001Z"]
    rows = [{"customer_id": 7, "event_timestamp": t} for t in at]
    assert [s[0] for s in statuses(client, service="everything", rows=rows)] == ["fresh", "stale", "stale", "expired"]


def test_a_key_is_missing_as_of_a_time_before_its_first_event(client: Client) -> None:
    found = statuses(client, service="everything", rows=[{"customer_id": 7}], at="2013-11-01T00:00:00Z")
    assert found == [["missing"] * 5]


def test_what_is_not_tolerated_is_refused_by_name(client: Client) -> None:
    rows = [{"customer_id": 7}, {"customer_id": 8}, {"customer_id": 99}]
    for tolerate, number, status in (([], 1, "stale"), (["stale"], 2, "missing")):
        body = {"service": "everything", "rows": rows, "tolerate": tolerate}
        error = error_of(look_up(client, body), 412, "not-tolerated")
        assert error["message"].startswith(f"row {number}: feature 'orders_7d' is {status}")
        assert "leave `tolerate` out" in error["try"]
    assert statuses(client, service="everything", rows=rows, tolerate=["stale", "missing"])
    scored = client.post("/v1/score/late", {"row": {**ROW, "customer_id": 99}, "tolerate": []})
    assert "row 0" in error_of(scored, 412, "not-tolerated")["message"]


@pytest.mark.parametrize("tolerate", ["stale", {"stale": 1}, ["stal"], [1], [None]])
def test_tolerate_lists_statuses(client: Client, tolerate: object) -> None:
    body = {"service": "everything", "rows": [{"customer_id": 7}], "tolerate": tolerate}
    assert "`tolerate`" in error_of(look_up(client, body), 422, "input")["message"]


def test_errors_fail_loudly_and_are_served_where_they_are_tolerated(world: World) -> None:
    world.cut_state(b"\x07")
    client = Client(create_app(world.catalog()))
    body = {"service": "everything", "rows": [{"customer_id": 7}, {"customer_id": 8}]}
    error_of(look_up(client, body), 500, "state")
    answer = look_up(client, {**body, "tolerate": ["error", "stale"]}).json()
    assert answer["values"] == [[None] * 5, [1, 5.0, 5.0, "books", "2013-11-25T08:30:00Z"]]
    assert [s[0] for s in answer["statuses"]] == ["error", "stale"]
    assert "state of (orders, customer)" in answer["errors"][0][0] and answer["errors"][1] == []


def test_a_state_that_owes_events_is_partial(world: World) -> None:
    from onefold.features.keys import debt, marks_name

    for (source, entity), layout in world.project.layouts.items():
        world.store.mark([(marks_name(source, entity, 1, layout.fingerprint), debt(0), 99)])
    rows = [{"customer_id": 7}, {"customer_id": 99}]
    assert statuses(Client(create_app(world.catalog())), service="everything", rows=rows) == [["partial"] * 5] * 2


def test_what_was_looked_up_is_logged_as_it_was_served(world: World) -> None:
    with logging_to(world.folder / "served") as log:
        client = Client(create_app(world.catalog(), log=log))
        answer = look_up(client, {"service": "everything", "rows": [{"customer_id": 7}, {"customer_id": 8}]}, MSGPACK)
        look_up(client, {"features": ["spend:avg_7d"], "rows": [{"customer_id": 7}]})
    plan = world.project.service("everything")
    rows = {
        r["request_id"]: r for r in ServedLog(world.folder / "served").read(plan.name, plan.fingerprint).to_pylist()
    }
    found = msgpack.decode(answer.content)
    assert list(rows) and rows.keys() == set(found["request_ids"])
    first = rows[found["request_ids"][0]]
    assert first["statuses"] == found["statuses"][0] == ["fresh"] * 5
    assert first["features"]["spend_7d"] == found["values"][0][1]
    (string,) = json.loads(first["provenance"])
    assert (string["offsets"], string["markers"]) == ({"0": 1}, {"0": 2})
