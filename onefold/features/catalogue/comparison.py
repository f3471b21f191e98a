"""Comparisons and logic: NaN equals itself and is greater than all, text goes by code point."""

from __future__ import annotations

import math
from collections.abc import Callable

from onefold.features.catalogue.entry import D1, D2, SCALARS, Function, Overload
from onefold.features.types import BOOLEAN, DOUBLE


def less(a: float, b: float) -> bool:
    """a < b where NaN equals itself and is greater than all."""
    return a < b or (b != b and a == a)


def equal(a: float, b: float) -> bool:
    return a == b or (a != a and b != b)


def _compare(
    name: str,
    meaning: str,
    ordinary: Callable[..., object],
    double: Callable[..., object],
    *examples: tuple[str, object],
) -> Function:
    sql = f"(({{0}}) {name} ({{1}}))"
    plain = tuple(Overload((k, k), BOOLEAN, ordinary, sql) for k in SCALARS if k != DOUBLE)
    return Function(
        name, f"x {name} y", meaning, (*plain, Overload(D2, BOOLEAN, double, sql)), examples,
        takes="two of one type → BOOLEAN",
    )  # fmt: skip


COMPARISONS = (
    _compare("=", "Equal; NaN equals NaN.", lambda a, b: a == b, equal, ("1 = 1.0", True), ("'a' = 'A'", False)),
    _compare("<>", "Not equal.", lambda a, b: a != b, lambda a, b: not equal(a, b), ("1 <> 2", True)),
    _compare("<", "Less: text by code point, NaN above all.", lambda a, b: a < b, less, ("'Z' < 'a'", True)),
    _compare("<=", "Less or equal.", lambda a, b: a <= b, lambda a, b: not less(b, a), ("2 <= 2", True)),
    _compare(">", "Greater.", lambda a, b: a > b, lambda a, b: less(b, a), ("TRUE > FALSE", True)),
    _compare(">=", "Greater or equal.", lambda a, b: a >= b, lambda a, b: not less(a, b), ("2 >= 3", False)),
    Function(
        "is_distinct", "x IS DISTINCT FROM y", "Not equal, where NULL equals NULL and nothing else.", (),
        (("1 IS DISTINCT FROM NULL", True), ("NULL IS DISTINCT FROM CAST(NULL AS BIGINT)", False)),
        nulls="never NULL", takes="two of one type → BOOLEAN",
    ),
    Function(
        "is_null", "x IS NULL", "Whether there is no value.", (), (("nullif(1, 1) IS NULL", True),),
        nulls="never NULL", takes="any type → BOOLEAN",
    ),
    Function(
        "isnan", "isnan(x)", "Whether x is NaN.",
        (Overload(D1, BOOLEAN, lambda a: a != a, "isnan({0})", "(({0}) = double('NaN'))"),),
        (("isnan(sqrt(-1))", True),), aliases=("is_nan",),
    ),
    Function(
        "isinf", "isinf(x)", "Whether x is infinite.",
        (Overload(D1, BOOLEAN, math.isinf, "isinf({0})", "(abs({0}) = double('inf'))"),),
        (("isinf(1e300 * 1e300)", True),), aliases=("is_inf",),
    ),
    Function(
        "isfinite", "isfinite(x)", "Whether x is neither NaN nor infinite.",
        (Overload(D1, BOOLEAN, math.isfinite, "isfinite({0})", "(abs({0}) < double('inf'))"),),
        (("isfinite(1.5)", True),), aliases=("is_finite",),
    ),
)  # fmt: skip
LOGIC = (
    Function(
        "and", "x AND y", "Both are true.", (), (("TRUE AND NULL", None), ("FALSE AND NULL", False)),
        nulls="FALSE where one is false, else NULL", takes="(BOOLEAN, BOOLEAN) → BOOLEAN",
    ),
    Function(
        "or", "x OR y", "One of them is true.", (), (("TRUE OR NULL", True), ("FALSE OR NULL", None)),
        nulls="TRUE where one is true, else NULL", takes="(BOOLEAN, BOOLEAN) → BOOLEAN",
    ),
    Function(
        "not", "NOT x", "The opposite.", (Overload((BOOLEAN,), BOOLEAN, lambda a: not a, "(NOT ({0}))"),),
        (("NOT TRUE", False), ("NOT NULL", None)),
    ),
)  # fmt: skip
FUNCTIONS = (*COMPARISONS, *LOGIC)
FORMS = (
    Function(
        "between", "x BETWEEN y AND z", "y <= x and x <= z; also NOT BETWEEN.", (), (("2 BETWEEN 1 AND 2", True),),
        nulls="as `x >= y AND x <= z`", takes="three of one type → BOOLEAN",
    ),
    Function(
        "in", "x IN (y, z)", "Equal to one of the list; also NOT IN.", (),
        (("2 IN (1, 2)", True), ("3 IN (1, NULL)", None)),
        nulls="as `x = y OR x = z`", takes="all of one type → BOOLEAN",
    ),
)  # fmt: skip
