"""A log that is replayed, cut, or made anew under its old name; and a group whose offsets somebody has reset."""

from __future__ import annotations

from typing import Any

from kafka import KafkaAdminClient, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError, NoError

from tests.faults.world import PARTITIONS, World
from tests.services.process import wait_until


def stopped(world: World) -> None:
    for child in world.children:
        if child.runs:
            assert child.stop() == 0, child.log.read_text()[-2000:]


def test_replay_from_the_beginning_adds_nothing(world: World) -> None:
    world.worker()
    world.send(400)
    world.settle()
    stopped(world)
    with world.broker.admin() as admin:
        begun = {place: OffsetAndMetadata(0, "", -1) for place in world.places}
        wait_until(lambda: _is_reset(admin, world.topic, begun), "the group is empty, and its offsets are 0")
    world.worker()
    world.send(100)
    world.settle()
    stopped(world)
    world.worker(KAFKA__GROUP=f"{world.topic}-fresh")
    world.send(100)
    world.settle()
    world.finish()


def test_topic_that_is_made_anew_is_another_sequence(world: World) -> None:
    workers = [world.worker() for _ in range(2)]
    world.send(300)
    world.settle()
    world.read_log()
    world.broker.delete_topic(world.topic)
    world.broker.create_topic(world.topic, PARTITIONS)
    world.send(300)
    world.settle()
    assert all(w.runs for w in workers)
    world.finish()


def test_retention_behind_the_workers_costs_nothing(world: World) -> None:
    worker = world.worker()
    world.send(300)
    world.settle()
    world.read_log()
    cut(world)
    worker.kill()
    world.worker()
    world.send(200)
    world.settle()
    world.finish()


def test_retention_ahead_of_the_workers_stops_them_until_the_loss_is_accepted(world: World) -> None:
    worker = world.worker()
    world.send(300)
    world.settle()
    world.read_log()
    worker.kill()
    world.send(200)  # nobody ever takes these
    cut(world)
    world.send(100)
    refused = world.worker(STREAM__PATIENCE="1 second")
    wait_until(lambda: not refused.runs, "the worker gives up")
    assert refused.process.exitcode and "is gone, by retention" in refused.log.read_text()
    world.worker("--accept-loss")
    world.settle()
    world.finish()


def cut(world: World) -> None:
    """All that the partitions hold now is gone, as retention would have it."""
    admin = KafkaAdminClient(bootstrap_servers=world.broker.address)
    try:
        admin.delete_records({TopicPartition(world.topic, n): -1 for n in range(PARTITIONS)})
    finally:
        admin.close()
    firsts = world.firsts()
    assert all(firsts[p] > 0 for p in world.places), firsts


def _is_reset(admin: Any, group: str, offsets: dict[TopicPartition, OffsetAndMetadata]) -> bool:
    try:
        return all(error is NoError for error in admin.alter_group_offsets(group, offsets).values())
    except KafkaError:
        return False
