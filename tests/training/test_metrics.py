"""Metrics agree with their definitions, written out plainly."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onefold.training.metrics import auc, binary_metrics, calibration, log_loss, regression_metrics

pairs = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8)), min_size=1, max_size=40)


@given(pairs)
def test_auc_is_the_share_of_pairs_in_order(rows: list[tuple[int, int]]) -> None:
    labels, scores = np.array([y for y, _ in rows]), np.array([s / 8 for _, s in rows], np.float32)
    won = [(p > n) + 0.5 * (p == n) for y, p in rows if y for z, n in rows if not z]
    found = auc(labels, scores)
    assert found == pytest.approx(sum(won) / len(won)) if won else math.isnan(found)


@given(pairs, st.integers(1, 30))
def test_calibration_holds_every_row_once_and_keeps_ties_together(rows: list[tuple[int, int]], bins: int) -> None:
    labels, scores = np.array([y for y, _ in rows]), np.array([s / 8 for _, s in rows])
    found = calibration(labels, scores, bins=bins)
    assert sum(b.rows for b in found) == len(rows)
    assert sum(b.rows * b.rate for b in found) == pytest.approx(labels.sum())
    assert sum(b.rows * b.score for b in found) == pytest.approx(scores.sum())
    assert all(a.score < b.score for a, b in pairwise(found))
    assert len(found) <= min(bins, len(np.unique(scores)))


def test_groups_are_of_equal_size_where_scores_differ() -> None:
    rng = np.random.default_rng(0)
    sizes = {b.rows for b in calibration(rng.integers(0, 2, 1000), rng.random(1000), bins=20)}
    assert max(sizes) - min(sizes) <= 1


def test_log_loss_is_finite_where_a_sure_score_is_wrong() -> None:
    assert log_loss(np.array([1, 0]), np.array([0.8, 0.4])) == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)
    assert 15 < log_loss(np.array([1]), np.array([0.0], np.float32)) < 17


def test_named_metrics_of_known_rows() -> None:
    found = binary_metrics(np.array([0, 0, 1, 1]), np.array([0.25, 0.25, 0.75, 0.75]))
    assert found["auc"] == 1.0 and found["brier"] == 0.0625 and found["rows"] == 4
    assert found["calibration_error"] == 0.25
    values = regression_metrics(np.array([1.0, 3.0]), np.array([2.0, 3.0]))
    assert values == {"rmse": pytest.approx(math.sqrt(0.5)), "mae": 0.5, "r2": 0.5, "rows": 2}
    assert math.isnan(regression_metrics(np.array([1.0]), np.array([1.0]))["r2"])
