"""The native kernel gives what the Python fold gives, to the bit, and no bytes do it harm."""

from __future__ import annotations

import importlib
import random
from pathlib import Path

import pytest

from onefold.features import ir, native
from onefold.features.definitions import Entity, EventSource
from onefold.features.errors import ConfigError, StateError
from onefold.features.fold import StateFold
from onefold.features.layout import Layout, PreparedEvent, Slot
from onefold.features.native import built
from onefold.features.native_fold import supports
from onefold.features.state import StateCodec
from onefold.features.types import DOUBLE
from tests.native.cases import HOUR, NOW, SECOND, both, case, shown
from tests.native.replies import in_a_reply
from tests.native.sanitized import build, run

SEEDS_A_BLOCK, BLOCKS = 15, 8


def test_the_kernel_is_built_from_these_sources() -> None:
    assert native.built() is not None, "try: python setup.py build_ext --inplace"


@pytest.mark.parametrize("block", range(BLOCKS))
def test_values_statuses_offsets_and_value_errors_are_those_of_the_python_fold(block: int) -> None:
    for seed in range(block * SEEDS_A_BLOCK, (block + 1) * SEEDS_A_BLOCK):
        _check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(100, 130))
def test_many_more_are_those_of_the_python_fold(block: int) -> None:
    for seed in range(block * 50, (block + 1) * 50):
        _check(seed, most=300)


def _check(seed: int, *, most: int = 40) -> None:
    found = case(seed, most=most)
    native, native_errors, python, python_errors = both(found.layout, found.slots)
    for numbers in (range(len(found.states)), [0, 0]):
        states, times = [found.states[i] for i in numbers], [found.times[i] for i in numbers]
        for got, want in zip(native.many(states, times), python.many(states, times), strict=True):
            assert shown(got) == shown(want), f"seed {seed}"
    assert native_errors.count == python_errors.count, f"seed {seed}"


def test_cases_hold_slots_of_the_kernel_and_slots_that_it_lacks() -> None:
    found = [supports(slot) for seed in range(60) for slot in case(seed).slots]
    assert 0.1 < found.count(False) / len(found) < 0.5


def test_no_state_and_empty_bytes_give_what_no_events_give() -> None:
    found = case(1)
    native, _, python, _ = both(found.layout, found.slots)
    for got, want in zip(native.many([None, b""], [NOW, NOW]), python.many([None, b""], [NOW, NOW]), strict=True):
        assert shown(got) == shown(want)


@pytest.mark.parametrize("count", [1, 9, 200, 700])
@pytest.mark.parametrize("of", ["hundredths", "any", "one that is large", "some NULL"])
def test_nested_windows_over_doubles_are_those_of_the_python_fold(count: int, of: str) -> None:
    """Sums of at most 256 hundredths, of more, and of what is none."""
    dice = random.Random(count)
    source = EventSource(name="e", schema={"k": "BIGINT", "at": "TIMESTAMP", "x": "DOUBLE"}, event_time="at")
    layout = Layout(source, Entity(name="k", keys={"k": "BIGINT"}), (ir.Column("x", DOUBLE, True),), None, None)
    windows = [ir.Window(n * HOUR, upper) for upper in (0, HOUR) for n in (100, 1, 5, 24, 0)]
    windows += [ir.Window(None), ir.Window(HOUR), ir.Window(None, 0, (0, 7))]
    slots = [
        Slot(fn, (0,), None, None, window, (DOUBLE,), DOUBLE)
        for window in windows for fn in ("sum", "avg", "min", "max", "count", "last_value")
    ]  # fmt: skip
    codec, state = StateCodec(layout), b""
    for i in range(count):
        usual = dice.randrange(-999, 999) / 100
        value = {"any": dice.gauss(0, 1e3), "some NULL": None if i % 3 else 0.5}.get(of, usual)
        if of == "one that is large" and i == count // 2:
            value = 1e9 + 0.1
        at = NOW - dice.randrange(150 * HOUR) // SECOND * SECOND
        state += codec.record(0, i, PreparedEvent(b"k", at, 0, (value,)))
    states = [codec.compact(state, floor=None, generation=b"g" * 8), state]
    native, _, python, _ = both(layout, slots)
    for t in (NOW, NOW - 30 * HOUR, NOW + 50 * HOUR):
        assert [shown(x) for x in native.many(states, [t, t])] == [shown(x) for x in python.many(states, [t, t])]


def test_states_are_read_where_they_lie_in_an_answer() -> None:
    kernel = built()
    assert kernel is not None
    for seed in range(20):
        found = case(seed)
        native = StateFold(found.layout, found.slots)
        states, times = [*found.states, None, b""], [*found.times, NOW, NOW]
        want = [shown(one) for one in native.many(states, times)]
        assert [shown(one) for one in native.many(in_a_reply(kernel.Replies(), states), times)] == want


def test_times_beyond_all_years_are_times() -> None:
    found = case(2)
    native, _, python, _ = both(found.layout, found.slots)
    for t in (2**62, -(2**62), 10**30, -(10**30)):
        assert shown(native.many(found.states[:1], [t])[0]) == shown(python.many(found.states[:1], [t])[0])


def test_a_corrupt_state_is_an_error_among_others_that_are_read() -> None:
    found = case(3)
    native = StateFold(found.layout, found.slots)
    good, bad, also = native.many([None, b"no state", None], [NOW] * 3)
    assert isinstance(bad, StateError) and not isinstance(good, StateError) and shown(good) == shown(also)
    with pytest.raises(StateError, match="begins with bytes"):
        native(b"no state".ljust(80), NOW)


@pytest.mark.parametrize("choice", ["", "auto", "native", "python"])
def test_the_variable_chooses(monkeypatch: pytest.MonkeyPatch, choice: str) -> None:
    monkeypatch.setenv(native.VARIABLE, choice)
    assert native.in_use() == ("python" if choice == "python" else "native")


def test_another_choice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(native.VARIABLE, "fast")
    with pytest.raises(ConfigError, match="'fast'; it is one of auto, native, python"):
        native.kernel()


def test_without_a_kernel_python_folds_unless_native_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(name: str) -> None:
        raise ImportError(name)

    monkeypatch.delenv(native.VARIABLE, raising=False)
    monkeypatch.setattr(importlib, "import_module", lacks)
    found = case(4)
    assert native.in_use() == "python" and StateFold(found.layout, found.slots)(None, NOW).events == 0
    monkeypatch.setenv(native.VARIABLE, "native")
    with pytest.raises(ConfigError, match="was not built"):
        StateFold(found.layout, found.slots)


def test_a_kernel_of_other_sources_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "INTERFACE", -1)
    assert native.built() is None


def test_spoiled_states_do_no_harm_below_sanitizers(tmp_path: Path) -> None:
    done = run(build(tmp_path), "--first", "1000", "--seeds", "25", seconds=240)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "none did harm" in done.stdout


def test_sanitizers_would_tell(tmp_path: Path) -> None:
    """A kernel that reads one byte behind the end of a state is caught."""
    module = build(
        tmp_path, changed={"head.c": ("if (length < FIXED)", "if (bytes[length + 1] == 7 || length < FIXED)")}
    )
    done = run(module, "--first", "1000", "--seeds", "2", seconds=60)
    assert done.returncode != 0 and "AddressSanitizer" in done.stderr
