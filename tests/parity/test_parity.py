"""One body for every engine: its values are those of the oracle, to the bit."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings

from tests.parity.engines import ENGINES, Case, assert_same_rows, by_oracle
from tests.parity.strategies import batches

EXAMPLES = int(os.environ.get("ONEFOLD_PARITY_EXAMPLES", "0"))
"""How many draws each engine gets; without it, a fixed set."""


def effort(usual: int) -> settings:
    return settings(
        max_examples=EXAMPLES or usual,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_every_value_has_the_bits_of_the_oracle(engine: str) -> None:
    @effort(ENGINES[engine].usual)
    @given(batches(8))
    def check(case: Case) -> None:
        assert_same_rows(ENGINES[engine](case), by_oracle(case), case)

    check()
