"""Totals of lists: exact, and rounded once where they become a DOUBLE, so the order of the items does not matter.

DOUBLEs are added as whole numbers of 2^-72, as `sum` adds them (docs/exact-sums.md). What is 2^53 or more in magnitudes
together makes no total: so one integer of 127 bits, or one DECIMAL of 38 digits, is always enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from onefold.features import exact
from onefold.features.catalogue.decimal_casts import python as converted
from onefold.features.catalogue.entry import Overload, bigint
from onefold.features.types import BIGINT, DOUBLE, MAX_PRECISION, DataType, decimal, list_of

List = tuple[Any, ...]
WIDEST = 27
"""Digits of DECIMAL items that Spark can still add up without losing one."""
_LIMIT = int(exact.LIMIT) << exact.GRID_BITS


def total(item: DataType) -> Overload | None:
    """list_sum of such items."""
    if item == DOUBLE:
        return Overload((list_of(DOUBLE),), DOUBLE, _double_total, _DUCKDB_TOTAL, _SPARK_TOTAL, may_null=True)
    held = _added(item)
    if held is None:
        return None
    kind = item if item == BIGINT else decimal(MAX_PRECISION, item.scale)

    def python(xs: List) -> int | None:
        found = present(xs)
        if not found:
            return None
        return bigint(sum(found)) if item == BIGINT else sum(found)

    spark = f"try_cast({_spark_sum(held)} AS {kind})"
    return Overload((list_of(item),), kind, python, f"TRY_CAST(list_sum({{0}}) AS {kind})", spark, may_null=True)


def mean(item: DataType) -> Overload | None:
    """list_avg of such items."""
    count = "nullif(size(filter({0}, _item -> _item IS NOT NULL)), 0)"
    if item == DOUBLE:
        return Overload(
            (list_of(DOUBLE),), DOUBLE, lambda xs: _divided(_double_total(xs), xs),
            f"({_DUCKDB_TOTAL} / nullif(list_count({{0}}), 0) + 0.0::DOUBLE)", f"({_SPARK_TOTAL} / {count} + 0.0D)",
            may_null=True,
        )  # fmt: skip
    held = _added(item)
    if held is None:
        return None
    double = converted(held, DOUBLE)
    duckdb = "(CAST(CAST(list_sum({0}) AS VARCHAR) AS DOUBLE) / nullif(list_count({0}), 0) + 0.0::DOUBLE)"
    spark = f"(CAST({_spark_sum(held)} AS DOUBLE) / {count} + 0.0D)"
    return Overload(
        (list_of(item),), DOUBLE, lambda xs: _divided(double(sum(present(xs))), xs), duckdb, spark, may_null=True
    )


def present(xs: List) -> list[Any]:
    return [x for x in xs if x is not None]


def _divided(whole: float | None, xs: Sequence[Any]) -> float | None:
    count = len(present(tuple(xs)))
    return whole / count + 0.0 if whole is not None and count else None


def _added(item: DataType) -> DataType | None:
    """A DECIMAL that holds the sum of any list of such items."""
    if item == BIGINT:
        return decimal(MAX_PRECISION, 0)
    return decimal(item.precision + 10, item.scale) if item.is_decimal and item.precision <= WIDEST else None


def _spark_sum(kind: DataType) -> str:
    added = f"aggregate({{0}}, CAST(0 AS {kind}), (_a, _item) -> CAST(_a + coalesce(_item, 0) AS {kind}))"
    return f"(CASE WHEN exists({{0}}, _item -> _item IS NOT NULL) THEN {added} END)"


def _double_total(xs: List) -> float | None:
    """NULL over nothing, and where the finite magnitudes add up to 2^53 or more; NaN and infinities as IEEE adds."""
    found = present(xs)
    finite = [x for x in found if math.isfinite(x)]
    if not found or any(abs(x) >= exact.LIMIT for x in finite):
        return None
    grid = [int(x * exact.GRID) for x in finite]
    if sum(map(abs, grid)) >= _LIMIT:
        return None
    special: float = sum(x for x in found if not math.isfinite(x))
    return exact.to_double(sum(grid), grid_bits=exact.GRID_BITS) + special


_ROOM = f"CAST('{2.0**54!r}' AS DOUBLE)"
"""What rounded magnitudes add up to at most where the exact ones may be below 2^53; and their total fits."""
_UNIT = f"CAST('{2.0**-exact.GRID_BITS!r}' AS DOUBLE)"
_SCALE, _STEP, _REST = (f"CAST('{2.0**n!r}' AS DOUBLE)" for n in (exact.GRID_BITS, 10, 62))
_SPECIAL = (
    "CASE WHEN {nan} OR ({plus} AND {minus}) THEN CAST('NaN' AS DOUBLE) WHEN {plus} THEN CAST('Infinity' AS DOUBLE) "
    "WHEN {minus} THEN CAST('-Infinity' AS DOUBLE) ELSE {finite} END"
)


def _named(value: str, name: str, body: str) -> str:
    """DuckDB: the body, in which a name stands for a value."""
    return f"list_transform([{value}], lambda {name}: {body})[1]"


def _duckdb_total() -> str:
    whole = f"TRY_CAST(trunc({{}} * {_SCALE}) AS HUGEINT)"
    rough = f"list_sum(list_transform(_f, lambda _x: least(abs(_x), {_ROOM})))"
    grid = {x: f"coalesce(list_sum(list_transform(_g, lambda _x: {whole.format(x)})), 0)" for x in ("_x", "abs(_x)")}
    finite = (
        f"CASE WHEN {grid['abs(_x)']} < {_LIMIT}::HUGEINT AND _g IS NOT NULL "
        f"THEN CAST(CAST({grid['_x']} AS VARCHAR) AS DOUBLE) * {_UNIT} END"
    )
    narrow = f"CASE WHEN coalesce({rough}, 0) < {_ROOM} THEN _f END"
    kept = _named("list_filter(_xs, lambda _x: isfinite(_x))", "_f", narrow)
    nan, plus, minus = (f"list_contains(_xs, CAST('{x}' AS DOUBLE))" for x in ("NaN", "Infinity", "-Infinity"))
    found = _SPECIAL.format(nan=nan, plus=plus, minus=minus, finite="_t")
    value = _named(_named(kept, "_g", finite), "_t", f"CASE WHEN _t IS NOT NULL THEN {found} END")
    return "(" + _named("{0}", "_xs", f"CASE WHEN list_count(_xs) > 0 THEN {value} END") + ")"


def _bound(value: str, name: str, body: str) -> str:
    """Spark: the body, in which a name stands for a value."""
    return f"transform(array({value}), {name} -> {body})[0]"


def _spark_total() -> str:
    wide: Callable[[str], str] = lambda x: f"CAST({x} AS DECIMAL(38,0))"  # noqa: E731
    rest = f"try_cast((_x * {_STEP} - CAST(try_cast(_x * {_STEP} AS BIGINT) AS DOUBLE)) * {_REST} AS BIGINT)"
    whole = f"{wide(f'try_cast(_x * {_STEP} AS BIGINT)')} * CAST({1 << 62} AS DECIMAL(19,0)) + {wide(rest)}"
    rough = f"aggregate(_f, 0.0D, (_a, _x) -> _a + least(abs(_x), {_ROOM}))"
    grid = {
        form: f"aggregate(_g, {wide('0')}, (_a, _x) -> {wide(f'_a + {form.format(whole)}')})"
        for form in ("({})", "abs({})")
    }
    limit = wide(f"'{_LIMIT}'")
    finite = f"CASE WHEN {grid['abs({})']} < {limit} THEN CAST({grid['({})']} AS DOUBLE) * {_UNIT} END"
    # 2^53 * 2^10 is 2^63, which try_cast brings down to the greatest BIGINT.
    fits = f"{rough} < {_ROOM} AND NOT exists(_f, _x -> abs(_x) >= CAST('{exact.LIMIT!r}' AS DOUBLE))"
    kept = _bound("filter(_xs, _x -> abs(_x) < double('Infinity'))", "_f", f"CASE WHEN {fits} THEN _f END")
    nan, plus, minus = (f"exists(_xs, _x -> _x <=> double('{x}'))" for x in ("NaN", "Infinity", "-Infinity"))
    found = _SPECIAL.format(nan=nan, plus=plus, minus=minus, finite="_t")
    value = _bound(_bound(kept, "_g", finite), "_t", f"CASE WHEN _t IS NOT NULL THEN {found} END")
    some = "exists(_xs, _x -> _x IS NOT NULL)"
    return "(" + _bound("{0}", "_xs", f"CASE WHEN {some} THEN {value} END") + ")"


_DUCKDB_TOTAL, _SPARK_TOTAL = _duckdb_total(), _spark_total()
