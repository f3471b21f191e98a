"""The trainer grows the same trees every time, and refuses what it cannot learn."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import xgboost as xgb

from onefold.features.errors import ConfigError, ModelError
from onefold.training.dataset import TrainingSet
from onefold.training.trainer import TrainParams, Trees, pick_device, train_trees


def test_the_same_rows_give_the_same_trees_on_any_number_of_threads(
    training_set: TrainingSet, labels: np.ndarray, params: TrainParams, trees: Trees
) -> None:
    for threads in (1, 2):
        again = train_trees(training_set.matrix(), labels, replace(params, threads=threads))
        assert again.dump() == trees.dump()
    other = train_trees(training_set.matrix(), labels, replace(params, seed=1))
    assert other.dump() != trees.dump()


def test_trees_learn_what_there_is(training_set: TrainingSet, labels: np.ndarray, trees: Trees) -> None:
    scores = trees.predict(training_set.matrix())
    assert scores.dtype == np.float32 and scores.shape == (len(labels),)
    assert scores[labels == 1].mean() > scores[labels == 0].mean() + 0.05
    assert trees.gains().shape == (4,) and trees.gains().argmax() == 3
    assert trees.device == "cpu"


def test_a_kept_model_is_data_and_scores_the_same(training_set: TrainingSet, trees: Trees) -> None:
    kept = trees.dump()
    assert kept.startswith(b"{L")
    again = replace(trees, booster=xgb.Booster(model_file=bytearray(kept)))
    assert np.array_equal(again.predict(training_set.matrix()), trees.predict(training_set.matrix()))


def test_progress_counts_rounds(training_set: TrainingSet, labels: np.ndarray, params: TrainParams) -> None:
    seen: list[tuple[int, int]] = []
    train_trees(training_set.matrix(), labels, replace(params, rounds=3), progress=lambda *step: seen.append(step))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.0, 2.0], "found 0, 2; move the cut, or give task='regression'"),
        ([1.0, 1.0], "found 1;"),
        ([0.0, np.nan], "NaN or infinite"),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused(labels: list[float], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        train_trees(np.zeros((2, 1), np.float32), np.array(labels, np.float32), TrainParams(rounds=1))


def test_params_are_frozen_and_checked() -> None:
    params = TrainParams()
    with pytest.raises(FrozenInstanceError):
        params.rounds = 1  # type: ignore[misc]  # on purpose
    for wrong in ({"task": "ranking"}, {"device": "tpu"}, {"rounds": 0}):
        with pytest.raises(ConfigError):
            TrainParams(**wrong)


def test_auto_is_a_device_that_is_there() -> None:
    device = pick_device("auto")
    assert device in ("cpu", "cuda")
    assert pick_device("cpu") == "cpu"
    if device == "cuda":
        assert pick_device("cuda") == "cuda"
    else:
        with pytest.raises(ModelError, match="device 'cuda' was asked for, and XGBoost finds none"):
            pick_device("cuda")
