"""A file of definitions put among a project's own, if they go together."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from onefold.features.errors import DefinitionError
from onefold.features.loading import load_project


def install(text: str, target: Path) -> None:
    """Write the file, once it has been loaded beside the others. Raises DefinitionError, with nothing written."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "features")
        if target.parent.is_dir():
            shutil.copytree(target.parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
        folder.mkdir(exist_ok=True)
        (folder / target.name).write_text(text, encoding="utf-8")
        try:
            load_project(folder)
        except DefinitionError as error:
            raise error.of(f"what was made of the Feast repository does not go with {target.parent}") from error
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
