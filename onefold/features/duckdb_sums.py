"""DuckDB compiler, sums: exact totals of DOUBLEs and BIGINTs, and what is made of them: averages and variances.

DOUBLE sums run over integer lanes (see docs/exact-sums.md), so that their order does not matter.
"""

from __future__ import annotations

from collections.abc import Callable

from onefold.features import exact
from onefold.features.duckdb_decimals import decimal_total
from onefold.features.duckdb_lanes import Lanes, column_of, count_values
from onefold.features.duckdb_scalar import double
from onefold.features.layout import Slot
from onefold.features.steps import Number, Program
from onefold.features.types import BIGINT

LANE_BITS = 62
_MASK = f"{(1 << LANE_BITS) - 1}::HUGEINT"
_DIGIT = f"{(1 << exact.DIGIT_BITS) - 1}::HUGEINT"
_FINITE = f"(isfinite({{c}}) AND abs({{c}}) < {double(exact.LIMIT)})"
_TEN, _BITS = double(2.0**10), double(2.0**LANE_BITS)
_CUT, _UNCUT, _SPLIT = double(2.0**-52), double(2.0**52), double(2.0**27 + 1)

SUM_COLUMNS = {
    "y": f"CASE WHEN {_FINITE} THEN {{c}} * {_TEN} ELSE 0.0::DOUBLE END",
    "h": "trunc({y})",
    "l": f"trunc(({{y}} - {{h}}) * {_BITS})",
}
"""DOUBLE columns from which the lanes of a sum are cast, in order; `c` is NULL where there is nothing to add."""

SQUARE_COLUMNS = {
    "x": f"CASE WHEN {_FINITE} THEN {{c}} ELSE 0.0::DOUBLE END",
    "p": "({x} * {x})",
    "s": f"({{x}} * {_SPLIT})",
    "a": "({s} - ({s} - {x}))",
    "b": "({x} - {a})",
    "e": "(((({a} * {a} - {p}) + {a} * {b}) + {b} * {a}) + {b} * {b})",
    "qt": f"trunc({{p}} * {_CUT})",
    "r": f"(({{p}} - {{qt}} * {_UNCUT}) * {_TEN})",
    "qh": "trunc({r})",
    "ql": f"trunc(({{r}} - {{qh}}) * {_BITS})",
    "z": f"({{e}} * {_TEN})",
    "eh": "trunc({z})",
    "el": f"trunc(({{z}} - {{eh}}) * {_BITS})",
}
"""The same for the sum of squares: p + e is x*x exactly; p is cut at 2^52 into a third lane `qt`."""

FLAGS = (
    f"CASE WHEN isnan({{c}}) THEN {1 << 31}::HUGEINT WHEN isinf({{c}}) THEN "
    f"CASE WHEN {{c}} > 0 THEN {1 << 62}::HUGEINT ELSE {1 << 93}::HUGEINT END "
    f"WHEN abs({{c}}) >= {double(exact.LIMIT)} THEN 1::HUGEINT "
    "WHEN {c} IS NOT NULL THEN 0::HUGEINT END"
)
"""What keeps a value off the grid, as counters of 31 bits in one HUGEINT that add up: too large, NaN, inf, -inf."""


WIDE = f"CAST(trunc({{c}} * {double(2.0**exact.GRID_BITS)}) AS HUGEINT)"
"""A DOUBLE on the grid as one integer, where the greatest of them and their number leave it room."""
ROOM = exact.LIMIT
"""What the number of values times the greatest magnitude stays below for that: then none is off the grid, either."""


def _double_total(lanes: Lanes, slot: Slot) -> Number:
    """The sum of DOUBLEs as a DOUBLE, rounded once; NULL over nothing."""
    high, low = _grid(lanes, slot)
    value = to_double(lanes.program, high, low, grid_bits=exact.GRID_BITS)
    if slot.arg in lanes.plain:
        return lanes.program.let("CASE WHEN {1} > 0 THEN {0} END", value, count_values(lanes, slot))
    return _special(lanes, slot, lanes.add(slot, "sum({})", f"{column_of(slot)}_f"), value)


def _grid(lanes: Lanes, slot: Slot) -> tuple[Number, Number]:
    """The exact sum of DOUBLEs on the grid, as high * 2^62 + low."""
    assert slot.arg is not None
    lanes.sums.add(slot.arg)
    if slot.arg in lanes.plain:
        total = lanes.add(slot, "sum({})", f"{column_of(slot)}_t")
        return lanes.program.let(f"({{0}} >> {LANE_BITS})", total), lanes.program.let(f"({{0}} & {_MASK})", total)
    return lanes.add(slot, "sum({})", f"{column_of(slot)}_h"), lanes.add(slot, "sum({})", f"{column_of(slot)}_l")


def _special(lanes: Lanes, slot: Slot, flags: Number, value: Number) -> Number:
    """The value, unless nothing was added (NULL) or something was off the grid."""
    digit = (1 << 31) - 1
    return lanes.program.let(
        f"CASE WHEN {{2}} = 0 OR {{0}} & {digit} <> 0 THEN NULL WHEN {{0}} = 0 THEN {{1}} "
        f"WHEN ({{0}} >> 31) & {digit} <> 0 OR (({{0}} >> 62) & {digit} <> 0 AND {{0}} >> 93 <> 0) THEN 'nan'::DOUBLE "
        "WHEN {0} >> 93 <> 0 THEN '-inf'::DOUBLE ELSE 'inf'::DOUBLE END",
        flags, value, count_values(lanes, slot),
    )  # fmt: skip


def to_double(program: Program, high: Number, low: Number, *, grid_bits: int) -> Number:
    """(high * 2^62 + low) * 2^-grid_bits as the nearest DOUBLE, from HUGEINT lanes of any sign.

    Carry until low is in [0, 2^62), take the magnitude, form 61-63 leading bits with a sticky last one, convert
    them (BIGINT to DOUBLE rounds half to even), scale by a power of two, and put the sign back.
    """
    let = program.let
    carried = let(f"({{0}} + ({{1}} >> {LANE_BITS}))", high, low)
    rest = let(f"({{0}} & {_MASK})", low)
    top = let("CASE WHEN {0} < 0 THEN -{0} - CAST({1} > 0 AS HUGEINT) ELSE {0} END", carried, rest)
    bottom = let(
        f"CASE WHEN {{0}} < 0 AND {{1}} > 0 THEN {1 << LANE_BITS}::HUGEINT - {{1}} ELSE {{1}} END", carried, rest
    )
    bits = let("CASE WHEN {0} = 0 THEN 0 ELSE CAST(floor(log2(CAST({0} AS DOUBLE))) AS INTEGER) + 1 END", top)
    near = let(
        f"(({{0}} << ({LANE_BITS} - {{2}})::HUGEINT) | ({{1}} >> {{2}}::HUGEINT) | "
        "CAST(({1} & ((1::HUGEINT << {2}::HUGEINT) - 1)) <> 0 AS HUGEINT))",
        let("CASE WHEN {1} <= 62 THEN {0} ELSE 0 END", top, bits), bottom, let("least({0}, 62)", bits),
    )  # fmt: skip
    shift = let(f"greatest({{0}} - {LANE_BITS}, 0)", bits)
    far = let(
        "(({0} >> {2}::HUGEINT) | CAST(({0} & ((1::HUGEINT << {2}::HUGEINT) - 1)) <> 0 OR {1} <> 0 AS HUGEINT))",
        top, bottom, shift,
    )  # fmt: skip
    magnitude = let(
        f"CAST(CAST(CASE WHEN {{2}} <= {LANE_BITS} THEN {{0}} ELSE {{1}} END AS BIGINT) AS DOUBLE) "
        f"* pow(2.0::DOUBLE, ({{2}} - {grid_bits})::DOUBLE)",
        near, far, bits,
    )  # fmt: skip
    return let("CASE WHEN {0} < 0 THEN -{1} ELSE {1} END", carried, magnitude)


def _bigint_sum(lanes: Lanes, slot: Slot) -> Number:
    """The exact sum of BIGINTs as a HUGEINT; NULL over nothing."""
    total = lanes.add(slot, "sum({})", column_of(slot))
    return lanes.program.let("CASE WHEN {1} > 0 THEN {0} END", total, count_values(lanes, slot))


def _bigint_total(lanes: Lanes, slot: Slot) -> Number:
    total = _bigint_sum(lanes, slot)
    high = lanes.program.let(f"({{0}} >> {LANE_BITS})", total)
    low = lanes.program.let(f"({{0}} & {_MASK})", total)
    return to_double(lanes.program, high, low, grid_bits=0)


def summed(lanes: Lanes, slot: Slot) -> Number:
    if slot.arg_type is not None and slot.arg_type.is_decimal:
        fits, total = decimal_total(lanes, slot, slot.arg_type)
        return lanes.program.let(f"CASE WHEN {{0}} THEN TRY_CAST({{1}} AS {slot.type}) END", fits, total)
    if slot.arg_type == BIGINT:
        return lanes.program.let("TRY_CAST({0} AS BIGINT)", _bigint_sum(lanes, slot))
    return _double_total(lanes, slot)


def avg(lanes: Lanes, slot: Slot) -> Number:
    if slot.arg_type is not None and slot.arg_type.is_decimal:
        total = lanes.program.let("TRY_CAST({0} AS DOUBLE)", decimal_total(lanes, slot, slot.arg_type)[1])
    else:
        total = _bigint_total(lanes, slot) if slot.arg_type == BIGINT else _double_total(lanes, slot)
    count = count_values(lanes, slot)
    return lanes.program.let("({0} / CAST(NULLIF({1}, 0) AS DOUBLE) + 0.0::DOUBLE)", total, count)


def _digits(program: Program, lanes: tuple[Number, ...]) -> list[Number]:
    """Floor digits in base 2^31 of lanes of 62 bits, lowest lane first, as DOUBLEs."""
    digits: list[Number] = []
    carry: Number | None = None
    for lane in lanes:
        value = lane if carry is None else program.let(f"({{0}} + ({{1}} >> {LANE_BITS}))", lane, carry)
        low = program.let(f"CAST({{0}} & {_DIGIT} AS DOUBLE)", value)
        high = program.let(f"CAST(({{0}} >> {exact.DIGIT_BITS}) & {_DIGIT} AS DOUBLE)", value)
        digits += [low, high]
        carry = value
    assert carry is not None
    return [*digits, program.let(f"CAST({{0}} >> {LANE_BITS} AS DOUBLE)", carry)]


_VARIANCE = "CASE WHEN {{0}} < {smallest}{off} THEN NULL {nan}WHEN {{0}} = 1 THEN 0.0::DOUBLE ELSE {{1}} END"
_NAN = "WHEN {2} <> 0 THEN 'nan'::DOUBLE "


def variance(*, sample: bool, root: bool) -> Callable[[Lanes, Slot], Number]:
    def finish(lanes: Lanes, slot: Slot) -> Number:
        assert slot.arg is not None
        program, column = lanes.program, column_of(slot)
        lanes.squares.add(slot.arg)
        high, low = _grid(lanes, slot)
        squares = tuple(lanes.add(slot, "sum({})", f"{column}_{lane}") for lane in ("ql", "qh", "qt"))
        count = count_values(lanes, slot)
        n = program.let("CAST({0} AS DOUBLE)", count)
        value = exact.variance(
            n, _digits(program, (low, high)), _digits(program, squares), sample=sample, where=program.where
        )
        smallest = 2 if sample else 1
        if slot.arg in lanes.plain:
            found = program.let(_VARIANCE.format(smallest=smallest, off="", nan=""), count, value)
        else:
            flags = lanes.add(slot, "sum({})", f"{column}_f")
            off = f" OR {{2}} & {(1 << 31) - 1} <> 0"
            found = program.let(_VARIANCE.format(smallest=smallest, off=off, nan=_NAN), count, value, flags)
        return program.let("sqrt({0})", found) if root else found

    return finish
