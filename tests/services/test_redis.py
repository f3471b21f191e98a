"""The Redis that tests start: it answers, is killed, comes back with its data or without, and takes options."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.services.process import ServiceError, is_free, wait_until
from tests.services.redis import RedisServer
from tests.services.redis_cluster import RedisCluster


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    options = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "volatile-lru"}
    with RedisServer(tmp_path_factory.mktemp("redis"), options=options) as server:
        yield server


def test_server_of_the_session_answers(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.flushall()
        client.set("a", "1")
        assert client.get("a") == b"1"
    assert redis_server.url == f"redis://{redis_server.address}/0"


def test_options_reach_the_server(lasting: RedisServer) -> None:
    with lasting.client() as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "volatile-lru"}


def test_killed_server_comes_back_on_its_port_with_its_data(lasting: RedisServer) -> None:
    with lasting.client() as client:
        client.set("kept", "1")
    port, pid = lasting.port, lasting.pid
    lasting.kill()
    assert lasting.pid is None
    with lasting.client() as client, pytest.raises(redis.ConnectionError):
        client.ping()
    lasting.start()
    assert lasting.port == port and lasting.pid not in (None, pid)
    with lasting.client() as client:
        assert client.get("kept") == b"1"


def test_wiped_server_comes_back_empty(lasting: RedisServer) -> None:
    with lasting.client() as client:
        client.set("lost", "1")
    with pytest.raises(ServiceError, match=r"stop\(\) or kill\(\) it before wipe\(\)"):
        lasting.wipe()
    lasting.stop()
    lasting.wipe()
    lasting.start()
    with lasting.client() as client:
        assert client.dbsize() == 0


def test_started_server_is_not_started_again(lasting: RedisServer) -> None:
    with pytest.raises(ServiceError, match="runs already"):
        lasting.start()


def test_taken_port_is_named(lasting: RedisServer, tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=f"port {lasting.port} is taken by another program"):
        RedisServer(tmp_path, lasting.port).start()


def test_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, options={"maxmemory-policy": "never"})
    with pytest.raises(ServiceError, match=r"(?s)ended with 1 while it started.*maxmemory-policy"):
        server.start()
    assert server.pid is None


def test_missing_program_names_the_command_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceError, match="redis-server is not installed; try: scripts/services install"):
        RedisServer(tmp_path).start()


def test_password_and_further_users_over_tls() -> None:
    with RedisServer(tls=True, password="secret", acl=["user reader on >word ~* +@read"]) as server:
        with server.client() as client:
            client.set("a", "1")
        assert server.certificates is not None
        where = f"rediss://reader:word@{server.address}/0"
        with redis.Redis.from_url(where, ssl_ca_certs=str(server.certificates.authority)) as reader:
            assert reader.get("a") == b"1"
            with pytest.raises(redis.exceptions.NoPermissionError):
                reader.set("a", "2")
        with redis.Redis.from_url(server.url) as distrustful, pytest.raises(redis.ConnectionError, match="certificate"):
            distrustful.ping()
        plain = f"redis://:secret@{server.address}/0"
        with redis.Redis.from_url(plain) as unencrypted, pytest.raises(redis.ConnectionError):
            unencrypted.ping()


def test_password_is_asked_for() -> None:
    with RedisServer(password="secret") as server, server.client() as client:
        assert client.ping()
        with (
            redis.Redis.from_url(f"redis://{server.address}/0") as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()


def test_replica_follows() -> None:
    with (
        RedisServer(password="secret") as first,
        RedisServer(password="secret", replica_of=first) as second,
        first.client() as client,
        second.client() as copy,
    ):
        client.set("a", "1")
        wait_until(lambda: copy.get("a") == b"1", "the replica has the key", seconds=30)


def test_temporary_folder_is_gone_with_its_server() -> None:
    with RedisServer() as server:
        assert server.folder.is_dir() and not is_free(server.port)
    assert not server.folder.exists() and is_free(server.port)


def test_cluster_shares_the_slots_and_survives_a_killed_node(tmp_path: Path) -> None:
    options = {"appendonly": "yes", "appendfsync": "always"}
    with RedisCluster(tmp_path, options=options) as cluster:
        with cluster.client() as client:
            for number in range(60):
                client.set(f"key{number}", number)
        sizes = _sizes(cluster)
        assert sum(sizes) == 60 and all(sizes)
        cluster.nodes[1].kill()
        cluster.start()
        assert _sizes(cluster) == sizes
        cluster.kill()
        cluster.wipe()
        cluster.start()
        assert _sizes(cluster) == [0, 0, 0]


def _sizes(cluster: RedisCluster) -> list[int]:
    found = []
    for node in cluster.nodes:
        with node.client() as client:
            found.append(client.dbsize())
    return found
