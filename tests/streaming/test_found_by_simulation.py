"""Faults that the simulation found, each as a small story of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from onefold.features.errors import MismatchError, SessionError, StoreError, UnbuiltError
from onefold.features.keys import encode_pointer
from onefold.online.lookup import PARTIAL, Lookup
from onefold.streaming.feeds import FixedGroup, QueueFeed
from onefold.streaming.live import join, pointer_names
from onefold.streaming.materialize import materialize
from onefold.streaming.worker import Worker

if TYPE_CHECKING:
    from tests.streaming.conftest import Place


class Committing(QueueFeed):
    """A feed that remembers what it was told to commit."""

    def __init__(self, *lines: bytes, name: str = "live", first: int = 0) -> None:
        super().__init__("orders", name=name, first=first)
        self.extend(lines)
        self.committed = list[int]()

    def commit(self, offset: int) -> None:
        self.committed.append(offset)


class Wrapped:
    """A part some of whose methods are others."""

    def __init__(self, part: Any, **others: Any) -> None:
        self._part, self._others = part, others

    def __getattr__(self, name: str) -> Any:
        return self._others.get(name) or getattr(self._part, name)


def orders(place: Place, count: int) -> list[bytes]:
    return [place.order(n) for n in range(count)]


def test_dead_letters_are_where_they_must_be_before_the_archive_goes_past_them(place: Place) -> None:
    calls = list[str]()

    def flush() -> None:
        calls.append("letters")

    def append(*args: Any) -> int:
        calls.append("archive")
        return int(archive.append(*args))

    archive, place.letters = place.archive, Wrapped(place.letters, flush=flush)  # type: ignore[assignment]
    place.archive = Wrapped(archive, append=append)
    place.worker(place.queue([place.order(0), b"{", place.order(2)])).run()
    assert calls[:2] == ["letters", "archive"]


def test_letters_that_cannot_be_flushed_keep_the_archive_back(place: Place) -> None:
    def flush() -> None:
        raise StoreError("no broker answers")

    place.letters = Wrapped(place.letters, flush=flush)  # type: ignore[assignment]
    worker = place.worker(place.queue([b"{", place.order(1)]))
    worker.step()
    with pytest.raises(StoreError, match="no broker"):
        worker.flush()
    assert place.positions() == []


@pytest.mark.parametrize("error", [MismatchError("other columns"), ValueError("a bug"), KeyboardInterrupt()])
def test_whatever_the_archive_raises_what_was_held_back_is_replayed(place: Place, error: BaseException) -> None:
    feed, archive = Committing(*orders(place, 5)), place.archive

    def append(*_: Any) -> int:
        raise error

    place.archive = parts = Wrapped(archive, append=append)
    worker = place.worker(feed)
    worker.step()
    with pytest.raises(type(error)):
        worker.flush()
    parts._others.clear()
    worker.flush()
    assert feed.committed == []
    worker.run()
    assert feed.committed[-1] == 4
    assert [offset for _, offset in place.positions()] == [0, 1, 2, 3, 4]


def test_flush_in_the_background_commits_nothing_of_a_state_that_was_left_meanwhile(place: Place) -> None:
    feed, times, archive = Committing(*orders(place, 5)), iter([1]), place.archive
    session = 1

    class Store(Wrapped):
        @property
        def session(self) -> int:
            return session

        def append(self, items: Any, *, keep: int | None = None, **_: Any) -> Any:
            return whole.append(items, keep=keep)

        def mark(self, items: Any, **_: Any) -> None:
            whole.mark(items)

    def append(*args: Any) -> int:
        nonlocal session
        if next(times, None) is not None:
            session = 2
            worker._joiner.join(worker.feeds[0])
            worker.feeds[0].lost = False
        return int(archive.append(*args))

    whole = place.store
    place.store = Store(
        whole,
        append=lambda items, session=None, keep=None: whole.append(items, keep=keep),
        mark=lambda items, session=None: whole.mark(items),
    )
    place.archive = Wrapped(archive, append=append)
    worker: Worker = place.worker(feed)
    worker.step()
    worker.flush()
    assert feed.committed == []
    worker.run()
    place.store = whole
    assert feed.committed[-1] == 4


def lossy(place: Place, first: int, *lines: bytes, name: str = "live") -> QueueFeed:
    return Committing(*lines, name=name, first=first)


def test_loss_that_is_accepted_has_the_state_built_anew_without_what_the_archive_never_got(place: Place) -> None:
    lines = orders(place, 30)
    archived = place.worker(place.queue(lines[:10]))
    archived.run()
    died = place.worker(place.queue(lines[:20]))
    died.step()
    assert place.positions()[-1] == (0, 9)
    with pytest.raises(UnbuiltError, match="events of sequence 0 were lost"):
        place.worker(lossy(place, 15, *lines[15:]), accept_loss=True)
    materialize(place.project, store=place.store, archive=place.archive)
    place.worker(lossy(place, 15, *lines[15:], name="live+15")).run()
    assert place.positions() == [(0, n) for n in range(10)] + [(1, n) for n in range(15, 30)]
    assert place.decoded("user", "u0").events.ts == [n * 900_000_000 for n in (0, 5, 15, 20, 25)]


def test_restarted_feed_that_died_before_its_first_flush_goes_on(place: Place) -> None:
    lines = orders(place, 12)
    place.worker(place.queue(lines[:3])).run()
    restarted = lossy(place, 6, *lines[6:], name="live+6")
    place.worker(restarted).step()
    again = lossy(place, 6, *lines[6:], name="live+6")
    place.worker(again, accept_loss=True).run()
    assert set(place.archive.sequences("orders")) == {"live", "live+6"}
    assert place.positions()[3:] == [(1, n) for n in range(6, 12)]


def test_build_whose_store_may_have_lost_writes_stops(place: Place) -> None:
    place.worker(place.queue(orders(place, 20))).run()
    session = 1

    class Store(Wrapped):
        @property
        def session(self) -> int:
            return session

    def lose(done: int, total: int) -> None:
        nonlocal session
        session = 2

    with pytest.raises(SessionError, match="may have lost what was built"):
        materialize(
            place.project,
            store=Store(place.store),
            archive=place.archive,
            full=True,
            progress=lose,
        )
    assert place.live("user") == (1, place.layout("user").fingerprint)


def test_build_deletes_nothing_of_a_state_that_was_begun_meanwhile(place: Place) -> None:
    begun = list[int]()

    def snapshot(source: str) -> Any:
        if not begun:
            begun.append(place.worker(place.queue(orders(place, 5))).step().events)
        return archive.snapshot(source)

    def look(done: int, total: int) -> None:
        begun.append(len(place.decoded("user", "u0").events.ts))

    archive = place.archive
    place.archive = Wrapped(archive, snapshot=snapshot)
    materialize(place.project, store=place.store, archive=place.archive, full=True, progress=look)
    assert begun == [5, 1, 1]
    assert place.live("user") == (2, place.layout("user").fingerprint)
    assert list(place.store.names(place.layout("user").prefix(1))) == []


def test_build_whose_flip_was_lost_does_not_delete_what_is_live_again(place: Place) -> None:
    place.worker(place.queue(orders(place, 5))).run()
    pointers, session = pointer_names(place.project.layouts.values()), 1

    class Store(Wrapped):
        @property
        def session(self) -> int:
            return session

    def put(items: Any, *, session: int | None = None, keep: int | None = None) -> None:
        items = list(items)
        if items and items[0][0] in pointers:
            lose()
        else:
            place.store.put(items, keep=keep)

    def lose() -> None:
        nonlocal session
        session = 2

    def clear(prefix: bytes, *, session: int | None = None) -> None:
        if session not in (None, store.session):
            raise SessionError("the store may have lost writes since")
        place.store.clear(prefix)

    store = Store(place.store, put=put, clear=clear)
    with pytest.raises(SessionError):
        materialize(place.project, store=store, archive=place.archive, full=True)
    assert place.live("user") == (1, place.layout("user").fingerprint)
    assert len(place.decoded("user", "u0").events.ts) == 1


def test_state_is_begun_once_whoever_else_begins_or_builds_it(place: Place) -> None:
    layouts = list(place.project.layouts.values())

    def append(items: Any, **said: Any) -> Any:
        place.store.put([(name, encode_pointer(7, layouts[0].fingerprint)) for name in pointer_names(layouts[:1])])
        return place.store.append(items, **said)

    found = join(Wrapped(place.store, append=append), {}, layouts, brought=())
    assert [live.epoch for live in found] == [7, 1]
    assert [live.epoch for live in join(place.store, {}, layouts, brought=())] == [7, 1]


class Anew(FixedGroup):
    """Feeds of topics that were made anew: what went by the name `live` never comes again."""

    def is_gone(self, source: str, name: str) -> bool:
        return name == "live"


def test_topic_made_anew_before_its_events_were_archived_has_the_state_built_without_them(place: Place) -> None:
    lines = orders(place, 20)
    place.worker(place.queue(lines[:10])).run()
    died = place.worker(place.queue(lines))
    died.step()
    assert place.positions()[-1] == (0, 9)
    lookup = Lookup(place.store, place.project.service("all"))
    row, t = {"user": "u0", "shop": 0}, 20 * 900_000_000
    (before,) = lookup.read([row], [t])
    assert PARTIAL not in before.statuses
    anew = Anew([place.queue(lines[10:12], name="anew")])
    with pytest.raises(UnbuiltError, match="events of sequence 0 were lost"):
        place.worker(feeds=anew)
    (between,) = lookup.read([row], [t])
    assert set(between.statuses) == {PARTIAL}
    materialize(place.project, store=place.store, archive=place.archive)
    place.worker(feeds=anew).run()
    assert place.positions() == [(0, n) for n in range(10)] + [(1, 0), (1, 1)]
    assert place.decoded("user", "u0").events.ts == [n * 900_000_000 for n in (0, 5, 10)]
    (after,) = lookup.read([row], [t])
    assert PARTIAL not in after.statuses


def test_topic_made_anew_behind_all_that_was_archived_asks_for_nothing(place: Place) -> None:
    place.worker(place.queue(orders(place, 10))).run()
    place.worker(feeds=Anew([place.queue(orders(place, 2), name="anew")])).run()
    assert place.live("user") == (1, place.layout("user").fingerprint)
