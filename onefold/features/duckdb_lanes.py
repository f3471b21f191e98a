"""DuckDB compiler, aggregates: each slot becomes a few plain aggregates (lanes) and the steps that finish them.

DOUBLE sums run over integer lanes (see docs/exact-sums.md), so that their order does not matter. A lane is an
aggregate over a column of the prepared events; a plan decides whether it runs over a frame or over joined pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from onefold.features import exact, ir
from onefold.features.aggregates import MILLION, SKETCH
from onefold.features.duckdb_scalar import double
from onefold.features.layout import TIME, Slot
from onefold.features.steps import Number, Program
from onefold.features.types import BIGINT, DataType

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
ROOM = 2.0**54
"""What the number of values times the greatest magnitude stays below for that."""


@dataclass(frozen=True, slots=True)
class Running:
    """What a lane adds up, apart from its window: an aggregate, as `sum({})`, of a column, filter and WHERE."""

    aggregate: str
    column: str
    slot_filter: int | None
    slot_where: int | None

    @property
    def adds(self) -> bool:
        """Whether the value over a window is a difference of two running ones."""
        return self.aggregate.startswith(("sum", "count")) and "DISTINCT" not in self.aggregate

    @property
    def ranks(self) -> bool:
        """Whether it is the rank of the newest event, which a running one gives too."""
        return self.column == "ord" and self.aggregate.startswith("max")


@dataclass(frozen=True, slots=True)
class Lane:
    """A plain aggregate over prepared events, for one window."""

    running: Running
    window: ir.Window


class Lanes:
    """The lanes that a group of slots needs, each once; `names[i]` is the column of lane i.

    plain: columns without NULL and, if DOUBLE, with nothing off the grid and room for their sum in one integer.
    """

    def __init__(self, program: Program, plain: frozenset[int] = frozenset()) -> None:
        self.program, self.plain = program, plain
        self._known: dict[Lane, int] = {}
        self.sums: set[int] = set()
        self.squares: set[int] = set()
        self.ranked: set[tuple[int, str]] = set()

    @property
    def all(self) -> list[Lane]:
        return list(self._known)

    def add(self, slot: Slot, aggregate: str, column: str) -> Number:
        lane = Lane(Running(aggregate, column, slot.filter, slot.where), slot.window)
        return self.program.column(f"a{self._known.setdefault(lane, len(self._known))}")

    def finish(self, slot: Slot) -> Number:
        """The value of a slot from its lanes. Ordered slots give the rank of the event to take the value from."""
        return _FINISH[slot.fn](self, slot)


def prepared(index: int) -> str:
    """The name of a prepared column, or of the event time, in a relation of events."""
    return "ct" if index == TIME else f"c{index}"


def _column(slot: Slot) -> str:
    assert slot.arg is not None
    return prepared(slot.arg)


def _count_star(lanes: Lanes, slot: Slot) -> Number:
    return lanes.add(slot, "count({})", "ev")


def _count(lanes: Lanes, slot: Slot) -> Number:
    if slot.arg in lanes.plain:
        return _count_star(lanes, slot)
    return lanes.add(slot, "count({})", _column(slot))


def _plain(name: str) -> Callable[[Lanes, Slot], Number]:
    return lambda lanes, slot: lanes.add(slot, name, _column(slot))


def _boolean(counted: str, verdict: str) -> Callable[[Lanes, Slot], Number]:
    """bool_and and bool_or by counting: NULL over nothing, else whether none is false, or some is true."""

    def finish(lanes: Lanes, slot: Slot) -> Number:
        hits = lanes.add(slot, f"count(CASE WHEN {counted} THEN 1 END)", _column(slot))
        return lanes.program.let(f"CASE WHEN {{0}} > 0 THEN {verdict} END", _count(lanes, slot), hits)

    return finish


def _rank(name: str) -> Callable[[Lanes, Slot], Number]:
    return lambda lanes, slot: lanes.add(slot, f"{name}({{}})", "ord")


def _extreme_by(name: str, form: str) -> Callable[[Lanes, Slot], Number]:
    def finish(lanes: Lanes, slot: Slot) -> Number:
        lanes.ranked.add((slot.args[1], form))
        return lanes.add(slot, f"{name}({{}})", f"{prepared(slot.args[1])}_{form}")

    return finish


def _values(lanes: Lanes, slot: Slot, aggregate: str, column: str) -> Number:
    """The list of what is not NULL; empty over nothing."""
    return lanes.program.let(
        "coalesce(list_filter({0}, lambda e: e IS NOT NULL), [])", lanes.add(slot, aggregate, column)
    )


def _ordered(lanes: Lanes, slot: Slot) -> Number:
    """The values of the events, in order; NULLs among them."""
    assert slot.arg is not None
    lanes.ranked.add((slot.arg, "it"))
    pairs = _values(lanes, slot, "list({})", f"{_column(slot)}_it")
    return lanes.program.let("list_transform(list_sort({0}), lambda e: e.v)", pairs)


def _in_order(template: str) -> Callable[[Lanes, Slot], Number]:
    """A list of values made of all of them in order, {0}; {n} is the slot's constant."""
    return lambda lanes, slot: lanes.program.let(template.replace("{n}", str(*slot.params)), _ordered(lanes, slot))


def _last_distinct(lanes: Lanes, slot: Slot) -> Number:
    let = lanes.program.let
    newest = let("list_reverse(list_filter({0}, lambda e: e IS NOT NULL))", _ordered(lanes, slot))
    once = let("list_filter({0}, lambda e, i: list_position({0}, e) = i)", newest)
    return let(f"list_reverse({{0}}[:{slot.params[0]}])", once)


def _quantile(lanes: Lanes, slot: Slot) -> Number:
    let = lanes.program.let
    values = let("list_sort({0})", _values(lanes, slot, "list({})", _column(slot)))
    rank = f"greatest(({slot.params[0]}::HUGEINT * len({{0}}) + {MILLION - 1}) // {MILLION}, 1)"
    return let(f"{{0}}[CAST({rank} AS BIGINT)]", values)


def _sketch(lanes: Lanes, slot: Slot) -> Number:
    hashes = _values(lanes, slot, "list(DISTINCT {})", _column(slot))
    return lanes.program.let(f"list_sort({{0}})[:{SKETCH}]", hashes)


def _approx_count_distinct(lanes: Lanes, slot: Slot) -> Number:
    """`aggregates.estimate` in HUGEINT."""
    sketch = _sketch(lanes, slot)
    place = lanes.program.let(f"({{0}}[{SKETCH}]::HUGEINT + {2**63 + 1}::HUGEINT)", sketch)
    full = f"CAST(({2 * (SKETCH - 1) * 2**64}::HUGEINT + {{1}}) // (2 * {{1}}) AS BIGINT)"
    return lanes.program.let(f"CASE WHEN len({{0}}) < {SKETCH} THEN len({{0}}) ELSE {full} END", sketch, place)


def _quantile_sketch(lanes: Lanes, slot: Slot) -> Number:
    let = lanes.program.let
    buckets = _values(lanes, slot, "list({})", _column(slot))
    once = let("list_sort(list_distinct({0}))", buckets)
    counted = "lambda b: [b, len(list_filter({1}, lambda e: e = b))]"
    return let(f"flatten(list_transform({{0}}, {counted}))", once, buckets)


def _total(lanes: Lanes, slot: Slot) -> Number:
    """The sum of DOUBLEs as a DOUBLE, rounded once; NULL over nothing."""
    high, low = _grid(lanes, slot)
    value = to_double(lanes.program, high, low, grid_bits=exact.GRID_BITS)
    if slot.arg in lanes.plain:
        return lanes.program.let("CASE WHEN {1} > 0 THEN {0} END", value, _count(lanes, slot))
    return _special(lanes, slot, lanes.add(slot, "sum({})", f"{_column(slot)}_f"), value)


def _grid(lanes: Lanes, slot: Slot) -> tuple[Number, Number]:
    """The exact sum of DOUBLEs on the grid, as high * 2^62 + low."""
    assert slot.arg is not None
    lanes.sums.add(slot.arg)
    if slot.arg in lanes.plain:
        total = lanes.add(slot, "sum({})", f"{_column(slot)}_t")
        return lanes.program.let(f"({{0}} >> {LANE_BITS})", total), lanes.program.let(f"({{0}} & {_MASK})", total)
    return lanes.add(slot, "sum({})", f"{_column(slot)}_h"), lanes.add(slot, "sum({})", f"{_column(slot)}_l")


def _special(lanes: Lanes, slot: Slot, flags: Number, value: Number) -> Number:
    """The value, unless nothing was added (NULL) or something was off the grid."""
    digit = (1 << 31) - 1
    return lanes.program.let(
        f"CASE WHEN {{2}} = 0 OR {{0}} & {digit} <> 0 THEN NULL WHEN {{0}} = 0 THEN {{1}} "
        f"WHEN ({{0}} >> 31) & {digit} <> 0 OR (({{0}} >> 62) & {digit} <> 0 AND {{0}} >> 93 <> 0) THEN 'nan'::DOUBLE "
        "WHEN {0} >> 93 <> 0 THEN '-inf'::DOUBLE ELSE 'inf'::DOUBLE END",
        flags, value, _count(lanes, slot),
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
    total = lanes.add(slot, "sum({})", _column(slot))
    return lanes.program.let("CASE WHEN {1} > 0 THEN {0} END", total, _count(lanes, slot))


def _bigint_total(lanes: Lanes, slot: Slot) -> Number:
    total = _bigint_sum(lanes, slot)
    high = lanes.program.let(f"({{0}} >> {LANE_BITS})", total)
    low = lanes.program.let(f"({{0}} & {_MASK})", total)
    return to_double(lanes.program, high, low, grid_bits=0)


def _decimal_total(lanes: Lanes, slot: Slot, kind: DataType) -> tuple[Number, Number]:
    """(whether it has at most 38 digits, its text) of the exact sum of DECIMALs, of any size; NULL over nothing.

    The digits of up to 18 fit BIGINT; wider ones are cut into two lanes of 19. The text holds all of the total.
    """
    let, half, column = lanes.program.let, f"{10**19}::HUGEINT", _column(slot)
    if kind.precision <= 18:
        digits = f"CAST({{}} * '{10**kind.scale}'::DECIMAL(19,0) AS BIGINT)"
        total = lanes.add(slot, f"sum({digits})", column)
        high, low = let(f"{{0}} // {half}", total), let(f"{{0}} % {half}", total)
    else:
        digits = "CAST(replace(CAST({} AS VARCHAR), '.', '') AS HUGEINT)"
        tops, rests = (lanes.add(slot, f"sum({digits} {sign} {half})", column) for sign in ("//", "%"))
        high, low = let(f"({{0}} + {{1}} // {half})", tops, rests), let(f"{{0}} % {half}", rests)
    high, low = (
        let("({0} + CASE WHEN {0} > 0 AND {1} < 0 THEN -1 WHEN {0} < 0 AND {1} > 0 THEN 1 ELSE 0 END)", high, low),
        let(f"({{1}} + CASE WHEN {{0}} > 0 AND {{1}} < 0 THEN {half} WHEN {{0}} < 0 AND {{1}} > 0 THEN -{half} "
            "ELSE 0::HUGEINT END)", high, low),
    )  # fmt: skip
    top = let("abs({0})::VARCHAR", high)
    written = let("lpad({0}, greatest(length({0}), 20)::INTEGER, '0') || lpad(abs({1})::VARCHAR, 19, '0')", top, low)
    sign = let("CASE WHEN {0} < 0 OR {1} < 0 THEN '-' ELSE '' END", high, low)
    text = let(
        f"{{0}} || left({{1}}, length({{1}}) - {kind.scale}) || '.' || right({{1}}, {kind.scale})", sign, written
    )
    some = let("CASE WHEN {1} > 0 THEN {0} END", text, _count(lanes, slot))
    return let(f"abs({{0}}) < {half}", high), some


def _sum(lanes: Lanes, slot: Slot) -> Number:
    if slot.arg_type is not None and slot.arg_type.is_decimal:
        fits, total = _decimal_total(lanes, slot, slot.arg_type)
        return lanes.program.let(f"CASE WHEN {{0}} THEN TRY_CAST({{1}} AS {slot.type}) END", fits, total)
    if slot.arg_type == BIGINT:
        return lanes.program.let("TRY_CAST({0} AS BIGINT)", _bigint_sum(lanes, slot))
    return _total(lanes, slot)


def _avg(lanes: Lanes, slot: Slot) -> Number:
    if slot.arg_type is not None and slot.arg_type.is_decimal:
        total = lanes.program.let("TRY_CAST({0} AS DOUBLE)", _decimal_total(lanes, slot, slot.arg_type)[1])
    else:
        total = _bigint_total(lanes, slot) if slot.arg_type == BIGINT else _total(lanes, slot)
    count = _count(lanes, slot)
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


def _variance(*, sample: bool, root: bool) -> Callable[[Lanes, Slot], Number]:
    def finish(lanes: Lanes, slot: Slot) -> Number:
        assert slot.arg is not None
        program, column = lanes.program, _column(slot)
        lanes.squares.add(slot.arg)
        high, low = _grid(lanes, slot)
        squares = tuple(lanes.add(slot, "sum({})", f"{column}_{lane}") for lane in ("ql", "qh", "qt"))
        count = _count(lanes, slot)
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
    "count_distinct": _plain("count(DISTINCT {})"),
    "first_value": _rank("min"),
    "last_value": _rank("max"),
    "array_agg": _in_order("{0}"),
    "last_n": _in_order("{0}[greatest(len({0}) - {n} + 1, 1):]"),
    "last_distinct": _last_distinct,
    "quantile_disc": _quantile,
    "distinct_sketch": _sketch,
    "approx_count_distinct": _approx_count_distinct,
    "quantile_sketch": _quantile_sketch,
    "min_by": _extreme_by("min", "lo"),
    "max_by": _extreme_by("max", "hi"),
}
ORDERED = {"first_value": "{}", "last_value": "{}", "min_by": "({}).o", "max_by": "-({}).o"}
"""Aggregates whose lane says which event to take the value from, and how it says its `ord`."""
RANKED = {"lo": "CASE WHEN {c} IS NOT NULL THEN {{'y': {c}, 'o': ord}} END",
          "hi": "CASE WHEN {c} IS NOT NULL THEN {{'y': {c}, 'o': -ord}} END",
          "it": "{{'o': ord, 'v': {c}}}"}  # fmt: skip
"""Values with their rank: the least `lo` and the greatest `hi` are the earliest of equal values, `it` sort by rank."""
