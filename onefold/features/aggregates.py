"""The aggregates as folds: `init`, `update`, `merge`, `finish`.

A fold sees the values of the events that its window and filter let through, in order of (ts, position),
NULLs left out unless it says `takes_nulls`. `update` takes many at once. `merge(a, b)` joins two parts, `a`
of the earlier events. Whether parts may be subtracted is `invertible`.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from onefold.features import exact
from onefold.features.functions import less
from onefold.features.types import (
    BIGINT,
    BIGINT_MAX,
    BIGINT_MIN,
    BOOLEAN,
    DOUBLE,
    MAX_PRECISION,
    DataType,
    decimal,
    list_of,
)
from onefold.features.values import decimal_double

Acc = Any


@dataclass(frozen=True, slots=True)
class Fold:
    """How one aggregate of one argument type is computed."""

    init: Acc
    update: Callable[[Acc, Sequence[Any]], Acc]
    merge: Callable[[Acc, Acc], Acc]
    finish: Callable[[Acc], Any]


@dataclass(frozen=True, slots=True)
class AggregateSpec:
    """An aggregate: what it takes and gives.

    args: per argument the types that it takes, None for any. gives: its type; None means that of the first argument.
    takes_decimals: a DECIMAL too, as it is. many: it gives a LIST of that type.
    constant: the constant that stands behind its arguments, "count" or "share".
    fold: from the type of its first argument and the constant; with two arguments it sees pairs.
    enough: over how many values a NULL can only be a value error: a total that is too large.
    quick: the same value, sooner, of DOUBLEs that are all coarse (see `exact.are_coarse`), at least one.
    """

    name: str
    fold: Callable[..., Fold]
    args: tuple[tuple[DataType, ...] | None, ...] = (None,)
    gives: DataType | None = None
    nullable: bool = True
    takes_nulls: bool = False
    quick: Callable[[Sequence[float]], Any] | None = None
    enough: int | None = None
    invertible: bool = False
    ordered: bool = False
    many: bool = False
    takes_decimals: bool = False
    takes_lists: bool = False
    constant: str | None = None

    @property
    def usage(self) -> str:
        """How SQL calls it."""
        if self.name.startswith("count_"):
            return "count(*)" if self.name == "count_star" else "count(DISTINCT x)"
        constant = {"count": "n", "share": "q", None: ""}[self.constant]
        return f"{self.name}({', '.join([*'xy'[: self.arity], *constant])})"

    @property
    def arity(self) -> int:
        return len(self.args)

    def result(self, first: DataType) -> DataType:
        """Its type, over a first argument of that type."""
        kind = self.gives or first
        if self.name == "sum" and kind.is_decimal:
            kind = decimal(MAX_PRECISION, kind.scale)
        return list_of(kind) if self.many else kind


def _count(_: DataType | None) -> Fold:
    return Fold(0, lambda acc, xs: acc + len(xs), lambda a, b: a + b, lambda acc: acc)


def _int_sum(acc: tuple[int, int], xs: Sequence[int]) -> tuple[int, int]:
    return acc[0] + sum(xs), acc[1] + len(xs)


def _merge_int_sums(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    return a[0] + b[0], a[1] + b[1]


def _finish_int_sum(acc: tuple[int, int]) -> int | None:
    total, n = acc
    return total if n and BIGINT_MIN <= total <= BIGINT_MAX else None


def _finish_decimal_sum(acc: tuple[int, int]) -> int | None:
    total, n = acc
    return total if n and abs(total) < 10**MAX_PRECISION else None


def _sum(kind: DataType | None) -> Fold:
    if kind is not None and kind.is_decimal:
        return Fold((0, 0), _int_sum, _merge_int_sums, _finish_decimal_sum)
    if kind == BIGINT:
        return Fold((0, 0), _int_sum, _merge_int_sums, _finish_int_sum)
    return Fold(exact.EMPTY_SUM, exact.add, exact.merge, exact.total)


def _avg(kind: DataType | None) -> Fold:
    if kind is not None and kind.is_decimal:
        scale = kind.scale
        return Fold((0, 0), _int_sum, _merge_int_sums, lambda a: decimal_double(a[0], scale) / a[1] if a[1] else None)
    if kind == BIGINT:
        return Fold((0, 0), _int_sum, _merge_int_sums, lambda a: exact.to_double(a[0]) / a[1] if a[1] else None)
    return Fold(exact.EMPTY_SUM, exact.add, exact.merge, exact.mean)


def _moments(finish: Callable[[exact.Moments], float | None]) -> Callable[[DataType | None], Fold]:
    return lambda _: Fold(exact.EMPTY_MOMENTS, exact.add_squares, exact.merge_moments, finish)


def _nan_last(x: Any) -> tuple[bool, Any]:
    return (True, 0.0) if x != x else (False, x)


def _extreme(pick: Callable[..., Any]) -> Callable[[DataType | None], Fold]:
    def of(kind: DataType | None) -> Fold:
        key = _nan_last if kind == DOUBLE else None

        def update(acc: Any, xs: Sequence[Any]) -> Any:
            if not xs:
                return acc
            best = pick(xs, key=key)
            return best if acc is None else pick((acc, best), key=key)

        return Fold(None, update, lambda a, b: b if a is None else a if b is None else pick((a, b), key=key), _same)

    return of


def _same(acc: Any) -> Any:
    return acc


def _quantifier(all_of: Callable[[Sequence[bool]], bool]) -> Callable[[DataType | None], Fold]:
    def update(acc: bool | None, xs: Sequence[bool]) -> bool | None:
        if not xs:
            return acc
        return all_of(xs) if acc is None else all_of((acc, *xs))

    def merge(a: bool | None, b: bool | None) -> bool | None:
        return b if a is None else a if b is None else all_of((a, b))

    return lambda _: Fold(None, update, merge, _same)


def _end(*, last: bool) -> Callable[[DataType | None], Fold]:
    """first_value and last_value; the accumulator is a tuple of none or one value, which may be NULL."""

    def update(acc: tuple[Any, ...], xs: Sequence[Any]) -> tuple[Any, ...]:
        if last:
            return (xs[-1],) if xs else acc
        return acc or ((xs[0],) if xs else ())

    def merge(a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
        return (b or a) if last else (a or b)

    return lambda _: Fold((), update, merge, lambda acc: acc[0] if acc else None)


def _distinct(_: DataType | None) -> Fold:
    """The values met; every NaN is one."""

    def update(acc: frozenset[Any], xs: Sequence[Any]) -> frozenset[Any]:
        return acc.union(math.nan if x != x else x for x in xs)

    return Fold(frozenset(), update, lambda a, b: a | b, len)


def _extreme_by(better: Callable[[Any, Any], bool]) -> Callable[[DataType | None], Fold]:
    """min_by and max_by: the x of the earliest event whose y none is better than; the accumulator is (x, y) or ()."""

    def merge(a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
        if not a or not b:
            return a or b
        return b if better(b[1], a[1]) else a

    def update(acc: tuple[Any, ...], pairs: Sequence[tuple[Any, Any]]) -> tuple[Any, ...]:
        return reduce(merge, (pair for pair in pairs if pair[1] is not None), acc)

    return lambda _: Fold((), update, merge, lambda acc: acc[0] if acc else None)


def _listed(finish: Callable[[tuple[Any, ...]], Any]) -> Fold:
    """All values in order, and what is made of them."""
    return Fold((), lambda acc, xs: (*acc, *xs), lambda a, b: a + b, finish)


def _last_n(_: DataType | None, n: int) -> Fold:
    return Fold((), lambda acc, xs: (*acc, *xs)[-n:], lambda a, b: (a + b)[-n:], _same)


def _last_distinct(_: DataType | None, n: int) -> Fold:
    """The newest n distinct values, each at its newest place; the accumulator is a list of these."""

    def newest(xs: Sequence[Any]) -> tuple[Any, ...]:
        found: dict[Any, Any] = {}
        for x in reversed(xs):
            found.setdefault("nan" if x != x else x, x)
            if len(found) == n:
                break
        return tuple(reversed(found.values()))

    return Fold((), lambda acc, xs: newest((*acc, *xs)), lambda a, b: newest(a + b), _same)


SKETCH = 2048
"""How many of the least hashes a sketch of distinct values keeps."""


def _least(acc: frozenset[int], xs: Iterable[int]) -> frozenset[int]:
    held = acc.union(xs)
    return held if len(held) <= SKETCH else frozenset(heapq.nsmallest(SKETCH, held))


def _distinct_sketch(finish: Callable[[tuple[int, ...]], Any]) -> Callable[[DataType | None], Fold]:
    return lambda _: Fold(frozenset(), _least, _least, lambda acc: finish(tuple(sorted(acc))))


def estimate(sketch: Sequence[int]) -> int:
    """How many distinct values a sketch of least hashes stands for: itself while it is not full.

    Else (k - 1) * 2^64 over the place of the greatest of its k hashes among the 2^64, rounded half up, in integers.
    """
    if len(sketch) < SKETCH:
        return len(sketch)
    place = sketch[-1] - BIGINT_MIN + 1
    return (2 * (SKETCH - 1) * 2**64 + place) // (2 * place)


def _quantile(kind: DataType | None, share: int) -> Fold:
    """The value at rank ceil(share * n), at least 1; `share` in millionths."""
    key = _nan_last if kind == DOUBLE else None

    def finish(xs: tuple[Any, ...]) -> Any:
        return sorted(xs, key=key)[max(-(-share * len(xs) // MILLION), 1) - 1] if xs else None

    return _listed(finish)


def _quantile_sketch(_: DataType | None) -> Fold:
    """Buckets with how many values fell in each, by turns, in order of the buckets."""
    init: Counter[int] = Counter()
    return Fold(init, lambda acc, xs: acc + Counter(xs), lambda a, b: a + b,
                lambda acc: tuple(n for pair in sorted(acc.items()) for n in pair))  # fmt: skip


MILLION = 1_000_000
_NUMBER = ((BIGINT, DOUBLE),)
_BIGINT, _DOUBLE, _BOOLEAN = ((BIGINT,),), ((DOUBLE,),), ((BOOLEAN,),)

AGGREGATES: dict[str, AggregateSpec] = {
    spec.name: spec
    for spec in (
        AggregateSpec("count_star", _count, (), BIGINT, nullable=False, takes_nulls=True, invertible=True),
        AggregateSpec("count", _count, (None,), BIGINT, nullable=False, invertible=True, takes_lists=True),
        AggregateSpec("sum", _sum, _NUMBER, invertible=True, quick=exact.quick_total, enough=1, takes_decimals=True),
        AggregateSpec(
            "avg", _avg, _NUMBER, DOUBLE, invertible=True, quick=exact.quick_mean, enough=1, takes_decimals=True
        ),
        AggregateSpec("var_pop", _moments(exact.var_pop), _DOUBLE, DOUBLE, invertible=True, enough=1),
        AggregateSpec("var_samp", _moments(exact.var_samp), _DOUBLE, DOUBLE, invertible=True, enough=2),
        AggregateSpec("stddev_pop", _moments(exact.stddev_pop), _DOUBLE, DOUBLE, invertible=True, enough=1),
        AggregateSpec("stddev_samp", _moments(exact.stddev_samp), _DOUBLE, DOUBLE, invertible=True, enough=2),
        AggregateSpec("bool_and", _quantifier(all), _BOOLEAN, BOOLEAN, invertible=True),
        AggregateSpec("bool_or", _quantifier(any), _BOOLEAN, BOOLEAN, invertible=True),
        AggregateSpec("min", _extreme(min), quick=min),
        AggregateSpec("max", _extreme(max), quick=max),
        AggregateSpec("count_distinct", _distinct, (None,), BIGINT, nullable=False),
        AggregateSpec("min_by", _extreme_by(less), (None, None), takes_nulls=True, ordered=True),
        AggregateSpec("max_by", _extreme_by(lambda a, b: less(b, a)), (None, None), takes_nulls=True, ordered=True),
        AggregateSpec("first_value", _end(last=False), takes_nulls=True, ordered=True, takes_lists=True),
        AggregateSpec("last_value", _end(last=True), takes_nulls=True, ordered=True, takes_lists=True),
        AggregateSpec(
            "array_agg", lambda _: _listed(_same), (None,), nullable=False, takes_nulls=True, ordered=True, many=True
        ),
        AggregateSpec(
            "last_n", _last_n, (None,), nullable=False, takes_nulls=True, ordered=True, many=True, constant="count"
        ),
        AggregateSpec(
            "last_distinct", _last_distinct, (None,), nullable=False, ordered=True, many=True, constant="count"
        ),
        AggregateSpec("quantile_disc", _quantile, (None,), constant="share"),
        AggregateSpec("approx_count_distinct", _distinct_sketch(estimate), _BIGINT, BIGINT, nullable=False),
        AggregateSpec("distinct_sketch", _distinct_sketch(_same), _BIGINT, BIGINT, nullable=False, many=True),
        AggregateSpec("quantile_sketch", _quantile_sketch, _BIGINT, BIGINT, nullable=False, many=True),
    )
}

ALIASES = {
    "stddev": "stddev_samp", "variance": "var_samp", "variance_pop": "var_pop", "first": "first_value",
    "last": "last_value", "logical_and": "bool_and", "logical_or": "bool_or", "arg_min": "min_by", "arg_max": "max_by",
    "argmin": "min_by", "argmax": "max_by", "list": "array_agg", "percentile_disc": "quantile_disc",
    "approx_distinct": "approx_count_distinct",
}  # fmt: skip
