from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from onefold.serving.app import Front, create_app
from onefold.serving.batches import Batches
from onefold.serving.errors import ApiError
from onefold.serving.exchange import ARRIVED
from onefold.serving.limits import Limits, Rates

if TYPE_CHECKING:
    from .conftest import Client, World

ROW = {"customer_id": 7, "basket_total": 30.0, "placed": "2013-12-01T08:29:30Z"}
SCORE = "/v1/score/late"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_its_burst_then_its_rate() -> None:
    clock = Clock()
    rates = Rates(rate=10, burst=2, clock=clock)
    for _ in range(20):
        rates.take("a")
    with pytest.raises(ApiError, match="10 requests a second") as error:
        rates.take("a")
    assert (error.value.status, error.value.headers) == (429, [(b"retry-after", b"1")])
    rates.take("b")
    clock.now = 0.1
    rates.take("a")
    with pytest.raises(ApiError):
        rates.take("a")


def test_a_keys_own_rate_wins_and_zero_is_any_number() -> None:
    rates = Rates(rate=1, burst=1, clock=Clock())
    for _ in range(50):
        rates.take("free", 0)
    rates.take("own", 2)
    rates.take("own", 2)
    with pytest.raises(ApiError):
        rates.take("own", 2)


def test_a_process_gives_its_share_of_a_rate() -> None:
    rates = Rates(rate=10, burst=1, share=0.5, clock=Clock())
    for _ in range(5):
        rates.take("a")
    with pytest.raises(ApiError, match="10 requests a second"):
        rates.take("a")


def test_slow_rates_say_when_to_come_again() -> None:
    rates = Rates(rate=0.1, burst=1, clock=Clock())
    rates.take("a")
    with pytest.raises(ApiError) as error:
        rates.take("a")
    assert error.value.headers == [(b"retry-after", b"10")]


class Gated:
    """A lookup that waits until it may go on."""

    def __init__(self, world: World, **limits: Any) -> None:
        catalog = world.catalog()
        self.service = catalog.services["returns"]
        self.may, self.begun, self.inner = asyncio.Event(), asyncio.Semaphore(0), self.service.lookup
        object.__setattr__(self.service, "lookup", self)
        self.app = create_app(catalog, limits=Limits(**limits))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def read(self, rows: Any, times: Any) -> Any:
        self.begun.release()
        await self.may.wait()
        return await self.inner.read(rows, times)


async def ask(app: Front, path: str = SCORE, **options: Any) -> httpx.Response:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.post(path, **({"json": {"row": ROW}} | options))


def test_one_too_many_at_once_is_refused_and_there_is_room_again(world: World) -> None:
    async def go() -> tuple[httpx.Response, list[int], int]:
        gated = Gated(world, at_once=2)
        inside = [asyncio.create_task(ask(gated.app)) for _ in range(2)]
        for _ in inside:
            await gated.begun.acquire()
        refused = await ask(gated.app)
        gated.may.set()
        return refused, [r.status_code for r in await asyncio.gather(*inside)], (await ask(gated.app)).status_code

    refused, inside, after = asyncio.run(go())
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
    assert refused.headers["retry-after"] == "1"
    assert (inside, after) == ([200, 200], 200)


def test_what_takes_too_long_is_504_and_leaves_its_place(world: World) -> None:
    async def go() -> list[httpx.Response]:
        gated = Gated(world, at_once=1, seconds=0.01)
        first = await ask(gated.app)
        gated.may.set()
        return [first, await ask(gated.app)]

    late, after = asyncio.run(go())
    assert (late.status_code, late.json()["error"]["code"]) == (504, "timeout")
    assert after.status_code == 200


def test_a_request_that_waited_too_long_for_its_turn_is_refused(world: World) -> None:
    app = create_app(world.catalog())
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": json.dumps({"row": ROW}).encode()}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": SCORE, "headers": [], ARRIVED: -1e9}
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 503
    assert b"for its turn" in sent[1]["body"]


def deep(levels: int) -> bytes:
    return b'{"row": {"customer_id": ' + b"[" * levels + b"]" * levels + b"}}"


ATTACKS = {
    "one byte too many": (b" " * 10_001, 413),
    "empty": (b"", 400),
    "no JSON": (b"{", 400),
    "no UTF-8": (b'{"row": "\xff"}', 400),
    "NaN": (b'{"row": {"customer_id": NaN}}', 400),
    "Infinity": (b'{"row": {"customer_id": Infinity}}', 400),
    "deep": (deep(900), 422),
    "deeper": (deep(2_000), 400),
    "deepest": (deep(4_900), 400),
    "a long number": (b'{"row": {"customer_id": ' + b"9" * 5_000 + b"}}", (400, 422)),
    "a list": (b"[]", 422),
    "null": (b"null", 422),
    "an unknown field": (json.dumps({"row": ROW, "path": "/etc/passwd"}).encode(), 422),
    "an unknown column": (json.dumps({"row": ROW | {"url": "http://localhost"}}).encode(), 422),
    "a wrong type": (json.dumps({"row": ROW | {"customer_id": {"a": 1}}}).encode(), 422),
    "a float for a key": (json.dumps({"row": ROW | {"customer_id": 7.5}}).encode(), 422),
    "too many rows": (json.dumps({"rows": [{}] * 21}).encode(), 413),
    "no rows": (b'{"rows": []}', 422),
    "both": (json.dumps({"row": ROW, "rows": [ROW]}).encode(), 422),
    "a surrogate": (b'{"row": {"customer_id": "\\ud800"}}', (400, 422)),
    "a name that is deep": (b'{"' + b"[" * 3_000 + b'": 1}', 422),
}


@pytest.mark.parametrize(("body", "status"), ATTACKS.values(), ids=ATTACKS)
def test_an_attack_is_a_4xx(world: World, client_of: type[Client], body: bytes, status: int | tuple[int, ...]) -> None:
    client = client_of(create_app(world.catalog(), limits=Limits(body=10_000, rows=20)))
    for path in (SCORE, "/v1/lookup", "/get-online-features", "/v2/models/late/infer"):
        answer = client.post(path, body)
        wanted = status if isinstance(status, tuple) else (status,)
        assert answer.status_code in (wanted if path == SCORE else (400, 413, 422)), (path, answer.text)
        assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "path", ["/v1/score/", "/v1/score/late/x", "/v1/score/..%2flate", "/v1/score/%2e%2e", "//v1/lookup"]
)
def test_a_path_that_is_none_is_404(world: World, client_of: type[Client], path: str) -> None:
    assert client_of(create_app(world.catalog())).post(path, {"row": ROW}).status_code == 404


def test_too_many_features_are_413(world: World, client_of: type[Client]) -> None:
    client = client_of(create_app(world.catalog(), limits=Limits(features=3)))
    body = {"features": ["spend:orders_7d"] * 4, "entities": {"customer_id": [7]}}
    assert client.post("/get-online-features", body).status_code == 413


def test_a_request_id_is_the_clients_where_it_is_plain(world: World, client_of: type[Client]) -> None:
    client = client_of(create_app(world.catalog()))
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    for headers, wanted in (
        ({"X-Request-Id": "order-17"}, "order-17"),
        ({"traceparent": trace}, "4bf92f3577b34da6a3ce929d0e0e4736"),
        ({"X-Request-Id": "a", "traceparent": trace}, "a"),
    ):
        assert client.ask("GET", "/health", headers=headers).headers["x-request-id"] == wanted
    for bad in ({"X-Request-Id": "a b"}, {"X-Request-Id": "x" * 200}, {"traceparent": "00-x"}, {}):
        assert len(client.ask("GET", "/health", headers=bad).headers["x-request-id"]) == 32


class Model:
    """A model that notes how it is asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def score(self, rows: Sequence[Any]) -> list[float]:
        self.asked.append(len(rows))
        if any(row is None for row in rows):
            raise ValueError("a row is wrong")
        return [float(row) for row in rows]


def scored(batches: Batches, model: Any, *asked: list[Any]) -> list[Any]:
    async def go() -> list[Any]:
        return await asyncio.gather(*(batches.score(model, rows) for rows in asked), return_exceptions=True)

    return asyncio.run(go())


def test_what_comes_together_is_scored_together() -> None:
    model = Model()
    assert scored(Batches(lambda: 3), model, [1], [2, 3], [4]) == [[1.0], [2.0, 3.0], [4.0]]
    assert model.asked == [4]


def test_who_is_alone_does_not_wait() -> None:
    model = Model()
    assert scored(Batches(lambda: 1), model, [1], [2]) == [[1.0], [2.0]]
    assert model.asked == [1, 1]


def test_a_batch_has_a_bound_and_a_large_request_goes_alone() -> None:
    model = Model()
    assert scored(Batches(lambda: 9, most=3), model, [1, 2], [3, 4], [5], [6, 7, 8, 9]) == [
        [1, 2], [3, 4], [5], [6, 7, 8, 9],
    ]  # fmt: skip
    assert sorted(model.asked) == [2, 3, 4]


def test_a_failure_is_told_to_each_of_a_batch() -> None:
    found = scored(Batches(lambda: 3), Model(), [1], [None])
    assert [type(f) for f in found] == [ValueError, ValueError]


def test_rows_in_a_batch_score_as_alone(world: World) -> None:
    async def go() -> tuple[list[Any], list[Any]]:
        app = create_app(world.catalog())
        bodies = [{"row": ROW | {"customer_id": key}} for key in (7, 8, 9, None) * 5]
        alone = [(await ask(app, json=body)).json()["score"] for body in bodies]
        together = await asyncio.gather(*(ask(app, json=body) for body in bodies))
        return alone, [answer.json()["score"] for answer in together]

    alone, together = asyncio.run(go())
    assert alone == together
