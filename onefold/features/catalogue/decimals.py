"""Arithmetic and comparison of DECIMAL: every result has a type that holds it whole, so that nothing overflows.

The makers here stand beside the overloads of the entries that they are named after. BIGINT beside DECIMAL is
DECIMAL(19,0), and a whole number that is written out has its own digits. A result of more than 38 digits is refused
when it is defined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onefold.features.catalogue import hashing
from onefold.features.catalogue.decimal_casts import BIGINT_AS_DECIMAL, rescaled
from onefold.features.catalogue.entry import V1, Made, Maker, Overload
from onefold.features.errors import DefinitionError
from onefold.features.types import BIGINT, BOOLEAN, MAX_PRECISION, NULL, DataType, decimal

Types = Sequence[DataType]


def common(kinds: Types) -> DataType | None:
    """The DECIMAL that holds all values of DECIMALs and BIGINTs; None where there is another type among them."""
    found = [BIGINT_AS_DECIMAL if k == BIGINT else k for k in kinds]
    if not all(k.is_decimal for k in found):
        return None
    scale = max(k.scale for k in found)
    return _sized(max(k.precision - k.scale for k in found) + scale, scale, kinds)


def _sized(precision: int, scale: int, kinds: Types) -> DataType:
    if precision > MAX_PRECISION:
        names = " and ".join(k.name for k in kinds)
        raise DefinitionError(
            f"{names} together need {precision} digits, and a DECIMAL has at most {MAX_PRECISION}; "
            "CAST one to a DECIMAL of fewer digits, or to DOUBLE"
        )
    return decimal(precision, scale)


def _pair(types: Types) -> tuple[DataType, DataType] | None:
    """Both arguments as DECIMALs, where one is and the other can be."""
    if len(types) != 2 or not any(t.is_decimal for t in types):
        return None
    known = next(t for t in types if t.is_decimal)
    a, b = (BIGINT_AS_DECIMAL if t == BIGINT else known if t == NULL else t for t in types)
    return (a, b) if a.is_decimal and b.is_decimal else None


def _added(python: Callable[[int, int], int], sign: str) -> Maker:
    def make(types: Types) -> Overload | None:
        pair = _pair(types)
        if pair is None:
            return None
        a, b = pair
        scale = max(a.scale, b.scale)
        kind = _sized(max(a.precision - a.scale, b.precision - b.scale) + scale + 1, scale, types)
        up, over = 10 ** (scale - a.scale), 10 ** (scale - b.scale)
        duckdb = f"(({{0}})::{kind} {sign} ({{1}})::{kind})::{kind}"
        return Overload(pair, kind, lambda x, y: python(x * up, y * over), duckdb, f"(({{0}}) {sign} ({{1}}))")

    return make


def _product(types: Types) -> Overload | None:
    pair = _pair(types)
    if pair is None:
        return None
    a, b = pair
    kind = _sized(a.precision + b.precision, a.scale + b.scale, types)
    # DuckDB multiplies two of at most 18 digits in 64 bits, and raises where that overflows.
    wide = decimal(max(a.precision, 19), a.scale) if kind.precision > 18 >= max(a.precision, b.precision) else a
    duckdb = f"(({{0}})::{wide} * ({{1}}))::{kind}"
    return Overload(pair, kind, lambda x, y: x * y, duckdb, _spark_product(a, b, kind))


def _spark_product(a: DataType, b: DataType, kind: DataType) -> str:
    """Spark reckons with one digit more, and where that is the 39th it cuts a scale of more than 6.

    There the digits are multiplied as whole numbers, and the point is put in as text.
    """
    if kind.precision < MAX_PRECISION or kind.scale <= 6:
        return f"CAST(({{0}}) * ({{1}}) AS {kind})"
    x, y = (
        f"CAST(replace(try_cast({{{i}}} AS STRING), '.', '') AS {decimal(k.precision, 0)})"
        for i, k in enumerate((a, b))
    )
    zeros = "0" * kind.scale
    padded = f"regexp_replace(try_cast({x} * {y} AS STRING), '^(-?)', '\\u00241{zeros}')"
    return f"CAST(regexp_replace({padded}, '([0-9]{{{{{kind.scale}}}}})\\u0024', '.\\u00241') AS {kind})"


def _same(python: Callable[[int], int], sql: str, digits: str) -> Maker:
    """One argument; the result has its type. Spark rounds to 34 digits here, so a wider one goes by its text."""

    def make(types: Types) -> Overload | None:
        if len(types) != 1 or not types[0].is_decimal:
            return None
        kind = types[0]
        return _one(types, kind, python, sql, sql if kind.precision <= 34 else f"CAST({digits} AS {kind})")

    return make


def _one(types: Types, kind: DataType, python: Callable[[int], int], duckdb: str, spark: str) -> Overload | None:
    if len(types) != 1 or not types[0].is_decimal:
        return None
    return Overload((types[0],), kind, python, duckdb, spark)


def _whole(python: Callable[[int, int], int], duckdb: str, spark: str) -> Maker:
    """Roundings to a whole number: `python` gets the unscaled value and its unit. There may be a digit more."""

    def make(types: Types) -> Overload | None:
        if len(types) != 1 or not types[0].is_decimal:
            return None
        if not types[0].scale:
            return _one(types, types[0], lambda x: x, "({0})", "({0})")
        unit, kind = 10 ** types[0].scale, decimal(types[0].precision - types[0].scale + 1, 0)
        return _one(types, kind, lambda x: python(x, unit), f"CAST({duckdb} AS {kind})", f"CAST({spark} AS {kind})")

    return make


def _sign(types: Types) -> Overload | None:
    sql = "(CASE WHEN ({0}) > 0 THEN {one} WHEN ({0}) < 0 THEN {minus} ELSE {zero} END)"
    duckdb = sql.replace("{one}", "1::BIGINT").replace("{minus}", "(-1)::BIGINT").replace("{zero}", "0::BIGINT")
    spark = sql.replace("{one}", "1L").replace("{minus}", "-1L").replace("{zero}", "0L")
    # The ELSE is for zero alone: NULL stays NULL.
    duckdb, spark = (f"(CASE WHEN ({{0}}) IS NOT NULL THEN {s} END)" for s in (duckdb, spark))
    return _one(types, BIGINT, lambda x: (x > 0) - (x < 0), duckdb, spark)


def _hashed(types: Types) -> Overload | None:
    """The hash of its text, which `rules` casts it to."""
    if len(types) != 1 or not types[0].is_decimal:
        return None
    return next(o for f in hashing.FUNCTIONS if f.name == "hash64" for o in f.listed if o.args == V1)


def _compared(name: str, python: Callable[[int, int], bool]) -> Made:
    def make(types: Types) -> Overload | None:
        pair = _pair(types)
        if pair is None:
            return None
        kind = common(pair)
        assert kind is not None
        return Overload((kind, kind), BOOLEAN, python, f"(({{0}}) {name} ({{1}}))")

    return Made(make, "")


_TURNED = "regexp_replace(concat('-', try_cast({0} AS STRING)), '^--', '')"
_BARE = "replace(try_cast({0} AS STRING), '-', '')"
_BOTH = "(DECIMAL, DECIMAL) → DECIMAL"
_ONE = "(DECIMAL) → DECIMAL"
MAKERS: dict[str, Made] = {
    "+": Made(_added(lambda a, b: a + b, "+"), _BOTH, (("DECIMAL '1.5' + DECIMAL '0.25'", "1.75"),)),
    "-": Made(_added(lambda a, b: a - b, "-"), _BOTH, (("1 - DECIMAL '0.25'", "0.75"),)),
    "*": Made(_product, _BOTH, (("DECIMAL '1.5' * DECIMAL '0.25'", "0.375"),)),
    "neg": Made(_same(lambda a: -a, "(-({0}))", _TURNED), _ONE),
    "abs": Made(_same(abs, "abs({0})", _BARE), _ONE, (("abs(DECIMAL '-2.50')", "2.50"),)),
    "floor": Made(
        _whole(lambda x, unit: x // unit, "floor({0})", "floor({0})"), _ONE, (("floor(DECIMAL '-2.5')", "-3"),)
    ),
    "ceil": Made(
        _whole(lambda x, unit: -(-x // unit), "ceil({0})", "ceil({0})"), _ONE, (("ceil(DECIMAL '9.5')", "10"),)
    ),
    "trunc": Made(
        _whole(
            lambda x, unit: x // unit if x >= 0 else -(-x // unit), "trunc({0})",
            "(CASE WHEN ({0}) < 0 THEN ceil({0}) ELSE floor({0}) END)",
        ),
        _ONE, (("trunc(DECIMAL '-2.5')", "-2"),),
    ),
    "round": Made(
        _whole(lambda x, unit: rescaled(x, len(str(unit)) - 1, 0), "{0}", "{0}"), _ONE,
        (("round(DECIMAL '-2.5')", "-3"),),
    ),
    "sign": Made(_sign, "(DECIMAL) → BIGINT", (("sign(DECIMAL '-2.5')", -1),)),
    "hash64": Made(_hashed, "(DECIMAL) → BIGINT", (("hash64(DECIMAL '1.50') = hash64('1.50')", True),)),
    "=": _compared("=", lambda a, b: a == b),
    "<>": _compared("<>", lambda a, b: a != b),
    "<": _compared("<", lambda a, b: a < b),
    "<=": _compared("<=", lambda a, b: a <= b),
    ">": _compared(">", lambda a, b: a > b),
    ">=": _compared(">=", lambda a, b: a >= b),
}  # fmt: skip
