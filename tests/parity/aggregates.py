"""Random aggregates over random frames, in SQL."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from onefold.features.types import BIGINT, BOOLEAN, DATE, DOUBLE, TIMESTAMP, VARCHAR, DataType
from tests.parity.expressions import column, conditions, expressions

DAY = 86_400_000_000
LENGTHS = {"1 MICROSECOND": 1, "1 SECOND": 1_000_000, "90 MINUTES": 5_400_000_000, "1 DAY": DAY, "2 WEEKS": 14 * DAY}
"""Lengths of windows, in microseconds."""
Form = tuple[str, tuple[DataType, ...]]
"""SQL of a call with {} for its arguments, and their types."""

# Marked for those who add an aggregate: its forms by the type that it gives. One that stands twice is drawn more often.
AGGREGATES: dict[DataType, tuple[Form, ...]] = {
    BIGINT: (
        *[(f"{fn}({{}})", (BIGINT,)) for fn in ("sum", "min", "max", "last_value", "first_value")],
        *[("count(*)", ()), ("count({})", (DOUBLE,)), ("count({})", (BIGINT,)), ("count({})", (VARCHAR,))],
    ),
    DOUBLE: (
        *[(f"{fn}({{}})", (DOUBLE,)) for fn in ("sum", "sum", "sum", "avg", "avg", "min", "max")],
        *[(f"{fn}({{}})", (DOUBLE,)) for fn in ("var_pop", "var_samp", "stddev_pop", "stddev_samp")],
        *[(f"{fn}({{}})", (DOUBLE,)) for fn in ("last_value", "first_value")],
        *[(f"{fn}({{}})", (BIGINT,)) for fn in ("avg", "stddev")],
    ),
    BOOLEAN: tuple((f"{fn}({{}})", (BOOLEAN,)) for fn in ("bool_and", "bool_and", "bool_or", "max", "last_value")),
    **{
        kind: tuple((f"{fn}({{}})", (kind,)) for fn in ("min", "max", "first_value", "last_value"))
        for kind in (VARCHAR, TIMESTAMP, DATE)
    },
}


@st.composite
def windows(draw: st.DrawFn, lengths: Sequence[str]) -> str:
    """A frame with bounds of these lengths."""
    lower = draw(st.sampled_from([*lengths, *lengths, None]))
    shorter = [None, None, None, *(n for n in lengths if lower is None or LENGTHS[n] <= LENGTHS[lower])]
    upper = draw(st.sampled_from(shorter))
    start = "UNBOUNDED" if lower is None else f"INTERVAL {lower}"
    end = "CURRENT ROW" if upper is None else f"INTERVAL {upper} PRECEDING"
    exclude = draw(st.sampled_from(["", "", "", " EXCLUDE GROUP"]))
    return f"RANGE BETWEEN {start} PRECEDING AND {end}{exclude}"


@st.composite
def aggregates(draw: st.DrawFn, kind: DataType, named: Sequence[str]) -> str:
    """SQL of an aggregate that gives the type, over one of the named windows."""
    text, kinds = draw(st.sampled_from(AGGREGATES[kind]))
    call = text.format(*(draw(expressions(of, column, draw(st.sampled_from([0, 0, 0, 1, 2])))) for of in kinds))
    condition = f" FILTER (WHERE {draw(conditions(1))})" if draw(st.integers(0, 3)) == 0 else ""
    return f"{call}{condition} OVER {draw(st.sampled_from(named))}"
