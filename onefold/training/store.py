"""Models on disk: `<models>/<name>/<version>/{model.onnx,contract.json}`, and `<models>/<name>/current`."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from onefold.features.contract import ModelContract
from onefold.features.errors import ModelError, NotFoundError, nearest

MODEL, CONTRACT, CURRENT = "model.onnx", "contract.json", "current"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,199}")


def check_name(name: str) -> str:
    """The name, if it can be a folder's and MLflow's; else ModelError."""
    if not _NAME.fullmatch(name):
        raise ModelError(f"model name {name!r} cannot be used; take letters, digits, '_', '-' and '.', a letter first")
    return name


def versions(models: Path, name: str) -> list[int]:
    """The versions of a model that are on disk, rising."""
    folder = models / name
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal()) if folder.is_dir() else []


def write_model(models: Path, model: bytes, contract: ModelContract) -> Path:
    """Write a version's files and then move `current` to it; its folder.

    The folder appears whole or not at all; ModelError where the version is there already.
    """
    parent = models / check_name(contract.model)
    folder = parent / contract.version
    parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        raise ModelError(f"model {contract.model!r} version {contract.version} is at {folder} already; train a new one")
    with tempfile.TemporaryDirectory(dir=parent, prefix=".new-") as scratch:
        fresh = Path(scratch, contract.version)
        fresh.mkdir()
        _write(fresh / MODEL, model)
        _write(fresh / CONTRACT, contract.to_json().encode())
        os.rename(fresh, folder)
    set_current(models, contract.model, contract.version)
    return folder


def set_current(models: Path, name: str, version: str) -> None:
    """Make a version the one that is served by default; atomic."""
    if not (models / name / version / CONTRACT).is_file():
        known = map(str, versions(models, name))
        raise NotFoundError(f"model {name!r} has no version {version!r}{nearest(version, known)}")
    fresh = models / name / f".{CURRENT}-{os.getpid()}"
    _write(fresh, version.encode())
    os.replace(fresh, models / name / CURRENT)


def current(models: Path, name: str) -> Path:
    """The folder of a model's current version."""
    try:
        version = (models / name / CURRENT).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise NotFoundError(f"model {name!r} has no current version below {models}; train it first") from error
    return models / name / version


def load_contract(folder: Path) -> ModelContract:
    """The contract of a version's folder."""
    try:
        return ModelContract.from_json((folder / CONTRACT).read_text(encoding="utf-8"))
    except OSError as error:
        raise NotFoundError(f"{folder} holds no {CONTRACT}; train the model again") from error


def _write(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
