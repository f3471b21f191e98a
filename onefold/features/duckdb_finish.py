"""DuckDB compiler, finish: which lanes each aggregate needs, and the steps that make its value of them."""

from __future__ import annotations

from collections.abc import Callable

from onefold.features.aggregates import MILLION, SKETCH
from onefold.features.duckdb_lanes import Lanes, column_of, count_star, count_values, prepared
from onefold.features.duckdb_sums import avg, summed, variance
from onefold.features.layout import Slot
from onefold.features.steps import Number


def _plain(name: str) -> Callable[[Lanes, Slot], Number]:
    return lambda lanes, slot: lanes.add(slot, name, column_of(slot))


def _boolean(counted: str, verdict: str) -> Callable[[Lanes, Slot], Number]:
    """bool_and and bool_or by counting: NULL over nothing, else whether none is false, or some is true."""

    def finish(lanes: Lanes, slot: Slot) -> Number:
        hits = lanes.add(slot, f"count(CASE WHEN {counted} THEN 1 END)", column_of(slot))
        return lanes.program.let(f"CASE WHEN {{0}} > 0 THEN {verdict} END", count_values(lanes, slot), hits)

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
    pairs = _values(lanes, slot, "list({})", f"{column_of(slot)}_it")
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
    values = let("list_sort({0})", _values(lanes, slot, "list({})", column_of(slot)))
    rank = f"greatest(({slot.params[0]}::HUGEINT * len({{0}}) + {MILLION - 1}) // {MILLION}, 1)"
    return let(f"{{0}}[CAST({rank} AS BIGINT)]", values)


def _sketch(lanes: Lanes, slot: Slot) -> Number:
    hashes = _values(lanes, slot, "list(DISTINCT {})", column_of(slot))
    return lanes.program.let(f"list_sort({{0}})[:{SKETCH}]", hashes)


def _approx_count_distinct(lanes: Lanes, slot: Slot) -> Number:
    """`aggregates.estimate` in HUGEINT."""
    sketch = _sketch(lanes, slot)
    place = lanes.program.let(f"({{0}}[{SKETCH}]::HUGEINT + {2**63 + 1}::HUGEINT)", sketch)
    full = f"CAST(({2 * (SKETCH - 1) * 2**64}::HUGEINT + {{1}}) // (2 * {{1}}) AS BIGINT)"
    return lanes.program.let(f"CASE WHEN len({{0}}) < {SKETCH} THEN len({{0}}) ELSE {full} END", sketch, place)


def _quantile_sketch(lanes: Lanes, slot: Slot) -> Number:
    let = lanes.program.let
    buckets = _values(lanes, slot, "list({})", column_of(slot))
    once = let("list_sort(list_distinct({0}))", buckets)
    counted = "lambda b: [b, len(list_filter({1}, lambda e: e = b))]"
    return let(f"flatten(list_transform({{0}}, {counted}))", once, buckets)


def finish(lanes: Lanes, slot: Slot) -> Number:
    """The value of a slot from its lanes. Ordered slots give the rank of the event to take the value from."""
    return FINISH[slot.fn](lanes, slot)


FINISH: dict[str, Callable[[Lanes, Slot], Number]] = {
    "count_star": count_star,
    "count": count_values,
    "sum": summed,
    "avg": avg,
    "var_pop": variance(sample=False, root=False),
    "var_samp": variance(sample=True, root=False),
    "stddev_pop": variance(sample=False, root=True),
    "stddev_samp": variance(sample=True, root=True),
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
