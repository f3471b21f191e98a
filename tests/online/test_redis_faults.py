"""What goes wrong with a Redis: it dies, comes back with less, is full, evicts, asks for a password. All is said."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from onefold.features.errors import ConfigError, SessionError, StoreError
from onefold.features.protocols import Swap
from onefold.online.redis_options import RedisOptions
from onefold.online.redis_store import RedisStore
from onefold.online.redis_wire import Wire
from tests.services.process import wait_until
from tests.services.redis import RedisServer

LASTING = {"appendonly": "yes", "appendfsync": "always", "save": '""'}
SNAPSHOTS = {"appendonly": "no", "dbfilename": "dump.rdb"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis", options=LASTING) as started:
        yield started


def opened(server: RedisServer, **options: Any) -> RedisStore:
    return RedisStore(RedisOptions.of(server.url, **({"timeout": 5.0, "retry_for": 10.0} | options)))


def restarted(server: RedisServer, *, wiped: bool = False) -> None:
    server.kill()
    if wiped:
        server.wipe()
    server.start()


def test_server_that_restarts_between_batches_is_another_session(server: RedisServer) -> None:
    with opened(server) as store:
        session = store.session
        assert store.append([(b"s/a", b"1")], session=session) == [1]
        restarted(server)
        assert store.session == session + 1
        with pytest.raises(SessionError, match="read them again"):
            store.append([(b"s/a", b"2")], session=session)
        assert store.append([(b"s/a", b"3")], session=store.session) == [2]


def test_write_on_a_connection_that_was_cut_is_not_sent_again(server: RedisServer) -> None:
    """Whoever holds the session's number cannot write past the cut, even when nobody asked for the session since."""
    with opened(server) as store:
        session = store.session
        restarted(server)
        with pytest.raises(StoreError):
            store.append([(b"s/a", b"2")], session=session)
        with pytest.raises(SessionError):
            store.append([(b"s/a", b"2")], session=session)
        with pytest.raises(SessionError):
            store.mark([(b"m/a", 0, 1)], session=session)
        with pytest.raises(SessionError):
            store.put([(b"s/a", b"2")], session=session)
        with pytest.raises(SessionError):
            store.put(((b"s/%d" % n, b"2") for n in range(200)), session=session)
        assert store.read([b"s/a"], [b"m/a"]) == ([None], [{}])
        assert store.session == session + 1


def test_nothing_is_cleared_on_a_connection_that_was_cut(server: RedisServer) -> None:
    with opened(server) as store:
        session = store.session
        restarted(server)
        store.put([(b"s/a", b"1")], session=store.session)
        with pytest.raises(SessionError):
            store.clear(b"s/", session=session)
        assert store.get([b"s/a"]) == [b"1"]
        store.clear(b"s/", session=store.session)
        assert store.get([b"s/a"]) == [None]


def test_server_that_lost_its_data_shows_in_session_and_marks(server: RedisServer) -> None:
    with opened(server) as store:
        session = store.session
        store.append([(b"s/a", b"1")], session=session)
        store.mark([(b"m/a", 0, 41)], session=session)
        restarted(server, wiped=True)
        assert store.session != session
        assert store.read([b"s/a"], [b"m/a"]) == ([None], [{}])


def test_older_snapshot_shows_in_session_and_marks(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis", options=SNAPSHOTS) as server, opened(server) as store:
        session = store.session
        store.mark([(b"m/a", 0, 5)], session=session)
        with server.client() as client:
            client.save()
        shutil.copy(server.data / "dump.rdb", tmp_path / "older.rdb")
        store.mark([(b"m/a", 0, 9)], session=session)
        server.kill()
        shutil.copy(tmp_path / "older.rdb", server.data / "dump.rdb")
        server.start()
        assert store.session != session
        assert store.read((), [b"m/a"]) == ([], [{0: 5}])


def test_server_that_dies_within_a_batch_acknowledges_nothing(server: RedisServer) -> None:
    with opened(server, retry_for=0.2) as store:
        session, items = store.session, [(b"s/%d" % n, os.urandom(1 << 16)) for n in range(4_000)]
        failed: list[StoreError] = []

        def append() -> None:
            try:
                store.append(items, session=session)
            except StoreError as error:
                failed.append(error)

        writing = threading.Thread(target=append)
        with server.client() as client:
            writing.start()
            wait_until(lambda: client.dbsize() > 100, "some of the batch is in")
        server.kill()
        writing.join()
        assert "was lost" in str(failed[0])
        with pytest.raises(StoreError, match=r"cannot be reached.*tried for"):
            _ = store.session
        server.start()
        assert store.session == session + 1


def test_reads_wait_for_a_server_that_comes_back(server: RedisServer) -> None:
    with opened(server) as store:
        store.append([(b"s/a", b"1")])
        server.kill()
        back = threading.Thread(target=server.start)
        back.start()
        assert store.get([b"s/a"]) == [b"1"]
        back.join()


def test_reads_give_up_with_address_cause_and_time(server: RedisServer) -> None:
    with opened(server, retry_for=0.1) as store:
        server.kill()
        with pytest.raises(StoreError, match=rf"Redis at {server.address}.*refused.*\(tried for 0\.\d s\)"):
            store.get([b"s/a"])


def test_server_that_answers_nothing_is_given_up_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(StoreError, match=r"no answer for 0\.1 seconds \(tried for"):
            RedisStore(RedisOptions.of(url, timeout=0.1, retry_for=0.1))


def test_full_server_refuses_the_batch_and_names_the_first_key(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis", options={"maxmemory": "3mb"}) as server, opened(server) as store:
        store.append([(b"s/kept", b"1")])
        with pytest.raises(StoreError, match=r"has no memory left.*APPEND of b's/\d+'.*OOM"):
            store.append([(b"s/%d" % n, bytes(50_000)) for n in range(100)], session=store.session)
        with pytest.raises(StoreError, match="has no memory left"):
            store.put((b"p/%d" % n, bytes(50_000)) for n in range(100))
        assert store.get([b"s/kept"]) == [b"1"]


def test_server_that_may_evict_is_refused(tmp_path: Path) -> None:
    options = {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}
    with RedisServer(tmp_path / "redis", options=options) as server:
        with pytest.raises(StoreError, match=r"its maxmemory-policy is allkeys-lru.*noeviction"):
            opened(server)
        with server.client() as client:
            client.config_set("maxmemory", 0)
        opened(server).close()


ACL = (
    "user app on >s3cret ~* &* +@all -@admin -@dangerous +info +ping",
    "user blind on >s3cret ~* +@all -info -config",
    "user least on >s3cret ~s/* ~p/* ~m/* ~l/* +append +mget +set +unlink +del +multi +exec +pexpire +zadd +zrange "
    "+eval +evalsha +scan +exists +strlen +getrange +memory|usage +ping +info",
)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("secured"), password="top-s3cret", acl=ACL) as started:
        yield started


def as_user(server: RedisServer, user: str, password: str = "s3cret") -> RedisStore:
    return RedisStore(RedisOptions.of(f"redis://{server.address}", username=user, password=password, retry_for=1.0))


def test_password_of_the_url_is_used_and_never_shown(secured: RedisServer) -> None:
    with opened(secured) as store:
        assert store.append([(b"s/a", b"1")]) == [1]
        assert "s3cret" not in repr(store.options) + str(store.options)


@pytest.mark.parametrize("ask", [lambda s: as_user(s, "app", "wr0ng"), lambda s: as_user(s, "nobody")])
def test_wrong_password_is_refused_at_once_and_not_shown(secured: RedisServer, ask: Callable[..., Any]) -> None:
    with pytest.raises(StoreError, match="refuses the user name or password") as caught:
        ask(secured)
    assert "wr0ng" not in str(caught.value) and "s3cret" not in str(caught.value)


def test_missing_password_is_asked_for(secured: RedisServer) -> None:
    with pytest.raises(StoreError, match="asks for a password; set ONEFOLD_ONLINE__PASSWORD"):
        RedisStore(f"redis://{secured.address}")


@pytest.mark.parametrize("user", ["app", "least"])
def test_user_with_few_rights_can_do_all_that_is_needed(secured: RedisServer, user: str) -> None:
    with as_user(secured, user) as store:
        store.put([(b"p/a", b"1")])
        assert store.append([(b"s/a/x", b"Rtail")], session=store.session, keep=50) == [5]
        store.mark([(b"m/a", 0, 1)])
        assert store.swap_all([Swap(b"s/a/x", 5, b"", b"H")], keep=9) == [True]
        assert dict(store.scan(b"s/a/")) == {b"s/a/x": b"H"}
        assert store.memory([b"s/a/x"])[0] > 0
        with store.lock(b"sweep", seconds=5) as mine:
            assert mine
        store.clear(b"s/a/")
        store.clear(b"m/a")


def test_user_who_cannot_see_the_policy_is_told_what_to_allow(secured: RedisServer) -> None:
    with pytest.raises(StoreError, match=r"does not say whether it may evict keys; allow INFO, or CONFIG\|GET"):
        as_user(secured, "blind")


def test_user_with_config_and_without_info_is_taken(tmp_path: Path) -> None:
    acl = ["user app on >s3cret ~* +@all -info"]
    options = {"maxmemory": "100mb", "maxmemory-policy": "noeviction"}
    with RedisServer(tmp_path / "redis", acl=acl, options=options) as server:
        as_user(server, "app").close()
        with server.client() as client:
            client.config_set("maxmemory-policy", "volatile-ttl")
        with pytest.raises(StoreError, match="its maxmemory-policy is volatile-ttl"):
            as_user(server, "app")


def test_tls_needs_the_authority_and_the_host_s_name(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis", tls=True) as server:
        assert server.certificates is not None
        authority = str(server.certificates.authority)
        items = [(b"s/%d" % n, bytes(20_000)) for n in range(500)]
        with opened(server, ca=authority) as store:
            assert store.append(items, session=store.session) == [20_000] * 500
            assert store.get([name for name, _ in items]) == [value for _, value in items]
            session = store.session
            restarted(server, wiped=True)
            with pytest.raises(StoreError):
                store.append(items, session=session)
            assert store.session == session + 1
        with pytest.raises(StoreError, match=r"certificate is not trusted.*tls_ca"):
            opened(server)
        with pytest.raises(ConfigError, match="cannot be read"):
            opened(server, ca=str(tmp_path / "none.pem"))
        with pytest.raises(StoreError, match=r"cannot be reached|was lost"):
            RedisStore(RedisOptions.of(f"redis://{server.address}", retry_for=0.1))


def test_replica_is_read_and_not_written(server: RedisServer, tmp_path: Path) -> None:
    with opened(server) as store, RedisServer(tmp_path / "replica", replica_of=server) as replica:
        store.put([(b"p/a", b"1")])
        with replica.client() as client:
            wait_until(lambda: client.get("p/a") == b"1", "the replica has it")
        with pytest.raises(StoreError, match=r"is a replica and takes no writes.*tried for"):
            opened(replica, retry_for=0.1)
        with RedisStore(replica.url, readonly=True) as reader:
            assert reader.get([b"p/a"]) == [b"1"]
            with pytest.raises(StoreError, match="to read only"):
                reader.append([(b"s/a", b"1")])


def test_primary_that_is_demoted_ends_the_session(server: RedisServer, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "other") as other, opened(server, retry_for=0.1) as store:
        session = store.session
        with server.client() as client:
            client.replicaof("127.0.0.1", other.port)
        with pytest.raises(StoreError, match="is a replica and takes no writes"):
            store.append([(b"s/a", b"1")], session=session)
        with server.client() as client:
            client.replicaof("NO", "ONE")
        assert store.session == session + 1


def test_ten_thousand_large_values_go_both_ways_without_a_deadlock(redis_store: RedisStore) -> None:
    items = [(b"s/%05d" % n, b"%05d" % n * 2_000) for n in range(10_000)]
    assert redis_store.append(items, session=redis_store.session) == [10_000] * 10_000
    found, _ = redis_store.read([name for name, _ in items], [b"m/a"])
    assert found == [value for _, value in items]
    redis_store.clear(b"s/")


def test_peer_that_reads_nothing_until_its_answers_are_taken_is_no_deadlock() -> None:
    """Worse than any Redis: it answers more than it is asked, and takes a request only when the last is answered."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                for _ in range(100):
                    taken = 0
                    while taken < 100_000:
                        taken += len(connection.recv(100_000 - taken))
                    connection.sendall(b"$400000\r\n" + bytes(400_000) + b"\r\n")

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        wire = Wire(socket.create_connection(listening.getsockname()), timeout=20)
        for _ in range(100):
            wire.post(bytes(100_000), 1)
        assert sum(map(len, wire.collect())) == 40_000_000
        wire.close()
        serving.join()


def test_what_is_made_expires_and_what_is_appended_to_does_not_wait_longer(redis_server: RedisServer) -> None:
    with RedisStore(redis_server.url) as store, redis_server.client() as client:
        store.clear(b"")
        store.append([(b"s/a", b"R1"), (b"s/a", b"2"), (b"s/b", b"1")], keep=100)
        store.append([(b"s/a", b"3")], keep=500)
        store.append([(b"s/ever", b"1")])
        assert 0 < client.pttl("s/a") <= 100_000 and 0 < client.pttl("s/b") <= 100_000
        assert client.pttl("s/ever") == -1
        store.put([(b"s/c", b"1")], keep=70)
        assert 0 < client.pttl("s/c") <= 70_000
        assert store.swap_all([Swap(b"s/a", 4, b"", b"H")], keep=300) == [True]
        assert 100_000 < client.pttl("s/a") <= 300_000
        assert store.swap_all([Swap(b"s/c", 1, b"", b"H")]) == [True]
        assert client.pttl("s/c") == -1


def test_nothing_expires_where_that_is_turned_off(redis_server: RedisServer) -> None:
    with RedisStore(RedisOptions.of(redis_server.url, expire=False)) as store, redis_server.client() as client:
        store.clear(b"")
        store.append([(b"s/a", b"R")], keep=100)
        store.put([(b"s/b", b"R")], keep=100)
        assert store.swap_all([Swap(b"s/b", 1, b"", b"H")], keep=100) == [True]
        assert client.pttl("s/a") == client.pttl("s/b") == -1


def test_lock_is_renewed_while_its_holder_lives(redis_store: RedisStore) -> None:
    with redis_store.lock(b"sweep", seconds=0.3) as mine:
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            with redis_store.lock(b"sweep", seconds=0.3) as other:
                assert mine and not other


def test_lock_of_a_dead_holder_is_free_after_its_seconds(redis_server: RedisServer, redis_store: RedisStore) -> None:
    with redis_server.client() as client:
        client.set("l/sweep", b"H-------" + bytes(8), px=100)

    def free() -> bool:
        with redis_store.lock(b"sweep", seconds=5) as mine:
            return mine

    assert not free()
    wait_until(free, "the lock of the dead is free")


def test_offset_beyond_what_is_exact_is_refused(redis_store: RedisStore) -> None:
    with pytest.raises(StoreError, match=r"exact up to 2\^53"):
        redis_store.mark([(b"m/a", 0, 2**53 + 1)])


def test_script_that_the_server_forgot_is_sent_again(redis_server: RedisServer, redis_store: RedisStore) -> None:
    redis_store.append([(b"s/a", b"R")])
    assert redis_store.swap_all([Swap(b"s/a", 1, b"", b"R2")]) == [True]
    with redis_server.client() as client:
        client.script_flush()
    assert redis_store.swap_all([Swap(b"s/a", 2, b"", b"R33")]) == [True]
    redis_store.append([(b"s/b", b"R")])
    with redis_server.client() as client:
        client.script_flush()
    swaps = [Swap(b"s/a", 3, b"", b"R"), Swap(b"s/b", 9, b"", b"R2"), Swap(b"s/b", 1, b"", b"R3")]
    assert redis_store.swap_all(swaps) == [True, False, True]
    assert redis_store.get([b"s/a", b"s/b"]) == [b"R", b"R3"]


def test_unix_socket_is_a_way_in(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("s")
    with (
        RedisServer(folder, options={"unixsocket": f'"{folder / "redis.sock"}"'}),
        RedisStore(f"unix://{folder / 'redis.sock'}?db=3") as store,
    ):
        assert store.append([(b"s/a", b"1")]) == [1]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://a", "begins with 'http:'"),
        ("redis://u:s3cret@a,b", "names 2 hosts"),
        ("redis://u:s3cret@a:port", "the host 'a:port'"),
        ("redis://u:s3cret@:6379", "the host ':6379'"),
        ("redis://u:s3cret@a/zero", "database 'zero'"),
        ("redis://u:s3cret@a/0?x=1", "asks for x"),
        ("redis+cluster://u:s3cret@a,b/2", "a cluster has database 0 only"),
        ("unix://", "names no socket"),
    ],
)
def test_url_that_is_not_right_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        RedisOptions.of(url)
    assert "s3cret" not in str(caught.value)


def test_urls_name_hosts_of_all_sorts() -> None:
    def shown(url: str) -> str:
        return str(RedisOptions.of(url))

    assert shown("redis://[::1]:7/0") == "[::1]:7"
    assert shown("redis://a") == "a:6379"
    assert shown("redis+cluster://a:1,[::2]:3,c") == "a:1, [::2]:3, c:6379"
    assert RedisOptions.of("redis://:p%40ss@h").password == "p@ss"
