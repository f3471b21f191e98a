"""The demo, as a newcomer runs it: real flights, a real service in a process of its own, and the verdict at the end."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = [sys.executable, "-m", "onefold.cli", "demo"]


@pytest.mark.timeout(600)
def test_one_day_of_december_is_proven_to_the_bit(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    done = subprocess.run(
        [*DEMO, "--folder", str(folder), "--days", "1", "--since", "8"],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    verdict = re.fullmatch(r"verify: 0 mismatches in ([\d,]+) values \(([\d,]+) rows x 38 features\)", lines[-1])
    assert verdict is not None, lines[-1]
    values, rows = (int(n.replace(",", "")) for n in verdict.groups())
    assert values == rows * 38 and rows > 900
    for figure in ("AUC, December, as served", "lookup in process", "score over HTTP", "training set"):
        assert figure in done.stdout
    assert {p.name for p in (folder / "plots").glob("*.png")} >= {"calibration.png", "importance.png", "over_time.png"}
    again = subprocess.run(
        [sys.executable, "-m", "onefold.cli", "verify", "--project", str(folder), "--json"],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    report = json.loads(again.stdout)
    assert again.returncode == 0 and report["ok"] and report["scores"] == rows


def test_folder_with_other_things_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("keep me")
    done = subprocess.run([*DEMO, "--folder", str(tmp_path)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2 and "not a demo's folder" in done.stderr and "Traceback" not in done.stderr
    assert mine.read_text() == "keep me"


def test_unknown_fault_is_refused_with_the_nearest(tmp_path: Path) -> None:
    command = [*DEMO, "--folder", str(tmp_path / "demo"), "--inject", "drop-events"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2 and "drop-event" in done.stderr
