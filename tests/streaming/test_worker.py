"""Every event is once in the archive and once in the state, whatever fails and however often it is replayed."""

from __future__ import annotations

import os
import random
import sys
import threading
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from onefold.features.errors import MismatchError, NotFoundError, StoreError
from onefold.features.keys import LONGEST, state_name
from onefold.features.protocols import Records
from onefold.streaming.feeds import FileFeed, QueueFeed
from onefold.streaming.materialize import materialize
from onefold.streaming.report import StepReport

if TYPE_CHECKING:
    from tests.streaming.conftest import Place

HOUR = 3_600_000_000
DAY = 24 * HOUR


class Faulty:
    """A store or archive some of whose calls fail: before they do anything, or after all of it is done."""

    def __init__(self, part: Any, rng: random.Random, rate: float) -> None:
        self._part, self._rng, self._rate = part, rng, rate

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._part, name)
        if name not in ("append", "begin_append", "put", "swap_all", "get", "mark", "read"):
            return method

        def call(*args: Any, **options: Any) -> Any:
            if name == "begin_append" and self._rng.random() < 0.5:
                return lambda: self.append(*args, **options)
            if self._rng.random() < self._rate:
                raise StoreError(f"{name} did not reach the store")
            answer = method(*args, **options)
            if self._rng.random() < self._rate:
                raise StoreError(f"the answer of {name} was lost")
            return answer

        return call


class Redelivering(QueueFeed):
    """A feed that hands over records again which it has handed over before."""

    def poll(self, limit: int) -> Records:
        self.seek(max(0, self._offset - 3))
        return super().poll(limit + 3)


def orders(place: Place, count: int) -> list[bytes]:
    return [place.order(n) for n in range(count)]


def once(count: int, *, sequence: int = 0) -> list[tuple[int, int]]:
    return [(sequence, offset) for offset in range(count)]


def test_events_reach_the_archive_and_the_state_of_each_entity(place: Place) -> None:
    report = place.worker(place.queue(orders(place, 40))).run()
    assert (report.records, report.events, report.refused, report.archived) == (40, 40, 0, 40)
    assert place.positions() == once(40)
    assert place.decoded("user", "u1").events.ts == [n * HOUR // 4 for n in range(1, 40, 5)]
    assert place.decoded("user", "u1").offsets == {0: 36}
    assert place.decoded("shop", 1).events.ts == [n * HOUR // 4 for n in range(40) if n % 3 == 1 and n > 24]


def test_a_key_is_appended_once_a_batch(place: Place) -> None:
    worker = place.worker(place.queue(orders(place, 40)))
    assert worker.step().appended == 5 + 3
    assert worker.step() == StepReport()


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_batches_do_not_change_the_state(place: Place, batch: int) -> None:
    lines = orders(place, 60)
    place.worker(place.queue(lines), batch=batch, archive_every=13).run()
    assert place.canonical() == place.expected(lines)
    assert place.positions() == once(60)


def test_archive_is_written_on_its_own_cadence(place: Place) -> None:
    worker = place.worker(place.queue(orders(place, 25)), batch=10, archive_every=20)
    assert [worker.step().archived for _ in range(3)] == [0, 20, 0]
    worker.close()
    assert place.positions() == once(25)


class Slow:
    """An archive whose commits begin when they are let: one after another, in a thread that says how nice it is."""

    def __init__(self, archive: Any) -> None:
        self._archive, self.go, self.nice = archive, threading.Event(), list[int]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._archive, name)

    def append(self, *args: Any) -> int:
        assert self.go.wait(60)
        self.nice.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) if sys.platform == "linux" else 19)
        return int(self._archive.append(*args))


def test_worker_waits_for_a_slow_archive_when_it_holds_as_much_again(place: Place) -> None:
    slow = Slow(place.archive)
    place.archive = slow
    worker = place.worker(place.queue(orders(place, 60)), batch=5, archive_every=10, background=True)
    start, held = worker._flusher.start, list[int]()

    def started(feeds: Any) -> int:
        held.append(sum(len(j.buffer) for j in worker.feeds))
        if len(held) > 1:
            slow.go.set()
        return start(feeds)

    worker._flusher.start = started  # type: ignore[method-assign]
    worker.run()
    worker.close()
    assert held[:2] == [10, 20]
    assert place.positions() == once(60)
    assert min(slow.nice) >= 10


def test_ingestion_time_is_the_clock_at_the_poll(place: Place) -> None:
    feed = place.queue(orders(place, 1))
    worker = place.worker(feed)
    worker.step()
    feed.push(place.order(1))
    place.now += 5
    worker.run()
    table = pq.read_table(place.archive.files("orders"))
    stamps = table["_ingested_at"].cast("int64").to_pylist()
    assert stamps == [place.now - 5, place.now]


def test_replay_by_a_new_worker_adds_nothing(place: Place) -> None:
    lines = orders(place, 30)
    place.worker(place.queue(lines)).run()
    before = list(place.store.scan(b""))
    again = place.reopened()
    assert again.worker(place.queue(lines)).run() == StepReport()
    assert list(place.store.scan(b"")) == before
    assert again.positions() == once(30)


def test_worker_that_dies_before_its_archive_flush_loses_and_doubles_nothing(place: Place) -> None:
    lines = orders(place, 30)
    died = place.worker(place.queue(lines), batch=10)
    died.step()
    died.step()
    assert place.positions() == []
    place.reopened().worker(place.queue(lines)).run()
    assert place.positions() == once(30)
    assert place.canonical() == place.expected(lines)


def test_progress_marker_never_moves_back(place: Place) -> None:
    lines = orders(place, 30)
    place.worker(place.queue(lines)).step()
    again = place.reopened().worker(place.queue(lines), batch=4)
    while again.step().records:
        assert place.marks("user") == place.marks("shop") == {0: 29}


class FailsOnce:
    """A part whose one method fails once, before or after it has done its work."""

    def __init__(self, part: Any, method: str, *, done: bool) -> None:
        self._part, self._method, self._done = part, method, done

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._part, name)
        if name != self._method:
            return method

        def call(*args: Any, **options: Any) -> Any:
            self._method = ""
            if self._done:
                method(*args, **options)
            raise StoreError("the connection broke")

        return call


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("method", ["begin_append", "mark"])
def test_step_after_a_failed_store_goes_back_to_what_is_surely_in(place: Place, method: str, done: bool) -> None:
    lines = orders(place, 30)
    worker = place.worker(place.queue(lines), batch=10)
    worker.step()
    place.store, whole = FailsOnce(place.store, method, done=done), place.store
    worker._store = place.store
    with pytest.raises(StoreError, match="connection broke"):
        worker.step()
    worker.run()
    place.store = whole
    assert place.positions() == once(30)
    assert place.canonical() == place.expected(lines)


@pytest.mark.parametrize("done", [False, True])
def test_failed_archive_flush_is_done_again(place: Place, done: bool) -> None:
    lines = orders(place, 30)
    whole, place.archive = place.archive, FailsOnce(place.archive, "append", done=done)
    worker = place.worker(place.queue(lines), batch=10)
    worker.step()
    with pytest.raises(StoreError, match="connection broke"):
        worker.flush()
    worker.run()
    place.archive = whole
    assert place.positions() == once(30)


@pytest.mark.parametrize("seed", range(6))
def test_any_run_of_faults_and_restarts_ends_as_if_there_were_none(place: Place, seed: int) -> None:
    rng = random.Random(seed)
    lines = [place.order(n, ts=rng.randrange(0, 20 * HOUR), user=f"u{rng.randrange(3)}") for n in range(120)]
    lines[rng.randrange(120)] = b"{"
    store, archive = place.store, place.archive
    place.store, place.archive = Faulty(store, rng, 0.03), Faulty(archive, rng, 0.05)
    for _ in range(80):
        feed = place.queue(lines)
        try:
            worker = place.worker(feed, batch=rng.choice((1, 5, 20)), archive_every=rng.choice((1, 30, 1000)))
            for _ in range(rng.randrange(1, 12)):
                worker.step()
            if rng.random() < 0.3:
                worker.close()
        except StoreError:
            continue
    place.store, place.archive = store, archive
    place.worker(place.queue(lines)).run()
    assert place.canonical() == place.expected(lines)
    assert len(place.positions()) == len(set(place.positions())) == 119
    assert place.letters.count("orders") == 1


def test_redelivered_records_are_passed_over(place: Place) -> None:
    lines = orders(place, 30)
    feed = Redelivering("orders", name="live")
    feed.extend(lines)
    place.worker(feed, batch=7).run()
    assert place.positions() == once(30)
    assert place.canonical() == place.expected(lines)


def test_malformed_lines_become_dead_letters_once_and_nothing_else_is_lost(place: Place) -> None:
    lines = orders(place, 10)
    lines[3], lines[6], lines[9] = b"{oops", b'{"user": "u1"}', b"\xff"
    report = place.worker(place.queue(lines), batch=4).run()
    assert (report.events, report.refused) == (7, 3)
    place.reopened().worker(place.queue(lines)).run()
    assert [offset for _, offset in place.positions()] == [0, 1, 2, 4, 5, 7, 8]
    found = list(place.letters.read("orders"))
    assert [(letter.offset, letter.original) for letter in found] == [(n, lines[n]) for n in (3, 6, 9)]
    assert "column 'id' is missing" in found[1].reason


def test_late_event_takes_its_place_in_time(place: Place) -> None:
    lines = [place.order(n, user="u", ts=ts * HOUR) for n, ts in enumerate((5, 9, 2, 7))]
    place.worker(place.queue(lines), batch=1).run()
    assert place.decoded("user", "u").events.ts == [ts * HOUR for ts in (2, 5, 7, 9)]


def test_event_with_a_null_key_is_archived_and_counts_for_other_entities(place: Place) -> None:
    lines = [place.order(0, user=None, amount=1.0), place.order(1, shop=None, amount=1.0)]
    place.worker(place.queue(lines)).run()
    assert place.positions() == once(2)
    assert {entity for entity, _ in place.canonical()} == {"user", "shop"}
    assert len(place.canonical()) == 2


def test_key_too_long_for_a_name_is_stored_whole_in_its_head(place: Place) -> None:
    name = "é" * LONGEST
    place.worker(place.queue([place.order(n, user=name) for n in range(200)]), batch=50).run()
    state = place.state("user", name)
    assert len(place.decoded("user", name).events.ts) == 200
    assert name.encode() in state


def test_feeds_of_one_source_are_sequences_of_their_own(place: Place) -> None:
    lines = orders(place, 20)
    a, b = place.queue(lines[::2], name="a"), place.queue(lines[1::2], name="b")
    place.worker(a, b, batch=3).run()
    assert place.positions() == once(10) + once(10, sequence=1)
    assert place.decoded("user", "u0").events.ts == [n * HOUR // 4 for n in range(0, 20, 5)]
    assert place.decoded("user", "u0").offsets == {0: 5, 1: 7}


def test_workers_of_different_feeds_share_the_strings(place: Place) -> None:
    lines = orders(place, 40)
    workers = [place.worker(place.queue(lines[i::2], name=f"feed-{i}"), batch=3) for i in range(2)]
    while sum(worker.step().records for worker in workers):
        pass
    for worker in workers:
        worker.close()
    assert sorted(place.decoded("user", "u0").events.ts) == [n * HOUR // 4 for n in range(0, 40, 5)]
    assert place.positions() == once(20) + once(20, sequence=1)


def test_file_feed_goes_on_where_it_was(place: Place) -> None:
    path, lines = place.folder / "orders.jsonl", orders(place, 20)

    def run_worker() -> None:
        place.reopened().worker(FileFeed(path, source="orders", name="orders.jsonl")).run()

    for upto in (5, 12, 20):
        path.write_bytes(b"".join(line + b"\n" for line in lines[:upto]) + lines[0][:9])
        run_worker()
    assert place.positions() == once(20)
    assert place.canonical() == place.expected(lines)


def test_long_tails_are_compacted_without_a_change_of_value(place: Place) -> None:
    lines = [place.order(n, user="u", shop=1, ts=n * 1_000_000, amount=n / 100) for n in range(2000)]
    report = place.worker(place.queue(lines), batch=50).run()
    assert 0 < report.compacted < 60
    assert place.canonical(floor=0) == place.expected(lines, floor=0)
    decoded = place.decoded("user", "u")
    assert decoded.generation != b"" and decoded.records < 400


def test_floor_follows_stream_time_and_keeps_what_windows_reach(place: Place) -> None:
    lines = [place.order(n, user="u", ts=n * HOUR) for n in range(2000)]
    place.worker(place.queue(lines), batch=50, reach=3 * HOUR).run()
    decoded = place.decoded("user", "u")
    assert decoded.floor is not None
    newest = 1999 * HOUR
    assert newest - 8 * DAY - 400 * HOUR < decoded.floor <= newest - 7 * DAY - 4 * HOUR
    assert decoded.events.ts[0] == decoded.floor
    assert place.canonical(floor=newest - DAY) == place.expected(lines, floor=newest - DAY)


def test_event_far_ahead_of_the_clock_erases_nothing(place: Place) -> None:
    place.now = 2000 * HOUR
    lines = [place.order(n, user="u", ts=n * HOUR) for n in range(300)]
    lines.insert(10, place.order(0, user="u", ts=place.now + 2 * HOUR))
    place.worker(place.queue(lines), batch=20).run()
    decoded = place.decoded("user", "u")
    assert decoded.floor is not None and decoded.floor < 300 * HOUR - 7 * DAY
    assert decoded.events.ts[-1] == place.now + 2 * HOUR


def test_corrupt_string_is_left_and_counted_and_the_rest_goes_on(place: Place) -> None:
    feed = place.queue([place.order(0, user="bad"), place.order(1, user="good")])
    worker = place.worker(feed)
    worker.step()
    layout, live = place.layout("user"), place.live("user")
    assert live is not None
    name = state_name(layout.prefix(live[0]), b"v\x00\x03bad")
    place.store.put([(name, b"no state" * 1000)])
    feed.extend(place.order(n, user=("bad", "good")[n % 2], amount=-1.0) for n in range(200))
    report = worker.run()
    assert report.corrupt > 0 and report.compacted > 0
    assert place.state("user", "bad").startswith(b"no state")
    assert len(place.decoded("user", "good").events.ts) == 101


def test_worker_follows_a_state_that_was_built_anew(place: Place) -> None:
    lines = orders(place, 40)
    feed = place.queue(lines[:20])
    worker = place.worker(feed)
    worker.step()
    worker.flush()
    feed.extend(lines[20:30])
    worker.step()
    built = materialize(place.project, store=place.store, archive=place.archive, full=True)
    assert {state.epoch for state in built} == {2}
    assert len(place.decoded("user", "u0").events.ts) == 4
    feed.extend(lines[30:])
    worker.run()
    assert place.canonical(floor=0) == place.expected(lines, floor=0)
    assert place.positions() == once(40)


def test_archive_without_a_state_must_be_built_first(place: Place) -> None:
    place.worker(place.queue(orders(place, 3))).run()
    place.store.clear(b"")
    with pytest.raises(StoreError, match=r"not built yet.*materialize"):
        place.worker(place.queue(orders(place, 3)))


def test_state_that_lacks_an_import_is_not_appended_to(place: Place) -> None:
    place.worker(place.queue(orders(place, 3))).run()
    rows = pq.read_table(place.archive.files("orders")).drop_columns(["_sequence", "_offset", "_ingested_at"])
    pq.write_table(rows, place.folder / "more.parquet")
    place.archive.import_files(place.project.sources["orders"], [place.folder / "more.parquet"])
    with pytest.raises(StoreError, match="partial: it holds offsets up to -1 of sequence 1, the archive up to 2"):
        place.worker(place.queue(orders(place, 3)))


def test_state_of_another_layout_is_not_appended_to(place: Place) -> None:
    place.worker(place.queue(orders(place, 3))).run()
    place.project = place.make_project(days=9)
    with pytest.raises(MismatchError, match="has layout"):
        place.worker(place.queue(orders(place, 3)))


def test_store_that_was_set_back_is_brought_up_from_the_feed(place: Place) -> None:
    """An older copy of the store comes back; its markers are behind the archive, and the feed still has the events."""
    lines = orders(place, 30)
    place.worker(place.queue(lines[:10])).run()
    older = list(place.store.scan(b""))
    place.worker(place.queue(lines)).run()
    place.store.clear(b"")
    place.store.put(older)
    place.worker(place.queue(lines)).run()
    assert place.canonical() == place.expected(lines)
    assert place.positions() == once(30)


def test_feed_that_no_longer_has_what_is_lacking_says_so(place: Place) -> None:
    lines = orders(place, 30)
    died = place.worker(place.queue(lines))
    died.step()
    with pytest.raises(StoreError, match="begins at offset 30, asked is 0"):
        place.worker(place.queue(first=30))


def test_feed_of_an_unknown_source_is_refused(place: Place) -> None:
    with pytest.raises(NotFoundError, match="source 'order' is not defined; did you mean 'orders'"):
        place.worker(QueueFeed("order", name="live"))


def test_source_without_views_is_archived(place: Place) -> None:
    place.project = type(place.project)({}, place.project.sources, {}, {}, {}, {})
    place.worker(place.queue(orders(place, 3))).run()
    assert place.positions() == once(3)
