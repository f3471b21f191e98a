"""Random events and spines: on the edges of windows, tied, late, twice, at the ends of time, of keys on one side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from onefold.features.definitions import Branch
from onefold.features.types import BIGINT_MAX, BIGINT_MIN, TIMESTAMP_MAX, TIMESTAMP_MIN, fields
from tests.parity.aggregates import DAY, LENGTHS
from tests.parity.branches import standing
from tests.parity.values import BIGINTS, DOUBLES, PALETTES

SCHEMA = {
    "k": "VARCHAR", "k2": "BIGINT", "at": "TIMESTAMP", "x": "DOUBLE", "y": "DOUBLE", "n": "BIGINT", "ts": "BIGINT",
    "ok": "BOOLEAN", "c0": "VARCHAR", "d": "DATE", "w": "TIMESTAMP", "id": "VARCHAR",
    "m": "DECIMAL(10,2)", "g": "DECIMAL(38,9)", "li": "BIGINT[]", "lw": "VARCHAR[]", "lx": "DOUBLE[]",
}  # fmt: skip
"""Two columns bear names that engines use inside. Marked for those who add a type: a column of it."""
REQUEST = {"r": "DOUBLE", "q": "BIGINT"}

_HOUR = DAY // 24
_BASES = (
    0, 1_362_096_000_000_000, 1_362_096_000_000_000, -DAY * 400, -1,
    TIMESTAMP_MIN + 14 * DAY, TIMESTAMP_MAX - 14 * DAY, TIMESTAMP_MIN, TIMESTAMP_MAX,
)  # fmt: skip
_K = (("a",), ("a",), ("a", "a", None), ("é", "e\u0301", ""), ("a", "b"), ("a", "A", "a "))
_K2 = ((1,), (1,), (1, 1, None), (BIGINT_MIN, BIGINT_MAX), (-1, 0))
_UNITS = (1, 1, 1, 1, _HOUR, DAY)
"""What event times are truncated to: to the microsecond (not at all), the hour, or the day."""

Event = tuple[Any, ...]


@dataclass(frozen=True)
class World:
    """Events in order of arrival with their positions, and rows (keys and request columns) with their times."""

    events: tuple[tuple[tuple[int, int], Event], ...]
    rows: tuple[dict[str, Any], ...]
    times: tuple[int, ...]


def _clamped(times: Sequence[int]) -> list[int]:
    return [min(max(t, TIMESTAMP_MIN), TIMESTAMP_MAX) for t in times]


@st.composite
def times(
    draw: st.DrawFn, lengths: Sequence[str], buckets: Sequence[int] = ()
) -> tuple[st.SearchStrategy[int], list[int]]:
    """Times of events, and of rows: on each other, on the edges of windows, and one microsecond beside them."""
    base, unit = draw(st.sampled_from(_BASES)), draw(st.sampled_from(_UNITS))
    steps = [LENGTHS[n] for n in lengths]
    edges = [base - step + beside for step in (0, *steps) for beside in (0, 0, 1, -1)]
    asked = [base, base + 1, base + steps[0], base - steps[-1]]
    edges += [asked[-1] - max(steps), asked[-1] - max(steps) - 1]
    for size in buckets:
        ends = [t - step for t in asked for step in (0, *steps)]
        edges += [end // size * size + beside for end in ends for beside in (0, -1, size - 1)]
    return st.sampled_from(_clamped([t // unit * unit for t in (*edges, base + steps[-1])])), _clamped(asked)


@st.composite
def _copies(draw: st.DrawFn, event: st.SearchStrategy[Event], events: Sequence[Event]) -> Event:
    """Another event of the key, time and id of one that is there."""
    pairs = zip(SCHEMA, draw(st.sampled_from(events)), draw(event), strict=True)
    return tuple(old if name in ("k", "k2", "at", "id") else new for name, old, new in pairs)


@st.composite
def _rows(
    draw: st.DrawFn,
    events: Sequence[Event],
    values: Mapping[str, st.SearchStrategy[Any]],
    then: Sequence[int],
    own: bool,
) -> tuple[tuple[dict[str, Any], ...], tuple[int, ...]]:
    """Rows and their times: most keys that events have, and another one, at every time that is asked for."""
    met = list(dict.fromkeys(e[:2] for e in events))[: draw(st.sampled_from([4, 4, 4, 1]))]
    met.append((draw(values["k"] | st.just("never")), draw(values["k2"])))
    columns = {"r": draw(DOUBLES), "q": draw(BIGINTS)}
    if own:
        columns |= {name: values[name] for name in ("id", "x", "n", "ok")}
    request = draw(st.lists(st.fixed_dictionaries(columns), min_size=1, max_size=3))
    if own:  # the other columns are as those of an event, which takes fewer choices than drawing each
        event = draw(st.sampled_from(events) if events else st.tuples(*(values[name] for name in SCHEMA)))
        request = [dict(zip(SCHEMA, event, strict=True)) | row for row in request]
    pairs = [(key, t) for key in met for t in dict.fromkeys(then)]
    rows = [{**request[i % len(request)], "k": key[0], "k2": key[1]} for i, (key, _) in enumerate(pairs)]
    return tuple(rows), tuple(t for _, t in pairs)


@st.composite
def worlds(
    draw: st.DrawFn,
    *,
    lengths: Sequence[str],
    ids: bool,
    branches: Sequence[Branch] = (),
    own: bool = False,
    buckets: Sequence[int] = (),
) -> World:
    """Events and rows for windows of these lengths. ids: whether ids matter, and so events come twice. branches: of the
    source. own: whether rows bring the source's columns, as events of their own. buckets: lengths of buckets that
    windows take whole."""
    when, then = draw(times(lengths, buckets))
    schema = fields(SCHEMA)
    values = {f.name: draw(PALETTES[f.type]) for f in schema}
    k, k2 = st.sampled_from(draw(st.sampled_from(_K))), st.sampled_from(draw(st.sampled_from(_K2)))
    values |= {"k": k, "k2": k2, "at": when, "id": st.sampled_from(["i", "j", "k"])}
    event = st.tuples(*(values[name] for name in SCHEMA))
    events = draw(st.lists(event, min_size=draw(st.sampled_from([0, 4, 8])), max_size=14))
    if ids and events:
        events += draw(st.lists(_copies(event, events), max_size=5))
    last = 2 if branches else 1
    sequences = draw(st.lists(st.integers(0, last), min_size=len(events), max_size=len(events)))
    events = [standing(branches, s, schema, e) for s, e in zip(sequences, events, strict=True)]
    placed = tuple(((s, 2 * i + 1), row) for i, (s, row) in enumerate(zip(sequences, events, strict=True)))
    return World(placed, *draw(_rows(events, values, then, own)))
