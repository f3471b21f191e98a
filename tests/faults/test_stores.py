"""A Redis that dies, with its data and without; a disk that is full; a broker that dies."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.conftest import LASTING
from tests.faults.world import World
from tests.services.kafka import KafkaBroker
from tests.services.process import wait_until
from tests.services.redis import RedisServer


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    with RedisServer(options=LASTING) as found:
        yield found


def test_redis_that_restarts_with_its_data_is_gone_on_with(
    broker: KafkaBroker, own_redis: RedisServer, tmp_path: Path, seed: int
) -> None:
    world = World(tmp_path / "shop", broker, own_redis, seed=seed)
    try:
        for _ in range(2):
            world.worker()
        for _ in range(4):
            world.send(150)
            own_redis.kill()
            own_redis.start()
            world.send(50)
        world.settle()
        world.finish()
    finally:
        world.close()


def test_redis_that_lost_everything_is_built_again_by_the_worker_itself(
    broker: KafkaBroker, own_redis: RedisServer, tmp_path: Path, seed: int
) -> None:
    world = World(tmp_path / "shop", broker, own_redis, seed=seed)
    try:
        workers = [world.worker() for _ in range(2)]
        world.send(300)
        world.settle()
        for _ in range(2):
            world.send(100)
            own_redis.kill()
            own_redis.wipe()
            own_redis.start()
            world.send(100)
            world.settle()
        assert all(w.runs for w in workers)
        world.finish()
    finally:
        world.close()


def test_broker_that_is_killed_and_restarts_is_waited_for(redis: RedisServer, tmp_path: Path, seed: int) -> None:
    with KafkaBroker() as broker:
        world = World(tmp_path / "shop", broker, redis, seed=seed)
        try:
            workers = [world.worker() for _ in range(2)]
            world.send(200)
            for _ in range(2):
                broker.kill()
                broker.start()
                world.send(200)
            world.settle()
            assert all(w.runs for w in workers)
            world.finish()
        finally:
            world.close()


@contextmanager
def small_disk(at: Path, size: str) -> Iterator[None]:
    """A file system of that size in memory. Only root may mount one, so the test needs root."""
    if os.geteuid() != 0:
        pytest.fail("this test mounts a disk that is small enough to fill, which only root may: run it as root")
    at.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(at)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def test_full_disk_of_the_archive_is_waited_for(world: World) -> None:
    with small_disk(world.folder / ".onefold", "16m"):
        worker = world.worker()
        world.send(200)
        world.settle()
        filler = world.folder / ".onefold" / "filler"
        with filler.open("wb", buffering=0) as file:
            while True:
                try:
                    file.write(bytes(4096))
                except OSError:
                    break
        world.send(200)
        wait_until(lambda: "No space left" in worker.log.read_text(), "the worker says that the disk is full")
        world.check_commits()
        filler.unlink(missing_ok=True)
        world.settle()
        assert worker.runs
        world.send(50)
        worker.signal(signal.SIGKILL)
        world.worker()
        world.settle()
        world.finish()
