"""What is built from the archive is, bit for bit, what the stream would have made; it goes live whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from onefold.features.errors import StoreError
from onefold.offline.arrow import to_internal
from onefold.offline.engine import point_in_time
from onefold.online.lookup import Lookup
from onefold.streaming.materialize import materialize

if TYPE_CHECKING:
    from pathlib import Path

    from onefold.streaming.materialize import BuiltState
    from tests.streaming.conftest import Place

HOUR = 3_600_000_000
DAY = 24 * HOUR


def build(place: Place, **options: Any) -> list[BuiltState]:
    return materialize(place.project, store=place.store, archive=place.archive, **options)


def messy(place: Place, count: int) -> list[bytes]:
    """Orders with late and equal times, NULL keys and values, copies, and a key that is too long for a name."""
    lines = []
    for n in range(count):
        odd: dict[str, Any] = {"ts": (n * 7919 % count) * HOUR // 2}
        if n % 11 == 0:
            odd["user"] = None
        if n % 13 == 0:
            odd["amount"] = None
        if n % 17 == 0:
            odd |= {"user": "é" * 150, "id": None if not place.layout("user").has_ids else "same"}
        if n % 5 == 0:
            odd |= {"id": f"o{n // 10}", "ts": n // 10 * HOUR}
        lines.append(place.order(n, **odd))
    return lines


def as_file(place: Place, name: str, rows: slice) -> Path:
    """Archived events as the Parquet file that a user would have had."""
    table = pq.read_table(place.archive.files("orders")).sort_by("_offset")
    path = place.folder / name
    pq.write_table(table.drop_columns(["_sequence", "_offset", "_ingested_at"])[rows], path)
    return path


def assert_values_are_those_of_the_offline_engine(place: Place, times: list[int]) -> None:
    plan = place.project.service("all")
    rows = [{"user": f"u{n % 5}", "shop": n % 3} for n in range(len(times))]
    spine = pa.table(
        {
            "user": [r["user"] for r in rows],
            "shop": [r["shop"] for r in rows],
            "event_timestamp": pa.array(times, pa.timestamp("us", tz="UTC")),
        }
    )
    offline = point_in_time(plan, {"orders": place.archive.files("orders")}, spine)
    served = Lookup(place.store, plan).read(rows, times)
    assert [row.values for row in served] == list(zip(*map(to_internal, offline.columns), strict=True))
    assert any(value for row in served for value in row.values)


@pytest.mark.parametrize("ids", [False, True])
def test_built_state_is_the_streamed_state(place: Place, ids: bool) -> None:
    place.project = place.make_project(ids=ids)
    lines = messy(place, 400)
    place.worker(place.queue(lines), batch=30).run()
    built = build(place, full=True)
    assert {(state.entity, state.epoch) for state in built} == {("user", 2), ("shop", 2)}
    floor = 250 * HOUR
    assert place.canonical(floor=floor) == place.expected(lines, floor=floor)


def test_built_state_with_buckets_is_the_streamed_state(place: Place) -> None:
    place.project = place.make_project(resolution="1 hour")
    lines = messy(place, 400)
    place.worker(place.queue(lines), batch=30).run()
    build(place, full=True)
    built = [place.decoded("user", f"u{n}") for n in range(5)]
    assert all(state.buckets is not None and len(state.buckets.starts) > 10 for state in built)
    at = {"floor": 250 * HOUR, "before": 300 * HOUR}
    assert place.canonical(**at) == place.expected(lines, **at)
    now = 200 * HOUR  # the newest order but for the hour of skew, and two buckets
    assert_values_are_those_of_the_offline_engine(place, [now + n * HOUR // 3 for n in range(60)])


def test_heads_hold_what_windows_reach_and_name_their_floor(place: Place) -> None:
    place.worker(place.queue([place.order(n, user="u", ts=n * HOUR) for n in range(400)])).run()
    build(place, full=True, reach=5 * HOUR)
    decoded = place.decoded("user", "u")
    assert decoded.floor == 399 * HOUR - 7 * DAY - HOUR - 5 * HOUR
    assert (decoded.events.ts[0], decoded.records) == (decoded.floor, 0)
    assert decoded.offsets == {0: 399}


def test_key_with_old_events_only_has_an_empty_head_that_says_so(place: Place) -> None:
    lines = [place.order(0, user="old", ts=0), place.order(1, user="new", ts=100 * DAY)]
    place.worker(place.queue(lines)).run()
    build(place, full=True)
    old = place.decoded("user", "old")
    assert (old.events.ts, old.offsets) == ([], {0: 0})
    assert old.floor == 93 * DAY - HOUR


def test_event_far_ahead_of_its_ingestion_moves_no_floor(place: Place) -> None:
    place.now = 100 * HOUR
    lines = [place.order(n, user="u", ts=n * HOUR) for n in range(100)]
    place.worker(place.queue([*lines, place.order(100, user="u", ts=100 * DAY)])).run()
    build(place, full=True)
    assert place.decoded("user", "u").floor == 99 * HOUR - 7 * DAY - HOUR
    assert len(place.decoded("user", "u").events.ts) == 101


def test_features_of_a_built_and_continued_state_are_those_of_the_offline_engine(place: Place) -> None:
    lines = messy(place, 300)
    place.worker(place.queue(lines[:200])).run()
    build(place, full=True)
    place.worker(place.queue(lines), batch=10).run()
    assert_values_are_those_of_the_offline_engine(place, [170 * HOUR + n * HOUR // 3 for n in range(60)])


def test_files_and_feed_of_one_source_meet_in_one_state(place: Place, tmp_path_factory: Any) -> None:
    lines = [place.order(n) for n in range(90)]
    place.worker(place.queue(lines)).run()
    files = [as_file(place, "a.parquet", slice(0, 40)), as_file(place, "b.parquet", slice(40, 60))]
    place.store.clear(b"")
    place.archive = type(place.archive)(place.folder / "second")
    assert place.archive.import_files(place.project.sources["orders"], files) == 60
    assert all(state.events == 60 for state in build(place) if state.entity == "user")
    place.worker(place.queue(lines[60:]), batch=10).run()
    assert place.decoded("user", "u0").offsets == {0: 35, 1: 15, 2: 25}
    assert_values_are_those_of_the_offline_engine(place, [15 * HOUR + n * HOUR // 7 for n in range(60)])


def test_whole_state_is_not_built_again(place: Place) -> None:
    place.worker(place.queue([place.order(n) for n in range(30)])).run()
    assert build(place) == []
    assert place.live("user") == (1, place.layout("user").fingerprint)


def test_only_the_state_whose_layout_changed_is_built(place: Place) -> None:
    place.worker(place.queue([place.order(n) for n in range(30)])).run()
    old = place.layout("user").prefix(1)
    place.project = place.make_project(days=9)
    assert [(state.entity, state.epoch) for state in build(place)] == [("user", 2)]
    assert place.live("user") == (2, place.layout("user").fingerprint)
    assert list(place.store.scan(old)) == []
    place.worker(place.queue([place.order(n) for n in range(35)])).run()
    assert place.decoded("user", "u0").offsets == {0: 30}


def test_lost_state_comes_back_from_the_archive(place: Place) -> None:
    lines = [place.order(n) for n in range(50)]
    place.worker(place.queue(lines)).run()
    place.store.clear(b"")
    build(place)
    assert place.canonical(floor=0) == place.expected(lines, floor=0)


def test_new_import_is_taken_into_the_state(place: Place) -> None:
    place.worker(place.queue([place.order(n) for n in range(30)])).run()
    place.archive.import_files(place.project.sources["orders"], [as_file(place, "a.parquet", slice(0, 7))])
    assert {state.offsets[1] for state in build(place)} == {6}
    assert place.decoded("user", "u0").offsets == {0: 25, 1: 5}


def test_archive_that_grows_during_the_build_is_caught_up(place: Place) -> None:
    lines = [place.order(n) for n in range(60)]
    place.worker(place.queue(lines[:30])).run()
    late = place.queue(lines, name="live")
    worker = place.worker(late)

    def archive_more(done: int, total: int) -> None:
        assert total == 2
        if done == 1:
            worker.run()

    built = build(place, full=True, progress=archive_more)
    assert all(state.offsets == {0: 29} for state in built)
    assert place.decoded("user", "u0").records == 6
    assert place.canonical(floor=0) == place.expected(lines, floor=0)
    assert worker.run().events == 0


class DiesAtFlip:
    """A store that fails when a pointer is written."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put(self, items: Any, **options: Any) -> None:
        kept = list(items)
        if any(name.startswith(b"p/") for name, _ in kept):
            raise StoreError("the process died")
        self._store.put(kept, **options)


def test_build_that_dies_leaves_the_old_state_live_and_is_swept_by_the_next(place: Place) -> None:
    lines = [place.order(n) for n in range(30)]
    place.worker(place.queue(lines)).run()
    whole, place.store = place.store, DiesAtFlip(place.store)
    with pytest.raises(StoreError, match="died"):
        build(place, full=True)
    place.store = whole
    assert place.live("user") == (1, place.layout("user").fingerprint)
    assert place.canonical() == place.expected(lines)
    place.store.put([(place.layout("user").prefix(2) + b"left", b"over")])
    build(place, full=True)
    assert place.canonical(floor=0) == place.expected(lines, floor=0)
    assert list(place.store.scan(place.layout("user").prefix(1))) == []


def test_nothing_archived_builds_an_empty_state_that_the_stream_fills(place: Place) -> None:
    assert [(state.strings, state.events) for state in build(place)] == [(0, 0), (0, 0)]
    lines = [place.order(n) for n in range(10)]
    place.worker(place.queue(lines)).run()
    assert place.canonical() == place.expected(lines)
