"""Text: counted in Unicode code points, compared by them; case is mapped for ASCII letters alone."""

from __future__ import annotations

from onefold.features.catalogue.entry import V1, V2, Function, Overload
from onefold.features.types import BIGINT, BOOLEAN, VARCHAR

_LOWER, _UPPER = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TO_UPPER, _TO_LOWER = str.maketrans(_LOWER, _UPPER), str.maketrans(_UPPER, _LOWER)

FUNCTIONS = (
    Function(
        "||", "x || y", "One text behind the other.", (Overload(V2, VARCHAR, lambda a, b: a + b, "(({0}) || ({1}))"),),
        (("'ab' || 'c'", "abc"),),
    ),
    Function(
        "lower", "lower(x)", "ASCII letters as small ones.",
        (Overload(V1, VARCHAR, lambda s: s.translate(_TO_LOWER), f"translate({{0}}, '{_UPPER}', '{_LOWER}')"),),
        (("lower('AÉ')", "aÉ"),),
    ),
    Function(
        "upper", "upper(x)", "ASCII letters as capitals.",
        (Overload(V1, VARCHAR, lambda s: s.translate(_TO_UPPER), f"translate({{0}}, '{_LOWER}', '{_UPPER}')"),),
        (("upper('aé')", "Aé"),),
    ),
    Function(
        "length", "length(x)", "Number of code points.",
        (Overload(V1, BIGINT, len, "length({0})", "bigint(length({0}))"),),
        (("length('aé')", 2),), aliases=("char_length", "character_length", "len"),
    ),
    Function(
        "starts_with", "starts_with(x, y)", "Whether x begins with y.",
        (Overload(V2, BOOLEAN, lambda a, b: a.startswith(b), "starts_with({0}, {1})", "startswith({0}, {1})"),),
        (("starts_with('abc', 'ab')", True),), aliases=("startswith",),
    ),
)  # fmt: skip
