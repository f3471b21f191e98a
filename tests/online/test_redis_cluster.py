"""A cluster of three real nodes: buckets that move, nodes that die, lose writes, and are told apart by their marks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from onefold.features.errors import SessionError, StoreError
from onefold.online.redis_buckets import BUCKETS, SLOT_OF, TAGGED, bucket_of, joined_marks
from onefold.online.redis_cluster import RedisClusterStore
from onefold.online.redis_options import RedisOptions
from onefold.online.redis_store import RedisStore
from tests.services.redis import RedisServer
from tests.services.redis_cluster import RedisCluster

NAMES = [f"s/orders/user/1/abc/{n}".encode() for n in range(300)]
MARKS = b"m/orders/user/1/abc"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """Its nodes keep what they were told, so that they can die."""
    options = {"appendonly": "yes", "appendfsync": "always"}
    with RedisCluster(tmp_path_factory.mktemp("cluster"), options=options) as started:
        yield started


@pytest.fixture
def store(cluster: RedisCluster) -> Iterator[RedisClusterStore]:
    with opened(cluster) as made:
        made.clear(b"")
        yield made


def opened(cluster: RedisCluster, *, retry_for: float = 10.0) -> RedisClusterStore:
    url = f"redis+cluster://{','.join(cluster.addresses)}"
    return RedisClusterStore(RedisOptions.of(url, retry_for=retry_for))


def node_of(cluster: RedisCluster, bucket: int) -> RedisServer:
    return cluster.nodes[SLOT_OF[bucket] * 3 // 16_384]


def test_buckets_are_spread_over_the_slots() -> None:
    assert [slot * BUCKETS // 16_384 for slot in SLOT_OF] == list(range(BUCKETS))
    assert len({bucket_of(name) for name in NAMES}) > 50
    assert bucket_of(b"p/orders/user") == bucket_of(b"p/orders/shop")


def test_where_names_are_stored_never_changes() -> None:
    """Another answer would lose every state that is stored."""
    assert [bucket_of(name) for name in (b"p/orders/user", b"s/orders/user/1/abc/k", b"")] == [1, 50, 0]
    assert (TAGGED[0], TAGGED[17], TAGGED[63]) == (b"{b22}", b"{b362}", b"{b72}")


def test_marks_of_buckets_are_no_more_than_all_hold() -> None:
    assert joined_marks([{0: 7, 1: 3, -1: 2}, {0: 5}, {0: 6, 1: 4, -1: 9, 2: 1}]) == {0: 5, -1: 9}
    assert joined_marks([{}, {0: 1, -2: 3}]) == {-2: 3}


def test_node_that_lost_its_data_shows_in_the_marks_of_its_buckets_only(
    cluster: RedisCluster, store: RedisClusterStore
) -> None:
    store.append([(name, b"R") for name in NAMES])
    store.mark([(MARKS, 0, 41), (MARKS, 1, 7)])
    with cluster.nodes[1].client() as client:
        client.flushall()
    assert store.read((), [MARKS]) == ([], [{}])
    for name in NAMES[:50]:
        lost = node_of(cluster, bucket_of(name)) is cluster.nodes[1]
        assert store.read([name], [MARKS]) == ([None if lost else b"R"], [{} if lost else {0: 41, 1: 7}])
    store.mark([(MARKS, 0, 20)])
    assert store.read((), [MARKS]) == ([], [{0: 20}])


def test_node_that_dies_ends_the_session_and_acknowledges_nothing(
    cluster: RedisCluster, store: RedisClusterStore
) -> None:
    session = store.session
    assert store.append([(name, b"R") for name in NAMES], session=session) == [1] * len(NAMES)
    cluster.nodes[2].kill()
    with pytest.raises(StoreError, match=r"was lost|cannot be reached"):
        store.append([(name, b"R") for name in NAMES], session=session)
    cluster.start()
    with pytest.raises(SessionError):
        store.append([(NAMES[0], b"R")], session=session)
    with pytest.raises(SessionError):
        store.put([(b"p/orders/user", b"2")], session=session)
    assert store.session != session
    assert set(store.append([(name, b"R") for name in NAMES], session=store.session)) <= {2, 3}


def test_reads_wait_for_a_node_that_comes_back_and_give_up_in_the_end(
    cluster: RedisCluster, store: RedisClusterStore
) -> None:
    store.put([(name, name) for name in NAMES])
    cluster.nodes[0].kill()
    with pytest.raises(StoreError, match=r"tried for \d"), opened(cluster, retry_for=0.1) as hasty:
        hasty.get(NAMES)
    cluster.start()
    assert store.get(NAMES) == NAMES


def test_bucket_on_its_way_to_another_node_is_read_and_written(cluster: RedisCluster, store: RedisClusterStore) -> None:
    mine = [name for name in NAMES if bucket_of(name) == bucket_of(NAMES[0])]
    more = [f"s/orders/user/1/abc/x{n}".encode() for n in range(900)]
    mine += [name for name in more if bucket_of(name) == bucket_of(NAMES[0])]
    bucket, slot = bucket_of(NAMES[0]), SLOT_OF[bucket_of(NAMES[0])]
    old = node_of(cluster, bucket)
    new = next(node for node in cluster.nodes if node is not old)
    store.put([(name, b"R" + name) for name in mine])
    store.mark([(MARKS, 0, 3)])
    session = store.session
    with old.client() as giver, new.client() as taker:
        ids = [client.execute_command("CLUSTER MYID").decode() for client in (giver, taker)]
        taker.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[0])
        giver.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[1])
        stored = [TAGGED[bucket] + name for name in (mine[0], mine[1])]
        giver.execute_command("MIGRATE", "127.0.0.1", new.port, "", 0, 5000, "KEYS", *stored, TAGGED[bucket] + MARKS)
        try:
            assert store.read(mine, [MARKS]) == ([b"R" + name for name in mine], [{0: 3}])
            lengths = store.append([(name, b"R") for name in (*mine, mine[0] + b"new")], session=session)
            assert lengths == [len(name) + 2 for name in mine] + [1]
            store.put([(name, None) for name in mine[:2]])
            assert store.get(mine[:3]) == [None, None, b"R" + mine[2] + b"R"]
            assert store.session == session
            rest = giver.execute_command("CLUSTER GETKEYSINSLOT", slot, 1000)
            giver.execute_command("MIGRATE", "127.0.0.1", new.port, "", 0, 5000, "KEYS", *rest)
        finally:
            for client in (taker, giver, *(node.client() for node in cluster.nodes)):
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[1])
        assert store.get(mine[2:3]) == [b"R" + mine[2] + b"R"]  # which looks again who has what
        with pytest.raises(StoreError, match="has another node by now and may have lost writes"):
            store.append([(mine[2], b"R")], session=session)
        assert store.session != session
        assert store.append([(mine[2], b"R")], session=store.session) == [len(mine[2]) + 3]
        assert store.read(mine[2:3], [MARKS]) == ([b"R" + mine[2] + b"RR"], [{0: 3}])


def test_one_server_is_no_cluster_and_a_node_is_no_server(cluster: RedisCluster, redis_server: RedisServer) -> None:
    with pytest.raises(StoreError, match=r"is no cluster; write the URL as redis://"):
        RedisClusterStore(f"redis+cluster://{redis_server.address}")
    with (
        RedisStore(cluster.nodes[0].url) as store,
        pytest.raises(StoreError, match=r"write the URL as redis\+cluster://"),
    ):
        store.get([b"a", b"b", b"c"])
