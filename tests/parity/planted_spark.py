"""Faults of the Spark compiler."""

from __future__ import annotations

import dataclasses
from typing import Any

from onefold.features import (
    copies,
    edges,
    ir,
    spark_finish,
    spark_group,
    spark_lanes,
    spark_plans,
    spark_scalar,
    spark_sums,
    types,
)
from tests.parity.planting import buckets, entry, folds, own_rows, spelling, swap, windows

FINISH = spark_finish.FINISH
LANES = spark_sums.SUM_LANES
_LANE, _JOINED, _ROWS = spark_plans._Frames.lane, spark_plans._joined_lane, spark_group._with_rows


def _over(change: Any) -> Any:
    """Lanes over other windows than those that are asked for."""
    return lambda self, lane: _LANE(self, dataclasses.replace(lane, window=change(lane.window)))


def _open_below(window: ir.Window) -> ir.Window:
    if window.lower is None or window.lower == window.upper:
        return window
    return dataclasses.replace(window, lower=window.lower - 1)


def _open_above(window: ir.Window) -> ir.Window:
    if window.rows is not None or window.lower == window.upper:
        return window
    return dataclasses.replace(window, upper=window.upper + 1)


def _with_group(window: ir.Window) -> ir.Window:
    return dataclasses.replace(window, upper=0) if window.upper == 1 else window


def _one_row_fewer(window: ir.Window) -> ir.Window:
    if window.rows is None or not window.rows[1]:
        return window
    return dataclasses.replace(window, rows=(window.rows[0], window.rows[1] - 1))


def _without_end(sql: Any, lane: Any, *, known: bool) -> str:
    return _JOINED(sql, dataclasses.replace(lane, window=dataclasses.replace(lane.window, lower=None)), known=known)


def _edge_alone(self: Any) -> str:
    """No event is in the next bucket too."""
    made = _BUCKETS(self)
    return made if self.size is None else made.replace(f">= {self.size - self.group.reach}L", f">= {self.size}L")


def _edge_too_late(self: Any) -> str:
    """The event that lies just as far before the next bucket as a window reaches is not in it."""
    made = _BUCKETS(self)
    return (
        made
        if self.size is None
        else made.replace(f">= {self.size - self.group.reach}L", f"> {self.size - self.group.reach}L")
    )


def _bucketed(case: Any) -> bool:
    return any(spark_plans.bucket_size(group) is not None for group in case.plan.groups)


_BUCKETS = spark_group.GroupSql._buckets

swap("spark", "windows leave out their lower end on Spark", spark_plans._Frames, "lane", _over(_open_below))
swap("spark", "events at the upper end do not count on Spark", spark_plans._Frames, "lane", _over(_open_above))
swap(
    "spark",
    "EXCLUDE GROUP is not looked at on Spark",
    spark_plans._Frames,
    "lane",
    _over(_with_group),
    windows(lambda w: w.upper == 1 and w.rows is None),
)
swap(
    "spark",
    "a frame of rows takes one too few on Spark",
    spark_plans._Frames,
    "lane",
    _over(_one_row_fewer),
    windows(lambda w: w.rows is not None and w.rows[1] is not None),
)
swap(
    "spark",
    "events are in the bucket of their own time alone",
    spark_group.GroupSql,
    "_buckets",
    _edge_alone,
    _bucketed,
)
swap("spark", "the next bucket begins too late", spark_group.GroupSql, "_buckets", _edge_too_late, _bucketed)
swap(
    "spark",
    "copies are not looked for on Spark",
    spark_plans,
    "copy_ranks",
    lambda firsts, _: "".join(f", {'TRUE' if w is None else f'c{w}'} AS {copies.first(w)}" for w in firsts),
    lambda case: any(group.layout.has_ids for group in case.plan.groups),
)
entry("spark", "sums are plain on Spark", FINISH, "sum", spark_finish._plain("try_sum({})"))
entry("spark", "variances are Spark's", FINISH, "var_samp", spark_finish._plain("var_samp({})"))
entry("spark", "NULL counts on Spark", FINISH, "count", spark_lanes.count_star)
entry("spark", "distinct values are counted each time on Spark", FINISH, "count_distinct", spark_lanes.count_values)
entry("spark", "bool_and is bool_or on Spark", FINISH, "bool_and", FINISH["bool_or"])
entry("spark", "the first value is the last on Spark", FINISH, "first_value", FINISH["last_value"])
entry(
    "spark",
    "ties go by offset alone on Spark",
    FINISH,
    "last_value",
    spark_finish._picked("max({})", "ts AS t, _offset AS o", spark_lanes.Kind.NEWEST),
)
entry(
    "spark",
    "max_by takes the latest of equals on Spark",
    FINISH,
    "max_by",
    spark_finish._picked("max({})", f"{{}} AS y, {spark_finish._PLACE}", spark_lanes.Kind.WITHIN),
)
entry("spark", "last_n is the whole list on Spark", FINISH, "last_n", FINISH["array_agg"])
for _lane, _name in (("f", "NaN and what is too large"), ("g", "infinities")):
    entry("spark", f"{_name} are dropped on Spark", LANES, _lane, "CASE WHEN {c} IS NOT NULL THEN 0L END", folds("sum"))
entry(
    "spark",
    "lanes are cut down, not toward zero, on Spark",
    spark_sums.SUM_STEPS,
    "h",
    "CAST(floor({y}) AS BIGINT)",
    folds("sum", "avg"),
)
entry(
    "spark", "a cast truncates on Spark", spark_scalar._CASTS, (types.DOUBLE, types.BIGINT), "try_cast({0} AS BIGINT)"
)
entry("spark", "AND is two-valued on Spark", spark_scalar._SPECIAL, "and", "coalesce(({0}) AND ({1}), FALSE)")
spelling("spark", "case is mapped beyond ASCII on Spark", "lower", 0, "lower({0})")
spelling(
    "spark", "division rounds down on Spark", "//", 0, "CAST(floor(CAST({0} AS DOUBLE) / nullif({1}, 0L)) AS BIGINT)"
)
entry(
    "spark-dense",
    "the older block of a window is taken for the newer",
    spark_plans._EXTREMES,
    "max({})",
    ("greatest", True),
    folds("max"),
)
swap("spark-joined", "joined windows have no lower end on Spark", spark_plans, "_joined_lane", _without_end)
swap("spark-joined", "the row's own event wins on Spark", spark_group, "LAST_SEQUENCE", -1, own_rows)
swap(
    "spark-joined",
    "the row's own event is left out on Spark",
    spark_group,
    "_with_rows",
    lambda group, events, rows: f"SELECT * FROM ({_ROWS(group, events, rows)}) WHERE _only IS NULL",
    own_rows,
)
swap("spark", "a window begins within a bucket on Spark", edges, "begin", lambda time, size: f"({time})", buckets)
