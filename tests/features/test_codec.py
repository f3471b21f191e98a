"""The state codec: what goes in comes out, what is corrupt is said to be so, and compaction changes no value."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onefold.features.codec import encode_head, read_head
from onefold.features.columns import COLUMN, NO_VALUES, fits, pack_bits, pack_column, read_column
from onefold.features.definitions import Entity, EventSource, FeatureView
from onefold.features.errors import StateError
from onefold.features.fold import HeadCache, StateFold
from onefold.features.layout import Layout, PreparedEvent, Slot, hash_id
from onefold.features.plans import Group
from onefold.features.project import Project
from onefold.features.records import Events
from onefold.features.state import StateCodec
from onefold.features.types import (
    BIGINT,
    BIGINT_MAX,
    BIGINT_MIN,
    BOOLEAN,
    DATE,
    DATE_MAX,
    DATE_MIN,
    DOUBLE,
    TIMESTAMP,
    TIMESTAMP_MAX,
    TIMESTAMP_MIN,
    VARCHAR,
    DataType,
    decimal,
    list_of,
)

HOUR = 3_600_000_000
COLUMN_VALUES: dict[DataType, list[st.SearchStrategy[Any]]] = {
    BOOLEAN: [st.booleans()],
    BIGINT: [st.integers(-(2**31), 2**31 - 1), st.integers(BIGINT_MIN, BIGINT_MAX)],
    DOUBLE: [
        st.integers(-(2**31) + 1, 2**31 - 1).map(lambda c: c / 100.0),
        st.floats(),
        st.sampled_from([0.29, 1e300]),
    ],
    VARCHAR: [st.text(max_size=5)],
    TIMESTAMP: [st.integers(TIMESTAMP_MIN, TIMESTAMP_MAX)],
    DATE: [st.integers(DATE_MIN, DATE_MAX)],
    decimal(9, 2): [st.integers(-(10**9) + 1, 10**9 - 1)],
    decimal(38, 10): [st.integers(-(10**k) + 1, 10**k - 1) for k in (5, 18, 20, 38)],
}
COLUMN_VALUES |= {
    list_of(kind): [st.lists(st.none() | v, max_size=4).map(tuple) for v in choices]
    for kind, choices in COLUMN_VALUES.items()
}


def bits(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(bits, value))
    return struct.pack("<d", value) if isinstance(value, float) else (type(value).__name__, value)


@pytest.mark.parametrize("kind", COLUMN_VALUES, ids=str)
def test_a_column_comes_back_to_the_bit_from_any_row_on(kind: DataType) -> None:
    @given(
        st.sampled_from(COLUMN_VALUES[kind]).flatmap(lambda v: st.lists(st.none() | v, max_size=40)), st.integers(0, 40)
    )
    def check(values: list[Any], start: int) -> None:
        packed = pack_column(kind, values)
        encoding, size = COLUMN.unpack_from(packed)
        assert size == len(packed) - COLUMN.size and fits(kind, encoding, len(values), size)
        start = min(start, len(values))
        found = read_column(kind, memoryview(packed)[COLUMN.size :], encoding, len(values), start)
        assert [*map(bits, found)] == [*map(bits, values[start:])]

    check()


@pytest.mark.parametrize(
    ("kind", "values", "size"),
    [
        (DOUBLE, [0.29, -1234.56, 0.0], 12),
        (DOUBLE, [0.29, None, 0.0], 13),
        (DOUBLE, [0.291], 8),
        (DOUBLE, [21474836.48], 8),
        (DOUBLE, [math.nan, 1.0], 16),
        (BIGINT, [1, -(2**31)], 8),
        (BIGINT, [2**31], 8),
        (BOOLEAN, [True] * 9, 2),
        (BOOLEAN, [True, None], 2),
        (VARCHAR, ["é", "", "ab"], 12 + 4),
        (VARCHAR, [None, None], 0),
        (DATE, [DATE_MIN, DATE_MAX], 8),
        (TIMESTAMP, [TIMESTAMP_MIN, 5], 16),
        (decimal(38, 2), [1, -(2**31)], 8),
        (decimal(38, 2), [2**31, 0], 16),
        (decimal(38, 2), [2**63, None], 33),
        (list_of(BIGINT), [(1, 2), (), (3,)], 12 + 5 + 12),
        (list_of(BIGINT), [(), ()], 8 + 5),
        (list_of(BOOLEAN), [(True, None), None], 1 + 8 + 5 + 2),
        (list_of(VARCHAR), [("é", "ab")], 4 + 5 + 8 + 4),
    ],
)
def test_a_column_takes_the_smallest_encoding_that_is_exact(kind: DataType, values: list[Any], size: int) -> None:
    assert len(pack_column(kind, values)) == COLUMN.size + size
    assert (pack_column(kind, values)[0] == NO_VALUES) == (size == 0)


@given(st.lists(st.booleans(), max_size=50))
def test_bits_are_packed_lowest_first(flags: list[bool]) -> None:
    packed = pack_bits(flags)
    assert [bool(packed[i // 8] >> i % 8 & 1) for i in range(len(flags))] == flags
    assert len(packed) == (len(flags) + 7) // 8


@pytest.mark.parametrize(
    ("steps", "width"),
    [
        ([0, 1_000_000, 5_000_000], 4),
        ([0, 1_000, 3_000], 4),
        ([0, 1], 4),
        ([0, 2**32 - 1], 4),
        ([0, 2**32], 8),
        ([0, (2**32 - 1) * 1_000_000], 4),
        ([0, 2**32 * 1_000_000], 8),
        ([0, (2**32 - 1) * 1_000, (2**32 - 1) * 1_000 + 500], 8),
    ],
)
@pytest.mark.parametrize("base", [0, -5, TIMESTAMP_MIN])
def test_times_are_counted_in_the_coarsest_unit_that_is_exact(steps: list[int], width: int, base: int) -> None:
    ts = [base + step for step in steps]
    events = Events(ts, [0] * len(ts), [0] * len(ts), [])
    packed = encode_head([], events, offsets={}, floor=None, generation=bytes(8), has_ids=False)
    empty = encode_head([], Events([], [], [], []), offsets={}, floor=None, generation=bytes(8), has_ids=False)
    assert len(packed) - len(empty) == width * len(ts)
    head = read_head(packed, [])
    assert head.events().ts == ts
    for t in (*ts, ts[0] - 1, ts[-1] + 1, ts[0] + 1, base - 10**18, base + 10**18):
        assert head.index(t) == sum(x < t for x in ts)


SCHEMA = {
    "k": "VARCHAR", "at": "TIMESTAMP", "x": "DOUBLE", "n": "BIGINT", "ok": "BOOLEAN", "s": "VARCHAR", "d": "DATE",
    "id": "BIGINT", "m": "DECIMAL(9,2)", "w": "DECIMAL(38,0)", "l": "BIGINT[]", "names": "VARCHAR[]",
}  # fmt: skip
DAYS = "RANGE BETWEEN INTERVAL 2 DAYS PRECEDING AND CURRENT ROW"
SQL = f"""SELECT count(*) OVER w AS c, sum(x) OVER w AS total, stddev(x) FILTER (WHERE ok) OVER w AS spread,
  max(n) OVER w AS top, bool_or(ok) OVER w AS any_ok, last_value(s) OVER w AS latest, min(d) OVER w AS first_day,
  max(m) OVER w AS dearest, first_value(w) OVER w AS wide, last_value(l) OVER w AS list, count(names) OVER w AS named,
  last_value(names) OVER w AS names,
  avg(x) OVER (RANGE BETWEEN INTERVAL 1 HOUR PRECEDING AND CURRENT ROW EXCLUDE GROUP) AS mean
FROM events WHERE n <> 3 OR n IS NULL WINDOW w AS ({DAYS})"""


def group(*, ids: bool) -> Group:
    source = EventSource(name="events", schema=SCHEMA, event_time="at", event_id="id" if ids else None)
    view = FeatureView(name="v", source=source, entity=Entity(name="e", keys={"k": "VARCHAR"}), sql=SQL)
    return Project.of(view).select(["v"]).groups[0]


GROUPS = {False: group(ids=False), True: group(ids=True)}
Placed = tuple[int, int, PreparedEvent]
"""(sequence, offset, event)"""


@st.composite
def arrivals(draw: st.DrawFn, layout: Layout, *, most: int = 12) -> list[Placed]:
    """Prepared events of one key as they arrive: by turns from two sequences, each in the order of its offsets."""
    steps = st.sampled_from([0, 1, 1_000_000, HOUR, HOUR + 1, 47 * HOUR, 49 * HOUR])
    rows = st.tuples(
        st.just("k"), steps.map(lambda step: 10**15 - step),
        st.sampled_from([1.25, 0.1, 1e-30, 2.0**53, math.nan, None]),
        st.sampled_from([1, 2, 3, BIGINT_MAX, None]), st.sampled_from([True, False, None]),
        st.sampled_from(["a", "é", "", None]), st.sampled_from([0, DATE_MIN, None]), st.sampled_from([1, 2, 3]),
        st.sampled_from([-5, 10**9 - 1, None]), st.sampled_from([0, 10**38 - 1, 1 - 10**38, None]),
        st.sampled_from([(), (1, None, 2**40), None]), st.sampled_from([("a", None, "é"), (None,), (), None]),
    )  # fmt: skip
    prepare = layout.preparer()
    found = []
    offsets = [draw(st.integers(0, 5)), draw(st.integers(0, 5))]
    for row in draw(st.lists(rows, max_size=most)):
        sequence = draw(st.integers(0, 1))
        offsets[sequence] += draw(st.integers(1, 3))
        event = prepare(row)
        if event is not None:
            found.append((sequence, offsets[sequence], event))
    return found


def tail(codec: StateCodec, events: Sequence[Placed]) -> bytes:
    return b"".join(codec.record(*placed) for placed in events)


def values(group: Group, state: bytes, t: int) -> list[Any]:
    reading = StateFold(group.layout, group.slots)(state, t)
    return [(bits(v), p) for v, p in zip(reading.values, reading.partial, strict=True)] + [reading.newest]


TIMES = [10**15 + step for step in (0, -1, 1, HOUR, 47 * HOUR, -HOUR)]
BOTH = pytest.mark.parametrize("ids", [False, True], ids=["without ids", "with ids"])


@BOTH
def test_a_state_decodes_to_its_events_in_order(ids: bool) -> None:
    layout = GROUPS[ids].layout
    codec = StateCodec(layout)

    @given(arrivals(layout), st.integers(0, 12))
    def check(events: list[Placed], cut: int) -> None:
        packed = codec.compact(tail(codec, events[:cut]), floor=None, generation=b"12345678", key=b"key")
        state = codec.decode(packed + tail(codec, events[cut:]))
        ordered = sorted(events, key=lambda e: (e[2].ts, e[0], e[1]))
        assert state.events.ts == [e.ts for _, _, e in ordered]
        assert state.events.sequences == [s for s, _, _ in ordered]
        assert state.events.ids == [e.id_hash for _, _, e in ordered]
        for i, column in enumerate(state.events.columns):
            assert [*map(bits, column)] == [bits(e.values[i]) for _, _, e in ordered]
        assert state.offsets == {s: max(o for q, o, _ in events if q == s) for s in {q for q, _, _ in events}}
        assert state.generation == b"12345678" and state.floor is None

    check()


@BOTH
def test_records_written_again_from_any_earlier_offset_change_nothing(ids: bool) -> None:
    layout = GROUPS[ids].layout
    codec = StateCodec(layout)

    @given(arrivals(layout), st.data())
    def check(events: list[Placed], data: st.DataObject) -> None:
        state, done = b"", 0
        while done < len(events):
            upto = data.draw(st.integers(done + 1, len(events)))
            back = data.draw(st.integers(0, done))
            state += tail(codec, events[back:upto])
            done = upto
            if data.draw(st.booleans()):
                state = codec.compact(state, floor=None, generation=struct.pack("<Q", done))
        clean = tail(codec, events)
        assert codec.decode(state).events == codec.decode(clean).events or math.nan in clean_values(events)
        assert codec.decode(state).offsets == codec.decode(clean).offsets
        for t in TIMES[:3]:
            assert values(GROUPS[ids], state, t) == values(GROUPS[ids], clean, t)

    check()


@BOTH
@pytest.mark.parametrize("before", [1, 49], ids=["in a window", "before every window"])
def test_the_newest_event_is_the_same_in_head_and_tail(ids: bool, before: int) -> None:
    group = GROUPS[ids]
    codec = StateCodec(group.layout)
    at = 10**15 - before * HOUR
    event = group.layout.preparer()(("k", at, 1.25, 1, True, "a", 0, 1, 5, 6, (7,), ("b",)))
    assert event is not None
    tail = codec.record(0, 1, event)
    head = codec.compact(tail, floor=None, generation=bytes(8))
    for state in (tail, head, head + codec.record(0, 2, replace(event, ts=10**15 + 1))):
        assert StateFold(group.layout, group.slots)(state, 10**15).newest == at
        assert StateFold(group.layout, group.slots)(state, at - 1).newest is None


def clean_values(events: Sequence[Placed]) -> list[Any]:
    return [math.nan if v != v else v for _, _, e in events for v in e.values]


@BOTH
def test_the_turns_in_which_two_sequences_arrive_do_not_matter(ids: bool) -> None:
    layout = GROUPS[ids].layout
    codec = StateCodec(layout)

    @given(arrivals(layout), st.randoms(use_true_random=False))
    def check(events: list[Placed], rng: random.Random) -> None:
        queues = {s: [e for e in events if e[0] == s] for s in (0, 1)}
        mixed = []
        while any(queues.values()):
            mixed.append(queues[rng.choice([s for s in queues if queues[s]])].pop(0))
        for t in TIMES:
            assert values(GROUPS[ids], tail(codec, mixed), t) == values(GROUPS[ids], tail(codec, events), t)
        first, second = (codec.compact(tail(codec, e), floor=None, generation=bytes(8)) for e in (mixed, events))
        assert first == second, "canonical compactions at one floor are equal"

    check()


@BOTH
def test_compaction_at_a_floor_changes_no_value_above_it_and_those_below_are_partial(ids: bool) -> None:
    layout = GROUPS[ids].layout
    codec = StateCodec(layout)

    @given(arrivals(layout), st.integers(0, 12), st.sampled_from(TIMES), st.sampled_from(TIMES))
    def check(events: list[Placed], cut: int, t: int, at: int) -> None:
        floor = layout.floor(at)
        assert floor is not None
        compacted = codec.compact(tail(codec, events[:cut]), floor=floor, generation=bytes(8)) + tail(
            codec, events[cut:]
        )
        reading = StateFold(layout, GROUPS[ids].slots)(compacted, t)
        whole = StateFold(layout, GROUPS[ids].slots)(tail(codec, events), t)
        for slot, value, partial, want in zip(
            GROUPS[ids].slots, reading.values, reading.partial, whole.values, strict=True
        ):
            assert partial == (slot.window.lower is None or t - slot.window.lower < floor)
            assert bits(value) == bits(None if partial else want)
        assert reading.offsets == whole.offsets

    check()


def test_a_floor_never_moves_back() -> None:
    codec = StateCodec(GROUPS[False].layout)
    first = codec.compact(b"", floor=100, generation=bytes(8))
    assert codec.decode(codec.compact(first, floor=50, generation=bytes(8))).floor == 100
    assert codec.decode(codec.compact(first, floor=None, generation=bytes(8))).floor == 100
    assert codec.decode(codec.compact(first, floor=150, generation=bytes(8))).floor == 150


def test_a_lifetime_is_partial_once_events_have_gone() -> None:
    source = EventSource(name="events", schema=SCHEMA, event_time="at")
    sql = "SELECT count(*) OVER (RANGE UNBOUNDED PRECEDING) AS c FROM events"
    view = FeatureView(name="v", source=source, entity=Entity(name="e", keys={"k": "VARCHAR"}), sql=sql)
    lifetime = Project.of(view).select(["v"]).groups[0]
    state = StateCodec(lifetime.layout).compact(b"", floor=5, generation=bytes(8))
    assert StateFold(lifetime.layout, lifetime.slots)(state, 10).partial == [True]


def sample(ids: bool) -> tuple[bytes, int]:
    """A state with a head of two sequences and a tail, and the length of its head."""
    layout = GROUPS[ids].layout
    codec, prepare = StateCodec(layout), layout.preparer()
    events = []
    for i in range(12):
        row = (
            "k", 10**15 - i * HOUR, [1.25, 0.1, None][i % 3], i, i % 2 == 0, ["a", "é", None, ""][i % 4], -i, i // 2,
            i * 100, [10**37 * i, None][i % 2], [(i, None), (), None][i % 3], [("é", None), (), (None,)][i % 3],
        )  # fmt: skip
        event = prepare(row)
        if event is not None:
            events.append((i % 2, i, event))
    head = codec.compact(tail(codec, events[:8]), floor=7, generation=b"abcdefgh", key=b"a long key")
    return head + tail(codec, events[8:]), len(head)


def read_all(group: Group, state: bytes) -> None:
    """Everything that is done with a state; nothing but StateError may come out of it."""
    codec = StateCodec(group.layout)
    for act in (
        lambda: StateFold(group.layout, group.slots)(state, 10**15),
        lambda: codec.decode(state),
        lambda: codec.compact(state, floor=10**15 - 5 * HOUR, generation=bytes(8)),
    ):
        try:
            act()
        except StateError as error:
            assert str(error)


@BOTH
def test_a_state_that_is_cut_off_anywhere_is_a_state_error_or_a_shorter_state(ids: bool) -> None:
    state, head = sample(ids)
    codec = StateCodec(GROUPS[ids].layout)
    whole = 0
    for length in range(len(state)):
        read_all(GROUPS[ids], state[:length])
        try:
            codec.decode(state[:length])
            whole += 1
            assert length == 0 or length >= head
        except StateError:
            pass
    assert whole == 1 + len(codec.decode(state).events.ts) - len(codec.decode(state[:head]).events.ts)


@BOTH
@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_flipped_bits_anywhere_are_a_state_error_or_a_value(ids: bool, every: int) -> None:
    """Every fifth bit: of each byte one or two, and each bit of some bytes."""
    state, _ = sample(ids)
    for bit in range(0, 8 * len(state), every):
        flipped = bytearray(state)
        flipped[bit // 8] ^= 1 << bit % 8
        read_all(GROUPS[ids], bytes(flipped))


@BOTH
@settings(max_examples=300)
@given(data=st.data())
def test_random_bytes_in_a_state_are_a_state_error_or_a_value(ids: bool, data: st.DataObject) -> None:
    state, _ = sample(ids)
    broken = bytearray(state)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(broken) - 1))
        junk = data.draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 4, b"\xff" * 8, b"\0" * 8]))
        broken[at : at + len(junk)] = junk
    read_all(GROUPS[ids], bytes(broken))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_state_are_a_state_error_or_a_value(junk: bytes) -> None:
    for start in (b"", b"H\x01", b"R"):
        read_all(GROUPS[False], start + junk)


@pytest.mark.parametrize("kind", [k for k in COLUMN_VALUES if k.is_list or k.is_decimal], ids=str)
def test_a_broken_column_is_a_state_error_or_values(kind: DataType) -> None:
    @given(
        st.lists(st.none() | COLUMN_VALUES[kind][-1], min_size=1, max_size=8),
        st.data(),
    )
    def check(values: list[Any], data: st.DataObject) -> None:
        packed = bytearray(pack_column(kind, values))
        at = data.draw(st.integers(0, len(packed) - 1))
        junk = data.draw(st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 4, b"\0" * 8]))
        packed[at : at + len(junk)] = junk
        encoding, size = COLUMN.unpack_from(packed)
        if size == len(packed) - COLUMN.size and fits(kind, encoding, len(values), size):
            try:
                read_column(kind, memoryview(bytes(packed))[COLUMN.size :], encoding, len(values), 0)
            except StateError as error:
                assert str(error)

    check()


def test_a_count_of_items_beyond_the_bytes_asks_for_no_memory() -> None:
    packed = bytearray(pack_column(list_of(BIGINT), [(None, None)]))
    packed[COLUMN.size : COLUMN.size + 4] = b"\xff" * 4
    with pytest.raises(StateError, match="4294967295 items of a BIGINT"):
        read_column(list_of(BIGINT), memoryview(bytes(packed))[COLUMN.size :], packed[0], 1, 0)


def test_a_state_of_another_layout_is_a_state_error() -> None:
    state, head = sample(False)
    with pytest.raises(StateError, match=r"was written by another layout, or is corrupt|has .* bytes of encoding"):
        read_head(state, GROUPS[False].layout.types[:-1])
    with pytest.raises(StateError):
        StateCodec(GROUPS[True].layout).decode(state[head:] + b"\0")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: b"X" + s[1:], "a head of format 1 begins with"),
        (lambda s: s[:1] + b"\x09" + s[2:], "a head of format 1 begins with"),
        (lambda s: s[:60], "is cut off after 60"),
        (lambda s: s[:-1], "a record of the tail is cut off"),
        (lambda s: s + b"Rest", "a record of the tail is cut off"),
    ],
)
def test_a_state_error_says_what_is_wrong(change: Any, message: str) -> None:
    state, _ = sample(False)
    with pytest.raises(StateError, match=message):
        StateCodec(GROUPS[False].layout).decode(change(state))


def test_a_swapped_head_is_noticed_even_under_the_same_generation() -> None:
    layout = GROUPS[False].layout
    state, length = sample(False)
    codec = StateCodec(layout)
    later = codec.compact(state, floor=None, generation=b"abcdefgh")
    fold = StateFold(layout, GROUPS[False].slots)
    for packed in (state[:length], later, state, state[:length], later + state[length:]):
        assert fold(packed, 10**15) == StateFold(layout, GROUPS[False].slots)(packed, 10**15)


def test_the_head_cache_holds_no_more_than_its_limit() -> None:
    layout = GROUPS[False].layout
    codec = StateCodec(layout)
    state, length = sample(False)
    events = codec.decode(state[:length]).events
    cache = HeadCache(layout.types, limit=3 * len(events.ts))
    heads = [codec.head(events, offsets={}, floor=None, generation=struct.pack("<Q", i)) for i in range(10)]
    for head in (*heads, *heads[::-1], heads[0], heads[0]):
        assert cache.read(head).events() == events
    assert len(cache._heads) == 3
    assert cache._held == 3 * len(events.ts)


def test_ids_hash_the_same_everywhere_and_no_id_is_no_text() -> None:
    assert hash_id("a") == 0x0CC175B9C0F1B6A8, "the first 64 bits of md5('a')"
    assert hash_id(None) != hash_id("None")
    assert hash_id(12) == hash_id("12")


def test_an_empty_state_gives_what_no_event_gives() -> None:
    for state in (None, b""):
        reading = StateFold(GROUPS[False].layout, GROUPS[False].slots)(state, 10**15)
        counts: list[Slot] = [s for s in GROUPS[False].slots if s.fn.startswith("count")]
        assert [v for v in reading.values if v is not None] == [0] * len(counts)
        assert (reading.offsets, reading.newest, reading.events) == ({}, None, 0)
