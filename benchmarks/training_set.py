"""Training set: features as of each row of a spine, beside a bare ASOF join and the same features by hand.

make bench NAME=training_set
"""

from __future__ import annotations

import math
from functools import partial

import pyarrow as pa
from _at_scale import COLD, FEW_KEYS, HOT, MANY_KEYS, at_scale
from _flights import data_of, events_of
from _harness import Options, Report, Samples, Spread, clocked, interleave, main, tell
from _plans import EXTREMES, PLANS, TOTALS, Case, Compared, compare, group_spine, synthetic
from _training_arms import ARMS, Tables, peak_memory, read_spine

from onefold.examples.flights.data import FlightsData
from onefold.examples.flights.model import SERVICE, definitions

SIZES = (30_000, 336_776)
CASES = (
    Case("many keys", events=1_000_000, keys=100_000, rows=300_000),
    Case("few keys", events=300_000, keys=10, rows=100_000),
    Case("few rows, many keys", events=1_000_000, keys=100_000, rows=1_000),
    Case("few rows, few keys", events=300_000, keys=10, rows=1_000),
)
NAMES = {"onefold": "Onefold", "hand": "window SQL by hand, float sums", "asof": "bare ASOF join, nothing computed"}


def measure(report: Report, options: Options) -> None:
    for compared in (COLD, HOT, MANY_KEYS, FEW_KEYS):
        at_scale(report, options, compared)
    data = data_of(options)
    events = events_of(data)
    for size in (500,) if options.quick else SIZES:
        _flights(report, data, events, read_spine(data.requests, size), rounds=options.pick(5, 1))
    _groups(report, events, read_spine(data.requests, options.pick(SIZES[-1], 500)), options)
    _synthetic(report, options)


def _flights(report: Report, data: FlightsData, events: Tables, spine: pa.Table, *, rounds: int) -> None:
    rows = spine.num_rows
    tell(f"training set of {rows:,} flights")
    results: dict[str, pa.Table] = {}

    def run(name: str, _: int) -> None:
        results[name] = ARMS[name](events, spine)

    samples = interleave({name: clocked(partial(run, name)) for name in ARMS}, rounds=rounds, collect=True)
    memory = {name: peak_memory(name, data.folder, rows) for name in ("load", *ARMS)}
    report.table(
        f"{rows:,} flights, {results['onefold'].num_columns} features of 9 (source, entity) pairs; "
        f"{rounds} rounds; seconds as median (quartiles)",
        ("", "seconds", "rows/s", "times the ASOF join", "peak memory, MB"),
        [
            (NAMES[n], samples.of(n), round(rows / samples.of(n).median), samples.ratio(n, "asof"), round(memory[n]))
            for n in ARMS
        ]
        + [("events and spine loaded, nothing run", "", "", "", round(memory["load"]))],
    )
    _figures(report, f"flights.{rows}", rows, samples, memory)
    exact, near, total = _agreement(results["onefold"], results["hand"])
    report.figure(f"flights.{rows}.by_hand_equal_bits", exact / total)
    report.figure(f"flights.{rows}.by_hand_equal_1e-9", near / total)


def _figures(report: Report, prefix: str, rows: int, samples: Samples, memory: dict[str, float]) -> None:
    report.figure(f"{prefix}.rows_per_second", rows / samples.of("onefold").median, "rows/s")
    report.figure(f"{prefix}.ratio_to_asof", samples.ratio("onefold", "asof").median)
    report.figure(f"{prefix}.ratio_to_by_hand", samples.ratio("onefold", "hand").median)
    report.figure(f"{prefix}.peak_memory", memory["onefold"], "MB")
    report.figure(f"{prefix}.memory_ratio_to_by_hand", memory["onefold"] / memory["hand"])


def _agreement(ours: pa.Table, theirs: pa.Table) -> tuple[int, int, int]:
    """How many values are equal, how many within 1e-9, and how many there are."""
    exact = near = total = 0
    for name in ours.column_names:
        for a, b in zip(ours[name].to_pylist(), theirs[name].to_pylist(), strict=True):
            total += 1
            if a == b:
                exact += 1
            elif a is not None and b is not None and math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9):
                near += 1
    return exact, exact + near, total


def _groups(report: Report, events: Tables, spine: pa.Table, options: Options) -> None:
    """Each group of the service by each plan: does the engine take the quickest?"""
    found: dict[str, Compared] = {}
    for group in definitions().service(SERVICE).groups:
        name = f"{group.source} by {group.entity}"
        tell(f"plans of {name}")
        found[name] = compare(
            group, events[group.source], group_spine(group, spine), rounds=options.pick(3, 1), limit=30
        )
    _plan_table(report, "flights", f"flights, {spine.num_rows:,} rows", found)
    total = sum(c.samples.of(c.chosen).median for c in found.values())
    best = sum(c.samples.of(c.best()).median for c in found.values())
    report.figure("flights.engine_to_best_plans", total / best)


def _synthetic(report: Report, options: Options) -> None:
    for kind, features in (("totals", TOTALS),) if options.quick else (("totals", TOTALS), ("extremes", EXTREMES)):
        found: dict[str, Compared] = {}
        for case in CASES:
            tell(f"plans of {case.name}, {kind}")
            cut = Case(case.name, case.events // 500, max(2, case.keys // 500), case.rows // 100)
            group, events, spine = synthetic(cut if options.quick else case, features)
            found[case.name] = compare(group, events, spine, rounds=options.pick(3, 1), limit=options.pick(20, 5))
        _plan_table(report, kind, f"{kind} over 1 and 7 days", found)


def _plan_table(report: Report, prefix: str, title: str, found: dict[str, Compared]) -> None:
    report.table(
        f"plans, {title}: seconds as median (quartiles)",
        ("", "pairs by event and row", *PLANS, "quickest", "chosen", "chosen/quickest"),
        [
            (name, c.pairs, *(c.shown(p) for p in PLANS), c.best(), c.chosen, _to_best(c, c.chosen).median)
            for name, c in found.items()
        ],
    )
    for name, compared in found.items():
        key = name.replace(",", "").replace(" ", "_")
        assert compared.equal, f"{name}: the plans differ in their values"
        for plan in PLANS:
            if compared.in_time(plan):
                report.figure(f"plans.{prefix}.{key}.{plan}", compared.samples.of(plan).median, "s")
        report.figure(f"plans.{prefix}.{key}.pairs", compared.pairs)
        report.figure(f"plans.{prefix}.{key}.chosen_to_best", _to_best(compared, compared.chosen).median)


def _to_best(compared: Compared, plan: str) -> Spread:
    return compared.samples.ratio(plan, compared.best())


if __name__ == "__main__":
    main("training_set", measure)
