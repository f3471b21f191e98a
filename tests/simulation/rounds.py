"""Seeds, one or many: each is a world of its own, and says the same whenever it is asked."""

from __future__ import annotations

import itertools
import multiprocessing
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from unittest import mock

from onefold.streaming import state_writer
from tests.simulation.world import World

CHUNK = 50
"""Seeds that a process takes at a time."""
TAIL = 120
"""Bytes of tail that are worth no compaction: two or three records, so that even small logs are compacted."""


@dataclass
class Told:
    """What one seed did. history: every step, where it was asked for."""

    seed: int
    steps: int
    counts: Counter[str]
    problems: list[str]
    history: list[str]


@dataclass
class Total:
    """What many seeds did; `failed` are those where something differs."""

    seeds: int = 0
    steps: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[int, str]] = field(default_factory=list)

    def add(self, more: Total) -> None:
        self.seeds, self.steps = self.seeds + more.seeds, self.steps + more.steps
        self.counts += more.counts
        self.failed += more.failed

    @property
    def crashes(self) -> int:
        return sum(n for kind, n in self.counts.items() if kind.startswith("crash"))

    def verdict(self) -> str:
        kinds: Counter[str] = Counter()
        for kind, n in self.counts.items():
            kinds["failed calls" if kind.startswith("fail ") else kind] += 0 if kind.startswith("crash") else n
        faults = ", ".join(f"{n:,} {kind}" for kind, n in kinds.most_common() if n)
        return (
            f"simulation: {self.seeds:,} seeds, {self.steps:,} steps, {self.crashes:,} crashes, {faults}; "
            f"{len(self.failed)} differences"
        )


@contextmanager
def small() -> Iterator[None]:
    """Tails of few records are compacted, and generations are counted, not drawn from the system."""
    numbers = itertools.count(1)
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(state_writer, "TAIL", TAIL))
        stack.enter_context(
            mock.patch.object(state_writer, "fresh_generation", lambda: next(numbers).to_bytes(8, "big"))
        )
        yield


def simulate(seed: int, *, told: bool = False) -> Told:
    """One seed."""
    world = World(seed, told=told)
    with small():
        world.run()
    chaos = world.chaos
    return Told(seed, world.steps, chaos.counts, chaos.problems, chaos.history or [])


def simulate_many(seeds: range) -> Total:
    total = Total()
    for seed in seeds:
        told = simulate(seed)
        total.add(Total(1, told.steps, told.counts, [(seed, told.problems[0])] if told.problems else []))
    return total


def in_processes(seeds: range, workers: int) -> Iterator[Total]:
    """The totals of parts of the seeds, as they are done."""
    parts = [seeds[i : i + CHUNK] for i in range(0, len(seeds), CHUNK)]
    if workers == 1:
        yield from map(simulate_many, parts)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(simulate_many, parts)
