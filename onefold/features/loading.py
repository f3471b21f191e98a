"""Loading a user's definitions from a folder, by path: nothing is put on sys.path, no name is shadowed.

The folder is loaded as a package under a private name, so that its files may import one another relatively
(`from .sources import orders`), with or without an `__init__.py`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import get_args

from onefold.features.definitions import Definition
from onefold.features.errors import DefinitionError, OnefoldError
from onefold.features.project import Project


def load_project(folder: Path | str) -> Project:
    """The project whose definitions are at module level of the `*.py` files of a folder (and below it)."""
    root = Path(folder).resolve()
    if not root.is_dir():
        raise DefinitionError(f"no folder of definitions at {root}; make one, or run onefold init")
    package = "_onefold_project_" + hashlib.sha256(str(root).encode()).hexdigest()[:12]
    for name in [m for m in sys.modules if m == package or m.startswith(f"{package}.")]:
        del sys.modules[name]
    _package(package, root)
    found: list[Definition] = []
    for path in sorted(root.rglob("*.py")):
        if path.name == "__init__.py" or any(part.startswith((".", "__")) for part in path.relative_to(root).parts):
            continue
        found += _definitions(_load(package, root, path))
    if not found:
        raise DefinitionError(f"no definitions in {root}; a file there defines Entity, EventSource, FeatureView, ..")
    return Project.of(*{id(d): d for d in found}.values())


def _package(name: str, folder: Path) -> None:
    module = ModuleType(name)
    module.__path__ = [str(folder)]
    sys.modules[name] = module


def _load(package: str, root: Path, path: Path) -> ModuleType:
    parts = path.relative_to(root).with_suffix("").parts
    for depth in range(1, len(parts)):
        parent = ".".join((package, *parts[:depth]))
        if parent not in sys.modules:
            _package(parent, root.joinpath(*parts[:depth]))
    name = ".".join((package, *parts))
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except OnefoldError:
        raise
    except Exception as error:
        line = next(
            (f.lineno for f in reversed(traceback.extract_tb(error.__traceback__)) if f.filename == str(path)), None
        )
        at = f"{path}, line {line}" if line else str(path)
        raise DefinitionError(f"{at}: {type(error).__name__}: {error}") from error
    return module


def _definitions(module: ModuleType) -> Iterator[Definition]:
    kinds = get_args(Definition)
    for value in vars(module).values():
        if isinstance(value, kinds):
            yield value
        elif isinstance(value, list | tuple):
            yield from (v for v in value if isinstance(v, kinds))
