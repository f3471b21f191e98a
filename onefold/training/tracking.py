"""Where runs and models are recorded. This file knows no MLflow; `training.registry` drives it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

EXPERIMENT = "onefold"


@dataclass(frozen=True, slots=True)
class Tracking:
    """An MLflow store: the URI of its database or server, and the folder (or URI) of a new experiment's artifacts."""

    uri: str
    artifacts: str
    experiment: str = EXPERIMENT

    @classmethod
    def local(cls, state: str | Path, *, experiment: str = EXPERIMENT) -> Tracking:
        """`mlflow.db` (SQLite) and `mlartifacts/` below the folder of a project's state, as `.onefold`."""
        folder = Path(state).resolve()
        return cls(f"sqlite:///{folder / 'mlflow.db'}", (folder / "mlartifacts").as_uri(), experiment)
