"""Two ways from a socket to an answer, the short one and uvicorn's: to a client they are one."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from onefold.serving.app import Front, create_app
from onefold.serving.limits import Limits
from onefold.serving.protocol import protocol
from onefold.serving.quick import Heads
from tests.services.process import wait_until

if TYPE_CHECKING:
    from .conftest import World

BODY = json.dumps({"service": "everything", "rows": [{"customer_id": 7}]}).encode()
LINE = b"POST /v1/lookup HTTP/1.1"
LENGTH = b"content-length: %d" % len(BODY)


def request(*headers: bytes, line: bytes = LINE, body: bytes = BODY) -> bytes:
    return b"\r\n".join([line, b"host: x", *headers, b"", b""]) + body


@contextmanager
def served(app: Front, *, quick: bool, idle: float = 5) -> Iterator[tuple[str, int]]:
    """The application on a port, in a thread. idle: seconds that a connection may wait for another request."""
    kind = protocol(connections=50, head_seconds=5, heads=app.heads if quick else None, answering=app.answering)
    config = uvicorn.Config(
        app, port=0, http=kind, ws="none", lifespan="on", log_config=None, server_header=False, date_header=False,
        timeout_keep_alive=idle,  # type: ignore[arg-type]  # as its loop takes it
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "the server listens")
        yield server.servers[0].sockets[0].getsockname()[:2]
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(params=[True, False], ids=["quick", "uvicorn"])
def connection(request: pytest.FixtureRequest, world: World) -> Iterator[socket.socket]:
    app = create_app(world.catalog(), limits=Limits(body=2_000))
    with served(app, quick=request.param) as place, socket.create_connection(place, timeout=20) as opened:
        yield opened


def read(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    """The next answer: status, headers, body."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(1)
    head, _, _ = received.partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (text.partition(": ") for text in lines)}
    body = b""
    while len(body) < int(headers["content-length"]):
        body += connection.recv(int(headers["content-length"]) - len(body))
    return int(line.split()[1]), headers, body


def asked(connection: socket.socket, sent: bytes) -> tuple[int, dict[str, str], Any]:
    connection.sendall(sent)
    return read(connection)


def test_requests_follow_each_other_on_a_connection(connection: socket.socket) -> None:
    for _ in range(3):
        status, headers, body = asked(connection, request(LENGTH, b"X-Request-Id: mine", b"Accept: */*"))
        assert status == 200
        assert headers["x-request-id"] == "mine" and headers["content-type"] == "application/json"
        assert json.loads(body)["values"][0][:2] == [2, 30.0]


def test_requests_that_come_together_are_answered_in_order(connection: socket.socket) -> None:
    ids = [b"r%d" % n for n in range(20)]
    connection.sendall(b"".join(request(LENGTH, b"x-request-id: " + one) for one in ids))
    assert [read(connection)[1]["x-request-id"].encode() for _ in ids] == ids


def test_a_request_that_comes_in_pieces_is_one(connection: socket.socket) -> None:
    whole = request(LENGTH)
    for cut in (1, 30, whole.index(b"\r\n\r\n") + 2, len(whole) - 1):
        connection.sendall(whole[:cut])
        status, _, _ = asked(connection, whole[cut:])
        assert status == 200


def test_a_request_behind_one_under_way_waits_its_turn(connection: socket.socket) -> None:
    whole = request(LENGTH)
    connection.sendall(whole)
    connection.sendall(whole[:40])
    assert read(connection)[0] == 200
    assert asked(connection, whole[40:])[0] == 200


def test_errors_are_answers_and_the_connection_goes_on(connection: socket.socket) -> None:
    wrong = b'{"service": "nope"}'
    status, _, body = asked(connection, request(b"content-length: %d" % len(wrong), body=wrong))
    assert (status, json.loads(body)["error"]["code"]) == (404, "not-found")
    assert asked(connection, request(LENGTH))[0] == 200
    large = b" " * 2_001
    assert asked(connection, request(b"content-length: %d" % len(large), body=large))[0] == 413


def test_close_is_kept_to(connection: socket.socket) -> None:
    status, headers, _ = asked(connection, request(LENGTH, b"Connection: close"))
    assert (status, headers["connection"]) == (200, "close")
    assert connection.recv(1) == b""


@pytest.mark.parametrize("quick", [True, False])
def test_a_connection_that_asks_nothing_more_is_closed(world: World, quick: bool) -> None:
    app = create_app(world.catalog())
    with served(app, quick=quick, idle=0.2) as place, socket.create_connection(place, timeout=20) as opened:
        for _ in range(3):
            assert asked(opened, request(LENGTH))[0] == 200
        assert opened.recv(1) == b""


def test_a_connection_in_the_midst_of_a_request_is_not_idle(world: World) -> None:
    app, whole = create_app(world.catalog()), request(LENGTH)
    with served(app, quick=True, idle=0.05) as place, socket.create_connection(place, timeout=20) as opened:
        assert asked(opened, whole)[0] == 200
        opened.sendall(whole[:40])
        with socket.create_connection(place, timeout=20) as other:  # its end tells that the time is over
            assert asked(other, whole)[0] == 200
            assert other.recv(1) == b""
        assert asked(opened, whole[40:])[0] == 200


def test_a_body_that_looks_like_a_request_is_a_body(connection: socket.socket) -> None:
    """What is left of a body after an early answer is never taken for the next request."""
    inner = request(LENGTH)
    outer = b"x" * 3_000 + inner
    connection.sendall(request(b"content-length: %d" % len(outer), body=b"x" * 3_000))
    assert read(connection)[0] == 413
    connection.sendall(inner)
    assert asked(connection, request(LENGTH, b"x-request-id: next"))[1]["x-request-id"] == "next"


PLAIN = (
    request(LENGTH),
    request(LENGTH, b"Accept: application/json, */*;q=0.1", b"X-Api-Key: k", b"connection: Keep-Alive"),
    request(LENGTH, b"empty:", b"spaced: \t a b \t"),
)
OTHER = {
    "a query": request(LENGTH, line=b"POST /v1/lookup?x=1 HTTP/1.1"),
    "an escape": request(LENGTH, line=b"POST /v1/%6cookup HTTP/1.1"),
    "no known path": request(LENGTH, line=b"POST /v1/nothing HTTP/1.1"),
    "another method": request(LENGTH, line=b"PUT /v1/lookup HTTP/1.1"),
    "HTTP/1.0": request(LENGTH, line=b"POST /v1/lookup HTTP/1.0"),
    "two spaces": request(LENGTH, line=b"POST  /v1/lookup HTTP/1.1"),
    "no length": request(),
    "two lengths": request(LENGTH, LENGTH),
    "a list of lengths": request(b"content-length: %d, %d" % (len(BODY), len(BODY))),
    "a signed length": request(b"content-length: +%d" % len(BODY)),
    "a shorter body": request(LENGTH)[:-1],
    "a longer body": request(LENGTH) + b"x",
    "chunks": request(LENGTH, b"Transfer-Encoding: chunked"),
    "chunks in disguise": request(LENGTH, b"Transfer-Encoding : chunked"),
    "a folded line": request(LENGTH, b"a: b", b" c"),
    "a bare line feed": request(LENGTH, b"a: b\nTransfer-Encoding: chunked"),
    "a bare carriage return": request(LENGTH, b"a: b\rc"),
    "a zero byte": request(LENGTH, b"a: \0"),
    "no colon": request(LENGTH, b"a"),
    "a wait": request(LENGTH, b"Expect: 100-continue"),
    "an upgrade": request(LENGTH, b"Upgrade: h2c"),
    "a proxy": request(LENGTH, b"X-Forwarded-For: 1.2.3.4"),
    "another connection": request(LENGTH, b"Connection: upgrade"),
    "nothing": b"",
}


@pytest.fixture
def heads(world: World) -> Heads:
    return create_app(world.catalog()).heads


@pytest.mark.parametrize("sent", PLAIN)
def test_plain_requests_take_the_short_way(heads: Heads, sent: bytes) -> None:
    found = heads.read(sent)
    assert found is not None
    assert (found[0].route.path, found[0].path, found[1]) == ("/v1/lookup", "/v1/lookup", BODY)
    assert heads.read(sent) == found


@pytest.mark.parametrize("what", OTHER)
def test_anything_else_takes_the_long_way(heads: Heads, what: str) -> None:
    assert heads.read(OTHER[what]) is None
    assert heads.read(OTHER[what]) is None
