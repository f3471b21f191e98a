"""Tables of as-of joins and windows at scale: arms in turn, each run in a process of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from _engine_arms import VALUES, Ran, Size, make, run
from _harness import Options, Report, Samples, Spread, tell

LIMIT = 60.0
"""Seconds after which an arm is stopped, and not run again."""
FEAST_PYTHON = os.environ.get("FEAST_PYTHON")
"""A Python that has Feast's DuckDB store, which does not run with DuckDB 2.0; without one, its row is empty."""
NAMES = {
    "asof.onefold": "Onefold", "asof.bare": "bare ASOF JOIN", "asof.feast": "Feast, duckdb store",
    "windows.onefold": "Onefold", "windows.range": "by hand: range join", "windows.sort": "by hand: one sort",
    "windows.prefix": "by hand: prefix sums, ASOF joins", "windows.pandas": "pandas rolling, float sums",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Compared:
    """Arms over one size. limits: those it is measured against, of which the quickest counts; once: run only once."""

    key: str
    title: str
    size: Size
    ours: str
    limits: Sequence[str]
    once: Sequence[str]


_ASOF = {"ours": "asof.onefold", "limits": ("asof.bare",), "once": ("asof.feast",)}
_WINDOWS = {"ours": "windows.onefold", "limits": ("windows.range", "windows.sort", "windows.prefix"),
            "once": ("windows.pandas",)}  # fmt: skip
_MILLION = 1_000_000
COLD = Compared("asof_cold", "as-of join, 100k keys", Size(_MILLION, _MILLION, 100_000, 365, VALUES), **_ASOF)  # type: ignore[arg-type]
HOT = Compared("asof_hot", "as-of join, 10k keys", Size(_MILLION, _MILLION, 10_000, 365, VALUES), **_ASOF)  # type: ignore[arg-type]
MANY_KEYS = Compared("windows_50k_keys", "windows, 50k keys", Size(5 * _MILLION, 500_000, 50_000, 30), **_WINDOWS)  # type: ignore[arg-type]
FEW_KEYS = Compared("windows_500_keys", "windows, 500 keys", Size(5 * _MILLION, 500_000, 500, 30), **_WINDOWS)  # type: ignore[arg-type]


def at_scale(report: Report, options: Options, compared: Compared) -> None:
    tell(compared.title)
    size = compared.size
    if options.quick:
        size = replace(size, events=size.events // 500, rows=size.rows // 500, keys=max(2, size.keys // 500))
    folder = make(options.scratch / compared.key, size)
    arms = [compared.ours, *compared.limits]
    ran: dict[str, list[Ran]] = {arm: [] for arm in (*arms, *compared.once)}
    for number in range(options.pick(5, 1)):
        for arm in arms[number % len(arms) :] + arms[: number % len(arms)]:
            if len(ran[arm]) == number:
                found = run(arm, folder, limit=LIMIT)
                ran[arm] += [] if found is None else [found]
    for arm in compared.once:
        if arm != "asof.feast" or FEAST_PYTHON:
            found = run(arm, folder, limit=LIMIT, python=FEAST_PYTHON if arm == "asof.feast" else None)
            ran[arm] += [] if found is None else [found]
    shutil.rmtree(folder)
    exact = {one.found for arm in arms for one in ran[arm]}
    assert len(exact) == 1, f"{compared.key}: not all arms give the same bits"
    _tell(report, compared, size, ran)


def _tell(report: Report, compared: Compared, size: Size, ran: dict[str, list[Ran]]) -> None:
    whole = [arm for arm in compared.limits if len(ran[arm]) == len(ran[compared.ours])]
    best = min(whole, key=lambda arm: median(one.seconds for one in ran[arm]))
    samples = Samples({arm: [one.seconds for one in ran[arm]] for arm in (compared.ours, best)})
    ratio = samples.ratio(compared.ours, best)
    cpu, peak = ({arm: median(getattr(one, what) for one in found) for arm, found in ran.items() if found}
                 for what in ("cpu", "peak"))  # fmt: skip
    report.table(
        f"{compared.title}: {size.events:,} events, {size.rows:,} rows; seconds as median (quartiles)",
        ("", "seconds", "processor time", "peak memory, MB", f"times {NAMES[best]}"),
        [
            (
                NAMES[arm], Spread.of([o.seconds for o in found]), cpu[arm], round(peak[arm]),
                median(o.seconds for o in found) / samples.of(best).median,
            )
            if found
            else (NAMES[arm], "not installed" if arm == "asof.feast" else f"> {LIMIT:.0f}", "", "", "")
            for arm, found in ran.items()
        ],
    )  # fmt: skip
    report.headline(f"{compared.key}_time_ratio", ratio.median)
    report.headline(f"{compared.key}_cpu_ratio", cpu[compared.ours] / cpu[best])
    report.headline(f"{compared.key}_memory_ratio", peak[compared.ours] / peak[best])
