"""Runs and model versions in MLflow: what was trained on what, and how good it was.

Only this module imports MLflow. It uses the client alone, so that no global state of MLflow moves; it is quiet, and
sends no telemetry.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")

import mlflow.onnx
import numpy as np
import onnx
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, LoggedModelOutput, LoggedModelStatus, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import Schema, TensorSpec
from sqlalchemy.exc import SQLAlchemyError

from onefold.features.contract import ModelContract
from onefold.features.errors import StoreError
from onefold.training.manifest import Manifest
from onefold.training.store import CONTRACT
from onefold.training.tracking import Tracking

ALIAS = "current"

for _name in ("alembic", "mlflow"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What one training run leaves behind. files: artifacts (plots, manifest, contract), by folder in the run."""

    name: str
    params: Mapping[str, object]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    manifest: Manifest
    files: Mapping[str, Sequence[Path]]


class ModelRegistry:
    """An MLflow tracking store and model registry; opens (and makes, on SQLite) the database."""

    def __init__(self, tracking: Tracking) -> None:
        self._tracking = tracking
        if tracking.uri.startswith("sqlite:///"):
            Path(tracking.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        try:
            self._client = MlflowClient(tracking_uri=tracking.uri, registry_uri=tracking.uri)
            self._experiment = self._open_experiment()
        except (MlflowException, SQLAlchemyError) as error:
            raise StoreError(f"MLflow at {tracking.uri!r} cannot be opened: {_first_line(error)}") from error

    @contextmanager
    def run(self, record: RunRecord) -> Iterator[Run]:
        """A run in MLflow. Where the body raises, its version is taken back and the run is marked as failed."""
        run_id = str(self._client.create_run(self._experiment, run_name=record.name).info.run_id)
        run = Run(self._client, self._experiment, run_id, record)
        try:
            run.record()
            yield run
            self._client.set_terminated(run_id, "FINISHED")
        except BaseException as error:
            with suppress(MlflowException):
                run.fail()
            if isinstance(error, MlflowException):
                raise StoreError(f"MLflow at {self._tracking.uri!r} failed: {_first_line(error)}") from error
            raise

    def _open_experiment(self) -> str:
        found = self._client.get_experiment_by_name(self._tracking.experiment)
        if found is not None:
            return str(found.experiment_id)
        return str(self._client.create_experiment(self._tracking.experiment, self._tracking.artifacts))


class Run:
    """One run: what it recorded, and the model version that came of it."""

    def __init__(self, client: MlflowClient, experiment: str, run_id: str, record: RunRecord) -> None:
        self.id = run_id
        self._client, self._experiment, self._record = client, experiment, record
        self._version: tuple[str, str] | None = None
        self._on_disk = False

    def record(self) -> None:
        """Write parameters, metrics, tags, the training set and the files."""
        record, now = self._record, int(time.time() * 1000)
        metrics = [Metric(name, value, now, 0) for name, value in record.metrics.items() if isfinite(value)]
        params = [Param(name, str(value)) for name, value in record.params.items()]
        tags = [RunTag(name, value) for name, value in record.tags.items()]
        self._client.log_batch(self.id, metrics, params, tags)
        self._client.log_inputs(self.id, [_dataset_input(record.manifest)])
        for folder, paths in record.files.items():
            for path in paths:
                self._client.log_artifact(self.id, str(path), folder)

    def register(self, model: bytes, contract: ModelContract, *, above: int) -> int:
        """Log the model and register a version of it, greater than `above`; its number.

        `above` is the highest version that is known elsewhere: where this registry is behind (its database was
        removed), it skips the numbers that were given before, so that none names two models.
        """
        name = contract.model
        model_id, location = self._log_model(model, contract)
        try:
            self._client.get_registered_model(name)
        except MlflowException:
            self._client.create_registered_model(name)
        while True:
            made = self._client.create_model_version(
                name,
                location,
                run_id=self.id,
                tags=dict(self._record.tags),
                model_id=model_id,
                await_creation_for=0,
            )
            self._version = (name, str(made.version))
            if int(made.version) > above:
                return int(made.version)
            self._client.delete_model_version(*self._version)

    def publish(self, folder: Path) -> None:
        """The version is on disk in `folder`: keep its contract with the run, and name it the current one."""
        if self._version is None:
            raise StoreError(f"run {self.id} has registered no model that could be published")
        self._on_disk = True
        name, version = self._version
        self._client.log_artifact(self.id, str(folder / CONTRACT), "model")
        self._client.set_registered_model_alias(name, ALIAS, version)

    def fail(self) -> None:
        """The run came to nothing, or to a version that is on disk and stays."""
        if self._version is not None and not self._on_disk:
            self._client.delete_model_version(*self._version)
        self._client.set_terminated(self.id, "FAILED")

    def _log_model(self, model: bytes, contract: ModelContract) -> tuple[str, str]:
        """A logged model of the run, in the format of `mlflow.onnx`; its id and the place of its files."""
        logged = self._client.create_logged_model(self._experiment, contract.model, self.id, model_type="onnx")
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "model")
            mlflow.onnx.save_model(
                onnx.load_model_from_string(model),
                str(folder),
                mlflow_model=Model(run_id=self.id, model_id=logged.model_id),
                signature=_signature(len(contract.inputs)),
                pip_requirements=[f"{n}=={contract.libraries[n]}" for n in ("onnx", "onnxruntime")],
                onnx_session_options={"intra_op_num_threads": 1, "inter_op_num_threads": 1},
                metadata={"service": contract.service, "fingerprint": contract.fingerprint},
            )
            self._client.log_model_artifacts(logged.model_id, str(folder))
        self._client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
        self._client.log_outputs(self.id, [LoggedModelOutput(logged.model_id, step=0)])
        return str(logged.model_id), str(logged.artifact_location)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _signature(width: int) -> ModelSignature:
    features = TensorSpec(np.dtype(np.float32), (-1, width), "features")
    return ModelSignature(Schema([features]), Schema([TensorSpec(np.dtype(np.float32), (-1, 1), "score")]))


def _dataset_input(manifest: Manifest) -> DatasetInput:
    """The training set as MLflow shows it; the manifest itself is an artifact of the run."""
    dataset = Dataset(
        name=manifest.service,
        digest=manifest.content_hash[:32],
        source_type="onefold",
        source=f'{{"fingerprint": "{manifest.fingerprint}", "as_of": "{manifest.as_of}"}}',
        profile=f'{{"rows": {manifest.rows}, "labelled": {manifest.labelled}}}',
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
