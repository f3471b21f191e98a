"""Spark compiler, aggregates: each slot becomes a few plain aggregates (lanes) and the steps that finish them."""

from __future__ import annotations

from collections.abc import Callable

from onefold.features.aggregates import MILLION, SKETCH
from onefold.features.layout import Slot
from onefold.features.spark_lanes import Kind, Lanes, column_of, count_star, count_values, prepared
from onefold.features.spark_sums import average_of, sum_of, variance_of
from onefold.features.steps import Number


def finish(lanes: Lanes, slot: Slot) -> Number:
    """The value of a slot from its lanes."""
    return FINISH[slot.fn](lanes, slot)


def _plain(aggregate: str) -> Callable[[Lanes, Slot], Number]:
    return lambda lanes, slot: lanes.add(slot, aggregate, column_of(slot), Kind.WITHIN)


def _boolean(counted: str, verdict: str) -> Callable[[Lanes, Slot], Number]:
    """bool_and and bool_or by counting: NULL over nothing, else whether none is false, or some is true."""

    def finish(lanes: Lanes, slot: Slot) -> Number:
        hits = lanes.add(slot, f"count(CASE WHEN {counted} THEN 1 END)", column_of(slot))
        return lanes.program.let(f"CASE WHEN {{0}} > 0 THEN {verdict} END", count_values(lanes, slot), hits)

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
    place = f"CASE WHEN ev IS NOT NULL THEN struct({_PLACE}, {column_of(slot)} AS x) END"
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
    return lanes.add(slot, "collect_list({})", column_of(slot), Kind.WITHIN)


def _set(lanes: Lanes, slot: Slot) -> Number:
    """The distinct values; collect_set holds each NaN apart."""
    return lanes.program.let("array_distinct({0})", lanes.add(slot, "collect_set({})", column_of(slot), Kind.WITHIN))


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


_PLACE = "ts AS t, _sequence AS s, _offset AS o"
FINISH: dict[str, Callable[[Lanes, Slot], Number]] = {
    "count_star": count_star,
    "count": count_values,
    "sum": sum_of,
    "avg": average_of,
    "var_pop": variance_of(sample=False, root=False),
    "var_samp": variance_of(sample=True, root=False),
    "stddev_pop": variance_of(sample=False, root=True),
    "stddev_samp": variance_of(sample=True, root=True),
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
