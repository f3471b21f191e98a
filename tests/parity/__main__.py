"""Random cases over all engines, for as long as it is told; what differs is shrunk, and how to repeat it is said.

    make parity MINUTES=60 [WORKERS=2] [ENGINES=state,spark]
    make parity SEED=123456789          one draw again; several with commas between

Exits with 1 on any difference. docs/parity.md says more.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty
from typing import Any

from rich.console import Console
from rich.live import Live

from tests.parity.engines import ENGINES, by_oracle
from tests.parity.rounds import SHRINK, draw, judge, report, shrink, work

EVERY = 30.0
"""Seconds between two lines where stdout is no terminal."""


@dataclass
class Tally:
    """What all workers have done so far."""

    minutes: float
    began: float = field(default_factory=time.monotonic)
    cases: int = 0
    by_engine: Counter[str] = field(default_factory=Counter)
    found: int = 0

    def line(self) -> str:
        spent = time.monotonic() - self.began
        engines = ", ".join(f"{name} {n:,}" for name, n in self.by_engine.items())
        return (
            f"{int(spent // 60):3d}:{int(spent % 60):02d} of {self.minutes:g} min  {self.cases:,} cases "
            f"({self.cases / max(spent, 0.1):.1f}/s)  {self.found} differences  [{engines}]"
        )

    def verdict(self) -> str:
        minutes = (time.monotonic() - self.began) / 60
        return (
            f"parity: {self.cases:,} cases, {len(self.by_engine)} engines, {self.found} differences "
            f"in {minutes:.1f} min"
        )


@contextmanager
def shown(tally: Tally) -> Iterator[Any]:
    """A function that shows how far it is: in place on a terminal, else a line now and then."""
    console = Console()
    if console.is_terminal:
        with Live(console=console, transient=True) as live:
            yield lambda: live.update(tally.line())
        return
    last = time.monotonic()

    def line() -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            print(tally.line(), flush=True)

    yield line


def run(engines: list[str], *, minutes: float, workers: int, first: int) -> int:
    """Run all workers to the end; the exit status."""
    context, tally = multiprocessing.get_context("spawn"), Tally(minutes)
    out, until = context.Queue(), time.time() + minutes * 60
    started = [context.Process(target=work, args=(i, engines, first, until, out), daemon=True) for i in range(workers)]
    for process in started:
        process.start()
    left = workers
    with shown(tally) as show:
        while left:
            try:
                done = out.get(timeout=1)
            except Empty:
                left = left if any(p.is_alive() for p in started) else 0
                show()
                continue
            if done is None:
                left -= 1
                continue
            counts, reports = done
            tally.cases += counts.pop("oracle")
            tally.by_engine.update(counts)
            tally.found += len(reports)
            for text in reports:
                print(text, flush=True)
            show()
    died = [p for p in started if p.exitcode]
    print(tally.line())
    if died:
        print(f"parity: {len(died)} of {workers} workers died; what they had under way is not counted")
    print(tally.verdict())
    return 1 if tally.found or died or not tally.cases else 0


def repeat(numbers: list[int], engines: list[str]) -> int:
    """Some draws again, with everything shrunk."""
    cases = [draw(number) for number in numbers]
    expected = [by_oracle(case) for case in cases]
    differ = 0
    for engine in engines:
        for found in judge(engine, numbers, cases, expected):
            differ += 1
            print(report(shrink(found, seconds=SHRINK), found), flush=True)
    print(f"parity: {sum(c.count for c in cases)} cases, {len(engines)} engines, {differ} differences")
    return 1 if differ else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long (1)")
    parser.add_argument("--workers", type=int, default=1, help="processes (1)")
    parser.add_argument("--engines", default="", help="names, with commas between; all without")
    parser.add_argument("--seed", default="", help="repeat the draws of these numbers")
    parser.add_argument("--first", type=int, default=None, help="what the numbers are drawn from")
    asked = parser.parse_args()
    engines = [e for e in asked.engines.split(",") if e] or [*ENGINES]
    unknown = [e for e in engines if e not in ENGINES]
    if unknown:
        parser.error(f"engines {', '.join(unknown)} are not known; there are {', '.join(ENGINES)}")
    if asked.seed:
        return repeat([int(n) for n in asked.seed.split(",")], engines)
    first = int.from_bytes(os.urandom(4), "big") if asked.first is None else asked.first
    print(f"parity: {', '.join(engines)}; {asked.minutes:g} min, {asked.workers} workers, --first {first}", flush=True)
    return run(engines, minutes=asked.minutes, workers=asked.workers, first=first)


if __name__ == "__main__":
    sys.exit(main())
