"""A model for the server of online.py: boosted trees of made-up rows, with a contract for a service."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from onefold.features.contract import ModelContract
from onefold.features.loading import load_project
from onefold.training import export
from onefold.training.store import write_model
from onefold.training.trainer import TrainParams, train_trees


def with_trees(folder: Path, service: str, *, rounds: int) -> None:
    """Write the model `trees` into a project's folder."""
    plan = load_project(folder / "features").service(service)
    dice = np.random.default_rng(1)
    matrix = dice.normal(50, 30, (5_000, len(plan.inputs)))
    labels = (matrix[:, 0] + matrix[:, 7] + dice.normal(0, 40, len(matrix)) > 100).astype(np.float32)
    trees = train_trees(matrix.astype(np.float32), labels, TrainParams(rounds=rounds))
    model = export.to_onnx(trees).SerializeToString()
    contract = ModelContract(
        model="trees", version="1", service=service, fingerprint=plan.fingerprint, inputs=tuple(plan.inputs),
        libraries=export.libraries(), golden=export.golden_rows(model, matrix[: export.GOLDEN_ROWS]),
    )  # fmt: skip
    write_model(folder / ".onefold" / "models", model, contract)
