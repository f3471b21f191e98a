"""Buckets of DOUBLEs for quantiles: 8 significant bits, so a value comes back at most 1/128 nearer to 0."""

from __future__ import annotations

import math

from onefold.features.catalogue.binary64 import DUCKDB, LEAST, SPARK, Steps, double
from onefold.features.catalogue.entry import B1, D1, Function, Overload
from onefold.features.types import BIGINT, DOUBLE

_OCTAVE = 128
"""Buckets from one power of two to the next."""
INFINITY = (1024 - LEAST) * _OCTAVE + 1
"""The bucket of infinity; that of NaN is the next one."""


def quantile_bucket(x: float) -> int:
    """Sign, exponent and 7 bits of mantissa as one number, in the order of x.

    >>> [quantile_bucket(x) for x in (0.0, 1.0, -1.0, 2.0)]
    [0, 122881, -122881, 123009]
    """
    if x != x:
        return INFINITY + 1
    if math.isinf(x):
        return INFINITY if x > 0 else -INFINITY
    if abs(x) < 2.0**LEAST:
        return 0
    half, exponent = math.frexp(abs(x))
    bucket = (exponent - 1 - LEAST) * _OCTAVE + math.floor(half * 256) - 127
    return bucket if x > 0 else -bucket


def quantile_value(bucket: int) -> float | None:
    """The value of a bucket that is nearest to 0; None where there is no such bucket.

    >>> [quantile_value(quantile_bucket(x)) for x in (0.0, 100.0, -3.14159)]
    [0.0, 100.0, -3.140625]
    """
    if bucket == INFINITY + 1:
        return math.nan
    if abs(bucket) > INFINITY:
        return None
    if bucket == 0:
        return 0.0
    octave, rest = divmod(abs(bucket) - 1, _OCTAVE)
    value = math.inf if abs(bucket) == INFINITY else math.ldexp(_OCTAVE + rest, octave + LEAST - 7)
    return value if bucket > 0 else -value


def _bucket(steps: Steps) -> str:
    x = "abs({0})"
    inside = f"(({steps.exponent(x)} + {-LEAST}) * {_OCTAVE} + {steps.leading(x)} - 127)"
    return (
        f"(CASE WHEN {x} < {double(2.0**LEAST)} THEN CAST(0 AS BIGINT)"
        f" WHEN ({{0}}) = {double(math.nan)} THEN {INFINITY + 1}"
        f" WHEN {x} = {double(math.inf)} THEN CASE WHEN ({{0}}) > 0 THEN {INFINITY} ELSE -{INFINITY} END"
        f" WHEN ({{0}}) IS NOT NULL THEN CASE WHEN ({{0}}) > 0 THEN 1 ELSE -1 END * {inside} END)"
    )


def _value(steps: Steps) -> str:
    place = "(abs({0}) - 1)"
    whole, exponent = f"({_OCTAVE} + {place} % {_OCTAVE})", f"({place} {steps.divide} {_OCTAVE} + {LEAST - 7})"
    sign = f"CASE WHEN ({{0}}) < 0 THEN {double(-1)} ELSE {double(1)} END"
    return (
        f"(CASE {{0}} WHEN 0 THEN {double(0)} WHEN {INFINITY + 1} THEN {double(math.nan)}"
        f" WHEN {INFINITY} THEN {double(math.inf)} WHEN -{INFINITY} THEN {double(-math.inf)} ELSE CASE"
        f" WHEN ({{0}}) BETWEEN -{INFINITY} AND {INFINITY} THEN {sign} * {steps.times_power(whole, exponent)} END END)"
    )


FUNCTIONS = (
    Function(
        "quantile_bucket", "quantile_bucket(x)",
        "A whole number in the order of x: sign, exponent and 7 bits; magnitudes below 2^-960 fall into 0.",
        (Overload(D1, BIGINT, quantile_bucket, _bucket(DUCKDB), _bucket(SPARK)),),
        (("quantile_bucket(1)", 122881), ("quantile_bucket(-1.999)", -123008)),
    ),
    Function(
        "quantile_value", "quantile_value(x)", "The number of a `quantile_bucket` that is nearest to 0.",
        (Overload(B1, DOUBLE, quantile_value, _value(DUCKDB), _value(SPARK), may_null=True),),
        (("quantile_value(122881)", 1.0), ("quantile_value(-123082)", -3.140625)),
    ),
)  # fmt: skip
