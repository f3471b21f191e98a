"""The whole way with `[online] url`: build, stream, look up and serve, with the state in a Redis."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from onefold.config import Settings
from onefold.features.errors import ConfigError
from onefold.online.opening import open_store
from onefold.online.redis_options import RedisOptions
from onefold.wiring import Workspace

if TYPE_CHECKING:
    from tests.services.redis import RedisServer
    from tests.services.redis_cluster import RedisCluster

Run = Callable[..., Any]


@pytest.fixture
def on_redis(shop: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    with redis_server.client() as client:
        client.flushall()
    monkeypatch.setenv("ONEFOLD_ONLINE__URL", redis_server.url)
    return shop


def test_built_streamed_and_looked_up_as_on_one_machine(
    run: Run, on_redis: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = {"order_id": "new", "customer_id": 42, "amount": 1.5, "category": "toys"}
    (on_redis / "live.jsonl").write_text(json.dumps(event | {"ordered_at": "2025-12-31T00:00:00Z"}) + "\n")
    asked = ("get", "customer_spend", "--key", "customer_id=42", "--at", "2026-01-01T00:00:00Z", "--json")
    found = []
    for _ in range(2):
        assert run("materialize", "--full").code == 0
        assert run("stream", "--feed", "orders=live.jsonl", "--once").code == 0
        found.append(run(*asked).json["features"])
        monkeypatch.delenv("ONEFOLD_ONLINE__URL", raising=False)
    assert found[0] == found[1]
    assert all(feature["status"] != "missing" for feature in found[0])


def test_unbuilt_state_in_redis_says_what_to_run(run: Run, on_redis: Path) -> None:
    answer = run("get", "customer_spend", "--key", "customer_id=42")
    assert answer.code != 0 and "onefold materialize" in answer.err


def test_cluster_is_opened_by_its_url(redis_cluster: RedisCluster, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEFOLD_ONLINE__URL", f"redis+cluster://{','.join(redis_cluster.addresses)}")
    with Workspace.find(shop).store() as store:
        store.put([(b"p/a", b"1")])
        with Workspace.find(shop).store(readonly=True) as reader:
            assert reader.get([b"p/a"]) == [b"1"]


def test_settings_become_options(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("URL", "rediss://app@cache:7000/2"), ("PASSWORD", "s3cret"), ("TLS_CA", "ca.pem"),
        ("TIMEOUT", "250 milliseconds"), ("EXPIRE", "false"),
    ):  # fmt: skip
        monkeypatch.setenv(f"ONEFOLD_ONLINE__{name}", value)
    settings = Settings.load(shop)
    options = settings.online_store
    assert isinstance(options, RedisOptions)
    assert (options.username, options.password, options.database, options.tls) == ("app", "s3cret", 2, True)
    assert (options.ca, options.timeout, options.expire) == (str(shop / "ca.pem"), 0.25, False)
    assert "s3cret" not in repr(settings) + repr(options)


def test_no_secret_is_in_the_message_of_a_wrong_setting(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (shop / "onefold.toml").read_text()
    (shop / "onefold.toml").write_text(text + '\n[online]\npassword = ["s3cret"]\n')
    with pytest.raises(ConfigError, match="password") as caught:
        Settings.load(shop)
    assert "s3cret" not in str(caught.value)


def test_redis_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in [name for name in sys.modules if name.startswith("onefold.online.redis_")]:
        if name != "onefold.online.redis_options":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hiredis", None)
    with pytest.raises(ConfigError, match=r"needs the library hiredis; try: pip install 'onefold\[redis\]'"):
        open_store(RedisOptions.of("redis://127.0.0.1"))
