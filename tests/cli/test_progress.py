from __future__ import annotations

import io

import pytest

from onefold.progress import bar, counted, lines, silent, stages


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_line_is_written_every_few_seconds_with_an_estimate() -> None:
    stream, clock = io.StringIO(), Clock()
    with lines(stream=stream, clock=clock, every=5)("replay", 100) as tracker:
        tracker.advance(10)
        clock.now = 0.5
        tracker.advance(0)
        clock.now = 10
        tracker.advance(15)
        tracker.advance(5)
        clock.now = 40
    assert stream.getvalue().splitlines() == [
        "replay: 25 of 100 (25%), about 30 s left",
        "replay: done, 30 in 40.0 s",
    ]


def test_an_unknown_total_gives_counts_without_an_estimate() -> None:
    stream, clock = io.StringIO(), Clock()
    with lines(stream=stream, clock=clock, every=1)("stream", None) as tracker:
        clock.now = 2
        tracker.advance(7)
    assert "stream: 7 after 2 s" in stream.getvalue()


def test_a_task_that_fails_is_not_called_done() -> None:
    stream = io.StringIO()
    with pytest.raises(ZeroDivisionError), lines(stream=stream, clock=Clock())("replay", 1) as tracker:
        tracker.advance(1 // 0)
    assert "done" not in stream.getvalue()


def test_stages_become_tasks_of_their_own() -> None:
    stream, clock = io.StringIO(), Clock()
    with stages(lines(stream=stream, clock=clock), "train") as report:
        report("read", 0, 1)
        report("rounds", 0, 300)
        clock.now = 2
        report("rounds", 300, 300)
        clock.now = 4
        report("write", 0, 10)
        report("write", 5, 10)
        clock.now = 8
    told = stream.getvalue()
    assert "train: rounds: done, 300" in told and "train: write: done, 5" in told and "read" not in told


def test_a_stage_whose_total_is_not_known_goes_on_in_one_task() -> None:
    stream, clock = io.StringIO(), Clock()
    with stages(lines(stream=stream, clock=clock, every=1), "build") as report:
        for done in (1, 4, 9):
            clock.now += 2
            report("tasks", done, 0)
    assert stream.getvalue().splitlines() == [
        "build: tasks: 4 after 2 s", "build: tasks: 9 after 4 s", "build: tasks: done, 9 in 4.0 s",
    ]  # fmt: skip


def test_counts_are_turned_into_steps() -> None:
    stream, clock = io.StringIO(), Clock()
    with counted(lines(stream=stream, clock=clock), "import") as report:
        report(3, 9)
        clock.now = 3
        report(6, 9)
        report(9, 9)
    assert stream.getvalue().splitlines() == ["import: 6 of 9 (67%), about 2 s left", "import: done, 9 in 3.0 s"]


def test_what_is_done_at_once_is_not_worth_a_line() -> None:
    stream = io.StringIO()
    with lines(stream=stream, clock=Clock())("import", 9) as tracker:
        tracker.advance(9)
    assert stream.getvalue() == ""


def test_bar_and_silence_take_the_same_calls(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with bar("replay", 10) as tracker, silent("quiet", 10) as quiet:
        tracker.advance(10)
        quiet.advance(10)
    told = capsys.readouterr()
    assert told.out == "" and "replay" in told.err and "10/10" in told.err
