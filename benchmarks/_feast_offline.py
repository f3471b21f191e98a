"""Historical features through Feast's API: our offline store beside Feast's DuckDB store, each run in a process of its
own, which also gives the peak memory above what Feast and the entity dataframe take.

Feast's DuckDB store does not run with DuckDB 2.0, so FEAST_PYTHON names a Python that has it; without one its rows are
empty, and there is no ratio.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from _at_scale import COLD, FEAST_PYTHON, HOT
from _engine_arms import ROOT, Size, make
from _harness import Options, Report, Spread, tell

ARM = Path(__file__).with_name("_feast_history.py")
LIMIT = 300.0
NAMES = {"onefold": "Onefold's offline store", "duckdb": "Feast's duckdb store"}


@dataclass(frozen=True, slots=True)
class Case:
    """Rows on rows, and the names of the headlines."""

    key: str
    title: str
    size: Size


CASES = (
    Case("cold", "100k keys of ten rows", COLD.size),
    Case("hot", "10k keys of a hundred rows", HOT.size),
)


def measure(report: Report, options: Options) -> None:
    for case in CASES:
        tell(f"history through Feast: {case.title}")
        size = case.size
        if options.quick:
            size = Size(size.events // 500, size.rows // 500, max(2, size.keys // 500), size.days, size.values)
        folder = make(options.scratch / f"feast_{case.key}", size)
        ran = _ran(folder, options.pick(5, 1), options.pick(3, 1))
        shutil.rmtree(folder)
        _tell(report, case, size, ran)


def _ran(folder: Path, rounds: int, theirs: int) -> dict[str, list[dict[str, Any]]]:
    """Runs by store, in turn; of Feast's, fewer."""
    ran: dict[str, list[dict[str, Any]]] = {name: [] for name in NAMES}
    for number in range(rounds):
        ran["onefold"].append(_run("onefold", folder, sys.executable))
        if FEAST_PYTHON and number < theirs and (number == 0 or ran["duckdb"]):
            found = _run("duckdb", folder, FEAST_PYTHON)
            ran["duckdb"] += [found] if found else []
    hashes = {one["found"] for runs in ran.values() for one in runs}
    assert len(hashes) == 1, f"{folder.name}: the stores do not give the same values"
    return ran


def _run(store: str, folder: Path, python: str) -> dict[str, Any]:
    """One run; empty where it takes longer than the limit, or is killed for its memory."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    command = [python, str(ARM), store, str(folder)]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return {}
    if ran.returncode < 0:
        return {}
    if ran.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {ran.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    tell(f"  {store}: {found['seconds']:.1f} s, {found['peak']:.0f} MB")
    return found


def _tell(report: Report, case: Case, size: Size, ran: dict[str, list[dict[str, Any]]]) -> None:
    def middle(store: str, what: str) -> float:
        return float(median(one[what] for one in ran[store]))

    rows: list[tuple[object, ...]] = []
    for store, name in NAMES.items():
        if ran[store]:
            spread = Spread.of([one["seconds"] for one in ran[store]])
            rows.append((name, spread, middle(store, "cpu"), round(middle(store, "peak"))))
        else:
            rows.append((name, f"> {LIMIT:.0f}, or killed" if FEAST_PYTHON else "not installed", "", ""))
    report.table(
        f"get_historical_features(..).to_df(), {case.title}: {size.events:,} rows of a view of ten features, "
        f"{size.rows:,} rows of an entity dataframe; seconds as median (quartiles)",
        ("", "seconds", "processor time", "peak memory, MB"), rows,
    )  # fmt: skip
    if ran["duckdb"]:
        report.headline(
            f"feast_historical_{case.key}_speedup", middle("duckdb", "seconds") / middle("onefold", "seconds")
        )
        report.headline(f"feast_historical_{case.key}_cpu_ratio", middle("duckdb", "cpu") / middle("onefold", "cpu"))
        report.headline(
            f"feast_historical_{case.key}_memory_ratio", middle("onefold", "peak") / middle("duckdb", "peak")
        )
