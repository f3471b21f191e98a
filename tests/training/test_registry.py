"""MLflow holds the run, the model and its version; it stays quiet, and where it was told to be."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mlflow.onnx
import numpy as np
import pytest
from mlflow import MlflowClient

from onefold.features.errors import StoreError
from onefold.features.plans import ServicePlan
from onefold.features.project import Project
from onefold.training import store
from onefold.training.dataset import TrainingSet
from onefold.training.pipeline import TrainedModel, train
from onefold.training.registry import ModelRegistry
from onefold.training.tracking import Tracking
from onefold.training.trainer import TrainParams

ONE_RUN = """
import sys
from onefold.training.dataset import TrainingSet
from onefold.training.registry import ModelRegistry, RunRecord
from onefold.training.tracking import Tracking
given = TrainingSet.load(sys.argv[1]).manifest
record = RunRecord(name="n", params={"a": 1}, metrics={"b": 2.0}, tags={}, manifest=given, files={})
with ModelRegistry(Tracking.local("state")).run(record):
    pass
"""
Again = Callable[..., TrainedModel]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tracked")


@pytest.fixture(scope="module")
def again(project: Project, training_set: TrainingSet, params: TrainParams, place: Path) -> Again:
    def once(state: str = "state") -> TrainedModel:
        return train(
            project, "fraud", training_set, cut="2013-02-10", models_dir=place / "models", params=params,
            tracking=Tracking.local(place / state),
        )  # fmt: skip

    return once


@pytest.fixture(scope="module")
def trained(again: Again) -> TrainedModel:
    return again()


@pytest.fixture
def client(place: Path, trained: TrainedModel) -> MlflowClient:
    uri = Tracking.local(place / "state").uri
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def test_a_run_holds_params_metrics_tags_and_the_training_set(
    client: MlflowClient, trained: TrainedModel, plan: ServicePlan, training_set: TrainingSet
) -> None:
    run = client.get_run(trained.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["rounds"] == "20" and run.data.params["cut"].startswith("2013-02-10")
    assert run.data.metrics["evaluation_auc"] == trained.auc
    assert run.data.tags["onefold.fingerprint"] == plan.fingerprint
    (given,) = run.inputs.dataset_inputs
    assert training_set.manifest.content_hash.startswith(given.dataset.digest)
    assert json.loads(given.dataset.source)["fingerprint"] == plan.fingerprint
    folders = ("training_set", "plots", "model")
    files = {f.path for folder in folders for f in client.list_artifacts(run.info.run_id, folder)}
    assert files == {
        "training_set/manifest.json", "plots/calibration.png", "plots/importance.png", "plots/features.png",
        "model/contract.json",
    }  # fmt: skip


def test_the_registered_version_is_the_one_on_disk(
    client: MlflowClient, trained: TrainedModel, plan: ServicePlan, place: Path
) -> None:
    version = client.get_model_version_by_alias("fraud", "current")
    assert version.version == trained.version or int(version.version) == trained.version
    assert version.tags["onefold.fingerprint"] == plan.fingerprint
    assert version.run_id == trained.run_id
    assert store.current(place / "models", "fraud").name == str(version.version)


def test_the_registered_model_loads_and_scores(
    client: MlflowClient, trained: TrainedModel, training_set: TrainingSet
) -> None:
    source = client.get_model_version("fraud", str(trained.version)).source
    assert mlflow.onnx.load_model(source).SerializeToString() == (trained.folder / "model.onnx").read_bytes()
    loaded = mlflow.pyfunc.load_model(source)
    assert [i.name for i in loaded.metadata.signature.inputs] == ["features"]
    rows = training_set.matrix()[:50]
    session_scores = loaded.predict({"features": rows})["score"].reshape(-1)
    assert session_scores.shape == (50,) and np.isfinite(session_scores).all()
    mlflows_own, *rest = Path(source.removeprefix("file://"), "requirements.txt").read_text().split()
    assert mlflows_own.startswith("mlflow==")
    assert rest == [f"{n}=={trained.contract.libraries[n]}" for n in ("onnx", "onnxruntime")]


def test_a_failed_write_takes_the_version_back(
    again: Again, trained: TrainedModel, client: MlflowClient, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Path:
        raise OSError("no space left on device")

    before = store.current(place / "models", "fraud")
    with monkeypatch.context() as patch:
        patch.setattr(store, "write_model", full)
        with pytest.raises(OSError, match="no space left"):
            again()
    assert store.current(place / "models", "fraud") == before
    assert [v.version for v in client.search_model_versions("name='fraud'")] == [
        client.get_model_version_by_alias("fraud", "current").version
    ]
    experiment = client.get_experiment_by_name("onefold").experiment_id
    assert next(r.info.status for r in client.search_runs([experiment])) == "FAILED"


def test_numbers_are_not_given_twice_though_the_database_was_lost(
    again: Again, trained: TrainedModel, place: Path
) -> None:
    second = again()
    assert second.version > trained.version
    fresh = again("another-state")
    assert fresh.version == second.version + 1
    assert store.versions(place / "models", "fraud")[-1] == fresh.version


def test_training_writes_nothing_beside_its_folders_and_prints_nothing(
    training_set: TrainingSet, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ONE_RUN, str(training_set.path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert [p.name for p in tmp_path.iterdir()] == ["state"]
    assert {p.suffix for p in (tmp_path / "state").iterdir()} <= {".db", ""}


def test_nothing_that_is_left_behind_runs_code_when_read(trained: TrainedModel, place: Path) -> None:
    known = {".db", ".onnx", ".json", ".png", ".yaml", ".txt", ""}
    files = [p for p in place.rglob("*") if p.is_file()]
    assert {p.suffix for p in files} <= known and any(p.name == "MLmodel" for p in files)
    assert [p for p in files if p.suffix == "" and p.name not in ("MLmodel", "current")] == []
    assert not any(p.read_bytes()[:3] == b"\x80\x04\x95" for p in files)


def test_a_registry_that_cannot_be_opened_says_so(training_set: TrainingSet, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"this is no database, and never was one" * 40)
    with pytest.raises(StoreError, match=r"MLflow at 'sqlite:///.*' cannot be opened"):
        ModelRegistry(Tracking.local(tmp_path))
