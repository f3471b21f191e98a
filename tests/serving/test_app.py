from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow as pa
import pytest

from onefold.offline.served import ServedLog
from onefold.serving.app import Front, create_app
from onefold.serving.feast_api import VERSIONS
from onefold.serving.limits import Limits
from onefold.serving.metrics import Metrics
from tests.services.served_log import logging_to

from .conftest import Client

if TYPE_CHECKING:
    from .conftest import World

NOW = "2013-12-01T08:30:00Z"
ROW = {"customer_id": 7, "basket_total": 30.0, "placed": "2013-12-01T08:29:30Z"}
HOT = ("/v1/score/late", "/v1/lookup", "/get-online-features")
STATEFUL = {
    "/v1/score/late": {"row": ROW},
    "/v1/lookup": {"service": "returns", "rows": [ROW]},
    "/get-online-features": {"feature_service": "returns", "entities": {name: [v] for name, v in ROW.items()}},
}


def error_of(response: httpx.Response, status: int, code: str) -> dict[str, str]:
    """The error of an answer: of the promised shape, with something to try, and no traceback."""
    assert response.status_code == status, response.text
    error: dict[str, str] = response.json()["error"]
    assert error.keys() == {"code", "message", "try"}
    assert error["code"] == code
    assert error["try"]
    assert "Traceback" not in response.text
    return error


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def client(world: World, metrics: Metrics) -> Client:
    return Client(create_app(world.catalog(), metrics=metrics, limits=Limits(body=10_000, rows=20)))


@contextmanager
def logged(world: World) -> Iterator[tuple[Client, Callable[[], pa.Table]]]:
    """A client, and what the served log holds when the writer is closed."""
    metrics, root = Metrics(), world.folder / "served"
    with logging_to(root, metrics) as log:

        def read() -> pa.Table:
            log.close()
            return ServedLog(root).read("returns", world.plan.fingerprint)

        yield Client(create_app(world.catalog(), log=log, metrics=metrics)), read


def test_lookup_gives_values_in_service_order_with_statuses(client: Client) -> None:
    rows = [ROW, {**ROW, "customer_id": 99}, {**ROW, "customer_id": None}, {**ROW, "customer_id": 8}]
    answer = client.post("/v1/lookup", {"service": "returns", "rows": rows}).json()
    assert answer["features"] == ["orders_7d", "spend_7d", "avg_7d", "ratio", "above", "waited"]
    assert answer["values"] == [
        [2, 30.0, 15.0, 2.0, True, 30.0],
        [0, None, None, None, None, 30.0],
        [0, None, None, None, None, 30.0],
        [1, 5.0, 5.0, 6.0, True, 30.0],
    ]
    assert [s[0] for s in answer["statuses"]] == ["fresh", "missing", "missing", "stale"]
    assert answer["event_timestamps"] == [NOW] * 4
    assert len(set(answer["request_ids"])) == 4


def test_a_row_is_answered_as_of_its_time(client: Client) -> None:
    at = [None, "2013-12-01T07:00:00Z", "2013-12-01T06:30:00+00:00", "2013-12-01T06:29:59.999999Z"]
    rows = [{**ROW, "event_timestamp": t} for t in at]
    answer = client.post("/v1/lookup", {"service": "returns", "rows": rows}).json()
    assert [v[0] for v in answer["values"]] == [2, 1, 1, 0]
    assert answer["event_timestamps"][3] == "2013-12-01T06:29:59.999999Z"


def test_times_and_texts_come_back_as_json(client: Client) -> None:
    answer = client.post("/v1/lookup", {"service": "everything", "rows": [{"customer_id": 7}]}).json()
    assert answer["values"][0][3:] == ["toys", "2013-12-01T07:30:00Z"]


def test_infinity_is_a_text_in_json(client: Client) -> None:
    body = {"service": "returns", "rows": [{**ROW, "basket_total": "Infinity"}]}
    assert client.post("/v1/lookup", body).json()["values"][0][3] == "Infinity"


def test_a_single_row_is_scored(client: Client, world: World) -> None:
    answer = client.post("/v1/score/late", {"row": ROW}).json()
    model = world.catalog().models["late"].model
    assert answer["score"] == model.score([(2, 30.0, 15.0, 2.0, True, 30.0)])[0]
    assert answer["fingerprint"] == world.plan.fingerprint
    assert {k: answer[k] for k in ("model", "version", "service", "event_timestamp", "statuses")} == {
        "model": "late", "version": "1", "service": "returns", "event_timestamp": NOW, "statuses": {},
    }  # fmt: skip
    assert len(answer["request_id"]) == 32


def test_rows_are_scored_as_each_alone(client: Client) -> None:
    rows = [{**ROW, "customer_id": key} for key in (7, 8, 99, None)]
    many = client.post("/v1/score/late", {"rows": rows}).json()
    alone = [client.post("/v1/score/late", {"row": row}).json() for row in rows]
    assert many["scores"] == [a["score"] for a in alone]
    assert many["statuses"] == [a["statuses"] for a in alone]
    assert many["statuses"][2]["spend_7d"] == "missing"
    assert len(many["request_ids"]) == 4


def test_feast_shapes_with_a_service(client: Client) -> None:
    body = {"feature_service": "everything", "entities": {"customer_id": [7, 99]}, "full_feature_names": True}
    answer = client.post("/get-online-features", body).json()
    assert answer["metadata"]["feature_names"][:2] == ["customer_id", "spend__orders_7d"]
    assert answer["results"][0]["values"] == [7, 99]
    assert answer["results"][2] == {
        "values": [30.0, None],
        "statuses": ["PRESENT", "NOT_FOUND"],
        "event_timestamps": [NOW, NOW],
    }


def test_feast_shapes_with_features(client: Client) -> None:
    body = {
        "features": ["spend:avg_7d", "basket:ratio"],
        "entities": {"customer_id": [7, 8], "basket_total": [30, None]},
    }
    answer = client.post("/get-online-features", body).json()
    assert answer["metadata"]["feature_names"] == ["customer_id", "avg_7d", "ratio"]
    assert answer["results"][2]["values"] == [2.0, None]
    assert answer["results"][2]["statuses"] == ["PRESENT", "OUTSIDE_MAX_AGE"]


def test_feast_shapes_with_a_time_and_what_is_tolerated(client: Client) -> None:
    asked = {"features": ["spend:spend_7d"], "entities": {"customer_id": [7]}}
    at = "2013-11-25T08:30:00Z"
    (_, found) = client.post("/get-online-features", {**asked, "at": at}).json()["results"]
    row = client.post("/v1/lookup", {"features": ["spend:spend_7d"], "rows": [{"customer_id": 7}], "at": at}).json()
    assert (found["values"], found["event_timestamps"]) == (row["values"][0], [at])
    strange = {**asked, "entities": {"customer_id": [7, 99]}, "tolerate": ["stale"]}
    assert "row 1" in error_of(client.post("/get-online-features", strange), 412, "not-tolerated")["message"]


def test_a_fresh_null_is_a_null_value_in_feasts_words(client: Client) -> None:
    body = {"features": ["basket:ratio"], "entities": {"customer_id": [7], "basket_total": [None]}}
    assert client.post("/get-online-features", body).json()["results"][1]["statuses"] == ["NULL_VALUE"]


@pytest.mark.parametrize(
    ("change", "word", "hint"),
    [
        ({"customer_id": ...}, "row 1: key 'customer_id' of service 'returns' is absent", "null where it is not known"),
        ({"placed": ...}, "row 1: request column 'placed' of service 'returns' is absent", "in every row"),
        ({"customer_id": ..., "custmer_id": 7}, "found is 'custmer_id'", "send 'customer_id'"),
        ({"basket": 1}, "column 'basket' is unknown to service 'returns'; did you mean 'basket_total'?", "only"),
        ({"customer_id": "7"}, "key 'customer_id': '7' is not a BIGINT", "whole number"),
        ({"customer_id": True}, "True is not a BIGINT", "whole number"),
        ({"customer_id": 2**63}, "is outside BIGINT", "holds"),
        ({"basket_total": "much"}, "request column 'basket_total': 'much' is not a DOUBLE", "number"),
        ({"placed": "2013-12-01T08:30:00"}, "has no time zone", "'Z'"),
        ({"event_timestamp": "2013-12-01 08:30"}, "'event_timestamp': '2013-12-01 08:30' has no time zone", "'Z'"),
        ({"event_timestamp": 1385886600}, "is not a TIMESTAMP", "'2013-12-01T08:30:00Z'"),
        ({"event_timestamp": {}}, "is not a TIMESTAMP", "'2013-12-01T08:30:00Z'"),
    ],
)
def test_a_row_that_does_not_fit_is_named(client: Client, change: dict[str, object], word: str, hint: str) -> None:
    bad = {k: v for k, v in {**ROW, **change}.items() if v is not ...}
    for path, body in (
        ("/v1/score/late", {"rows": [ROW, bad]}),
        ("/v1/lookup", {"service": "returns", "rows": [ROW, bad]}),
    ):
        error = error_of(client.post(path, body), 422, "input")
        assert word in error["message"]
        assert hint in error["try"]


@pytest.mark.parametrize("path", HOT)
@pytest.mark.parametrize("body", [b"", b"{", b"row=1", b'{"row": NaN}', b"\xff\xfe", b"[" * 5000])
def test_what_is_not_json_is_said_to_be_so(client: Client, path: str, body: bytes) -> None:
    assert "NaN" in error_of(client.post(path, body), 400, "json")["try"]


@pytest.mark.parametrize("path", HOT)
@pytest.mark.parametrize("body", [[], 3, None, "text", {}, {"rows": []}, {"row": ROW, "unknown": 1}])
def test_json_of_another_shape_is_refused(client: Client, path: str, body: object) -> None:
    error_of(client.post(path, body), 422, "input")


@pytest.mark.parametrize("rows", [{}, None, [1], [None], [[]], "row", [ROW, "row"]])
def test_rows_of_another_shape_are_refused_with_an_example(client: Client, rows: object) -> None:
    error = error_of(client.post("/v1/score/late", {"rows": rows}), 422, "input")
    assert '"customer_id":7' in error["try"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"feature_service": "everything"}, "`entities` is None"),
        ({"feature_service": "everything", "entities": {"customer_id": 7}}, "`entities` is"),
        ({"feature_service": "everything", "entities": {"customer_id": [1], "b": []}}, "1 values of 'customer_id'"),
        ({"features": "spend:avg_7d", "entities": {}}, "`features` is 'spend:avg_7d'"),
        ({"features": [1], "entities": {}}, "`features` is [1]"),
        ({"features": ["a:b"], "feature_service": "everything", "entities": {}}, "one of the two"),
        ({"feature_service": "everything", "entities": {"customer_id": []}}, "`rows` is []"),
        ({"feature_service": "everything", "entities": {"customer_id": [1]}, "full_feature_names": 1}, "is 1"),
        ({"features": ["spend:avg_7d"], "entities": {"customer_id": [1]}, VERSIONS: True}, "fingerprints instead"),
        ({"features": ["spend:avg_7d"], "entities": {"customer_id": [1]}, "at": "noon"}, "`at`"),
        ({"features": ["spend:avg_7d"], "entities": {"customer_id": [1]}, "tolerate": "stale"}, "`tolerate`"),
    ],
)
def test_a_feast_request_that_does_not_fit_is_refused(client: Client, body: object, word: str) -> None:
    assert word in error_of(client.post("/get-online-features", body), 422, "input")["message"]


@pytest.mark.parametrize(
    ("path", "body", "hint"),
    [
        ("/v1/score/lat", {"row": ROW}, "did you mean 'late'?"),
        ("/v1/lookup", {"service": "return", "rows": [ROW]}, "did you mean 'returns'?"),
        ("/v1/lookup", {"service": ["returns"], "rows": [ROW]}, "'returns'"),
        ("/get-online-features", {"feature_service": "everythin", "entities": {}}, "did you mean 'everything'?"),
        ("/get-online-features", {"features": ["spent:avg_7d"], "entities": {}}, "did you mean 'spend'?"),
        ("/get-online-features", {"features": ["spend:avg"], "entities": {}}, "did you mean 'avg_7d'?"),
    ],
)
def test_an_unknown_name_gets_the_nearest(client: Client, path: str, body: object, hint: str) -> None:
    assert hint in error_of(client.post(path, body), 404, "not-found")["try"]


@pytest.mark.parametrize("path", HOT)
def test_a_large_body_is_refused(client: Client, path: str) -> None:
    assert "10000 bytes" in error_of(client.post(path, b" " * 10_001), 413, "too-large")["message"]


def test_a_large_body_without_a_length_is_refused_on_the_way(client: Client) -> None:
    async def parts() -> Any:
        for _ in range(100):
            yield b" " * 1_000

    error_of(client.ask("POST", "/v1/lookup", content=parts()), 413, "too-large")


def test_too_many_rows_are_refused(client: Client) -> None:
    error = error_of(client.post("/v1/score/late", {"rows": [ROW] * 21}), 413, "too-large")
    assert "at most 20 rows" in error["try"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/score/late", 405),
        ("PUT", "/v1/lookup", 405),
        ("GET", "/nothing", 404),
        ("POST", "/v1/score/a/b", 404),
    ],
)
def test_wrong_paths_and_methods_have_the_shape_of_all_errors(
    client: Client, method: str, path: str, status: int
) -> None:
    error_of(client.ask(method, path), status, "not-found" if status == 404 else "http")


@pytest.mark.parametrize("path", HOT)
def test_a_corrupt_state_is_an_error_of_its_own(client: Client, world: World, path: str) -> None:
    world.cut_state(b"\x07")
    error = error_of(client.post(path, STATEFUL[path]), 500, "state")
    assert "state of (orders, customer)" in error["message"]
    assert "rebuild" in error["try"]


def test_an_unforeseen_fault_shows_no_traceback(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = world.catalog()
    monkeypatch.setattr(type(catalog), "model", lambda *_: 1 / 0)
    error_of(Client(create_app(catalog)).post("/v1/score/late", {"row": ROW}), 500, "internal")
    assert "ZeroDivisionError" in caplog.text


def test_what_was_scored_is_in_the_log_to_the_bit(world: World) -> None:
    with logged(world) as (client, read):
        rows = [ROW, {**ROW, "customer_id": None, "basket_total": "NaN"}]
        answer = client.post("/v1/score/late", {"rows": rows}).json()
        first, second = sorted(read().to_pylist(), key=lambda r: answer["request_ids"].index(r["request_id"]))
    assert [first["score"], second["score"]] == answer["scores"]
    assert (first["model"], first["model_version"], first["error"]) == ("late", "1", None)
    assert list(first["features"].values()) == [2, 30.0, 15.0, 2.0, True, 30.0]
    assert second["row"]["customer_id"] is None
    assert math.isnan(second["row"]["basket_total"])
    assert second["statuses"][0] == "missing"
    (string,) = json.loads(first["provenance"])
    assert (string["source"], string["entity"], string["epoch"]) == ("orders", "customer", 1)
    assert (string["offsets"], string["markers"]) == ({"0": 1}, {"0": 2})
    assert first["event_timestamp"].isoformat() == "2013-12-01T08:30:00+00:00"


def test_lookups_of_a_service_are_logged_without_a_score(world: World) -> None:
    with logged(world) as (client, read):
        client.post("/v1/lookup", STATEFUL["/v1/lookup"])
        client.post("/get-online-features", STATEFUL["/get-online-features"])
        rows = read().to_pylist()
    assert [(r["model"], r["score"]) for r in rows] == [(None, None)] * 2
    assert [r["features"]["spend_7d"] for r in rows] == [30.0] * 2


def test_a_row_that_failed_is_logged_with_its_error(world: World) -> None:
    world.cut_state(b"\x07")
    with logged(world) as (client, read):
        error = error_of(client.post("/v1/score/late", {"rows": [{**ROW, "customer_id": 8}, ROW]}), 500, "state")
        (row,) = read().to_pylist()
    assert error["message"].startswith("row 1: ")
    assert row["row"]["customer_id"] == 7
    assert row["features"] is None
    assert "state of (orders, customer)" in row["error"]
    assert (row["model"], row["score"]) == ("late", None)


def test_health_is_about_the_process_alone(empty_world: World) -> None:
    assert Client(create_app(empty_world.catalog())).get("/health").json() == {"status": "ok"}


def test_ready_means_that_state_is_live_and_models_are_loaded(client: Client) -> None:
    answer = client.get("/ready")
    assert answer.status_code == 200
    assert answer.json() == {
        "ready": True,
        "checks": {"service everything": "ok", "service returns": "ok", "model late": "ok"},
    }


def test_not_ready_before_state_is_built_and_ready_behind_it(empty_world: World) -> None:
    client = Client(create_app(empty_world.catalog()))
    answer = client.get("/ready")
    assert answer.status_code == 503
    assert "not built yet" in answer.json()["checks"]["service returns"]
    error_of(client.post("/v1/lookup", STATEFUL["/v1/lookup"]), 503, "store")
    empty_world.go_live()
    assert client.get("/ready").status_code == 200
    assert client.post("/v1/lookup", STATEFUL["/v1/lookup"]).status_code == 200


def test_a_refused_model_is_named_and_the_rest_is_served(world: World) -> None:
    world.write_model_of_other_logic()
    client = Client(create_app(world.catalog()))
    answer = client.get("/ready")
    assert answer.status_code == 503
    assert "has fingerprint" in answer.json()["checks"]["model other"]
    error = error_of(client.post("/v1/score/other", {"row": ROW}), 503, "mismatch")
    assert "model 'other' version 1: feature 'orders_7d' has fingerprint" in error["message"]
    assert client.post("/v1/score/late", {"row": ROW}).status_code == 200
    states = {m["name"]: m["state"] for m in client.get("/v1/models").json()["models"]}
    assert states == {"late": "loaded", "other": "refused"}


def test_a_pointer_to_a_version_that_is_not_there_is_refused(world: World) -> None:
    for version in ("7", "", "../late/1"):
        (world.models / "late" / "current").write_text(version)
        assert "which is not there" in str(world.catalog().refused["late"])


def test_services_say_what_they_need_and_give(client: Client) -> None:
    services = {s["name"]: s for s in client.get("/v1/services").json()["services"]}
    assert services["returns"]["keys"] == [{"name": "customer_id", "type": "BIGINT"}]
    assert [c["name"] for c in services["returns"]["request"]] == ["basket_total", "placed"]
    assert services["returns"]["features"][0].keys() == {"name", "view", "type", "fingerprint", "inexact"}


def test_metrics_count_rows_statuses_and_answers(client: Client, metrics: Metrics) -> None:
    client.post("/v1/score/late", {"rows": [ROW, {**ROW, "customer_id": 99}]})
    client.post("/v1/score/late", {"row": {}})
    client.post("/v1/score/nobody", {"row": ROW})
    text = client.get("/metrics").text
    for line in (
        'onefold_rows_total{service="returns"} 2.0',
        'onefold_values_total{service="returns",status="fresh"} 7.0',
        'onefold_values_total{service="returns",status="missing"} 5.0',
        'onefold_requests_total{path="/v1/score/{model}",status="200"} 1.0',
        'onefold_requests_total{path="/v1/score/{model}",status="422"} 1.0',
        'onefold_requests_total{path="/v1/score/{model}",status="404"} 1.0',
        'onefold_lookup_seconds_count{service="returns"} 1.0',
        'onefold_score_seconds_count{model="late"} 1.0',
        "onefold_served_log_dropped_total 0.0",
    ):
        assert line in text


def test_the_documents_hold_examples_that_work(client: Client) -> None:
    document = client.get("/openapi.json").json()
    assert client.get("/docs").status_code == 200
    count = 0
    for path, operations in document["paths"].items():
        content = operations.get("post", {}).get("requestBody", {}).get("content", {})
        for example in content.get("application/json", {}).get("examples", {}).values():
            count += 1
            real = path.replace("{model}", "late").replace("{version}", "1")
            assert client.post(real, example["value"]).status_code == 200
    assert count == 6


def test_the_documented_routes_answer_as_the_hot_ones(world: World) -> None:
    front: Front = create_app(world.catalog())
    for path, body in STATEFUL.items():
        hot, slow = (Client(app).post(path, body).json() for app in (front, front.face))
        for answer in (hot, slow):
            answer.pop("request_id", None)
            answer.pop("request_ids", None)
        assert hot == slow


def test_a_client_that_left_gets_no_answer(world: World) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/lookup", "headers": []}
    asyncio.run(create_app(world.catalog())(scope, receive, send))
    assert not sent


def test_the_lifespan_starts_the_log_and_writes_it_behind_the_last_answer(world: World) -> None:
    root = world.folder / "served"
    messages = iter(["lifespan.startup", "lifespan.shutdown"])
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        kind = next(messages)
        if kind == "lifespan.shutdown":
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
                assert (await client.post("/v1/score/late", json={"row": ROW})).status_code == 200
        return {"type": kind}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    with logging_to(root) as log:
        app = create_app(world.catalog(), log=log)
        asyncio.run(app({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert ServedLog(root).read("returns", world.plan.fingerprint).num_rows == 1


def test_the_parameters_of_a_path_are_documented(client: Client) -> None:
    score = client.get("/openapi.json").json()["paths"]["/v1/score/{model}"]["post"]
    assert [(p["name"], p["in"]) for p in score["parameters"]] == [("model", "path")]


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_a_probe_may_ask_for_the_head_alone(client: Client, path: str) -> None:
    assert client.ask("HEAD", path).status_code == 200
