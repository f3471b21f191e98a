"""Merge of parts = the whole: of folds, split anywhere; of states, however their events came."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onefold.features.aggregates import AGGREGATES, AggregateSpec
from onefold.features.codec import generation_of
from onefold.features.layout import Layout
from onefold.features.protocols import Swap
from onefold.features.state import StateCodec
from onefold.features.types import BIGINT, BOOLEAN, DOUBLE, VARCHAR, DataType
from onefold.online.lmdb_store import LmdbStore
from onefold.streaming.state_writer import StateWriter
from tests.parity.engines import Case, Events, bits
from tests.parity.strategies import cases
from tests.parity.values import MONEY, PALETTES

TYPES = (BIGINT, DOUBLE, VARCHAR, BOOLEAN, MONEY)


def forms() -> list[tuple[str, DataType | None]]:
    """Every aggregate with the types that it takes; count(*) takes none."""
    found: list[tuple[str, DataType | None]] = []
    for name, spec in AGGREGATES.items():
        taken = TYPES if not spec.args or spec.args[0] is None else [t for t in TYPES if t in spec.args[0]]
        found += [(name, kind) for kind in taken] if spec.args else [(name, None)]
    return found


def made(spec: AggregateSpec, kind: DataType | None) -> Any:
    """The fold of an aggregate; a constant is 2 events, or a half."""
    constant = {"count": (2,), "share": (500_000,)}.get(spec.constant or "", ())
    return spec.fold(kind, *constant)


@pytest.mark.parametrize(("name", "kind"), forms(), ids=lambda v: getattr(v, "name", v))
def test_the_merge_of_parts_is_the_fold_of_the_whole(name: str, kind: DataType | None) -> None:
    spec = AGGREGATES[name]
    fold = made(spec, kind)

    @settings(max_examples=20)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        one = data.draw(PALETTES[kind or BIGINT])
        if len(spec.args) > 1:
            one = st.tuples(one, one)
        xs = data.draw(st.lists(one, max_size=9))
        if not spec.takes_nulls:
            xs = [x for x in xs if x is not None]
        cuts = sorted(data.draw(st.lists(st.integers(0, len(xs)), max_size=3)))
        whole = fold.finish(fold.update(fold.init, xs))
        parts = [fold.update(fold.init, xs[a:b]) for a, b in zip([0, *cuts], [*cuts, len(xs)], strict=True)]
        merged, updated = fold.init, fold.init
        for part in parts:
            merged = fold.merge(merged, part)
        for a, b in zip([0, *cuts], [*cuts, len(xs)], strict=True):
            updated = fold.update(updated, xs[a:b])
        nested = fold.merge(parts[0], _joined(fold, parts[1:]))
        assert [bits(fold.finish(acc)) for acc in (merged, updated, nested)] == [bits(whole)] * 3
        if not spec.ordered:
            backward = fold.init
            for part in reversed(parts):
                backward = fold.merge(backward, part)
            assert bits(fold.finish(backward)) == bits(whole)

    check()


def _joined(fold: Any, parts: Sequence[Any]) -> Any:
    acc = fold.init
    for part in parts:
        acc = fold.merge(acc, part)
    return acc


def canonical(layout: Layout, states: dict[bytes, bytes], at: int | None = None) -> dict[bytes, bytes]:
    """States in the form in which equal ones are equal. at: the stream time that tells what is dropped and folded."""
    codec, times = StateCodec(layout), _cuts(layout, at)
    return {name: codec.compact(state, generation=bytes(8), **times) for name, state in states.items()}


def _cuts(layout: Layout, at: int | None) -> dict[str, Any]:
    return {"floor": layout.floor(at), "before": layout.before(at)}


def plainly(layout: Layout, events: Events, at: int | None = None) -> dict[bytes, bytes]:
    """The states as one append an event makes them, in the order of arrival."""
    writer = StateWriter(_Dictionary(), layout, 1)
    states: dict[bytes, bytes] = {}
    for (sequence, offset), row in events.rows:
        for name, record in writer.pack(sequence, [offset], [[x] for x in row], after=-1):
            states[name] = states.get(name, b"") + record
    return canonical(layout, states, at)


class _Dictionary(LmdbStore):
    """A store that is never asked."""

    def __init__(self) -> None:
        pass


def test_a_state_is_the_same_however_its_events_came(tmp_path: Path) -> None:
    number = 0

    @settings(max_examples=25)
    @given(cases(), st.data())
    def check(case: Case, data: st.DataObject) -> None:
        nonlocal number
        events = case.events["events"]
        for group in case.plan.groups:
            number += 1
            with LmdbStore(tmp_path / str(number), map_size=1 << 20) as store:
                _write(store, group.layout, events, data)
                states = dict(store.scan(group.layout.prefix(1)))
            assert canonical(group.layout, states) == plainly(group.layout, events)

    check()


def test_a_state_with_buckets_is_the_same_however_its_events_came_and_were_folded(tmp_path: Path) -> None:
    number = 0

    @settings(max_examples=25)
    @given(cases(ids=False, whole=True), st.data())
    def check(case: Case, data: st.DataObject) -> None:
        nonlocal number
        events = case.events["events"]
        times = sorted({row[2] for _, row in events.rows}) or [0]
        for group in case.plan.groups:
            number += 1
            with LmdbStore(tmp_path / str(number), map_size=1 << 20) as store:
                _write(store, group.layout, events, data, times)
                states = dict(store.scan(group.layout.prefix(1)))
            assert canonical(group.layout, states, times[-1]) == plainly(group.layout, events, times[-1])

    check()


def _columns(rows: list[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _write(store: LmdbStore, layout: Layout, events: Events, data: st.DataObject, times: Sequence[int] = ()) -> None:
    """Micro-batches of each sequence in any interleaving; some are sent again from an earlier offset on, some strings
    are compacted in between. times: stream times at which they are; else nothing is dropped or folded."""
    writer, codec = StateWriter(store, layout, 1), StateCodec(layout)
    feeds = {s: [(o, row) for (q, o), row in events.rows if q == s] for s in {p[0] for p, _ in events.rows}}
    done = dict.fromkeys(feeds, 0)
    while left := [s for s in feeds if done[s] < len(feeds[s])]:
        sequence = data.draw(st.sampled_from(left))
        start = data.draw(st.integers(max(0, done[sequence] - 3), done[sequence]))
        end = data.draw(st.integers(done[sequence] + 1, len(feeds[sequence])))
        batch = feeds[sequence][start:end]
        done[sequence] = end
        store.append(writer.pack(sequence, [o for o, _ in batch], _columns([row for _, row in batch]), after=-1))
        for name, state in list(store.scan(layout.prefix(1))):
            if data.draw(st.integers(0, 3)) == 0:
                generation = struct.pack("<Q", data.draw(st.integers(1, 2**32)))
                at = data.draw(st.sampled_from([None, *times]))
                packed = codec.compact(state, generation=generation, **_cuts(layout, at))
                assert store.swap_all([Swap(name, len(state), generation_of(state), packed)]) == [True]
