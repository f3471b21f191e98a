from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from onefold.features.errors import InputError, NotFoundError, StoreError
from onefold.serving import keys
from onefold.serving.access import Doorman
from onefold.serving.app import create_app
from onefold.serving.key_file import KeyFile
from onefold.serving.keys import ALL, Key, KeyRing

if TYPE_CHECKING:
    from .conftest import Client, World

NOW = 1_385_886_600_000_000
DAY = 86_400_000_000
ROW = {"customer_id": 7, "basket_total": 30.0, "placed": "2013-12-01T08:29:30Z"}
LOOKUP = "/v1/lookup"


def made(*services: str, **options: Any) -> tuple[Key, str]:
    return keys.create("someone", services=services, now=NOW, **({"expires": None} | options))


def test_a_key_is_256_random_bits_and_only_its_hash_is_kept() -> None:
    key, text = made("returns")
    other, _ = made("returns")
    assert len(text.rpartition("_")[2]) >= 43 or len(text) == len("onefold_") + 12 + 1 + 43
    assert text not in json.dumps(key.to_json())
    assert key.digest != other.digest
    assert KeyRing([key, other]).find(text) is key


@pytest.mark.parametrize("wrong", ["", "onefold_", "x" * 5_000, "onefold_000000000000_" + "a" * 43, "Ü"])
def test_what_is_no_key_is_none(wrong: str) -> None:
    assert KeyRing([made("returns")[0]]).find(wrong) is None


def test_the_right_id_with_a_wrong_secret_is_none() -> None:
    key, text = made("returns")
    assert KeyRing([key]).find(text[:-1] + ("A" if text[-1] != "A" else "B")) is None


def test_rotation_overlaps_and_keeps_the_rights() -> None:
    old, old_text = made("returns", rate=5.0, operator=True)
    ring, text = keys.rotate([old], old.id, now=NOW, expires=NOW + 365 * DAY, overlap=7 * DAY)
    first, second = ring
    assert (second.services, second.rate, second.operator, second.follows) == (old.services, 5.0, True, old.id)
    assert first.state(NOW + 6 * DAY) == second.state(NOW + 6 * DAY) == "active"
    assert (first.state(NOW + 7 * DAY), second.state(NOW + 7 * DAY)) == ("expired", "active")
    assert {k.id for t in (old_text, text) if (k := KeyRing(ring).find(t))} == {old.id, second.id}


def test_rotation_never_makes_an_old_key_live_longer() -> None:
    old, _ = made("returns", expires=NOW + DAY)
    assert keys.rotate([old], old.id, now=NOW, expires=None, overlap=7 * DAY)[0][0].expires == NOW + DAY


def test_a_key_that_is_gone_cannot_be_rotated() -> None:
    old, _ = made("returns")
    with pytest.raises(InputError, match="is revoked; create a new one"):
        keys.rotate(keys.revoke([old], old.id, now=NOW), old.id, now=NOW, expires=None, overlap=0)


def test_a_name_finds_a_key_where_only_one_bears_it() -> None:
    one, other = made("returns")[0], made("returns")[0]
    assert keys.find([one], "someone") is one
    with pytest.raises(InputError, match="2 keys are named 'someone'"):
        keys.find([one, other], "someone")
    with pytest.raises(NotFoundError):
        keys.find([one], "nobody")


def test_the_file_gives_back_what_was_written_and_is_its_owners_alone(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "state" / "keys.json")
    assert file.read() == []
    written = [
        made("returns", rate=2.5, expires=NOW + DAY)[0],
        *keys.revoke([made(ALL, operator=True)[0]], "someone", now=NOW),
    ]
    with file.changing():
        file.write(written)
    assert file.read() == written
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"format": 2, "keys": []}', '{"format": 1, "keys": [{"id": 7}]}', '{"format": 1, "keys": 5}'],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys.json").write_text(content)
    with pytest.raises(StoreError, match="cannot be read"):
        KeyFile(tmp_path / "keys.json").read()


Door = Callable[..., tuple["Client", dict[str, str]]]


@pytest.fixture
def door(world: World, client_of: Callable[[Any], Client]) -> Door:
    """A client of a service that asks for keys, and headers with a key for these services."""

    def opened(*services: str, **options: Any) -> tuple[Client, dict[str, str]]:
        key, text = made(*services, **options)
        return client_of(create_app(world.catalog(), doorman=Doorman(KeyRing([key])))), {
            "Authorization": f"Bearer {text}"
        }

    return opened


def body(service: str, row: dict[str, Any] = ROW) -> bytes:
    return json.dumps({"service": service, "rows": [row]}).encode()


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_no_key_and_wrong_keys_are_401(door: Door) -> None:
    client, _ = door("returns")
    for headers in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic x"}, {"X-API-Key": "onefold_1_2"}):
        assert code(client.ask("POST", LOOKUP, content=body("returns"), headers=headers)) == (401, "unauthorised")


def test_a_key_opens_its_service_by_either_header(door: Door) -> None:
    client, headers = door("returns")
    for given in (headers, {"X-API-Key": headers["Authorization"].removeprefix("Bearer ")}):
        assert client.ask("POST", LOOKUP, content=body("returns"), headers=given).status_code == 200


@pytest.mark.parametrize(("options", "word"), [({"expires": NOW}, "expired"), ({"revoked": NOW}, "revoked")])
def test_a_key_that_is_over_is_401(world: World, client_of: Any, options: dict[str, int], word: str) -> None:
    key, text = made("returns", expires=options.get("expires"))
    ring = KeyRing(keys.revoke([key], key.id, now=NOW) if "revoked" in options else [key])
    client = client_of(create_app(world.catalog(), doorman=Doorman(ring)))
    answer = client.ask("POST", LOOKUP, content=body("returns"), headers={"X-API-Key": text})
    assert code(answer) == (401, "unauthorised")
    assert word in answer.json()["error"]["message"]


OUTSIDE = [
    ("POST", LOOKUP, {"service": "everything", "rows": [{"customer_id": 7}]}),
    ("POST", LOOKUP, {"service": "no_such", "rows": [{"customer_id": 7}]}),
    ("POST", "/get-online-features", {"feature_service": "everything", "entities": {"customer_id": [7]}}),
    ("POST", "/get-online-features", {"features": ["spend:last_category"], "entities": {"customer_id": [7]}}),
    ("POST", "/get-online-features", {"features": ["spend.last_category"], "entities": {"customer_id": [7]}}),
    ("POST", "/get-online-features", {"features": ["spend"], "entities": {"customer_id": [7]}}),
    ("POST", "/get-online-features", {"features": ["spend:orders_7d", "spend:nope"], "entities": {"customer_id": [7]}}),
    ("POST", "/get-online-features", {"features": ["nope:nope"], "entities": {"customer_id": [7]}}),
]


@pytest.mark.parametrize(("method", "path", "content"), OUTSIDE)
def test_a_key_never_reaches_a_service_that_it_has_no_right_to(
    door: Door, method: str, path: str, content: Any
) -> None:
    client, headers = door("returns")
    answer = client.ask(method, path, content=json.dumps(content).encode(), headers=headers)
    assert code(answer) == (403, "forbidden")
    for secret in ("everything;", "last_at", "did you mean", "known are"):
        assert secret not in answer.text


def test_features_of_ones_own_services_may_be_listed(door: Door) -> None:
    client, headers = door("returns")
    content = json.dumps({"features": ["spend:orders_7d"], "entities": {"customer_id": [7]}}).encode()
    answer = client.ask("POST", "/get-online-features", content=content, headers=headers)
    assert answer.json()["results"][1]["values"] == [2]


def test_a_model_comes_with_its_service_alone(door: Door) -> None:
    client, headers = door("everything")
    score = json.dumps({"row": ROW}).encode()
    tensors = json.dumps({"inputs": [{"name": "customer_id", "shape": [1], "datatype": "INT64", "data": [7]}]}).encode()
    for model in ("late", "no_such"):
        assert code(client.ask("POST", f"/v1/score/{model}", content=score, headers=headers)) == (403, "forbidden")
        for method, rest in (("POST", "/infer"), ("GET", ""), ("GET", "/ready"), ("GET", "/versions/1")):
            content = tensors if method == "POST" else b""
            answer = client.ask(method, f"/v2/models/{model}{rest}", content=content, headers=headers)
            assert answer.status_code == 403
            assert f"no right to model '{model}'" in answer.json()["error"]


def test_pages_show_what_a_key_may_reach(door: Door) -> None:
    client, headers = door("everything")
    assert [s["name"] for s in client.ask("GET", "/v1/services", headers=headers).json()["services"]] == ["everything"]
    assert client.ask("GET", "/v1/models", headers=headers).json() == {"models": []}
    assert client.ask("GET", "/ready", headers=headers).json() == {"ready": True}


@pytest.mark.parametrize("path", ["/metrics", "/docs", "/redoc", "/openapi.json", "/no/such"])
def test_metrics_and_documents_are_the_operators(door: Door, path: str) -> None:
    client, headers = door(ALL)
    assert client.ask("GET", path).status_code == 401
    assert client.ask("GET", path, headers=headers).status_code == 403
    operator, headers = door(operator=True)
    assert operator.ask("GET", path, headers=headers).status_code == (404 if path == "/no/such" else 200)
    assert operator.ask("POST", LOOKUP, content=body("returns"), headers=headers).status_code == 403


@pytest.mark.parametrize("path", ["/health", "/ready", "/v2", "/v2/health/live", "/v2/health/ready"])
def test_probes_need_no_key_and_tell_no_details(door: Door, path: str) -> None:
    client, _ = door("returns")
    answer = client.ask("GET", path)
    assert answer.status_code == 200
    assert "returns" not in answer.text


def test_a_key_for_all_reaches_all(door: Door) -> None:
    client, headers = door(ALL)
    for content in (body("returns"), body("everything", {"customer_id": 7})):
        assert client.ask("POST", LOOKUP, content=content, headers=headers).status_code == 200


def test_a_key_over_its_rate_is_429_with_a_time_to_come_again(door: Door) -> None:
    client, headers = door("returns", rate=0.01)
    first, second = (client.ask("POST", LOOKUP, content=body("returns"), headers=headers) for _ in range(2))
    assert first.status_code == 200
    assert code(second) == (429, "too-many")
    assert 1 <= int(second.headers["retry-after"]) <= 100
