"""Plants faults in the compilers and folds, one at a time, and shows that the parity body finds each.

    python -m tests.parity.mutants [--draws 400] [--engines state,spark] [name ...]

A development aid: a mutant that survives says what the cases do not reach. Exits with 1 if one survives. All meet the
same draws (numbers 0, 1, ..), so that drawing them and asking the oracle is paid once; a mutant that no draw shows
meets the written cases (`cases/*.sql`), which every engine runs too. Each is left at the first case that shows it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.parity import planted_duckdb, planted_spark, planted_state
from tests.parity.engines import ENGINES, Case, Row, by_oracle, differences
from tests.parity.planting import MUTANTS, Mutant
from tests.parity.rounds import draw
from tests.parity.written import CASES, case_of

PLANTED = (planted_duckdb, planted_state, planted_spark)
"""Whose import fills the table."""
ASKED = {"spark": 20}
"""How many draws a mutant of an engine is asked at most, by the beginning of its name; others: all that it can meet."""


@dataclass
class Draws:
    """Cases, drawn as they are asked for, with what the oracle says of them."""

    drawn: list[Case] = field(default_factory=list)
    said: dict[int, list[Row]] = field(default_factory=dict)

    def get(self, number: int) -> Case:
        while len(self.drawn) <= number:
            self.drawn.append(draw(len(self.drawn), count=8))
        return self.drawn[number]

    def expected(self, number: int) -> list[Row]:
        if number not in self.said:
            self.said[number] = by_oracle(self.drawn[number])
        return self.said[number]


def shown(mutant: Mutant, case: Case, expected: list[Row]) -> tuple[bool, str]:
    """Whether the fault gives another value in the case, and what it raised: that shows nothing of the values."""
    with mutant.patch():
        try:
            found = ENGINES[mutant.engine](case)
        except Exception as error:
            return False, f"{type(error).__name__}: {str(error)[:200]}"
    return bool(differences(found, expected, case)), ""


def met(mutant: Mutant, draws: Draws, most: int) -> Iterator[tuple[str, Case, list[Row]]]:
    """What the fault can meet: (how many draws so far, or a file's name; the case; its rows)."""
    asked = 0
    limit = next((n for start, n in ASKED.items() if mutant.engine.startswith(start)), most)
    for number in range(most):
        if asked < limit and mutant.relevant(draws.get(number)):
            asked += 1
            yield f"{asked}", draws.get(number), draws.expected(number)
    for path in CASES:
        case, expected = case_of(path)
        if mutant.relevant(case):
            yield path.name, case, expected


def hunt(mutant: Mutant, draws: Draws, most: int) -> tuple[bool, str]:
    """Whether the fault is caught, and where: after how many draws that can meet it, or in which file.

    The case that shows it is asked again without it, where nothing may differ.
    """
    asked, raised = 0, ""
    for where, case, expected in met(mutant, draws, most):
        found, error = shown(mutant, case, expected)
        if found:
            wrong = differences(ENGINES[mutant.engine](case), expected, case)
            return not wrong, f"the engine is wrong without it: {wrong[0]}" if wrong else where
        asked, raised = asked + 1, raised or error
    return False, f"SURVIVED {asked} cases{f'; it raised {raised}' if raised else ''}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="mutants by a part of their names; all without")
    parser.add_argument("--draws", type=int, default=400, help="how many draws a mutant may survive")
    parser.add_argument("--engines", default="", help="engines by the beginning of their names, with commas between")
    asked = parser.parse_args()
    draws, caught, planted, began = Draws(), 0, 0, time.monotonic()
    for name, mutant in MUTANTS.items():
        if asked.names and not any(n in name for n in asked.names):
            continue
        if not any(mutant.engine.startswith(e) for e in asked.engines.split(",")):
            continue
        start = time.monotonic()
        found, where = hunt(mutant, draws, asked.draws)
        planted, caught = planted + 1, caught + found
        print(f"| `{mutant.engine}` | {name} | {where} | {time.monotonic() - start:.1f} s |", flush=True)
    minutes = (time.monotonic() - began) / 60
    print(f"mutants: {planted} planted, {caught} caught, {planted - caught} survived in {minutes:.1f} min")
    return 0 if caught == planted else 1


if __name__ == "__main__":
    sys.exit(main())
