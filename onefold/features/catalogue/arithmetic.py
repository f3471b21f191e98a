"""Arithmetic: what overflows is NULL, division is in DOUBLE, and integer division truncates toward zero."""

from __future__ import annotations

import math
from collections.abc import Callable

from onefold.features.catalogue import days
from onefold.features.catalogue.entry import B1, B2, D1, D2, Function, Overload, bigint
from onefold.features.types import BIGINT, BIGINT_MIN, DOUBLE


def truncated_quotient(a: int, b: int) -> int | None:
    """Integer division that truncates toward zero; None by zero and where it overflows."""
    if b == 0:
        return None
    quotient = abs(a) // abs(b)
    return bigint(quotient if (a < 0) == (b < 0) else -quotient)


def truncated_remainder(a: int, b: int) -> int | None:
    """What `truncated_quotient` leaves: it has the sign of `a`."""
    if b == 0:
        return None
    rest = abs(a) % abs(b)
    return rest if a >= 0 else -rest


def _divide(a: float, b: float) -> float | None:
    return None if b == 0 else a / b + 0.0


def _round_toward(rule: Callable[[float], int]) -> Callable[[float], float]:
    return lambda x: float(rule(x)) + 0.0 if math.isfinite(x) else x


def _round(x: float) -> float:
    return math.copysign(math.floor(abs(x)) + (abs(x) % 1 >= 0.5), x) + 0.0 if math.isfinite(x) else x


def _sign(x: float) -> float:
    return x if x != x else float((x > 0) - (x < 0))


def _exact(python: Callable[[int, int], int], sign: str, spark: str) -> Overload:
    """An operation in HUGEINT, which cannot overflow there, brought back to BIGINT or NULL."""
    duckdb = f"TRY_CAST(({{0}})::HUGEINT {sign} ({{1}})::HUGEINT AS BIGINT)"
    return Overload(B2, BIGINT, lambda a, b: bigint(python(a, b)), duckdb, spark, may_null=True, overflows=True)


def _spark_integral(cast: str) -> str:
    # From 2^52 on a DOUBLE has no fraction; Spark rounds by way of BIGINT.
    return f"(CASE WHEN abs({{0}}) < 4503599627370496D THEN CAST({cast} AS DOUBLE) ELSE {{0}} END)"


OPERATORS = (
    Function(
        "+", "x + y", "Sum; the DATE y days after x. NULL where it overflows.",
        (
            _exact(lambda a, b: a + b, "+", "try_add({0}, {1})"),
            Overload(D2, DOUBLE, lambda a, b: a + b, "(({0}) + ({1}))"),
            days.AFTER,
        ),
        (("DATE '2013-12-31' + 1", "2014-01-01"), ("2 + 3", 5), ("2 + 0.5", 2.5), ("9223372036854775807 + 1", None)),
    ),
    Function(
        "-", "x - y", "Difference; the DATE y days before x; days from y to x. NULL where it overflows.",
        (
            _exact(lambda a, b: a - b, "-", "try_subtract({0}, {1})"),
            Overload(D2, DOUBLE, lambda a, b: a - b, "(({0}) - ({1}))"),
            days.BEFORE,
            days.BETWEEN,
        ),
        (("2 - 3", -1), ("DATE '2014-01-01' - DATE '2013-12-31'", 1)),
    ),
    Function(
        "*", "x * y", "Product. A BIGINT that overflows is NULL.",
        (
            _exact(lambda a, b: a * b, "*", "try_multiply({0}, {1})"),
            Overload(
                D2, DOUBLE, lambda a, b: a * b + 0.0, "(({0}) * ({1}) + 0.0::DOUBLE)", "(({0}) * ({1}) + 0.0D)"
            ),
        ),
        (("2 * 3", 6), ("-1 * 0.0", 0.0)),
    ),
    Function(
        "/", "x / y", "Quotient in DOUBLE. By zero NULL.",
        (
            Overload(
                D2, DOUBLE, _divide, "(({0}) / NULLIF({1}, 0.0::DOUBLE) + 0.0::DOUBLE)",
                "(({0}) / nullif({1}, 0.0D) + 0.0D)", may_null=True,
            ),
        ),
        (("7 / 2", 3.5), ("1 / 0", None)),
    ),
    Function(
        "//", "x // y", "Integer quotient, truncated toward zero. By zero NULL.",
        (
            Overload(
                B2, BIGINT, truncated_quotient,
                "TRY_CAST(({0})::HUGEINT // NULLIF(({1})::HUGEINT, 0) AS BIGINT)",
                "(CASE WHEN ({1}) = -1L THEN try_subtract(0L, {0}) ELSE ({0}) div nullif({1}, 0L) END)", may_null=True,
            ),
        ),
        (("-7 // 2", -3), ("1 // 0", None)), aliases=("div",),
    ),
    Function(
        "%", "x % y", "What `//` leaves; it has the sign of x. By zero NULL.",
        (
            Overload(
                B2, BIGINT, truncated_remainder, "CAST(({0})::HUGEINT % NULLIF(({1})::HUGEINT, 0) AS BIGINT)",
                "(({0}) % nullif({1}, 0L))", may_null=True,
            ),
        ),
        (("-7 % 2", -1), ("7 % 0", None)), aliases=("mod",),
    ),
    Function(
        "neg", "-x", "The number with the other sign. Of the least BIGINT NULL.",
        (
            Overload(
                B1, BIGINT, lambda a: bigint(-a), "TRY_CAST(-({0})::HUGEINT AS BIGINT)", "try_subtract(0L, {0})",
                may_null=True, overflows=True,
            ),
            Overload(D1, DOUBLE, lambda a: 0.0 - a, "(0.0::DOUBLE - ({0}))", "(0.0D - ({0}))"),
        ),
        (("-(2 + 3)", -5),),
    ),
)  # fmt: skip
ROUNDING = (
    Function(
        "abs", "abs(x)", "Magnitude. Of the least BIGINT NULL.",
        (
            Overload(
                B1, BIGINT, lambda a: bigint(abs(a)), "TRY_CAST(abs(({0})::HUGEINT) AS BIGINT)",
                f"abs(nullif({{0}}, {BIGINT_MIN}L))", may_null=True, overflows=True,
            ),
            Overload(D1, DOUBLE, abs, "abs({0})"),
        ),
        (("abs(-3)", 3), ("abs(-2.5)", 2.5)),
    ),
    Function(
        "floor", "floor(x)", "The greatest whole number that is not above x.",
        (
            Overload(
                D1, DOUBLE, _round_toward(math.floor), "(floor({0}) + 0.0::DOUBLE)", _spark_integral("floor({0})")
            ),
        ),
        (("floor(-2.5)", -3.0),),
    ),
    Function(
        "ceil", "ceil(x)", "The least whole number that is not below x.",
        (
            Overload(D1, DOUBLE, _round_toward(math.ceil), "(ceil({0}) + 0.0::DOUBLE)", _spark_integral("ceil({0})")),
        ),
        (("ceil(-2.5)", -2.0),),
        aliases=("ceiling",),
    ),
    Function(
        "round", "round(x)", "The nearest whole number, halves away from 0.",
        (Overload(D1, DOUBLE, _round, "(round({0}) + 0.0::DOUBLE)", "(round({0}) + 0.0D)"),),
        (("round(2.5)", 3.0), ("round(-0.5)", -1.0)),
    ),
    Function(
        "trunc", "trunc(x)", "x without its fraction.",
        (
            Overload(
                D1, DOUBLE, _round_toward(math.trunc), "(trunc({0}) + 0.0::DOUBLE)",
                _spark_integral("try_cast({0} AS BIGINT)"),
            ),
        ),
        (("trunc(-2.5)", -2.0),),
    ),
)  # fmt: skip
NUMBERS = (
    Function(
        "sign", "sign(x)", "-1, 0 or 1; of NaN NaN.",
        (
            Overload(
                B1, BIGINT, lambda a: (a > 0) - (a < 0), "CAST(sign({0}) AS BIGINT)", "bigint(sign({0}))",
            ),
            Overload(
                D1, DOUBLE, _sign, "(CASE WHEN isnan({0}) THEN {0} ELSE CAST(sign({0}) AS DOUBLE) END)", "sign({0})"
            ),
        ),
        (("sign(-3)", -1), ("sign(2.5)", 1.0)),
    ),
    Function(
        "pmod", "pmod(x, y)", "Remainder from 0 to y - 1, also of a negative x. NULL where y is not above 0.",
        (
            Overload(
                B2, BIGINT, lambda a, b: a % b if b > 0 else None,
                "(CASE WHEN ({1}) > 0 THEN CAST(((({0})::HUGEINT % ({1})) + ({1})) % ({1}) AS BIGINT) END)",
                "(CASE WHEN ({1}) > 0L THEN pmod({0}, {1}) END)", may_null=True,
            ),
        ),
        (("pmod(-7, 3)", 2), ("pmod(7, 0)", None)),
    ),
)  # fmt: skip
FUNCTIONS = (*OPERATORS, *ROUNDING, *NUMBERS)
