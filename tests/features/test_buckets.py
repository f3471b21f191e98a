"""Buckets of a state: what was folded counts as its events did, once, however it came; and corrupt ones are refused."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onefold.features.buckets import pack_whole, read_whole
from onefold.features.codec import read_head
from onefold.features.definitions import Entity, EventSource, FeatureView
from onefold.features.errors import StateError
from onefold.features.fold import Reading, StateFold
from onefold.features.layout import PreparedEvent
from onefold.features.plans import Group
from onefold.features.project import Project
from onefold.features.state import StateCodec
from onefold.features.types import DOUBLE
from tests.parity.engines import bits

MINUTE, HOUR = 60_000_000, 3_600_000_000
NOW = 1_700_000_000_000_000 // MINUTE * MINUTE + 20_000_001
SCHEMA = {
    "k": "VARCHAR", "at": "TIMESTAMP", "x": "DOUBLE", "n": "BIGINT", "c": "VARCHAR", "ok": "BOOLEAN",
    "m": "DECIMAL(38,2)", "l": "BIGINT[]",
}  # fmt: skip
SOURCE = EventSource(name="pays", schema=SCHEMA, event_time="at")
KEY = Entity(name="key", keys={"k": "VARCHAR"})
FNS = (
    "count(*)", "count(c)", "sum(n)", "sum(x)", "avg(x)", "sum(m)", "avg(m)", "stddev(x)", "var_pop(x)", "bool_and(ok)",
    "bool_or(ok)", "min(x)", "max(c)", "min_by(c, x)", "max_by(x, n)", "first_value(x)", "last_value(c)",
    "last_value(l)", "approx_count_distinct(c)", "distinct_sketch(n)", "approx_quantile(x, 0.5)", "quantile_sketch(x)",
    "max(at)", "time_since_last()", "sum(x) FILTER (WHERE ok)", "last_value(x) FILTER (WHERE ok)",
    "count(*) FILTER (WHERE n > 2)",
)  # fmt: skip
FRAMES = {
    "h": "INTERVAL 1 HOUR PRECEDING AND CURRENT ROW",
    "d": "INTERVAL 1 HOUR PRECEDING AND INTERVAL 10 MINUTES PRECEDING",
}


def group_of(*, resolution: str | None = "1 minute", more: tuple[FeatureView, ...] = ()) -> Group:
    items = [f"{fn} OVER {w} AS f{i}{w}" for i, fn in enumerate(FNS) for w in FRAMES]
    frames = ", ".join(f"{w} AS (RANGE BETWEEN {frame})" for w, frame in FRAMES.items())
    sql = f"SELECT {', '.join(items)} FROM pays WINDOW {frames}"
    view = FeatureView(name="v", source=SOURCE, entity=KEY, sql=sql, resolution=resolution)
    return Project.of(view, *more).select(["v"]).groups[0]


GROUP = group_of()
LAYOUT, CODEC, PREPARE = GROUP.layout, StateCodec(GROUP.layout), GROUP.layout.preparer()
Placed = tuple[int, int, PreparedEvent]


def event(ago: int, x: float | None = 1.0, *, sequence: int = 0, offset: int, **more: Any) -> Placed:
    row = {"k": "a", "at": NOW - ago, "x": x, "n": 1, "c": "c", "ok": True, "m": 5, "l": (1,)} | more
    made = PREPARE(tuple(row[name] for name in SCHEMA))
    assert made is not None
    return sequence, offset, made


def tail(events: list[Placed]) -> bytes:
    return b"".join(CODEC.record(*placed) for placed in events)


def folded(state: bytes, *, before: int | None = None, floor: int | None = None) -> bytes:
    before = LAYOUT.before(NOW) if before is None else before
    return CODEC.compact(state, floor=floor, before=before, generation=bytes(8))


def reading(state: bytes, t: int = NOW) -> Reading:
    return StateFold(LAYOUT, GROUP.slots)(state, t)


def same(a: Reading, b: Reading) -> bool:
    return bool(bits(a.values) == bits(b.values) and a.offsets == b.offsets and a.newest == b.newest)


@st.composite
def arrivals(draw: st.DrawFn) -> list[Placed]:
    count = draw(st.integers(0, 12))
    agos = st.integers(0, 5).map(lambda i: i * MINUTE) | st.sampled_from([0, 1, HOUR, 70 * 20_000_001])
    return [
        event(
            draw(agos) + draw(st.sampled_from([0, 0, 1, 20_000_000, 20_000_002])),
            draw(st.sampled_from([1.25, 0.1, None, -3.5, float("nan"), float("inf"), 1e16, 1e-9])),
            sequence=draw(st.integers(0, 1)), offset=i, n=draw(st.sampled_from([1, 3, None, 2**63 - 1])),
            c=draw(st.sampled_from(["a", "é", "", None])), ok=draw(st.sampled_from([True, False, None])),
            m=draw(st.sampled_from([0, 99 * 10**36, -(10**37), None])), l=draw(st.sampled_from([(), (1, None), None])),
        )
        for i in range(count)
    ]  # fmt: skip


def test_all_that_a_window_holds_counts_whether_folded_or_not() -> None:
    @settings(max_examples=100, deadline=None)
    @given(arrivals(), st.integers(0, 12), st.sampled_from([NOW, NOW + 1, NOW + MINUTE, NOW + HOUR // 2]))
    def check(events: list[Placed], cut: int, t: int) -> None:
        state = folded(tail(events[:cut])) + tail(events[cut:])
        assert same(reading(state, t), reading(tail(events), t))

    check()


def test_states_are_the_same_however_often_and_when_they_were_compacted() -> None:
    @settings(max_examples=60, deadline=None)
    @given(arrivals(), st.data())
    def check(events: list[Placed], data: st.DataObject) -> None:
        whole = folded(tail(events), floor=LAYOUT.floor(NOW))
        state = b""
        for placed in events:
            state += tail([placed])
            if data.draw(st.integers(0, 2)) == 0:
                at = NOW - data.draw(st.integers(0, 4)) * MINUTE
                state = folded(state, before=LAYOUT.before(at), floor=LAYOUT.floor(at))
        assert folded(state, floor=LAYOUT.floor(NOW)) == whole

    check()


def test_the_order_of_arrival_of_two_sequences_does_not_matter() -> None:
    @settings(max_examples=40, deadline=None)
    @given(arrivals(), st.randoms(use_true_random=False))
    def check(events: list[Placed], rng: random.Random) -> None:
        queues = {s: [e for e in events if e[0] == s] for s in (0, 1)}
        state = b""
        while any(queues.values()):
            state = folded(state + tail([queues[rng.choice([s for s in queues if queues[s]])].pop(0)]))
        assert folded(state) == folded(tail(events))

    check()


def test_a_late_event_of_a_folded_bucket_counts_once() -> None:
    old = [event(10 * MINUTE, offset=1), event(10 * MINUTE + 5, offset=2)]
    late = [event(10 * MINUTE + 1, 4.0, offset=3)]
    state = folded(tail(old))
    assert CODEC.decode(state).events.ts == []
    total = next(i for i, s in enumerate(GROUP.slots) if (s.fn, s.arg_type, s.filter) == ("sum", DOUBLE, None))
    assert reading(state + tail(late)).values[total] == 6.0
    again = folded(state + tail(late))
    assert reading(again).values[total] == reading(again + tail(late) + tail(old)).values[total] == 6.0
    assert again == folded(tail([*old, *late]))


def test_a_time_among_folded_events_has_no_value() -> None:
    state, before = folded(tail([event(10 * MINUTE, offset=1)])), LAYOUT.before(NOW)
    assert before is not None
    ended = [s.window.upper > 0 for s in GROUP.slots]
    assert not any(reading(state, before - 1).partial)
    early = reading(state, before - 2)
    assert early.partial == [not delayed for delayed in ended]
    assert all(v is None for v, delayed in zip(early.values, ended, strict=True) if not delayed)


def test_buckets_go_whole_below_the_floor() -> None:
    state = folded(tail([event(2 * HOUR, offset=1), event(HOUR + 10 * MINUTE, offset=2), event(5, offset=3)]))
    floor = LAYOUT.floor(NOW)
    kept = CODEC.decode(folded(state, floor=floor))
    assert floor is not None and floor % MINUTE == 0 and kept.floor == floor
    assert kept.buckets is not None and kept.buckets.starts == [] and len(kept.events.ts) == 1
    assert same(reading(folded(state, floor=floor)), reading(state))


def test_events_stay_where_a_view_has_no_resolution() -> None:
    sql = "SELECT count(*) OVER (RANGE INTERVAL 1 HOUR PRECEDING) AS n FROM pays"
    mixed = group_of(more=(FeatureView(name="w", source=SOURCE, entity=KEY, sql=sql),)).layout
    assert (mixed.resolution, mixed.parts, mixed.before(NOW)) == (None, (), None)
    assert mixed.fingerprint != LAYOUT.fingerprint != group_of(resolution="2 minutes").layout.fingerprint


def test_buckets_are_as_long_as_divides_all_resolutions() -> None:
    sql = "SELECT count(*) OVER (RANGE INTERVAL 1 HOUR PRECEDING) AS n FROM pays"
    view = FeatureView(name="w", source=SOURCE, entity=KEY, sql=sql, resolution="90 seconds")
    assert group_of(more=(view,)).layout.resolution == MINUTE // 2


@given(st.lists(st.integers(-(2**200), 2**200) | st.integers(-3, 3).map(lambda i: i << 72)))
def test_whole_numbers_come_back(numbers: list[int]) -> None:
    packed = pack_whole(numbers)
    assert read_whole(memoryview(packed), 0, len(numbers)) == (numbers, len(packed))


def sample() -> tuple[bytes, int]:
    """A state with buckets, events and a tail, and the length of its head."""
    events = [
        event(
            i * 17_000_000, [1.25, 0.1, None][i % 3], sequence=i % 2, offset=i, n=i, c=["a", "é", None][i % 3], m=10**37
        )
        for i in range(20, 0, -1)
    ]  # fmt: skip
    head = folded(tail(events[:15]))
    return head + tail(events[15:]), len(head)


def read_all(state: bytes) -> None:
    """Everything that is done with a state; nothing but StateError may come out of it."""
    for act in (
        lambda: reading(state), lambda: reading(state, NOW - 10 * MINUTE), lambda: CODEC.decode(state),
        lambda: folded(state, floor=NOW - 2 * MINUTE),
    ):  # fmt: skip
        try:
            act()
        except StateError as error:
            assert str(error)


def test_a_state_with_buckets_that_is_cut_off_or_flipped_is_a_state_error_or_a_value() -> None:
    state, head = sample()
    assert read_head(state, LAYOUT.types).section
    for length in range(1, head, 7):
        with pytest.raises(StateError):
            CODEC.decode(state[:length])
    for at in range(head):
        flipped = bytearray(state)
        flipped[at] ^= 1 << at % 8
        read_all(bytes(flipped))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_random_bytes_in_buckets_are_a_state_error_or_a_value(data: st.DataObject) -> None:
    state, head = sample()
    broken = bytearray(state)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, head - 1))
        junk = data.draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 4, b"\xff" * 8, b"\0" * 8]))
        broken[at : at + len(junk)] = junk
    read_all(bytes(broken))


def test_buckets_of_another_length_or_of_a_layout_without_are_refused() -> None:
    state, _ = sample()
    section = read_head(state, LAYOUT.types).section
    assert StateCodec(LAYOUT).buckets is not None
    at = state.index(bytes(section))
    other = state[:at] + struct.pack("<q", 2 * MINUTE) + state[at + 8 :]
    with pytest.raises(StateError, match="are 120000000 us long, those of its layout 60000000"):
        CODEC.decode(other)
    head = read_head(state, LAYOUT.types)
    with pytest.raises(StateError, match="which its layout has not"):
        head.buckets(None)
