"""The line of counts behind the comparisons on real flights."""

from __future__ import annotations

import pytest

from tests.parity.tally import FLIGHTS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FLIGHTS.compared:
        terminalreporter.section("flights")
        for line in FLIGHTS.lines():
            terminalreporter.write_line(line)
