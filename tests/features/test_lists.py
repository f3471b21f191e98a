"""Functions of lists are worth the same on every engine."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from typing import Any

import pytest

from onefold.features import exact
from onefold.features.errors import DefinitionError
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
    VARCHAR,
    DataType,
    decimal,
    list_of,
)

from .scalar_engines import by_duckdb, by_python, by_spark, expression

NAN = math.nan
ITEMS: dict[DataType, list[Any]] = {
    BIGINT: [(), (None,), (1,), (3, None, 1, 3), (BIGINT_MAX, BIGINT_MAX), (BIGINT_MIN, 1, None), (7, -7), None],
    DOUBLE: [
        (),
        (NAN, 1.5, None, NAN),
        (math.inf, -math.inf, 0.0),
        (0.1,),
        (None, None),
        (1e300, -5e-324),
        None,
        (2.0,),
    ],
    VARCHAR: [
        (),
        ("b", "B", "é", "", None, "b"),
        (None,),
        ("\U0001f600", "\uffff"),
        ("a,b", "'"),
        None,
        ("z",),
        ("b",),
    ],
    BOOLEAN: [(), (True, False, None), (True, True), None, (None,), (False,), (False, None), (True,)],
    DATE: [(), (DATE_MIN, DATE_MAX, None), (0, 0), None, (5,), (-1, 1), (None,), (0,)],
    decimal(5, 2): [(), (150, None, -5), (99_999, 99_999), None, (None,), (1,), (-99_999,), (150,)],
    decimal(27, 10): [(), (10**27 - 1,) * 3, (1 - 10**27, None), None, (None,), (1,), (5, -5), (10**15,)],
    TIMESTAMP: [(), (TIMESTAMP_MAX, None, 0), (-1, -1), None, (5,), (None,), (0, 1), (1,)],
}
SINGLE: dict[DataType, list[Any]] = {
    BIGINT: [3, 1, None, BIGINT_MAX, BIGINT_MIN, 0, -7, 2],
    DOUBLE: [NAN, 1.5, None, 0.0, math.inf, 0.1, -1.0, 2.0],
    VARCHAR: ["b", "B", None, "é", "", "\uffff", "x", ","],
    BOOLEAN: [True, False, None, True, False, True, False, None],
    DATE: [DATE_MIN, 0, None, 5, 1, DATE_MAX, -1, 2],
    decimal(5, 2): [150, -5, None, 99_999, 0, 1, -99_999, 7],
    decimal(27, 10): [10**27 - 1, 5, None, 0, 1, -5, 7, 10**15],
    TIMESTAMP: [TIMESTAMP_MAX, 0, None, -1, 5, 1, 7, 2],
}
PLACES = [1, 2, -1, 0, None, BIGINT_MAX, BIGINT_MIN, -3, 3, 4, 2**31, -(2**31), 2**32 + 1]
FORMS = (
    "x[i]", "x[1]", "x[-1]", "x[i:j]", "x[2:]", "x[:-2]", "x[2:3]", "list_slice(x, i, 2)", "len(x)",
    "list_contains(x, v)",
    "list_position(x, v)", "list_concat(x, y)", "x || y", "x || [v]", "list_reverse(x)", "list_sort(x)",
    "list_distinct(x)",
    "list_min(x)", "list_max(x)", "x = y", "x <> y", "x IS DISTINCT FROM y", "[v, NULL, v]", "coalesce(x, y)",
    "CASE WHEN i > 1 THEN x ELSE y END", "x IS NULL", "list_sort(list_distinct(x || y))[1]", "nullif(x, y)",
    "list_contains([v, v], v)", "x IN (y, [v])",
)  # fmt: skip
NUMBERS = ("list_sum(x)", "list_avg(x)")
ONLY = {VARCHAR: ("array_to_string(x, ',')", "array_to_string(x, v)"), BIGINT: NUMBERS, decimal(5, 2): NUMBERS,
        decimal(27, 10): NUMBERS, DOUBLE: NUMBERS}  # fmt: skip


def bits(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(bits, value))
    return repr(value)


def columns(item: DataType) -> dict[str, DataType]:
    return {"x": list_of(item), "y": list_of(item), "v": item, "i": BIGINT, "j": BIGINT}


def rows(item: DataType) -> list[tuple[Any, ...]]:
    lists, ones = ITEMS[item], SINGLE[item]
    return [
        (lists[n % 8], lists[(n + n // 8) % 8], ones[(n * 3 + n // 8) % 8], PLACES[n % 13], PLACES[(n * 5 + 2) % 13])
        for n in range(104)
    ]


@pytest.mark.parametrize("item", ITEMS, ids=str)
@pytest.mark.parametrize("engine", ["duckdb", "spark"])
def test_every_engine_gives_the_same(engine: str, item: DataType, request: pytest.FixtureRequest) -> None:
    held, given = columns(item), rows(item)
    written = [*FORMS, *ONLY.get(item, ())]
    exprs = [expression(sql, held) for sql in written]
    expected = by_python(exprs, held, given)
    if engine == "duckdb":
        found = by_duckdb(exprs, held, given)
    else:
        found = by_spark(request.getfixturevalue("spark"), exprs, held, given)
    wrong = [
        f"{sql}: {row}: found {a!r}, want {b!r}"
        for sql, theirs, ours in zip(written, found, expected, strict=True)
        for row, a, b in zip(given, theirs, ours, strict=True)
        if bits(a) != bits(b)
    ]
    assert not wrong, f"{len(wrong)} differ\n" + "\n".join(wrong[:20])


def doubles() -> list[tuple[Any, ...]]:
    """Lists whose order, cancellation, magnitudes or special values would tell a plain sum from an exact one."""
    draw = random.Random(4)
    pools: list[list[Any]] = [
        [0.1, 0.2, 0.3, -0.1, 1e15, -1e15, None],
        [2.0**-72, -(2.0**-72), 2.0**-73, 3e-22, 1e-23, 0.5, 2.0**51, -(2.0**51)],
        [2.0**52, -(2.0**52), 2.0**53 - 1, 1.0, 2.0**-20, 0.0],
        [math.inf, 1.0, NAN, None],
        [math.inf, 2.5, None],
        [-math.inf, 2.0**53, 1.0],
        [1.7e308, -1.7e308, 4.9e-324],
    ]
    lists = [tuple(draw.choice(pool) for _ in range(draw.randrange(9))) for pool in pools for _ in range(40)]
    lists += [tuple(draw.uniform(-1, 1) * 2.0 ** draw.randrange(-70, 49) for _ in range(9)) for _ in range(200)]
    return [(xs, tuple(draw.sample(xs, len(xs)))) for xs in lists]


@pytest.mark.parametrize("engine", ["python", "duckdb", "spark"])
def test_a_total_of_doubles_is_that_of_sum_in_any_order(engine: str, request: pytest.FixtureRequest) -> None:
    held, given = {"x": list_of(DOUBLE), "y": list_of(DOUBLE)}, doubles()
    exprs = [expression(f"{name}({x})", held) for name in ("list_sum", "list_avg") for x in "xy"]
    if engine == "python":
        found = by_python(exprs, held, given)
    elif engine == "duckdb":
        found = by_duckdb(exprs, held, given)
    else:
        found = by_spark(request.getfixturevalue("spark"), exprs, held, given)
    sums = [exact.add(exact.EMPTY_SUM, [x for x in xs if x is not None]) for xs, _ in given]
    room = [sum(Fraction(abs(x)) for x in xs if x is not None and math.isfinite(x)) < 2**53 for xs, _ in given]
    totals, means = (
        [of(s) if fits else None for s, fits in zip(sums, room, strict=True)] for of in (exact.total, exact.mean)
    )
    assert len({*map(repr, totals)}) > 200 and totals.count(None) > 50
    for theirs, ours in zip(found, (totals, totals, means, means), strict=True):
        assert [(xs, bits(a)) for (xs, _), a in zip(given, theirs, strict=True)] == [
            (xs, bits(b)) for (xs, _), b in zip(given, ours, strict=True)
        ]


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("[1, 2.5]", "DOUBLE[]"), ("CAST([] AS VARCHAR[])", "VARCHAR[]"), ("x[1]", "BIGINT"),
        ("[DECIMAL '1.5', 2]", "DECIMAL(2,1)[]"),
        ("list_sum(x)", "BIGINT"), ("list_avg(x)", "DOUBLE"), ("list_sum([DECIMAL '1.5'])", "DECIMAL(38,1)"),
    ],
)  # fmt: skip
def test_types(sql: str, kind: str) -> None:
    assert expression(sql, columns(BIGINT)).type.name == kind


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("[]", "list_value has no value with a type"),
        ("[x]", "list of lists"),
        ("x < y", "'<' is not defined for (BIGINT[], BIGINT[])"),
        ("least(x, y)", "compared by = and <> only"),
        ("x[1.5]", "'list_extract' is not defined for (BIGINT[], DOUBLE)"),
        ("list_contains(x, 'a')", "'list_contains' is not defined for (BIGINT[], VARCHAR)"),
        ("list_sum(['a'])", "'list_sum' is not defined for (VARCHAR[])"),
        ("array_to_string(x, ',')", "'array_to_string' is not defined for (BIGINT[], VARCHAR)"),
        ("[1, 'a']", "mixes BIGINT and VARCHAR"),
        ("x + 1", "'+' is not defined for (BIGINT[], BIGINT)"),
        ("CAST(x AS VARCHAR)", "CAST from BIGINT[] to VARCHAR is not defined"),
    ],
)
def test_what_is_refused_and_why(sql: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        expression(sql, columns(BIGINT))
    assert message in str(caught.value) and caught.value.line == 1
