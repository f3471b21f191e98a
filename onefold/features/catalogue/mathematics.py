"""Roots, logarithms, powers and angles. All but `sqrt`, `degrees` and `radians` are exact to 1 ulp only."""

from __future__ import annotations

import math
from collections.abc import Callable

from onefold.features.catalogue.entry import D1, D2, Function, Overload
from onefold.features.types import DOUBLE

_DEGREES, _RADIANS = 57.29577951308232, 0.017453292519943295


def _sqrt(x: float) -> float:
    return math.sqrt(x) if x >= 0 else math.nan


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def pow_(x: float, y: float) -> float:
    """x to the power of y; NaN where it is no real number."""
    try:
        return math.pow(x, y) + 0.0
    except OverflowError:
        return -math.inf if x < 0 and y % 2 == 1 else math.inf
    except ValueError:
        return math.inf if x == 0 else math.nan


def _ln(x: float) -> float | None:
    return None if x <= 0 else math.log(x)


def _angle(
    name: str,
    meaning: str,
    python: Callable[[float], float],
    *examples: tuple[str, object],
    domain: str = "abs({0}) < 'inf'::DOUBLE",
) -> Function:
    """A function that is NaN outside its domain, where Python and DuckDB would raise."""

    def total(x: float) -> float:
        try:
            return python(x) + 0.0
        except ValueError:
            return math.nan

    inside = f"(CASE WHEN {domain} OR ({{0}}) IS NULL THEN {{0}} ELSE 'nan'::DOUBLE END)" if domain else "({0})"
    overload = Overload(
        D1, DOUBLE, total, f"({name}{inside} + 0.0::DOUBLE)", f"({name}({{0}}) + 0.0D)", inexact=True
    )  # fmt: skip
    return Function(name, f"{name}(x)", meaning, (overload,), examples)


_UNIT = "abs({0}) <= 1"
FUNCTIONS = (
    Function(
        "sqrt", "sqrt(x)", "Square root. Of a negative number NaN.",
        (Overload(D1, DOUBLE, _sqrt, "sqrt(CASE WHEN ({0}) < 0 THEN 'nan'::DOUBLE ELSE {0} END)", "sqrt({0})"),),
        (("sqrt(2)", 1.4142135623730951), ("sqrt(-1)", "NaN")),
    ),
    Function(
        "ln", "ln(x)", "Natural logarithm. At or below 0 NULL.",
        (
            Overload(
                D1, DOUBLE, _ln, "ln(CASE WHEN ({0}) > 0 THEN {0} END)", "ln({0})", may_null=True, inexact=True
            ),
        ),
        (("ln(1)", 0.0), ("ln(0)", None)),
    ),
    Function(
        "exp", "exp(x)", "e to the power of x.", (Overload(D1, DOUBLE, _exp, "exp({0})", inexact=True),),
        (("exp(0)", 1.0),),
    ),
    Function(
        "pow", "pow(x, y)", "x to the power of y, by the rules of IEEE 754; NaN where it is no real number.",
        (
            Overload(
                D2, DOUBLE, pow_, "(pow({0}, {1}) + 0.0::DOUBLE)",
                # Java has NaN for these three.
                "(CASE WHEN ({0}) = 1D AND ({1}) IS NOT NULL THEN 1D"
                " WHEN ({0}) = -1D AND abs({1}) = double('inf') THEN 1D ELSE pow({0}, {1}) + 0.0D END)", inexact=True,
            ),
        ),
        (("pow(2, 10)", 1024.0), ("pow(-8, 0.5)", "NaN")), aliases=("power",),
    ),
    _angle("sin", "Sine of an angle in radians.", math.sin, ("sin(0)", 0.0)),
    _angle("cos", "Cosine.", math.cos, ("cos(0)", 1.0)),
    _angle("tan", "Tangent.", math.tan, ("tan(0)", 0.0)),
    _angle("asin", "The angle of a sine; NaN outside -1 to 1.", math.asin, ("asin(0)", 0.0), domain=_UNIT),
    _angle("acos", "The angle of a cosine; NaN outside -1 to 1.", math.acos, ("acos(1)", 0.0), domain=_UNIT),
    _angle("atan", "The angle of a tangent.", math.atan, ("atan(0)", 0.0), domain=""),
    Function(
        "atan2", "atan2(x, y)", "The angle of the point at height x and distance y.",
        (Overload(D2, DOUBLE, lambda a, b: math.atan2(a, b) + 0.0, "(atan2({0}, {1}) + 0.0::DOUBLE)",
                  "(atan2({0}, {1}) + 0.0D)", inexact=True),),
        (("atan2(0, 1)", 0.0),),
    ),
    Function(
        "degrees", "degrees(x)", f"Radians as degrees: x * {_DEGREES}.",
        (Overload(D1, DOUBLE, lambda x: x * _DEGREES + 0.0, f"(({{0}}) * '{_DEGREES}'::DOUBLE + 0.0::DOUBLE)",
                  f"(({{0}}) * {_DEGREES}D + 0.0D)"),),
        (("degrees(1)", 57.29577951308232),),
    ),
    Function(
        "radians", "radians(x)", f"Degrees as radians: x * {_RADIANS}.",
        (Overload(D1, DOUBLE, lambda x: x * _RADIANS + 0.0, f"(({{0}}) * '{_RADIANS}'::DOUBLE + 0.0::DOUBLE)",
                  f"(({{0}}) * {_RADIANS}D + 0.0D)"),),
        (("radians(180)", 3.141592653589793),),
    ),
    Function(
        "pi", "pi()", "The DOUBLE nearest to pi.", (Overload((), DOUBLE, lambda: math.pi, "pi()"),),
        (("pi()", 3.141592653589793),),
    ),
)  # fmt: skip
