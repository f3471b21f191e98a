"""What goes wrong, and when: one seeded source of randomness decides all of it, and remembers what it did."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from onefold.features.errors import StoreError


class Crash(BaseException):
    """The process is gone at this very point: nothing of it runs any more."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How often, per call of a part: the process dies, the call fails, something else happens in between."""

    crash: float = 0.0
    fail: float = 0.0
    between: float = 0.0

    @classmethod
    def drawn(cls, rng: random.Random) -> Rates:
        return cls(rng.choice((0, 0.004, 0.015)), rng.choice((0, 0.01, 0.04)), rng.choice((0.01, 0.05, 0.12)))


class Chaos:
    """Faults of one run. `history` is None unless it is asked for, as it costs time.

    between: does something else of the world, in the middle of whatever is going on.
    """

    def __init__(self, seed: int, *, told: bool = False) -> None:
        self.rng = random.Random(seed)
        self.rates = Rates.drawn(self.rng)
        self.counts: Counter[str] = Counter()
        self.history: list[str] | None = [] if told else None
        self.problems: list[str] = []
        self.calm = False
        self.dead: set[str] = set()
        self.depth = 0
        self.between: Callable[[], None] = lambda: None

    def note(self, text: str) -> None:
        if self.history is not None:
            self.history.append("  " * self.depth + text)

    def fault(self, kind: str, text: str = "") -> None:
        self.counts[kind] += 1
        self.note(f"! {kind} {text}")

    def problem(self, text: str) -> None:
        """Something differs from what must be."""
        if len(self.problems) < 20:
            self.problems.append(text)
        self.note(f"DIFFERS: {text}")

    def chance(self, p: float) -> bool:
        return not self.calm and self.rng.random() < p

    def crash(self, who: str, when: str, call: str) -> Crash:
        """The end of a process: whatever of it still runs, as a `finally` does, dies at its next call."""
        self.fault(f"crash {when} {call}", who)
        self.dead.add(who)
        return Crash(f"{who} {when} {call}")

    def gate(self, who: str, call: str, when: str) -> None:
        """A point at which things may go wrong: `when` is before a call, after it, or within it."""
        if who in self.dead:
            raise Crash(f"{who} is dead")
        if self.calm:
            return
        drawn, rates = self.rng.random(), self.rates
        if drawn >= rates.crash + rates.fail + rates.between:
            return
        if drawn < rates.crash:
            raise self.crash(who, when, call)
        if drawn < rates.crash + rates.fail:
            self.fault(f"fail {when} {call}", who)
            raise StoreError(f"{call} failed ({when})")
        self.between()
