"""Plants faults in the compilers and folds, one at a time, and shows that the parity body finds each.

    python -m tests.parity.mutants [--draws 400] [--engines state] [name ...]

A development aid: a mutant that survives says what the strategies do not reach. Exits with 1 if one survives. All meet
the same draws (numbers 0, 1, ..), so that drawing them and asking the oracle is paid once.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field

from tests.parity import planted_duckdb, planted_spark, planted_state
from tests.parity.engines import ENGINES, Case, Row, by_oracle, differences
from tests.parity.planting import MUTANTS, Mutant
from tests.parity.rounds import draw

PLANTED = (planted_duckdb, planted_state, planted_spark)
"""Whose import fills the table."""


@dataclass
class Draws:
    """Cases with what the oracle says of them, drawn as they are asked for."""

    drawn: list[tuple[Case, list[Row]]] = field(default_factory=list)

    def get(self, number: int) -> tuple[Case, list[Row]]:
        while len(self.drawn) <= number:
            case = draw(len(self.drawn), count=8)
            self.drawn.append((case, by_oracle(case)))
        return self.drawn[number]


def hunt(mutant: Mutant, draws: Draws, most: int) -> tuple[int, str]:
    """(cases asked, verdict): "found", "SURVIVED", or what the engine raised, which shows nothing of the cases."""
    asked = 0
    for number in range(most):
        case, expected = draws.get(number)
        if not mutant.relevant(case):
            continue
        asked += case.count
        with mutant.patch():
            try:
                found = ENGINES[mutant.engine](case)
            except Exception as error:
                return asked, f"RAISED {type(error).__name__}: {str(error)[:200]}"
        if differences(found, expected, case):
            return asked, "found"
    return asked, "SURVIVED"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="mutants by a part of their names; all without")
    parser.add_argument("--draws", type=int, default=400, help="how many draws a mutant may survive")
    parser.add_argument("--engines", default="", help="engines by the beginning of their names, with commas between")
    asked = parser.parse_args()
    draws, survived, planted = Draws(), 0, 0
    for name, mutant in MUTANTS.items():
        if asked.names and not any(n in name for n in asked.names):
            continue
        if not any(mutant.engine.startswith(e) for e in asked.engines.split(",")):
            continue
        start = time.monotonic()
        cases, verdict = hunt(mutant, draws, asked.draws)
        planted, survived = planted + 1, survived + (verdict != "found")
        spent = time.monotonic() - start
        print(f"| {mutant.engine} | {name} | {verdict} | {cases} | {spent:.1f} s |", flush=True)
    print(f"mutants: {planted} planted, {survived} survived")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
