"""Scoring rebuilt vectors with the models that served, to compare the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from onefold.features.contract import ModelInput
from onefold.features.errors import OnefoldError
from onefold.offline.arrow import doubles
from onefold.offline.served import ServedInputs
from onefold.serving.scorer import Model
from onefold.verify.compare import Column, as_mask, differing, numpy_of, same
from onefold.verify.report import Cause, Finding, Mismatch, Report
from onefold.verify.served import ServedRows

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Vector:
    """What was served, as a model's contract wants it; the definitions may be others by now."""

    name: str
    fingerprint: str
    inputs: tuple[ModelInput, ...]


@dataclass(frozen=True, slots=True)
class Why:
    """Why a row's vector is wrong. before: features that the log was changed in, as they were before."""

    finding: Finding
    before: Mapping[str, Any]


@dataclass
class Scores:
    """Compares the scores of one table of the log. `folder` holds the models; None compares none."""

    folder: Path | None
    inputs: ServedInputs
    report: Report
    _models: dict[tuple[str, str], Model | OnefoldError] = field(default_factory=dict)

    def check(self, rows: ServedRows, rebuilt: Mapping[str, Column], why: Mapping[int, Why]) -> None:
        """`rebuilt`: by feature, its column as it should have been; `why`: by row, the cause of a wrong vector."""
        if self.folder is None:
            return
        scored = as_mask(pc.is_valid(rows.table.column("score")))
        pairs = [numpy_of(rows.table.column(c).fill_null("")) for c in ("model", "model_version")]
        for name, version in sorted(set(zip(*(p[scored] for p in pairs), strict=True))):
            of = np.flatnonzero(scored & (pairs[0] == name) & (pairs[1] == version))
            model = self._model(name, version)
            if isinstance(model, OnefoldError):
                self.report.unscored[str(model)] = self.report.unscored.get(str(model), 0) + len(of)
            else:
                self.report.scores += len(of)
                self._compare(rows, model, of, rebuilt, why)

    def _model(self, name: str, version: str) -> Model | OnefoldError:
        assert self.folder is not None
        if (name, version) not in self._models:
            vector = _Vector(self.inputs.service, self.inputs.fingerprint, self.inputs.features)
            try:
                self._models[name, version] = Model.load(self.folder / name / version, vector)
            except OnefoldError as error:
                self._models[name, version] = error
        return self._models[name, version]

    def _compare(
        self, rows: ServedRows, model: Model, of: npt.NDArray[np.int64],
        rebuilt: Mapping[str, Column], why: Mapping[int, Why],
    ) -> None:  # fmt: skip
        features = [f.name for f in self.inputs.features]
        scores = rows.table.column("score")
        together = model.run(_matrix([rebuilt[name].take(pa.array(of)) for name in features]))
        suspects = of[differing(scores.take(pa.array(of)), pa.array(together, pa.float64()))]
        take = pa.array(suspects)
        should = _matrix([rebuilt[name].take(take) for name in features])
        was = _matrix([rows.feature(name).take(take) for name in features])
        for i, row in enumerate(suspects.tolist()):
            score, expected = scores[row].as_py(), _alone(model, should[i])
            if not same(score, expected):
                vectors = [was[i], *([_changed(was[i], features, why[row].before)] if row in why else ())]
                follows = any(same(score, _alone(model, vector)) for vector in vectors)
                finding = _finding(why[row].finding if row in why else None, follows=follows)
                request_id, service = rows.text("request_id", row) or "", self.inputs.service
                mismatch = Mismatch(request_id, service, None, score, expected, finding.cause, finding.detail)
                self.report.add([mismatch], cause=finding.cause, score=True)


def _changed(vector: Matrix, features: Sequence[str], values: Mapping[str, Any]) -> Matrix:
    """One row's vector with some features changed."""
    changed = vector.copy()
    for name, value in values.items():
        changed[features.index(name)] = np.nan if value is None else value
    return changed


def _alone(model: Model, vector: Matrix) -> float:
    """The score of one row by itself, as most requests ask for it: not every graph gives the same bits in a batch."""
    return model.run(vector[None])[0]


def _finding(vector: Finding | None, *, follows: bool) -> Finding:
    """A score that follows from the wrong vector has the vector's cause; any other was altered itself."""
    if vector is not None and follows:
        return Finding(vector.cause, f"its vector differs: {vector.detail}")
    if follows:
        return Finding(Cause.VALUE_ALTERED, "its vector differs")
    return Finding(Cause.SCORE_ALTERED, "the model does not give it, for what was served or for what should have been")


def _matrix(columns: Sequence[Column]) -> Matrix:
    """[rows, features] of DOUBLEs; NULL is NaN."""
    return np.column_stack([numpy_of(doubles(column)) for column in columns])
