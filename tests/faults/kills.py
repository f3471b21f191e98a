"""Workers that are killed outright again and again, most of them in the middle of a flush."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.child import APPEND, FLUSH, Child
from tests.faults.world import World
from tests.services.kafka import KafkaBroker
from tests.services.redis import RedisServer

WORKERS = 2
_AIM = 10.0
"""Seconds for which a kill waits for what it is aimed at; then it falls anyway."""
_CHECK = 25


def killed(
    folder: Path, broker: KafkaBroker, redis: RedisServer, *, kills: int, seed: int,
    advance: Callable[[int], None] = lambda n: None,
) -> int:  # fmt: skip
    """Live through so many kills, then judge; AssertionError, which names the seed, for any difference.

    How many kills fell into a flush or an append that had begun.
    """
    world = World(folder, broker, redis, seed=seed)
    chance, aimed = random.Random(seed), 0
    try:
        workers = [world.worker(name=f"w{n}", lasting=True) for n in range(WORKERS)]
        for number in range(kills):
            world.send(chance.randrange(10, 60))
            at = chance.randrange(WORKERS)
            aimed += _strike(workers[at], chance)
            workers[at] = world.worker(name=f"w{at}", lasting=True)
            if number % _CHECK == _CHECK - 1:
                world.check_commits()
            advance(1)
        world.settle()
        world.finish()
    finally:
        world.close()
    return aimed


def _strike(worker: Child, chance: random.Random) -> bool:
    """Kill it a moment after it has begun a flush (four times in five) or an append; whether it had."""
    what = FLUSH if chance.random() < 0.8 else APPEND
    pause, count, deadline = chance.uniform(0, 0.03), worker.counts[what], time.monotonic() + _AIM
    while (begun := worker.counts[what] > count) is False and worker.runs and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(pause)
    assert worker.runs, f"{worker.name} ended by itself:\n{worker.log.read_text()[-3000:]}"
    worker.kill()
    return begun
