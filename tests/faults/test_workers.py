"""Workers that share what they should not: zombies, and groups that never come to rest. And clocks, and poison."""

from __future__ import annotations

import json
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.faults.child import APPEND, Child
from tests.faults.world import SECOND, World
from tests.services.process import wait_until

YEAR = 365 * 86_400 * SECOND


def test_worker_that_slept_through_its_session_does_no_harm(world: World) -> None:
    zombie, other = world.worker(name="zombie"), world.worker(name="other")
    for _ in range(3):
        wait_until(partial(_takes, world, zombie, zombie.counts[APPEND]), "the zombie takes events")
        zombie.signal(signal.SIGSTOP)
        world.send(200)
        world.settle()  # the other one has all partitions by now: the session of the zombie is over
        zombie.signal(signal.SIGCONT)
        world.send(200)
    world.settle()
    assert zombie.runs and other.runs
    world.finish()


def _takes(world: World, worker: Child, before: int) -> bool:
    world.send(5)
    return worker.counts[APPEND] > before


def test_workers_that_come_and_go_under_load_hand_over_in_order(world: World) -> None:
    crew = [world.worker()]
    for _ in range(8):
        world.send(120)
        if len(crew) < 2 or (len(crew) < 4 and world.chance.random() < 0.5):
            crew.append(world.worker())
        else:
            left = crew.pop(world.chance.randrange(len(crew)))
            assert left.stop() == 0, left.log.read_text()[-2000:]
        world.check_commits()
    world.settle()
    world.finish()


def test_clock_that_jumps_by_decades_changes_nothing(world: World) -> None:
    world.worker(skew=40 * YEAR)
    for _ in range(5):
        world.send(200)
    world.settle()
    world.finish()


POISON = [
    b"", b"\x00", b"null", b"[]", b"{}", b'"text"', b"{" * 5_000, b"\xff\xfe{}", b'{"id": "x"',
    json.dumps({"id": "a", "user": "u1", "shop": 1, "ts": "yesterday", "amount": 1.0}).encode(),
    json.dumps({"id": "a", "user": "u1", "shop": 1, "ts": None, "amount": 1.0}).encode(),
    json.dumps({"id": "a", "user": "u1", "shop": "one", "ts": "2013-01-01T00:00:00Z", "amount": 1.0}).encode(),
    json.dumps({"id": "a", "user": "u1", "shop": 1 << 70, "ts": "2013-01-01T00:00:00Z", "amount": 1.0}).encode(),
    json.dumps({"id": "a", "user": 7, "shop": 1, "ts": "2013-01-01T00:00:00Z", "amount": {}}).encode(),
    json.dumps({"id": "a", "user": "u1", "shop": 1, "ts": "2013-13-01T00:00:00Z", "amount": 1.0}).encode(),
    json.dumps({"id": "a" * 200_000}).encode(),
]  # fmt: skip


@pytest.mark.parametrize("batch", [1, 40])
def test_batch_of_poison_goes_to_the_dead_letters_and_the_rest_goes_on(world: World, batch: int) -> None:
    worker = world.worker(STREAM__BATCH=str(batch))
    for _ in range(3):
        world.send(30)
        world.spoil(world.chance.sample(POISON, len(POISON)))
        world.send(10)
        worker.kill()
        worker = world.worker(STREAM__BATCH=str(batch))
    world.settle()
    world.finish()
    letters = Path(world.space.settings.dead_letters / "orders.jsonl").read_text().splitlines()
    places = [(entry["sequence"], entry["offset"]) for entry in map(json.loads, letters)]
    assert len(set(places)) == 3 * len(POISON)
