"""Workers at a real Redis that dies, forgets and comes back: each event is once in the state, or the state says so."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from onefold.features.errors import StoreError, UnbuiltError
from onefold.online.lookup import PARTIAL, Lookup
from onefold.online.redis_buckets import SLOT_OF, bucket_of
from onefold.online.redis_cluster import RedisClusterStore
from onefold.online.redis_options import RedisOptions
from onefold.online.redis_store import RedisStore
from onefold.streaming.materialize import materialize
from onefold.streaming.worker import Worker
from tests.services.process import wait_until
from tests.services.redis import RedisServer
from tests.services.redis_cluster import RedisCluster

if TYPE_CHECKING:
    from pathlib import Path

    from tests.streaming.conftest import Place

HOUR = 3_600_000_000
OPTIONS = {"appendonly": "yes", "appendfsync": "always", "dbfilename": "dump.rdb"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis", options=OPTIONS) as started:
        yield started


@pytest.fixture
def store(server: RedisServer) -> Iterator[Any]:
    with RedisStore(RedisOptions.of(server.url, retry_for=10.0)) as opened:
        yield opened


def run(worker: Worker) -> None:
    """Step until all is in, going on after errors as whoever drives a worker does."""
    failures = 0
    while failures < 20:
        try:
            worker.run()
            return
        except UnbuiltError:
            raise
        except StoreError:
            failures += 1
    raise AssertionError("the worker never came through")


def test_server_that_is_killed_and_comes_back_with_its_data(place: Place, server: RedisServer) -> None:
    lines = [place.order(n) for n in range(120)]
    worker = place.worker(place.queue(lines), batch=10)
    for _ in range(4):
        worker.step()
        server.kill()
        server.start()
    run(worker)
    assert place.canonical() == place.expected(lines)
    assert len(place.positions()) == len(set(place.positions())) == 120


def test_server_that_comes_back_empty_must_be_built_and_then_goes_on(place: Place, server: RedisServer) -> None:
    lines = [place.order(n) for n in range(60)]
    worker = place.worker(place.queue(lines), batch=10)
    worker.step()
    worker.flush()
    server.kill()
    server.wipe()
    server.start()
    with pytest.raises(UnbuiltError, match=r"not built yet.*materialize"):
        run(worker)
    materialize(place.project, store=place.store, archive=place.archive)
    run(worker)
    assert place.canonical(floor=0) == place.expected(lines, floor=0)


def test_older_snapshot_is_brought_up_from_the_feed_and_partial_until_then(place: Place, tmp_path: Path) -> None:
    lines = [place.order(n, user="u", ts=n * HOUR) for n in range(40)]
    options = {"appendonly": "no", "dbfilename": "dump.rdb"}
    with RedisServer(tmp_path / "snapshots", options=options) as server, RedisStore(server.url) as store:
        place.store = store
        worker = place.worker(place.queue(lines), batch=10)
        worker.step()
        with server.client() as client:
            client.save()
        shutil.copy(server.data / "dump.rdb", tmp_path / "older.rdb")
        worker.step()
        worker.step()
        server.kill()
        shutil.copy(tmp_path / "older.rdb", server.data / "dump.rdb")
        server.start()
        plan = place.project.service("all")
        rows = [{"user": "u", "shop": 1}]
        assert place.marks("user") == {0: 9}
        worker.step()
        assert place.marks("user") == {0: 9, -1: 29}
        (behind,) = Lookup(store, plan).read(rows, [40 * HOUR])
        assert set(behind.statuses) == {PARTIAL}
        run(worker)
        assert place.canonical() == place.expected(lines)
        (whole,) = Lookup(store, plan).read(rows, [40 * HOUR])
        assert PARTIAL not in whole.statuses


def cluster_place(place: Place, store: Any) -> Place:
    store.clear(b"")
    place.store = store
    return place


def test_node_of_a_cluster_that_lost_its_data_is_filled_again(place: Place, redis_cluster: RedisCluster) -> None:
    lines = [place.order(n, user=f"u{n % 40}") for n in range(200)]
    with RedisClusterStore(f"redis+cluster://{redis_cluster.addresses[0]}") as store:
        cluster_place(place, store)
        worker = place.worker(place.queue(lines), batch=20)
        for _ in range(5):
            worker.step()
        pointers = {place.live("user"), place.live("shop")}
        spared = SLOT_OF[bucket_of(b"p/orders/user")] * 3 // 16_384
        for node in redis_cluster.nodes[:spared] + redis_cluster.nodes[spared + 1 :]:
            with node.client() as client:
                client.flushall()
        again = place.worker(place.queue(lines), batch=20)
        assert pointers == {place.live("user"), place.live("shop")}
        again.run()
        assert place.canonical() == place.expected(lines)
        assert len(place.positions()) == len(set(place.positions())) == 200


def test_replica_of_a_cluster_that_lags_and_takes_over_is_brought_up_from_the_feed(
    place: Place, tmp_path: Path
) -> None:
    lines = [place.order(n, user=f"u{n % 40}") for n in range(200)]
    with RedisCluster(tmp_path / "cluster") as cluster:
        primary = cluster.nodes[1]
        replica = cluster.add_replica(primary)
        url = f"redis+cluster://{','.join(cluster.addresses)}"
        with RedisClusterStore(RedisOptions.of(url, retry_for=30.0)) as store:
            cluster_place(place, store)
            worker = place.worker(place.queue(lines), batch=20)
            for _ in range(3):
                worker.step()
            with primary.client() as client:
                assert client.wait(1, 10_000) == 1
                _cut_off(client, replica)
            for _ in range(3):
                worker.step()
            assert place.marks("user") == {0: 119}
            primary.kill()
            assert replica.pid is not None
            os.kill(replica.pid, signal.SIGCONT)
            with replica.client() as client:
                wait_until(lambda: client.info("replication")["role"] == "master", "the replica has taken over")
            wait_until(lambda: place.marks("user") == {0: 59}, "what the replica lacks shows in the marks")
            run(worker)
            assert place.canonical() == place.expected(lines)
            assert len(place.positions()) == len(set(place.positions())) == 200


def _cut_off(primary: Any, replica: RedisServer) -> None:
    """Let nothing more come to a replica: it stands still while its connection is closed, and cannot make another."""
    assert replica.pid is not None
    os.kill(replica.pid, signal.SIGSTOP)
    primary.execute_command("CLIENT", "KILL", "TYPE", "replica")
    wait_until(lambda: primary.info("replication")["connected_slaves"] == 0, "the replica is cut off")


def test_whole_run_on_a_cluster_is_the_run_on_one_machine(place: Place, redis_cluster: RedisCluster) -> None:
    lines = [place.order(n) for n in range(300)]
    with RedisClusterStore(f"redis+cluster://{redis_cluster.addresses[0]}") as store:
        cluster_place(place, store)
        place.worker(place.queue(lines[:200]), batch=30).run()
        materialize(place.project, store=store, archive=place.archive, full=True)
        place.worker(place.queue(lines), batch=30).run()
        assert place.canonical(floor=40 * HOUR) == place.expected(lines, floor=40 * HOUR)
        rows = [{"user": f"u{n}", "shop": n % 3} for n in range(5)]
        found = Lookup(store, place.project.service("all")).read(rows, [75 * HOUR] * 5)
        assert all(any(row.values) for row in found)
