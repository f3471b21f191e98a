"""Seeds of the simulation, as many as are asked for; or one again, step by step.

    make simulate SEEDS=100000 [WORKERS=2] [FIRST=0]
    make simulate SEED=123                              what one seed did, and what differs

Exits with 1 on any difference. docs/simulation.md says more.
"""

from __future__ import annotations

import argparse
import sys
import time

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.simulation.rounds import Total, in_processes, simulate

EVERY = 30.0
"""Seconds between two lines where stdout is no terminal."""


def repeat(seed: int) -> int:
    told = simulate(seed, told=True)
    print("\n".join(told.history))
    total = Total(1, told.steps, told.counts, [(seed, p) for p in told.problems])
    for problem in told.problems:
        print(f"seed {seed}: {problem}")
    print(total.verdict())
    return 1 if told.problems else 0


def run(seeds: range, workers: int) -> int:
    total, began, last = Total(), time.monotonic(), time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task("seeds", total=len(seeds))
        for part in in_processes(seeds, workers):
            total.add(part)
            progress.update(task, completed=total.seeds, description=f"{len(total.failed)} differences")
            for seed, problem in part.failed:
                progress.console.print(f"seed {seed}: {problem}", highlight=False, markup=False, soft_wrap=True)
            if not progress.console.is_terminal and time.monotonic() - last >= EVERY:
                last = time.monotonic()
                spent = last - began
                print(f"{spent:6.0f} s  {total.seeds:,} seeds ({total.seeds / spent:.0f}/s)", flush=True)
    if total.failed:
        print(f"seeds that differ: {', '.join(str(seed) for seed, _ in total.failed[:50])}; make simulate SEED=..")
    print(f"{total.verdict()} in {(time.monotonic() - began) / 60:.1f} min")
    return 1 if total.failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10_000, help="how many (10,000)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--seed", type=int, default=None, help="one seed again, step by step")
    parser.add_argument("--workers", type=int, default=2, help="processes (2)")
    asked = parser.parse_args()
    if asked.seed is not None:
        return repeat(asked.seed)
    return run(range(asked.first, asked.first + asked.seeds), asked.workers)


if __name__ == "__main__":
    sys.exit(main())
