"""From a training set to a current model; and nothing at all where a stage fails."""

from __future__ import annotations

import math
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import numpy_helper

from onefold.features.definitions import FeatureService
from onefold.features.errors import InputError, MismatchError, ModelError
from onefold.features.plans import ServicePlan
from onefold.features.project import Project
from onefold.training import store
from onefold.training.dataset import TrainingSet, write
from onefold.training.export import OUTPUT, Session, to_onnx
from onefold.training.pipeline import TrainedModel, train
from onefold.training.tracking import Tracking
from onefold.training.trainer import TrainParams, Trees

CUT = "2013-02-10"


@pytest.fixture(scope="module")
def trained(
    project: Project, training_set: TrainingSet, params: TrainParams, tmp_path_factory: pytest.TempPathFactory
) -> TrainedModel:
    folder = tmp_path_factory.mktemp("trained")
    return train(
        project, "fraud", training_set, cut=CUT, models_dir=folder / "models", params=params, plots_dir=folder / "plots"
    )


def perturbed(trees: Trees) -> onnx.ModelProto:
    found = to_onnx(trees)
    found.graph.node[-1].output[0] = "right"
    found.graph.initializer.append(numpy_helper.from_array(np.array([1.001], np.float32), "factor"))
    found.graph.node.append(onnx.helper.make_node("Mul", ["right", "factor"], [OUTPUT]))
    return found


def test_a_model_is_evaluated_on_rows_after_all_it_learnt_from(
    trained: TrainedModel, training_set: TrainingSet
) -> None:
    table = training_set.table()
    times = table["event_timestamp"].cast(pa.int64()).to_numpy()
    late = times >= np.datetime64(CUT, "us").astype(np.int64)
    known = table["fraud"].is_valid().to_numpy()
    assert trained.metrics["evaluation_rows"] == (late & known).sum() == len(trained.evaluation.scores)
    assert trained.metrics["train_rows"] == (~late & known).sum()
    assert 0.5 < trained.auc < 1 and trained.auc == trained.metrics["evaluation_auc"]
    assert {"evaluation_log_loss", "evaluation_brier", "evaluation_calibration_error"} <= set(trained.metrics)


def test_what_is_on_disk_scores_the_evaluation_rows(trained: TrainedModel, training_set: TrainingSet) -> None:
    assert trained.folder == store.current(trained.folder.parents[1], "fraud")
    assert sorted(p.name for p in trained.folder.iterdir()) == ["contract.json", "model.onnx"]
    session = Session((trained.folder / "model.onnx").read_bytes())
    table = training_set.table()
    late = np.flatnonzero(
        (table["event_timestamp"].cast(pa.int64()).to_numpy() >= np.datetime64(CUT, "us").astype(np.int64))
        & table["fraud"].is_valid().to_numpy()
    )
    off = session.scores(training_set.matrix()[late]) - trained.evaluation.scores
    assert np.abs(off).max() <= max(trained.difference, 1e-6)


def test_the_contract_is_the_services(trained: TrainedModel, plan: ServicePlan) -> None:
    contract = store.load_contract(trained.folder)
    assert contract == trained.contract and contract.version == str(trained.version) == "1"
    contract.check(service="fraud", fingerprint=plan.fingerprint, inputs=plan.inputs)
    other = (replace(plan.inputs[0], fingerprint="0" * 16), *plan.inputs[1:])
    with pytest.raises(MismatchError, match="feature 'n_3d' has fingerprint"):
        contract.check(service="fraud", fingerprint=plan.fingerprint, inputs=other)


def test_plots_are_kept_where_asked(trained: TrainedModel) -> None:
    assert set(trained.plots) == {"calibration", "importance", "features"}
    for path in trained.plots.values():
        assert path.read_bytes().startswith(b"\x89PNG")


def test_a_second_model_is_the_next_version_and_current(
    project: Project, training_set: TrainingSet, params: TrainParams, tmp_path: Path
) -> None:
    def once() -> TrainedModel:
        return train(project, "fraud", training_set.path, cut=CUT, models_dir=tmp_path, params=params, name="scam")

    first, second = once(), once()
    assert (first.version, second.version, second.name) == (1, 2, "scam")
    assert store.current(tmp_path, "scam") == second.folder
    same = [(m.folder / "model.onnx").read_bytes() for m in (first, second)]
    assert same[0] == same[1] and first.contract.golden == second.contract.golden


def test_a_wrong_conversion_leaves_nothing_behind(
    project: Project, training_set: TrainingSet, params: TrainParams, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="does not score as its trainer"):
        train(
            project, "fraud", training_set, cut=CUT, models_dir=tmp_path / "models", params=params,
            tracking=Tracking.local(tmp_path / "state"), plots_dir=tmp_path / "plots", convert=perturbed,
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_a_set_of_other_definitions_is_refused(
    project: Project, training_set: TrainingSet, params: TrainParams, tmp_path: Path
) -> None:
    views = project.services["fraud"].features
    other = Project.of(FeatureService(name="fraud", features=[views[0]]))
    with pytest.raises(MismatchError, match=r"was built from service 'fraud' .*missing.*share.*build it again"):
        train(other, "fraud", training_set, cut=CUT, models_dir=tmp_path, params=params)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "froud"}, "label 'froud' is no column of the training set's spine; did you mean 'fraud'"),
        ({"label": "share"}, "label 'share' is no column of the training set's spine"),
        ({"cut": "2019-01-01"}, "leaves .* rows before it and 0 after"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    project: Project, training_set: TrainingSet, params: TrainParams, tmp_path: Path, options: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train(project, "fraud", training_set, models_dir=tmp_path, params=params, **{"cut": CUT, **options})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../fraud", "a/b", "", "fraud:1", ".hidden"])
def test_a_model_name_that_is_no_folder_name_is_refused(
    project: Project, training_set: TrainingSet, params: TrainParams, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ModelError, match="cannot be used; take letters"):
        train(project, "fraud", training_set, cut=CUT, models_dir=tmp_path / "models", params=params, name=name)
    assert list(tmp_path.iterdir()) == []


def test_an_infinite_feature_is_refused_by_name(
    project: Project, plan: ServicePlan, training_set: TrainingSet, params: TrainParams, tmp_path: Path
) -> None:
    table = training_set.table()
    share = pa.array([float("inf"), *table["share"].to_pylist()[1:]])
    rows = table.set_column(table.column_names.index("share"), "share", share)
    spoilt = write(tmp_path / "set", rows, plan, label="fraud")
    with pytest.raises(ModelError, match="feature 'share' is infinite as FLOAT in 1 of 6,000 rows"):
        train(project, "fraud", spoilt, cut=CUT, models_dir=tmp_path / "models", params=params)


def test_a_number_is_learnt_as_a_regression(
    project: Project, training_set: TrainingSet, params: TrainParams, tmp_path: Path
) -> None:
    found = train(
        project, "fraud", training_set, cut=CUT, models_dir=tmp_path, label="price",
        params=replace(params, task="regression"),
    )  # fmt: skip
    assert found.metrics["evaluation_r2"] > 0.1 and math.isnan(found.auc)


def test_training_needs_no_network(
    project: Project, training_set: TrainingSet, params: TrainParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    train(
        project, "fraud", training_set, cut=CUT, models_dir=tmp_path / "m", params=params,
        tracking=Tracking.local(tmp_path / "state"),
    )  # fmt: skip
