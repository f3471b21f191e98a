"""Faults of the DuckDB compiler."""

from __future__ import annotations

import dataclasses
import types as types_
from typing import Any

from onefold.features import (
    copies,
    duckdb_finish,
    duckdb_frames,
    duckdb_group,
    duckdb_newest,
    duckdb_plans,
    duckdb_prefix,
    duckdb_scalar,
    duckdb_sums,
    edges,
    plans,
    types,
)
from onefold.offline import apart, group_run, importing, parts, shape
from tests.parity.planting import (
    buckets,
    crowded,
    delayed_buckets,
    entry,
    folds,
    lacking,
    own_rows,
    spelling,
    swap,
)

FINISH = duckdb_finish.FINISH


def _open_frame(window: Any, order: str = "ts") -> str:
    shorter = dataclasses.replace(window, lower=None if window.lower is None else max(window.lower - 1, window.upper))
    return _FRAME(shorter, order)


def _short_start(lane: Any) -> Any:
    lower, resolution = lane.window.lower, lane.window.resolution
    return lower, None if lower is None else resolution


def _wide_joined_lane(sql: Any, lane: Any, orders: Any, *, known: bool) -> str:
    wide = dataclasses.replace(lane, window=dataclasses.replace(lane.window, lower=None))
    return _JOINED(sql, wide, orders, known=known)


def _ranks_of_all(firsts: Any, partition: str) -> str:
    rank = f"row_number() OVER (PARTITION BY {partition}, ts, _id ORDER BY _sequence, _offset)"
    passes = [("TRUE" if w is None else f"c{w}", copies.first(w)) for w in firsts]
    return "".join(f", ({passed} AND {rank} = 1) AS {name}" for passed, name in passes)


def _unfiltered(self: Any, running: Any, *also: str) -> str:
    return str(_AGGREGATE(self, dataclasses.replace(running, slot_filter=None), *also))


_FRAME = duckdb_plans._frame
_JOINED = duckdb_plans._joined_lane
_AGGREGATE = duckdb_group.GroupSql.aggregate

swap("duckdb-sorted", "frames are open at the lower end", duckdb_plans, "_frame", _open_frame)
swap("duckdb-prefix", "running totals leave out the lower end", duckdb_prefix, "_start", _short_start)
swap("duckdb-joined", "joined windows have no lower end", duckdb_plans, "_joined_lane", _wide_joined_lane)
swap("duckdb-joined", "filters are ignored", duckdb_group.GroupSql, "aggregate", _unfiltered)
swap("duckdb-joined", "copies are judged before WHERE", duckdb_plans, "copy_ranks", _ranks_of_all)
swap(
    "duckdb-sorted",
    "copies are not looked for",
    duckdb_plans,
    "copy_ranks",
    lambda firsts, _: "".join(f", {'TRUE' if w is None else f'c{w}'} AS {copies.first(w)}" for w in firsts),
)
entry("duckdb-sorted", "sums are plain", FINISH, "sum", duckdb_finish._plain("sum({})"))
entry("duckdb-joined", "averages are plain", FINISH, "avg", duckdb_finish._plain("avg({})"))
entry("duckdb-joined", "variances are DuckDB's", FINISH, "var_samp", duckdb_finish._plain("var_samp({})"))
entry("duckdb-joined", "lanes are cut down, not toward zero", duckdb_sums.SUM_COLUMNS, "h", "floor({y})")
entry(
    "duckdb-joined",
    "lanes lose what is below 2^-62",
    duckdb_sums.SUM_COLUMNS,
    "l",
    "trunc(({y} - {h}) * 1024) * 2.0**52",
)
entry("duckdb-prefix", "bool_and is bool_or", FINISH, "bool_and", FINISH["bool_or"])
entry("duckdb-joined", "the last value is the first", FINISH, "last_value", duckdb_finish._rank("min"))
entry(
    "duckdb-joined",
    "a cast rounds half away",
    duckdb_scalar._CASTS,
    (types.DOUBLE, types.BIGINT),
    "TRY_CAST(round({0}) AS BIGINT)",
)
entry(
    "duckdb-joined",
    "a cast takes what DuckDB takes",
    duckdb_scalar._CASTS,
    (types.VARCHAR, types.BIGINT),
    "TRY_CAST({0} AS BIGINT)",
)
entry("duckdb-joined", "AND is two-valued", duckdb_scalar._SPECIAL, "and", "coalesce(({0}) AND ({1}), FALSE)")
spelling("duckdb-joined", "a product may be -0.0", "*", 1, "(({0}) * ({1}))")
spelling("duckdb-joined", "division rounds down", "//", 0, "TRY_CAST(floor(({0})::DOUBLE / NULLIF({1}, 0)) AS BIGINT)")
spelling(
    "duckdb-joined",
    "a remainder has the sign of the divisor",
    "%",
    0,
    "CAST((({0})::HUGEINT % NULLIF(({1})::HUGEINT, 0) + ({1})) % NULLIF(({1})::HUGEINT, 0) AS BIGINT)",
)
spelling("duckdb-joined", "case is mapped beyond ASCII", "lower", 0, "lower({0})")
spelling("duckdb-joined", "an overflow wraps to DOUBLE", "+", 0, "TRY_CAST(({0})::DOUBLE + ({1})::DOUBLE AS BIGINT)")


swap("duckdb-prefix", "one value off the grid is plain", shape, "ROOM", 2.0**54)
swap("duckdb-sorted", "infinities are dropped", duckdb_group, "FLAGS", "CASE WHEN {c} IS NOT NULL THEN 0::HUGEINT END")


_EVENTS = duckdb_group.GroupSql.events
swap(
    "duckdb-joined",
    "ties go by offset alone",
    duckdb_group.GroupSql,
    "events",
    lambda self: _EVENTS(self).replace("ts, _sequence, _offset) AS ord", "ts, _offset) AS ord"),
    folds("last_value", "first_value"),
)


def _one_row_fewer(window: Any, order: str = "ts") -> str:
    if window.rows is None or not window.rows[1]:
        return _FRAME(window, order)
    return _FRAME(dataclasses.replace(window, rows=(window.rows[0], window.rows[1] - 1)), order)


def _skips_none(window: Any, order: str = "ts") -> str:
    return _FRAME(window if window.rows is None else dataclasses.replace(window, rows=(0, window.rows[1])), order)


swap("duckdb-sorted", "a frame of rows takes one too few", duckdb_plans, "_frame", _one_row_fewer)
swap("duckdb-sorted", "a frame of rows skips none", duckdb_plans, "_frame", _skips_none)
entry(
    "duckdb-sorted",
    "distinct values are counted each time",
    FINISH,
    "count_distinct",
    duckdb_finish._plain("count({})"),
)
entry("duckdb-joined", "min_by is max_by", FINISH, "min_by", FINISH["max_by"])
entry("duckdb-joined", "last_n is the whole list", FINISH, "last_n", FINISH["array_agg"])
entry("duckdb-prefix", "an average of values counts events", FINISH, "count", FINISH["count_star"])
entry("duckdb-sorted", "the sample variance is that of a population", FINISH, "var_samp", FINISH["var_pop"])
spelling("duckdb-joined", "substring counts from zero", "substring", 1, "substring({0}, ({1}) + 1, {2})")
spelling("duckdb-joined", "trunc is floor", "trunc", 0, "(floor({0}) + 0.0::DOUBLE)")

_PASSING = duckdb_newest._passing


def _first_of_time(*asked: Any) -> str:
    return _PASSING(*asked).replace("_sequence DESC, _offset DESC", "_sequence, _offset")


swap(
    "duckdb-prefix",
    "the newest event is the first of its time",
    duckdb_newest,
    "_passing",
    _first_of_time,
    folds("last_value"),
)
swap("duckdb-joined", "the row's own event wins", duckdb_group, "LAST_SEQUENCE", -1, own_rows)
swap("duckdb-sorted", "a sketch has one hash too few", duckdb_finish, "SKETCH", 2047, crowded)
swap("duckdb-joined", "what a branch lacks is NULL", importing, "parse_json", lambda value, kind: None, lacking)
swap(
    "duckdb-prefix",
    "buckets are cut toward 1970",
    edges,
    "begin",
    lambda time, size: f"({time} - ({time}) % {size})",
    buckets,
)
swap(
    "duckdb-joined", "a window begins within a bucket, joined", edges, "begin", lambda time, size: f"({time})", buckets
)
swap(
    "duckdb-sorted",
    "a delayed window takes its last bucket",
    edges,
    "last",
    lambda window, t, suffix="": f"{t} - {window.upper}{suffix}",
    delayed_buckets,
)


_FRAMES, _RUNNING = duckdb_frames.frame_lanes, duckdb_prefix.running_totals
_PLACES, _BY_TIME = parts.places, parts.by_time


def _later_start(*asked: Any) -> str:
    return _FRAMES(*asked).replace(" - 1, 0) PRECEDING", " - 2, 0) PRECEDING")


def _earlier_start(*asked: Any) -> str:
    return _FRAMES(*asked).replace(" - 1, 0) PRECEDING", ", 0) PRECEDING")


def _events_behind_points(*asked: Any) -> str:
    return _RUNNING(*asked).replace("2 * ts AS _at", "2 * ts + 2 AS _at")


def _other_places(group: Any, wanted: int) -> tuple[str, str]:
    theirs, ours = _PLACES(group, wanted)
    return theirs, ours.replace(">> 24", ">> 23")


def _short_reach(db: Any, group: Any, wanted: int, **relations: str) -> Any:
    nearby: Any = types_.SimpleNamespace(reach=0, layout=group.layout)
    return _BY_TIME(db, nearby, wanted, **relations)


def _within(case: Any) -> bool:
    """Cases with a window of time over what has no difference."""
    return any(
        duckdb_plans.needs_of(g).frames and any(s.window.rows is None for s in g.slots) for g in case.plan.groups
    )


swap("duckdb-prefix", "a frame by place leaves out its first event", duckdb_plans, "frame_lanes", _later_start, _within)
swap("duckdb-prefix", "a frame by place takes one event more", duckdb_plans, "frame_lanes", _earlier_start, _within)
swap("duckdb-prefix", "events at t stand behind the row", duckdb_plans, "running_totals", _events_behind_points)
swap("duckdb-parts", "events and rows are parted by other bits", apart, "places", _other_places)
swap(
    "duckdb-parts",
    "a part by time has no events of before",
    group_run,
    "by_time",
    _short_reach,
    lambda case: any(g.reach and not g.layout.key_fields for g in case.plan.groups),
)
swap(
    "duckdb-parts",
    "parts have no positions",
    plans.Group,
    "in_order",
    False,
    lambda case: any(g.in_order for g in case.plan.groups),
)
