"""Sums and variances of DOUBLEs that do not depend on order.

`sum` is defined on a grid: each finite x with |x| < 2^53 is rounded toward zero to a multiple of 2^-72,
these are added exactly (here as Python integers), and the total is rounded once, half to even. NaN and
infinities are counted apart; |x| >= 2^53 makes the result NULL. See docs/exact-sums.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import mul
from typing import Any

GRID_BITS = 72
GRID = 2.0**GRID_BITS
LIMIT = 2.0**53
COARSE = 2.0**-19
TOO_LARGE, IS_NAN, PLUS_INF, MINUS_INF = 1, 2, 4, 8
DIGIT_BITS = 31
SUM_DIGITS, SQUARE_DIGITS = 5, 7
_SPLIT = 2.0**27 + 1


def to_double(total: int, *, grid_bits: int = 0) -> float:
    """An integer number of 2^-grid_bits, rounded once to the nearest DOUBLE (half to even)."""
    return total / (1 << grid_bits)


@dataclass(frozen=True, slots=True)
class Sum:
    """`total` in units of 2^-72 over `n` values; `flags` tells what was met that is not on the grid."""

    total: int
    n: int
    flags: int


EMPTY_SUM = Sum(0, 0, 0)


def flag(x: float) -> int:
    """What keeps x off the grid; 0 if nothing does."""
    if x != x:
        return IS_NAN
    if math.isinf(x):
        return PLUS_INF if x > 0 else MINUS_INF
    return TOO_LARGE if abs(x) >= LIMIT else 0


def _on_grid(xs: Sequence[float]) -> tuple[int, Sequence[float]]:
    """(flags, the values that lie on the grid)."""
    if not xs or (sum(xs) == sum(xs) and min(xs) > -LIMIT and max(xs) < LIMIT):  # a NaN makes its sum unequal
        return 0, xs
    flags, kept = 0, []
    for x in xs:
        bit = flag(x)
        flags |= bit
        if not bit:
            kept.append(x)
    return flags, kept


def grid_total(xs: Sequence[float]) -> int:
    """The exact sum on the grid; all of xs are finite and below 2^53."""
    whole = list(map(int, xs))
    if whole == xs:
        return sum(whole) << GRID_BITS
    cut: list[int] = [int(x * GRID) for x in xs]
    return sum(cut)


def add(acc: Sum, xs: Sequence[float]) -> Sum:
    flags, kept = _on_grid(xs)
    return Sum(acc.total + grid_total(kept), acc.n + len(xs), acc.flags | flags)


def merge(a: Sum, b: Sum) -> Sum:
    return Sum(a.total + b.total, a.n + b.n, a.flags | b.flags)


def _special(flags: int) -> float | None:
    """The sum where flags are set: NULL for too large, else as IEEE adds NaN and infinities."""
    if flags & TOO_LARGE:
        return None
    if flags & IS_NAN or (flags & PLUS_INF and flags & MINUS_INF):
        return math.nan
    return math.inf if flags & PLUS_INF else -math.inf


def total(acc: Sum) -> float | None:
    if not acc.n:
        return None
    return _special(acc.flags) if acc.flags else to_double(acc.total, grid_bits=GRID_BITS)


def mean(acc: Sum) -> float | None:
    """The exact total rounded once, divided by the count: one IEEE division."""
    top = total(acc)
    return None if top is None else top / acc.n + 0.0


def are_coarse(xs: Sequence[float | None]) -> bool:
    """Whether each value is NULL, zero, or of a magnitude from 2^-19 on and below 2^53.

    Such values lie on the grid whole, so the exact sum of them is the defined one, and `math.fsum` finds it.
    """
    return all(x is None or x == 0.0 or COARSE <= abs(x) < LIMIT for x in xs)


def quick_total(xs: Sequence[float]) -> float:
    """`total` of coarse values."""
    return math.fsum(xs)


def quick_mean(xs: Sequence[float]) -> float:
    """`mean` of coarse values."""
    return math.fsum(xs) / len(xs) + 0.0


@dataclass(frozen=True, slots=True)
class Moments:
    """A Sum, and the exact sum of squares in units of 2^-72 (each square as its two Dekker parts)."""

    sum: Sum
    squares: int


EMPTY_MOMENTS = Moments(EMPTY_SUM, 0)


def two_product(a: Any, b: Any) -> tuple[Any, Any]:
    """a*b as a rounded product and its error, by Dekker and Veltkamp; exact while nothing overflows."""
    p = a * b
    a1 = a * _SPLIT
    a1 = a1 - (a1 - a)
    a2 = a - a1
    b1 = b * _SPLIT
    b1 = b1 - (b1 - b)
    b2 = b - b1
    return p, ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2


def two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """a+b as a rounded sum and its error, by Knuth."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def fast_two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """As two_sum, for |a| >= |b|."""
    s = a + b
    return s, b - (s - a)


def _square(x: float) -> int:
    p, e = two_product(x, x)
    return int(p * GRID) + int(e * GRID)


def _grid_squares(xs: Sequence[float]) -> int:
    whole = list(map(int, xs))
    if whole == xs and -(2**26) <= min(whole, default=0) <= max(whole, default=0) <= 2**26:
        squares: int = sum(map(mul, whole, whole))
        return squares << GRID_BITS
    return sum([_square(x) for x in xs])


def add_squares(acc: Moments, xs: Sequence[float]) -> Moments:
    flags, kept = _on_grid(xs)
    part = Sum(acc.sum.total + grid_total(kept), acc.sum.n + len(xs), acc.sum.flags | flags)
    return Moments(part, acc.squares + _grid_squares(kept))


def merge_moments(a: Moments, b: Moments) -> Moments:
    return Moments(merge(a.sum, b.sum), a.squares + b.squares)


def digits(value: int, count: int) -> list[int]:
    """Floor digits of an integer in base 2^31, lowest first; the last one carries the sign.

    >>> digits(-1, 3)
    [2147483647, 2147483647, -1]
    """
    mask = (1 << DIGIT_BITS) - 1
    low = [(value >> DIGIT_BITS * k) & mask for k in range(count - 1)]
    return [*low, value >> DIGIT_BITS * (count - 1)]


def double_double(parts: Sequence[Any]) -> tuple[Any, Any]:
    """Digits (as DOUBLEs, lowest first) on the grid, added from the top by TwoSum into (high, low)."""
    scaled = [d * 2.0 ** (DIGIT_BITS * k - GRID_BITS) for k, d in enumerate(parts)]
    high, low = scaled[-1], None
    for value in reversed(scaled[:-1]):
        high, error = two_sum(high, value)
        low = error if low is None else low + error
    return fast_two_sum(high, low)


def variance(
    n: Any,
    sum_digits: Sequence[Any],
    square_digits: Sequence[Any],
    *,
    sample: bool,
    where: Callable[[Any, Any, Any], Any],
) -> Any:
    """The variance from n, S and Q as n*Q - S^2 in double-double arithmetic, no step fused.

    Written once for every engine: the arguments are DOUBLEs, or objects that build SQL under + - * / <=.
    `where(condition, a, b)` chooses. n is at least 2.
    """
    s_high, s_low = double_double(sum_digits)
    q_high, q_low = double_double(square_digits)
    nq, nq_error = two_product(n, q_high)
    a_high, a_low = fast_two_sum(nq, nq_error + n * q_low)
    ss, ss_error = two_product(s_high, s_high)
    b_high, b_low = fast_two_sum(ss, ss_error + s_high * s_low * 2.0)
    d_high, d_error = two_sum(a_high, b_high * -1.0)
    m_high, m_low = fast_two_sum(d_high, d_error + (a_low - b_low))
    m = m_high + m_low
    pairs = n * (n - 1.0)
    ratio = m / (pairs if sample else n * n)
    above_noise = where(m <= a_high * 2.0**-96, 0.0, ratio)
    return where(m / pairs <= 2.0**-70, 0.0, above_noise)


def _pick(condition: bool, a: float, b: float) -> float:
    return a if condition else b


def _variance(acc: Moments, *, sample: bool) -> float | None:
    n = acc.sum.n
    if n < (2 if sample else 1) or acc.sum.flags & TOO_LARGE:
        return None
    if acc.sum.flags:
        return math.nan
    if n == 1:
        return 0.0
    s = [float(d) for d in digits(acc.sum.total, SUM_DIGITS)]
    q = [float(d) for d in digits(acc.squares, SQUARE_DIGITS)]
    return float(variance(float(n), s, q, sample=sample, where=_pick))


def var_samp(acc: Moments) -> float | None:
    return _variance(acc, sample=True)


def var_pop(acc: Moments) -> float | None:
    return _variance(acc, sample=False)


def _root(value: float | None) -> float | None:
    return value if value is None else math.sqrt(value)


def stddev_samp(acc: Moments) -> float | None:
    return _root(var_samp(acc))


def stddev_pop(acc: Moments) -> float | None:
    return _root(var_pop(acc))
