"""The sweep trims, renews and drops strings beside running workers; no value that can be asked for changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from onefold.features.keys import LONGEST, state_name
from onefold.online.redis_store import RedisStore
from onefold.streaming.materialize import materialize
from onefold.streaming.memory import online_memory
from onefold.streaming.state_writer import StateWriter
from onefold.streaming.sweep import Sweeper, Swept

if TYPE_CHECKING:
    from tests.streaming.conftest import Place

HOUR = 3_600_000_000
DAY = 24 * HOUR


def writers(place: Place, store: Any = None) -> list[StateWriter]:
    found = []
    for (_, entity), layout in place.project.layouts.items():
        live = place.live(entity)
        assert live is not None
        found.append(StateWriter(store or place.store, layout, live[0]))
    return found


def swept(place: Place, *, at: int | None, sweeper: Sweeper | None = None, limit: int = 7) -> Swept:
    """One round of all states."""
    sweeper = sweeper or Sweeper(place.store, writers(place))
    total = Swept()
    while not sweeper.resting:
        total.add(sweeper.step({} if at is None else {"orders": at}, limit=limit))
    return total


def test_tails_become_heads_and_nothing_else_changes(place: Place) -> None:
    lines = [place.order(n) for n in range(60)]
    place.worker(place.queue(lines)).run()
    done = swept(place, at=None)
    assert (done.seen, done.compacted, done.rounds) == (8, 8, 2)
    assert place.decoded("user", "u0").records == 0
    assert place.canonical(floor=0) == place.expected(lines, floor=0)
    again = swept(place, at=None)
    assert (again.seen, again.compacted, again.deleted) == (8, 0, 0)


def test_what_is_below_the_floor_is_dropped(place: Place) -> None:
    lines = [place.order(n, user="u", shop=1, ts=n * HOUR) for n in range(400)]
    place.worker(place.queue(lines), batch=400).run()
    swept(place, at=399 * HOUR)
    decoded = place.decoded("user", "u")
    assert decoded.floor is not None
    assert decoded.events.ts[0] == decoded.floor == 399 * HOUR - 7 * DAY - HOUR


def test_string_whose_events_left_all_windows_long_ago_is_deleted(place: Place) -> None:
    lines = [
        place.order(0, user="old", shop=1, ts=0, amount=1.0),
        place.order(1, user="new", shop=2, amount=1.0, ts=100 * DAY),
    ]
    place.worker(place.queue(lines), batch=2).run()
    first = swept(place, at=10 * DAY)
    assert (first.compacted, first.deleted) == (4, 0)
    assert swept(place, at=13 * DAY).deleted == 1
    assert swept(place, at=18 * DAY).deleted == 1
    assert {name for entity, name in place.canonical() if entity == "user"} == {b"v\x00\x03new\x00"}


def test_key_with_an_empty_head_is_deleted_by_its_floor(place: Place) -> None:
    lines = [place.order(0, user="old", ts=0, amount=1.0), place.order(1, user="new", ts=100 * DAY)]
    place.worker(place.queue(lines)).run()
    materialize(place.project, store=place.store, archive=place.archive, full=True)
    assert place.decoded("user", "old").events.ts == []
    assert swept(place, at=100 * DAY).deleted == 0
    assert swept(place, at=108 * DAY).deleted == 2


def test_nothing_is_dropped_while_stream_time_is_not_known(place: Place) -> None:
    place.worker(place.queue([place.order(n, ts=n * 30 * DAY) for n in range(4)]), batch=4).run()
    assert swept(place, at=None).deleted == 0
    assert place.decoded("user", "u0").floor is None


def test_worker_between_any_two_reads_of_the_sweep_loses_nothing(place: Place) -> None:
    lines = [place.order(n) for n in range(200)]
    feed = place.queue()
    worker = place.worker(feed, batch=10)

    class Busy:
        """A store at which a worker appends after each read of the sweep."""

        def __getattr__(self, name: str) -> Any:
            return getattr(place.store, name)

        def get(self, names: Any) -> Any:
            found = place.store.get(names)
            feed.extend(lines[done : done + 10])
            worker.step()
            return found

    done = 0
    while done < len(lines):
        sweeper = Sweeper(Busy(), writers(place, Busy()))
        while not sweeper.resting:
            sweeper.step({"orders": 0}, limit=3)
            done += 10
    worker.run()
    assert place.canonical(floor=0) == place.expected(lines, floor=0)


def test_strings_of_another_epoch_are_not_touched(place: Place) -> None:
    place.worker(place.queue([place.order(n) for n in range(20)])).run()
    other = state_name(place.layout("user").prefix(2), b"v\x00\x02u0")
    place.store.put([(other, b"Rnot ours")])
    swept(place, at=1000 * DAY)
    assert place.store.get([other]) == [b"Rnot ours"]


def test_one_sweeper_at_a_time_has_a_state(place: Place) -> None:
    place.worker(place.queue([place.order(n) for n in range(20)])).run()
    a, b = Sweeper(place.store, writers(place)), Sweeper(place.store, writers(place))
    assert a.step({}, limit=1).seen == 1
    assert b.step({}).seen == 0
    a.close()
    assert Sweeper(place.store, writers(place)).step({}).seen == 5


def test_key_too_long_for_a_name_stays_whole(place: Place) -> None:
    name = "é" * LONGEST
    lines = [place.order(n, user=name) for n in range(3)]
    place.worker(place.queue(lines)).run()
    assert swept(place, at=None).renewed == 1
    materialize(place.project, store=place.store, archive=place.archive, full=True)
    place.worker(place.queue([*lines, *(place.order(n, user=name) for n in range(3, 6))])).run()
    assert swept(place, at=None).renewed == 0
    state = place.state("user", name)
    assert name.encode() in state and place.decoded("user", name).records == 0


def test_corrupt_string_is_counted_and_left(place: Place) -> None:
    place.worker(place.queue([place.order(n) for n in range(5)])).run()
    bad = state_name(place.layout("user").prefix(1), b"v\x00\x03bad")
    place.store.put([(bad, b"no state")])
    assert swept(place, at=None).corrupt == 1
    assert place.store.get([bad]) == [b"no state"]


@pytest.mark.parametrize("store", ["redis"], indirect=True)
def test_expiry_is_renewed_where_something_was_appended(place: Place) -> None:
    assert isinstance(place.store, RedisStore)
    place.worker(place.queue([place.order(n) for n in range(5)])).run()
    (writer,) = (w for w in writers(place) if w.layout.entity.name == "user")
    name = next(place.store.names(writer.layout.prefix(writer.epoch)))

    def milliseconds() -> int:
        with place.store._pool.lent() as connection:
            return int(connection.one(b"PTTL", name))

    assert writer.keep is not None
    assert 0 < milliseconds() <= writer.keep * 1000
    with place.store._pool.lent() as connection:
        connection.one(b"PEXPIRE", name, b"60000")
    swept(place, at=None)
    assert milliseconds() > writer.keep * 1000 - 60_000


def test_memory_is_told_by_key_and_event(place: Place) -> None:
    place.worker(place.queue([place.order(n, amount=1.0) for n in range(300)])).run()
    by_user, by_shop = sorted(online_memory(place.store, place.project.layouts.values()), key=lambda m: -m.keys)
    assert (by_user.source, by_user.entity, by_user.keys, by_user.sampled, by_user.events) == (
        "orders",
        "user",
        5,
        5,
        300,
    )
    assert (by_shop.keys, by_shop.events) == (3, 300)
    assert 0 < by_user.packed < by_user.bytes
    assert by_user.bytes_a_key == by_user.bytes / 5 and by_user.bytes_an_event == by_user.bytes / 300
    few = online_memory(place.store, [place.layout("user")], sample=2)[0]
    assert (few.keys, few.sampled, few.events) == (5, 2, 300)
