"""Crowds: a few thousand events of one key, with more distinct values than a sketch holds."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from onefold.features.aggregates import SKETCH
from onefold.features.definitions import Branch
from onefold.features.types import fields
from tests.parity.aggregates import DAY, aggregates, windows
from tests.parity.branches import standing
from tests.parity.expressions import COLUMNS
from tests.parity.values import BIGINTS, DOUBLES, PALETTES
from tests.parity.worlds import SCHEMA, World

_AT = 1_362_096_000_000_000
_HOUR = DAY // 24
_WIDE = (
    "RANGE UNBOUNDED PRECEDING", "RANGE BETWEEN INTERVAL 1 DAY PRECEDING AND CURRENT ROW",
    "RANGE BETWEEN INTERVAL 2 WEEKS PRECEDING AND INTERVAL 1 SECOND PRECEDING",
    "ROWS BETWEEN 4000 PRECEDING AND CURRENT ROW", f"ROWS BETWEEN {SKETCH + 1} PRECEDING AND 1 PRECEDING",
)  # fmt: skip
_ALONE = "RANGE UNBOUNDED PRECEDING EXCLUDE GROUP"
_COUNTED = ("n", "x", "c0", "w", "d", "at", "(n // 2)", "(n * 3)", "(c0 || 'a')", "(- x)")
_FORMS = ("approx_count_distinct({})", "approx_count_distinct({})", "distinct_sketch({})", "count(DISTINCT {})")


@st.composite
def crowd_sql(draw: st.DrawFn, tag: str, lengths: Sequence[str], *, own: bool) -> str:
    """A SELECT of counts of distinct values, over windows that hold them all, and of one other aggregate.

    own: a row may be an event of its own, which EXCLUDE GROUP would leave out.
    """
    wide = draw(st.sampled_from(_WIDE if own else (*_WIDE, _ALONE)))
    items = [draw(_counted()) for _ in range(draw(st.integers(2, 4)))]
    items.append(draw(aggregates(draw(st.sampled_from([*COLUMNS])), ["w1"])))
    named = ", ".join(f"{item} AS {tag}{i}" for i, item in enumerate(items))
    where = draw(st.sampled_from(["", "", " WHERE n % 1000 <> 1 OR n IS NULL", " WHERE id <> 'e7'"]))
    return f"SELECT {named} FROM events{where} WINDOW w0 AS ({wide}), w1 AS ({draw(windows(lengths, own=own))})"


@st.composite
def _counted(draw: st.DrawFn) -> str:
    condition = draw(st.sampled_from(["", "", "", " FILTER (WHERE c0 <> '3é')"]))
    return f"{draw(st.sampled_from(_FORMS)).format(draw(st.sampled_from(_COUNTED)))}{condition} OVER w0"


@st.composite
def crowds(draw: st.DrawFn, *, branches: Sequence[Branch], own: bool) -> World:
    """Events of one key within an hour, out of order, with about as many distinct values as a sketch holds, or more;
    some come twice. One row asks for them, or two."""
    distinct = draw(st.sampled_from([SKETCH - 1, SKETCH, SKETCH + 1, 2500, 3000, 3000]))
    step, first = draw(st.sampled_from([1, 7919, 1 << 40])), draw(st.sampled_from([0, -(2**62)]))
    schema = fields(SCHEMA)
    other = {f.name: draw(st.lists(draw(PALETTES[f.type]), min_size=2, max_size=2)) for f in schema}
    events = []
    for i in range(distinct + draw(st.integers(0, 5))):
        j = i % distinct
        at = _AT - j * 7_919_000_003 % _HOUR
        made = {
            "k": "a", "k2": 1, "at": at, "id": f"e{j}", "n": first + j * step, "x": j * 0.125 * step,
            "c0": f"{j}é", "w": at - j, "d": j - 1500,
        }  # fmt: skip
        event = tuple(made.get(f.name, other[f.name][i % 2]) for f in schema)
        events.append(((i % 3, 2 * i + 1), standing(branches, i % 3, schema, event)))
    request = {"r": draw(draw(DOUBLES)), "q": draw(draw(BIGINTS))}
    if own:
        request |= {f.name: other[f.name][0] for f in schema} | {"id": draw(st.sampled_from(["e0", "e1", "e"]))}
    times = draw(st.sampled_from([(_AT,), (_AT, _AT - _HOUR // 2)]))
    keys = {name: events[0][1][i] for i, name in enumerate(SCHEMA) if name in ("k", "k2")}
    return World(tuple(events), tuple({**request, **keys} for _ in times), times)
