"""DECIMAL is worth the same on every engine, and what Python's own decimal arithmetic says."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal
from typing import Any

import pytest

from onefold.features.errors import DefinitionError
from onefold.features.types import BIGINT, BIGINT_MAX, BIGINT_MIN, VARCHAR, DataType, decimal
from onefold.features.values import to_json

from .scalar_engines import by_duckdb, by_python, by_spark, expression

EXACT = Context(prec=200)
COLUMNS = {
    "a": decimal(5, 2), "b": decimal(9, 4), "c": decimal(18, 0), "d": decimal(19, 7), "e": decimal(19, 12),
    "f": decimal(38, 10), "g": decimal(38, 0), "h": decimal(2, 2), "n": BIGINT, "t": VARCHAR,
}  # fmt: skip
TEXTS = (
    "12.345", "-12.345", "+7", "0.5", "-0.4999999999999999999999999999999999999", "999.995", "-999.994", ".5", "5.", "",
    " 1", "1 ", "1e3", "1_000", "0x10", "NaN", "00000000000000000000000000000000000012", "12345678901234567890.123",
    "99999999999999999999999999999999999999", "99999999999999999999999999999999999999.5", "1.5\n", "٣", None,
    "9223372036854775807.5", "-9223372036854775808.4", "100000000000000000000000000000000000000",
)  # fmt: skip
ROUNDINGS = {"floor": ROUND_FLOOR, "ceil": ROUND_CEILING, "trunc": ROUND_DOWN}
SIGNS: dict[str, Callable[[Decimal, Decimal], object]] = {
    "+": EXACT.add, "-": EXACT.subtract, "*": EXACT.multiply, "=": lambda x, y: x == y, "<>": lambda x, y: x != y,
    "<": lambda x, y: x < y, "<=": lambda x, y: x <= y, ">": lambda x, y: x > y, ">=": lambda x, y: x >= y,
}  # fmt: skip


def values_of(kind: DataType, rng: random.Random) -> list[Any]:
    """Values at the edges of a type, and some between; NULL among them."""
    if kind == VARCHAR:
        return list(TEXTS)
    if kind == BIGINT:
        return [0, 1, -1, BIGINT_MAX, BIGINT_MIN, None, *(rng.randrange(BIGINT_MIN, BIGINT_MAX) for _ in range(4))]
    top = 10**kind.precision - 1
    half = 5 * 10 ** (kind.scale - 1) if kind.scale else 5
    near = [top, -top, top - 1, 0, 1, -1, half, -half, half - 1, 1 - half, 3 * half, -3 * half, None, top // 2, 10**8]
    return [v if v is None or abs(v) <= top else top // 3 for v in near] + [
        rng.randrange(-(10**digits), 10**digits) for digits in (kind.precision, max(kind.precision // 2, 1)) * 3
    ]


def rows() -> list[tuple[Any, ...]]:
    rng = random.Random(7)
    pools = [values_of(kind, rng) for kind in COLUMNS.values()]
    longest = max(map(len, pools))
    shifted = [pool[i:] + pool[:i] for i, pool in enumerate(pools)]
    return [tuple(pool[i % len(pool)] for pool in p) for p in (pools, shifted) for i in range(longest)]


ROWS = rows()


def plain(value: Any, kind: DataType) -> Decimal | None:
    if value is None:
        return None
    return Decimal(value).scaleb(-kind.scale, EXACT) if kind.is_decimal else Decimal(value)


def pairs() -> list[tuple[str, str, str]]:
    """Operators between all pairs of columns whose result has a type."""
    found = []
    numbers = [name for name in COLUMNS if name != "t"]
    for sign in SIGNS:
        for x in numbers:
            for y in numbers:
                if COLUMNS[x].is_decimal or COLUMNS[y].is_decimal:
                    try:
                        expression(f"{x} {sign} {y}", COLUMNS)
                    except DefinitionError as error:
                        assert "digits, and a DECIMAL has at most 38" in str(error)
                    else:
                        found.append((x, sign, y))
    return found


PAIRS = pairs()
UNARY = (
    "-{x}", "abs({x})", "floor({x})", "ceil({x})", "trunc({x})",
    "round({x})", "sign({x})", "round({x}, 1)",
    "CAST({x} AS DOUBLE)", "CAST({x} AS BIGINT)", "CAST({x} AS VARCHAR)", "CAST({x} AS DECIMAL(5,2))",
    "CAST({x} AS DECIMAL(38,2))", "CAST({x} AS DECIMAL(38,0))", "CAST({x} AS DECIMAL(4,4))", "{x} / 3", "{x} / n",
    "{x} * 0.5", "{x} < 0.5", "sqrt(abs({x}))", "coalesce({x}, 1.5)", "nullif({x}, {x})",
    "least({x}, CAST(-1 AS DECIMAL(2,1)))",
    "{x} IN (DECIMAL '0.05', NULL)", "{x} IS DISTINCT FROM NULL", "CASE WHEN {x} > 0 THEN {x} END",
    "{x} BETWEEN DECIMAL '-1' AND DECIMAL '1'",
)  # fmt: skip
MIXED = (
    "CAST(n AS DECIMAL(19,0))", "CAST(n AS DECIMAL(38,19))", "CAST(n AS DECIMAL(5,2))", "CAST(t AS DECIMAL(38,0))",
    "CAST(t AS DECIMAL(5,2))", "CAST(t AS DECIMAL(38,38))", "CAST(t AS DECIMAL(1,0))", "coalesce(a, b, n)",
    "greatest(a, c, NULL)",
    "CASE WHEN a > b THEN a ELSE b END", "a + NULL", "-DECIMAL '0.05' + a", "CAST(a * b AS DECIMAL(6,1))",
    "CAST(CAST(d AS VARCHAR) AS DECIMAL(19,7))", "a + b - c * 2", "CAST(12.345 AS DECIMAL(10,2)) * a",
)  # fmt: skip


def written() -> list[str]:
    kinds = [name for name, kind in COLUMNS.items() if kind.is_decimal]
    found = [f"{x} {sign} {y}" for x, sign, y in PAIRS] + list(MIXED)
    for template in UNARY:
        for x in kinds:
            sql = template.format(x=x)
            try:
                expression(sql, COLUMNS)
            except DefinitionError as error:
                assert "digits, and a DECIMAL has at most 38" in str(error), sql
            else:
                found.append(sql)
    return found


WRITTEN = written()
EXPRS = [expression(sql, COLUMNS) for sql in WRITTEN]
FOUND = by_python(EXPRS, COLUMNS, ROWS)


@pytest.mark.parametrize("engine", ["duckdb", "spark"])
def test_every_engine_gives_the_same(engine: str, request: pytest.FixtureRequest) -> None:
    if engine == "duckdb":
        found = by_duckdb(EXPRS, COLUMNS, ROWS)
    else:
        found = by_spark(request.getfixturevalue("spark"), EXPRS, COLUMNS, ROWS)
    wrong = []
    for sql, expr, ours, theirs in zip(WRITTEN, EXPRS, FOUND, found, strict=True):
        for row, a, b in zip(ROWS, ours, theirs, strict=True):
            if a != b:
                wrong.append(f"{sql} {expr.type}: {dict(zip(COLUMNS, row, strict=True))}: {b!r}, want {a!r}")
    assert not wrong, f"{len(wrong)} differ\n" + "\n".join(wrong[:20])


def test_operators_are_exact() -> None:
    names = list(COLUMNS)
    for (x, sign, y), expr, column in zip(PAIRS, EXPRS, FOUND, strict=False):
        for row, value in zip(ROWS, column, strict=True):
            a, b = (plain(row[names.index(c)], COLUMNS[c]) for c in (x, y))
            want = None if a is None or b is None else SIGNS[sign](a, b)
            assert plain(value, expr.type) == want
            assert value is None or not expr.type.is_decimal or abs(value) < 10**expr.type.precision


@pytest.mark.parametrize("name", ROUNDINGS)
def test_roundings_are_those_of_decimal(name: str) -> None:
    for x, kind in COLUMNS.items():
        if kind.is_decimal:
            expr = expression(f"{name}({x})", COLUMNS)
            for row, value in zip(ROWS, by_python([expr], COLUMNS, ROWS)[0], strict=True):
                have = plain(row[list(COLUMNS).index(x)], kind)
                want = None if have is None else have.quantize(Decimal(1), ROUNDINGS[name], context=EXACT)
                assert plain(value, expr.type) == want


@pytest.mark.parametrize("scale", [0, 1, 2])
def test_casts_round_half_away_from_zero(scale: int) -> None:
    kind = decimal(38, 10)
    for digits in (5, -5, 15, -15, 4_999_999_999, -4_999_999_999, 5_000_000_000, 12_345_678_905):
        expr = expression(f"CAST(f AS DECIMAL(20,{scale}))", {"f": kind})
        (value,) = by_python([expr], {"f": kind}, [(digits,)])[0]
        have = plain(digits, kind)
        assert have is not None
        assert plain(value, expr.type) == have.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP, context=EXACT)


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("a + b", "DECIMAL(10,4)"), ("a * b", "DECIMAL(14,6)"), ("a - n", "DECIMAL(22,2)"), ("a / b", "DOUBLE"),
        ("a + 0.5", "DOUBLE"), ("d * e", "DECIMAL(38,19)"), ("-a", "DECIMAL(5,2)"), ("ceil(a)", "DECIMAL(4,0)"),
        ("round(b, 1)", "DECIMAL(7,1)"), ("round(b, 9)", "DECIMAL(9,4)"), ("sign(a)", "BIGINT"),
        ("DECIMAL '-012.30'", "DECIMAL(4,2)"),
        ("DECIMAL '0.05'", "DECIMAL(2,2)"), ("coalesce(a, b, n)", "DECIMAL(23,4)"),
    ],
)  # fmt: skip
def test_a_result_has_the_type_of_the_standard(sql: str, kind: str) -> None:
    assert expression(sql, COLUMNS).type.name == kind


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("f + f", "together need 39 digits"),
        ("f * a", "together need 43 digits"),
        ("g = h", "together need 40 digits"),
        ("coalesce(f, g)", "together need 48 digits"),
        ("CAST(a + 0.5 AS DECIMAL(5,2))", "CAST from DOUBLE to DECIMAL(5,2) is not defined"),
        ("CAST('1e3' AS DECIMAL(5,2))", "'1e3' is no DECIMAL(5,2)"),
        ("CAST(1234.5 AS DECIMAL(5,2))", "'1234.5' is no DECIMAL(5,2)"),
        ("DECIMAL 'x'", "'x' is no DECIMAL"),
        ("a % n", "'%' is not defined for (DECIMAL(5,2), BIGINT)"),
        ("round(a, n)", "written out"),
        ("round(n * 0.5, 1)", "round(x, n) takes a DECIMAL, found DOUBLE"),
        ("a = t", "not defined for (DECIMAL(5,2), VARCHAR)"),
    ],
)
def test_what_is_refused_and_why(sql: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        expression(sql, COLUMNS)
    assert message in str(caught.value) and caught.value.line == 1


def test_a_literal_is_read_from_its_text_and_not_by_way_of_a_double() -> None:
    wide = "12345678901234567890.12345678901234567"
    for sql in (f"CAST({wide} AS DECIMAL(38,17))", f"DECIMAL '{wide}'", f"'{wide}'::DECIMAL(38,17)"):
        expr = expression(sql, {})
        assert to_json(by_python([expr], {}, [()])[0][0], expr.type) == wide
