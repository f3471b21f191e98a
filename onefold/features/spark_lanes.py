"""Spark compiler, aggregates: each slot becomes a few plain aggregates (lanes) and the steps that finish them.

Spark has no integer wider than 64 bits that is quick, so an exact sum runs over lanes of 64 bits, each of at most 32
bits of a value: they hold 2^31 values (a sum of squares 2^30). The lanes of a sum, lowest first, are whole numbers of
2^-72 (see docs/exact-sums.md): `0` and `1` of 31 bits, `2` of 32 bits, and `3`, which has the sign.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from string import Formatter

from onefold.features import exact, ir
from onefold.features.aggregates import MILLION, SKETCH
from onefold.features.layout import Slot
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


class Kind(Enum):
    """How the value of a lane over a window is found."""

    ADDS = "the difference of two growing frames"
    NEWEST = "a growing frame; the newest event's time says whether it lies in the window"
    WITHIN = "the window itself"


@dataclass(frozen=True, slots=True)
class Running:
    """What a lane adds up, apart from its window: an aggregate, as `sum({})`, of a column, filter and WHERE."""

    aggregate: str
    column: str
    kind: Kind
    slot_filter: int | None
    slot_where: int | None


@dataclass(frozen=True, slots=True)
class Lane:
    """A plain aggregate over prepared events, for one window."""

    running: Running
    window: ir.Window


class Lanes:
    """The lanes that a group of slots needs, each once; lane i is column `a{i}`.

    program: the steps that finish them. events: the steps that make the columns that they read, `columns`, of events.
    plain: columns without NULL whose magnitudes add up to less than `ROOM`.
    """

    def __init__(self, plain: frozenset[int] = frozenset()) -> None:
        self.plain = plain
        self.program, self.events = Program(double), Program(double)
        self._known: dict[Lane, int] = {}
        self.columns: dict[str, str] = {}

    @property
    def all(self) -> list[Lane]:
        return list(self._known)

    def add(self, slot: Slot, aggregate: str, column: str, kind: Kind = Kind.ADDS) -> Number:
        lane = Lane(Running(aggregate, column, kind, slot.filter, slot.where), slot.window)
        return self.program.column(f"a{self._known.setdefault(lane, len(self._known))}")

    def need(self, slot: Slot, lanes: Mapping[str, str], steps: Mapping[str, str]) -> None:
        """Have the columns of these lanes made of the slot's argument, by steps."""
        column = _column(slot)
        made = {"c": self.events.column(column)}
        for name, sql in steps.items():
            made[name] = self._step(sql, made)
        self.columns |= {f"{column}_{name}": self._step(sql, made).sql for name, sql in lanes.items()}

    def _step(self, sql: str, made: Mapping[str, Number]) -> Number:
        used = list(dict.fromkeys(name for _, name, _, _ in Formatter().parse(sql) if name))
        return self.events.let(sql.format(**{n: f"{{{i}}}" for i, n in enumerate(used)}), *(made[n] for n in used))

    def finish(self, slot: Slot) -> Number:
        """The value of a slot from its lanes."""
        return _FINISH[slot.fn](self, slot)


def prepared(index: int) -> str:
    """The name of a prepared column, or of the event time, in a relation of events."""
    return "ct" if index < 0 else f"c{index}"


def _column(slot: Slot) -> str:
    assert slot.arg is not None
    return prepared(slot.arg)


def _count_star(lanes: Lanes, slot: Slot) -> Number:
    return lanes.add(slot, "count({})", "ev")


def _count(lanes: Lanes, slot: Slot) -> Number:
    if slot.arg in lanes.plain:
        return _count_star(lanes, slot)
    return lanes.add(slot, "count({})", _column(slot))


def _plain(aggregate: str) -> Callable[[Lanes, Slot], Number]:
    return lambda lanes, slot: lanes.add(slot, aggregate, _column(slot), Kind.WITHIN)


def _boolean(counted: str, verdict: str) -> Callable[[Lanes, Slot], Number]:
    """bool_and and bool_or by counting: NULL over nothing, else whether none is false, or some is true."""

    def finish(lanes: Lanes, slot: Slot) -> Number:
        hits = lanes.add(slot, f"count(CASE WHEN {counted} THEN 1 END)", _column(slot))
        return lanes.program.let(f"CASE WHEN {{0}} > 0 THEN {verdict} END", _count(lanes, slot), hits)

    return finish


def _picked(aggregate: str, order: str, kind: Kind) -> Callable[[Lanes, Slot], Number]:
    """The argument of the event that is first or last in an order, with what it is ordered by."""

    def finish(lanes: Lanes, slot: Slot) -> Number:
        value, *by = map(prepared, slot.args)
        place = f"struct({order.format(*by)}, {value} AS x)"
        lane = lanes.add(slot, aggregate, f"CASE WHEN {[*by, 'ev'][0]} IS NOT NULL THEN {place} END", kind)
        return lanes.program.let("{0}.x", lane)

    return finish


def _listed(lanes: Lanes, slot: Slot) -> Number:
    """The values of the events, in order; NULLs among them."""
    place = f"CASE WHEN ev IS NOT NULL THEN struct({_PLACE}, {_column(slot)} AS x) END"
    return lanes.program.let(
        "transform(array_sort({0}), e -> e.x)", lanes.add(slot, "collect_list({})", place, Kind.WITHIN)
    )


def _in_order(template: str) -> Callable[[Lanes, Slot], Number]:
    """A list of values made of all of them in order, {0}; {n} is the slot's constant."""
    return lambda lanes, slot: lanes.program.let(
        template.replace("{n}", str(next(iter(slot.params), ""))), _listed(lanes, slot)
    )


def _bag(lanes: Lanes, slot: Slot) -> Number:
    """What is not NULL, in no order."""
    return lanes.add(slot, "collect_list({})", _column(slot), Kind.WITHIN)


def _set(lanes: Lanes, slot: Slot) -> Number:
    """The distinct values; collect_set holds each NaN apart."""
    return lanes.program.let("array_distinct({0})", lanes.add(slot, "collect_set({})", _column(slot), Kind.WITHIN))


def _count_distinct(lanes: Lanes, slot: Slot) -> Number:
    return lanes.program.let("CAST(size({0}) AS BIGINT)", _set(lanes, slot))


def _last_distinct(lanes: Lanes, slot: Slot) -> Number:
    newest = lanes.program.let("array_distinct(reverse(filter({0}, e -> e IS NOT NULL)))", _listed(lanes, slot))
    return lanes.program.let(f"reverse(slice({{0}}, 1, {slot.params[0]}))", newest)


def _quantile(lanes: Lanes, slot: Slot) -> Number:
    values = lanes.program.let("array_sort({0})", _bag(lanes, slot))
    rank = f"greatest(({slot.params[0]}L * size({{0}}) + {MILLION - 1}L) DIV {MILLION}L, 1L)"
    return lanes.program.let(f"try_element_at({{0}}, CAST({rank} AS INT))", values)


def _sketch(lanes: Lanes, slot: Slot) -> Number:
    return lanes.program.let(f"slice(array_sort({{0}}), 1, {SKETCH})", _set(lanes, slot))


def _approx_count_distinct(lanes: Lanes, slot: Slot) -> Number:
    """`aggregates.estimate` in DECIMALs of 38 digits."""
    let = lanes.program.let
    sketch = _sketch(lanes, slot)
    place = let(f"(CAST(try_element_at({{0}}, {SKETCH}) AS DECIMAL(38,0)) + {2**63 + 1}BD)", sketch)
    full = f"(CAST({2 * (SKETCH - 1) * 2**64}BD AS DECIMAL(38,0)) + {{1}}) DIV (2BD * {{1}})"
    return let(f"CASE WHEN size({{0}}) < {SKETCH} THEN CAST(size({{0}}) AS BIGINT) ELSE {full} END", sketch, place)


def _quantile_sketch(lanes: Lanes, slot: Slot) -> Number:
    buckets = _bag(lanes, slot)
    counted = "b -> array(b, CAST(size(filter({0}, e -> e = b)) AS BIGINT))"
    return lanes.program.let(f"flatten(transform(array_sort(array_distinct({{0}})), {counted}))", buckets)


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
        parts = [lanes.add(slot, "sum({})", f"{_column(slot)}_{name}") for name in PLAIN_LANES]
        *low, whole = _carry(lanes.program, parts, (31, 31))
        return [*low, *_halves(lanes.program, whole)]
    lanes.need(slot, SUM_LANES, SUM_STEPS)
    parts = [lanes.add(slot, "sum({})", f"{_column(slot)}_{name}") for name in "0123"]
    return _carry(lanes.program, parts, (31, 31, 32))


def _halves(program: Program, whole: Number) -> list[Number]:
    """The lower 32 bits, and the upper with the sign."""
    return [program.let(f"({{0}} & {_M32})", whole), program.let("shiftright({0}, 32)", whole)]


def _flags(lanes: Lanes, slot: Slot) -> tuple[Number, Number]:
    """Counters of what is off the grid; of a plain column, nothing is."""
    if slot.arg in lanes.plain:
        return lanes.program.let("0L"), lanes.program.let("0L")
    f, g = (lanes.add(slot, "sum({})", f"{_column(slot)}_{name}") for name in "fg")
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
        f, g, value, _count(lanes, slot),
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
        return _halves(lanes.program, lanes.add(slot, "sum({})", _column(slot)))
    lanes.need(slot, BIGINT_LANES, {})
    return _carry(
        lanes.program, [lanes.add(slot, "sum({})", f"{_column(slot)}_{name}") for name in BIGINT_LANES], (32,)
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
    sums = [lanes.add(slot, "sum({})", f"{_column(slot)}_{name}") for name in made]
    sign = let("CASE WHEN {0} < 0L THEN -1L ELSE 1L END", _carried(lanes.program, sums)[-1])
    *low, top = _carried(lanes.program, [let("({0} * {1})", sign, one) for one in sums])
    room = MAX_PRECISION - 9 * len(low)
    first = let(f"lpad(CAST({{0}} AS STRING), greatest(length(CAST({{0}} AS STRING)), {room + 1}), '0')", top)
    groups = [let("lpad(CAST({0} AS STRING), 9, '0')", digit) for digit in reversed(low)]
    digits = let(f"concat({', '.join(f'{{{i}}}' for i in range(len(groups) + 1))})", first, *groups)
    point = f"concat(left({{0}}, length({{0}}) - {kind.scale}), '.', right({{0}}, {kind.scale}))"
    minus, number = "CASE WHEN {1} < 0L THEN '-' ELSE '' END", point if kind.scale else "{0}"
    text = let(f"CASE WHEN {{2}} > 0 THEN concat({minus}, {number}) END", digits, sign, _count(lanes, slot))
    return let(f"({{0}} < {10**room}L)" if room <= 18 else "TRUE", top), text


def _sum(lanes: Lanes, slot: Slot) -> Number:
    if slot.arg_type is not None and slot.arg_type.is_decimal:
        fits, text = _decimal_total(lanes, slot, slot.arg_type)
        return lanes.program.let(f"CASE WHEN {{0}} THEN try_cast({{1}} AS {slot.type}) END", fits, text)
    if slot.arg_type != BIGINT:
        return _total(lanes, slot)
    low, high = _bigint_limbs(lanes, slot)
    return lanes.program.let(
        f"CASE WHEN {{2}} > 0 AND {{1}} BETWEEN {-(1 << 31)}L AND {_M31} THEN shiftleft({{1}}, 32) | {{0}} END",
        low, high, _count(lanes, slot),
    )  # fmt: skip


def _avg(lanes: Lanes, slot: Slot) -> Number:
    if slot.arg_type is not None and slot.arg_type.is_decimal:
        total = lanes.program.let("try_cast({0} AS DOUBLE)", _decimal_total(lanes, slot, slot.arg_type)[1])
    elif slot.arg_type == BIGINT:
        low, high = _bigint_limbs(lanes, slot)
        # Nothing lies below: the grid begins 62 bits higher.
        total = to_double(lanes.program, high, low, None, 62)
    else:
        total = _total(lanes, slot)
    count = _count(lanes, slot)
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
    parts = [lanes.add(slot, "sum({})", f"{_column(slot)}_{name}") for name in SQUARE_LANES]
    limbs = _carry(lanes.program, parts, (31, 31, 32, 30, 32))
    third = let(f"({{0}} & {_M31})", limbs[2])
    fourth = let("(shiftleft({0}, 1) | shiftright({1}, 31))", limbs[3], limbs[2])
    rest = let("(shiftleft({0}, 1) | shiftright({1}, 31))", limbs[5], limbs[4])
    upper = [let(f"({{0}} & {_M31})", limbs[4]), let(f"({{0}} & {_M31})", rest), let("shiftright({0}, 31)", rest)]
    return [let("CAST({0} AS DOUBLE)", d) for d in (*limbs[:2], third, fourth, *upper)]


def _variance(*, sample: bool, root: bool) -> Callable[[Lanes, Slot], Number]:
    def finish(lanes: Lanes, slot: Slot) -> Number:
        program = lanes.program
        count = _count(lanes, slot)
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


_PLACE = "ts AS t, _sequence AS s, _offset AS o"
_FINISH: dict[str, Callable[[Lanes, Slot], Number]] = {
    "count_star": _count_star,
    "count": _count,
    "sum": _sum,
    "avg": _avg,
    "var_pop": _variance(sample=False, root=False),
    "var_samp": _variance(sample=True, root=False),
    "stddev_pop": _variance(sample=False, root=True),
    "stddev_samp": _variance(sample=True, root=True),
    "bool_and": _boolean("NOT {}", "{1} = 0"),
    "bool_or": _boolean("{}", "{1} > 0"),
    "min": _plain("min({})"),
    "max": _plain("max({})"),
    "first_value": _picked("min({})", _PLACE, Kind.WITHIN),
    "last_value": _picked("max({})", _PLACE, Kind.NEWEST),
    "array_agg": _in_order("{0}"),
    "last_n": _in_order("slice({0}, greatest(size({0}) - {n} + 1, 1), {n})"),
    "last_distinct": _last_distinct,
    "count_distinct": _count_distinct,
    "quantile_disc": _quantile,
    "distinct_sketch": _sketch,
    "approx_count_distinct": _approx_count_distinct,
    "quantile_sketch": _quantile_sketch,
    "min_by": _picked("min({})", f"{{}} AS y, {_PLACE}", Kind.WITHIN),
    "max_by": _picked("max({})", "{} AS y, -ts AS t, -_sequence AS s, -_offset AS o", Kind.WITHIN),
}
