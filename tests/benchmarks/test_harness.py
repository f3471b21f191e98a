"""What the benchmarks' figures rest on: turns, paired ratios, parts, and the tables of the page."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))


def test_each_round_runs_every_arm_in_an_order_of_its_own() -> None:
    from _harness import interleave

    seen: list[str] = []

    def arm(name: str, seconds: float, _: int) -> float:
        seen.append(name)
        return seconds

    samples = interleave({"a": lambda i: arm("a", 2.0, i), "b": lambda i: arm("b", 1.0, i)}, rounds=20, warmup=0)
    pairs = {tuple(seen[i : i + 2]) for i in range(0, 40, 2)}
    assert pairs == {("a", "b"), ("b", "a")}
    assert samples.ratio("a", "b").median == 2.0


def test_ratio_is_taken_within_a_round() -> None:
    from _harness import Samples

    samples = Samples({"a": [2.0, 20.0, 6.0], "b": [1.0, 10.0, 1.0]})
    assert samples.ratio("a", "b").median == 2.0


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3, "3"),
        (12345.6, "12346"),
        (123.456, "123.5"),
        (1.0, "1.000"),
        (0.01234567, "0.01235"),
        (0.0, "0"),
        (-2.5, "-2.500"),
    ],
)
def test_number_has_four_digits_and_no_exponent(value: float, shown: str) -> None:
    from _harness import plain

    assert plain(value) == shown


def test_part_within_a_part_counts_for_itself_only(monkeypatch: pytest.MonkeyPatch) -> None:
    import _parts

    clock = iter([0.0, 1.0, 4.0, 10.0])
    monkeypatch.setattr(_parts, "time", SimpleNamespace(perf_counter=lambda: next(clock)))

    class Work:
        def outer(self) -> None:
            self.inner()

        def inner(self) -> None: ...

    parts = _parts.Parts()
    with parts.watching([(Work, "outer", "outer"), (Work, "inner", "inner")]):
        Work().outer()
    assert parts.seconds == {"outer": 7.0, "inner": 3.0}
    Work().outer()
    assert parts.seconds == {"outer": 7.0, "inner": 3.0}


def test_tables_take_the_place_of_older_ones_and_nothing_else_changes() -> None:
    from _all import markdown, replaced

    report = {"machine": "two cores", "tables": [{"title": "t", "columns": ["", "s"], "rows": [["a|b", "1"]]}]}
    page = "before\n<!-- tables: x -->\nold\n<!-- end of x -->\nafter\n"
    text = "two cores\n\n**t**\n\n|  | s |\n|---|---|\n| a\\|b | 1 |"
    assert replaced(page, "x", markdown(report)) == f"before\n<!-- tables: x -->\n{text}\n<!-- end of x -->\nafter\n"
    with pytest.raises(ValueError, match="no lines"):
        replaced(page, "y", text)
