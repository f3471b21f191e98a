from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, its text, and the heading that it stands under."""

    language: str
    text: str
    heading: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    outside = _BLOCK.sub(lambda m: "\n" * m[0].count("\n"), text).splitlines()
    found = []
    for match in _BLOCK.finditer(text):
        above = [line for line in outside[: text.count("\n", 0, match.start())] if line.startswith("#")]
        found.append(Block(match[1], match[2], above[-1].lstrip("# ") if above else ""))
    return found


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def readme(root: Path) -> list[Block]:
    return blocks(root / "README.md")
