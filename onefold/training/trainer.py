"""The XGBoost trainer: fixed seed, one device, the same trees every time."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal

# Waiting threads sleep and do not spin, which on a busy machine of two cores took 3.9 s of CPU where it took 13.8 s.
# OpenMP reads it when XGBoost is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import xgboost as xgb

from onefold.features.errors import ConfigError, ModelError

Task = Literal["binary", "regression"]
OBJECTIVES: dict[str, str] = {"binary": "binary:logistic", "regression": "reg:squarederror"}
"""Those whose conversion is right; the check of scores at export would refuse a wrong one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainParams:
    """What the trees are grown with; the names of XGBoost, in words.

    device: `auto` takes a GPU where there is one, else `cpu` or `cuda`. threads: 0 takes all.
    """

    task: Task = "binary"
    rounds: int = 300
    max_depth: int = 6
    learning_rate: float = 0.1
    min_child_weight: float = 10.0
    subsample: float = 0.8
    colsample: float = 0.8
    reg_lambda: float = 1.0
    max_bin: int = 256
    seed: int = 0
    device: str = "auto"
    threads: int = 0

    def __post_init__(self) -> None:
        if self.task not in OBJECTIVES:
            raise ConfigError(f"task {self.task!r} is not known; known are: {', '.join(OBJECTIVES)}")
        if self.device not in ("auto", "cpu", "cuda"):
            raise ConfigError(f"device {self.device!r} is not known; known are: auto, cpu, cuda")
        if self.rounds < 1 or self.max_depth < 1:
            raise ConfigError(f"rounds ({self.rounds}) and max_depth ({self.max_depth}) must be at least 1")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Trees:
    """A trained model, before it is exported. `device`: where it was trained."""

    booster: xgb.Booster
    task: Task
    width: int
    device: str
    seconds: float

    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Scores of rows, float32 [n]: the probability of 1, or the predicted value."""
        names = column_names(self.width)
        return np.asarray(self.booster.predict(xgb.DMatrix(matrix, feature_names=names)), dtype=np.float32)

    def gains(self) -> np.ndarray:
        """The loss that each column's splits took away, float64 [width]; 0 where a column was never used."""
        found = self.booster.get_score(importance_type="total_gain")
        return np.array([found.get(name, 0.0) for name in column_names(self.width)], dtype=np.float64)

    def dump(self) -> bytes:
        """The trainer's own model as UBJSON, for keeping; it is data, and runs nothing when read."""
        return bytes(self.booster.save_raw(raw_format="ubj"))


def column_names(width: int) -> list[str]:
    """f0, f1, ...: the only names that survive the conversion."""
    return [f"f{place}" for place in range(width)]


def train_trees(
    matrix: np.ndarray,
    labels: np.ndarray,
    params: TrainParams,
    *,
    progress: Callable[[int, int], object] | None = None,
) -> Trees:
    """Grow trees on a float32 matrix [n, k] (NaN where missing) and labels [n]; `progress` gets rounds done and all.

    Raises ModelError for labels that the task cannot learn.
    """
    _check_labels(labels, params.task)
    device = pick_device(params.device)
    began = time.perf_counter()
    data = xgb.QuantileDMatrix(
        matrix, label=labels, feature_names=column_names(matrix.shape[1]), max_bin=params.max_bin
    )
    callbacks = [_Progress(params.rounds, progress)] if progress is not None else []
    booster = xgb.train(_settings(params, device), data, params.rounds, callbacks=callbacks)
    return Trees(booster, params.task, matrix.shape[1], device, time.perf_counter() - began)


def pick_device(wanted: str) -> str:
    """`cuda` or `cpu`: what `wanted` means on this machine. ModelError where `cuda` is asked for and absent."""
    if wanted == "cpu":
        return "cpu"
    if _has_cuda():
        return "cuda"
    if wanted == "cuda":
        raise ModelError(
            "device 'cuda' was asked for, and XGBoost finds none; install onefold[gpu] on a machine with an NVIDIA "
            "GPU, or give device='auto'"
        )
    return "cpu"


@cache
def _has_cuda() -> bool:
    """Whether trees really grow on a GPU here: a build with CUDA falls back to the CPU where there is none."""
    if not xgb.build_info().get("USE_CUDA"):
        return False
    try:
        with xgb.config_context(verbosity=0):
            data = xgb.DMatrix(np.zeros((2, 1), np.float32), label=np.array([0.0, 1.0]))
            booster = xgb.train({"device": "cuda", "max_depth": 1}, data, 1)
            used = json.loads(booster.save_config())["learner"]["generic_param"]["device"]
    except (xgb.core.XGBoostError, KeyError):
        return False
    return str(used).startswith("cuda")


def _settings(params: TrainParams, device: str) -> dict[str, Any]:
    return {
        "objective": OBJECTIVES[params.task],
        "tree_method": "hist",
        "device": device,
        "max_depth": params.max_depth,
        "learning_rate": params.learning_rate,
        "min_child_weight": params.min_child_weight,
        "subsample": params.subsample,
        "colsample_bytree": params.colsample,
        "reg_lambda": params.reg_lambda,
        "max_bin": params.max_bin,
        "seed": params.seed,
        "nthread": params.threads,
        "verbosity": 0,
    }


def _check_labels(labels: np.ndarray, task: Task) -> None:
    if not np.isfinite(labels).all():
        raise ModelError("labels hold NaN or infinite values; leave those rows out, or give NULL")
    if task == "binary":
        found = np.unique(labels)
        if not np.array_equal(found, [0.0, 1.0]):
            shown = ", ".join(f"{value:g}" for value in found[:5])
            raise ModelError(
                f"a binary model learns labels 0 and 1, both before the cut; found {shown}; move the cut, or give "
                "task='regression'"
            )


class _Progress(xgb.callback.TrainingCallback):
    """Tells how many rounds are done."""

    def __init__(self, rounds: int, report: Callable[[int, int], object]) -> None:
        super().__init__()
        self._rounds, self._report = rounds, report

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        self._report(epoch + 1, self._rounds)
        return False
