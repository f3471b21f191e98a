"""The service as processes: workers, signals, TLS, and changes while requests go on."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from onefold.features.errors import ConfigError
from onefold.serving import keys
from onefold.serving.key_file import KeyFile
from onefold.serving.limits import Limits
from onefold.serving.run import ServeSettings, serve
from tests.services.certificates import make_certificates

from .conftest import trees
from .processes import answers, eventually, runs, serving

if TYPE_CHECKING:
    from .conftest import World

ROW = {
    "customer_id": 7, "basket_total": 30.0, "placed": "2013-12-01T08:29:30Z",
    "event_timestamp": "2013-12-01T08:30:00Z",
}  # fmt: skip


@contextmanager
def asking(url: str) -> Iterator[list[tuple[int, str]]]:
    """Asks for scores without a pause, in two threads; gives status and version of each answer."""
    found: list[tuple[int, str]] = []
    done = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=url) as client:
            while not done.is_set():
                answer = client.post("/v1/score/late", json={"row": ROW})
                found.append((answer.status_code, answer.json().get("version", answer.text)))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_models_change_without_a_failed_request(world: World) -> None:
    with serving(world.folder, watch=0.05) as server:
        with asking(server.url) as found:
            for version in ("2", "3"):
                eventually(lambda: bool(found))
                world.write_model(trees(6), version=version)
                eventually(lambda version=version: found[-1][1] == version)  # type: ignore[misc]  # a default binds it
        server.end()
    assert {status for status, _ in found} == {200}
    assert [v for v in ("1", "2", "3") if (200, v) not in found] == []


def test_hang_up_looks_at_once(world: World) -> None:
    with serving(world.folder, watch=0.0) as server:
        world.write_model(trees(6), version="2")
        server.signal(signal.SIGHUP)
        eventually(lambda: httpx.get(f"{server.url}/v1/models").json()["models"][0]["version"] == "2")
        server.end()


def total(url: str, path: str) -> float:
    """How many requests of a path /metrics has counted."""
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(f'onefold_requests_total{{path="{path}"'))


def test_workers_share_a_port_and_add_up(world: World) -> None:
    with serving(world.folder, workers=2) as server:
        server.log_process()
        assert len(server.workers()) == 2
        for _ in range(40):  # each on a connection of its own
            assert httpx.post(f"{server.url}/v1/score/late", json={"row": ROW}).status_code == 200
        eventually(lambda: total(server.url, "/v1/score/{model}") == 40)  # the other's come a moment later
        server.end()


def test_a_worker_that_dies_is_replaced(world: World) -> None:
    with serving(world.folder, workers=2) as server:
        server.log_process()
        first, second = server.workers()
        os.kill(first, signal.SIGKILL)
        eventually(lambda: len(set(server.workers()) - {first, second}) == 1)
        assert second in server.children()
        with asking(server.url) as found:
            eventually(lambda: len(found) > 20)
        assert {status for status, _ in found} == {200}
        server.end()


def test_workers_take_signals_from_their_parent(world: World) -> None:
    with serving(world.folder, workers=2, watch=0.0) as server:
        world.write_model(trees(6), version="2")
        server.signal(signal.SIGHUP)

        def versions() -> set[str]:
            return {httpx.post(f"{server.url}/v1/score/late", json={"row": ROW}).json()["version"] for _ in range(10)}

        eventually(lambda: versions() == {"2"})
        server.end()


def test_workers_end_when_their_parent_is_killed(world: World) -> None:
    with serving(world.folder, workers=2) as server:
        found = [server.log_process(), *server.workers()]
        server.process.kill()
        eventually(lambda: not [pid for pid in found if runs(pid)])


def test_what_stops_one_worker_at_its_start_is_said_once(world: World) -> None:
    world.write_model_of_other_logic()
    with (
        pytest.raises(AssertionError, match="model 'other' version 1: feature 'orders_7d' has fingerprint"),
        serving(world.folder, workers=2),
    ):
        pass


def test_an_end_that_is_near_shows_in_ready_first(world: World) -> None:
    with serving(world.folder, drain=0.5) as server:
        with httpx.Client(base_url=server.url) as client:
            assert client.get("/ready").status_code == 200
            server.signal(signal.SIGTERM)
            eventually(lambda: client.get("/ready").status_code == 503)
            assert client.post("/v1/score/late", json={"row": ROW}).status_code == 200
        out, err = server.process.communicate(timeout=60)
        assert server.process.returncode == 0, out + err


def test_a_request_that_is_open_at_the_end_is_answered(world: World) -> None:
    with serving(world.folder) as server, httpx.Client(base_url=server.url) as client:

        def body() -> Iterator[bytes]:
            content = json.dumps({"row": ROW}).encode()
            yield content[:10]
            server.signal(signal.SIGTERM)
            eventually(lambda: answers(server.url) == 0)
            yield content[10:]

        client.get("/health")  # the connection is accepted by then, however busy the machine
        assert client.post("/v1/score/late", content=body()).status_code == 200
        server.process.communicate(timeout=60)
        assert server.process.returncode == 0


def test_tls_and_keys_on_a_host_that_is_open(world: World, tmp_path: Path) -> None:
    files, path = make_certificates(tmp_path / "tls"), world.folder / ".onefold" / "keys.json"
    key, text = keys.create("someone", services=["returns"], now=0, expires=None)
    KeyFile(path).write([key])
    with serving(world.folder, host="0.0.0.0", tls_cert=files.certificate, tls_key=files.key, watch=0.05) as server:
        url = server.url.replace("0.0.0.0", "localhost")
        assert url.startswith("https://")
        headers = {"Authorization": f"Bearer {text}"}
        with httpx.Client(base_url=url, verify=ssl.create_default_context(cafile=str(files.authority))) as client:

            def status(**options: Any) -> int:
                return client.post("/v1/score/late", json={"row": ROW}, **options).status_code

            assert (status(), status(headers=headers)) == (401, 200)
            KeyFile(path).write(keys.revoke([key], key.id, now=1))
            eventually(lambda: status(headers=headers) == 401)
        again = make_certificates(tmp_path / "tls")
        server.signal(signal.SIGHUP)
        context = ssl.create_default_context(cafile=str(again.authority))
        eventually(lambda: answers(url, verify=context) == 200)
        server.end()


@pytest.mark.parametrize("options", [{"host": "0.0.0.0"}, {"require_keys": True}])
def test_no_key_no_start(world: World, options: dict[str, Any]) -> None:
    key, _ = keys.create("gone", services=["returns"], now=0, expires=1)
    KeyFile(world.folder / ".onefold" / "keys.json").write([key])
    with pytest.raises(ConfigError, match="no API key is active; make one with `onefold keys create"):
        serve(replace(ServeSettings.of(world.folder, port=0), **options))


def test_anonymous_is_allowed_where_it_is_said(world: World) -> None:
    with serving(world.folder, host="0.0.0.0", allow_anonymous=True) as server:
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        assert httpx.post(f"{url}/v1/score/late", json={"row": ROW}).status_code == 200
        server.end()


@pytest.mark.parametrize(("cert", "key", "why"), [("a.pem", None, "and its key"), ("a.pem", "b.pem", "No such file")])
def test_files_of_tls_are_looked_for(world: World, cert: str, key: str | None, why: str) -> None:
    settings = replace(
        ServeSettings.of(world.folder, port=0),
        tls_cert=world.folder / cert, tls_key=None if key is None else world.folder / key,
    )  # fmt: skip
    with pytest.raises(ConfigError, match=why):
        serve(settings)


def test_files_that_are_no_certificates_are_named(world: World) -> None:
    file = world.folder / "a.pem"
    file.write_text("no certificate")
    with pytest.raises(ConfigError, match="cannot be used"):
        serve(replace(ServeSettings.of(world.folder, port=0), tls_cert=file, tls_key=file))


def test_the_access_log_is_json_and_names_no_secret(world: World) -> None:
    key, text = keys.create("someone", services=["returns"], now=0, expires=None)
    KeyFile(world.folder / ".onefold" / "keys.json").write([key])
    with serving(world.folder, require_keys=True, access_log=True) as server:
        httpx.post(f"{server.url}/v1/score/late", json={"row": ROW}, headers={"X-API-Key": text, "X-Request-Id": "r1"})
        httpx.post(f"{server.url}/v1/score/late", json={"row": ROW})
        out = server.end()
    first, second = (json.loads(line) for line in out.splitlines())
    assert (first["request_id"], first["status"], first["key"]) == ("r1", 200, key.id)
    assert (first["route"], first["path"], first["method"]) == ("/v1/score/{model}", "/v1/score/late", "POST")
    assert (second["status"], second["key"]) == (401, None)
    assert text not in out
    assert first["bytes_in"] == len(json.dumps({"row": ROW}, separators=(",", ":")))


def test_a_slow_head_and_an_endless_one_are_cut_off(world: World) -> None:
    with serving(world.folder, limits=Limits(seconds=0.3)) as server:
        host, port = server.url.removeprefix("http://").split(":")
        for start, more in ((b"", b""), (b"GET /health HT", b""), (b"GET /health HTTP/1.1\r\n", b"x: y\r\n" * 40_000)):
            with socket.create_connection((host, int(port)), timeout=30) as connection:
                try:
                    connection.sendall(start)
                    connection.sendall(more)
                    assert connection.recv(100) == b""
                except ConnectionError:
                    pass
        assert answers(server.url) == 200
        server.end()


def test_one_connection_too_many_is_closed_and_the_others_go_on(world: World) -> None:
    with serving(world.folder, limits=Limits(connections=2)) as server:
        with httpx.Client(base_url=server.url) as one, httpx.Client(base_url=server.url) as two:
            assert [c.get("/health").status_code for c in (one, two)] == [200, 200]
            assert answers(server.url) == 0
            assert [c.get("/health").status_code for c in (one, two)] == [200, 200]
        eventually(lambda: answers(server.url) == 200)
        server.end()


def test_a_server_without_otel_says_what_to_install(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.store.close()
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigError, match=r"pip install 'onefold\[otel\]'"):
        serve(replace(ServeSettings.of(world.folder, port=0), traces=True))
