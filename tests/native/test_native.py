"""The native kernel gives what the Python fold gives, to the bit."""

from __future__ import annotations

import pytest

from tests.native.cases import both, case, shown


@pytest.mark.parametrize("block", range(20))
def test_values_statuses_offsets_and_value_errors_are_those_of_the_python_fold(block: int) -> None:
    for seed in range(block * 15, block * 15 + 15):
        found = case(seed)
        native, native_errors, python, python_errors = both(found.layout, found.slots)
        for many in (range(len(found.states)), [0, 0]):
            states, times = [found.states[i] for i in many], [found.times[i] for i in many]
            for got, want in zip(native.many(states, times), python.many(states, times), strict=True):
                assert shown(got) == shown(want), f"seed {seed}"
        assert native_errors.count == python_errors.count, f"seed {seed}"
