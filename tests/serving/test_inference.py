from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from onefold.serving.app import create_app
from onefold.serving.limits import Limits

if TYPE_CHECKING:
    from .conftest import Client, World

INFER = "/v2/models/late/infer"
PLACED = ["2013-12-01T08:29:30Z"]


def tensor(name: str, datatype: str, data: list[Any], shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


def inputs(count: int = 1) -> list[dict[str, Any]]:
    return [
        tensor("customer_id", "INT64", [7, 8, None][:count]),
        tensor("basket_total", "FP64", [30.0, 5, 1.5][:count]),
        tensor("placed", "BYTES", PLACED * count),
    ]


@pytest.fixture
def client(world: World, client_of: type[Client]) -> Client:
    return client_of(create_app(world.catalog(), limits=Limits(rows=20)))


def test_scores_are_those_of_the_score_api(client: Client) -> None:
    rows = [
        dict(zip(("customer_id", "basket_total", "placed"), row, strict=True))
        for row in zip(*(t["data"] for t in inputs(3)), strict=True)
    ]
    expected = client.post("/v1/score/late", {"rows": rows}).json()
    answer = client.post(
        INFER,
        {"id": "x1", "inputs": inputs(3), "outputs": [{"name": "score"}, {"name": "statuses"}, {"name": "request_id"}]},
    ).json()
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("x1", "late", "1")
    score, statuses, ids = answer["outputs"]
    assert score == {"name": "score", "datatype": "FP32", "shape": [3], "data": expected["scores"]}
    assert [json.loads(s) for s in statuses["data"]] == expected["statuses"]
    assert len(set(ids["data"])) == 3
    assert answer["parameters"] == {"service": "returns", "fingerprint": expected["fingerprint"]}


def test_columns_may_be_rows_of_one(client: Client) -> None:
    flat = client.post(INFER, {"inputs": inputs(2)}).json()
    given = inputs(2)
    given[0] |= {"shape": [2, 1], "data": [[7], [8]]}
    given[1] |= {"shape": [2, 1]}
    assert client.post(INFER, {"inputs": given}).json() == flat


def test_a_time_may_be_one_more_input(client: Client) -> None:
    past = [*inputs(), tensor("event_timestamp", "BYTES", ["2013-12-01T07:00:00Z"])]
    now = client.post(INFER, {"inputs": inputs(), "outputs": [{"name": "statuses"}]}).json()
    then = client.post(INFER, {"inputs": past, "outputs": [{"name": "statuses"}]}).json()
    assert now["outputs"][0]["data"] == then["outputs"][0]["data"] == ["{}"]


def test_a_model_describes_itself(client: Client) -> None:
    for path in ("/v2/models/late", "/v2/models/late/versions/1"):
        answer = client.get(path).json()
        assert answer["versions"] == ["1"]
        assert {(i["name"], i["datatype"]) for i in answer["inputs"]} == {
            ("customer_id", "INT64"), ("basket_total", "FP64"), ("placed", "BYTES"), ("event_timestamp", "BYTES"),
        }  # fmt: skip
        assert answer["outputs"][0] == {"name": "score", "datatype": "FP32", "shape": [-1]}
        assert client.get(f"{path}/ready").json() == {"name": "late", "ready": True}


def test_the_server_and_its_health(client: Client) -> None:
    assert client.get("/v2").json()["name"] == "onefold"
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}


def test_not_ready_before_the_state_is_built(empty_world: World, client_of: type[Client]) -> None:
    client = client_of(create_app(empty_world.catalog()))
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/v2/health/ready").status_code == 503


@pytest.mark.parametrize(
    "path", ["/v2/models/lat/infer", "/v2/models/late/versions/2/infer", "/v2/models/late/versions/%00/infer"]
)
def test_a_model_or_version_that_is_not_there_is_404(client: Client, path: str) -> None:
    answer = client.post(path, {"inputs": inputs()})
    assert answer.status_code == 404
    assert isinstance(answer.json()["error"], str)


def one(**changes: Any) -> list[dict[str, Any]]:
    return [inputs()[0] | changes, *inputs()[1:]]


WRONG = {
    "no inputs": {},
    "inputs of another type": {"inputs": {"a": 1}},
    "an input of another type": {"inputs": [7]},
    "unknown field": {"inputs": inputs(), "model": "x"},
    "unknown field of an input": {"inputs": one(contents=[7])},
    "unknown input": {"inputs": [*inputs(), tensor("customer", "INT64", [7])]},
    "unnamed input": {"inputs": one(name=None)},
    "an input twice": {"inputs": [*inputs(), inputs()[0]]},
    "an input too few": {"inputs": inputs()[:2]},
    "another datatype": {"inputs": one(datatype="BYTES")},
    "no datatype": {"inputs": one(datatype=None)},
    "a float for a key": {"inputs": one(data=[7.5])},
    "a text for a key": {"inputs": one(data=["7"])},
    "a boolean for a key": {"inputs": one(data=[True])},
    "more than the shape": {"inputs": one(data=[7, 8])},
    "more rows than others": {"inputs": one(data=[7, 8], shape=[2])},
    "a matrix": {"inputs": one(data=[[7, 8]], shape=[1, 2])},
    "no shape": {"inputs": one(shape=None)},
    "a negative shape": {"inputs": one(shape=[-1])},
    "a boolean shape": {"inputs": one(shape=[True])},
    "no rows": {"inputs": [t | {"shape": [0], "data": []} for t in inputs()]},
    "data of another type": {"inputs": one(data={"0": 7})},
    "deep data": {"inputs": one(data=[[[[7]]]])},
    "id of another type": {"inputs": inputs(), "id": 7},
    "a long id": {"inputs": inputs(), "id": "x" * 300},
    "parameters of another type": {"inputs": inputs(), "parameters": []},
    "outputs of another type": {"inputs": inputs(), "outputs": ["score"]},
    "an unknown output": {"inputs": inputs(), "outputs": [{"name": "scores"}]},
    "an output twice": {"inputs": inputs(), "outputs": [{"name": "score"}] * 2},
    "an output that is a list": {"inputs": inputs(), "outputs": [{"name": ["score"]}]},
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_422_in_the_protocols_words(client: Client, body: Any) -> None:
    answer = client.post(INFER, body)
    assert answer.status_code == 422, answer.text
    assert answer.json().keys() == {"error"}
    assert isinstance(answer.json()["error"], str)


def test_too_many_rows_are_413(client: Client) -> None:
    many = [t | {"shape": [21], "data": t["data"] * 21} for t in inputs()]
    assert client.post(INFER, {"inputs": many}).status_code == 413
