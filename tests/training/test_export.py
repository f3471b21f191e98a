"""A converted model scores as its trainer does, on every row; one that does not is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from onefold.features.contract import ModelContract
from onefold.features.errors import ModelError, NotFoundError
from onefold.features.plans import ServicePlan
from onefold.training import export, store
from onefold.training.dataset import TrainingSet
from onefold.training.trainer import TrainParams, Trees, train_trees


@pytest.fixture(scope="module")
def model(trees: Trees) -> bytes:
    return bytes(export.to_onnx(trees).SerializeToString())


def shifted(trees: Trees, by: float) -> onnx.ModelProto:
    """A conversion that went wrong: every score moved."""
    found = export.to_onnx(trees)
    node = found.graph.node[-1]
    node.output[0] = "right"
    found.graph.initializer.append(numpy_helper.from_array(np.array([by], np.float32), "shift"))
    found.graph.node.append(onnx.helper.make_node("Add", ["right", "shift"], [export.OUTPUT]))
    return found


def test_scores_equal_the_trainers_on_thousands_of_rows(trees: Trees, model: bytes, training_set: TrainingSet) -> None:
    matrix = training_set.matrix()
    rows = export.probe_rows(matrix)
    assert len(rows) == 2 * len(matrix) + 1 and np.isnan(rows[-1]).all()
    assert export.check_scores(model, trees, matrix) < 1e-6
    off = export.Session(model).scores(rows) - trees.predict(rows)
    assert np.abs(off).max() < 1e-6


def test_regression_and_a_rare_class_convert_too(training_set: TrainingSet) -> None:
    matrix = training_set.matrix()
    price = np.nan_to_num(matrix[:, 3]) * 1000 - 5e5
    rare = (np.arange(len(matrix)) % 200 == 0).astype(np.float32)
    for task, labels in (("regression", price), ("binary", rare)):
        grown = train_trees(matrix, labels, TrainParams(task=task, rounds=15, threads=1, device="cpu"))  # type: ignore[arg-type]  # one of two
        found = bytes(export.to_onnx(grown).SerializeToString())
        assert export.check_scores(found, grown, matrix) < export.TOLERANCE


def test_the_graph_has_one_input_and_one_score(model: bytes) -> None:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    (given,), (score,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape[1]) == ("features", "tensor(float)", 4)
    assert (score.name, score.type, score.shape[1]) == ("score", "tensor(float)", 1)
    proto = onnx.load_model_from_string(model)
    assert {n.op_type for n in proto.graph.node} == {"TreeEnsembleClassifier", "Gather"}
    assert {o.domain: o.version for o in proto.opset_import} == {"": export.OPSET, "ai.onnx.ml": 1}


def test_a_row_alone_scores_as_in_a_batch_to_the_bit(model: bytes, training_set: TrainingSet) -> None:
    session, matrix = export.Session(model), export.probe_rows(training_set.matrix())
    together = session.scores(matrix)
    alone = np.concatenate([session.scores(matrix[row : row + 1]) for row in range(0, len(matrix), 7)])
    assert alone.tobytes() == together[::7].tobytes()


@pytest.mark.parametrize("by", [1e-3, float("nan")])
def test_a_wrong_conversion_is_refused(trees: Trees, training_set: TrainingSet, by: float) -> None:
    wrong = bytes(shifted(trees, by).SerializeToString())
    with pytest.raises(ModelError, match=r"does not score as its trainer: .* rows differ by more than 1e-05"):
        export.check_scores(wrong, trees, training_set.matrix())


def test_one_wrong_leaf_is_found(trees: Trees, training_set: TrainingSet) -> None:
    found = export.to_onnx(trees)
    weights = next(a for a in found.graph.node[0].attribute if a.name == "class_weights")
    weights.floats[0] += 0.01
    with pytest.raises(ModelError, match="rows differ"):
        export.check_scores(bytes(found.SerializeToString()), trees, training_set.matrix())


def test_golden_rows_come_back_with_their_bits(
    model: bytes, training_set: TrainingSet, plan: ServicePlan, tmp_path: Path
) -> None:
    doubles = training_set.matrix(dtype=np.float64)
    golden = export.golden_rows(model, doubles[export.golden_places(training_set.matrix())])
    assert len(golden) == export.GOLDEN_ROWS and any(None in row.values for row in golden)
    assert len({row.values for row in golden}) >= len(golden) - 1
    contract = ModelContract("fraud", "3", "fraud", plan.fingerprint, plan.inputs, export.libraries(), golden)
    folder = store.write_model(tmp_path, model, contract)
    read = store.load_contract(folder)
    assert read == contract and folder == store.current(tmp_path, "fraud")
    read.check(service="fraud", fingerprint=plan.fingerprint, inputs=plan.inputs)
    rows = np.array([[np.nan if v is None else v for v in g.values] for g in read.golden], np.float64)
    scores = export.Session((folder / "model.onnx").read_bytes()).scores(rows.astype(np.float32))
    assert [float(s) for s in scores] == [g.score for g in read.golden]


def test_a_version_is_never_written_twice(model: bytes, plan: ServicePlan, tmp_path: Path) -> None:
    contract = ModelContract("fraud", "1", "fraud", plan.fingerprint, plan.inputs, export.libraries(), ())
    store.write_model(tmp_path, model, contract)
    with pytest.raises(ModelError, match=r"version 1 is at .* already"):
        store.write_model(tmp_path, b"other", contract)
    assert (tmp_path / "fraud" / "1" / "model.onnx").read_bytes() == model
    assert store.versions(tmp_path, "fraud") == [1]
    assert sorted(p.name for p in (tmp_path / "fraud").iterdir()) == ["1", "current"]


def test_an_older_version_can_be_made_current_and_an_unknown_one_not(
    model: bytes, plan: ServicePlan, tmp_path: Path
) -> None:
    with pytest.raises(NotFoundError, match="no current version"):
        store.current(tmp_path, "fraud")
    for version in ("1", "2"):
        contract = ModelContract("fraud", version, "fraud", plan.fingerprint, plan.inputs, export.libraries(), ())
        store.write_model(tmp_path, model, contract)
    store.set_current(tmp_path, "fraud", "1")
    assert store.current(tmp_path, "fraud").name == "1"
    with pytest.raises(NotFoundError, match="no version '7'; known are: 1, 2"):
        store.set_current(tmp_path, "fraud", "7")


def test_libraries_name_what_wrote_and_what_runs_the_model() -> None:
    assert set(export.libraries()) == {
        "ir", "opset", "opset.ai.onnx.ml", "onnx", "onnxmltools", "onnxruntime", "xgboost",
    }  # fmt: skip
