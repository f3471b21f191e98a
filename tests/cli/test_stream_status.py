"""`onefold stream status`: what is archived and held, whether or not a broker can say what waits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def test_feeds_and_states_are_shown(run: Run, shop: Path) -> None:
    assert run("materialize").code == 0
    answer = run("stream", "status", "--json")
    (feed,) = answer.json
    assert answer.code == 0 and feed["source"] == "orders"
    assert feed["condition"] == "whole" and feed["held"] == feed["archived"] > 0
    assert "whole" in run("stream", "status").out


def test_silent_broker_hides_only_what_waits(run: Run, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    definitions = next((shop / "features").glob("*.py"))
    text = definitions.read_text()
    definitions.write_text(text.replace('    name="orders",\n', '    name="orders",\n    topic="orders",\n', 1))
    monkeypatch.setenv("ONEFOLD_KAFKA__BOOTSTRAP", "127.0.0.1:1")
    monkeypatch.setenv("ONEFOLD_KAFKA__PATIENCE", "500 milliseconds")
    assert run("materialize").code == 0
    answer = run("stream", "status")
    assert answer.code == 1 and "whole" in answer.out
    assert "no broker has answered" in answer.err
