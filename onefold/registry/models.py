"""Trained models that the definitions no longer fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from onefold.features.contract import ModelContract, differences
from onefold.features.errors import ModelError
from onefold.features.project import Project


@dataclass(frozen=True, slots=True)
class AffectedModel:
    """A model whose contract differs from what the definitions would serve, and how."""

    name: str
    version: str
    service: str
    differences: tuple[str, ...]


def affected_models(folder: Path, project: Project) -> list[AffectedModel]:
    """Current models below `folder` that the service would refuse to load with these definitions."""
    return [m for m in _models(folder, project) if m.differences]


def _models(folder: Path, project: Project) -> Iterator[AffectedModel]:
    for pointer in sorted(folder.glob("*/current")):
        version = pointer.read_text(encoding="utf-8").strip()
        path = pointer.parent / version / "contract.json"
        try:
            contract = ModelContract.from_json(path.read_text(encoding="utf-8"))
        except (OSError, ModelError) as error:
            yield AffectedModel(pointer.parent.name, version, "?", (f"its contract cannot be read: {error}",))
            continue
        yield AffectedModel(contract.model, contract.version, contract.service, _differences(contract, project))


def _differences(contract: ModelContract, project: Project) -> tuple[str, ...]:
    if contract.service not in project.services:
        return (f"its service {contract.service!r} is not defined",)
    return tuple(differences(contract.inputs, project.service(contract.service).inputs))
