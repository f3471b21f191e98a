"""Every benchmark runs, with tiny sizes, and says its figures the way scripts read them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from onefold.examples.flights.data import prepare

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = {
    "growth": ["many_keys.tenfold_time_ratio", "few_keys.20000.seconds"],
    "training_set": [
        "flights.500.ratio_to_asof",
        "flights.500.ratio_to_by_hand",
        "flights.engine_to_best_plans",
    ],
    "spark": ["50000_keys.ratio_to_best", "500_keys.ratio_to_best", "500_keys.onefold"],
    "replay": ["state.ratio_to_bare", "whole.ratio_to_bare", "share.compaction"],
    "lookup": ["1x38.ratio_to_bare", "100x38.ratio_to_bare", "1x38.fold_share", "state.bytes_per_event"],
    "score": ["http.1x38.ratio_to_echo", "in_process.answer_ratio_to_onnxruntime", "start.seconds", "after.memory"],
    "redis_store": ["append_over_bare", "append_over_redis_py", "read_1_over_mget", "lookup_1_over_mget"],
    "stream": ["cpu_ratio", "freshness_p99", "bootstrap_ratio", "history_rate_ratio"],
    "feast": [],
    "online": ["lookup_1x50.p50", "http_1x50.requests_per_second", "http.memory"],
    "leak": ["request.december_auc", "day_end.december_auc", "december_auc_lost"],
}
HEADLINES = {
    "online": [
        "lookup_1x50_over_mget",
        "lookup_1x50_over_feast",
        "lookup_10x50_over_mget",
        "lookup_10x50_over_feast",
        "http_1x50_over_echo",
        "http_1x50_over_feast_serve",
        "p99_over_p50",
        "score_over_lookup",
        "http_10x50_over_feast_serve",
    ],
    "feast": [
        "feast_apply_speedup",
        "feast_online_1x50_speedup",
        "feast_windows_1x50_speedup",
        "feast_online_100x50_speedup",
        "feast_windows_100x50_speedup",
    ],
    "stream": ["stream_rate_ratio"],
    "training_set": [
        f"{work}_{what}_ratio"
        for work in ("asof_cold", "asof_hot", "windows_50k_keys", "windows_500_keys")
        for what in ("time", "cpu", "memory")
    ],
}
"""Figures that scripts know without the benchmark's name."""
QUICKLY = {**os.environ, "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1"}
"""Spark compiles once and lightly."""
FIGURE = re.compile(
    r"figure ([a-z_]+(?:\.[a-z0-9_-]+)+|[a-z0-9_]+_(?:ratio|speedup|p50|over_[a-z_]+)) (-?\d+(?:\.\d+)?)(?: (\S+))?"
)


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("flights")).folder


def run(arguments: list[str]) -> str:
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=QUICKLY, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_benchmark_is_tried_here() -> None:
    scripts = {path.stem.removeprefix("with_") for path in (ROOT / "benchmarks").glob("[!_]*.py")}
    assert scripts == BENCHMARKS.keys()


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmark_prints_figures_that_scripts_can_read(name: str, flights: Path, tmp_path: Path) -> None:
    result = tmp_path / "report.json"
    script = "with_feast" if name == "feast" else name
    printed = run([f"benchmarks/{script}.py", "--quick", "--data", str(flights), "--json", str(result)])
    lines = [line for line in printed.splitlines() if line.startswith("figure ")]
    found = [FIGURE.fullmatch(line) for line in lines]
    assert all(found), lines
    names = [match[1] for match in found if match]
    assert len(names) == len(set(names))
    assert {f"{name}.{figure}" for figure in BENCHMARKS[name]} <= set(names)
    assert [figure for figure in names if "." not in figure] == HEADLINES.get(name, [])
    assert [figure["name"] for figure in json.loads(result.read_text())["figures"]] == names


def test_page_has_a_place_for_the_tables_of_every_benchmark() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    for name in BENCHMARKS:
        assert page.count(f"<!-- tables: {name} -->\n") == page.count(f"\n<!-- end of {name} -->") == 1
