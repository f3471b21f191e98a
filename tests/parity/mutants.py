"""Plants faults in the compilers and folds, one at a time, and shows that the parity body finds each.

    python -m tests.parity.mutants [--cases 1000] [name ...]

A development aid: a mutant that survives says what the strategies do not reach. Exits with 1 if one survives.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, Phase, given, settings

from onefold.features import (
    aggregates,
    columns,
    duckdb_group,
    duckdb_lanes,
    duckdb_plans,
    duckdb_prefix,
    duckdb_scalar,
    exact,
    fold,
    functions,
    records,
    state,
    types,
)
from onefold.features.records import Events
from tests.parity.engines import ENGINES, Case, assert_same_rows, by_oracle
from tests.parity.strategies import cases

Patch = AbstractContextManager[Any]
MUTANTS: dict[str, tuple[str, Callable[[], Patch]]] = {}
"""Name to the engine that it harms, and the patch."""


def mutant(engine: str, name: str) -> Callable[[Callable[[], Patch]], Callable[[], Patch]]:
    def keep(make: Callable[[], Patch]) -> Callable[[], Patch]:
        MUTANTS[name] = engine, make
        return make

    return keep


def swap(engine: str, name: str, where: Any, attribute: str, wrong: Any) -> None:
    MUTANTS[name] = engine, lambda: mock.patch.object(where, attribute, wrong)


def entry(engine: str, name: str, table: dict[Any, Any], key: Any, wrong: Any) -> None:
    MUTANTS[name] = engine, lambda: mock.patch.dict(table, {key: wrong})


def spelling(name: str, op: str, form: int, duckdb: str) -> None:
    """Another DuckDB spelling of an overload."""
    function = functions.FUNCTIONS[op]
    forms = (dataclasses.replace(f, duckdb=duckdb) if i == form else f for i, f in enumerate(function.listed))
    entry("duckdb-joined", name, functions.FUNCTIONS, op, dataclasses.replace(function, overloads=tuple(forms)))


def _open_frame(window: Any, order: str = "ts") -> str:
    shorter = dataclasses.replace(window, lower=None if window.lower is None else max(window.lower - 1, window.upper))
    return _FRAME(shorter, order)


def _short_start(lane: Any) -> Any:
    return lane.window.lower


def _wide_joined_lane(sql: Any, lane: Any, known: bool) -> str:
    inside = [f"ts <= _t - {lane.window.upper}", *(["_known"] if known else [])]
    return str(sql.aggregate(lane.running, *inside))


def _ranks_of_all(firsts: Any, partition: str) -> str:
    rank = f"row_number() OVER (PARTITION BY {partition}, ts, _id ORDER BY _sequence, _offset)"
    passes = [("TRUE" if w is None else f"c{w}", duckdb_group.first(w)) for w in firsts]
    return "".join(f", ({passed} AND {rank} = 1) AS {name}" for passed, name in passes)


def _unfiltered(self: Any, running: Any, *also: str) -> str:
    return str(_AGGREGATE(self, dataclasses.replace(running, slot_filter=None), *also))


_FRAME = duckdb_plans._frame
_AGGREGATE = duckdb_group.GroupSql.aggregate
_VALUES, _READ = fold._View.values, columns._read_values

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
    lambda firsts, _: "".join(f", {'TRUE' if w is None else f'c{w}'} AS {duckdb_group.first(w)}" for w in firsts),
)
entry("duckdb-sorted", "sums are plain", duckdb_lanes._FINISH, "sum", duckdb_lanes._plain("sum"))
entry("duckdb-joined", "averages are plain", duckdb_lanes._FINISH, "avg", duckdb_lanes._plain("avg"))
entry("duckdb-joined", "variances are DuckDB's", duckdb_lanes._FINISH, "var_samp", duckdb_lanes._plain("var_samp"))
entry("duckdb-joined", "lanes are cut down, not toward zero", duckdb_lanes.SUM_COLUMNS, "h", "floor({y})")
entry(
    "duckdb-joined",
    "lanes lose what is below 2^-62",
    duckdb_lanes.SUM_COLUMNS,
    "l",
    "trunc(({y} - {h}) * 1024) * 2.0**52",
)
entry("duckdb-prefix", "bool_and is bool_or", duckdb_lanes._FINISH, "bool_and", duckdb_lanes._FINISH["bool_or"])
entry("duckdb-joined", "the last value is the first", duckdb_lanes._FINISH, "last_value", duckdb_lanes._rank("min"))
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
spelling("a product may be -0.0", "*", 1, "(({0}) * ({1}))")
spelling("division rounds down", "//", 0, "TRY_CAST(floor(({0})::DOUBLE / NULLIF({1}, 0)) AS BIGINT)")
spelling("a remainder has the sign of the divisor", "%", 0, "((({0}) % NULLIF({1}, 0)) + ({1})) % NULLIF({1}, 0)")
spelling("case is mapped beyond ASCII", "lower", 0, "lower({0})")
spelling("an overflow wraps to DOUBLE", "+", 0, "TRY_CAST(({0})::DOUBLE + ({1})::DOUBLE AS BIGINT)")


@mutant("duckdb-sorted", "infinities are dropped")
def _() -> Patch:
    return mock.patch.object(duckdb_group, "FLAGS", "CASE WHEN {c} IS NOT NULL THEN 0::HUGEINT END")


@mutant("duckdb-joined", "ties go by offset alone")
def _() -> Patch:
    events = duckdb_group.GroupSql.events
    wrong = lambda self: events(self).replace("ts, _sequence, _offset) AS ord", "ts, _offset) AS ord")  # noqa: E731
    return mock.patch.object(duckdb_group.GroupSql, "events", wrong)


def _late_bounds(self: Any, window: Any) -> tuple[int, int]:
    low = 0 if window.lower is None else self.timeline.index(self._t - window.lower)
    return low, max(low, self.timeline.index(self._t - window.upper))


def _open_bounds(self: Any, window: Any) -> tuple[int, int]:
    low = 0 if window.lower is None else self.timeline.index(self._t - window.lower + 1)
    return low, max(low, self.timeline.index(self._t - window.upper + 1))


def _zeros(self: Any, slot: Any, takes_nulls: bool) -> Any:
    return [0 if x is None else x for x in _VALUES(self, slot, True)]


def _last_copies(self: Any, timeline: Any, t: int) -> Any:
    events = timeline._events
    backward = Events(events.ts[::-1], events.sequences[::-1], events.ids[::-1], [c[::-1] for c in events.columns])
    views: Any = _COPIES(self, fold._Listed(backward), t)
    return {w: fold._View(fold._Listed(v.timeline._events.take(range(len(v.timeline._events.ts))[::-1])), t)
            for w, v in views.items()}  # fmt: skip


_COPIES = fold.StateFold._passing
swap("state", "an event at t does not count", fold._View, "bounds", _late_bounds)
swap("state", "a window is open at the lower end", fold._View, "bounds", _open_bounds)
swap("state", "NULL is 0", fold._View, "values", _zeros)
swap("state", "the last copy wins", fold.StateFold, "_passing", _last_copies)
swap(
    "state",
    "copies are left in",
    fold.StateFold,
    "_passing",
    lambda self, timeline, t: {s.where: fold._View(timeline, t) for s in self._slots},
)
swap("state", "records written again count", records, "_fresh", lambda sequences, at, offsets: None)
swap(
    "state",
    "late events are not put in order",
    fold,
    "merge_tail",
    lambda head, tail: Events(
        head.ts + tail.events.ts,
        head.sequences + tail.events.sequences,
        head.ids + tail.events.ids,
        [a + b for a, b in zip(head.columns, tail.events.columns, strict=True)],
    ),
)
swap(
    "state",
    "compaction drops what lies on the floor",
    state,
    "bisect_left",
    lambda xs, x: bisect_right(xs, x) if x in xs else bisect_left(xs, x),
)
swap(
    "state",
    "hundredths are multiplied",
    columns,
    "_read_values",
    lambda payload, code, n, start: (
        [v * 0.01 for v in payload.cast("i")[start:n].tolist()]
        if code == columns._CENTS
        else _READ(payload, code, n, start)
    ),
)
swap("state", "every column is coarse", fold._View, "is_coarse", lambda self, i: True)
swap(
    "state",
    "sums are cut down, not toward zero",
    exact,
    "grid_total",
    lambda xs: sum(math.floor(x * exact.GRID) for x in xs),
)
swap("state", "a NaN is small", aggregates, "_nan_last", lambda x: (x == x, x if x == x else 0.0))
swap("state", "a BIGINT sum may be too large", aggregates, "BIGINT_MAX", 2**80)


@mutant("state", "quick sums are plain")
def _() -> Patch:
    return mock.patch.dict(aggregates.AGGREGATES, {"sum": dataclasses.replace(aggregates.AGGREGATES["sum"], quick=sum)})


class Caught(Exception):
    pass


def hunt(engine: str, patch: Callable[[], Patch], most: int) -> int | None:
    """After how many cases the body finds the fault; None where it does not."""
    met = 0

    @settings(max_examples=most, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(cases())
    def check(case: Case) -> None:
        nonlocal met
        met += 1
        expected = by_oracle(case)
        with patch():
            try:
                assert_same_rows(ENGINES[engine](case), expected, case)
            except Exception:
                raise Caught from None

    try:
        check()
    except Caught:
        return met
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="mutants by a part of their names; all without")
    parser.add_argument("--cases", type=int, default=1000, help="how many cases a mutant may survive")
    asked = parser.parse_args()
    survived = 0
    for name, (engine, patch) in MUTANTS.items():
        if asked.names and not any(n in name for n in asked.names):
            continue
        start = time.monotonic()
        met = hunt(engine, patch, asked.cases)
        survived += met is None
        verdict = "SURVIVED" if met is None else f"found after {met} cases"
        print(f"{engine:14} {name:45} {verdict} ({time.monotonic() - start:.1f} s)", flush=True)
    print(f"mutants: {survived} survived")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
