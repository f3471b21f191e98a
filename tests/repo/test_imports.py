"""The rules on imports that an import contract cannot say: "nothing but", and "the front door is for those above"."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDERS = ("features", "offline", "online", "streaming", "training", "serving")


def imported(node: ast.AST) -> Iterator[str]:
    """The modules that a file imports when it runs; what stands under `if TYPE_CHECKING` is left out."""
    match node:
        case ast.Import():
            yield from (alias.name for alias in node.names)
        case ast.ImportFrom(level=0, module=str(module)):
            yield from (f"{module}.{alias.name}" for alias in node.names)
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            for other in node.orelse:
                yield from imported(other)
        case _:
            for child in ast.iter_child_nodes(node):
                yield from imported(child)


def imports_of(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*.py")):
        for module in imported(ast.parse(path.read_text(), str(path))):
            yield str(path.relative_to(folder.parent)), module


def test_features_imports_only_the_standard_library_and_sqlglot(root: Path) -> None:
    allowed = set(sys.stdlib_module_names) | {"sqlglot", "onefold"}
    found = imports_of(root / "onefold" / "features")
    assert not [(path, module) for path, module in found if module.partition(".")[0] not in allowed]


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_never_imports_the_front_door(root: Path, folder: str) -> None:
    ours = [(path, module) for path, module in imports_of(root / "onefold" / folder) if module.startswith("onefold")]
    assert not [(path, module) for path, module in ours if module.split(".")[1:2] not in [[name] for name in FOLDERS]]


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_imports_by_full_name(root: Path, folder: str) -> None:
    for path in (root / "onefold" / folder).rglob("*.py"):
        relative = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom) and n.level]
        assert not relative, f"{path.name}: relative imports escape the checks above; write `from onefold.{folder}...`"


def test_type_only_imports_are_left_out() -> None:
    tree = ast.parse(
        "import os\nif TYPE_CHECKING:\n    import pandas\nelse:\n    import json\ndef f():\n    import csv"
    )
    assert list(imported(tree)) == ["os", "json", "csv"]
