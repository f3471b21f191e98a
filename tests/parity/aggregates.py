"""Random aggregates over random frames, in SQL."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from onefold.features.types import BIGINT, BOOLEAN, DATE, DOUBLE, TIMESTAMP, VARCHAR, DataType, list_of
from tests.parity.expressions import SCALARS, column, conditions, expressions
from tests.parity.values import FLOATS, LONG, MONEY, NUMBERS, WORDS

DAY = 86_400_000_000
LENGTHS = {"1 MICROSECOND": 1, "1 SECOND": 1_000_000, "90 MINUTES": 5_400_000_000, "1 DAY": DAY, "2 WEEKS": 14 * DAY}
"""Lengths of windows, in microseconds."""
Form = tuple[str, tuple[DataType, ...]]
"""SQL of a call with {} for its arguments, and their types."""


def _same(fns: str, kind: DataType) -> list[Form]:
    """Aggregates that give the type that they take."""
    return [(f"{fn}({{}})", (kind,)) for fn in fns.split()]


def _by(kind: DataType, others: Sequence[DataType] = SCALARS) -> list[Form]:
    """min_by and max_by: ties in what they go by are frequent."""
    return [(f"{fn}({{}}, {{}})", (kind, other)) for fn in ("min_by", "max_by") for other in others]


def _listed(kind: DataType) -> list[Form]:
    """Aggregates that give a LIST of the type."""
    return [(text, (kind,)) for text in ("array_agg({})", "last_n({}, 1)", "last_n({}, 3)", "last_distinct({}, 2)")]


# Marked for those who add an aggregate: its forms by the type that it gives. One that stands twice is drawn more often.
AGGREGATES: dict[DataType, list[Form]] = {
    BIGINT: [
        *_same("sum sum min max last_value first_value lag", BIGINT),
        *[("count(*)", ()), ("time_since_last()", ())], *[("count({})", (kind,)) for kind in (DOUBLE, BIGINT, WORDS)],
        *[("count(DISTINCT {})", (kind,)) for kind in SCALARS],
        *[("approx_count_distinct({})", (kind,)) for kind in SCALARS], ("quantile_disc({}, 0.5)", (BIGINT,)),
    ],
    DOUBLE: [
        *_same("sum sum sum sum avg avg avg min max last_value first_value lag", DOUBLE),
        *_same("var_pop var_samp stddev_pop stddev_samp", DOUBLE), *_by(DOUBLE, (DOUBLE, BIGINT)),
        ("avg({})", (BIGINT,)), ("stddev({})", (BIGINT,)),
        *[(f"{fn}({{}}, {q})", (DOUBLE,)) for fn in ("approx_quantile", "quantile_disc") for q in (0, 0.5, 0.99, 1)],
    ],
    BOOLEAN: [*_same("bool_and bool_and bool_or bool_or max last_value", BOOLEAN)],
    VARCHAR: [*_same("min max first_value last_value lag", VARCHAR), *_by(VARCHAR)],
    TIMESTAMP: [*_same("min max first_value last_value", TIMESTAMP), *_by(TIMESTAMP, (TIMESTAMP,))],
    DATE: [*_same("min max first_value last_value", DATE), *_by(DATE, (BOOLEAN,))],
    MONEY: [*_same("min max first_value last_value lag", MONEY)],
    LONG: [*_same("min max first_value last_value", LONG)],
    NUMBERS: [
        *_same("first_value last_value lag", NUMBERS), *_listed(BIGINT), ("quantile_sketch({})", (DOUBLE,)),
        *[("distinct_sketch({})", (kind,)) for kind in SCALARS],
    ],
    WORDS: [*_same("first_value last_value", WORDS), *_listed(VARCHAR)],
    FLOATS: [*_same("first_value last_value", FLOATS), *_listed(DOUBLE)],
    **{list_of(kind): _listed(kind) for kind in (BOOLEAN, TIMESTAMP, DATE, MONEY)},
}  # fmt: skip


@st.composite
def windows(draw: st.DrawFn, lengths: Sequence[str], *, own: bool = False) -> str:
    """A frame with bounds of these lengths, or of rows. own: one that does not leave out what is at t alone, as a view
    may have whose rows are events of their own."""
    exclude = "" if own else draw(st.sampled_from(["", "", "", " EXCLUDE GROUP"]))
    if draw(st.integers(0, 4)) == 0:
        first, last = draw(st.sampled_from([(1, 0), (2, 0), (3, 0), (2, 2), (4, 2), (100, 1), (0, 0), (0, 2)]))
        start = f"{first} PRECEDING" if first else "UNBOUNDED PRECEDING"
        return f"ROWS BETWEEN {start} AND {f'{last} PRECEDING' if last else 'CURRENT ROW'}{exclude}"
    lower = draw(st.sampled_from([*lengths, *lengths, None]))
    shorter = [n for n in lengths if lower is None or LENGTHS[n] <= LENGTHS[lower]]
    upper = draw(st.sampled_from([None, None, None, *(n for n in shorter if not own or LENGTHS[n] > 1)]))
    start = "UNBOUNDED" if lower is None else f"INTERVAL {lower}"
    end = "CURRENT ROW" if upper is None else f"INTERVAL {upper} PRECEDING"
    return f"RANGE BETWEEN {start} PRECEDING AND {end}{exclude}"


RESOLUTIONS = {"1 microsecond": 1, "7 seconds": 7_000_000, "1 minute": 60_000_000, "1 hour": DAY // 24, "1 day": DAY}
"""Lengths of buckets, in microseconds."""
_EVERY_VALUE = ("array_agg", "last_n", "last_distinct", "count(DISTINCT", "quantile_disc", "lag")


@st.composite
def bucket_windows(draw: st.DrawFn, lengths: Sequence[str], size: int) -> str:
    """A frame as a view with buckets of this size may have."""
    longer = [n for n in lengths if LENGTHS[n] >= size]
    lower = draw(st.sampled_from([*longer, *longer, None]))
    ends = [n for n in lengths if LENGTHS[n] > 1 and (lower is None or LENGTHS[lower] - LENGTHS[n] >= size)]
    upper = draw(st.sampled_from([None, None, *ends]))
    start = "UNBOUNDED" if lower is None else f"INTERVAL {lower}"
    end = "CURRENT ROW" if upper is None else f"INTERVAL {upper} PRECEDING"
    return f"RANGE BETWEEN {start} PRECEDING AND {end}"


@st.composite
def aggregates(draw: st.DrawFn, kind: DataType, named: Sequence[str], *, buckets: bool = False) -> str:
    """SQL of an aggregate that gives the type, over one of the named windows. buckets: one that a bucket can keep."""
    forms = AGGREGATES[kind]
    if buckets:
        forms = [form for form in forms if not form[0].startswith(_EVERY_VALUE)]
    text, kinds = draw(st.sampled_from(forms))
    call = text.format(*(draw(expressions(of, column, draw(st.sampled_from([0, 0, 1, 2])))) for of in kinds))
    condition = f" FILTER (WHERE {draw(conditions(1))})" if draw(st.integers(0, 3)) == 0 else ""
    if text.startswith("lag("):
        return f"{call.removesuffix(')')}, {draw(st.integers(1, 3))}){condition} OVER ()"
    return f"{call}{condition} OVER {draw(st.sampled_from(named))}"
