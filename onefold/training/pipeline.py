"""From a training set to a model that can be served: split, train, convert, prove, register, write."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from onefold.features.contract import ModelContract, differences
from onefold.features.errors import InputError, MismatchError, nearest
from onefold.training import export, plots, store
from onefold.training.dataset import MANIFEST, TIME, Progress, TrainingSet
from onefold.training.matrix import check_finite, to_matrix
from onefold.training.metrics import METRICS, flat
from onefold.training.split import TimeSplit, split_by_time
from onefold.training.tracking import Tracking
from onefold.training.trainer import TrainParams, Trees, train_trees

if TYPE_CHECKING:
    from onefold.features.plans import ServicePlan
    from onefold.features.project import Project


@dataclass(frozen=True, slots=True)
class Scored:
    """Labels and scores of the same rows, [n] each."""

    labels: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A model version that is on disk and (where there is tracking) registered.

    metrics: `evaluation_auc`, `train_auc`, ... seconds: by stage. difference: the greatest between the ONNX model
    and its trainer, on real rows. evaluation: the rows from the cut on, as scored. plots: by kind, where kept.
    """

    name: str
    version: int
    folder: Path
    contract: ModelContract
    params: TrainParams
    device: str
    metrics: Mapping[str, float]
    difference: float
    evaluation: Scored
    plots: Mapping[str, Path]
    run_id: str | None
    seconds: Mapping[str, float]

    @property
    def auc(self) -> float:
        """Of the evaluation rows; NaN for a regression."""
        return self.metrics.get("evaluation_auc", float("nan"))


def train(
    project: Project,
    service: str,
    training_set: TrainingSet | str | Path,
    *,
    cut: datetime | str,
    models_dir: str | Path,
    label: str | None = None,
    name: str | None = None,
    params: TrainParams | None = None,
    tracking: Tracking | None = None,
    plots_dir: str | Path | None = None,
    convert: export.Converter = export.to_onnx,
    tolerance: float = export.TOLERANCE,
    progress: Progress | None = None,
) -> TrainedModel:
    """Train on the rows before `cut`, evaluate on those from it on, and make the result the current version.

    label: by default the training set's. name: of the model, by default the service's. tracking: MLflow; None
    records nothing. plots_dir: keeps the plots there too. Nothing is written or registered unless the converted
    model scores as the trained one. Raises InputError, MismatchError (the set was built from other definitions) and
    ModelError.
    """
    given = training_set if isinstance(training_set, TrainingSet) else TrainingSet.load(training_set)
    job = _Job(project.service(service), given, params or TrainParams(), progress or (lambda *_: None))
    model_name = store.check_name(service if name is None else name)
    job.read(label, cut)
    trees = job.train()
    model = job.prove(trees, convert, tolerance)
    with tempfile.TemporaryDirectory() as scratch:
        drawn = job.draw(trees, Path(plots_dir or scratch))
        folder, contract, run_id = job.publish(model, model_name, Path(models_dir), tracking, drawn)
    return TrainedModel(
        name=contract.model,
        version=int(contract.version),
        folder=folder,
        contract=contract,
        params=job.params,
        device=trees.device,
        metrics=job.metrics,
        difference=job.difference,
        evaluation=job.evaluation,
        plots=drawn if plots_dir else {},
        run_id=run_id,
        seconds=job.seconds,
    )


class _Job:
    """One call of `train`: what its stages hand on."""

    table: pa.Table
    matrix: np.ndarray
    labels: np.ndarray
    label: str
    split: TimeSplit
    evaluation: Scored
    difference: float

    def __init__(self, plan: ServicePlan, given: TrainingSet, params: TrainParams, progress: Progress) -> None:
        found = differences(given.manifest.inputs, plan.inputs)
        if found:
            raise MismatchError(
                f"training set {str(given.path)!r} was built from service {given.manifest.service!r} "
                f"({given.manifest.fingerprint}), asked is {plan.name!r} ({plan.fingerprint}): {'; '.join(found)}; "
                "build it again"
            )
        self.plan, self.given, self.params, self.progress = plan, given, params, progress
        self.metrics: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.progress(name, 0, 1)
        began = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - began
        self.progress(name, 1, 1)

    def read(self, label: str | None, cut: datetime | str) -> None:
        with self.stage("read"):
            self.table, inputs = self.given.table(), self.plan.inputs
            self.label = self._label(label)
            column = self.table[self.label]
            labelled = np.asarray(column.is_valid().to_numpy())
            self.labels = column.cast(pa.float64()).to_numpy().astype(np.float32)
            times = self.table[TIME].cast(pa.int64()).to_numpy()
            self.split = split_by_time(times, labelled, cut)
            self.matrix = to_matrix(self.table, inputs)
            check_finite(self.matrix, inputs)

    def train(self) -> Trees:
        rows = self.split.train
        with self.stage("train"):
            trees = train_trees(
                self.matrix[rows],
                self.labels[rows],
                self.params,
                progress=lambda done, total: self.progress("train", done, total),
            )
        with self.stage("evaluate"):
            measure = METRICS[self.params.task]
            self.evaluation = self._score(trees, self.split.evaluation)
            known = self._score(trees, rows)
            self.metrics |= flat("evaluation", measure(self.evaluation.labels, self.evaluation.scores))
            self.metrics |= flat("train", measure(known.labels, known.scores))
        return trees

    def prove(self, trees: Trees, convert: export.Converter, tolerance: float) -> bytes:
        with self.stage("convert"):
            model = bytes(convert(trees).SerializeToString())
            self.difference = export.check_scores(model, trees, self.matrix, tolerance=tolerance)
            self.metrics["onnx_difference"] = self.difference
        return model

    def draw(self, trees: Trees, folder: Path) -> dict[str, Path]:
        names, gains = [i.name for i in self.plan.inputs], trees.gains()
        best = [names[place] for place in np.argsort(gains, kind="stable")[::-1][:9]]
        marks = {"cut": str(np.datetime64(self.split.cut, "us"))}
        with self.stage("plots"):
            drawn = {
                "importance": plots.plot_importance(folder / "importance.png", names, gains),
                "features": plots.plot_over_time(folder / "features.png", self.table, best, marks=marks),
            }
            if self.params.task == "binary":
                series = {"evaluation": (self.evaluation.labels, self.evaluation.scores)}
                drawn["calibration"] = plots.plot_calibration(folder / "calibration.png", series)
        return drawn

    def publish(
        self, model: bytes, name: str, models: Path, tracking: Tracking | None, drawn: Mapping[str, Path]
    ) -> tuple[Path, ModelContract, str | None]:
        """Register (where there is tracking), then write; the folder, the contract and the run's id."""
        above = max(store.versions(models, name), default=0)
        with self.stage("register"):
            contract = self._contract(model, name, str(above + 1))
            if tracking is None:
                return store.write_model(models, model, contract), contract, None
            from onefold.training.registry import ModelRegistry, RunRecord

            record = RunRecord(
                name=name,
                params={**self.params.as_dict(), "cut": str(np.datetime64(self.split.cut, "us")), "label": self.label},
                metrics=self.metrics,
                tags=self._tags(),
                manifest=self.given.manifest,
                files={"training_set": [self.given.path / MANIFEST], "plots": list(drawn.values())},
            )
            with ModelRegistry(tracking).run(record) as run:
                contract = replace(contract, version=str(run.register(model, contract, above=above)))
                folder = store.write_model(models, model, contract)
                run.publish(folder)
            return folder, contract, run.id

    def _contract(self, model: bytes, name: str, version: str) -> ModelContract:
        rows = self.split.evaluation
        chosen = rows[export.golden_places(self.matrix[rows])]
        doubles = to_matrix(self.table.take(chosen), self.plan.inputs, dtype=np.float64)
        return ModelContract(
            model=name,
            version=version,
            service=self.plan.name,
            fingerprint=self.plan.fingerprint,
            inputs=tuple(self.plan.inputs),
            libraries=export.libraries(),
            golden=export.golden_rows(model, doubles),
        )

    def _label(self, wanted: str | None) -> str:
        label = wanted or self.given.manifest.label
        if label is None:
            raise InputError("which column is the label? the training set names none; give label=")
        spine = [n for n in self.table.column_names if n not in {i.name for i in self.plan.inputs}]
        if label not in spine:
            raise InputError(f"label {label!r} is no column of the training set's spine{nearest(label, spine)}")
        return label

    def _score(self, trees: Trees, rows: np.ndarray) -> Scored:
        return Scored(self.labels[rows], trees.predict(self.matrix[rows]))

    def _tags(self) -> dict[str, str]:
        manifest = self.given.manifest
        return {
            "onefold.service": self.plan.name,
            "onefold.fingerprint": self.plan.fingerprint,
            "onefold.training_set": manifest.content_hash,
            "onefold.as_of": manifest.as_of,
        }
