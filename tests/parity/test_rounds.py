"""The harness itself: a round can be drawn again, a fault is found, shrunk and said, and the verdict counts."""

from __future__ import annotations

import queue
import time
from typing import Any
from unittest import mock

import pytest

from onefold.features import fold
from tests.parity.__main__ import run
from tests.parity.engines import by_oracle
from tests.parity.rounds import draw, judge, report, shrink, work


def test_a_case_is_what_its_number_draws() -> None:
    assert repr(draw(11, count=2)) == repr(draw(11, count=2)) != repr(draw(12, count=2))


def test_a_fault_is_found_shrunk_and_can_be_repeated() -> None:
    drawn = {n: draw(n) for n in range(8)}
    numbers = [n for n, case in drawn.items() if sum(len(e.rows) for e in case.events.values()) < 2_000]
    cases = [drawn[n] for n in numbers]
    with mock.patch.object(fold._View, "bounds", lambda self, window: (0, self.timeline.index(self._t))):
        found = next(judge("state", numbers, cases, [by_oracle(c) for c in cases]))
        small = shrink(found, seconds=180)
        case = draw(found.seed)
        (again,) = judge("state", [found.seed], [case], [by_oracle(case)])
    assert again.wrong == found.wrong
    assert small.case.count == 1
    assert sum(len(e.rows) for e in small.case.events.values()) <= 2
    said = report(small, found)
    assert f"repeat: make parity SEED={found.seed} ENGINES=state" in said
    assert "the oracle has" in said


def test_a_worker_counts_what_each_engine_was_asked_and_what_differed() -> None:
    out: queue.Queue[Any] = queue.Queue()
    broken = mock.patch.object(fold._View, "values", lambda self, slot, takes_nulls: ())
    with broken, mock.patch("tests.parity.rounds.SHRUNK", 0):
        work(0, ["state"], 5, time.time() + 0.01, out)
    counts, reports = out.get_nowait()
    assert counts["state"] == counts["oracle"] > 10
    assert reports
    assert out.get_nowait() is None


def test_a_run_says_one_line_and_is_its_exit_status(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["state"], minutes=0.01, workers=1, first=3) == 0
    last = capfd.readouterr().out.splitlines()[-1]
    assert last.startswith("parity: ")
    assert " cases, 1 engines, 0 differences in 0." in last
