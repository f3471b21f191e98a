"""The judge finds what it must find: each of these would pass unseen otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest
from deltalake import DeltaTable, write_deltalake
from kafka import OffsetAndMetadata
from kafka.errors import NoError

from tests.faults.world import World


@pytest.fixture
def level(world: World) -> Iterator[World]:
    """A world whose worker has stopped with everything in."""
    worker = world.worker()
    world.send(150)
    world.settle()
    assert worker.stop() == 0, worker.log.read_text()[-2000:]
    world.check_commits()
    world.check()
    yield world


def test_event_that_the_archive_lacks_is_found(level: World) -> None:
    DeltaTable(str(level.space.settings.archive / "orders")).delete("_offset = 3 AND _sequence = 0")
    with pytest.raises(AssertionError, match=r"seed \d+: the archive lacks 1 events"):
        level.check()


def test_event_that_is_twice_in_the_archive_is_found(level: World) -> None:
    files = level.space.archive.files("orders")
    with duckdb.connect() as connection:
        one = connection.read_parquet(files).limit(1).to_arrow_table()
    write_deltalake(str(level.space.settings.archive / "orders"), one, mode="append")
    with pytest.raises(AssertionError, match=r"1 events are twice in the archive"):
        level.check()


def test_state_that_is_lost_or_another_is_found(level: World) -> None:
    prefix = level.layouts[0].prefix(1)
    with level.space.store() as store:
        (first, _), (second, other) = list(store.scan(prefix))[:2]
        store.put([(first, other)])
        with pytest.raises(AssertionError, match=r"1 of 30 states differ"):
            level.check()
        store.put([(second, None)])
    with pytest.raises(AssertionError, match="keys of states differ"):
        level.check()


def test_commit_ahead_of_the_sinks_is_found(level: World) -> None:
    level.send(60)
    with level.broker.admin() as admin:
        ends = {p: OffsetAndMetadata(level.ends()[level.feed(p.partition)], "", -1) for p in level.places}
        assert set(admin.alter_group_offsets(level.topic, ends).values()) == {NoError}
    with pytest.raises(AssertionError, match="committed"):
        level.check_commits()
