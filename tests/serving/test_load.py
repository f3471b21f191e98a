"""The service under load, and when its store goes away. `make soak MINUTES=60` is the long one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from onefold.offline.served import ServedLog
from onefold.online.redis_options import RedisOptions
from onefold.online.redis_store import RedisStore
from onefold.serving import keys
from onefold.serving.key_file import KeyFile
from onefold.serving.limits import Limits
from tests.services.redis import RedisServer

from .conftest import EVENTS
from .load import Load, closed_loop, request
from .processes import Served, eventually, serving

if TYPE_CHECKING:
    from .conftest import World

pytestmark = pytest.mark.slow

ROW = {
    "customer_id": 7, "basket_total": 30.0, "placed": "2013-12-01T08:29:30Z",
    "event_timestamp": "2013-12-01T08:30:00Z",
}  # fmt: skip
SCORE = request("/v1/score/late", json.dumps({"row": ROW}).encode())
MINUTES = float(os.environ.get("SOAK_MINUTES", "0.5"))
GROWTH = 24 * 1024
"""KiB that a worker may grow by between the first tenth of a soak and its end."""
LOG_GROWTH = 96 * 1024
"""The same of the process that writes the served log, which holds more rows at once the faster they come."""


def resident(pid: int) -> int:
    """KiB of memory that a process has to itself and shares."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def status(server: Served, path: str = "/v1/score/late") -> int:
    return httpx.post(server.url + path, json={"row": ROW}, timeout=30).status_code


@pytest.mark.timeout(60 * MINUTES + 600)
def test_a_soak_at_half_the_peak_keeps_memory_flat_and_fails_nothing(world: World) -> None:
    with serving(world.folder) as server:

        def run(seconds: float, pause: float) -> Load:
            return asyncio.run(closed_loop(server.url, SCORE, connections=8, seconds=seconds, pause=pause))

        peak = run(4, 0.0)
        pause = 8 / (peak.count / 4 / 2)  # as long as an answer takes at the peak, once more between two of them
        warm = run(max(60 * MINUTES / 10, 5.0), pause)
        pids = [*server.workers(), server.log_process()]
        before = [resident(pid) for pid in pids]
        loads = [peak, warm, run(60 * MINUTES, pause)]
        after = [resident(pid) for pid in pids]
        page = httpx.get(f"{server.url}/metrics").text
        server.end()
    total = sum(load.count for load in loads)
    print(f"{total} answers, {peak.count / 4:.0f} a second at the peak; KiB of worker and log: {before}, then {after}")
    assert [(dict(load.statuses), load.broken) for load in loads] == [({200: load.count}, 0) for load in loads]
    assert after[0] - before[0] < GROWTH
    assert after[1] - before[1] < LOG_GROWTH
    assert "onefold_served_log_dropped_total 0.0" in page
    assert ServedLog(world.folder / ".onefold" / "served").read("returns", world.plan.fingerprint).num_rows == total


def test_overload_is_refused_at_once_and_is_over_when_it_is_over(world: World) -> None:
    limits = Limits(waiting=0.02, at_once=64, connections=400)
    with serving(world.folder, limits=limits) as server:
        load = asyncio.run(closed_loop(server.url, SCORE, connections=300, seconds=5))
        assert load.statuses.keys() == {200, 503}
        assert load.statuses[200] >= load.count // 10
        assert load.broken == 0
        assert [status(server) for _ in range(5)] == [200] * 5
        server.end()


def test_a_key_over_its_rate_is_429_while_others_are_served(world: World) -> None:
    pairs = [
        keys.create(name, services=["returns"], now=0, expires=None, rate=rate) for name, rate in (("a", 5), ("b", 0))
    ]
    KeyFile(world.folder / ".onefold" / "keys.json").write([key for key, _ in pairs])
    with serving(world.folder, require_keys=True) as server:
        asked = [request("/v1/score/late", json.dumps({"row": ROW}).encode(), {"x-api-key": text}) for _, text in pairs]

        async def both() -> list[Load]:
            return await asyncio.gather(*(closed_loop(server.url, one, connections=2, seconds=3) for one in asked))

        slow, free = asyncio.run(both())
        server.end()
    assert slow.statuses.keys() == {200, 429}
    assert 10 <= slow.statuses[200] < slow.statuses[429]
    assert free.statuses.keys() == {200}


@pytest.fixture
def redis_world(world: World) -> Iterator[tuple[World, RedisServer]]:
    """The same project with its state in a Redis that may be killed."""
    with RedisServer() as server:
        fill(world, server)
        yield world, server


def fill(world: World, server: RedisServer) -> None:
    store: Any = RedisStore(RedisOptions.of(server.url), readonly=False)
    lmdb, world.store = world.store, store
    try:
        world.go_live()
        world.take(EVENTS)
    finally:
        store.close()
        world.store = lmdb


def test_a_store_that_goes_away_is_a_503_and_comes_back_without_a_restart(
    redis_world: tuple[World, RedisServer],
) -> None:
    world, redis = redis_world
    online = RedisOptions.of(redis.url, timeout=1.0, retry_for=1.0)
    with serving(world.folder, online=online, limits=Limits(seconds=5.0)) as server:
        assert status(server) == 200
        redis.kill()
        load = asyncio.run(closed_loop(server.url, SCORE, connections=16, seconds=4))
        assert load.statuses.keys() == {503}
        assert load.broken == 0
        error = httpx.post(f"{server.url}/v1/score/late", json={"row": ROW}, timeout=30).json()["error"]
        assert error["code"] == "store"
        assert httpx.get(f"{server.url}/ready", timeout=30).status_code == 503
        assert httpx.get(f"{server.url}/health").status_code == 200
        redis.wipe()
        redis.start()
        eventually(lambda: "not built yet" in httpx.get(f"{server.url}/ready", timeout=30).text)
        fill(world, redis)
        eventually(lambda: status(server) == 200)
        assert httpx.get(f"{server.url}/ready").status_code == 200
        server.end()


def test_a_store_that_hangs_is_a_503_or_504_and_others_go_on(redis_world: tuple[World, RedisServer]) -> None:
    """Redis is stopped, not dead: nothing is refused, nothing comes."""
    world, redis = redis_world
    online = RedisOptions.of(redis.url, timeout=1.0, retry_for=1.0)
    with serving(world.folder, online=online, limits=Limits(seconds=2.0)) as server:
        assert status(server) == 200
        os.kill(redis.pid or 0, signal.SIGSTOP)
        try:
            load = asyncio.run(closed_loop(server.url, SCORE, connections=16, seconds=4))
            assert load.statuses.keys() <= {503, 504}
            assert httpx.get(f"{server.url}/health").status_code == 200
        finally:
            os.kill(redis.pid or 0, signal.SIGCONT)
        eventually(lambda: status(server) == 200)
        server.end()


def test_workers_share_the_load_and_take_little_memory(world: World) -> None:
    with serving(world.folder, workers=2) as server:
        load = asyncio.run(closed_loop(server.url, SCORE, connections=16, seconds=3))
        assert set(load.statuses) == {200}
        assert load.broken == 0
        server.log_process()
        for pid in server.workers():
            assert resident(pid) < 200 * 1024
        server.end()
