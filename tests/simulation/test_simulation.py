"""Whatever fails, in whatever order: each event is once in archive and state, and no value is served that is not so."""

from __future__ import annotations

import os

import pytest

from tests.simulation.planted import PLANTED, planted
from tests.simulation.rounds import Total, in_processes, simulate

SEEDS = int(os.environ.get("ONEFOLD_SIMULATION_SEEDS", "10000"))
SHOWN_BY = {
    "marks are raised before the appends": 0,
    "a step that failed does not go back": 0,
    "offsets are committed before the flush": 0,
    "dead letters are flushed after the archive": 5,
    "a feed goes on from what was flushed, not from the lowest": 0,
    "a feed goes on from what the marks say, not from the lowest": 0,
    "what was held back is kept when a feed joins anew": 1,
    "retention's cut is passed over": 10,
}
"""Faults that an early seed shows; the others take more seeds (docs/simulation.md)."""


@pytest.mark.timeout(1200)
def test_no_seed_shows_a_difference() -> None:
    total = Total()
    for part in in_processes(range(SEEDS), min(2, os.cpu_count() or 1)):
        total.add(part)
    print(total.verdict())
    assert not total.failed, f"make simulate SEED={total.failed[0][0]}: {total.failed[:5]}"
    assert (total.seeds, total.crashes > 0, total.counts["compaction"] > 0) == (SEEDS, True, True)


@pytest.mark.parametrize("seed", [3, 41])
def test_a_seed_replays_exactly(seed: int) -> None:
    first, second = simulate(seed, told=True), simulate(seed, told=True)
    assert first == second
    assert len(first.history) > first.steps
    assert (simulate(seed).steps, simulate(seed).counts) == (first.steps, first.counts)


@pytest.mark.parametrize("name", SHOWN_BY)
def test_a_planted_fault_is_seen(name: str) -> None:
    with planted(name):
        shown = [seed for seed in range(SHOWN_BY[name], SHOWN_BY[name] + 40) if simulate(seed).problems]
    assert shown, f"40 seeds do not show that {name}"


def test_every_planted_fault_is_one() -> None:
    assert len(PLANTED) >= 20
    for where, attribute, _ in PLANTED.values():
        assert hasattr(where, attribute) or attribute == "_session"
