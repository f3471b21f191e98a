"""Sums that do not depend on order, and variances from them, against fractions."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onefold.features import exact
from onefold.features.aggregates import AGGREGATES
from onefold.features.types import BIGINT, DOUBLE

ANY = st.floats().map(lambda x: x + 0.0)
ON_GRID = st.floats(-(2.0**53), 2.0**53, exclude_min=True, exclude_max=True).map(lambda x: x + 0.0)
COARSE = (st.just(0.0) | st.floats(2.0**-19, 2.0**53, exclude_max=True)).flatmap(
    lambda x: st.sampled_from([x, 0.0 - x])
)
BOUND, NOISE = Fraction(2) ** -103, Fraction(2) ** -95
SPREADS = ("var_pop", "var_samp", "stddev_pop", "stddev_samp")


TAKES_DOUBLE = [n for n, s in AGGREGATES.items() if s.arity < 2 and all(k is None or DOUBLE in k for k in s.args)]


def same(a: object, b: object) -> bool:
    return a == b or (a != a and b != b)


def fold(name: str, xs: list[float]) -> object:
    made = AGGREGATES[name].fold(DOUBLE)
    return made.finish(made.update(made.init, xs))


@given(st.lists(ON_GRID, min_size=1, max_size=20))
def test_a_sum_is_the_exact_one_of_values_cut_to_the_grid_rounded_once(xs: list[float]) -> None:
    cut = [Fraction(math.trunc(Fraction(x) * 2**72), 2**72) for x in xs]
    assert fold("sum", xs) == float(sum(cut, Fraction(0)))
    assert fold("avg", xs) == float(sum(cut, Fraction(0))) / len(xs)


@pytest.mark.parametrize("name", ["sum", "avg", *SPREADS])
def test_the_order_of_values_does_not_matter(name: str) -> None:
    @given(st.lists(ANY | COARSE, max_size=12), st.randoms(use_true_random=False))
    def check(xs: list[float], rng: random.Random) -> None:
        shuffled = rng.sample(xs, len(xs))
        assert same(fold(name, xs), fold(name, shuffled))

    check()


@pytest.mark.parametrize("name", TAKES_DOUBLE)
def test_parts_merge_to_the_whole(name: str) -> None:
    @given(st.lists(ANY, max_size=8), st.lists(ANY, max_size=8), st.lists(ANY, max_size=8))
    def check(a: list[float], b: list[float], c: list[float]) -> None:
        spec = AGGREGATES[name]
        made = spec.fold(DOUBLE, *([3] if spec.constant else []))
        parts = [made.update(made.init, xs) for xs in (a, b, c)]
        merged = made.merge(made.merge(parts[0], parts[1]), parts[2])
        other = made.merge(parts[0], made.merge(parts[1], parts[2]))
        stepwise = made.init
        for x in (*a, *b, *c):
            stepwise = made.update(stepwise, [x])
        whole = made.finish(made.update(made.init, [*a, *b, *c]))
        assert all(repr(made.finish(acc)) == repr(whole) for acc in (merged, other, stepwise))

    check()


@pytest.mark.parametrize("name", [n for n, spec in AGGREGATES.items() if spec.quick is not None])
def test_the_quick_way_is_the_same_for_coarse_values(name: str) -> None:
    @given(st.lists(COARSE, min_size=1, max_size=30))
    def check(xs: list[float]) -> None:
        quick = AGGREGATES[name].quick
        assert quick is not None and exact.are_coarse(xs)
        found, want = quick(xs), fold(name, xs)
        assert found == want and math.copysign(1.0, found) == math.copysign(1.0, float(str(want)))

    check()


@pytest.mark.parametrize("x", [2.0**-20, 2.0**53, -(2.0**53), math.inf, math.nan, 5e-324])
def test_what_lies_off_the_grid_is_not_coarse(x: float) -> None:
    assert not exact.are_coarse([1.0, x, None])
    assert exact.are_coarse([1.0, None, 0.0, -(2.0**-19)])


@pytest.mark.parametrize(
    ("xs", "total", "mean"),
    [
        ([], None, None),
        ([0.1] * 10, 1.0, 0.1),
        ([1e15, 0.3, -1e15], 0.3, 0.3 / 3),
        ([2.0**-73, 2.0**-73], 0.0, 0.0),
        ([-(2.0**-72), 1.0, -1.0], -(2.0**-72), -(2.0**-72) / 3),
        ([2.0**53], None, None),
        ([2.0**53, math.nan], None, None),
        ([math.nan, 1.0], math.nan, math.nan),
        ([math.inf, 1.0], math.inf, math.inf),
        ([math.inf, -math.inf], math.nan, math.nan),
        ([-math.inf, 1.0], -math.inf, -math.inf),
        ([2.0**53 - 1] * 4, 2.0**55 - 4, 2.0**53 - 1),
    ],
)
def test_sums_at_the_borders(xs: list[float], total: float | None, mean: float | None) -> None:
    assert same(fold("sum", xs), total)
    assert same(fold("avg", xs), mean)


def test_bigint_sums_are_judged_on_their_exact_total() -> None:
    made = AGGREGATES["sum"].fold(BIGINT)
    top = 2**63 - 1
    assert made.finish(made.update(made.init, [top, top, -top])) == top
    assert made.finish(made.update(made.init, [top, 1])) is None
    mean = AGGREGATES["avg"].fold(BIGINT)
    assert mean.finish(mean.update(mean.init, [top, top])) == float(2 * top) / 2


def variance(xs: list[float], *, sample: bool) -> Fraction:
    mean = sum(map(Fraction, xs)) / len(xs)
    squares = sum(((Fraction(x) - mean) ** 2 for x in xs), Fraction(0))
    return Fraction(squares / (len(xs) - (1 if sample else 0)))


@pytest.mark.parametrize(("mean", "deviation"), [(1.7e9, 1e-3), (1e4, 1.0), (0.0, 1e-6), (-3e6, 1e5)])
def test_variances_hold_their_bound_where_others_lose_their_digits(mean: float, deviation: float) -> None:
    """The bound is 3e-7 of the variance at mean 1.7e9 and deviation 1e-3 (Welford's way: 3e-5); noise is 0."""
    rng = random.Random(7)
    for n in (2, 3, 10, 100, 1000):
        for _ in range(20):
            xs = [rng.gauss(mean, deviation) for _ in range(n)]
            for name, sample in (("var_pop", False), ("var_samp", True)):
                found, want = fold(name, xs), variance(xs, sample=sample)
                assert isinstance(found, float)
                error = abs(Fraction(found) - want)
                size = Fraction(mean) ** 2 + want
                small = BOUND * size + want / 2**51 + Fraction(2) ** -70
                assert error <= small or (found == 0.0 and want <= NOISE * size), (name, n)
                assert fold(name.replace("var", "stddev"), xs) == math.sqrt(found)


@given(st.lists(ON_GRID, min_size=2, max_size=12))
def test_a_variance_is_never_negative_and_zero_for_equal_values(xs: list[float]) -> None:
    for name in SPREADS:
        found = fold(name, xs)
        assert isinstance(found, float) and found >= 0.0
        assert math.copysign(1.0, found) == 1.0
        assert fold(name, [xs[0]] * len(xs)) == 0.0


@given(st.integers(-(2**200), 2**200))
def test_an_integer_becomes_the_nearest_double(total: int) -> None:
    assert exact.to_double(total, grid_bits=72) == float(Fraction(total, 2**72))


@given(st.integers(-(2**154), 2**154 - 1))
def test_digits_say_the_number_again(value: int) -> None:
    parts = exact.digits(value, exact.SUM_DIGITS)
    assert sum(d << exact.DIGIT_BITS * k for k, d in enumerate(parts)) == value
    assert all(0 <= d < 2**exact.DIGIT_BITS for d in parts[:-1])


@given(st.floats(-1e150, 1e150), st.floats(-1e150, 1e150))
def test_sums_and_products_come_with_their_exact_errors(a: float, b: float) -> None:
    s, e = exact.two_sum(a, b)
    assert Fraction(s) + Fraction(e) == Fraction(a) + Fraction(b)
    if abs(a * b) > 1e-100:
        p, e = exact.two_product(a, b)
        assert Fraction(p) + Fraction(e) == Fraction(a) * Fraction(b)
