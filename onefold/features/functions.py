"""The scalar functions: for each overload its types, its meaning in Python, and its spelling in DuckDB.

Python meanings are strict: they are called with no NULL among their arguments, and may return None for a
value error. What is not strict (AND, OR, COALESCE, CASE, IS NULL, ...) is in `SPECIAL` and spelled out by
each compiler. No function raises, and none returns -0.0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onefold.features import calendar
from onefold.features.types import (
    BIGINT,
    BIGINT_MAX,
    BIGINT_MIN,
    BOOLEAN,
    DATE,
    DOUBLE,
    NULL,
    TIMESTAMP,
    VARCHAR,
    DataType,
)

SPECIAL = ("and", "or", "coalesce", "is_null", "least", "greatest", "is_distinct")
"""Operations that see NULLs."""


@dataclass(frozen=True, slots=True)
class Overload:
    """One typed form. `duckdb` has {0}, {1} for its arguments; `inexact` marks `<= 1 ulp`.

    may_null: it may give NULL of values; overflows: that NULL is a value error, and counted.
    """

    args: tuple[DataType, ...]
    result: DataType
    python: Callable[..., object]
    duckdb: str
    may_null: bool = False
    overflows: bool = False
    inexact: bool = False


def _bigint(value: int) -> int | None:
    return value if BIGINT_MIN <= value <= BIGINT_MAX else None


def _divide(a: float, b: float) -> float | None:
    return None if b == 0 else a / b + 0.0


def truncated_quotient(a: int, b: int) -> int | None:
    """Integer division that truncates toward zero; None by zero and where it overflows."""
    if b == 0:
        return None
    quotient = abs(a) // abs(b)
    return _bigint(quotient if (a < 0) == (b < 0) else -quotient)


def truncated_remainder(a: int, b: int) -> int | None:
    """What `truncated_quotient` leaves: it has the sign of `a`."""
    if b == 0:
        return None
    rest = abs(a) % abs(b)
    return rest if a >= 0 else -rest


def less(a: float, b: float) -> bool:
    """a < b where NaN equals itself and is greater than all."""
    return a < b or (b != b and a == a)


def equal(a: float, b: float) -> bool:
    return a == b or (a != a and b != b)


def _round_toward(rule: Callable[[float], int]) -> Callable[[float], float]:
    return lambda x: float(rule(x)) + 0.0 if math.isfinite(x) else x


def _sqrt(x: float) -> float:
    return math.sqrt(x) if x >= 0 else math.nan


def _ln(x: float) -> float | None:
    return None if x <= 0 else math.log(x)


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


_ASCII_UPPER = {c: c - 32 for c in range(ord("a"), ord("z") + 1)}
_ASCII_LOWER = {c: c + 32 for c in range(ord("A"), ord("Z") + 1)}
_LOWER, _UPPER = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_B1, _B2, _D1, _D2 = (BIGINT,), (BIGINT, BIGINT), (DOUBLE,), (DOUBLE, DOUBLE)


def _wide(op: str) -> str:
    """An operation in HUGEINT, which cannot overflow here, brought back to BIGINT or NULL."""
    return f"TRY_CAST(({{0}})::HUGEINT {op} ({{1}})::HUGEINT AS BIGINT)"


def _compare(python: Callable[..., object], ordinary: Callable[..., object], sql: str) -> tuple[Overload, ...]:
    kinds = (BIGINT, VARCHAR, TIMESTAMP, DATE, BOOLEAN)
    plain = tuple(Overload((k, k), BOOLEAN, ordinary, sql) for k in kinds)
    return (*plain, Overload(_D2, BOOLEAN, python, sql))


def _part(part: str, python: Callable[[int], int]) -> tuple[Overload, ...]:
    sql = f"CAST(extract({part} FROM {{0}}) AS BIGINT)"
    on_date = Overload((DATE,), BIGINT, lambda d: python(d * 86_400_000_000), sql)
    return (Overload((TIMESTAMP,), BIGINT, python, sql), on_date)


def _trunc(unit: str) -> tuple[Overload, ...]:
    step: Callable[[int], int] = lambda t: calendar.truncate(t, unit)  # noqa: E731
    return (Overload((TIMESTAMP,), TIMESTAMP, step, f"date_trunc('{unit}', {{0}})"),)


FUNCTIONS: dict[str, tuple[Overload, ...]] = {
    "+": (
        Overload(_B2, BIGINT, lambda a, b: _bigint(a + b), _wide("+"), may_null=True, overflows=True),
        Overload(_D2, DOUBLE, lambda a, b: a + b, "(({0}) + ({1}))"),
    ),
    "-": (
        Overload(_B2, BIGINT, lambda a, b: _bigint(a - b), _wide("-"), may_null=True, overflows=True),
        Overload(_D2, DOUBLE, lambda a, b: a - b, "(({0}) - ({1}))"),
    ),
    "*": (
        Overload(_B2, BIGINT, lambda a, b: _bigint(a * b), _wide("*"), may_null=True, overflows=True),
        Overload(_D2, DOUBLE, lambda a, b: a * b + 0.0, "(({0}) * ({1}) + 0.0::DOUBLE)"),
    ),
    "/": (Overload(_D2, DOUBLE, _divide, "(({0}) / NULLIF({1}, 0.0::DOUBLE) + 0.0::DOUBLE)", may_null=True),),
    "//": (
        Overload(
            _B2, BIGINT, truncated_quotient,
            "TRY_CAST(({0})::HUGEINT // NULLIF(({1})::HUGEINT, 0) AS BIGINT)", may_null=True,
        ),
    ),
    "%": (
        Overload(
            _B2, BIGINT, truncated_remainder,
            "CAST(({0})::HUGEINT % NULLIF(({1})::HUGEINT, 0) AS BIGINT)", may_null=True,
        ),
    ),
    "neg": (
        Overload(
            _B1, BIGINT, lambda a: _bigint(-a), "TRY_CAST(-({0})::HUGEINT AS BIGINT)", may_null=True, overflows=True,
        ),
        Overload(_D1, DOUBLE, lambda a: 0.0 - a, "(0.0::DOUBLE - ({0}))"),
    ),
    "abs": (
        Overload(
            _B1, BIGINT, lambda a: _bigint(abs(a)), "TRY_CAST(abs(({0})::HUGEINT) AS BIGINT)",
            may_null=True, overflows=True,
        ),
        Overload(_D1, DOUBLE, abs, "abs({0})"),
    ),
    "floor": (Overload(_D1, DOUBLE, _round_toward(math.floor), "(floor({0}) + 0.0::DOUBLE)"),),
    "ceil": (Overload(_D1, DOUBLE, _round_toward(math.ceil), "(ceil({0}) + 0.0::DOUBLE)"),),
    "trunc": (Overload(_D1, DOUBLE, _round_toward(math.trunc), "(trunc({0}) + 0.0::DOUBLE)"),),
    "sqrt": (Overload(_D1, DOUBLE, _sqrt, "sqrt(CASE WHEN ({0}) < 0 THEN 'nan'::DOUBLE ELSE {0} END)"),),
    "ln": (
        Overload(_D1, DOUBLE, _ln, "ln(CASE WHEN ({0}) > 0 THEN {0} END)", may_null=True, inexact=True),
    ),
    "exp": (Overload(_D1, DOUBLE, _exp, "exp({0})", inexact=True),),
    "=": _compare(equal, lambda a, b: a == b, "(({0}) = ({1}))"),
    "<>": _compare(lambda a, b: not equal(a, b), lambda a, b: a != b, "(({0}) <> ({1}))"),
    "<": _compare(less, lambda a, b: a < b, "(({0}) < ({1}))"),
    "<=": _compare(lambda a, b: not less(b, a), lambda a, b: a <= b, "(({0}) <= ({1}))"),
    ">": _compare(lambda a, b: less(b, a), lambda a, b: a > b, "(({0}) > ({1}))"),
    ">=": _compare(lambda a, b: not less(a, b), lambda a, b: a >= b, "(({0}) >= ({1}))"),
    "not": (Overload((BOOLEAN,), BOOLEAN, lambda a: not a, "(NOT ({0}))"),),
    "isnan": (Overload(_D1, BOOLEAN, lambda a: a != a, "isnan({0})"),),
    "lower": (
        Overload((VARCHAR,), VARCHAR, lambda s: s.translate(_ASCII_LOWER), f"translate({{0}}, '{_UPPER}', '{_LOWER}')"),
    ),
    "upper": (
        Overload((VARCHAR,), VARCHAR, lambda s: s.translate(_ASCII_UPPER), f"translate({{0}}, '{_LOWER}', '{_UPPER}')"),
    ),
    "length": (Overload((VARCHAR,), BIGINT, len, "length({0})"),),
    "||": (Overload((VARCHAR, VARCHAR), VARCHAR, lambda a, b: a + b, "(({0}) || ({1}))"),),
    "starts_with": (Overload((VARCHAR, VARCHAR), BOOLEAN, lambda a, b: a.startswith(b), "starts_with({0}, {1})"),),
    "epoch_us": (Overload((TIMESTAMP,), BIGINT, lambda t: t, "epoch_us({0})"),),
    "year": _part("year", calendar.year),
    "month": _part("month", calendar.month),
    "day": _part("day", calendar.day),
    "hour": _part("hour", calendar.hour),
    "minute": _part("minute", calendar.minute),
    "isodow": _part("isodow", calendar.isodow),
    "trunc_hour": _trunc("hour"),
    "trunc_day": _trunc("day"),
    "trunc_minute": _trunc("minute"),
    "trunc_month": _trunc("month"),
}  # fmt: skip


def coercible(have: DataType, want: DataType) -> bool:
    """Whether a value may stand where `want` is asked without being told to: BIGINT as DOUBLE, NULL as any."""
    return have in (want, NULL) or (have == BIGINT and want == DOUBLE)


def find_overload(op: str, types: Sequence[DataType]) -> Overload | None:
    """The overload for these argument types: an exact one first, else one that they coerce to."""
    fits = [o for o in FUNCTIONS[op] if len(o.args) == len(types)]
    exact = (o for o in fits if all(a == t for a, t in zip(o.args, types, strict=True)))
    near = (o for o in fits if all(coercible(t, a) for a, t in zip(o.args, types, strict=True)))
    return next(exact, None) or next(near, None)
