"""One body for every engine: its values are those of the oracle, to the bit."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings

from tests.parity.engines import ENGINES, Case, Row, assert_same_rows, by_oracle
from tests.parity.rounds import wrong
from tests.parity.strategies import batches

EXAMPLES = int(os.environ.get("ONEFOLD_PARITY_EXAMPLES", "0"))
"""How many draws each engine gets; without it, a fixed set."""
MOST = EXAMPLES or max(engine.usual for engine in ENGINES.values())


def effort(usual: int) -> settings:
    return settings(
        max_examples=EXAMPLES or usual,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )


Ask = Callable[[Case], object]


def over_cases(ask: Ask) -> None:
    """Ask of each case, the same ones whatever is asked; what it raises is shrunk."""

    @effort(MOST)
    @given(batches(8))
    def each(case: Case) -> None:
        ask(case)

    each()


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Case, list[Row]]]:
    """The cases, and what the oracle says of each: drawn once, as that takes longer than most engines."""
    found: list[tuple[Case, list[Row]]] = []
    over_cases(lambda case: found.append((case, by_oracle(case))))
    return found


@pytest.mark.parametrize("engine", ENGINES)
def test_every_value_has_the_bits_of_the_oracle(engine: str, drawn: list[tuple[Case, list[Row]]]) -> None:
    asked = ENGINES[engine]
    for case, expected in drawn[-(EXAMPLES or asked.usual) :]:  # Hypothesis begins with the small ones
        if found := wrong(asked, case, expected):
            over_cases(lambda case: assert_same_rows(asked(case), by_oracle(case), case))
            pytest.fail(f"{found}\n{case!r}")
