"""Spark compiler, sums: exact totals, averages and variances from lanes, and the steps that put them together.

Spark has no integer wider than 64 bits that is quick, so an exact sum runs over lanes of 64 bits, each of at most 32
bits of a value: they hold 2^31 values (a sum of squares 2^30). The lanes of a sum, lowest first, are whole numbers of
2^-72 (see docs/exact-sums.md): `0` and `1` of 31 bits, `2` of 32 bits, and `3`, which has the sign.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onefold.features import exact
from onefold.features.layout import Slot
from onefold.features.spark_lanes import Lanes, column_of, count_values
from onefold.features.spark_scalar import double
from onefold.features.steps import Number, Program
from onefold.features.types import BIGINT, MAX_PRECISION, DataType

_M31, _M32, _M62 = f"{(1 << 31) - 1}L", f"{(1 << 32) - 1}L", f"{(1 << 62) - 1}L"
_FINITE = f"abs({{c}}) < {double(exact.LIMIT)}"
_TEN, _BITS = double(2.0**10), double(2.0**62)
_CUT, _UNCUT, _SPLIT = double(2.0**-52), double(2.0**52), double(2.0**27 + 1)


def _rest(whole: str, part: str) -> str:
    """What a cast of `whole` to BIGINT, which truncates, leaves: in units of 2^-62, truncated too."""
    return f"CAST(({{{whole}}} - CAST({{{part}}} AS DOUBLE)) * {_BITS} AS BIGINT)"


SUM_STEPS = {
    "y": f"CASE WHEN {_FINITE} THEN {{c}} * {_TEN} WHEN {{c}} IS NOT NULL THEN {double(0.0)} END",
    "h": "CAST({y} AS BIGINT)",
    "l": _rest("y", "h"),
}
"""Columns from which the lanes of a sum are cut, in order; NULL where `c` is. NaN is above every limit in Spark."""
SUM_LANES = {
    "0": f"({{l}} & {_M31})",
    "1": "shiftright({l}, 31)",
    "2": f"({{h}} & {_M32})",
    "3": "shiftright({h}, 32)",
    "f": f"CASE WHEN {_FINITE} THEN 0L WHEN isnan({{c}}) THEN {1 << 31}L "
    f"WHEN abs({{c}}) = {double(float('inf'))} THEN 0L WHEN {{c}} IS NOT NULL THEN 1L END",
    "g": f"CASE WHEN {{c}} = {double(float('inf'))} THEN 1L WHEN {{c}} = {double(float('-inf'))} THEN {1 << 31}L "
    "WHEN {c} IS NOT NULL THEN 0L END",
}
"""The lanes of a sum. `f` and `g` are counters of 31 bits, two in each: too large and NaN, inf and -inf."""
PLAIN_STEPS = {"y": f"({{c}} * {_TEN})", "h": "CAST({y} AS BIGINT)", "l": _rest("y", "h")}
PLAIN_LANES = {"0": f"({{l}} & {_M31})", "1": "shiftright({l}, 31)", "h": "{h}"}
"""The same of a column of which it is known that nothing is off the grid, and that all fit into 64 bits together."""
ROOM = 2.0**52
"""What the magnitudes of a plain column add up to, at most; 2^10 times that has room in a BIGINT."""
SQUARE_STEPS = {
    "x": f"CASE WHEN {_FINITE} THEN {{c}} WHEN {{c}} IS NOT NULL THEN {double(0.0)} END",
    "p": "({x} * {x})",
    "s": f"({{x}} * {_SPLIT})",
    "a": "({s} - ({s} - {x}))",
    "b": "({x} - {a})",
    "e": "(((({a} * {a} - {p}) + {a} * {b}) + {b} * {a}) + {b} * {b})",
    "qt": f"CAST({{p}} * {_CUT} AS BIGINT)",
    "r": f"(({{p}} - CAST({{qt}} AS DOUBLE) * {_UNCUT}) * {_TEN})",
    "qh": "CAST({r} AS BIGINT)",
    "ql": _rest("r", "qh"),
    "z": f"({{e}} * {_TEN})",
    "eh": "CAST({z} AS BIGINT)",
    "el": _rest("z", "eh"),
}
"""The same for the sum of squares: p + e is x*x exactly; p is cut at 2^52 into a third part `qt`."""
SQUARE_LANES = {
    "q0": f"(({{ql}} & {_M31}) + ({{el}} & {_M31}))",
    "q1": "(shiftright({ql}, 31) + shiftright({el}, 31))",
    "q2": f"(({{qh}} & {_M32}) + ({{eh}} & {_M32}))",
    "q3": "(shiftright({qh}, 32) + shiftright({eh}, 32))",
    "q4": f"({{qt}} & {_M32})",
    "q5": "shiftright({qt}, 32)",
}
BIGINT_LANES = {"i0": f"({{c}} & {_M32})", "i1": "shiftright({c}, 32)"}
"""The lanes of a sum of BIGINTs: the lower 32 bits, and the upper with the sign."""

_NINE = f"{10**9}L"


def decimal_lanes(kind: DataType) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """(lanes, steps) of a sum of DECIMALs: the digits without the point in groups of nine, lowest first."""
    if kind.precision <= 18:
        unit = f"CAST('{10**kind.scale}' AS DECIMAL({kind.scale + 1},0))"
        lanes = {"d0": f"({{u}} % {_NINE})", "d1": f"({{u}} div {_NINE})"}
        return lanes, {"u": f"CAST({{c}} * {unit} AS BIGINT)"}
    steps = {
        "s": "CASE WHEN {c} < 0 THEN -1L WHEN {c} IS NOT NULL THEN 1L END",
        "d": "lpad(replace(replace(try_cast({c} AS STRING), '-', ''), '.', ''), 45, '0')",
    }
    return {f"d{i}": f"({{s}} * CAST(substring({{d}}, {37 - 9 * i}, 9) AS BIGINT))" for i in range(5)}, steps


def _carry(program: Program, lanes: Sequence[Number], widths: Sequence[int]) -> list[Number]:
    """The same number in limbs of these widths, lowest first, each but the last (which has the sign) within its own."""
    limbs: list[Number] = []
    carry: Number | None = None
    for lane, bits in zip(lanes, widths, strict=False):
        value = lane if carry is None else program.let("({0} + {1})", lane, carry)
        limbs.append(program.let(f"({{0}} & {(1 << bits) - 1}L)", value))
        carry = program.let(f"shiftright({{0}}, {bits})", value)
    assert carry is not None
    return [*limbs, program.let("({0} + {1})", lanes[-1], carry)]


def _sum_limbs(lanes: Lanes, slot: Slot) -> list[Number]:
    if slot.arg in lanes.plain:
        lanes.need(slot, PLAIN_LANES, PLAIN_STEPS)
        parts = [lanes.add(slot, "sum({})", f"{column_of(slot)}_{name}") for name in PLAIN_LANES]
        *low, whole = _carry(lanes.program, parts, (31, 31))
        return [*low, *_halves(lanes.program, whole)]
    lanes.need(slot, SUM_LANES, SUM_STEPS)
    parts = [lanes.add(slot, "sum({})", f"{column_of(slot)}_{name}") for name in "0123"]
    return _carry(lanes.program, parts, (31, 31, 32))


def _halves(program: Program, whole: Number) -> list[Number]:
    """The lower 32 bits, and the upper with the sign."""
    return [program.let(f"({{0}} & {_M32})", whole), program.let("shiftright({0}, 32)", whole)]


def _flags(lanes: Lanes, slot: Slot) -> tuple[Number, Number]:
    """Counters of what is off the grid; of a plain column, nothing is."""
    if slot.arg in lanes.plain:
        return lanes.program.let("0L"), lanes.program.let("0L")
    f, g = (lanes.add(slot, "sum({})", f"{column_of(slot)}_{name}") for name in "fg")
    return f, g


def _total(lanes: Lanes, slot: Slot) -> Number:
    """The sum of DOUBLEs as a DOUBLE, rounded once; NULL over nothing."""
    let = lanes.program.let
    low, second, third, top = _sum_limbs(lanes, slot)
    value = to_double(lanes.program, top, third, let("(shiftleft({0}, 31) | {1})", second, low), exact.GRID_BITS)
    f, g = _flags(lanes, slot)
    return let(
        f"CASE WHEN {{3}} = 0 OR {{0}} & {_M31} <> 0 THEN NULL WHEN {{0}} = 0 AND {{1}} = 0 THEN {{2}} "
        f"WHEN {{0}} <> 0 OR ({{1}} & {_M31} <> 0 AND shiftright({{1}}, 31) <> 0) THEN {double(float('nan'))} "
        f"WHEN {{1}} & {_M31} <> 0 THEN {double(float('inf'))} ELSE {double(float('-inf'))} END",
        f, g, value, count_values(lanes, slot),
    )  # fmt: skip


def to_double(program: Program, top: Number, middle: Number, low: Number | None, grid_bits: int) -> Number:
    """((top * 2^32 + middle) * 2^62 + low) * 2^-grid_bits as the nearest DOUBLE; without `low`, top * 2^32 + middle.

    top has the sign, middle is in [0, 2^32), low in [0, 2^62). Take the magnitude, form 60-63 leading bits with a
    sticky last one, convert them (BIGINT to DOUBLE rounds half to even), and scale by powers of two.
    """
    let = program.let
    low = let("0L") if low is None else low
    sign = let("({0} < 0)", top)
    bottom = let(f"CASE WHEN {{0}} THEN ({1 << 62}L - {{1}}) & {_M62} ELSE {{1}} END", sign, low)
    borrowed = let("({0} + CASE WHEN {1} AND {2} > 0 THEN 1L ELSE 0L END)", middle, sign, low)
    mid = let(f"CASE WHEN {{0}} THEN ({1 << 32}L - {{1}}) & {_M32} ELSE {{1}} END", sign, borrowed)
    high = let("CASE WHEN {0} THEN -{1} - CASE WHEN {2} > 0 THEN 1L ELSE 0L END ELSE {1} END", sign, top, borrowed)
    shift = let(
        "CASE WHEN {0} > 0 THEN greatest(60 - CAST(floor(log2(CAST({0} AS DOUBLE))) AS INT), 0) "
        "WHEN {1} > 0 THEN 60 - CAST(floor(log2(CAST({1} AS DOUBLE))) AS INT) ELSE 0 END",
        high, mid,
    )  # fmt: skip
    cut = let(
        "CASE WHEN {0} > 0 THEN CASE WHEN {2} <= 32 THEN 32 - {2} ELSE 94 - {2} END "
        "WHEN {1} > 0 THEN 62 - {2} ELSE 0 END", high, mid, shift,
    )  # fmt: skip
    bits = let(
        "CASE WHEN {0} > 0 AND {3} <= 32 THEN shiftleft({0}, {3}) | shiftright({1}, {4}) "
        "WHEN {0} > 0 THEN shiftleft({0}, {3}) | shiftleft({1}, {3} - 32) | shiftright({2}, {4}) "
        "WHEN {1} > 0 THEN shiftleft({1}, {3}) | shiftright({2}, {4}) ELSE {2} END",
        high, mid, bottom, shift, cut,
    )  # fmt: skip
    sticky = let(
        "CASE WHEN {0} > 0 AND {2} <= 32 THEN {1} & (shiftleft(1L, {4}) - 1L) <> 0 OR {3} <> 0 "
        "ELSE {3} & (shiftleft(1L, {4}) - 1L) <> 0 END",
        high, mid, shift, bottom, cut,
    )  # fmt: skip
    scale = let(
        f"CASE WHEN {{0}} > 0 THEN {double(2.0 ** (94 - grid_bits))} "
        f"WHEN {{1}} > 0 THEN {double(2.0 ** (62 - grid_bits))} ELSE {double(2.0**-grid_bits)} END", high, mid,
    )  # fmt: skip
    magnitude = let(
        "(CAST({0} | CASE WHEN {1} THEN 1L ELSE 0L END AS DOUBLE) / CAST(shiftleft(1L, {2}) AS DOUBLE) * {3})",
        bits, sticky, shift, scale,
    )  # fmt: skip
    return let("CASE WHEN {0} THEN -{1} ELSE {1} END", sign, magnitude)


def _bigint_limbs(lanes: Lanes, slot: Slot) -> list[Number]:
    if slot.arg in lanes.plain:
        return _halves(lanes.program, lanes.add(slot, "sum({})", column_of(slot)))
    lanes.need(slot, BIGINT_LANES, {})
    return _carry(
        lanes.program, [lanes.add(slot, "sum({})", f"{column_of(slot)}_{name}") for name in BIGINT_LANES], (32,)
    )


def _carried(program: Program, sums: Sequence[Number]) -> list[Number]:
    """Floor digits in base 10^9, lowest first; the last one has the sign."""
    digits: list[Number] = []
    carry: Number | None = None
    for one in sums[:-1]:
        value = one if carry is None else program.let("({0} + {1})", one, carry)
        digits.append(program.let(f"pmod({{0}}, {_NINE})", value))
        carry = program.let(f"(({{0}} - {{1}}) div {_NINE})", value, digits[-1])
    assert carry is not None
    return [*digits, program.let("({0} + {1})", sums[-1], carry)]


def _decimal_total(lanes: Lanes, slot: Slot, kind: DataType) -> tuple[Number, Number]:
    """(whether it has at most 38 digits, its text) of the exact sum of DECIMALs; NULL over nothing."""
    let, (made, steps) = lanes.program.let, decimal_lanes(kind)
    lanes.need(slot, made, steps)
    sums = [lanes.add(slot, "sum({})", f"{column_of(slot)}_{name}") for name in made]
    sign = let("CASE WHEN {0} < 0L THEN -1L ELSE 1L END", _carried(lanes.program, sums)[-1])
    *low, top = _carried(lanes.program, [let("({0} * {1})", sign, one) for one in sums])
    room = MAX_PRECISION - 9 * len(low)
    first = let(f"lpad(CAST({{0}} AS STRING), greatest(length(CAST({{0}} AS STRING)), {room + 1}), '0')", top)
    groups = [let("lpad(CAST({0} AS STRING), 9, '0')", digit) for digit in reversed(low)]
    digits = let(f"concat({', '.join(f'{{{i}}}' for i in range(len(groups) + 1))})", first, *groups)
    point = f"concat(left({{0}}, length({{0}}) - {kind.scale}), '.', right({{0}}, {kind.scale}))"
    minus, number = "CASE WHEN {1} < 0L THEN '-' ELSE '' END", point if kind.scale else "{0}"
    text = let(f"CASE WHEN {{2}} > 0 THEN concat({minus}, {number}) END", digits, sign, count_values(lanes, slot))
    return let(f"({{0}} < {10**room}L)" if room <= 18 else "TRUE", top), text


def sum_of(lanes: Lanes, slot: Slot) -> Number:
    if slot.arg_type is not None and slot.arg_type.is_decimal:
        fits, text = _decimal_total(lanes, slot, slot.arg_type)
        return lanes.program.let(f"CASE WHEN {{0}} THEN try_cast({{1}} AS {slot.type}) END", fits, text)
    if slot.arg_type != BIGINT:
        return _total(lanes, slot)
    low, high = _bigint_limbs(lanes, slot)
    return lanes.program.let(
        f"CASE WHEN {{2}} > 0 AND {{1}} BETWEEN {-(1 << 31)}L AND {_M31} THEN shiftleft({{1}}, 32) | {{0}} END",
        low, high, count_values(lanes, slot),
    )  # fmt: skip


def average_of(lanes: Lanes, slot: Slot) -> Number:
    if slot.arg_type is not None and slot.arg_type.is_decimal:
        total = lanes.program.let("try_cast({0} AS DOUBLE)", _decimal_total(lanes, slot, slot.arg_type)[1])
    elif slot.arg_type == BIGINT:
        low, high = _bigint_limbs(lanes, slot)
        # Nothing lies below: the grid begins 62 bits higher.
        total = to_double(lanes.program, high, low, None, 62)
    else:
        total = _total(lanes, slot)
    count = count_values(lanes, slot)
    return lanes.program.let(f"({{0}} / CAST(NULLIF({{1}}, 0L) AS DOUBLE) + {double(0.0)})", total, count)


def _digits(program: Program, limbs: Sequence[Number]) -> list[Number]:
    """Floor digits in base 2^31, lowest first, as DOUBLEs: of limbs of 31, 31 and 32 bits and one with the sign."""
    low, second, third, top = limbs
    rest = program.let("(shiftleft({0}, 1) | shiftright({1}, 31))", top, third)
    digits = [low, second, program.let(f"({{0}} & {_M31})", third), program.let(f"({{0}} & {_M31})", rest)]
    return [program.let("CAST({0} AS DOUBLE)", d) for d in (*digits, program.let("shiftright({0}, 31)", rest))]


def _square_digits(lanes: Lanes, slot: Slot) -> list[Number]:
    """The same of the sum of squares, whose lanes are 31, 31, 32, 30 and 32 bits wide, and one with the sign."""
    let = lanes.program.let
    lanes.need(slot, SQUARE_LANES, SQUARE_STEPS)
    parts = [lanes.add(slot, "sum({})", f"{column_of(slot)}_{name}") for name in SQUARE_LANES]
    limbs = _carry(lanes.program, parts, (31, 31, 32, 30, 32))
    third = let(f"({{0}} & {_M31})", limbs[2])
    fourth = let("(shiftleft({0}, 1) | shiftright({1}, 31))", limbs[3], limbs[2])
    rest = let("(shiftleft({0}, 1) | shiftright({1}, 31))", limbs[5], limbs[4])
    upper = [let(f"({{0}} & {_M31})", limbs[4]), let(f"({{0}} & {_M31})", rest), let("shiftright({0}, 31)", rest)]
    return [let("CAST({0} AS DOUBLE)", d) for d in (*limbs[:2], third, fourth, *upper)]


def variance_of(*, sample: bool, root: bool) -> Callable[[Lanes, Slot], Number]:
    def finish(lanes: Lanes, slot: Slot) -> Number:
        program = lanes.program
        count = count_values(lanes, slot)
        n = program.let("CAST({0} AS DOUBLE)", program.let("greatest({0}, 2L)", count))
        sums, squares = _digits(program, _sum_limbs(lanes, slot)), _square_digits(lanes, slot)
        value = exact.variance(n, sums, squares, sample=sample, where=program.where)
        f, g = _flags(lanes, slot)
        smallest = 2 if sample else 1
        found = program.let(
            f"CASE WHEN {{0}} < {smallest} OR {{1}} & {_M31} <> 0 THEN NULL "
            f"WHEN {{1}} <> 0 OR {{2}} <> 0 THEN {double(float('nan'))} "
            f"WHEN {{0}} = 1 THEN {double(0.0)} ELSE {{3}} END",
            count, f, g, value,
        )  # fmt: skip
        return program.let("sqrt({0})", found) if root else found

    return finish
