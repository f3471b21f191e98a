"""A project's batch files into its archive: what is new of each source, and of each branch of one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from onefold.features.errors import InputError

if TYPE_CHECKING:
    from onefold.features.definitions import EventSource
    from onefold.features.project import Project
    from onefold.wiring import Workspace

Progress = Callable[[int, int], None]
Reporting = Callable[[str], AbstractContextManager[Progress | None]]
"""Given a title, opens a report of one import."""


def _silent(_: str) -> AbstractContextManager[Progress | None]:
    return nullcontext()


def import_sources(workspace: Workspace, project: Project, report: Reporting = _silent) -> dict[str, int]:
    """Import the files that the archive does not have yet; how many rows were new, by source. Raises InputError."""
    return {name: _import(workspace, source, report) for name, source in project.sources.items()}


def _import(workspace: Workspace, source: EventSource, report: Reporting) -> int:
    rows = 0
    for branch in source.branches or (None,):
        path = source.path if branch is None else branch.path
        if path is not None:
            name = source.name if branch is None else f"{source.name}.{branch.name}"
            with report(f"import {name}") as progress:
                files = _files(workspace.settings.root, name, path)
                rows += workspace.archive.import_files(source, files, branch=branch, progress=progress)
    return rows


def _files(root: Path, source: str, path: str) -> list[Path]:
    """The Parquet files of a path: a file, a folder of them, or a pattern as `data/orders-*.parquet`."""
    if any(c in path for c in "*?["):
        found = sorted(Path(root.anchor).glob(str((root / path).relative_to(root.anchor))))
    elif (root / path).is_dir():
        found = sorted((root / path).glob("*.parquet"))
    else:
        return [root / path]
    if not found:
        raise InputError(f"source {source!r}: no Parquet file at {root / path}; give its path relative to {root}")
    return found
