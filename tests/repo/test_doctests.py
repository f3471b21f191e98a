"""The examples in our docstrings run and print what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _documented() -> list[str]:
    """Modules of ours with an example; user files under examples/ and templates/ are no modules of ours."""
    files = [path for path in sorted((ROOT / "onefold").rglob("*.py")) if (path.parent / "__init__.py").is_file()]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files if ">>>" in path.read_text()]
    return [name.removesuffix(".__init__") for name in names]


@pytest.mark.parametrize("name", _documented())
def test_docstring_examples_hold(name: str) -> None:
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0
