"""Redis as an event loop reads it: whatever goes wrong, every read ends in time, with its own answer or what to do."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uvloop

from onefold.features.errors import ConfigError, StoreError
from onefold.online.async_reads import DirectReads, ThreadedReads, async_reads
from onefold.online.redis_options import RedisOptions
from onefold.online.redis_reads import RedisReads
from onefold.online.redis_store import RedisStore
from tests.services.redis import RedisServer

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]
NAMES, GROUPS = [b"p/a", b"s/none", b"s/a"], [b"m/a", b"m/none"]
FOUND = ([b"1", None, b"xyz"], [{0: 41, 1: 7, -1: 3}, {}])


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run[Any]]:
    """Runs coroutines in one event loop of each kind."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if request.param == "uvloop" else None) as runner:
        yield runner.run


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis", options={"appendonly": "yes", "appendfsync": "always"}) as started:
        yield started


def filled(store: RedisStore) -> None:
    store.clear(b"")
    store.put([(b"p/a", b"1"), (b"s/a", b"xyz")])
    store.mark([(b"m/a", 0, 41), (b"m/a", 1, 7), (b"m/a", -1, 3)])


def reads_of(server: RedisServer, **options: Any) -> RedisReads:
    return RedisReads(RedisOptions.of(server.url, **({"timeout": 5.0, "retry_for": 10.0} | options)))


def closing(reads: RedisReads, work: Callable[[RedisReads], Coroutine[Any, Any, T]]) -> Coroutine[Any, Any, T]:
    async def go() -> T:
        try:
            return await work(reads)
        finally:
            await reads.aclose()

    return go()


async def found(reads: RedisReads) -> Any:
    return await reads.read(NAMES, GROUPS)


async def fails(reads: RedisReads, match: str) -> None:
    with pytest.raises(StoreError, match=match):
        await found(reads)


def test_reads_give_what_the_store_gives(redis_server: RedisServer, redis_store: RedisStore, run: Run[Any]) -> None:
    filled(redis_store)
    assert redis_store.read(NAMES, GROUPS) == FOUND
    assert run(closing(reads_of(redis_server), found)) == FOUND
    assert run(closing(reads_of(redis_server), lambda r: r.read((), GROUPS))) == ([], FOUND[1])
    assert run(closing(reads_of(redis_server), lambda r: r.read((), ()))) == ([], [])


def test_many_reads_at_once_each_get_their_own(
    redis_server: RedisServer, redis_store: RedisStore, run: Run[Any]
) -> None:
    redis_store.put((b"s/%d" % n, os.urandom(n * 7)) for n in range(1_000))

    async def many(reads: RedisReads) -> list[Any]:
        asked = [[b"s/%d" % n, b"s/none", b"s/%d" % (999 - n)] for n in range(1_000)]
        return await asyncio.gather(*(reads.read(names, [b"m/a"]) for names in asked))

    for n, (values, marks) in enumerate(run(closing(reads_of(redis_server), many))):
        assert [None if v is None else len(v) for v in values] == [n * 7, None, (999 - n) * 7]
        assert marks == [{}]


def test_read_that_nobody_waits_for_any_more_takes_no_answer_of_another(
    redis_server: RedisServer, redis_store: RedisStore, run: Run[Any]
) -> None:
    redis_store.put((b"s/%d" % n, b"%d" % n) for n in range(100))

    async def some_cancelled(reads: RedisReads) -> None:
        await reads.read([b"s/0"], ())
        tasks = [asyncio.create_task(reads.read([b"s/%d" % n], ())) for n in range(100)]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for n, answer in enumerate(answers):
            assert isinstance(answer, asyncio.CancelledError) if n % 3 == 0 else answer == ([b"%d" % n], [])

    run(closing(reads_of(redis_server), some_cancelled))


def test_reads_wait_for_a_server_that_comes_back(server: RedisServer, run: Run[Any]) -> None:
    with RedisStore(server.url) as store:
        filled(store)

    async def across(reads: RedisReads) -> Any:
        assert await found(reads) == FOUND
        server.kill()
        back = threading.Thread(target=server.start)
        back.start()
        answers = await asyncio.gather(*(found(reads) for _ in range(50)))
        back.join()
        return answers

    assert run(closing(reads_of(server), across)) == [FOUND] * 50


def test_server_that_stays_away_is_said_and_then_said_at_once(server: RedisServer, run: Run[Any]) -> None:
    with RedisStore(server.url) as store:
        filled(store)

    async def gone(reads: RedisReads) -> None:
        assert await found(reads) == FOUND
        server.kill()
        await asyncio.gather(*(fails(reads, rf"Redis at {server.address}.*\(tried for \d\.\d s\)") for _ in range(20)))
        waited = asyncio.create_task(fails(reads, r"cannot be reached.*\(tried for"))
        for _ in range(3):
            await asyncio.sleep(0)
        assert waited.done()
        await waited
        await asyncio.to_thread(server.start)
        while True:
            try:
                assert await found(reads) == FOUND
                return
            except StoreError:
                await asyncio.sleep(0.01)

    run(closing(reads_of(server, retry_for=0.2), gone))


def test_server_that_answers_nothing_is_given_up_after_the_timeout(run: Run[Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        reads = RedisReads(RedisOptions.of(url, timeout=0.1, retry_for=0.3))
        run(closing(reads, lambda r: fails(r, r"(no answer for 0\.1 seconds|has not answered yet) \(tried for")))


def test_server_that_stops_answering_is_given_up_for_all_who_wait(server: RedisServer, run: Run[Any]) -> None:
    async def stopped(reads: RedisReads) -> None:
        await found(reads)
        with server.client() as client:
            client.execute_command("CLIENT", "PAUSE", "60000", "ALL")
        await asyncio.gather(*(fails(reads, r"no answer for 0\.1 seconds|has not answered") for _ in range(10)))

    run(closing(reads_of(server, timeout=0.1, retry_for=0.2), stopped))


def test_whoever_waits_is_told_of_the_close_and_another_read_connects_anew(server: RedisServer, run: Run[Any]) -> None:
    async def closed(reads: RedisReads) -> None:
        await found(reads)
        server.kill()
        waiting = asyncio.create_task(fails(reads, "was closed"))
        await asyncio.sleep(0.05)
        await reads.aclose()
        await waiting
        await asyncio.to_thread(server.start)
        await found(reads)

    run(closing(reads_of(server), closed))


def test_another_loop_gets_a_connection_of_its_own(redis_server: RedisServer, redis_store: RedisStore) -> None:
    filled(redis_store)
    reads = reads_of(redis_server)

    async def once() -> Any:
        try:
            return await found(reads)
        finally:
            await reads.aclose()

    assert [asyncio.run(once()) for _ in range(3)] == [FOUND] * 3


def test_server_that_may_evict_is_refused(tmp_path: Path, run: Run[Any]) -> None:
    options = {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}
    with RedisServer(tmp_path / "redis", options=options) as server:
        run(closing(reads_of(server), lambda r: fails(r, "its maxmemory-policy is allkeys-lru")))


def test_users_log_in_and_a_wrong_password_is_refused_at_once(tmp_path: Path, run: Run[Any]) -> None:
    acl = ["user app on >s3cret ~* +@read +info +select", "user conf on >s3cret ~* +@read +config|get +role"]
    with RedisServer(tmp_path / "redis", acl=acl) as server:
        for user in ("app", "conf"):
            allowed = reads_of(server, username=user, password="s3cret")
            assert run(closing(allowed, found)) == ([None] * 3, [{}, {}])
        refused = reads_of(server, username="app", password="wr0ng")
        run(closing(refused, lambda r: fails(r, "refuses the user name or password")))


def test_tls_needs_the_authority(tmp_path: Path, run: Run[Any]) -> None:
    with RedisServer(tmp_path / "redis", tls=True) as server:
        assert server.certificates is not None
        authority = str(server.certificates.authority)
        with RedisStore(RedisOptions.of(server.url, ca=authority)) as store:
            filled(store)
        assert run(closing(reads_of(server, ca=authority), found)) == FOUND
        run(closing(reads_of(server), lambda r: fails(r, r"certificate is not trusted.*tls_ca")))
        with pytest.raises(ConfigError, match="cannot be read"):
            run(closing(reads_of(server, ca=str(tmp_path / "none.pem")), found))


def test_unix_socket_is_a_way_in(tmp_path_factory: pytest.TempPathFactory, run: Run[Any]) -> None:
    folder = tmp_path_factory.mktemp("s")
    with RedisServer(folder, options={"unixsocket": f'"{folder / "redis.sock"}"'}):
        reads = RedisReads(RedisOptions.of(f"unix://{folder / 'redis.sock'}?db=3"))
        assert run(closing(reads, found)) == ([None] * 3, [{}, {}])


def test_name_of_another_kind_is_said(redis_server: RedisServer, redis_store: RedisStore, run: Run[Any]) -> None:
    redis_store.put([(b"m/a", b"no marks")])
    run(closing(reads_of(redis_server), lambda r: fails(r, "holds something else under a name of ours")))


def test_every_store_has_a_way_to_be_read(store: Any, run: Run[Any], tmp_path: Path) -> None:
    store.put([(b"p/a", b"1"), (b"s/a", b"xyz")])
    store.mark([(b"m/a", 0, 41), (b"m/a", 1, 7), (b"m/a", -1, 3)])
    reads = async_reads(store)
    kinds = {"LmdbStore": DirectReads, "RedisStore": RedisReads, "RedisClusterStore": ThreadedReads}
    assert isinstance(reads, kinds[type(store).__name__])

    async def both() -> Any:
        try:
            return await reads.read(NAMES, GROUPS)
        finally:
            await reads.aclose()

    assert run(both()) == FOUND
    store.close()
