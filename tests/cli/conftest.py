from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from onefold.cli import main
from onefold.scaffold import create

NOW = 1_767_225_600_000_000
"""2026-01-01 00:00 UTC: where the data of the test projects ends."""


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        return json.loads(self.err.splitlines()[-1])["error"]


Run = Callable[..., Answer]


@pytest.fixture(autouse=True)
def no_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("ONEFOLD_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """One command in this process; what it wrote and how it exited."""

    def run_one(*args: str) -> Answer:
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main(args)
        out, err = capfd.readouterr()
        code = exit_.value.code
        return Answer(code if isinstance(code, int) else int(code is not None), out, err)

    return run_one


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new project, and the working directory in it."""
    folder = create("shop", tmp_path / "shop", now=NOW)
    monkeypatch.chdir(folder)
    return folder
