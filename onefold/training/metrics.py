"""How good scores are: AUC, log loss, Brier, calibration; for regression RMSE, MAE, R2. Plain numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

EPS = 1e-7
"""Log loss clips probabilities this far from 0 and 1: about one step of FLOAT below 1."""


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Rows whose scores lie together: their number, mean score, and the share of them that came true."""

    rows: int
    score: float
    rate: float


def binary_metrics(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """`auc`, `log_loss`, `brier`, `calibration_error`, `rate`, `rows` of 0/1 labels and probabilities [n]."""
    bins = calibration(labels, scores)
    off = sum(b.rows * abs(b.score - b.rate) for b in bins) / max(len(labels), 1)
    return {
        "auc": auc(labels, scores),
        "log_loss": log_loss(labels, scores),
        "brier": float(np.mean((scores.astype(np.float64) - labels) ** 2)),
        "calibration_error": off,
        "rate": float(np.mean(labels)),
        "rows": float(len(labels)),
    }


def regression_metrics(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """`rmse`, `mae`, `r2`, `rows` of labels and predictions [n]; `r2` is NaN where all labels are equal."""
    error = scores.astype(np.float64) - labels
    spread = float(np.sum((labels - np.mean(labels)) ** 2))
    return {
        "rmse": float(np.sqrt(np.mean(error**2))),
        "mae": float(np.mean(np.abs(error))),
        "r2": 1.0 - float(np.sum(error**2)) / spread if spread else float("nan"),
        "rows": float(len(labels)),
    }


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The chance that a positive scores above a negative, ties counting half; NaN where a class is absent.

    >>> auc(np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.5, 0.5]))
    0.875
    """
    positives = int(np.sum(labels == 1))
    negatives = len(labels) - positives
    if not positives or not negatives:
        return float("nan")
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2.0
    won = float(np.sum(rank[place[labels == 1]])) - positives * (positives + 1) / 2.0
    return won / (positives * negatives)


def log_loss(labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean of -ln(probability given to what came true)."""
    p = np.clip(scores.astype(np.float64), EPS, 1 - EPS)
    return float(-np.mean(np.where(labels == 1, np.log(p), np.log1p(-p))))


def calibration(labels: np.ndarray, scores: np.ndarray, *, bins: int = 20) -> list[CalibrationBin]:
    """Rows in `bins` groups of (nearly) equal number by rising score; rows of one score stay together."""
    if not len(labels):
        return []
    order = np.argsort(scores, kind="stable")
    edges = np.quantile(scores, np.linspace(0, 1, bins + 1)[1:-1], method="higher")
    group = np.searchsorted(edges, scores[order], side="right")
    found = []
    for number in np.unique(group):
        rows = order[group == number]
        score, rate = float(np.mean(scores[rows], dtype=np.float64)), float(np.mean(labels[rows]))
        found.append(CalibrationBin(len(rows), score, rate))
    return found


METRICS = {"binary": binary_metrics, "regression": regression_metrics}


def flat(prefix: str, metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics under one name each, as `evaluation_auc`."""
    return {f"{prefix}_{name}": value for name, value in metrics.items()}
